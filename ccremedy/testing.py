"""Sick machines for tests, and the contract that every remedy keeps on every one of them.

A case is a folder `cases/<remedy>/<what-is-wrong>/` with a `case.json`:

    says       one sentence: what this machine shows
    platform   "linux", "wsl", "macos" or "windows"; where that is another system than ours, it is simulated, with "/"
               in its paths
    files      path to content; "~/" is the home, "/" the machine's root. Content is text, or an object:
               {"text": …} {"base64": …} {"link": target} {"hard": path} {"folder": true}, and maybe a "mode" ("755")
               and a "size", up to which NULs follow
    env        added to HOME and PATH; {root} and {home} are filled in, here and in texts
    cwd        the working directory (~)
    options    of the remedy: a list of switches such as "full", or an object where some take values
    network    how far one comes to the API: by proxy ("" for none), the fields of `network.Look`; and maybe "roots",
               words that must be in the authorities added for it to be ok. Without: nothing resolves
    registry   of Windows: key to values, each [type, text or number], or a text of hex digits for what is none; null
               for a key that is not there
    shells     which shells are installed (["bash"]; on Windows none)
    finds      what must be found: [{"id": …, "changes": [path, …], "refused": [path, …]}], [] where all is well
    because    words that the reason must hold where nothing is found
    processes  what runs, where the platform's own would be asked: a list of objects, with the fields of `Running` and
               `Details` that matter ({"pid": 42, "name": "claude", "program": …}), `age` in seconds; in texts of files
               {before:SECONDS} is then a time so long ago, in milliseconds

The machine is real: files in a scratch root, the same code as anywhere, real shells. `check` runs the whole contract;
a remedy of another package is tested by `check(Case.load(folder, MyRemedy()), scratch)`.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import shutil
import stat
import sys
import time
import unittest
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ccremedy import engine, files, hive, jsonc, registry, shells
from ccremedy.diagnosis import Diagnosis, diagnose
from ccremedy.engine import Engine, Result
from ccremedy.finding import Finding, Remedy
from ccremedy.journal import Journal, find
from ccremedy.machine import Adapter, Details, Facts, Machine, Running
from ccremedy.record import dataclass, is_object
from ccremedy.resources import Change
from ccremedy.resources.texts import Setting, Text, Whole
from ccremedy.resources.values import Registered, Segment

if TYPE_CHECKING:
    from ccremedy.network import Look, Proxy

CLEAN_PATH = "{root}/usr/local/bin:{root}/usr/bin:{root}/bin"
_BEGUN = time.time()  # the same for each machine of a case
SYSTEMS = {
    "linux": "linux",
    "wsl": "linux",
    "macos": "darwin",
    "windows": "win32",
}  # platform: what Python calls its system
WSL_FILES = {"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n", "/run/WSL": {"folder": True}}
WINDOWS_ENV = {
    "USERPROFILE": "{home}",
    "APPDATA": "{home}/AppData/Roaming",
    "LOCALAPPDATA": "{home}/AppData/Local",
    "PROGRAMFILES": "{root}/Program Files",
    "SYSTEMROOT": "{root}/Windows",
    "PATHEXT": ".COM;.EXE;.BAT;.CMD",
    "PATH": "{root}/Windows/System32;{root}/Windows",
}
WINDOWS_REGISTRY = {
    hive.SYSTEM_ENVIRONMENT: {"Path": ["REG_EXPAND_SZ", "%SystemRoot%/System32;%SystemRoot%"]},
    hive.ENVIRONMENT: {},
}
SCRATCH_KEY = rf"{hive.USER}\Software\ccremedy-tests"


@dataclass(frozen=True)
class Case:
    name: str
    remedy: Remedy
    facts: dict[str, Any]

    @classmethod
    def load(cls, folder: str, remedy: Remedy | None = None) -> Case:
        with open(os.path.join(folder, "case.json"), encoding="utf-8") as text:
            facts = json.load(text)
        known = {"says", "platform", "files", "env", "cwd", "options", "network", "shells", "finds", "because",
                 "processes", "registry"}  # fmt: skip
        assert facts.keys() <= known, f"{folder}: unknown keys {facts.keys() - known}"
        family, name = os.path.split(folder)
        return cls(name, remedy or registry.remedy(os.path.basename(family)), facts)

    @property
    def simulated(self) -> bool:
        """Whether its system is another than the one that we run on."""
        return SYSTEMS[self.facts["platform"]] != sys.platform

    def missing_shells(self) -> list[str]:
        """Those of its shells that are not installed here: without them its contract cannot be checked."""
        return [name for name in self._shells() if not shutil.which(name, path="/bin:/usr/bin")]

    def _shells(self) -> list[str]:
        found: list[str] = self.facts.get("shells", [] if self.facts["platform"] == "windows" else ["bash"])
        return found

    def build(self, root: str) -> Machine:
        """Make this machine's files below `root`, which must be an empty or missing directory."""
        wsl, windows = (self.facts["platform"] == name for name in ("wsl", "windows"))
        home = os.path.join(root, "Users" if self.facts["platform"] in ("macos", "windows") else "home", "me")
        mask = os.umask(0o022)  # a machine is not sicker because of whoever builds it
        os.makedirs(home)
        for path, content in ((WSL_FILES if wsl else {}) | self.facts.get("files", {})).items():
            place = os.path.join(home, path[2:]) if path.startswith("~/") else os.path.join(root, path.lstrip("/"))
            _make(os.path.normpath(place), content, root, home, "755" if windows else "")
        os.umask(mask)
        if windows:
            return self._windows(root, home)
        cwd = _fill(self.facts.get("cwd", "{home}"), root, home)
        env = {"PATH": CLEAN_PATH, "HOME": "{home}", "USER": "me"} | ({"WSL_DISTRO_NAME": "Debian"} if wsl else {})
        env |= self.facts.get("env", {})
        values = {name: _fill(value, root, home) for name, value in env.items()}
        facts = Facts(SYSTEMS[self.facts["platform"]], values, root, cwd, registry.program())
        adapter = registry.adapter(facts)
        if self.facts["platform"] == "macos":
            _let_run(adapter, self.facts.get("processes", []), root, home)
        assert adapter.name == self.facts["platform"], f"recognised as {adapter.name}"
        installed = adapter.shells(facts)
        wanted = {name: installed.get(name, f"/usr/bin/{name}") for name in self._shells()}
        return Machine(home, adapter, facts, wanted, self._options(root, home), self._network)

    def _windows(self, root: str, home: str) -> Machine:
        """The same as Windows has it: its own paths and a scratch key there, and elsewhere a registry in a file."""

        def fill(text: str) -> str:
            return _fill(text if "://" in text else text.replace("/", os.sep), root, home)

        hives = scratch_key(root)
        registered: dict[str, dict[str, Any] | None] = WINDOWS_REGISTRY | self.facts.get("registry", {})
        for key, values in registered.items():
            for made in () if values is None else hive.missing_keys(rf"{hives}\{key}"):
                hive.make_keys((made,))
            for name, value in (values or {}).items():
                hive.write(rf"{hives}\{key}", name, _registered(value, fill))
        env = {name.upper(): fill(value) for name, value in (WINDOWS_ENV | self.facts.get("env", {})).items()}
        facts = Facts("win32", env, root, fill(self.facts.get("cwd", "{home}")), registry.program(), hives)
        adapter = registry.adapter(facts)
        _let_run(adapter, self.facts.get("processes", []), root, home)
        vars(adapter).update(shell_command=_shell_command)  # the scratch root has no shell of Windows'
        if self.simulated:
            vars(adapter).update(quote=functools.partial(shells.quote, "sh"))
        return Machine(home, adapter, facts, adapter.shells(facts), self._options(root, home), self._network)

    def _options(self, root: str, home: str) -> dict[str, bool | str]:
        given: Any = self.facts.get("options", [])
        options: dict[str, Any] = given if is_object(given) else dict.fromkeys(given, True)
        return {name: value if value is True else _fill(value, root, home) for name, value in options.items()}

    def _network(self, machine: Machine, url: str, proxy: Proxy | None, roots: str, no_proxy: str) -> Look:
        from ccremedy.network import Look

        found = self.facts.get("network", {}).get(proxy.shown() if proxy else "")
        if found is None:
            return Look("resolve", error="the name cannot be resolved")
        if "roots" in found and found["roots"] in roots:
            return Look("http", ok=True, status=404)
        fields = {name: value for name, value in found.items() if name not in ("roots", "chain")}
        return Look(**fields, chain=tuple(base64.b64decode(each) for each in found.get("chain", ())))


