"""The machinery of the sweeps: kill, fail or record each system call of apply, undo and recover, on every case.

Everything that the product does to files goes through the names `os` and `renameat2` of `PARTS` (and `ioctl` of the
`fcntl` that they import). A `Seam` stands in their place and hands every call to one function, which may pass it
on, kill the process, raise, or write it down. A new remedy is swept as soon as it has a case.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import gc
import os
import pickle
import random
import shutil
import signal
import stat
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ccremedy import files, registry, testing
from ccremedy.engine import Result
from ccremedy.errors import INCOMPLETE, Problem
from ccremedy.files import linux, posix
from ccremedy.finding import Finding, Remedy
from ccremedy.journal import Journal, Step
from ccremedy.resources import Change, Location
from ccremedy.testing import Case, Rig, no_shells, snapshot

Tree = dict[str, tuple[Any, ...]]
Around = Callable[..., Any]  # (name, real function, *arguments) to what the call returns

PARTS = (files, posix, linux)
HERE = os.path.dirname(os.path.abspath(__file__))
_NO_CALLS = {"fsencode", "fsdecode", "fspath", "strerror", "geteuid", "getpid", "cpu_count", "path"}
_PATH_CALLS = {"exists", "lexists", "isdir", "isfile", "islink", "ismount", "realpath", "getsize", "samefile"}
_WRITES = {
    "chmod", "chown", "fchmod", "fchown", "fsync", "ftruncate", "link", "mkdir", "removexattr", "rename", "renameat2",
    "replace", "rmdir", "setxattr", "symlink", "truncate", "unlink", "utime", "write",
}  # fmt: skip
_CANNOT_FAIL = {"umask", "access", "lseek"}
_CLOSE = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)  # a full or lost network disk says so at close


# ---- the seam


class Seam(ModuleType):
    """Stands for the module `os`: constants and pure functions as they are, everything else through `around`."""

    def __init__(self, around: Around) -> None:
        super().__init__("os")
        self._around = around
        self.path = _Paths(around)

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "supports_effective_ids":
            return {self.access} if os.access in real else set()
        if not callable(real) or isinstance(real, type) or name in _NO_CALLS:
            return real
        wrapped = functools.partial(self._around, name, real)
        setattr(self, name, wrapped)  # once: `os.access in os.supports_effective_ids` compares identities
        return wrapped


class _Paths(ModuleType):
    def __init__(self, around: Around) -> None:
        super().__init__("os.path")
        self._around = around

    def __getattr__(self, name: str) -> Any:
        real = getattr(os.path, name)
        return functools.partial(self._around, f"path.{name}", real) if name in _PATH_CALLS else real


@contextlib.contextmanager
def seam(around: Around) -> Iterator[None]:
    """Let `around` have every system call of `ccremedy.files` while this is open."""
    flags = ModuleType("fcntl")
    flags.__dict__.update(vars(fcntl))
    flags.__dict__["ioctl"] = functools.partial(around, "ioctl", fcntl.ioctl)
    kept = [(vars(module), name, vars(module)[name]) for module in PARTS for name in ("os", "renameat2")
            if name in vars(module)]  # fmt: skip
    calls = {"os": Seam(around), "renameat2": functools.partial(around, "renameat2", linux.renameat2)}
    try:
        sys.modules["fcntl"] = flags
        for names, name, _ in kept:
            names[name] = calls[name]
        yield
    finally:
        sys.modules["fcntl"] = fcntl
        for names, name, real in kept:
            names[name] = real


def writes(name: str, arguments: Sequence[Any]) -> bool:
    """Whether this call changes something."""
    if name == "open":
        return bool(arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    return name in _WRITES or (name == "ioctl" and arguments[1] == 0x40086602)


@dataclass
class Counter:
    """Numbers the calls from the first that changes something on, and does nothing else. The base of the others."""

    count: int = 0
    touched: bool = False
    names: list[str] = field(default_factory=list)
    inner: Around | None = None  # what a call that goes on is handed to

    def __call__(self, name: str, real: Around, *arguments: Any, **options: Any) -> Any:
        self.touched = self.touched or writes(name, arguments)
        if self.inner is not None:
            real = functools.partial(self.inner, name, real)
        if self.touched:
            self.count += 1
            self.names.append(name)
            return self.hit(name, real, *arguments, **options)
        return real(*arguments, **options)

    def hit(self, name: str, real: Around, *arguments: Any, **options: Any) -> Any:
        return real(*arguments, **options)


@dataclass
class Killer(Counter):
    """Kills this process just before, or just after, call number `at`."""

    at: int = 0
    after: bool = False

    def hit(self, name: str, real: Around, *arguments: Any, **options: Any) -> Any:
        if self.count != self.at:
            return real(*arguments, **options)
        try:
            if self.after:
                real(*arguments, **options)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)


SHORT = "a short write"
Fault = "int | str | type[BaseException]"


@dataclass
class Failer(Counter):
    """Lets call number `at`, and with `lasting` all that could fail in that way from then on, fail with `fault`."""

    at: int = 0
    fault: int | str | type[BaseException] = errno.EIO
    lasting: bool = False
    landed: bool = False

    def hit(self, name: str, real: Around, *arguments: Any, **options: Any) -> Any:
        if self.count != self.at and not (self.lasting and self.landed and self.could(name, arguments)):
            return real(*arguments, **options)
        self.landed = True
        if self.fault == SHORT:
            return real(arguments[0], bytes(arguments[1])[: max(1, len(arguments[1]) // 2)])
        if name == "close":
            real(*arguments)  # the kernel closes it whatever it answers
        if isinstance(self.fault, type):
            raise self.fault
        if name.startswith("path."):
            return arguments[0] if name == "path.realpath" else False  # which is what os.path makes of every error
        where = next((each for each in arguments if isinstance(each, str)), None)
        raise OSError(self.fault, os.strerror(int(self.fault)), where)

    def could(self, name: str, arguments: Sequence[Any]) -> bool:
        if name in _CANNOT_FAIL or name.startswith("path.") or (name == "close" and self.fault not in _CLOSE):
            return False
        if self.fault in (errno.ENOSPC, errno.EDQUOT):  # taking away needs no room
            return writes(name, arguments) and name not in ("unlink", "rmdir", "ftruncate", "fchmod")
        if self.fault in (errno.EROFS, errno.EPERM, errno.EBUSY):
            return writes(name, arguments)
        if self.fault == errno.EMFILE:
            return name in ("open", "listdir", "scandir")
        return self.fault != SHORT or name == "write"


def faults(name: str, every: Sequence[int | str | type[BaseException]]) -> list[int | str | type[BaseException]]:
    """Those of the faults that a call of this name can have."""
    if name in _CANNOT_FAIL:
        return [each for each in every if isinstance(each, type)]
    if name == "close":
        return [each for each in every if isinstance(each, type) or each in _CLOSE]
    if name == "write":
        return list(every)
    return [each for each in every if each != SHORT]


class Dead(BaseException):
    """For a kill that is only acted: from here on, no call of this run has any effect."""


@dataclass
class Stopper(Counter):
    """Acts a kill before call number `at`, in this very process, so that a recorder can go on recording."""

    at: int = 0

    def hit(self, name: str, real: Around, *arguments: Any, **options: Any) -> Any:
        if self.count >= self.at:
            raise Dead
        return real(*arguments, **options)


# ---- scenes: which machine, from which state, doing what

FRESH, EARLIER = "on a fresh machine", "after an earlier run"
APPLY, UNDO = "apply", "undo"
STARTS = (FRESH, EARLIER)
SEVERAL = "all-at-once/several-findings-in-one-run"


@functools.cache
def cases() -> dict[str, Case]:
    """Every case in which there is something to change, by remedy and name; and one machine with several findings.

    But for those of macOS: what they write, they write by the same calls here as those of Linux.
    """
    found = {}
    with scratch_folder("choose") as scratch:
        for case in testing.cases(os.path.join(HERE, "cases")):
            if case.facts["platform"] == "macos":
                continue
            rig = Rig.make(case, scratch, no_shells)
            findings = rig.diagnose().findings
            changes = [change for finding in findings for change in finding.changes if not change.refused]
            if changes and all(change.resource.REVERSIBLE for change in changes):
                found[f"{case.remedy.id}/{case.name}"] = case
    found[SEVERAL] = Case("several-findings-in-one-run", Several(), {
        "platform": "linux",
        "files": {
            "/usr/bin/npm": {"text": "#!/bin/sh\n", "mode": "755"},
            "/usr/bin/node": {"text": "#!/bin/sh\n", "mode": "755"},
            "~/.npmrc": "registry=https://registry.example/\r\nprefix=/proc/1",
            "~/dot/bashrc": "# mine, caf\u00e9\n",
            "~/.bashrc": {"link": "dot/bashrc"},
            "~/.claude/history.jsonl": "{}\n",
            "~/.claude/settings.json": "{",
            "~/.claude.json": {"text": "{\"projects\": {", "mode": "600"},
        },
    })  # fmt: skip
    return found


class Several(Remedy):
    """Stands for `--all`: what two remedies find, as findings of one run."""

    id, title = "all-at-once", "Several findings in one run"

    def diagnose(self, machine: Any) -> Iterator[Any]:
        for name in ("npm-prefix", "reset-config"):
            yield from registry.remedy(name).diagnose(machine)


def thorough() -> list[str]:
    """One case of each remedy, the one with several findings, and one of the registry, of which no call is left out."""
    first: dict[str, str] = {}
    for name, case in sorted(cases().items(), key=lambda each: each[1].facts["platform"] == "windows"):
        first.setdefault(case.remedy.id, name)
    return [*first.values(), "install-path/the-native-one-is-not-on-the-path-of-windows"]


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[str]:
    """A directory of our own, in memory where there is such a place: a sync costs nothing there."""
    import tempfile

    memory = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix=f"ccremedy-{name}-", dir=memory)
    try:
        yield folder
    finally:
        clear(folder)


@dataclass
class Scene:
    """A machine before an act, which can be set up again and again; and the trees that the act may leave."""

    name: str
    start: str
    act: str
    rig: Rig
    top: str
    picture: Picture
    findings: list[Finding]  # to apply: diagnosed before anything is written, as the command does
    earlier: int  # the number of runs before
    trees: dict[tuple[str, ...], Tree] = field(default_factory=dict)  # by what the act has kept
    calls: list[str] = field(default_factory=list)  # the names of its calls, from the first that changes something on

    @classmethod
    def make(cls, name: str, start: str, act: str, top: str) -> Scene:
        os.umask(0o022 if start == FRESH else 0o000)
        rig = Rig.make(cases()[name], top, no_shells)
        for each in ([APPLY, UNDO] if start == EARLIER else []) + ([APPLY] if act == UNDO else []):
            rig.apply() if each == APPLY else rig.undo()
        earlier = max((run.number for run in rig.journal.runs()), default=0)
        scene = cls(name, start, act, rig, top, Picture.of(top), rig.diagnose().findings, earlier)
        scene.trees[()] = rig.tree()
        with after_each_kept_step(lambda: scene.trees.update({scene.kept(): rig.tree()})):
            scene.run()  # once for the trees, and to have everything imported
        assert len(scene.trees) > 1, f"{scene}: nothing was changed"
        scene.reset()
        counter = Counter()
        with seam(counter):
            scene.run()
        scene.calls = counter.names
        return scene

    def __str__(self) -> str:
        return f"{self.name}, {self.act} {self.start}"

    def reset(self) -> None:
        os.umask(self.umask)  # a fault between its two calls leaves it changed, in a process that then ends
        self.picture.restore(self.top)

    @property
    def umask(self) -> int:
        """The modes of the journal may not depend on it."""
        return 0o022 if self.start == FRESH else 0o000

    def run(self) -> Result:
        return self.rig.apply(self.findings) if self.act == APPLY else self.rig.undo()

    def kept(self) -> tuple[str, ...]:
        """What the act has kept, by the journal."""
        runs = [run for run in self.rig.journal.runs() if run.number > self.earlier]
        return tuple(_key(step) for run in runs for step in run.steps if step.state == "kept")

    @property
    def before(self) -> Tree:
        return self.trees[()]

    @property
    def after(self) -> Tree:
        return self.trees[max(self.trees, key=len)]

    def expected(self) -> Tree:
        """The tree that goes with what the journal says. Some of several kept: made once, by leaving out the others."""
        kept = self.kept()
        if kept not in self.trees:
            found = Picture.of(self.top)
            self.reset()
            if self.act == APPLY:
                self.rig.apply([each for each in self.findings if _name(each.id, each.changes) in kept])
            else:
                target = max(self.rig.journal.runs(), key=lambda run: run.number)
                for number, (step, index) in reversed(list(enumerate(target.kept(), 1))):
                    if any(_is_about(key, step.finding, step.changes[index]) for key in kept):
                        self.rig.undo(target.number, number)
            self.trees[kept] = self.rig.tree()
            found.restore(self.top)
        return self.trees[kept]

    def wrong(self) -> str:
        """What is not as it must be ('': nothing)."""
        damaged = [run for run in self.rig.journal.runs() if run.damage]
        if damaged:
            return f"run {damaged[0].number} of the journal {damaged[0].damage}"
        return difference(self.expected(), self.rig.tree())


def _key(step: Step) -> str:
    return _name(step.finding, step.changes)


def _is_about(key: str, finding: str, change: Change) -> bool:
    about, _, resources = key.partition(": ")
    return about == finding and str(change.resource) in resources.split(", ")


def _name(finding: str, changes: Sequence[Change]) -> str:
    """What a step is about."""
    return f"{finding}: {', '.join(str(change.resource) for change in changes if not change.refused)}"


@contextlib.contextmanager
def after_each_kept_step(then: Callable[[], object], first: Callable[[], object] = lambda: None) -> Iterator[None]:
    real = Journal.keep

    def keep(journal: Journal, *arguments: Any) -> None:
        first()
        real(journal, *arguments)
        then()

    try:
        Journal.keep = keep  # type: ignore[method-assign,assignment]
        yield
    finally:
        Journal.keep = real  # type: ignore[method-assign]


def difference(wanted: Tree, found: Tree) -> str:
    """The first path in which two trees differ, and how; '' where they are the same."""
    for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
            how = "is missing" if path not in found else "should not be there" if path not in wanted else "differs"
            return f"{path} {how}: {found.get(path)} and not {wanted.get(path)}"
    return ""


def open_to_others(state: str) -> str:
    """What in the state folder is not 0700 (directories) or 0600 (files)."""
    for folder, _, names in os.walk(state):
        if stat.S_IMODE(os.stat(folder).st_mode) != 0o700:
            return f"{folder} has mode {os.stat(folder).st_mode:o}"
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if stat.S_IMODE(mode) != 0o600:
                return f"{name} has mode {mode:o}"
    return ""


def journal_bytes(state: str) -> dict[str, bytes]:
    found = {}
    for folder, _, names in os.walk(state):
        for name in names:
            with open(os.path.join(folder, name), "rb") as data:
                found[name] = data.read()
    return found


# ---- trees that can be set up again


@dataclass
class Picture:
    """Everything below a directory, in memory."""

    entries: list[tuple[str, int, int, int, bytes | str, dict[str, bytes]]]  # path, mode, owner, group, content, attrs
    twins: dict[str, str]  # hard links: a path to an earlier one of the same file

    @classmethod
    def of(cls, top: str) -> Picture:
        found = sorted(snapshot(top).items())
        first: dict[int, str] = {}
        twins = {}
        for path, (_, _, _, _, links, _, _) in found:
            if links > 1:
                inode = os.lstat(os.path.join(top, path)).st_ino
                if first.setdefault(inode, path) != path:
                    twins[path] = first[inode]
        entries = [(path, kind | mode, uid, gid, content, attributes)
                   for path, (kind, mode, uid, gid, _, content, attributes) in found]  # fmt: skip
        return cls(entries, twins)

    def restore(self, top: str) -> None:
        clear(top)
        os.mkdir(top, 0o700)
        sealed = []
        for path, mode, uid, gid, content, attributes in self.entries:
            place = os.path.join(top, path)
            if path in self.twins:
                os.link(os.path.join(top, self.twins[path]), place)
                continue
            if stat.S_ISLNK(mode):
                os.symlink(content, place)
            elif stat.S_ISDIR(mode):
                os.mkdir(place)
                sealed.append((place, stat.S_IMODE(mode)))
            else:
                write(place, bytes(content), stat.S_IMODE(mode))  # type: ignore[arg-type]
            if (uid, gid) != (os.geteuid(), os.getegid()):
                os.lchown(place, uid, gid)
            for name, value in attributes.items():
                os.setxattr(place, name, value, follow_symlinks=False)
        for place, mode in reversed(sealed):
            os.chmod(place, mode)


def write(place: str, data: bytes, mode: int) -> None:
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(handle, data)
    os.fchmod(handle, mode)
    os.close(handle)


def clear(top: str) -> None:
    """Remove a tree, also where directories in it are closed to us."""
    try:
        shutil.rmtree(top)
    except FileNotFoundError:
        return
    except PermissionError:
        for folder, _, _ in os.walk(top):
            os.chmod(folder, 0o700)
        shutil.rmtree(top)


# ---- sweeps: jobs over all processors, one line of figures


@dataclass
class Tally:
    points: int = 0
    landed: int = 0
    bad: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.points += other.points
        self.landed += other.landed
        self.bad += other.bad

    def line(self, name: str) -> str:
        return f"{name} points={self.points} landed={self.landed} bad={len(self.bad)}"


Job = Callable[[str], Tally]


def sweep(jobs: Sequence[Job]) -> Tally:
    """Run each job with a scratch directory of its own, on all processors; what they tell, added up."""
    for warm in ("ctypes", "filelock", "contextlib", "difflib", "hashlib", "json", "pwd", "ccremedy.sessions"):
        __import__(warm)
    gc.collect()
    gc.freeze()  # the children share our memory
    queue_out, queue_in = os.pipe()
    os.write(queue_in, b"".join(number.to_bytes(2, "big") for number in range(len(jobs))))
    os.close(queue_in)
    workers = [_worker(jobs, queue_out) for _ in range(min(len(jobs), os.cpu_count() or 1))]
    os.close(queue_out)
    total = Tally()
    for pid, results in workers:
        with os.fdopen(results, "rb") as data:
            answer = data.read()
        assert os.waitpid(pid, 0)[1] == 0, f"a worker of the sweep died: {answer.decode('utf-8', 'replace')[-2000:]}"
        total.add(pickle.loads(answer))
    gc.unfreeze()
    return total


def until_bad(jobs: Sequence[Job]) -> Tally:
    """The same, until something has gone wrong: a few jobs at a time, in no order, because one is often enough."""
    total, width = Tally(), 8
    mixed = random.Random(1).sample(list(jobs), len(jobs))
    for place in range(0, len(mixed), width):
        total.add(sweep(mixed[place : place + width]))
        if total.bad:
            break
    return total


def _worker(jobs: Sequence[Job], queue: int) -> tuple[int, int]:
    results, out = os.pipe()
    pid = os.fork()
    if pid:
        os.close(out)
        return pid, results
    total, code = Tally(), 0
    os.fsync = lambda fd: None  # nobody cuts the power here; the sweeps see the call all the same
    try:
        with scratch_folder("sweep") as scratch:
            while number := os.read(queue, 2):
                total.add(jobs[int.from_bytes(number, "big")](os.path.join(scratch, "machine")))
        answer = pickle.dumps(total)
    except BaseException:  # noqa: BLE001 - goes to the parent as text, and fails the test there
        answer, code = traceback.format_exc().encode(), 1
    with os.fdopen(out, "wb") as data:
        data.write(answer)
    os._exit(code)


def in_child(act: Callable[[], object], plant: Callable[[], object] = lambda: None) -> int:
    """The wait status of a forked child that does this; 0 where it came to its end, even with a Problem."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            plant()
            act()
            code = 0
        except Problem:
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


