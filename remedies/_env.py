"""Where variables are set for Claude Code: in its settings, for all that the user starts, or for VS Code's terminal."""

from __future__ import annotations

import json

from ccremedy import Change, Machine, Problem, Setting, credentials, files, seals, settings, want
from ccremedy.errors import UNSUPPORTED, USAGE
from ccremedy.record import replace
from ccremedy.redact import redact

from . import _keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def changes(machine: Machine, values: dict[str, str], url: str) -> Iterator[Change]:
    """The changes that give variables these values where the options say, after which Claude Code reaches `url`."""
    if machine.options.get("profile"):
        yield from _in_profiles(machine, values)
    elif machine.options.get("vscode"):
        path = next((each for each in _keys.editor_settings(machine) if files.status(each)), "")
        if not path:
            raise Problem("has no settings here", where="VS Code", todo="Leave --vscode out", code=UNSUPPORTED)
        yield from _members(machine, path, f"/terminal.integrated.env.{machine.adapter.editor}", values, strict=False)
    else:
        yield from _members(machine, settings.user_file(machine), "/env", values, expects=(f"reaches {url}",))


def _members(
    machine: Machine, path: str, inside: str, values: dict[str, str], strict: bool = True, expects: tuple[str, ...] = ()
) -> Iterator[Change]:
    """A password stays out of the journal; one that is replaced is kept for undo in the secret store."""
    for name, value in values.items():
        text, setting = json.dumps(value), Setting.at(path, f"{inside}/{name}", strict)
        by_hand = f"Put into {path}, below “{inside[1:]}”: {json.dumps(name)}: {redact(text)}"
        hide = any(redact(each) != each for each in (value, _now(setting)))
        if hide:
            setting = replace(setting, vault=seals.OS_STORE)
        last = name == list(values)[-1]
        for change in want(setting, seals.seal(text, text, value) if hide else text, by_hand=by_hand,
                           expects=expects if last else ()):  # fmt: skip
            kept = [each for held in seals.names(change.before or "")
                    for each in credentials.key_kept(machine, held, seals.OS_STORE)]  # fmt: skip
            why = next((each.refused for each in kept if each.refused), "")  # then undo could not give it back
            yield from kept
            yield replace(change, refused=change.refused or why)


def _now(setting: Setting) -> str:
    try:
        return setting.read() or ""
    except Problem:  # which `want` will say
        return ""


def _in_profiles(machine: Machine, values: dict[str, str]) -> Iterator[Change]:
    if not all(value.isprintable() for value in values.values()):
        raise Problem("holds a line break or another control character", where="what is to be set", code=USAGE)
    if any(redact(value) != value for value in values.values()):
        todo = "Leave --profile out: Claude Code's own settings can be closed to others"
        where = "the registry" if machine.adapter.environment_keys(machine.facts) else "a start-up file"
        raise Problem("is no place for a password", where=where, todo=todo, code=UNSUPPORTED)
    yield from machine.adapter.persist_variables(machine, "proxy-ca", values)