def _let_run(adapter: Adapter, listed: list[dict[str, Any]], root: str, home: str) -> None:
    """Give the adapter these processes: there is no folder below the root that could hold them."""
    text = json.dumps(listed)
    told = {each["pid"]: each for each in json.loads(_fill(text, json.dumps(root)[1:-1], json.dumps(home)[1:-1]))}
    nothing = {"start": "1.00", "name": "", "parent": 1, "terminal": "", "cpu": 0.0, "age": 0.0}
    less: dict[str, Any] = {"ours": True, "program": "", "arguments": (), "env": {}, "folder": "", "space": ""}

    def processes(facts: Facts) -> Iterator[Running]:
        passed = {"age": time.time() - _BEGUN}
        for each in told.values():
            fields = {name: each.get(name, value) + passed.get(name, type(value)()) for name, value in nothing.items()}
            yield Running(each["pid"], **fields)

    def details(facts: Facts, pid: int) -> Details:
        found = told.get(pid, {"ours": False})
        fields: dict[str, Any] = {name: found.get(name, value) for name, value in less.items()}
        fields["arguments"] = tuple(fields["arguments"])
        fields["folder"] = os.path.normpath(fields["folder"]) if fields["folder"] else ""
        return Details(**fields)

    vars(adapter).update(processes=processes, details=details)