# ---- R1: killed at every call


def kills(scene: Scene, step: int) -> list[tuple[int, bool]]:
    """Every `step`-th point: before each call, and after each that opens or changes something."""
    points = []
    for number, name in enumerate(scene.calls, 1):
        points += [(number, False), (number, True)] if name in _WRITES or name == "open" else [(number, False)]
    points.append((len(scene.calls), True))
    return points[_offset(scene, step) :: step]


def _offset(scene: Scene, step: int) -> int:
    """Where a sample begins: elsewhere in each scene, and always at the same place."""
    return zlib.crc32(str(scene).encode()) % step


def kill_sweep(name: str, start: str, act: str, step: int, plant: Callable[[], object], top: str) -> Tally:
    scene, tally = Scene.make(name, start, act, top), Tally()
    for turn, (at, after) in enumerate(kills(scene, step)):
        tally.points += 1
        scene.reset()
        tally.landed += in_child(lambda: _killed(scene, at, after), plant) == signal.SIGKILL  # noqa: B023 - forked now
        if why := _mended(scene, turn % 11 == 0):
            call = scene.calls[at - 1]
            tally.bad.append(f"{scene}: killed {'after' if after else 'before'} call {at} ({call}): {why}")
    return tally


def double_kill_sweep(name: str, start: str, act: str, step: int, top: str) -> Tally:
    """Killed in the act, and again at each call of the recovery."""
    scene, tally = Scene.make(name, start, act, top), Tally()
    for at in range(2, len(scene.calls) + 1, step):
        scene.reset()
        in_child(lambda: _killed(scene, at, False))  # noqa: B023
        half_way = Picture.of(top)
        counter = Counter()
        with seam(counter):
            scene.rig.recover()
        for again in range(1, counter.count + 1):
            tally.points += 1
            half_way.restore(top)
            with contextlib.suppress(Problem):
                tally.landed += in_child(lambda: _killed_recovering(scene, again)) == signal.SIGKILL  # noqa: B023
            if why := _mended(scene, False):
                tally.bad.append(f"{scene}: killed before call {at}, and before call {again} of recover: {why}")
    return tally


