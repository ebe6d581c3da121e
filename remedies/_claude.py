"""Claude Code's own files: which of them it cannot read, and the newest backup that is worth having.

What it reads, and what it does with a broken one, was seen with 2.1.330 (research: claude-code-facts §3, §11).
"""

from __future__ import annotations

import errno
import json
import os

from ccremedy import Finding, Machine, Problem, editors, files, knowledge, settings
from ccremedy.errors import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def broken_files(folder: str, state: str) -> dict[str, str]:
    """Each of Claude Code's files that it cannot read, with the reason."""
    known = knowledge.load("claude_folder")
    names = (*known["state"], *known["settings"], *known["credentials"])
    paths = [state, *(os.path.join(folder, name) for name in names)]
    found = {path: why for path in paths if (why := _fault(path))}
    status = files.status(folder)
    if status is not None and files.kind(status.st_mode) != "a directory":
        return {folder: "is not a directory"} | {path: why for path, why in found.items() if path == state}
    return found


def _fault(path: str) -> str:
    """Why Claude Code cannot use this file ('' if it can, or if there is none)."""
    if files.status(path) is None:
        return "is a link to nothing" if files.status(path, follow=False) else ""
    try:
        data = files.read(path, 256 * 2**20)
    except Unreadable as problem:
        if problem.errno != errno.EACCES:  # a passing fault of the disk says nothing about the file
            raise
        return problem.what
    except Problem as problem:
        return problem.what
    if not data:
        # Settings may be empty; an empty state file makes Claude Code start as if on a new machine.
        return "" if os.path.basename(path).startswith("settings") else "is empty"
    if os.path.basename(path).startswith("settings"):
        data = settings.as_claude_reads(data)
    try:
        value = json.loads(data.removeprefix(editors.BOM).decode(), parse_constant=_not_json)
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start})"
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        return f"is not valid JSON ({_place(error)})"
    return "" if isinstance(value, dict) else "holds no JSON object"


def _not_json(name: str) -> None:
    raise ValueError(f"{name} is Python's idea of JSON, not JavaScript's")


def _place(error: ValueError) -> str:
    """Where it stops being JSON, without quoting what stands there."""
    return f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "a number"


def newest_good_backup(folder: str, state: str) -> str:
    """The newest of Claude Code's own backups that parses and holds more than a fresh start would."""
    kept = os.path.join(folder, "backups")
    names = [name for name in files.names(kept) if name.startswith(".claude.json.backup")]
    paths = [os.path.join(kept, name) for name in sorted(names, reverse=True)] + [f"{state}.backup"]
    for path in paths:
        if files.status(path) and not _fault(path):
            value = json.loads((files.read(path, 256 * 2**20) or b"{}").removeprefix(editors.BOM))
            if any(value.get(key) for key in ("projects", "mcpServers", "oauthAccount", "hasCompletedOnboarding")):
                return path
    return ""


def unread_settings(machine: Machine, *words: bytes) -> Iterator[Finding]:
    """One finding for the files that hold one of these words, and that nobody can make out."""
    found = [layer for layer in settings.layers(machine) if layer.fault and _holds(layer.path, words)]
    if found:
        yield Finding(
            "settings-unread",
            "what these settings say cannot be made out; Claude Code ignores them as a whole",
            tuple(f"{layer.path} {layer.fault}" for layer in found),
            ("Mend them (managed ones: whoever administers this machine), or: ccremedy apply reset-config",),
            severity="warning",
        )


def _holds(path: str, words: tuple[bytes, ...]) -> bool:
    if not os.path.isabs(path):
        return True  # a key of the registry, which is there for nothing else
    try:
        data = files.read(path) or b""
    except Problem:
        return True
    return any(word in data for word in words)
