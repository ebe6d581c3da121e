"""What `files` promises, kept on Windows: swaps, scanners, half-done swaps, access lists, names.

Runs on Windows, and under Wine (see test_windows_under_wine.py). Where a fault of Windows itself is needed (a scanner
that holds a file, ReplaceFileW that stops half-way), the call below `files` is made to fail so: those tests say
"simulated".
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows (or Wine: test_windows_under_wine.py)", allow_module_level=True)

import msvcrt

from ccremedy import files
from ccremedy.errors import Drift, Problem
from ccremedy.files import windows

UNDER_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
POINTS = 10_000 if not UNDER_WINE or os.environ.get("CCREMEDY_SWEEP") == "1" else 1_500
BEFORE, OURS, THEIRS = b'{"log": [1]}', b'{"log": [1], "x": true}', b'{"log": [1, 2]}'


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in sorted(folder.iterdir())}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(BEFORE)
    return path


def replace(path: Path, before: bytes | None = BEFORE, after: bytes | None = OURS) -> None:
    files.replace(str(path), before, after, str(path.with_name(".scratch")))


# ---- the swap


def test_a_file_is_replaced_and_nothing_is_left_beside_it(file: Path) -> None:
    replace(file)
    assert everything(file.parent) == {"file": OURS}


def test_a_new_file_is_made_and_an_emptied_one_goes(file: Path) -> None:
    replace(file.with_name("new"), None, OURS)
    replace(file, BEFORE, None)
    assert everything(file.parent) == {"new": OURS}


def test_what_is_not_as_it_was_read_is_left(file: Path) -> None:
    with pytest.raises(Drift):
        replace(file, THEIRS)
    assert everything(file.parent) == {"file": BEFORE}


def test_attributes_and_streams_of_the_file_stay(file: Path) -> None:
    kernel = ctypes.WinDLL("kernel32")
    hidden = 2
    kernel.SetFileAttributesW(str(file), hidden)
    replace(file)
    assert kernel.GetFileAttributesW(str(file)) & hidden
    assert file.read_bytes() == OURS


def test_whoever_reads_meanwhile_as_windows_programs_should_stops_nobody(file: Path) -> None:
    handle = files.system.open_to_read(str(file))
    try:
        replace(file)
        assert os.read(handle, 100) == BEFORE
    finally:
        os.close(handle)
    assert everything(file.parent) == {"file": OURS}


def test_what_node_opened_before_our_swap_and_writes_after_it_is_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares its files in every way."""
    handle = windows._open(str(file), windows._WRITE, 0)
    assert files.system.has_writer(str(file))
    theirs = msvcrt.open_osfhandle(handle, os.O_WRONLY)

    def go_on(seconds: float) -> None:
        os.write(theirs, THEIRS)
        os.close(theirs)
        monkeypatch.undo()

    monkeypatch.setattr(time, "sleep", go_on)
    with pytest.raises(Drift, match="written by another program"):
        replace(file)
    assert everything(file.parent) == {"file": THEIRS}
    assert files.system.has_writer(str(file)) is False