def _killed(scene: Scene, at: int, after: bool) -> None:
    with seam(Killer(at=at, after=after)):
        scene.run()


def _killed_recovering(scene: Scene, at: int) -> None:
    with seam(Killer(at=at)):
        scene.rig.recover()


def _mended(scene: Scene, thoroughly: bool) -> str:
    """Recover, and say what is wrong then ('': nothing). `thoroughly`: apply and undo once more."""
    state = scene.rig.journal.folder
    if why := open_to_others(state):
        return why
    try:
        scene.rig.recover()
        if why := scene.wrong() or _left_open(scene):
            return why
        journal = journal_bytes(state)
        scene.rig.recover()
        if journal_bytes(state) != journal or (why := scene.wrong()):
            return why or "a second recover wrote to the journal"
        if why := open_to_others(state):
            return why
        return _still_works(scene) if thoroughly else ""
    except Problem as problem:
        return f"recover refuses: {problem}"


def _left_open(scene: Scene) -> str:
    numbers = [run.number for run in scene.rig.journal.runs() if run.open]
    return f"run {numbers[0]} is still open" if numbers else ""


def _still_works(scene: Scene) -> str:
    """Apply and undo, from wherever we are."""
    before = scene.before if scene.act == APPLY else scene.after
    result = scene.rig.apply()
    if result.problems:
        return f"a later apply does not work: {[str(each) for each in result.problems]}"
    if scene.act == APPLY and (why := difference(scene.after, scene.rig.tree())):
        return f"a later apply does something else: {why}"
    runs = scene.rig.journal.runs()
    for run in reversed(runs):
        if run.command.startswith("apply") and run.stands(runs):
            result = scene.rig.undo(run.number)
            if result.problems:
                return f"a later undo does not work: {[str(each) for each in result.problems]}"
    why = difference(before, scene.rig.tree())
    return f"a later undo does not give everything back: {why}" if why else ""


