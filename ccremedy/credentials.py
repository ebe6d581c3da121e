"""Which credential Claude Code uses, where each that is set comes from, and the key that ccremedy keeps for it.

Seven levels, the lowest number wins (research: claude-code-facts §4). Nothing here asks a server: a credential that
wins may still be refused.
"""

from __future__ import annotations

import contextlib
import json
import os

from ccremedy import files, seals, settings
from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.finding import want
from ccremedy.record import dataclass, is_list, is_object
from ccremedy.resources.texts import Setting, Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ccremedy.machine import Login, Machine
    from ccremedy.redact import Secret
    from ccremedy.resources import Change
    from ccremedy.resources.entry import Entry

_PROVIDERS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")


@dataclass(frozen=True)
class Credential:
    level: int  # 1 to 7
    name: str
    where: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name}, from {self.where}{f' ({self.note})' if self.note else ''}"


def credentials(machine: Machine) -> list[Credential]:
    """All that are set, the one that Claude Code uses first."""
    return sorted(_found(machine), key=lambda each: each.level)


def _found(machine: Machine) -> Iterator[Credential]:
    for level, names in ((1, _PROVIDERS), (2, ("ANTHROPIC_AUTH_TOKEN",)), (3, ("ANTHROPIC_API_KEY",)),
                         (5, ("CLAUDE_CODE_OAUTH_TOKEN",)), (6, ("ANTHROPIC_PROFILE",))):  # fmt: skip
        for name in names:
            found = settings.variable(machine, name)
            if found.value and not (level == 1 and found.value.lower() in ("0", "false")):
                note = "refused once at a prompt, so only `claude -p` uses it" if _refused(machine, found.value) else ""
                yield Credential(level, name, found.where, note if level == 3 else "")
    if helper := helper_layer(machine):
        yield Credential(4, "apiKeyHelper", helper.path)
    profiles = machine.adapter.profiles_folder(machine.facts)
    if not machine.env.get("ANTHROPIC_PROFILE") and files.names(profiles):
        yield Credential(6, "Anthropic profile", profiles)
    login = os.path.join(machine.claude_folder(), ".credentials.json")
    if isinstance(_read(login).get("claudeAiOauth"), dict):
        yield Credential(7, "login", login)
    if isinstance(_read(machine.claude_state()).get("primaryApiKey"), str):
        yield Credential(7, "Console login", machine.claude_state())


def logins(machine: Machine, thorough: bool = False) -> tuple[list[Credential], list[Login]]:
    """What a store of the system's holds of the seventh level, and why nothing more is seen there; starts programs."""
    found = list(machine.adapter.logins(machine, thorough))
    held = [Credential(7, each.name, each.where, each.note) for each in found if each.name]
    return held, [each for each in found if not each.name]


def helper_layer(machine: Machine) -> settings.Layer | None:
    """The settings file whose apiKeyHelper counts."""
    return next((each for each in settings.layers(machine) if each.values.get("apiKeyHelper")), None)


def _refused(machine: Machine, key: str) -> bool:
    answers = _read(machine.claude_state()).get("customApiKeyResponses")
    refused = answers.get("rejected") if is_object(answers) else None
    return is_list(refused) and key[-20:] in refused


def _read(path: str) -> dict[str, object]:
    """A JSON object in a file; empty where there is none that Claude Code could read."""
    from ccremedy import jsonc

    try:
        found = jsonc.parse(files.read(path, 256 * 2**20) or b"{}")
    except Problem:
        return {}
    return found if is_object(found) else {}


# ---- the key that ccremedy keeps: `key.json` in the state folder says which entry of which store it is, by fingerprint

_LONGEST = 4096  # characters; no server takes a longer header


def key_folder(machine: Machine) -> str:
    """Where keys lie for whoever asks for a file that only they can read."""
    return os.path.join(machine.adapter.state_folder(machine.facts), "keys")


def key_entry(machine: Machine, fingerprint: str, vault: str) -> Entry:
    from ccremedy.resources.entry import Entry  # only where there is a key

    return Entry(os.path.join(key_folder(machine), fingerprint), fingerprint, vault)


def key_kept(machine: Machine, fingerprint: str, vault: str) -> Iterator[Change]:
    """The change after which the store holds it."""
    by_hand = "Nothing, until there is a secret store"
    yield from want(key_entry(machine, fingerprint, vault), f"‹secret:{fingerprint}›", by_hand=by_hand)


def key_record(machine: Machine) -> str:
    return os.path.join(machine.adapter.state_folder(machine.facts), "key.json")


def key_record_text(fingerprint: str, vault: str, since: str = "") -> str:
    """What `record` holds. Without `since`, nobody knows how old the key is: it is as old as the record."""
    return json.dumps({"fingerprint": fingerprint, "vault": vault, **({"since": since} if since else {})}) + "\n"


def keep(machine: Machine, secret: Secret, vault: str, since: str = "") -> Iterator[Change]:
    """The changes after which this is the key: in the store, on record, and what Claude Code is told."""
    name = seals.names(seals.mark(secret))[0]
    yield from key_kept(machine, name, vault)
    yield from key_announced(machine, name, vault, since)


def key_announced(machine: Machine, fingerprint: str, vault: str, since: str = "") -> Iterator[Change]:
    """The changes after which Claude Code asks for what the store holds under this fingerprint."""
    yield from want(Whole(key_record(machine)), key_record_text(fingerprint, vault, since))
    yield from helper(machine, fingerprint)


def unfit(secret: Secret) -> str:
    """Why this cannot be a key: Claude Code takes one printable word, and sends what it gets as it is."""
    text = secret.reveal()
    if len(text) > _LONGEST:
        return f"is too long for a key ({len(text)} characters or more)"
    if text and text.isascii() and text.isprintable() and not set(text) & set(" \"'"):
        return ""
    return "holds what no key has: a line break, a blank, quotes, or another alphabet" if text else "is empty"


def unstorable(machine: Machine, secret: Secret, vault: str) -> str:
    """Why this store would not take it, as far as that can be told without asking it."""
    from ccremedy.vault import unfit as too_long  # only where there is a key

    return too_long(secret, machine.facts.system, owner_only=vault != seals.OS_STORE)


def kept_key(machine: Machine) -> dict[str, str]:
    """The record; empty where there is no key. Problem (6) where it is none."""
    data = files.read(key_record(machine))
    if data is None:
        return {}
    try:
        found = json.loads(data)
        return {name: str(found[name]) for name in ("fingerprint", "vault")} | {"since": str(found.get("since", ""))}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        what, todo = "is not what ccremedy wrote there", "Move it away, then run: ccremedy key set"
        raise Problem(what, where=key_record(machine), todo=todo, code=UNSUPPORTED) from None


def key_age(machine: Machine, now: float) -> int | None:
    """How many days the key has been in use; None where there is none."""
    found, status = kept_key(machine), files.status(key_record(machine))
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
    path, words = settings.user_file(machine), (*machine.facts.program, "key", "print")
    resource = Setting.at(path, "/apiKeyHelper")
    try:
        command, refused = json.dumps(" ".join(machine.adapter.quote(word) for word in words)), ""
    except Problem as problem:
        command, refused = '""', f"would have to name ccremedy by a path that {problem.what}"
    with contextlib.suppress(Problem):  # `want` says why
        if resource.read() not in (None, "", command):
            refused = "names another program already; remove that setting first if ccremedy is to keep the key"
    by_hand = f'Put into {path}: "apiKeyHelper": {command}'
    yield from want(resource, command, by_hand=by_hand, refused=refused, expects=(f"prints {fingerprint}",))
