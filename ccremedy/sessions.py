"""Which processes are Claude Code using this configuration, and what each of them is.

The register is `<config folder>/sessions/<pid>.json`, which a session writes when its prompt is up and which a killed
one leaves behind; `procStart` in it is the kernel's start time of the process, so a reused pid is not taken for it. A
process that looks like Claude Code and uses this home counts too: versions without a register exist.

Two readings. Whoever wants to move files asks `live`: what cannot be told counts as live. Whoever wants to stop one
asks `running`: there, doubt is an `obstacle`, and an entry is believed only if every claim of it that can be checked
holds.

`claude agents --json` (from 2.1.145) tells no more than the register does, takes a second to start, and needs a Claude
Code that starts; diagnosis starts no process, so it is not asked. (research: claude-code-facts §7)
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from itertools import pairwise

from ccremedy import files, knowledge
from ccremedy.errors import Problem
from ccremedy.record import dataclass, is_object
from ccremedy.resources import is_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ccremedy.machine import Adapter, Details, Machine, Running

_LARGEST = 1 << 18  # bytes; Claude Code itself reads no larger entry
_LATEST = 4e15  # milliseconds since 1970; the same
_SLACK = 2.0  # seconds between the clocks of the kernel and of Claude Code
_ID = re.compile("[0-9A-Za-z][0-9A-Za-z-]{0,63}")


@dataclass(frozen=True)
class Session:
    """A process of Claude Code's.

    `kind` is "interactive", "print" (`-p`, or driven by a program), "ide", "worker" (a background session), "spare",
    "pty-host", "supervisor", "mcp" (`mcp serve`, which belongs to some client), "command" (`claude update`), or
    "unknown" where only the register says that it is one. Times are seconds since 1970, 0 where unknown.
    """

    pid: int
    start: str
    kind: str
    folder: str = ""  # where it works
    status: str = "unknown"  # or "idle", "busy"
    id: str = ""  # of its conversation
    version: str = ""
    since: float = 0.0
    active: float = 0.0  # when it last told the register something
    terminal: str = ""
    parent: int = 0
    adopted: bool = False  # the process that started it is gone
    load: float = 0.0  # processors that it has kept busy, on average over its life
    registered: bool = False
    obstacle: str = ""  # why it must not be stopped, whatever its kind

    def __str__(self) -> str:
        return f"session {self.pid} ({self.status}, in {self.folder or 'an unknown directory'})"


def live(machine: Machine) -> list[Session]:
    """What may be a live session that uses this machine's configuration, by pid."""
    return [each for each in running(machine) if each.kind != "mcp"]


def owners(machine: Machine, verb: str) -> str:
    """Why a file must not be touched that sessions own, or write, as the end of a sentence; '' where none lives."""
    try:
        found = live(machine)
    except Problem as problem:  # what it takes to see them is missing here
        return f"may be {verb} by a live Claude session: {problem}".rstrip(".")
    return f"is {verb} by a live Claude session: {', '.join(map(str, found))}. Close it" if found else ""


def running(machine: Machine) -> list[Session]:
    """Every process that is, or may be, Claude Code using this machine's configuration, by pid."""
    known, now = knowledge.load("sessions"), time.time()
    everything = {each.pid: each for each in machine.adapter.processes(machine.facts)}
    register = _register(os.path.join(machine.claude_folder(), "sessions"))
    space: str | None = None
    found: list[Session] = []
    for pid, process in sorted(everything.items()):
        entry = register.get(pid)
        if entry is not None and _started_with(entry, process, machine.adapter, now) is False:
            entry = None  # of an earlier process with this number
        if entry is None and not (_word(process.name) in ("claude", "node") or process.name[:1].isdigit()):
            continue
        details = machine.adapter.details(machine.facts, pid)
        if entry is None and not _is_ours(machine, process, details, known):
            continue
        if space is None:
            space = machine.adapter.details(machine.facts, machine.adapter.own_pid(machine.facts)).space
        if not (entry and _fits(machine, entry, process, details, now)):
            entry = {}
        kind = _kind(process, details, entry, known)
        parent = everything.get(process.parent)
        if kind == "interactive" and parent and _is_host(machine.adapter.details(machine.facts, parent.pid)):
            kind = "worker"
        lost = machine.adapter.gone(process, everything)
        adopted = lost or (parent is not None and parent.name in known["adopters"])
        found.append(_session(process, details, entry, kind, adopted, _obstacle(process, kind, details, space), now))
    return found