# ---- R6: every call fails in every way

ERRNOS: tuple[int, ...] = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EBUSY, errno.EMFILE,
    errno.ESTALE,
)  # fmt: skip
FAULTS: tuple[int | str | type[BaseException], ...] = (*ERRNOS, SHORT, KeyboardInterrupt, MemoryError)


def fault_name(fault: int | str | type[BaseException]) -> str:
    return fault.__name__ if isinstance(fault, type) else fault if isinstance(fault, str) else errno.errorcode[fault]


def failures(scene: Scene, step: int) -> list[tuple[int, int | str | type[BaseException]]]:
    """Every `step`-th pair of a call and a fault that it can have."""
    return [(number, fault) for number, name in enumerate(scene.calls, 1) for fault in faults(name, FAULTS)][
        _offset(scene, step) :: step
    ]


def failure_sweep(
    name: str, start: str, act: str, step: int, lasting: bool, plant: Callable[[], object], top: str
) -> Tally:
    """One fault at one call, or from one call on. Unchanged or fully applied, and said so."""
    scene, tally = Scene.make(name, start, act, top), Tally()
    plant()
    for at, fault in failures(scene, step):
        if lasting and (isinstance(fault, type) or fault == SHORT):
            continue
        tally.points += 1
        scene.reset()
        failer = Failer(at=at, fault=fault, lasting=lasting)
        why = _failed(scene, failer)
        tally.landed += failer.landed
        if why:
            tally.bad.append(f"{scene}: call {at} ({scene.calls[at - 1]}) {fault_name(fault)}: {why}")
    return tally


