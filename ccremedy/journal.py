"""The write-ahead journal: what was planned, begun, kept and taken back, so that a crash at any moment can be mended.

One file a run, `runs/000007.jsonl` in the state folder (0700, files 0600); a line is a checksum and a JSON record:

    run   {v, run, command, time, plan}                    what the user asked for
    step  {step, remedy, finding, changes, scratch}        about to make these changes, in this order
    doing {step, change}                                   about to write this one
    kept  {step, changes}                                  all written and proven: the step stands, with these changes
    back  {step, why}                                      taken back
    undone {step, change, by}                              run `by` has taken this change back since

Each record is on the disk before the act that it announces. So a step without `kept` or `back` was interrupted: its
changes up to the last `doing` are looked at, in reverse, by the table in `resources`, and set to `before`. A last line
without its line end was torn by a crash, and announced an act that never began; any other bad line is damage.
"""

from __future__ import annotations

import json
import os
import re
import zlib

from ccremedy import files
from ccremedy.errors import INCOMPLETE, LOCKED, UNSUPPORTED, USAGE, Problem, explain
from ccremedy.record import dataclass, field, is_object
from ccremedy.resources import Change, change_from_json, is_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from typing import Any

VERSION = 1
_LIMIT = 64 * 2**20


@dataclass
class Step:
    """The changes of one finding. `state` is "open" (interrupted, or under way), "kept" or "back"."""

    number: int
    remedy: str
    finding: str
    changes: list[Change]
    scratch: list[str]
    begun: int = 0  # how many of the changes were at least announced
    state: str = "open"
    undone: dict[int, int] = field(default_factory=dict[int, int])  # index of a change: the run that took it back


@dataclass
class Run:
    """One entry of the journal. Its changes are numbered from 1, over all kept steps, as `undo --change` counts."""

    number: int
    path: str
    command: str = ""
    time: str = ""
    plan: str = ""
    steps: list[Step] = field(default_factory=list[Step])
    size: int = 0  # bytes of whole records
    damage: str = ""

    @property
    def open(self) -> bool:
        return any(step.state == "open" for step in self.steps)

    def kept(self) -> list[tuple[Step, int]]:
        """(step, index) of every change that the run made and kept."""
        return [(step, i) for step in self.steps if step.state == "kept" for i in range(len(step.changes))]

    def stands(self, runs: list[Run]) -> bool:
        """Whether something of it has not been taken back, or only by a run that was taken back itself."""
        later = {run.number: run for run in runs}
        return any(step.undone.get(i) not in later or not later[step.undone[i]].stands(runs) for step, i in self.kept())


class Journal:
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.runs_folder = os.path.join(folder, "runs")

    # ---- reading

    def runs(self) -> list[Run]:
        """Every run, oldest first. Problem (6) where the state folder is not ours alone."""
        self._check()
        ours = (re.fullmatch(r"([0-9]{6,})\.jsonl", name) for name in files.names(self.runs_folder))
        numbers = sorted((int(found[1]), found[0]) for found in ours if found)
        return [self._load(number, os.path.join(self.runs_folder, name)) for number, name in numbers]

    def sound_runs(self) -> list[Run]:
        """The same, for a command that is about to write: Problem (4) where one of them cannot be read."""
        runs = self.runs()
        for run in runs:
            if run.damage:
                raise Problem(
                    f"the journal of run {run.number} {run.damage}, so it cannot be told whether that run was finished",
                    where=run.path,
                    todo="Look at the files that it names, then move it out of this directory",
                    code=INCOMPLETE,
                )
        return runs

    def _check(self) -> None:
        what, todo = files.indiscretion(self.folder)
        if what:
            raise Problem(what, where=self.folder, todo=todo, code=UNSUPPORTED)

    def _load(self, number: int, path: str) -> Run:
        run = Run(number, path)
        try:
            data = files.read(path, _LIMIT) or b""
        except Problem as problem:
            run.damage = problem.what
            return run
        lines = data.split(b"\n")
        for index, line in enumerate(lines[:-1]):
            try:
                record = _decode(line)
                if record is None:
                    raise Problem("does not have the checksum that it was written with")
                _replay(run, record)
            except Problem as problem:
                run.damage = f"is damaged (line {index + 1}: {problem.what})"
                break
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                run.damage = f"is damaged (line {index + 1}: a record that ccremedy does not write)"
                break
            run.size += len(line) + 1
        return run

    # ---- writing

    def lock(self, timeout: float) -> AbstractContextManager[object]:
        """The one lock of apply, undo and recover. Problem (7) when another run holds it for `timeout` seconds."""
        from contextlib import contextmanager

        try:
            import filelock  # not needed to diagnose
        except ModuleNotFoundError:
            raise Problem(
                "the package “filelock” is not installed, and without a lock nothing is changed",
                todo="Install ccremedy with its packages, as its README says under “Mend it”",
                code=UNSUPPORTED,
            ) from None

        @contextmanager
        def held() -> Generator[None]:
            self._check()
            try:
                files.make_folders(files.missing_folders(os.path.join(self.runs_folder, "run")), 0o700)
            except OSError as error:
                raise _unwritable(self.folder, error) from None
            self._check()
            lock: filelock.BaseFileLock = filelock.FileLock(
                os.path.join(self.folder, "lock"), timeout=timeout, mode=0o600, fallback_to_soft=False
            )
            try:
                lock.acquire()  # pyright: ignore[reportUnknownMemberType] - filelock leaves open what its answer holds
            except OSError as error:
                if not isinstance(error, filelock.Timeout):
                    raise _unwritable(self.folder, error) from None
                raise Problem(
                    "another ccremedy is at work here",
                    where=self.folder,
                    todo="Wait for it to end, then try again",
                    code=LOCKED,
                ) from None
            try:
                yield
            finally:
                lock.release()

        return held()

    def begin(self, number: int, command: str, time: str, plan: str = "") -> Run:
        """A new run. Nothing is written before its first step."""
        return Run(number, os.path.join(self.runs_folder, f"{number:06}.jsonl"), command, time, plan)

    def open_step(self, run: Run, remedy: str, finding: str, changes: list[Change]) -> Step:
        """Announce the changes of a finding; durable when this returns."""
        number = len(run.steps) + 1
        for change in changes:
            change_from_json(change.to_json())  # what could not be read back would never be written
        scratch = [_scratch(change, f"{run.number}-{number}-{index}") for index, change in enumerate(changes)]
        step = Step(number, remedy, finding, changes, scratch)
        record: dict[str, object] = {
            "step": number,
            "remedy": remedy,
            "finding": finding,
            "changes": [change.to_json() for change in changes],
            "scratch": scratch,
        }
        head = {"run": run.number, "v": VERSION, "command": run.command, "time": run.time, "plan": run.plan}
        first: list[dict[str, object]] = [{"type": "run", **head}] if not run.size else []
        size = run.size
        try:
            self._append(run, [*first, {"type": "step", **record}])
            if first:
                self._sync_folders()
        except BaseException:
            run.size = size  # so that the next record takes its place
            raise
        run.steps.append(step)
        return step

    def _sync_folders(self) -> None:
        """Make the way to a new file durable, up to what is not ours: an earlier run may have been killed making it."""
        for folder in files.walk_up(self.runs_folder):
            found = files.status(folder)
            if found is None or not files.belongs_to_us(folder):
                return
            files.sync_folder(folder)

    def cut(self, run: Run) -> None:
        """Before anything is taken back: a record whose writing failed must not turn out to be on the disk later."""
        files.append(run.path, b"", keep=run.size)

    def doing(self, run: Run, step: Step, index: int) -> None:
        self._append(run, [{"type": "doing", "step": step.number, "change": index}])
        step.begun = index + 1

    def keep(self, run: Run, step: Step) -> None:
        self._append(run, [{"type": "kept", "step": step.number}])
        step.state = "kept"

    def back(self, run: Run, step: Step, why: str) -> None:
        self._append(run, [{"type": "back", "step": step.number, "why": why}])
        step.state = "back"

    def undone(self, run: Run, step: Step, index: int, by: int) -> None:
        self._append(run, [{"type": "undone", "step": step.number, "change": index, "by": by}])
        step.undone[index] = by

    def _append(self, run: Run, records: list[dict[str, object]]) -> None:
        data = b"".join(_encode(record) for record in records)
        files.append(run.path, data, keep=run.size)
        run.size += len(data)