def ancestors(machine: Machine) -> list[int]:
    """Our own process and those above it, as far as they can be seen."""
    everything = {each.pid: each for each in machine.adapter.processes(machine.facts)}
    found: list[int] = []
    pid = machine.adapter.own_pid(machine.facts)
    while pid in everything and pid not in found:
        found.append(pid)
        process = everything[pid]
        # One that has ended has left its number, which another has by now; 1 has adopted us, and is above.
        pid = process.parent if process.parent == 1 or not machine.adapter.gone(process, everything) else 0
    return found


def inside(machine: Machine) -> str:
    """Why nothing may be stopped: ccremedy itself was started by a session. '' where it was not."""
    above = ancestors(machine)
    for each in running(machine):
        if each.pid in above:
            return f"ccremedy runs inside of {each}. Run it in a terminal of its own"
    if machine.env.get("CLAUDECODE") or machine.env.get("CLAUDE_PID"):
        return "CLAUDECODE says that a Claude session has started ccremedy. Run it in a terminal of its own"
    return ""


# ---- the register


def _register(folder: str) -> dict[int, dict[str, object]]:
    """Its entries by pid; one that cannot be read, or that others could have made, is empty."""
    found: dict[int, dict[str, object]] = {}
    for name in files.names(folder):
        stem, extension = os.path.splitext(name)
        if extension == ".json" and stem.isascii() and stem.isdigit():
            found[int(stem)] = _entry(os.path.join(folder, name))
    return found


def _entry(path: str) -> dict[str, object]:
    try:
        status = files.status(path, follow=False)
        if status is None or not stat.S_ISREG(status.st_mode) or not files.belongs_to_us(path):
            return {}
        entry = json.loads(files.read(path, _LARGEST) or b"null")
    except (ValueError, Problem, RecursionError):
        return {}
    return entry if is_object(entry) else {}


def _fits(machine: Machine, entry: Mapping[str, object], process: Running, details: Details, now: float) -> bool:
    """Whether every claim that can be checked holds. A home may be shared: then an entry can be another machine's."""
    domain = machine.adapter.domain(machine.facts, details.space)
    if domain and entry.get("pidDomain", domain) != domain:
        return False
    return entry.get("pid") == process.pid and _started_with(entry, process, machine.adapter, now) is True


def _started_with(entry: Mapping[str, object], process: Running, adapter: Adapter, now: float) -> bool | None:
    """Whether the entry is of the process that has its number now; None where that cannot be told.

    `now` is when the look at all processes began, which their ages count to: it may take seconds.

    Where the kernel's own measure is not what Claude Code writes, the times have to agree: an entry from before the
    process was started is an earlier one's.
    """
    if adapter.knows_starts:
        start = entry.get("procStart")
        return str(start) == process.start if start else None
    said, registered = _spelled(_text(entry, "procStart")), _time(entry, "startedAt")
    if not process.age or not (said or registered):
        return None
    started = now - process.age
    if min(filter(None, (said, registered))) < started - _SLACK:
        return False
    return None if said > started + _SLACK else True


def _spelled(start: str) -> float:
    """A start as `LC_ALL=C TZ=UTC ps -o lstart=` tells it, which is what macOS' Claude Code is said to write.

    0 where it is nothing of that kind. (github.com/realiti4/claude-swap, pull request 299)
    """
    from calendar import timegm

    try:
        return timegm(time.strptime(start, "%a %b %d %H:%M:%S %Y")) if start else 0.0
    except ValueError:
        return 0.0


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _time(entry: Mapping[str, object], key: str) -> float:
    value = entry.get(key)
    return value / 1000 if isinstance(value, (int, float)) and 0 <= value <= _LATEST else 0.0


# ---- what a process is


def _is_ours(machine: Machine, process: Running, details: Details, known: knowledge.Sessions) -> bool:
    """Whether a process outside of the register is, as far as one can tell, Claude Code with this configuration."""
    named = process.name in ("claude", "node") and details.arguments[:1] == ("claude",)
    if not details.ours or not (named or _is_program(details.program, known) or _script(details, known)):
        return False
    if machine.adapter.is_desktop_app(details.program):
        return False
    home = details.env.get(machine.adapter.home, "")
    folder = details.env.get("CLAUDE_CONFIG_DIR") or os.path.join(home, ".claude")
    if not os.path.isabs(folder):
        return True  # it cannot be told
    used, ours = (os.path.normcase(os.path.realpath(each)) for each in (folder, machine.claude_folder()))
    return used == ours