def _failed(scene: Scene, failer: Failer) -> str:
    """What is wrong after the act with this fault ('': nothing)."""
    try:
        with seam(failer):
            result = scene.run()
        outcomes, codes = set(result.outcomes.values()), [problem.code for problem in result.problems]
    except Problem as problem:
        outcomes, codes = {"failed"}, [problem.code]
    except (KeyboardInterrupt, MemoryError) as error:
        if type(error) is not failer.fault:
            return f"{type(error).__name__} escapes"
        outcomes, codes = {"interrupted"}, []
    except Exception as error:  # noqa: BLE001 - whatever escapes is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/ccremedy/" in frame.filename]
        where = frames[-1] if frames else where
        return f"{type(error).__name__} escapes from {os.path.basename(where.filename)}:{where.lineno}"
    if not failer.lasting:
        if INCOMPLETE in codes:
            return "one fault, and it could not be taken back"
        if why := scene.wrong():
            return why
        if outcomes <= {"done", "undone", "refused"} and (why := difference(scene.after, scene.rig.tree())):
            return f"it says that all went well: {why}"
    try:
        scene.rig.recover()
    except Problem as problem:
        return f"recover refuses: {problem}"
    return scene.wrong() or _left_open(scene)


# ---- R4: power loss. What was not synced may be gone, in any combination.


@dataclass
class Node:
    """A file, directory or link, as it is on a disk."""

    mode: int  # with its type
    uid: int
    gid: int
    content: bytes | str = b""
    attributes: dict[str, bytes] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)  # of a directory: name to node

    def copy(self) -> Node:
        return Node(self.mode, self.uid, self.gid, self.content, dict(self.attributes), dict(self.entries))


@dataclass
class Effect:
    """What one call changes, and the nodes that must be synced before it is sure to last.

    Names and contents are apart, as on a disk: a rename may last where the bytes of the renamed file do not.
    """

    call: str
    needs: frozenset[int]
    entries: tuple[tuple[int, str, int | None], ...] = ()  # (directory, name, node or None)
    born: tuple[tuple[int, Node], ...] = ()
    data: tuple[int, int, bytes] | None = None  # (node, place, bytes)
    size: tuple[int, int] | None = None
    model: tuple[int, Node] | None = None  # mode, owner and attributes become those of this one


@dataclass
class Sync:
    node: int


@dataclass
class Kept:
    """The journal has begun (`done`: has ended) to say that a step is kept."""

    done: bool


Log = list["Effect | Sync | Kept"]


class Disk:
    """Nodes by number; 0 is the scratch directory that everything is in."""

    def __init__(self, nodes: dict[int, Node]) -> None:
        self.nodes = nodes

    @classmethod
    def of(cls, top: str) -> Disk:
        disk = cls({0: _node(top)})
        for path in sorted(snapshot(top)):
            disk.add(path, _node(os.path.join(top, path)))
        return disk

    def copy(self) -> Disk:
        return Disk({number: node.copy() for number, node in self.nodes.items()})

    def add(self, path: str, node: Node) -> None:
        number = len(self.nodes)
        self.nodes[number] = node
        self.nodes[self.find(os.path.dirname(path))].entries[os.path.basename(path)] = number

    def find(self, path: str) -> int:
        number = 0
        for name in filter(None, path.split("/")):
            number = self.nodes[number].entries[name]
        return number

    def do(self, effect: Effect, part: float = 1) -> None:
        """Let it happen; of written bytes only this part, from their beginning."""
        for number, node in effect.born:
            if number not in self.nodes:
                self.nodes[number] = node.copy()
        for folder, name, child in effect.entries:
            entries = self.nodes[folder].entries
            if child is None:
                entries.pop(name, None)
            else:
                entries[name] = child
        if effect.size is not None:
            node = self.nodes[effect.size[0]]
            node.content = bytes(node.content).ljust(effect.size[1], b"\0")[: effect.size[1]]  # type: ignore[arg-type]
        if effect.data is not None:
            number, place, data = effect.data
            data = data[: int(len(data) * part)]
            old = bytes(self.nodes[number].content)  # type: ignore[arg-type]
            self.nodes[number].content = old[:place].ljust(place, b"\0") + data + old[place + len(data) :]
        if effect.model is not None:
            node, model = self.nodes[effect.model[0]], effect.model[1]
            node.mode, node.uid, node.gid, node.attributes = model.mode, model.uid, model.gid, dict(model.attributes)

    def picture(self) -> Picture:
        """What a mount after the crash shows: what can be reached from the top."""
        entries: list[tuple[str, int, int, int, bytes | str, dict[str, bytes]]] = []
        twins: dict[str, str] = {}
        first: dict[int, str] = {}

        def walk(number: int, path: str) -> None:
            for name, child in sorted(self.nodes[number].entries.items()):
                node, place = self.nodes[child], os.path.join(path, name)
                if not stat.S_ISDIR(node.mode) and first.setdefault(child, place) != place:
                    twins[place] = first[child]
                entries.append((place, node.mode, node.uid, node.gid, node.content, node.attributes))
                if stat.S_ISDIR(node.mode):
                    walk(child, place)

        walk(0, "")
        return Picture(entries, twins)


