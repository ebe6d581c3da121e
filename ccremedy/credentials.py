"""Which credential Claude Code uses, and where each that is set comes from (research: claude-code-facts §4).

Seven levels, the lowest number wins. Nothing here asks a server: a credential that wins may still be refused.
"""

from __future__ import annotations

import os

from ccremedy import files, settings
from ccremedy.errors import Problem
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ccremedy.machine import Machine

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
    profiles = machine.path(".config", "anthropic")
    if not machine.env.get("ANTHROPIC_PROFILE") and files.names(profiles):
        yield Credential(6, "Anthropic profile", profiles)
    login = os.path.join(machine.claude_folder(), ".credentials.json")
    if isinstance(_read(login).get("claudeAiOauth"), dict):
        yield Credential(7, "login", login)
    if isinstance(_read(machine.claude_state()).get("primaryApiKey"), str):
        yield Credential(7, "Console login", machine.claude_state())


def helper_layer(machine: Machine) -> settings.Layer | None:
    """The settings file whose apiKeyHelper counts."""
    return next((each for each in settings.layers(machine) if each.values.get("apiKeyHelper")), None)


def _refused(machine: Machine, key: str) -> bool:
    answers = _read(machine.claude_state()).get("customApiKeyResponses")
    refused = answers.get("rejected") if isinstance(answers, dict) else None
    return isinstance(refused, list) and key[-20:] in refused


def _read(path: str) -> dict[str, object]:
    """A JSON object in a file; empty where there is none that Claude Code could read."""
    from ccremedy import jsonc

    try:
        found = jsonc.parse(files.read(path, 256 * 2**20) or b"{}")
    except Problem:
        return {}
    return found if isinstance(found, dict) else {}
