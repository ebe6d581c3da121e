"""Stop Claude Code sessions that are left over: the second of one conversation, or one that has lost its terminal.

Several sessions beside each other are normal, and so are the processes in the background that Claude Code keeps for
itself. Nothing that works is stopped unless it is named, and what is stopped does not come back: only its conversation.
"""

from __future__ import annotations

import os
import time

from ccremedy import Change, Finding, Healthy, Machine, Option, Problem, Remedy, knowledge, sessions
from ccremedy.errors import USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = "serves background sessions. To stop them: claude daemon stop --any"
NOT_BY_SIGNAL = dict.fromkeys(("supervisor", "pty-host", "spare"), SERVICE) | {
    "worker": "would be started again by its supervisor. To stop it: claude stop {id:.8}",
    "mcp": "is no session, but a server that another program uses",
    "command": "is no session",
}
ONLY_KILLED = "cannot be asked to end, because Windows knows no asking. To kill it: {command} --kill"


class DuplicateSessions(Remedy):
    title = "Stop Claude Code sessions that are left over"
    symptoms = (
        "a claude process keeps a processor busy, and no terminal shows it",
        "the same conversation is open twice, and both write to it",
    )
    options = (
        Option("session", "stop the session with this process number, also a busy one, left over or not", value="PID"),
        Option("kill", "kill it if it has not ended 10 seconds after it was asked to"),
    )

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        running, named = sessions.running(machine), str(machine.options.get("session") or "")
        if named and not (named.isascii() and named.isdigit()):
            raise Problem("is not the number of a process", where=f"--session {named}", code=USAGE)
        chosen = [(each, "named", "runs, and you have named it") for each in running if str(each.pid) == named]
        surplus = chosen if named else list(_surplus(running))
        inside = sessions.inside(machine) if surplus else ""
        for session, name, what in surplus:
            why = f"is not stopped from inside: {inside}" if inside else session.obstacle
            why = why or NOT_BY_SIGNAL.get(session.kind, "").format(id=session.id)
            where, kill = session.folder or os.path.abspath(os.sep), machine.options.get("kill") is True
            command = f"ccremedy apply {self.id} --session {session.pid}"
            if session.status == "busy" and not named:
                only_kills = "" if machine.adapter.asks_to_end else " --kill"
                why = why or f"is at work. To stop it all the same: {command}{only_kills}"
            if not (kill or machine.adapter.asks_to_end):
                why = why or ONLY_KILLED.format(command=command)
            from ccremedy import Process  # only where there is one to stop

            process = Process(where, session.pid, session.start, session.id, session.kind, kill)
            killed = kill and not machine.adapter.asks_to_end
            facts = tuple(_evidence(session)), tuple(_advice(session, process.farewell(), killed))
            changes = (Change(process, "running", "ended", refused=why),)
            yield Finding(name, f"session {session.pid} {what}", *facts, changes, "warning", "high")
        if not surplus:
            count = sum(each.kind in ("interactive", "print", "ide", "worker") for each in running)
            none = f"none is left over of the sessions that run ({count}; several are normal)"
            yield Healthy(f"process {named} is no session that runs here" if named else none)


def _surplus(running: list[sessions.Session]) -> Iterator[tuple[sessions.Session, str, str]]:
    """What is left over, with the finding's id and what is wrong. (research: claude-code-facts §7, rule 4)"""
    interactive = [each for each in running if each.kind == "interactive" and not each.obstacle]
    for each in interactive:
        twins = [twin for twin in interactive if twin.id == each.id != ""] or [each]
        kept = max(twins, key=lambda twin: (twin.status == "busy", bool(twin.terminal), twin.registered, twin.active))
        if each.adopted and not each.terminal:
            yield each, "orphan", "has lost its terminal, so nobody can reach it any more"
        elif each != kept and (each.registered or not each.terminal):
            yield each, "duplicate", f"has the same conversation open as process {kept.pid}"


def _evidence(session: sessions.Session) -> Iterator[str]:
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(session.since)) if session.since else "an unknown time"
    yield f"{session.kind}, version {session.version or 'unknown'}, in {session.folder or 'an unknown directory'}"
    yield f"since {since}, {session.status} now, {session.load:.0%} of a processor on average"
    yield f"terminal: {session.terminal or 'none'}; parent: {session.parent}{' (adopted)' * session.adopted}"


def _advice(session: sessions.Session, resume: str, killed: bool) -> Iterator[str]:
    fixed = knowledge.load("sessions")["logins_side_by_side_since"]
    if session.version and [*map(int, session.version.split("."))] < [*map(int, fixed.split("."))]:
        yield f"Update first (claude update): until {fixed} sessions beside each other could lose the login"
    if killed:
        yield "It is killed: what it is doing at that moment is lost. Its entry in the register stays, and is ignored"
    resume = resume if session.id else "claude --resume, which lists them"
    yield f"Undo does not bring a stopped session back. To go on with its conversation: {resume}"