def _node(path: str) -> Node:
    found = os.lstat(path)
    content: bytes | str = b""
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        with open(path, "rb") as data:
            content = data.read()
    attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                  for name in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
    return Node(found.st_mode, found.st_uid, found.st_gid, content, attributes)


class Recorder:
    """Lets every call happen, and writes down what it changed and what was synced."""

    def __init__(self, top: str, unsynced: tuple[str, int] | None = None) -> None:
        self.top = top
        self.unsynced = unsynced  # a place in the source where the call to sync is left out
        self.disk = Disk.of(top)  # as it would be if nothing were ever lost
        self.log: Log = []
        self.open: dict[int, int] = {}  # file descriptor to node
        self.left_out = 0

    def __call__(self, name: str, real: Around, *arguments: Any, **options: Any) -> Any:
        handler = getattr(self, f"_{name}", None)
        if handler is None:
            assert name not in _WRITES, f"the recorder does not know {name}"
            return real(*arguments, **options)
        return handler(functools.partial(real, *arguments, **options), *arguments)

    def _open(self, real: Around, path: str, flags: int, mode: int = 0o777) -> int:
        made = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        handle: int = real()
        place = self._place(os.path.realpath(path))
        if place is not None:
            if made:
                self._make("open", place, _node(path))
            self.open[handle] = self.disk.find(place)
        return handle

    def _close(self, real: Around, handle: int) -> None:
        self.open.pop(handle, None)
        real()

    def _write(self, real: Around, handle: int, data: bytes) -> int:
        place = os.lseek(handle, 0, os.SEEK_CUR)
        count: int = real()
        number = self.open[handle]
        self._log(Effect("write", frozenset({number}), data=(number, place, bytes(data)[:count])))
        return count

    def _ftruncate(self, real: Around, handle: int, size: int) -> None:
        real()
        number = self.open[handle]
        if len(self.disk.nodes[number].content) != size:
            self._log(Effect("ftruncate", frozenset({number}), size=(number, size)))

    def _fsync(self, real: Around, handle: int) -> None:
        frame = sys._getframe()
        while frame is not None:
            if (frame.f_code.co_filename, frame.f_lineno) == self.unsynced:
                self.left_out += 1
                return
            frame = frame.f_back  # type: ignore[assignment]
        real()
        if handle in self.open:  # a directory above the scratch directory may be synced too
            self.log.append(Sync(self.open[handle]))

    def _rename(self, real: Around, source: str, destination: str) -> None:
        real()
        (one, old), (other, new) = self._entry(source), self._entry(destination)
        number = self.disk.nodes[one].entries[old]
        self._log(Effect("rename", frozenset({one, other}), entries=((one, old, None), (other, new, number))))

    def _renameat2(self, real: Around, source: str, destination: str, flag: int) -> bool:
        if flag != linux._EXCHANGE:
            assert os.path.lexists(source)
            self._rename(real, source, destination)
            return True
        assert real(), "no swap here: the scratch directory must be on a file system that has it"
        (one, old), (other, new) = self._entry(source), self._entry(destination)
        first, second = self.disk.nodes[one].entries[old], self.disk.nodes[other].entries[new]
        entries = ((one, old, second), (other, new, first))
        self._log(Effect("swap", frozenset({one, other}), entries=entries))
        return True

    def _unlink(self, real: Around, path: str) -> None:
        real()
        folder, name = self._entry(path)
        self._log(Effect("unlink", frozenset({folder}), entries=((folder, name, None),)))

    _rmdir = _unlink

    def _mkdir(self, real: Around, path: str, mode: int = 0o777) -> None:
        real()
        self._make("mkdir", self._place(path) or "", _node(path))

    def _symlink(self, real: Around, target: str, path: str) -> None:
        real()
        self._make("symlink", self._place(path) or "", _node(path))

    def _fchmod(self, real: Around, handle: int, *_: Any) -> None:
        real()
        number = self.open[handle]
        self._log(
            Effect("metadata", frozenset({number}), model=(number, _node(os.readlink(f"/proc/self/fd/{handle}"))))
        )

    _fchown = _setxattr = _removexattr = _fchmod

    def _chmod(self, real: Around, path: str, *_: Any) -> None:
        real()
        number = self.disk.find(self._place(os.path.realpath(path)) or "")
        self._log(Effect("metadata", frozenset({number}), model=(number, _node(path))))

    def _make(self, call: str, place: str, node: Node) -> None:
        folder = self.disk.find(os.path.dirname(place))
        number = len(self.disk.nodes)
        entry = (folder, os.path.basename(place), number)
        self._log(Effect(call, frozenset({folder}), entries=(entry,), born=((number, node),)))

    def _entry(self, path: str) -> tuple[int, str]:
        folder = self._place(os.path.realpath(os.path.dirname(path)))
        assert folder is not None, f"{path} is outside of the machine"
        return self.disk.find(folder), os.path.basename(path)

    def _place(self, path: str) -> str | None:
        """The path below the scratch directory; None for what is outside of it."""
        inside = os.path.relpath(path, self.top)
        return None if inside.startswith("..") else "" if inside == "." else inside

    def _log(self, effect: Effect) -> None:
        self.log.append(effect)
        self.disk.do(effect)

    def missed(self) -> str:
        """Where the disk differs from what was recorded ('': nowhere). The lock file is another package's work."""
        found = {path: entry for path, entry in snapshot(self.top).items() if not path.endswith("ccremedy/lock")}
        recorded = Picture.of(self.top).entries
        model = {entry[0]: (*entry[1:4], entry[4] or b"") for entry in self.disk.picture().entries}
        real = {entry[0]: (*entry[1:4], entry[4] or b"") for entry in recorded if entry[0] in found}
        return difference(model, real)