def _shell_command(facts: Facts, command: str) -> list[str] | str:
    """What runs the command of a setting here, whatever system is simulated."""
    return f'"{os.environ["COMSPEC"]}" /d /s /c "{command}"' if sys.platform == "win32" else ["/bin/sh", "-c", command]


def _make(place: str, content: Any, root: str, home: str, mode: str = "") -> None:
    os.makedirs(os.path.dirname(place), exist_ok=True)
    what: dict[str, Any] = content if is_object(content) else {"text": content}
    if "link" in what:
        os.symlink(_fill(what["link"], root, home), place)
        return
    if "hard" in what:
        os.link(_fill(what["hard"], root, home), place)
        return
    if what.get("folder"):
        os.makedirs(place, exist_ok=True)
    else:
        if place.endswith(".json"):  # where a backslash of Windows stands for itself only if there are two
            root, home = (json.dumps(each, ensure_ascii=False)[1:-1] for each in (root, home))
        data = base64.b64decode(what["base64"]) if "base64" in what else _fill(what["text"], root, home).encode()
        with open(place, "wb") as out:
            out.write(data.ljust(what.get("size", 0), b"\0"))
    if mode := what.get("mode", "" if what.get("folder") else mode):
        os.chmod(place, int(mode, 8))


def _fill(text: str, root: str, home: str) -> str:
    text = re.sub(r"\{before:(\d+)\}", lambda ago: str(int((_BEGUN - int(ago[1])) * 1000)), text)
    return text.replace("{root}", root).replace("{home}", home)


def _registered(value: Any, fill: Callable[[str], str]) -> tuple[int, bytes]:
    if isinstance(value, str):
        return 3, bytes.fromhex(value)
    kind, content = hive.KINDS.index(value[0]), value[1]
    if isinstance(content, int):
        return kind, content.to_bytes(4, "little")
    return kind, bytes.fromhex(value[2]) if len(value) > 2 else hive.as_data(fill(content))