def _kind(process: Running, details: Details, entry: Mapping[str, object], known: knowledge.Sessions) -> str:
    command, words = (*details.arguments, "")[0], details.arguments[1:]
    program = _base(details.program)
    in_node = program in ("node", "nodejs")  # up to 2.1.112; but on Windows it overwrites its arguments
    script = _script(details, known)
    if not (_is_program(details.program, known) or script or (in_node and command == "claude")):
        return "unknown"
    if script:
        command, words = "claude", details.arguments[details.arguments.index(script) + 1 :]
    if _text(entry, "kind") in known["kinds"]:
        return str(known["kinds"][_text(entry, "kind")])
    if words[:1] == ("mcp",) or ("mcp", "serve") in pairwise(words):
        return "mcp"
    special = {("daemon", "run"): "supervisor", ("bg-pty-host",): "pty-host", ("bg-spare",): "spare"}
    for start, kind in special.items():
        if words[: len(start)] == start:
            return kind
    other_name = _base(command) not in ("claude", program)  # the ripgrep inside of it, say
    if not entry and (other_name or (words and words[0] in known["commands"])):
        return "command"
    entrypoint = _text(entry, "entrypoint") or details.env.get("CLAUDE_CODE_ENTRYPOINT", "cli")
    if entrypoint == "claude-vscode":
        return "ide"
    unseen = in_node and not script and not entry and not process.terminal
    return "print" if entrypoint != "cli" or unseen or {"-p", "--print"} & set(words) else "interactive"


def _plain(path: str) -> str:
    """A path of Windows in the one spelling that the marks of programs have; any other as it is."""
    return path.replace("\\", "/").lower() if path[1:2] == ":" or path.startswith("\\\\") else path


def _word(name: str) -> str:
    """The name of a program without the end that it has on Windows, where letter case makes no difference."""
    return name[:-4].lower() if name.lower().endswith(".exe") else name


def _base(path: str) -> str:
    return _word(_plain(path).rpartition("/")[2])


def _is_program(path: str, known: knowledge.Sessions) -> bool:
    plain = _plain(path)
    return any((part.lower() if plain != path else part) in plain for part in known["programs"])


def _script(details: Details, known: knowledge.Sessions) -> str:
    """The script of Claude Code's that node runs, where its arguments still say so; '' where it runs none."""
    if _base(details.program) not in ("node", "nodejs"):
        return ""
    script = next((word for word in details.arguments[1:] if not word.startswith("-")), "")
    return script if _base(script) in known["scripts"] and _is_program(script, known) else ""


def _is_host(details: Details) -> bool:
    return details.arguments[1:2] == ("bg-pty-host",)


def _obstacle(process: Running, kind: str, details: Details, space: str) -> str:
    if not details.ours:
        return "belongs to another user"
    if process.pid <= 1 or (space and details.space != space):
        return "lives in a container"
    return "is called Claude Code by the register alone, not by its program" if kind == "unknown" else ""


def _session(
    process: Running,
    details: Details,
    entry: Mapping[str, object],
    kind: str,
    adopted: bool,
    obstacle: str,
    now: float,
) -> Session:
    folder = next(filter(is_path, (_text(entry, "cwd"), details.folder)), "")
    status = _text(entry, "status")
    since = _time(entry, "startedAt") or (process.age and now - process.age)
    version = _text(entry, "version") or _plain(details.program).partition("/claude/versions/")[2]
    return Session(
        process.pid,
        process.start,
        kind,
        folder=folder,
        status="unknown" if not status else "idle" if status == "idle" else "busy",
        id=_text(entry, "sessionId") if _ID.fullmatch(_text(entry, "sessionId")) else _resumed(details.arguments),
        version=version if re.fullmatch(r"\d{1,5}(\.\d{1,5}){2}", version, re.ASCII) else "",
        since=since,
        active=max(_time(entry, "updatedAt"), _time(entry, "statusUpdatedAt"), since),
        terminal=process.terminal,
        parent=process.parent,
        adopted=adopted,
        load=process.cpu / process.age if process.age else 0.0,
        registered=bool(entry),
        obstacle=obstacle,
    )


def _resumed(arguments: tuple[str, ...]) -> str:
    """The conversation that the arguments name by its id."""
    for option, value in pairwise(arguments):
        if option in ("--resume", "-r", "--session-id") and len(value) == 36 and _ID.fullmatch(value):
            return "" if "--fork-session" in arguments else value
    return ""