@dataclass
class History:
    """What happened on a machine, call by call, and the tree after each step that was kept."""

    name: str
    rig: Rig
    top: str
    start: Disk
    log: Log
    trees: list[Tree]

    @classmethod
    def record(
        cls, name: str, acts: str, top: str, unsynced: tuple[str, int] | None = None, number: int = 0
    ) -> History:
        """`acts` is a list of words; `apply!` is one that is killed at call `number`, `apply?` one that fails there."""
        os.umask(0o022)
        rig = Rig.make(cases()[name], top, no_shells)
        recorder = Recorder(top, unsynced)
        history = cls(f"{name}, {acts}{f' ({number})' if number else ''}", rig, top, recorder.disk.copy(), recorder.log,
                      [rig.tree()])  # fmt: skip

        acting: dict[str, Callable[[], object]] = {"apply": rig.apply, "undo": rig.undo, "recover": rig.recover}

        def kept() -> None:
            recorder.log.append(Kept(True))
            history.trees.append(rig.tree())

        with after_each_kept_step(kept, lambda: recorder.log.append(Kept(False))):
            for act in acts.split():
                around: Counter | Recorder = recorder
                if act.endswith("!"):
                    around = Stopper(at=number, inner=recorder)
                elif act.endswith("?"):
                    around = Failer(at=number, fault=errno.EIO, inner=recorder)
                with seam(around), contextlib.suppress(Dead, Problem):
                    acting[act.rstrip("!?")]()
        assert unsynced or not recorder.missed(), f"{history.name}: {recorder.missed()}"
        return history

    def crashes(self, seed: int = 0) -> Iterator[tuple[str, Disk, int, int]]:
        """Each state that the disk may have after a power cut, and how many steps may be kept in it: from, to."""
        rng = random.Random(seed)
        durable = self.start.copy()
        pending: list[Effect] = []
        synced: dict[int, set[int]] = {}  # by place in `pending`: what it still needs
        low = high = 0
        for count, event in enumerate([*self.log, None], 1):
            names = [effect.call for effect in pending]
            for chosen, part in _choices(len(pending), rng, [effect.data is not None for effect in pending]):
                disk = durable.copy()
                for place, effect in enumerate(pending):
                    if place in chosen:
                        disk.do(effect, part if place == max(chosen) else 1)
                lost = ", ".join(f"{names[i]} {i + 1}" for i in range(len(names)) if i not in chosen) or "nothing"
                torn = f", {names[max(chosen)]} torn" if part != 1 else ""
                yield f"{self.name}: cut after event {count - 1}, lost of {len(names)}: {lost}{torn}", disk, low, high
            if isinstance(event, Effect):
                synced[len(pending)] = set(event.needs)
                pending.append(event)
                for number, node in event.born:  # it is somewhere on the disk, if only without a name
                    durable.nodes[number] = node.copy()
            elif isinstance(event, Sync):
                left: list[Effect] = []
                still: dict[int, set[int]] = {}
                for place, effect in enumerate(pending):
                    needs = synced[place] - {event.node}
                    if needs:
                        still[len(left)] = needs
                        left.append(effect)
                    else:
                        durable.do(effect)
                pending, synced = left, still
            elif isinstance(event, Kept):
                low, high = (high, high) if event.done else (low, low + 1)  # an earlier one may not have come to it


def _choices(count: int, rng: random.Random, data: list[bool]) -> Iterator[tuple[set[int], float]]:
    """Which of `count` unsynced effects last: all of these where they are few, else none, one, all but one, some."""
    everything = set(range(count))
    if count <= 4:
        subsets = [{i for i in range(count) if mask >> i & 1} for mask in range(1 << count)]
    else:
        subsets = [set(), everything, *({i} for i in range(count)), *(everything - {i} for i in range(count))]
        subsets += [{i for i in range(count) if rng.random() < 0.5} for _ in range(6)]
    for subset in subsets:
        yield subset, 1
        if subset and data[max(subset)]:  # of bytes that were not synced, any beginning may be there
            yield subset, 0.5
            yield subset, 0.999


def moments(name: str) -> list[int]:
    """The calls of an apply that are worth a kill in a history: each that changes a name, and the one after it."""
    with scratch_folder("moments") as top:
        rig = Rig.make(cases()[name], os.path.join(top, "machine"), no_shells)
        counter = Counter()
        with seam(counter):
            rig.apply()
        rename = [i for i, called in enumerate(counter.names, 1) if called in ("rename", "renameat2", "mkdir")]
        return sorted({*rename, *(i + 1 for i in rename)})


def power_sweep(
    name: str, acts: str, numbers: Sequence[int], unsynced: tuple[str, int] | None, first_bad: bool, top: str
) -> Tally:
    """Cut the power at every moment of each history, recover, and compare. `first_bad`: one bad state is enough."""
    tally = Tally()
    for number in numbers:
        history = History.record(name, acts, top, unsynced, number)
        seen = set()
        for sentence, disk, low, high in history.crashes():
            picture = disk.picture()
            key = (low, high, pickle.dumps(picture))
            if key in seen:
                continue
            seen.add(key)
            tally.points += 1
            picture.restore(top)
            tally.landed += 1
            if why := _after_the_cut(history, low, high):
                tally.bad.append(f"{sentence}: {why}")
                if first_bad:
                    return tally
    return tally


def _after_the_cut(history: History, low: int, high: int) -> str:
    try:
        history.rig.recover()
        runs = history.rig.journal.runs()
    except Problem as problem:
        return f"recover refuses: {problem}"
    kept = sum(step.state == "kept" for run in runs for step in run.steps)
    if not low <= kept <= high:
        return f"the journal says that {kept} steps were kept, and {low} to {high} were"
    return difference(history.trees[kept], history.rig.tree())