def snapshot(top: str) -> dict[str, tuple[Any, ...]]:
    """Everything below `top` that a change could harm: type, mode, owner, links, bytes, link text, attributes."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, names in os.walk(top):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            entry = os.lstat(path)
            kind = stat.S_IFMT(entry.st_mode)
            if stat.S_ISLNK(kind):
                content: bytes | str = os.readlink(path)
            elif stat.S_ISREG(kind):
                with open(path, "rb") as data:
                    content = data.read()
            else:
                content = ""
            attributes = _attributes(path)
            mode = stat.S_IMODE(entry.st_mode)
            links = entry.st_nlink if not stat.S_ISDIR(kind) else 0
            found[os.path.relpath(path, top)] = (kind, mode, entry.st_uid, entry.st_gid, links, content, attributes)
    return found


def _attributes(path: str) -> dict[str, bytes]:
    if sys.platform != "linux":
        return {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def no_shells(machine: Machine, names: Any, timeout: float) -> shells.Answers:
    """Stands for `shells.ask` where a sweep has thousands of points: asks nobody, so nothing is proven."""
    return {}


@dataclass
class Rig:
    """One case, built, with an engine and a journal outside of its home."""

    case: Case
    machine: Machine
    journal: Journal
    ask: Any = shells.ask

    @classmethod
    def make(cls, case: Case, scratch: str, ask: Any = shells.ask) -> Rig:
        """Build the case below `scratch`, replacing what an earlier one left there."""
        shutil.rmtree(scratch, ignore_errors=True)
        machine = case.build(os.path.join(scratch, "root"))
        return cls(case, machine, Journal(os.path.join(scratch, "state", "ccremedy")), ask)

    @property
    def engine(self) -> Engine:
        if self.ask is no_shells:
            return Engine(
                self.machine, self.journal, no_shells, missed=lambda machine, change: "", pause=lambda seconds: None
            )
        return Engine(self.machine, self.journal, self.ask)

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """Its files, and of a real registry what is in its scratch key; a simulated one is a file."""
        hives = self.machine.facts.hives if sys.platform == "win32" else ""
        return snapshot(self.machine.facts.root) | ({key: (raw,) for key, raw in _registry(hives)} if hives else {})

    def diagnose(self) -> Diagnosis:
        return diagnose(self.machine, [self.case.remedy])

    def apply(self, findings: list[Finding] | None = None) -> Result:
        """As the command does: recover, lock, apply what is found."""
        with self.journal.lock(5):
            self.engine.recover()
            number = max((run.number for run in self.journal.sound_runs()), default=0) + 1
            run = self.journal.begin(number, f"apply {self.case.remedy.id}", "2026-01-01T00:00:00Z")
            chosen = self.diagnose().findings if findings is None else findings
            return self.engine.apply(chosen, run, {self.case.remedy.id: self.case.remedy})

    def undo(self, number: int | None = None, change: int | None = None) -> Result:
        with self.journal.lock(5):
            self.engine.recover()
            runs = self.journal.sound_runs()
            run = self.journal.begin(max(run.number for run in runs) + 1, "undo", "2026-01-01T00:00:00Z")
            return self.engine.undo(find(runs, number), run, change)

    def recover(self) -> None:
        with self.journal.lock(5):
            self.engine.recover()


# ---- the contract


def check(case: Case, scratch: str) -> None:
    """Every clause below, each on a freshly built machine."""
    for clause in CLAUSES:
        clause(case, scratch)


def finds_what_it_must(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    found = rig.diagnose()
    assert not found.failed, [str(problem) for _, problem in found.failed]
    expected = case.facts["finds"]
    assert [each.id for each in found.findings] == [each["id"] for each in expected]
    for finding, wanted in zip(found.findings, expected):
        for key, refused in (("changes", False), ("refused", True)):
            paths = [_short(rig, change) for change in finding.changes if bool(change.refused) == refused]
            assert paths == wanted.get(key, []), f"{key}: {paths}"
    if not expected:
        reasons = " ".join(reason for _, reason in found.healthy)
        assert reasons, "a no-op must say why"
        assert case.facts.get("because", "") in reasons, reasons


def diagnosing_is_pure(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    before = rig.tree()
    rig.diagnose()
    assert rig.tree() == before
    assert not os.path.exists(rig.journal.folder)


Clause = Callable[[Case, str], None]
LATER = b"# mine, written later\n"


def _on_what_can_be_taken_back(clause: Clause) -> Clause:
    """A case's processes are none that could be stopped: what stops them is tested on real ones."""

    @functools.wraps(clause)
    def check(case: Case, scratch: str) -> None:
        found = Rig.make(case, scratch).diagnose().findings
        if all(change.resource.REVERSIBLE for finding in found for change in finding.changes):
            clause(case, scratch)

    return check


def what_cannot_be_taken_back_stands_alone(case: Case, scratch: str) -> None:
    for finding in Rig.make(case, scratch).diagnose().findings:
        if not all(change.resource.REVERSIBLE for change in finding.changes):
            assert len(finding.changes) == 1
            assert finding.risk == "high"