def find(runs: list[Run], number: int | None) -> Run:
    """The run of this number, or the last one with something left to undo. Problem (2) where there is none."""
    if number is None:
        candidates = [run for run in runs if run.stands(runs)]
        if not candidates:
            raise Problem("there is no run to undo", todo="`ccremedy history` lists them all", code=USAGE)
        return candidates[-1]
    for run in runs:
        if run.number == number:
            return run
    raise Problem(f"there is no run {number}", todo="`ccremedy history` lists them all", code=USAGE)


def _replay(run: Run, record: dict[str, Any]) -> None:
    kind = record["type"]
    if kind == "run":
        if record["v"] != VERSION:
            raise Problem("it was written by another version of ccremedy")
        run.command, run.time, run.plan = str(record["command"]), str(record["time"]), str(record["plan"])
        return
    if kind == "step":
        changes = [change_from_json(each) for each in record["changes"]]
        scratch = [str(each) for each in record["scratch"]]
        if record["step"] != len(run.steps) + 1 or len(scratch) != len(changes):
            raise Problem("a step out of its order")
        if not all(_is_scratch(name, run) for name in scratch if name):
            raise Problem("a scratch file that is not ours")
        run.steps.append(Step(record["step"], str(record["remedy"]), str(record["finding"]), changes, scratch))
        return
    step = run.steps[_index(record["step"], run.steps, first=1)]
    if kind == "doing":
        step.begun = _index(record["change"], step.changes) + 1
    elif kind in ("kept", "back"):
        step.state = kind
    elif kind == "undone":
        if type(record["by"]) is not int or record["by"] <= run.number:
            raise Problem("an undo by an earlier run")
        step.undone[_index(record["change"], step.changes)] = record["by"]
    else:
        raise Problem("a record of an unknown type")


def _unwritable(folder: str, error: OSError) -> Problem:
    todo = "Nothing was changed, because nothing is changed without a journal"
    if command := files.give_back(folder):
        todo = f"{todo}. {command}"
    return Problem(f"cannot be written: {explain(error)}", where=folder, todo=todo, code=UNSUPPORTED)


def _is_scratch(path: str, run: Run) -> bool:
    return is_path(path) and os.path.basename(path).startswith(f".ccremedy-{run.number}-")


def _index(number: object, things: list[Any], first: int = 0) -> int:
    if type(number) is not int or not 0 <= number - first < len(things):
        raise Problem("a step or change that it does not have")
    return number - first


def _scratch(change: Change, token: str) -> str:
    """Where the new bytes of a file wait for their rename: beside the file behind the link."""
    if not change.resource.SCRATCH:
        return ""
    return os.path.join(files.folder_behind(change.resource.path), f".ccremedy-{token}")


def _encode(record: dict[str, object]) -> bytes:
    body = json.dumps(record, separators=(",", ":")).encode()
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


def _decode(line: bytes) -> dict[str, Any] | None:
    checksum, _, body = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(body) or len(checksum) != 8:
            return None
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if is_object(record) else None
