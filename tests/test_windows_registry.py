"""The registry of Windows: killed at any call of apply and undo, a value is as it was before or as it is to be after.

Runs on Windows, and under Wine (see test_windows_under_wine.py), on a scratch key; the same sweep over the stand-in
that other systems have is in test_sweeps.py. Most points do not kill the process but make it as good as dead: from
there on no call of ours is made any more. A sample of them is killed for real, to see that this is the same.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows (or Wine: test_windows_under_wine.py)", allow_module_level=True)

from ccremedy import files, hive, registry
from ccremedy.files import windows
from ccremedy.resources import Segment, Value
from ccremedy.testing import Case, Rig, no_shells

CASES = Path(__file__).with_name("cases")
INSTALL = CASES / "install-path" / "the-native-one-is-not-on-the-path-of-windows"
MUTATES = {
    "hive": {"set", "delete", "create", "remove"},
    "os": {"open", "rename", "unlink", "mkdir", "rmdir", "write", "ftruncate", "fsync"},
    "kernel": {"ReplaceFileW", "MoveFileExW", "CreateDirectoryW", "SetFileAttributesW", "SetFileInformationByHandle"},
}


class Dead(BaseException):
    """What a killed process would not live to see."""


class Around:
    """Stands for an object whose calls with these names go through `act`."""

    def __init__(self, real: Any, names: set[str], act: Callable[..., Any]) -> None:
        self._real, self._names, self._act = real, names, act

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return (lambda *given, **named: self._act(name, real, *given, **named)) if name in self._names else real


@contextlib.contextmanager
def seam(act: Callable[..., Any]) -> Iterator[None]:
    places = [(vars(hive), "api", "hive"), (vars(files), "os", "os"), (vars(windows), "_kernel", "kernel"),
              (vars(windows), "os", "os")]  # fmt: skip
    kept = [(names, name, names[name]) for names, name, _ in places]
    for names, name, kind in places:
        names[name] = Around(names[name], MUTATES[kind], act)
    try:
        yield
    finally:
        for names, name, real in kept:
            names[name] = real


class Killer:
    """From call number `at` on, or right behind it, nothing is done any more."""

    def __init__(self, at: int, after: bool, end: Callable[[], None]) -> None:
        self.at, self.after, self.end, self.count, self.landed = at, after, end, 0, False

    def __call__(self, name: str, real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self.count += 1
        if self.at and self.count >= self.at:
            if self.after and self.count == self.at:
                found = real(*given, **named)
                if name == "open":
                    os.close(found)  # as the end of a process does
            self.landed = True
            self.end()
        return real(*given, **named)


def die() -> None:
    raise Dead


def really_die() -> None:
    os.kill(os.getpid(), 9)  # TerminateProcess, and the code


def made(scratch: str, undo: bool) -> Rig:
    rig = Rig.make(Case.load(str(INSTALL)), scratch, no_shells)
    if undo:
        rig.apply()
    return rig


def act(rig: Rig, undo: bool) -> None:
    if undo:
        rig.undo()
    else:
        rig.apply()


@pytest.mark.parametrize("undo", [False, True], ids=["apply", "undo"])
def test_killed_at_any_call_it_is_as_before_or_as_after(
    undo: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = str(tmp_path / "scratch")
    rig = made(scratch, undo)
    before, count = rig.tree(), Killer(0, False, die)
    with seam(count):
        act(rig, undo)
    after, bad, landed = rig.tree(), [], 0
    assert after != before
    points = [(at, late) for at in range(1, count.count + 1) for late in (False, True)]
    for at, late in points:
        rig, killer = made(scratch, undo), Killer(at, late, die)
        with seam(killer), contextlib.suppress(Dead):
            act(rig, undo)
        landed += killer.landed
        rig.recover()
        if rig.tree() not in (before, after):
            bad.append(f"call {at}{' and behind it' if late else ''}: {difference(rig.tree(), before, after)}")
    with capsys.disabled():
        print(f"\nregistry {'undo' if undo else 'apply'} points={len(points)} landed={landed} bad={len(bad)}", end=" ")
    assert not bad, "\n".join(bad)
    assert landed == len(points) > 20


def difference(found: dict[str, Any], *others: dict[str, Any]) -> list[Any]:
    return [[(key, found.get(key), other.get(key)) for key in {*found, *other} if found.get(key) != other.get(key)]
            for other in others]  # fmt: skip


def test_a_writer_that_announces_nothing_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: without the record of what is about to be written, a kill leaves what nobody takes back."""
    from ccremedy.journal import Journal

    monkeypatch.setattr(Journal, "doing", lambda *given: None)
    scratch = str(tmp_path / "scratch")
    rig = made(scratch, False)
    before, after, bad = rig.tree(), None, 0
    for at in range(1, 40):
        rig, killer = made(scratch, False), Killer(at, True, die)
        with seam(killer), contextlib.suppress(Dead):
            rig.apply()
        if not killer.landed:
            after = rig.tree()
            break
        rig.recover()
        bad += rig.tree() != before and any(
            "Environment" in key for key in rig.tree() if rig.tree()[key] != before.get(key)
        )
    assert after is not None
    assert bad


@pytest.mark.parametrize("at", [1, 4, 7, 9, 11, 12])
def test_killed_for_real_it_is_the_same(at: int, tmp_path: Path) -> None:
    scratch = str(tmp_path / "scratch")
    rig = made(scratch, False)
    before = rig.tree()
    with seam(Killer(0, False, die)):
        rig.apply()
    after = rig.tree()
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]; import test_windows_registry as sweep; "
        "rig = sweep.made(sys.argv[3], False)\n"
        "with sweep.seam(sweep.Killer(int(sys.argv[4]), True, sweep.really_die)): rig.apply()"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    words = [os.path.dirname(here), here, scratch, str(at)]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 9, done.stderr
    rig.recover()
    assert rig.tree() in (before, after)


# ---- values


@pytest.fixture
def key() -> Iterator[str]:
    key = rf"{hive.USER}\Software\ccremedy-tests\{os.getpid()}"
    made = hive.missing_keys(key)
    hive.make_keys(made)
    yield key
    for name in hive.values(key):
        hive.write(key, name, None)
    hive.remove_keys(made)


def test_a_value_that_holds_a_nul_is_left_alone(key: str) -> None:
    data = "C:\\a;\0C:\\b\0".encode("utf-16-le")
    hive.write(key, "Path", (2, data))
    entry = Segment(key, "Path", "C:\\mine")
    assert "no proper text" in entry.obstacle()
    assert hive.read(key, "Path") == (2, data)


def test_keys_that_a_change_made_go_with_it(key: str) -> None:
    value = Value(rf"{key}\A\B", "ExecutionPolicy")
    keys = value.folders("x")
    assert keys == (rf"{key}\A", rf"{key}\A\B")
    value.make(keys)
    value.write(value.read(), 'REG_SZ "RemoteSigned"', "")
    assert value.read() == 'REG_SZ "RemoteSigned"'
    value.write(value.read(), None, "")
    value.unmake(keys)
    assert not hive.exists(rf"{key}\A")


def test_a_key_that_may_not_be_written_is_said_so() -> None:
    api = hive.api
    assert api is not None

    class Denied(Around):
        def writable(self, key: str) -> bool:
            raise PermissionError(13, "Access is denied")

    hive.api = Denied(api, set(), die)
    try:
        assert "may not be written by you" in Segment(hive.ENVIRONMENT, "Path", "C:\\x").obstacle()
    finally:
        hive.api = api


def test_the_remedy_is_there() -> None:
    assert "windows" in registry.remedy("install-path").platforms