@_on_what_can_be_taken_back
def applying_mends(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    result = rig.apply()
    assert not result.problems, [str(problem) for problem in result.problems]
    left = [change for finding in rig.diagnose().findings for change in finding.changes if not change.refused]
    assert not left, [change.sentence() for change in left]


@_on_what_can_be_taken_back
def applying_twice_is_applying_once(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    rig.apply()
    before, times = rig.tree(), _times(rig)
    runs = len(rig.journal.runs())
    rig.apply()
    assert rig.tree() == before
    assert _times(rig) == times
    assert len(rig.journal.runs()) == runs


@_on_what_can_be_taken_back
def undoing_gives_everything_back(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    before = rig.tree()
    if not rig.apply().outcomes.values() or not rig.journal.runs():
        return
    undone = rig.undo()
    assert not undone.problems, [str(problem) for problem in undone.problems]
    assert rig.tree() == before


@_on_what_can_be_taken_back
def undoing_the_undo_mends_again(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    rig.apply()
    after = rig.tree()
    if not rig.journal.runs():
        return
    rig.undo()
    rig.undo()
    assert rig.tree() == after


@_on_what_can_be_taken_back
def an_edit_made_since_survives_undo(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    edited = {change.resource.path: isinstance(change.resource, Setting) for finding in rig.diagnose().findings
              for change in finding.changes if not change.refused and _is_shared_text(change)}  # fmt: skip
    if not edited:
        return
    originals = {path: _read(path) for path in edited}
    rig.apply()
    for path, is_json in edited.items():
        data = _read(path)
        gap = b"\n" if data and not data.endswith(b"\n") else b""
        _write(path, jsonc.put(data, ["mine"], '"later"') if is_json else data + _like(data, gap + LATER))
    rig.undo()
    for path, original in originals.items():
        if edited[path]:
            assert jsonc.parse(_read(path)) == {**(jsonc.parse(original) or {}), "mine": "later"}, path  # type: ignore[dict-item]
            continue
        gap = b"\n" if original and not original.endswith(b"\n") else b""
        assert _read(path) in [original + _like(original, each + LATER) for each in (gap, b"")], path


@_on_what_can_be_taken_back
def an_edit_inside_what_we_own_is_left(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    result = rig.apply()
    changes = [change for change in _done(result) if _is_shared_text(change) and change.after]
    if not changes:
        return
    resource, path, body = changes[0].resource, changes[0].resource.path, str(changes[0].after).encode()
    if isinstance(resource, Setting):
        _write(path, jsonc.put(_read(path), resource.keys(), '"mine"'))
        undone = rig.undo()
        assert jsonc.get(_read(path), resource.keys()) == '"mine"'
    else:
        mine = _read(path).replace(body, body.rstrip(b"\n") + b" # mine\n" if body.endswith(b"\n") else body + b"-mine")
        _write(path, mine)
        undone = rig.undo()
        assert _read(path) == mine
    assert undone.problems


@_on_what_can_be_taken_back
def a_list_that_others_add_to_keeps_what_they_added(case: Case, scratch: str) -> None:
    rig = Rig.make(case, scratch)
    found = [change.resource for finding in rig.diagnose().findings for change in finding.changes if not change.refused]
    lists = [(each.path, each.name) for each in found if isinstance(each, Segment)]
    before = {place: hive.read(*place) for place in lists}
    if not lists or not _done(rig.apply()):
        return
    for place in lists:
        kind, data = hive.read(*place) or (2, b"")
        hive.write(*place, (kind, hive.as_data(f"{hive.as_text(kind, data)};later")))
    undone = rig.undo()
    assert not undone.problems, [str(problem) for problem in undone.problems]
    for place, old in before.items():
        kind, data = old or (2, b"")
        text = f"{hive.as_text(kind, data)};later" if data else "later"
        assert hive.read(*place) == (kind, hive.as_data(text))


@_on_what_can_be_taken_back
def killed_at_any_write_it_recovers(case: Case, scratch: str) -> None:
    """A coarse sweep, for remedies of others; tests/sweep.py kills at every system call."""
    if sys.platform == "win32":
        raise unittest.SkipTest("needs os.fork, to have somebody to kill")
    rig = Rig.make(case, scratch, no_shells)
    before = rig.tree()
    changes = [change for finding in rig.diagnose().findings for change in finding.changes if not change.refused]
    for deadly in range(len(changes)):
        rig = Rig.make(case, scratch, no_shells)
        pid = os.fork()
        if pid == 0:
            _die_at(rig, deadly)
        assert os.waitpid(pid, 0)[1] == 9, "the kill did not land"
        rig.recover()
        assert rig.tree() == before, f"killed at change {deadly + 1}"


CLAUSES = (
    finds_what_it_must,
    diagnosing_is_pure,
    what_cannot_be_taken_back_stands_alone,
    applying_mends,
    applying_twice_is_applying_once,
    undoing_gives_everything_back,
    undoing_the_undo_mends_again,
    an_edit_made_since_survives_undo,
    an_edit_inside_what_we_own_is_left,
    a_list_that_others_add_to_keeps_what_they_added,
    killed_at_any_write_it_recovers,
)


def _die_at(rig: Rig, deadly: int) -> None:
    """In a forked child: apply, and be killed when the change of this number has just been written."""
    written = 0

    def deadly_set(change: Change, now: str | None, value: str | None, scratch: str) -> None:
        nonlocal written
        real_set(change, now, value, scratch)
        if written == deadly:
            os.kill(os.getpid(), 9)
        written += 1

    real_set, engine._set = engine._set, deadly_set  # pyright: ignore[reportPrivateUsage] - what writes each change
    try:
        rig.apply()
    finally:
        os._exit(1)


def _done(result: Result) -> list[Change]:
    return [change for (_, _, change), outcome in result.outcomes.items() if outcome == "done"]


def _short(rig: Rig, change: Change) -> str:
    path = change.resource.path
    home, root, hives = rig.machine.home, rig.machine.facts.root, rig.machine.facts.hives
    if isinstance(change.resource, Registered):
        return rf"{path[len(hives) + 1 :]}\{change.resource.name}"
    return ("~" + path[len(home) :] if path.startswith(home) else path[len(root) :]).replace(os.sep, "/")


def _like(data: bytes, more: bytes) -> bytes:
    """What a program would write behind `data`, in its encoding."""
    return more.decode().encode("utf-16-le") if data.startswith(b"\xff\xfe") else more


def _times(rig: Rig) -> dict[str, int]:
    top = rig.machine.facts.root
    return {name: os.lstat(os.path.join(top, name)).st_mtime_ns for name in snapshot(top)}


def _is_shared_text(change: Change) -> bool:
    """Whether it is a piece of a file in which others write too."""
    return isinstance(change.resource, Text) and not isinstance(change.resource, Whole)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as out:
        out.write(data)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as data:
            return data.read()
    except FileNotFoundError:
        return b""


def cases(folder: str) -> list[Case]:
    """Every case below `folder`, by remedy and name."""
    found: list[Case] = []
    for remedy in sorted(os.listdir(folder)):
        for name in sorted(os.listdir(os.path.join(folder, remedy))):
            found.append(Case.load(os.path.join(folder, remedy, name)))
    return found


# ---- the registry of Windows, or what stands for it


def scratch_key(root: str) -> str:
    """An empty key that stands for the registry of the machine below `root`; the last one of this name is gone."""
    key = rf"{SCRATCH_KEY}\{zlib.crc32(os.path.realpath(root).encode()):08x}"
    if sys.platform == "win32":
        _remove_key(key)
    else:
        if not isinstance(hive.api, FileRegistry):
            hive.api = FileRegistry()
        hive.api.begin(key, os.path.join(root, "registry.json"))
    hive.make_keys(hive.missing_keys(key))
    return key


def _remove_key(key: str) -> None:
    for name in hive.keys(key):
        _remove_key(rf"{key}\{name}")
    if hive.exists(key) and hive.api is not None:
        hive.api.remove(key)


def _registry(key: str) -> Iterator[tuple[str, tuple[int, bytes] | None]]:
    """Every key below this one, and every value, with its type and bytes."""
    yield key, None
    for name in hive.values(key):
        yield rf"{key}\{name}", hive.read(key, name)
    for name in hive.keys(key):
        yield from _registry(rf"{key}\{name}")


_Keys = dict[str, dict[str, tuple[int, str]]]  # by its path: a key's values, with their types, and bytes in hex


class FileRegistry:
    """A registry of several machines, each in a JSON file of its own, for systems that have none.

    Names keep their letter case and are found in any; a value is written before this returns, in one step. The file's
    calls go through the `os` of `files`, so that the sweeps see them.
    """

    def __init__(self) -> None:
        self._tops: dict[str, str] = {}  # the key that a file stands for, in upper case

    def begin(self, top: str, path: str) -> None:
        """Let the key `top` and those in it be kept in the file `path`, which is written anew."""
        self._tops[top.upper()] = path
        self._save(path, {top: {}})

    def query(self, key: str, name: str) -> tuple[int, bytes]:
        values = self._values(key)
        kind, data = values[_spelling(values, name)]
        return kind, bytes.fromhex(data)

    def set(self, key: str, name: str, kind: int, data: bytes) -> None:
        path, keys = self._load(key)
        values = keys[_spelling(keys, key)]
        old = next((each for each in values if each.upper() == name.upper()), name)
        values[old] = (kind, data.hex())
        self._save(path, keys)

    def delete(self, key: str, name: str) -> None:
        path, keys = self._load(key)
        values = keys[_spelling(keys, key)]
        del values[_spelling(values, name)]
        self._save(path, keys)

    def create(self, key: str) -> None:
        path = self._file(key)
        if not path:
            return  # above all machines: there for everybody
        _, keys = self._load(key)
        known = {each.upper(): each for each in keys}
        parts = key.split("\\")
        for count in range(2, len(parts) + 1):
            each = "\\".join(parts[:count])
            if self._file(each) and each.upper() not in known:
                keys[each] = {}
        self._save(path, keys)

    def remove(self, key: str) -> None:
        path, keys = self._load(key)
        if self.names(key)[0]:
            raise PermissionError(13, "Access is denied", key)
        del keys[_spelling(keys, key)]
        self._save(path, keys)

    def names(self, key: str) -> tuple[list[str], list[str]]:
        if not self._file(key):
            if any(top.startswith(f"{key.upper()}\\") for top in self._tops):
                return [], []
            raise FileNotFoundError(2, "There is no such key", key)
        _, keys = self._load(key)
        _spelling(keys, key)
        below = [each.split("\\") for each in keys if each.upper().startswith(f"{key.upper()}\\")]
        depth = key.count("\\") + 1
        return sorted({parts[depth] for parts in below}), sorted(self._values(key))

    def writable(self, key: str) -> bool:
        self.names(key)
        return True

    def announce(self) -> None:
        """Nobody listens."""

    def _values(self, key: str) -> dict[str, tuple[int, str]]:
        _, keys = self._load(key)
        return keys[_spelling(keys, key)]

    def _file(self, key: str) -> str:
        return next((path for top, path in self._tops.items() if f"{key.upper()}\\".startswith(f"{top}\\")), "")

    def _load(self, key: str) -> tuple[str, _Keys]:
        path = self._file(key)
        if not path:
            raise FileNotFoundError(2, "There is no such key", key)
        with open(path, encoding="ascii") as text:
            keys: _Keys = json.load(text)
        return path, keys

    def _save(self, path: str, keys: _Keys) -> None:
        system, scratch = vars(files)["os"], f"{os.path.dirname(path)}.registry"  # beside the machine: it is no part
        data = memoryview(json.dumps(keys, sort_keys=True, indent=1).encode("ascii"))
        if os.path.lexists(scratch):  # left by a kill
            system.unlink(scratch)
        handle = system.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            while data:
                data = data[system.write(handle, data) :]
            system.fsync(handle)
        finally:
            system.close(handle)
        system.rename(scratch, path)
        for folder in (os.path.dirname(path), os.path.dirname(scratch)):
            handle = system.open(folder, os.O_RDONLY)
            system.fsync(handle)
            system.close(handle)


def _spelling(names: Iterable[str], name: str) -> str:
    """The name as it is spelled here. FileNotFoundError where it is not here."""
    found = next((each for each in names if each.upper() == name.upper()), None)
    if found is None:
        raise FileNotFoundError(2, "There is no such key or value", name)
    return found


__all__ = ["CLAUSES", "Case", "FileRegistry", "Rig", "cases", "check", "no_shells", "scratch_key", "snapshot"]
