"""What another program writes while we write the same file is never lost, and its lock is never broken.

`replace`, `settle` and `folder_lock`, with somebody who writes just before each of our system calls, by rename, in
place, or slowly in place; with a crash at any of them; and all of that on each kind of file system that can be had.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import sweep
from sweep import Dead, Tally

from ccremedy import files, registry
from ccremedy.errors import DRIFT, LOCKED, Drift, Problem
from ccremedy.files import linux
from ccremedy.finding import Finding, want
from ccremedy.resources import PENDING, Setting
from ccremedy.testing import Case, Rig, no_shells

BEFORE, OURS, THEIRS = b'{"log": [1]}', b'{"log": [1], "x": true}', b'{"log": [1, 2]}'
CASE = Case("swap", registry.remedy("npm-prefix"), {"platform": "linux"})
Act = Callable[[], object]


@contextlib.contextmanager
def meanwhile(acts: Mapping[int | str, Act], dead: int = 0) -> Iterator[dict[int | str, Act]]:
    """Do each act just before our system call of that number, or name and number ("renameat2 2"); yields what is left.

    From call number `dead` on, this process is as good as killed.
    """
    left, seen = dict(acts), Counter[str]()

    def around(name: str, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        seen[name] += 1
        for key in (seen.total(), f"{name} {seen[name]}"):
            left.pop(key, lambda: None)()
        if name == "fsync":  # nobody cuts the power here
            return None
        if dead and seen.total() >= dead:
            left.pop("dead", lambda: None)()
            if name == "close":  # as the end of a process does
                real(*arguments)
            raise Dead
        return real(*arguments, **options)

    with sweep.seam(around), impatience():
        yield left


class Clock:
    """On which a second is over after two looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.5)


@contextlib.contextmanager
def impatience() -> Iterator[None]:
    real = vars(files)["time"]
    vars(files)["time"] = Clock()
    try:
        yield
    finally:
        vars(files)["time"] = real


def by_rename(path: Path, data: bytes) -> None:
    new = path.with_name("theirs")
    new.write_bytes(data)
    new.rename(path)


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in sorted(folder.iterdir())}


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """For a sweep: in memory, unless it is about a file system."""
    if os.environ.get("CCREMEDY_MOUNTED"):
        yield tmp_path / "x"
        return
    with sweep.scratch_folder("swap") as folder:
        yield Path(folder) / "x"


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str, Tally, int], None]:
    """Print the figures of a sweep, and fail unless every point landed, there were enough, and nothing went wrong."""

    def check(name: str, tally: Tally, at_least: int) -> None:
        with capsys.disabled():
            print(f"\n{tally.line(name)}", end=" ")
        assert not tally.bad, "\n".join([f"{len(tally.bad)} points went wrong:", *tally.bad[:15]])
        assert tally.landed == tally.points >= at_least

    return check


# ---- somebody writes at any moment of `replace`

ACTS: dict[str, tuple[bytes | None, bytes | None]] = {
    "change": (BEFORE, OURS), "create": (None, OURS), "remove": (OURS, None),
}  # fmt: skip


def raced(folder: Path, act: str, writer: str, points: tuple[int, ...]) -> tuple[bool, str]:
    """Whether all of it happened, and what is wrong then: the last version of theirs must be there, and only it."""
    before, after = ACTS[act]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, last = folder / "file", THEIRS + b"  " * len(points)
    if before is not None:
        path.write_bytes(before)
    acts: dict[int | str, Act] = {}
    if writer == "slowly in place":
        slow: list[FileIO] = []
        acts[points[0]] = lambda: slow.append(FileIO(path, "w"))  # closed when the second act lets it go
        acts[points[1]] = lambda: slow.pop().write(last)
    else:
        put = by_rename if writer == "by rename" else in_place
        for number, point in enumerate(points, 1):
            acts[point] = lambda data=THEIRS + b"  " * number: put(path, data)  # type: ignore[misc]
    error: BaseException | None = None
    with meanwhile(acts) as left:
        try:
            files.replace(str(path), before, after, str(folder / ".scratch"))
        except (Problem, OSError) as raised:
            error = raised
    if left:
        for act_left in left.values():
            act_left()
        return False, ""
    found = everything(folder)
    why = "" if found == {"file": last} else f"{act}, {writer} before calls {points}: {found}, and said {error!r}"
    return True, why


