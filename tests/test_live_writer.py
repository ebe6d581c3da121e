"""Beside a program that writes the state file as a running session does, none of its updates is lost (R11).

A writer counts its updates in ~/.claude.json, in three ways: it takes the lock and merges; it ignores the lock and
writes what it remembers, by rename; the same, in place. A reader looks at the file all the time. Meanwhile one member
of it is set and taken back, through the real engine. `CCREMEDY_SWEEP=1` does ten times as much.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
import sweep
from sweep import Tally

from ccremedy import files, registry
from ccremedy.engine import Engine, Result
from ccremedy.errors import INCOMPLETE, Problem
from ccremedy.finding import Finding, want
from ccremedy.resources import Setting
from ccremedy.testing import Case, Rig, no_shells

MODES = ("it takes the lock and merges", "it writes what it remembers", "it writes that in place")
LOCKS, REMEMBERS, IN_PLACE = MODES
FULL, TEN = "at full speed", "ten times a second"
TIMES = 10 if os.environ.get("CCREMEDY_SWEEP") == "1" else 1
ROUNDS = {FULL: 150 * TIMES, TEN: 20 * TIMES}  # each sets the member, and takes it back
CASE = Case("live", registry.remedy("npm-prefix"), {"platform": "linux"})
PATIENCE = 60.0  # seconds within which an update that was swapped out for a moment must be back, on any machine
LITTLE = 3.0  # the same in a twin, where it is lost


class Counts(ctypes.Structure):
    """Numbers that several processes share."""

    stop: int
    acts: int  # of ours
    begun: int  # updates
    done: int
    lost: int
    broken: int  # the lock
    gone_back: int
    torn: int
    reads: int
    _fields_ = tuple((name, ctypes.c_long) for name in __annotations__)

    @classmethod
    def make(cls) -> Counts:
        return cls.from_buffer(mmap.mmap(-1, 4096))

    def over(self) -> bool:
        return bool(self.stop) or os.getppid() == 1  # also where the test was killed

    def wrong(self) -> list[str]:
        return [
            f"{name}: {getattr(self, name)}" for name in ("lost", "broken", "gone_back", "torn") if getattr(self, name)
        ]


# ---- the session, and whoever looks


def writer(path: str, mode: str, speed: str, counts: Counts, patience: float) -> None:
    """Updates in bursts; after each, its last one must be in the file, for nobody else counts."""
    chance, number = random.Random(mode + speed), 0
    while not counts.over():
        for _ in range(1 if speed == TEN else chance.randint(1, 6)):
            number += 1
            counts.begun = number
            if mode == LOCKS:
                if not update(path, number, counts):
                    return
            else:
                save(path, remembered(number), in_place=mode == IN_PLACE)
            counts.done = number
        counts.lost += not is_there(path, number, patience)
        acts, rest = counts.acts, time.monotonic() + (0.1 if speed == TEN else chance.choice((0, 0, 0.03)))
        while time.monotonic() < rest and (speed == TEN or counts.acts == acts):  # or else we might miss each other
            time.sleep(0.0002)
        if speed == FULL:
            time.sleep(chance.random() * 0.006)  # at another moment of our act each time
        counts.lost += not is_there(path, number, patience)  # nor has it been lost while nobody wrote


def is_there(path: str, number: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while seen(path) != number:
        if time.monotonic() > deadline:
            return False
    return True


def remembered(number: int) -> dict[str, Any]:
    return {"numStartups": number, "log": list(range(max(1, number - 20), number + 1)), "projects": {"/w": {"a": "ü"}}}


def update(path: str, number: int, counts: Counts) -> bool:
    """Read, merge, write under the lock, while which nobody else may write. False where the end came before that."""
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{path}.lock")
            break
        if counts.over():
            return False
        time.sleep(0.0005)
    before = os.stat(path)
    with open(path, "rb") as data:
        held = json.load(data)
    counts.lost += held["numStartups"] != number - 1
    os.utime(f"{path}.lock")
    now = os.stat(path)
    counts.broken += (before.st_ino, before.st_mtime_ns) != (now.st_ino, now.st_mtime_ns)
    save(path, held | remembered(number), in_place=False)
    os.rmdir(f"{path}.lock")
    return True


def save(path: str, held: dict[str, Any], in_place: bool) -> None:
    place = path if in_place else f"{path}.tmp.{os.getpid()}"
    with open(place, "w") as out:
        out.write(json.dumps(held, indent=2))
    if not in_place:
        os.rename(place, path)


def seen(path: str) -> int:
    """The number in the file as it is; -1 where it does not parse."""
    try:
        with open(path, "rb") as data:
            return int(json.load(data)["numStartups"])
    except (ValueError, KeyError, FileNotFoundError):
        return -1


def reader(path: str, mode: str, counts: Counts, patience: float) -> None:
    """Looks at the file all the time: it is there, it parses, and the number does not go back and stay there."""
    highest = 0
    while not counts.over():
        begun, done = counts.begun, counts.done
        number = seen(path)
        if number < 0:  # the writer itself empties it when it writes in place
            counts.torn += mode != IN_PLACE or begun == done == counts.begun
        deadline = time.monotonic() + patience
        while 0 <= number < highest and not counts.over():
            number = seen(path)
            if time.monotonic() > deadline:
                counts.gone_back += 1
                break
        highest = max(highest, number)
        counts.reads += 1
        time.sleep(0.0005)


@contextlib.contextmanager
def running(*acts: Callable[[], None]) -> Iterator[None]:
    """Each in a process of its own, which must come to its end by itself."""
    pids = []
    for act in acts:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                act()
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    yield
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids), "the writer or the reader died"


# ---- we


class Live(Rig):
    """With the pause after which a session that ignores locks would have overwritten us, or a shorter one."""

    longest = 1.0
    counts: Counts
    paused = 0  # the number of the last update before the end of the last pause; -1 where one was under way then

    @property
    def engine(self) -> Engine:
        return Engine(self.machine, self.journal, no_shells, missed=lambda machine, change: "", pause=self.pause)

    def pause(self, seconds: float) -> None:
        time.sleep(min(seconds, self.longest))
        done = self.counts.done
        self.paused = done if self.counts.begun == done else -1


def live(mode: str, speed: str, rounds: int, plant: Callable[[], object], top: str) -> Tally:
    """So many times set and taken back beside the writer."""
    plant()
    rig, tally, counts = cast(Live, Live.make(CASE, top, no_shells)), Tally(), Counts.make()
    rig.longest, rig.counts = 0.01 if speed == FULL else 1.0, counts
    path = os.path.join(rig.machine.home, ".claude.json")
    save(path, remembered(0), in_place=False)
    patience = PATIENCE if plant is nothing else LITTLE
    with running(partial(writer, path, mode, speed, counts, patience), partial(reader, path, mode, counts, patience)):
        try:
            while tally.points < rounds and len(tally.bad) < 10 and not counts.wrong():
                if not _act(rig, path, mode, counts, tally, rig.apply, True):
                    continue
                for _ in range(20):
                    if _act(rig, path, mode, counts, tally, rig.undo, False):
                        break
                shutil.rmtree(rig.journal.folder)
        finally:
            counts.stop = 1
    if counts.done != seen(path):
        tally.bad.append(f"{mode}, {speed}: the last update was {counts.done}, and the file has {seen(path)}")
    tally.bad += [f"{mode}, {speed}: {what}" for what in counts.wrong()]
    if left := [name for name in os.listdir(rig.machine.home) if name != ".claude.json"]:
        tally.bad.append(f"{mode}, {speed}: {left} is left")
    if not counts.reads > tally.points:
        tally.bad.append(f"{mode}, {speed}: only {counts.reads} looks at the file")
    return tally


def _act(
    rig: Live, path: str, mode: str, counts: Counts, tally: Tally, act: Callable[[], Result], wanted: bool
) -> bool:
    """One apply or undo. Whether it says that it went well; it must tell the truth."""
    finding = Finding("live", "", changes=tuple(want(Setting.at(path, "/ccremedy"), "true")), remedy=CASE.remedy.id)
    if wanted and not finding.changes:
        tally.bad.append(f"{mode}, after update {counts.done}: what was taken back is there again")
        return False
    number = counts.done
    counts.acts += 1
    try:
        result = rig.apply([finding]) if wanted else act()
        said, problems = set(result.outcomes.values()), result.problems
    except Problem as problem:
        said, problems = {"failed"}, [problem]
    there = _has_ours(path, counts)
    well = said <= {"done", "undone"}
    who = (
        f"{mode}, after update {number}: {'apply' if wanted else 'undo'} says {said} {[str(each) for each in problems]}"
    )
    if any(problem.code == INCOMPLETE for problem in problems):
        tally.bad.append(f"{who}: left half done")
        rig.recover()
    elif not well and not problems:
        tally.bad.append(f"{who}: without a reason")
    elif well and there != wanted and (mode == LOCKS or counts.begun == rig.paused or not wanted):
        tally.bad.append(f"{who}: but it is {'there' if there else 'gone'}")
    elif not well and wanted and there:
        tally.bad.append(f"{who}: but it is there")
    if wanted and counts.done > number:  # or else it shows nothing: the writer slept
        tally.points += 1
        tally.landed += 1
    return well


def _has_ours(path: str, counts: Counts) -> bool:
    """Looked at between two updates."""
    while True:
        number = counts.begun
        if number == counts.done and seen(path) >= 0:
            with open(path, "rb") as data, contextlib.suppress(ValueError):
                found = "ccremedy" in json.load(data)
                if counts.begun == number:
                    return found


# ---- the sweep, and its twins


def nothing() -> None:
    """Plants no mistake."""


def test_no_update_of_a_writing_session_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [partial(live, mode, speed, ROUNDS[speed], nothing) for speed in (TEN, FULL) for mode in MODES]
    tally = sweep.sweep(jobs)
    with capsys.disabled():
        print(f"\n{tally.line('live-writer')}", end=" ")
    assert not tally.bad, "\n".join([f"{len(tally.bad)} went wrong:", *tally.bad[:15]])
    assert tally.landed == tally.points >= 500


def _rename_without_a_look() -> None:
    def careless(path: str, before: bytes | None, after: bytes | None, scratch: str, mode: int = 0o644) -> None:
        with open(scratch, "wb") as out:
            out.write(after or b"")
        # As slow as it takes for somebody to write in between, for a while: or on a busy machine nobody would.
        was, deadline = os.stat(path).st_mtime_ns, time.monotonic() + 0.02
        while os.stat(path).st_mtime_ns == was and time.monotonic() < deadline:
            time.sleep(0.0005)
        os.rename(scratch, path)

    files.replace = careless


def _write_in_place() -> None:
    def careless(path: str, before: bytes | None, after: bytes | None, scratch: str, mode: int = 0o644) -> None:
        with open(path, "wb") as out:
            time.sleep(0.02)  # as long as it takes for somebody to look, on a busy machine too
            out.write(after or b"")

    files.replace = careless


def _take_no_lock() -> None:
    exchange = files.system.exchange

    def careless(scratch: str, target: str) -> bool:
        deadline = time.monotonic() + 0.05  # now and then just when somebody else has it
        while not os.path.exists(f"{target}.lock") and time.monotonic() < deadline:
            pass
        return exchange(scratch, target)

    files.system.exchange = careless  # type: ignore[method-assign]
    Setting.lock = lambda self: contextlib.nullcontext()  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("mode", "plant"),
    [(REMEMBERS, _rename_without_a_look), (IN_PLACE, _rename_without_a_look), (LOCKS, _write_in_place),
     (LOCKS, _take_no_lock)],
    ids=["a plain rename", "a plain rename over what is written in place", "writing in place", "no lock"],
)  # fmt: skip
def test_this_is_caught(mode: str, plant: Callable[[], None]) -> None:
    assert sweep.sweep([partial(live, mode, FULL, 4000, plant)]).bad
