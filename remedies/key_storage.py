"""Keep the API key in the operating system's secret store instead of in files that everything can read.

Claude Code asks a program for the key when the setting apiKeyHelper names one; ccremedy is that program. A key in the
environment would win over it, so each file that sets one loses that line: put aside, and undo gives it back byte for
byte from the store. Also: closes Claude Code's own files with secrets to other users, and speaks up about an old key.
"""

from __future__ import annotations

import os
import stat
import time

from ccremedy import Change, Finding, Healthy, Machine, Mode, Option, Remedy, credentials, files, seals, sessions, want
from ccremedy.record import replace

from . import _claude, _keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS = 90


class KeyStorage(Remedy):
    title = "Keep the API key in the secret store of the operating system"
    symptoms = ("Invalid API key · Fix external API key", "an API key in .bashrc, .env or settings.json")
    options = (
        Option("owner-only-file", "where there is no secret store: a file that only you can read, in clear"),
        Option("while-running", "edit ~/.claude.json also while Claude sessions run, under their own lock"),
    )

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        found = [*_move(machine), *_open_files(machine), *_elsewhere(machine), *_old(machine)]
        found += _claude.unread_settings(machine, b"API_KEY", b"apiKeyHelper", b"AUTH_TOKEN")
        if found:
            yield from found
            return
        used = credentials.credentials(machine)
        yield from [Healthy(f"no key lies open; Claude Code uses {used[0]}")] if used else _stored_login(machine)


def _stored_login(machine: Machine) -> Iterator[Finding | Healthy]:
    """What is to be said of a machine on which only a store of the system's can let Claude Code in."""
    held, unseen = credentials.logins(machine)
    for each in unseen:
        if each.todo:
            yield Finding(
                "login-unseen", f"{each.where} {each.note}", (), (each.todo,), severity="warning", risk="manual"
            )
            return
    first = f"Claude Code uses {held[0]}" if held else "Claude Code has no credential at all"
    yield Healthy(f"no key lies open; {first}{''.join(f'; {each.where} {each.note}' for each in unseen)}")


def _move(machine: Machine) -> Iterator[Finding]:
    open_file = bool(machine.options.get("owner-only-file"))
    vault = credentials.key_folder(machine) if open_file else seals.OS_STORE
    places = list(_keys.movable(machine, vault))
    if not places:
        return
    taken = [place.change for place in places if place.change]
    marks = [seals.mark(places[0].key), *(change.before or "" for change in taken)]
    names = dict.fromkeys(name for text in marks for name in seals.names(text))
    changes = [change for name in names for change in credentials.key_kept(machine, name, vault)]
    changes += credentials.key_announced(machine, places[0].fingerprint, vault)
    changes += [replace(each, refused=_in_the_way(machine, each)) for each in taken]
    unstorable = (credentials.unstorable(machine, seals.reveal(name, vault), vault) for name in names)
    no_store = next(filter(None, (*unstorable, *(each.refused for each in changes if each.key()[0] == "Entry"))), "")
    why = credentials.unfit(places[0].key) or no_store or _together(changes)
    changes = [replace(each, refused=why) for each in changes]
    yield Finding(
        "open-key",
        "an API key lies open in " + ("a file" if len(places) == 1 else f"{len(places)} places"),
        evidence=(*map(str, places), *(f"in use: {each}" for each in credentials.credentials(machine)[:1])),
        advice=tuple(_advice(machine, places, no_store=bool(no_store) and not open_file)),
        changes=tuple(changes),
        risk="high" if open_file else "medium",
        together=True,
    )


def _together(changes: list[Change]) -> str:
    """Why none of them is made where one cannot be ('': all can)."""
    stuck = next((each for each in changes if each.refused), None)
    return f"goes together with {stuck.resource.path}, which {stuck.refused}" if stuck else ""


def _in_the_way(machine: Machine, change: Change) -> str:
    while_running = not change.resource.PAUSE or machine.options.get("while-running")
    why = "" if while_running else sessions.owners(machine, "written")
    return f"{why}, or say --while-running" if why else change.resource.obstacle()


def _advice(machine: Machine, places: list[_keys.Place], no_store: bool) -> Iterator[str]:
    if no_store:
        yield "Where there is no secret store, --owner-only-file keeps the key in a file that only you can read"
    if len({place.fingerprint for place in places}) > 1:
        yield "The keys differ. The first one goes on being used; `ccremedy key set` stores another"
    if machine.env.get(_keys.KEY):
        yield "This terminal still has the key in its environment, and what is started from it too: open a new one"
    yield "Copies in backups, shell history and transcripts are still there: a new key (ccremedy key rotate) is safest"


def _open_files(machine: Machine) -> Iterator[Finding]:
    """Claude Code never closes a login file that others may read."""
    if not machine.adapter.has_modes:
        return
    paths = (os.path.join(machine.claude_folder(), ".credentials.json"), machine.claude_state())
    found = {path: stat.S_IMODE(status.st_mode) for path in paths if (status := files.status(path))}
    changes = [
        change
        for path, mode in found.items()
        if mode & 0o077 and not machine.is_windows(path)
        for change in want(Mode(path), f"{mode & 0o700:04o}", by_hand=f"chmod go= {path}")
    ]
    if changes:
        evidence = tuple(f"{each.resource.path} has mode {each.before}" for each in changes)
        yield Finding("open-files", "other users can read Claude Code's secrets", evidence, changes=tuple(changes))


def _elsewhere(machine: Machine) -> Iterator[Finding]:
    taken = {place.change.resource.path for place in _keys.movable(machine, seals.OS_STORE) if place.change}
    if places := list(_keys.elsewhere(machine, taken)):
        yield Finding(
            "keys-elsewhere",
            "keys lie open where ccremedy does not edit",
            tuple(map(str, places)),
            ("A key that git has, or that others could read, is best revoked: make a new one in the Console",),
            severity="warning",
        )


def _old(machine: Machine) -> Iterator[Finding]:
    days = credentials.key_age(machine, time.time())
    if days is not None and days > DAYS:
        title = f"the key in the secret store is {days} days old"
        yield Finding(
            "old-key", title, advice=("Make a new one in the Console, then: ccremedy key rotate",), severity="warning"
        )