def race_sweep(folder: Path) -> Tally:
    """They write once, or twice, before any call; or begin before one and end before another."""
    tally = Tally()
    for act, writer in itertools.product(ACTS, ("by rename", "in place", "slowly in place")):
        for first in itertools.count(1):
            begun = writer == "slowly in place" or _count(tally, raced(folder, act, writer, (first,)))
            seconds = 0
            for second in itertools.count(first + 1):
                if not begun or not _count(tally, raced(folder, act, writer, (first, second))):
                    break
                seconds += 1
            if not begun or (writer == "slowly in place" and not seconds):
                break
    return tally


def _count(tally: Tally, outcome: tuple[bool, str]) -> bool:
    landed, why = outcome
    tally.points += landed
    tally.landed += landed
    tally.bad += [why] if why else []
    return landed


def test_whoever_writes_while_we_replace_the_file_keeps_the_last_word(
    scratch: Path, tell: Callable[[str, Tally, int], None]
) -> None:
    tell("race", race_sweep(scratch), 500)


def _rename_without_a_look(source: str, destination: str, flag: int) -> bool:
    vars(linux)["os"].rename(source, destination)
    return True


def test_a_plain_rename_is_caught(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "renameat2", _rename_without_a_look)
    assert race_sweep(scratch).bad