def sync_sites() -> list[tuple[str, int]]:
    """Every place in the product that calls fsync, or a function of `files` that does nothing else."""
    import ast

    found = []
    top = os.path.dirname(registry.__file__)
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
    elsewhere = ("macos.py", "windows.py", "testing.py")
    for path in sorted(path for path in paths if path.endswith(".py") and not path.endswith(elsewhere)):
        with open(path, encoding="utf-8") as source:
            tree = ast.parse(source.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in ("fsync", "sync", "sync_folder"):
                    found.append((path, node.lineno))
    return sorted(set(found))


def diagnosis_sweep(name: str, step: int, top: str) -> Tally:
    """Every call of a diagnosis fails: nothing escapes, nothing is written, nothing else is to be moved than before."""
    rig, tally = Rig.make(cases()[name], top, no_shells), Tally()
    before = rig.tree()
    called: list[str] = []

    def listen(each: str, real: Around, *arguments: Any, **options: Any) -> Any:
        called.append(each)
        return real(*arguments, **options)

    with seam(listen):
        moved = _moved(rig)
    pairs = [(at, fault) for at, each in enumerate(called, 1) for fault in (errno.EIO, errno.EMFILE, errno.ESTALE)
             if each not in _CANNOT_FAIL and (each != "close" or fault in _CLOSE)]  # fmt: skip
    for at, fault in pairs[::step]:
        tally.points += 1
        failer = Failer(at=at, fault=fault, touched=True)
        why = ""
        try:
            with seam(failer):
                why = ", ".join(_moved(rig) - moved)
        except Exception as error:  # noqa: BLE001 - whatever escapes is a finding
            why = f"{type(error).__name__} escapes: {error}"
        tally.landed += failer.landed
        if why or (why := difference(before, rig.tree())):
            tally.bad.append(f"{name}, diagnose: call {at} ({called[at - 1]}) {fault_name(fault)}: {why}")
    return tally


def _moved(rig: Rig) -> set[str]:
    changes = [change for finding in rig.diagnose().findings for change in finding.changes if not change.refused]
    return {change.resource.path for change in changes if isinstance(change.resource, Location)}


# ---- the same kills, by the kernel: strace, attached to a forked child


_NOT_OURS = ("exit", "rt_sig", "restart_syscall", "kill", "brk", "mmap", "munmap", "madvise", "mprotect", "futex",
             "getpid", "gettid", "getrandom", "clock", "sched_", "geteuid", "getuid", "umask", "tgkill")  # fmt: skip


def traced_child(scene: Scene, *options: str) -> tuple[int, list[str]]:
    """The wait status of a child that acts under strace with these options, and the names of its system calls.

    Attached to a forked child, which stops itself first: a point costs 10 ms, however long the imports took. Without
    --seccomp-bpf, under which kills are silently not delivered.
    """
    import subprocess
    import time

    trace = f"{scene.top}.trace"
    child = os.fork()
    if child == 0:
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            scene.run()
        finally:
            os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    command = ["strace", "-qq", "-o", trace, *options, "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        while strace.poll() is None:
            with open(f"/proc/{child}/status") as status:
                if "State:\tt" in status.read():  # not only seized, but held: from here on it sees every call
                    break
            time.sleep(0.0005)
        os.kill(child, signal.SIGCONT)
        ended = os.waitpid(child, 0)[1]
    with open(trace) as lines:
        calls = [line.split("(", 1)[0] for line in lines if line[:1].isalpha()]
    return ended, calls


def kernel_kill_sweep(name: str, start: str, act: str, step: int, top: str) -> Tally:
    """A kill at every `step`-th system call from the first that changes something on; the k-th call of its name."""
    scene, tally = Scene.make(name, start, act, top), Tally()
    scene.reset()
    _, calls = traced_child(scene)
    seen: dict[str, int] = {}
    points = []
    touched = False
    for call in calls:
        seen[call] = seen.get(call, 0) + 1
        touched = touched or call in ("mkdir", "ftruncate", "write", "rename", "renameat2")
        if touched and not call.startswith(_NOT_OURS):
            points.append((call, seen[call]))
    for call, number in points[_offset(scene, step) :: step]:
        tally.points += 1
        scene.reset()
        ended, _ = traced_child(scene, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
        tally.landed += ended == signal.SIGKILL
        if why := _mended(scene, False):
            tally.bad.append(f"{scene}: killed at {call} {number}: {why}")
    return tally


# ---- the command line, with a fault at one call


_SAID = ("Traceback", "this is a bug")
_CODES = (0, 1, 3, 4, 6, 8, 130)


def command_sweep(words: Sequence[str], step: int, top: str) -> Tally:
    """The real `cli.main` in a forked child: whatever fails, an exit code of the table, and a sentence."""
    from ccremedy import engine
    from ccremedy.cli import main

    name = SEVERAL
    scene, tally = Scene.make(name, FRESH, UNDO if words[0] == "undo" else APPLY, top), Tally()
    env = {**scene.rig.machine.env, "XDG_STATE_HOME": os.path.dirname(scene.rig.journal.folder)}

    def run(failer: Counter) -> tuple[int, str]:
        """Its exit code and all that it printed; the counter lives in the child, so it tells its count by a pipe."""
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.close(out)
                os.dup2(into, 1)
                os.dup2(into, 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                os.environ.clear()
                os.environ.update(env)
                os.chdir(scene.rig.machine.home)
                vars(engine).update(Engine=functools.partial(engine.Engine, ask=no_shells))
                with seam(failer):
                    code = main(list(words))
                sys.stderr.flush()
                print(f"\nSEAM {failer.count} {getattr(failer, 'landed', '')}", flush=True)
            finally:
                os._exit(code)
        os.close(into)
        with os.fdopen(out, "rb") as data:
            text = data.read().decode("utf-8", "replace")
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text

    scene.reset()
    code, text = run(Counter())
    assert code in (0, 3), text
    count = int(text.rpartition("SEAM ")[2])
    pairs = [(at, fault) for at in range(1, count + 1) for fault in FAULTS if fault not in (SHORT, MemoryError)]
    for at, fault in pairs[::step]:
        scene.reset()
        code, text = run(Failer(at=at, fault=fault))
        text, _, landed = text.rpartition("SEAM ")
        if landed.endswith("False\n"):
            continue  # not so many calls this time: the scan of running processes is never twice the same
        tally.points += 1
        tally.landed += landed.endswith("True\n")
        why = f"exit code {code}" if code not in _CODES else next((x for x in _SAID if x in text), "")
        if why := why or (_mended(scene, False) if words[0] == "undo" else _all_comes_back(scene)):
            tally.bad.append(f"ccremedy {' '.join(words)}: call {at} {fault_name(fault)}: {why}: {text[-300:]!r}")
    return tally


def _all_comes_back(scene: Scene) -> str:
    """Recover, take back what stands, and compare: the command finds more shells here than the case has."""
    try:
        scene.rig.recover()
        runs = scene.rig.journal.runs()
        for run in reversed(runs):
            if run.stands(runs) and (problems := scene.rig.undo(run.number).problems):
                return str(problems[0])
    except Problem as problem:
        return str(problem)
    return difference(scene.before, scene.rig.tree())
