"""Sick machines for tests, and the contract that every remedy keeps on every one of them.

A case is a folder `cases/<remedy>/<what-is-wrong>/` with a `case.json`:

    says       one sentence: what this machine shows
    platform   "linux", "wsl" or "macos"
    files      path to content; "~/" is the home, "/" the machine's root. Content is text, or an object:
               {"text": …} {"base64": …} {"link": target} {"hard": path} {"folder": true}, and maybe a "mode" ("755")
    env        added to HOME and PATH; {root} and {home} are filled in, here and in texts
    cwd        the working directory (~)
    options    of the remedy: a list of switches such as "full", or an object where some take values
    network    how far one comes to the API: by proxy ("" for none), the fields of `network.Look`; and maybe "roots",
               words that must be in the authorities added for it to be ok. Without: nothing resolves
    shells     which shells are installed (["bash"])
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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ccremedy import engine, jsonc, registry, shells
from ccremedy.diagnosis import Diagnosis, diagnose
from ccremedy.engine import Engine, Result
from ccremedy.finding import Finding, Remedy
from ccremedy.journal import Journal, find
from ccremedy.machine import Adapter, Details, Facts, Machine, Running
from ccremedy.record import dataclass
from ccremedy.resources import Change
from ccremedy.resources.texts import Setting, Text, Whole

if TYPE_CHECKING:
    from ccremedy.network import Look, Proxy

CLEAN_PATH = "{root}/usr/local/bin:{root}/usr/bin:{root}/bin"
_BEGUN = time.time()  # the same for each machine of a case
SYSTEMS = {"linux": "linux", "wsl": "linux", "macos": "darwin"}  # platform: what Python calls its system
WSL_FILES = {"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n", "/run/WSL": {"folder": True}}


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
                 "processes"}  # fmt: skip
        assert facts.keys() <= known, f"{folder}: unknown keys {facts.keys() - known}"
        family, name = os.path.split(folder)
        return cls(name, remedy or registry.remedy(os.path.basename(family)), facts)

    @property
    def simulated(self) -> bool:
        """Whether its system is another than the one that we run on."""
        return SYSTEMS[self.facts["platform"]] != sys.platform

    def missing_shells(self) -> list[str]:
        """Those of its shells that are not installed here: without them its contract cannot be checked."""
        return [name for name in self.facts.get("shells", ["bash"]) if not shutil.which(name, path="/bin:/usr/bin")]

    def build(self, root: str) -> Machine:
        """Make this machine's files below `root`, which must be an empty or missing directory."""
        wsl = self.facts["platform"] == "wsl"
        home = os.path.join(root, "Users" if self.facts["platform"] == "macos" else "home", "me")
        mask = os.umask(0o022)  # a machine is not sicker because of whoever builds it
        os.makedirs(home)
        for path, content in ((WSL_FILES if wsl else {}) | self.facts.get("files", {})).items():
            place = os.path.join(home, path[2:]) if path.startswith("~/") else os.path.join(root, path.lstrip("/"))
            _make(place, content, root, home)
        os.umask(mask)
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
        wanted = {name: installed.get(name, f"/usr/bin/{name}") for name in self.facts.get("shells", ["bash"])}
        options = self.facts.get("options", [])
        options = options if isinstance(options, dict) else dict.fromkeys(options, True)
        chosen = {name: value if value is True else _fill(value, root, home) for name, value in options.items()}
        return Machine(home, adapter, facts, wanted, chosen, self._network)

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
    less = {"ours": True, "program": "", "arguments": (), "env": {}, "folder": "", "space": ""}

    def processes(facts: Facts) -> Iterator[Running]:
        passed = {"age": time.time() - _BEGUN}
        for each in told.values():
            fields = {name: each.get(name, value) + passed.get(name, type(value)()) for name, value in nothing.items()}
            yield Running(each["pid"], **fields)

    def details(facts: Facts, pid: int) -> Details:
        found = told.get(pid, {"ours": False})
        fields = {name: found.get(name, value) for name, value in less.items()}
        return Details(**fields | {"arguments": tuple(fields["arguments"])})

    vars(adapter).update(processes=processes, details=details)


def _make(place: str, content: Any, root: str, home: str) -> None:
    os.makedirs(os.path.dirname(place), exist_ok=True)
    what = content if isinstance(content, dict) else {"text": content}
    if "link" in what:
        os.symlink(_fill(what["link"], root, home), place)
        return
    if "hard" in what:
        os.link(_fill(what["hard"], root, home), place)
        return
    if what.get("folder"):
        os.makedirs(place, exist_ok=True)
    else:
        data = base64.b64decode(what["base64"]) if "base64" in what else _fill(what["text"], root, home).encode()
        with open(place, "wb") as out:
            out.write(data)
    if "mode" in what:
        os.chmod(place, int(what["mode"], 8))


def _fill(text: str, root: str, home: str) -> str:
    text = re.sub(r"\{before:(\d+)\}", lambda ago: str(int((_BEGUN - int(ago[1])) * 1000)), text)
    return text.replace("{root}", root).replace("{home}", home)


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
        return snapshot(self.machine.facts.root)

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
        _write(path, jsonc.put(data, ["mine"], '"later"') if is_json else data + gap + b"# mine, written later\n")
    rig.undo()
    for path, original in originals.items():
        if edited[path]:
            assert jsonc.parse(_read(path)) == {**(jsonc.parse(original) or {}), "mine": "later"}, path  # type: ignore[dict-item]
            continue
        gap = b"\n" if original and not original.endswith(b"\n") else b""
        assert _read(path) in (original + gap + b"# mine, written later\n", original + b"# mine, written later\n"), path


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
def killed_at_any_write_it_recovers(case: Case, scratch: str) -> None:
    """A coarse sweep, for remedies of others; tests/sweep.py kills at every system call."""
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

    real_set, engine._set = engine._set, deadly_set
    try:
        rig.apply()
    finally:
        os._exit(1)


def _done(result: Result) -> list[Change]:
    return [change for (_, _, change), outcome in result.outcomes.items() if outcome == "done"]


def _short(rig: Rig, change: Change) -> str:
    path = change.resource.path
    home, root = rig.machine.home, rig.machine.facts.root
    return "~" + path[len(home) :] if path.startswith(home) else path[len(root) :]


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
    found = []
    for remedy in sorted(os.listdir(folder)):
        for name in sorted(os.listdir(os.path.join(folder, remedy))):
            found.append(Case.load(os.path.join(folder, remedy, name)))
    return found


__all__ = ["CLAUSES", "Case", "Rig", "cases", "check", "no_shells", "snapshot"]