def test_a_swap_whose_other_side_is_not_looked_at_is_caught(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(path: str, limit: int = files.LIMIT) -> bytes | None:
        return real(path.replace(".scratch", "file") if path.endswith(".scratch") else path, limit)

    real = files.read
    monkeypatch.setattr(files, "read", blind)
    assert race_sweep(scratch).bad


@pytest.mark.parametrize("writes", [1, 2, 3, 4], ids=["once", "twice", "three times", "four times"])
def test_they_write_at_each_of_our_swaps(writes: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    acts: dict[int | str, Act] = {
        f"renameat2 {number}": lambda number=number: by_rename(path, b"%d" % number)  # type: ignore[misc]
        for number in range(1, writes + 1)
    }
    with meanwhile(acts) as left, pytest.raises(Drift, match="written by another program"):
        files.replace(str(path), BEFORE, OURS, str(tmp_path / ".scratch"))
    assert not left
    assert everything(tmp_path) == {"file": b"%d" % writes}


def test_a_mode_that_was_made_stricter_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    path.chmod(0o644)
    with meanwhile({"renameat2 1": lambda: path.chmod(0o600)}), contextlib.suppress(Drift):
        files.replace(str(path), BEFORE, OURS, str(tmp_path / ".scratch"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_that_has_taken_the_place_of_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)

    def stow() -> None:
        path.rename(tmp_path / "dotfile")
        path.symlink_to("dotfile")

    with meanwhile({"renameat2 1": stow}), pytest.raises(Drift):
        files.replace(str(path), BEFORE, OURS, str(tmp_path / ".scratch"))
    assert path.is_symlink()
    assert everything(tmp_path) == {"dotfile": BEFORE, "file": BEFORE}


def test_what_they_opened_before_our_swap_and_write_after_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    theirs = FileIO(path, "r+")

    def go_on(seconds: float) -> None:
        if not theirs.closed:
            theirs.truncate()
            theirs.write(THEIRS)
            theirs.close()
            in_place(path, THEIRS + b"  ")  # a newer one, into the file that is ours

    monkeypatch.setattr(time, "sleep", go_on)
    with pytest.raises(Drift, match="written by another program"):
        files.replace(str(path), BEFORE, OURS, str(tmp_path / ".scratch"))
    assert everything(tmp_path) == {"file": THEIRS + b"  "}


def test_a_file_that_they_hold_open_is_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    with open(path, "ab") as theirs:
        for after in (OURS, None):
            with impatience(), pytest.raises(Drift, match="is held open for writing by another program") as told:
                files.replace(str(path), BEFORE, after, str(tmp_path / ".scratch"))
            assert told.value.todo == "Close it there, then try again"
        theirs.write(b" ")
    assert everything(tmp_path) == {"file": BEFORE + b" "}


def test_a_lease_that_a_server_never_grants_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS 4 refuses with the same error as where somebody writes; what we have made could not be removed there."""
    path = tmp_path / "file"
    path.write_bytes(OURS)
    monkeypatch.setattr(linux, "kind_of_system", lambda handle: 0x6969)
    with open(path, "ab"):  # stands for the promise that is missing
        files.replace(str(path), OURS, None, str(tmp_path / ".scratch"))
    assert everything(tmp_path) == {}


OPENS = """
import os, sys
while True:
    os.close(os.open(sys.argv[1], os.O_WRONLY))
"""
LOOKS = """
import sys, time
from ccremedy import files
looks, seen, end = 0, set(), time.monotonic() + 60
while looks < 20_000 or (len(seen) < 2 and time.monotonic() < end):  # the opener may not have begun
    looks += 1
    seen.add(files.system.has_writer(sys.argv[1]))
assert seen == {True, False}, seen
"""


def test_the_look_whether_they_write_kills_nobody(tmp_path: Path) -> None:
    """Who opens the file in the instant of our look makes the kernel send us a signal."""
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    opener = subprocess.Popen([sys.executable, "-c", OPENS, str(path)])
    try:
        looker = subprocess.run([sys.executable, "-c", LOOKS, str(path)])
    finally:
        opener.kill()
        opener.wait()
    assert looker.returncode == 0


def test_a_file_that_disappears_meanwhile_is_drift_and_stays_away(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    with meanwhile({"renameat2 1": path.unlink}), pytest.raises(Drift) as raised:
        files.replace(str(path), BEFORE, OURS, str(tmp_path / ".scratch"))
    assert raised.value.where == str(path)
    assert everything(tmp_path) == {}


# ---- file systems without the swap


def without_the_swap(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The C library as it is where the kernel answers `code`; 0: as it is without the function."""

    class Library:
        def __init__(self, *arguments: object, **options: object) -> None:
            if code:
                self.renameat2 = lambda *arguments: ctypes.set_errno(code) or -1

    monkeypatch.setattr(ctypes, "CDLL", Library)


NO_SWAP = pytest.mark.parametrize(
    "code", [errno.EINVAL, errno.ENOSYS, 0], ids=["a file system", "a kernel", "a C library"]
)


@NO_SWAP
@pytest.mark.parametrize("act", ACTS)
def test_it_writes_on_the_old_way_with_without_the_swap(
    act: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_swap(monkeypatch, code)
    before, after = ACTS[act]
    if before is not None:
        (tmp_path / "file").write_bytes(before)
    files.replace(str(tmp_path / "file"), before, after, str(tmp_path / ".scratch"))
    assert everything(tmp_path) == ({} if after is None else {"file": after})


@NO_SWAP
@pytest.mark.parametrize("act", ACTS)
def test_it_still_compares_without_the_swap(
    act: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_swap(monkeypatch, code)
    (tmp_path / "file").write_bytes(THEIRS)
    with pytest.raises(Drift):
        files.replace(str(tmp_path / "file"), *ACTS[act], str(tmp_path / ".scratch"))
    assert everything(tmp_path) == {"file": THEIRS}


def test_a_file_that_they_hold_open_is_left_to_them_without_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "renameat2", lambda *arguments: False)
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    with open(path, "ab") as theirs:
        with impatience(), pytest.raises(Drift, match="is held open for writing by another program"):
            files.replace(str(path), BEFORE, OURS, str(tmp_path / ".scratch"))
        theirs.write(b" ")
    assert everything(tmp_path) == {"file": BEFORE + b" "}


def test_another_error_of_the_swap_is_told_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_swap(monkeypatch, errno.EIO)
    (tmp_path / "file").write_bytes(BEFORE)
    with pytest.raises(OSError, match="Input/output"):
        files.replace(str(tmp_path / "file"), BEFORE, OURS, str(tmp_path / ".scratch"))
    assert everything(tmp_path) == {"file": BEFORE}


# ---- killed, and cleared up later

LATER = ("nothing", "they merge", "they write from memory", "they write our value too")


def crashed(folder: Path, value: str, same: bool, first: int, dead: int, later: str) -> tuple[bool, str]:
    """Killed in a write, beside one of theirs, with the `same` value or not; then what happens `later`; then recovery.

    Whether all of that happened, and what was lost ('': nothing).
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, scratch = folder / ".claude.json", folder / ".ccremedy-1-1-0"
    before = BEFORE if value else OURS
    path.write_bytes(before)
    theirs = [1]
    acts: dict[int | str, Act] = {"dead": lambda: None}
    if first:
        more = {"x": True} if same == bool(value) else {}

        def write() -> None:
            theirs.append(2)
            by_rename(path, json.dumps({"log": [1, 2], **more}).encode())

        acts[first] = write
    with meanwhile(acts, dead) as left, contextlib.suppress(Dead, Problem):
        Setting(str(path), "/x").write("" if value else "true", value, str(scratch))
    if left:
        return False, ""
    if later != "nothing":
        held = json.loads(path.read_bytes()) if later == "they merge" else {"log": list(theirs)}
        held |= {"x": True} if later == "they write our value too" else {}
        held["log"].append(9)
        theirs.append(9)
        by_rename(path, json.dumps(held).encode())
        now = time.time_ns() + 10**9  # a second later
        os.utime(path, ns=(now, now))
    who = f"to “{value}”: they write {'the same' if same else ''} at {first}, killed at {dead}, later {later}"
    try:
        Setting(str(path), "/x").settle(value, str(scratch))
    except (Problem, OSError) as error:
        return True, f"{who}: {error!r}"
    found = everything(folder)
    if hidden := [name for name in found if not name.startswith(".claude.json") or name.endswith(".lock")]:
        return True, f"{who}: {hidden} is left"
    logs = {name: json.loads(data)["log"] if data else [] for name, data in found.items()}
    in_place = theirs[-1] in logs.get(path.name, []) or later == "nothing"
    lost = not in_place or set(theirs) - {each for log in logs.values() for each in log}
    return True, f"{who}: {logs} of {theirs}" if lost else ""


def crash_sweep(folder: Path) -> Tally:
    tally = Tally()
    for value, same, later in itertools.product(("true", ""), (False, True), LATER):
        for first in itertools.count(0):
            dead = max(first, 1)
            while _count(tally, crashed(folder, value, same, first, dead, later)):
                dead += 1
            if dead == max(first, 1):
                break
    return tally


def test_whatever_they_write_around_a_crash_of_ours_is_kept(
    scratch: Path, tell: Callable[[str, Tally, int], None]
) -> None:
    tell("crash-beside-a-writer", crash_sweep(scratch), 1500)


def test_a_recovery_that_lets_the_other_version_go_is_caught(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Setting, "settle", lambda self, value, scratch: files.discard(scratch))
    assert crash_sweep(scratch).bad


def test_a_partial_scratch_file_is_cleared_away(tmp_path: Path) -> None:
    path, scratch = tmp_path / ".claude.json", tmp_path / ".ccremedy-1-1-0"
    for part in (b"", OURS[:1], OURS[:-1]):
        path.write_bytes(BEFORE)
        scratch.write_bytes(part)
        Setting(str(path), "/x").settle("true", str(scratch))
        assert everything(tmp_path) == {".claude.json": BEFORE}


def test_there_is_nothing_to_settle_where_the_folder_was_never_made(tmp_path: Path) -> None:
    Setting(str(tmp_path / "new" / ".claude.json"), "/x").settle("true", str(tmp_path / "new" / ".ccremedy-1-1-0"))
    assert everything(tmp_path) == {}


# ---- through the engine


class Bench:
    """A machine with a state file, and the change that sets one member of it."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig.make(CASE, str(folder / "scratch"), no_shells)
        self.home = Path(self.rig.machine.home)
        self.file = self.home / ".claude.json"
        self.file.write_bytes(BEFORE)
        (self.change,) = want(Setting.at(str(self.file), "/x"), "true")

    def apply(self) -> tuple[list[str], list[Problem]]:
        result = self.rig.apply([Finding("swap", "", changes=(self.change,), remedy="npm-prefix")])
        return list(result.outcomes.values()), result.problems


@pytest.fixture
def bench(scratch: Path) -> Bench:
    return Bench(scratch)


@pytest.mark.parametrize("moment", ["before we begin", "at the swap"])
@pytest.mark.parametrize("what", ["another member", "the same member"])
def test_what_they_change_meanwhile_is_drift_and_the_next_run_works(bench: Bench, what: str, moment: str) -> None:
    theirs = THEIRS if what == "another member" else b'{"x": "theirs"}'
    if moment == "before we begin":
        by_rename(bench.file, theirs)
        outcomes, problems = bench.apply()
    else:
        # The swap of the file, after those of nothing else: the journal is only ever appended to.
        with meanwhile({"renameat2 1": lambda: by_rename(bench.file, theirs)}) as left:
            outcomes, problems = bench.apply()
        assert not left
    if (what, moment) == ("another member", "before we begin"):
        assert outcomes == ["done"]
        return
    assert (outcomes, [problem.code for problem in problems]) == (["drifted"], [DRIFT])
    assert everything(bench.home) == {".claude.json": theirs}
    bench.rig.recover()
    assert not any(run.open for run in bench.rig.journal.runs())


def impatient(monkeypatch: pytest.MonkeyPatch, patience: float = 0.2) -> None:
    real = files.folder_lock
    monkeypatch.setattr(files, "folder_lock", lambda path, _patience=15.0: real(path, patience))


@pytest.mark.parametrize("age", [0, -3600], ids=["is fresh", "is dated in the future"])
def test_a_change_waits_for_a_lock_that(age: int, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    lock = bench.home / ".claude.json.lock"
    lock.mkdir()
    os.utime(lock, (time.time() - age,) * 2)
    outcomes, problems = bench.apply()
    assert outcomes == ["failed"]
    assert [problem.code for problem in problems] == [LOCKED], problems
    assert str(lock) in str(problems[0])
    assert everything(bench.home) == {".claude.json": BEFORE, ".claude.json.lock": b""}
    bench.rig.recover()
    assert not any(run.open for run in bench.rig.journal.runs())


@pytest.mark.parametrize("fault", [KeyboardInterrupt, errno.ENOSPC, errno.EIO], ids=str)
def test_the_lock_is_gone_after(fault: type[BaseException] | int, bench: Bench) -> None:
    counter = sweep.Counter()
    with sweep.seam(counter):
        bench.apply()
    calls = counter.count
    bench.rig.undo()
    landed = 0
    for at in range(1, calls + 1):
        failer = sweep.Failer(at=at, fault=fault)
        with sweep.seam(failer), contextlib.suppress(KeyboardInterrupt, Problem):
            bench.apply()
        bench.rig.recover()
        assert not (bench.home / ".claude.json.lock").exists(), f"after {fault} at call {at}"
        if bench.change.status() != PENDING:
            bench.rig.undo()
        assert everything(bench.home) == {".claude.json": BEFORE}, f"after {fault} at call {at}"
        landed += failer.landed
    assert landed > calls / 2


def test_a_success_leaves_no_lock(bench: Bench) -> None:
    assert bench.apply() == (["done"], [])
    assert json.loads(bench.file.read_bytes()) == {"log": [1], "x": True}
    assert list(everything(bench.home)) == [".claude.json"]


def test_a_file_that_another_program_is_just_filling_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(seconds: float) -> None:
        if not theirs.closed:
            theirs.write(THEIRS)
            theirs.close()

    theirs = FileIO(bench.file, "w")
    monkeypatch.setattr(time, "sleep", fill)
    outcomes, _ = bench.apply()
    assert theirs.closed, "it was not waited for"
    assert outcomes == ["done"]
    assert json.loads(bench.file.read_bytes()) == {"log": [1, 2], "x": True}


# ---- the lock


def hold(path: Path, patience: float = 0.2) -> None:
    with files.folder_lock(str(path), patience):
        assert stat.S_ISDIR(path.lstat().st_mode)


def test_a_lock_that_is_let_go_in_time_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.mkdir()
    with meanwhile({"mkdir 3": lock.rmdir}) as left:
        hold(lock, 5)
    assert not left
    assert everything(tmp_path) == {}


@pytest.mark.parametrize(
    ("age", "outcome"),
    [(0, "kept"), (8, "kept"), (11, "taken over"), (86400, "taken over"), (-1, "kept"), (-86400 * 365, "kept")],
    ids=["made now", "8 seconds old", "11 seconds old", "a day old", "a second ahead", "a year ahead"],
)
def test_a_lock_of_theirs_that_is(age: int, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, now = tmp_path / "lock", time.time()
    lock.mkdir()
    os.utime(lock, (now - age,) * 2)
    monkeypatch.setattr(time, "time", lambda: now)  # it grows no older while we come to it
    if outcome == "taken over":
        hold(lock)
        assert everything(tmp_path) == {}
        return
    with pytest.raises(Problem) as raised:
        hold(lock)
    assert (raised.value.code, raised.value.where) == (LOCKED, str(lock))
    assert lock.is_dir()


def test_their_heartbeat_keeps_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.mkdir()
    os.utime(lock, (1, 1))
    with meanwhile({"mkdir 1": lambda: os.utime(lock)}), pytest.raises(Problem) as raised:
        hold(lock)
    assert raised.value.code == LOCKED


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=lambda mask: f"umask {mask:03o}")
def test_one_of_ours_that_a_crash_has_left_is_taken_over_at_once(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock"
    kept = os.umask(umask)
    try:
        with meanwhile({"dead": lambda: None}, dead=2), contextlib.suppress(Dead):
            hold(lock)
    finally:
        os.umask(kept)
    assert lock.is_dir()
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it was waited for"))
    hold(lock, 5)
    assert everything(tmp_path) == {}


def test_a_lock_that_was_taken_over_from_us_is_left(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with files.folder_lock(str(lock)):
        lock.rmdir()
        lock.mkdir(0o755)
    assert lock.is_dir()


@pytest.mark.parametrize("taken_over", [False, True], ids=["is removed", "is left to whom it was taken over by"])
def test_a_lock_on_a_disk_that_keeps_no_modes(taken_over: bool, tmp_path: Path) -> None:
    """As /mnt/c of a WSL, or FUSE; there it stayed behind."""
    lock = tmp_path / "lock"

    def plainly(name: str, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return real(arguments[0], 0o755) if name == "mkdir" else real(*arguments, **options)

    with sweep.seam(plainly), files.folder_lock(str(lock)):
        if taken_over:
            lock.rmdir()
            lock.mkdir(0o755)
            os.utime(lock, (1, 1))
    assert lock.is_dir() == taken_over


@pytest.mark.parametrize("what", ["a file", "a link to a directory", "a link to nothing", "a stale one that is full"])
def test_in_the_place_of_the_lock_is(what: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    if what == "a file":
        lock.write_text("x")
    elif what == "a stale one that is full":
        lock.mkdir()
        (lock / "x").write_text("x")
    else:
        (tmp_path / "folder").mkdir()
        lock.symlink_to("folder" if what.endswith("directory") else "nowhere")
    os.utime(lock, (1, 1), follow_symlinks=False)
    with pytest.raises(Problem) as raised:
        hold(lock)
    assert (raised.value.code, raised.value.where) == (LOCKED, str(lock))
    assert os.path.lexists(lock)
    assert not what.endswith("full") or (lock / "x").exists()


def test_a_lock_in_a_folder_that_we_may_not_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if name == "mkdir":
            raise PermissionError(errno.EACCES, "Permission denied", arguments[0])
        return real(*arguments, **options)

    with sweep.seam(refused), pytest.raises((Problem, PermissionError)) as raised:
        hold(tmp_path / "lock")
    assert str(tmp_path / "lock") in str(raised.value)
    assert everything(tmp_path) == {}


def test_a_folder_that_has_become_read_only_changes_nothing_and_leaves_nothing_open(bench: Bench) -> None:
    def refused(name: str, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if name == "mkdir" and str(arguments[0]).startswith(str(bench.home)):
            raise OSError(errno.EROFS, "Read-only file system", arguments[0])
        return real(*arguments, **options)

    with sweep.seam(refused):
        outcomes, problems = bench.apply()
    assert outcomes == ["failed"]
    assert [problem.code for problem in problems] == [1]
    assert everything(bench.home) == {".claude.json": BEFORE}
    assert not any(run.open for run in bench.rig.journal.runs())


# ---- what surrounds the bytes


def swapped(path: Path) -> None:
    files.replace(str(path), BEFORE, OURS, str(path.resolve().with_name(".scratch")))
    assert path.read_bytes() == OURS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755, 0o666], ids=lambda mode: f"{mode:04o}")
def test_the_swap_keeps_the_mode(mode: int, file: Path) -> None:
    file.chmod(mode)
    swapped(file)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_the_swap_keeps_a_link_and_changes_the_file_behind_it(file: Path) -> None:
    (file.parent / "home").mkdir()
    link = file.parent / "home" / "link"
    link.symlink_to("../file")
    swapped(link)
    assert os.readlink(link) == "../file"
    assert file.read_bytes() == OURS


def test_a_file_with_hard_links_is_refused(file: Path) -> None:
    os.link(file, file.parent / "other")
    assert "hard links" in Setting(str(file), "/x").obstacle()


def test_the_swap_keeps_attributes(file: Path) -> None:
    try:
        os.setxattr(file, "user.mine", b"x")
    except OSError:
        pytest.skip("needs a file system with extended attributes")
    swapped(file)
    assert os.getxattr(file, "user.mine") == b"x"


def test_the_swap_keeps_an_access_control_list(file: Path, needs: Callable[[str], None]) -> None:
    needs("setfacl")
    needs("getfacl")
    if subprocess.run(["setfacl", "-m", "u:12345:r", str(file)], capture_output=True).returncode:
        pytest.skip("needs a file system with access control lists")
    before = subprocess.run(["getfacl", "-n", str(file)], capture_output=True, check=True).stdout
    swapped(file)
    assert b"user:12345:r" in before
    assert subprocess.run(["getfacl", "-n", str(file)], capture_output=True, check=True).stdout == before


# ---- real file systems

MOUNTS = {
    "tmpfs": "mount -t tmpfs none top",
    "ramfs": "mount -t ramfs none top",
    "ext4": "truncate -s 32M image && mkfs.ext4 -q image && mount -o loop image top",
    "vfat, which cannot keep modes": "truncate -s 32M image && mkfs.vfat image && mount -t vfat -o loop image top",
    "overlay": "mkdir -p on/lower on/upper on/work && mount -t tmpfs none on && mkdir on/lower on/upper on/work"
    " && mount -t overlay none -o lowerdir=on/lower,upperdir=on/upper,workdir=on/work top",
}


@pytest.mark.parametrize("kind", MOUNTS)
def test_all_of_this_holds_on(kind: str, tmp_path: Path) -> None:
    """Once more, by this file's own tests, below a file system that is mounted for them alone."""
    if os.environ.get("CCREMEDY_MOUNTED"):
        pytest.skip("needs a file system that is not one of those mounted for this")
    private = ["unshare", "--mount", "sh", "-c"]
    mount = f"cd {tmp_path} && mkdir -p top && {MOUNTS[kind]}"
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root, and unshare, to mount file systems")
    tried = subprocess.run([*private, mount], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"needs a kernel and tools that can mount {kind}: {tried.stderr.strip().splitlines()[-1]}")
    chosen = "not caught and not around_a_crash and not gone_after"  # long ones, and nothing to do with a file system
    inner = (
        f"{sys.executable} -m pytest -q -x -p no:cacheprovider -k '{chosen}' --basetemp={tmp_path}/top/tests {__file__}"
    )
    done = subprocess.run(
        [*private, f"{mount} && cd / && exec {inner} --rootdir={Path(__file__).parent.parent}"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "CCREMEDY_MOUNTED": "1", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