def test_a_file_that_another_program_keeps_to_itself_is_refused_with_the_reason(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_WAITS", (0.001,))
    with open(file, "rb"):  # Python shares no deletion
        assert "held open by another program" in files.obstacle(str(file))
        with pytest.raises(PermissionError):
            replace(file)
    assert everything(file.parent) == {"file": BEFORE}


@contextlib.contextmanager
def instead(name: str, fake: Callable[..., Any]) -> Iterator[None]:
    """`fake` gets the real call first, then its arguments."""
    real = getattr(windows._kernel, name)

    class Kernel:
        def __getattr__(self, other: str) -> Any:
            return (lambda *given: fake(real, *given)) if other == name else getattr(kernel, other)

    kernel = windows._kernel
    vars(windows)["_kernel"] = Kernel()
    try:
        yield
    finally:
        vars(windows)["_kernel"] = kernel


def fails(code: int) -> int:
    ctypes.set_last_error(code)
    return 0


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_simulated_who_writes_at_the_moment_of_each_swap_keeps_the_last_word(writes: int, file: Path) -> None:
    left = iter(range(writes))

    def replaced(real: Any, target: str, scratch: str, *rest: Any) -> int:
        number = next(left, None)
        if number is not None:
            theirs = file.with_name("theirs")
            theirs.write_bytes(b"%d" % number)
            os.replace(theirs, file)
        return int(real(target, scratch, *rest))

    with instead("ReplaceFileW", replaced), pytest.raises(Drift, match="written by another program"):
        replace(file)
    assert everything(file.parent) == {"file": b"%d" % (writes - 1)}


@pytest.mark.parametrize("code", [5, 32, 33, 1175, 1176])
def test_simulated_a_fault_that_passes_is_waited_for(code: int, file: Path) -> None:
    left = iter([code] * 5)

    def replaced(real: Any, *given: Any) -> int:
        found = next(left, 0)
        return fails(found) if found else int(real(*given))

    with instead("ReplaceFileW", replaced):
        replace(file)
    assert everything(file.parent) == {"file": OURS}


@pytest.mark.parametrize("code", [5, 32, 33, 1175, 1176])
def test_simulated_a_fault_that_lasts_changes_nothing(code: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_WAITS", (0.0001,) * 9)
    tried = []
    with (
        instead("ReplaceFileW", lambda real, *given: tried.append(given) or fails(code)),
        pytest.raises(OSError, match=rf"WinError {code}"),
    ):
        replace(file)
    assert len(tried) == 10
    assert everything(file.parent) == {"file": BEFORE}


def half_done(real: Any, target: str, scratch: str, out: str, *rest: Any) -> int:
    """ERROR_UNABLE_TO_MOVE_REPLACEMENT_2, as documented: the old file has its third name, the new one its own."""
    os.rename(target, out)
    return fails(1177)


def test_simulated_a_swap_that_stops_half_way_is_made_whole_and_made_again(file: Path) -> None:
    left = iter([half_done, half_done])
    with instead("ReplaceFileW", lambda real, *given: next(left, lambda real, *given: int(real(*given)))(real, *given)):
        replace(file)
    assert everything(file.parent) == {"file": OURS}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["half-way", "before the third name is gone"])
def test_simulated_what_a_crash_in_a_swap_leaves_is_finished(when: str, file: Path) -> None:
    def replaced(real: Any, *given: Any) -> int:
        if when == "half-way":
            half_done(real, *given)
        else:
            assert real(*given)
        raise Killed

    scratch = file.with_name(".scratch")
    with instead("ReplaceFileW", replaced), contextlib.suppress(Killed):
        model = files._write_scratch(str(file), OURS, str(scratch), 0o644)
        assert model is not None
        files.system.exchange(str(scratch), str(file))
    assert len(everything(file.parent)) == 2
    files.finish_swap(str(file), str(scratch))
    expected = (BEFORE, OURS) if when == "half-way" else (OURS, BEFORE)
    assert everything(file.parent) == {"file": expected[0], ".scratch": expected[1]}
    files.finish_swap(str(file), str(scratch))
    assert len(everything(file.parent)) == 2


def test_simulated_what_cannot_be_told_for_sure_is_kept(file: Path) -> None:
    scratch = file.with_name(".scratch")
    scratch.write_bytes(OURS)
    scratch.with_name(".scratch~").write_bytes(THEIRS)
    files.finish_swap(str(file), str(scratch))
    assert everything(file.parent) == {"file": BEFORE, ".scratch": OURS, "file.ccremedy-1": THEIRS}


def scanner(seed: int, share: float) -> Callable[..., Any]:
    """Lets this share of the calls fail, as was measured in folders that a virus scanner watches."""
    chance = random.Random(seed)

    def call(real: Any, *given: Any) -> int:
        if chance.random() < share:
            return fails(chance.choice((5, 32, 33, 1175, 1176)))
        return int(real(*given))

    return call


@pytest.fixture
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_WAITS", (1e-9,) * 40)
    monkeypatch.setattr(windows.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nobody cuts the power here


@pytest.mark.usefixtures("_hurry")
def test_simulated_whatever_faults_come_one_behind_another_nothing_is_lost(file: Path) -> None:
    """Each sequence of up to three of the six: what a swap does next depends on nothing else."""
    now = BEFORE
    for count in range(4):
        for codes in itertools.product((5, 32, 33, 1175, 1176, 1177), repeat=count):
            after, left = repr(codes).encode(), iter(codes)

            def replaced(real: Any, *given: Any, left: Iterator[int] = left) -> int:
                code = next(left, 0)
                return half_done(real, *given) if code == 1177 else fails(code) if code else int(real(*given))

            with instead("ReplaceFileW", replaced):
                replace(file, now, after)
            assert everything(file.parent) == {"file": after}, codes
            now = after


@pytest.mark.usefixtures("_hurry")
def test_simulated_many_writes_under_a_scanner_lose_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points, faults = POINTS, 0
    now, bad = BEFORE, []
    watched = scanner(1, 0.44)

    def replaced(real: Any, *given: Any) -> int:
        nonlocal faults
        done = watched(real, *given)
        faults += not done
        return int(done)

    with instead("ReplaceFileW", replaced):
        for number in range(points):
            after = b"%d " % number * (number % 50)
            replace(file, now, after)
            found = file.read_bytes()
            if found != after:
                bad.append(f"{number}: {found[:40]!r}")
            now = after
    assert everything(file.parent) == {"file": now}
    with capsys.disabled():
        print(f"\nscanner points={points} faults={faults} bad={len(bad)}", end=" ")
    assert not bad
    assert faults > 0.4 * points


def test_simulated_one_who_overwrites_in_place_would_be_caught(file: Path) -> None:
    """The twin: what a plain open-and-write does where the scanner comes in between."""
    chance, bad = random.Random(1), 0
    for number in range(200):
        after = b"%d " % number * 50
        with open(file, "wb") as out:
            out.write(after[:20])
            if chance.random() >= 0.44:
                out.write(after[20:])
        bad += file.read_bytes() != after
    assert bad


# ---- who may do what


def test_a_folder_of_ours_is_open_to_nobody_else(tmp_path: Path) -> None:
    folder = str(tmp_path / "private")
    files.make_folders((folder,), 0o700)
    assert files.indiscretion(folder) == ("", "")
    owner, listed = windows._security(folder)
    assert owner == windows.me()
    assert "WD" not in listed


@pytest.mark.skipif(UNDER_WINE, reason="needs access lists that are inherited, which Wine has not")
def test_what_is_made_in_it_is_open_to_nobody_else_either(tmp_path: Path) -> None:
    folder = str(tmp_path / "private")
    files.make_folders((folder, os.path.join(folder, "within")), 0o700)
    files.append(os.path.join(folder, "within", "journal"), b"x", 0)
    assert not windows._others(os.path.join(folder, "within", "journal"), 0xFFFFFFFF)


def test_a_folder_that_everybody_may_look_into_is_an_indiscretion(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    with windows._descriptor(f"D:P(A;OICI;FA;;;{windows.me()})(A;OICI;FR;;;WD)") as descriptor:
        attributes = windows._Attributes(ctypes.sizeof(windows._Attributes), descriptor, 0)
        assert windows._kernel.CreateDirectoryW(str(folder), ctypes.byref(attributes))
    what, todo = files.indiscretion(str(folder))
    assert "open to other users (WD)" in what
    assert "icacls" in todo


def test_our_own_home_belongs_to_us() -> None:
    assert files.belongs_to_us(os.environ["USERPROFILE"])


# ---- names, moves, locks


def test_a_move_never_overwrites(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(THEIRS)
    with pytest.raises(FileExistsError):
        files.move(str(file), str(other))
    assert everything(file.parent) == {"file": BEFORE, "other": THEIRS}


def test_a_folder_is_moved_whole(tmp_path: Path) -> None:
    (tmp_path / "folder" / "in").mkdir(parents=True)
    files.move(str(tmp_path / "folder"), str(tmp_path / "aside"))
    assert (tmp_path / "aside" / "in").is_dir()


@pytest.mark.parametrize("name", ["a:b", "a?b", "a*b", 'a"b', "a|b", "a<b", "nul\0l"])
def test_a_name_that_no_file_can_have_is_no_file(name: str, tmp_path: Path) -> None:
    path = os.path.join(str(tmp_path), name, "x")
    assert files.status(path) is None


@pytest.mark.parametrize("name", ["NUL", "nul.txt"])
def test_a_reserved_name_is_no_file_that_we_read(name: str, tmp_path: Path) -> None:
    found: bytes | None = None
    with contextlib.suppress(Problem):
        found = files.read(os.path.join(str(tmp_path), name))
    assert not found


def test_letter_case_makes_no_difference(file: Path) -> None:
    assert files.read(str(file).upper()) == BEFORE
    replace(Path(str(file).upper()))
    assert {name.lower(): data for name, data in everything(file.parent).items()} == {"file": OURS}


def test_a_folder_is_no_file_and_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is a directory, not a file"):
        files.read(str(tmp_path))


def test_the_lock_of_claude_code_is_ours_while_we_hold_it(tmp_path: Path) -> None:
    lock = str(tmp_path / "state.lock")
    with files.folder_lock(lock):
        assert files._is_ours(lock)
    assert not os.path.exists(lock)


def test_a_lock_of_somebody_else_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "state.lock"
    lock.mkdir()
    with pytest.raises(Problem), files.folder_lock(str(lock), patience=0.2):
        pass
    assert lock.is_dir()


def test_a_read_only_file_is_refused(file: Path) -> None:
    file.chmod(0o444)
    try:
        assert files.obstacle(str(file)) == "is read-only"
    finally:
        file.chmod(0o666)


def test_a_very_long_path_is_no_bug(tmp_path: Path) -> None:
    path = os.path.join(str(tmp_path), *["a" * 60] * 6, "file")
    assert files.read(path) is None
    folders = files.missing_folders(path)
    files.make_folders(folders)
    files.replace(path, None, BEFORE, f"{path}.scratch")
    files.replace(path, BEFORE, OURS, f"{path}.scratch")
    files.move(path, f"{path}-aside")
    assert (files.read(f"{path}-aside"), files.names(os.path.dirname(path))) == (OURS, ["file-aside"])
    files.discard(f"{path}-aside")
    files.remove_folders(folders)
    assert list(tmp_path.iterdir()) == []


def test_a_share_that_is_not_there_is_no_bug() -> None:
    assert files.status(r"\\ccremedy.invalid\share\home") is None


def test_a_new_process_sees_what_was_written(file: Path) -> None:
    replace(file)
    told = subprocess.run([sys.executable, "-c", f"print(open({str(file)!r}).read())"], capture_output=True, check=True)
    assert told.stdout.strip() == OURS
