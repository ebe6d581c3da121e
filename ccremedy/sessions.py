"""Which Claude Code sessions are alive.

The register is `<config folder>/sessions/<pid>.json`, which a session writes when its prompt is up and which a killed
one leaves behind; `procStart` in it is the kernel's start time of the process, so a reused pid is not taken for it. A
process that looks like Claude Code and uses this home counts too: versions without a register exist. What cannot be
told counts as live. (research: claude-code-facts §7)
"""

from __future__ import annotations

import json
import os

from ccremedy import files
from ccremedy.errors import Problem
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccremedy.machine import Machine

_PROGRAMS = ("/@anthropic-ai/claude-code/", "/claude/versions/", "/.claude/local/")


@dataclass(frozen=True)
class Session:
    """A Claude Code session that is alive."""

    pid: int
    folder: str  # where it works
    status: str  # "idle", "busy", "unknown"

    def __str__(self) -> str:
        return f"session {self.pid} ({self.status}, in {self.folder or 'an unknown directory'})"


def live(machine: Machine) -> list[Session]:
    """The live sessions that use this machine's configuration, by pid."""
    folder = os.path.join(machine.claude_folder(), "sessions")
    found: dict[int, Session] = {}
    running = dict(machine.adapter.processes(machine.facts))
    for name in files.names(folder):
        stem, extension = os.path.splitext(name)
        if extension != ".json" or not (stem.isascii() and stem.isdigit()) or int(stem) not in running:
            continue
        pid = int(stem)
        try:
            record = json.loads(files.read(os.path.join(folder, name)) or b"null")
        except (ValueError, Problem, RecursionError):
            record = None
        if not isinstance(record, dict):
            record = {}
        if str(record.get("procStart") or running[pid]) == running[pid]:
            found[pid] = Session(pid, str(record.get("cwd", "")), str(record.get("status", "unknown")))
    for pid in running:
        if pid not in found and _is_claude_of(machine, pid):
            found[pid] = Session(pid, "", "unknown")
    return [found[pid] for pid in sorted(found)]


def _is_claude_of(machine: Machine, pid: int) -> bool:
    """Whether a process outside the register is Claude Code using this very configuration."""
    owner = files.status(machine.system(f"/proc/{pid}"))
    if owner is None or owner.st_uid != os.geteuid():
        return False
    name = machine.facts.text(f"/proc/{pid}/comm").strip()
    arguments = machine.facts.text(f"/proc/{pid}/cmdline").split("\0")
    if name not in ("claude", "claude.exe", "node") and not name[:1].isdigit():
        return False
    try:
        program = os.readlink(machine.system(f"/proc/{pid}/exe"))
    except OSError:
        program = ""
    if not (any(part in program for part in _PROGRAMS) or (name in ("claude", "node") and arguments[0] == "claude")):
        return False
    if "mcp" in arguments[1:2]:  # `claude mcp serve` is a server of somebody else's session
        return False
    try:
        environ = (files.read(machine.system(f"/proc/{pid}/environ")) or b"").decode("utf-8", "surrogateescape")
    except Problem:
        environ = ""
    values = dict(entry.split("=", 1) for entry in environ.split("\0") if "=" in entry)
    folder = values.get("CLAUDE_CONFIG_DIR") or os.path.join(values.get("HOME", ""), ".claude")
    if not os.path.isabs(folder):
        return True  # it cannot be told
    return os.path.realpath(folder) == os.path.realpath(machine.claude_folder())
