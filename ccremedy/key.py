"""The API key that ccremedy keeps: which one it is, how Claude Code gets it, and since when.

`key.json` in the state folder says which entry of which store is the key: a fingerprint, never the key. What `ccremedy
key set`, `rotate` and `remove` do are findings like any other, so they are journalled, proven and can be taken back.
"""

from __future__ import annotations

import contextlib
import json
import os

from ccremedy import files, seals, settings
from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.finding import want
from ccremedy.resources.entry import Entry
from ccremedy.resources.texts import Setting, Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ccremedy.machine import Machine
    from ccremedy.redact import Secret
    from ccremedy.resources import Change


def folder(machine: Machine) -> str:
    """Where keys lie for whoever asks for a file that only they can read."""
    return os.path.join(machine.adapter.state_folder(machine.facts), "keys")


def entry(machine: Machine, fingerprint: str, vault: str) -> Entry:
    return Entry(os.path.join(folder(machine), fingerprint), fingerprint, vault)


def record(machine: Machine) -> str:
    return os.path.join(machine.adapter.state_folder(machine.facts), "key.json")


def record_text(fingerprint: str, vault: str, since: str = "") -> str:
    """What `record` holds. Without `since`, nobody knows how old the key is: it is as old as the record."""
    return json.dumps({"fingerprint": fingerprint, "vault": vault, **({"since": since} if since else {})}) + "\n"


def store(machine: Machine, secret: Secret, vault: str, since: str = "") -> Iterator[Change]:
    """The changes after which this is the key: in the store, on record, and what Claude Code is told."""
    name = seals.names(seals.mark(secret))[0]
    yield from want(entry(machine, name, vault), f"‹secret:{name}›")
    yield from want(Whole(record(machine)), record_text(name, vault, since))
    yield from helper(machine, name)


def unfit(secret: Secret) -> str:
    """Why this cannot be a key: Claude Code takes one printable word, and sends what it gets as it is."""
    text = secret.reveal()
    if text and text.isascii() and text.isprintable() and not set(text) & set(" \"'"):
        return ""
    return (
        "holds what no key has: a line break, a blank, quotes, or a character that is not ASCII" if text else "is empty"
    )


def current(machine: Machine) -> dict[str, str]:
    """The record; empty where there is no key. Problem (6) where it is none."""
    data = files.read(record(machine))
    if data is None:
        return {}
    try:
        found = json.loads(data)
        return {
            "fingerprint": str(found["fingerprint"]),
            "vault": str(found["vault"]),
            "since": str(found.get("since", "")),
        }
    except (ValueError, AttributeError, RecursionError):
        todo = "Move it away, then run: ccremedy key set"
        raise Problem("is not what ccremedy wrote there", where=record(machine), todo=todo, code=UNSUPPORTED) from None


def age(machine: Machine, now: float) -> int | None:
    """How many days the key has been in use; None where there is none."""
    found, status = current(machine), files.status(record(machine))
    if not found or status is None:
        return None
    import calendar
    import time

    try:
        since = calendar.timegm(time.strptime(found["since"], "%Y-%m-%d")) if found["since"] else status.st_mtime
    except ValueError:
        since = status.st_mtime
    return int((now - since) // 86400)


def helper(machine: Machine, fingerprint: str) -> Iterator[Change]:
    """The change that lets Claude Code ask ccremedy for the key."""
    from ccremedy.shells import quote

    path, words = settings.user_file(machine), (*machine.facts.program, "key", "print")
    resource = Setting.at(path, "/apiKeyHelper")
    command = json.dumps(" ".join(quote("sh", word) for word in words))
    refused = ""
    with contextlib.suppress(Problem):  # `want` says why
        if resource.read() not in (None, "", command):
            refused = "names another program already; remove that setting first if ccremedy is to keep the key"
    by_hand = f'Put into {path}: "apiKeyHelper": {command}'
    yield from want(resource, command, by_hand=by_hand, refused=refused, expects=(f"prints {fingerprint}",))
