"""Move what is broken in Claude Code's own files out of its way; nothing is copied, and nothing is deleted.

One broken file: that file. Several: those, and all that Claude Code makes anew by itself. `--full`: everything. What
cannot be made anew (transcripts, memory, agents, commands, skills, settings that parse, the login) stays by default.
"""

from __future__ import annotations

import os

from ccremedy import Change, Finding, Healthy, Location, Machine, Option, Remedy, files, knowledge, sessions, want
from ccremedy.files import free_name
from ccremedy.record import replace
from ccremedy.shells import typed

from . import _claude

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class ResetConfig(Remedy):
    title = "Back up and reset Claude Code's configuration"
    symptoms = (
        "Claude configuration file at … is corrupted",
        "Configuration error in …",
        "These settings did not load",
    )
    options = (Option("full", "move everything aside, also what is sound and what cannot be made anew"),)

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        folder, state = machine.claude_folder(), machine.claude_state()
        broken = _claude.broken_files(folder, state)
        full = machine.options.get("full", False)
        present = [path for path in (folder, state) if files.status(path, follow=False) is not None]
        if full and present:
            changes = _all_or_none(list(_everything(folder, state)))
            title, evidence = "everything goes, as --full asks", tuple(f"{path} is there" for path in present)
        elif len(broken) == 1:
            (path, why), *_ = broken.items()
            title, evidence = f"{os.path.basename(path)} is broken, and only that", (f"{path}: {why}",)
            changes = list(_aside(path, free_name(path)))
        elif broken:
            title = f"{len(broken)} of Claude Code's files are broken"
            evidence = tuple(f"{path}: {why}" for path, why in broken.items())
            changes = list(_broken_and_regenerable(folder, state, broken))
        else:
            yield Healthy(
                "all of Claude Code's files parse (--full resets them nevertheless)"
                if present
                else "there are no files of Claude Code's here"
            )
            return
        if why := sessions.owners(machine, "owned"):
            changes = [replace(change, refused=change.refused or f"{why}, then try again") for change in changes]
        yield Finding(
            "reset" if full else "broken-files",
            title,
            evidence,
            tuple(_advice(folder, state, broken)),
            tuple(changes),
            risk="medium",
        )


def _aside(path: str, aside: str) -> Iterator[Change]:
    return want(Location(path, aside), "aside", by_hand=typed("mv", path, aside))


def _everything(folder: str, state: str) -> Iterator[Change]:
    """Whole, by one rename; entry by entry where the folder is a mount point or a link, which must stay."""
    status = files.status(folder, follow=False)
    if status is not None and (files.is_mount(folder) or files.kind(status.st_mode) == "a link"):
        yield from _entries(folder, [name for name in files.names(folder) if not name.startswith(".ccremedy-")])
    elif status is not None:
        yield from _aside(folder, free_name(folder))
    if os.path.dirname(state) != folder and files.status(state, follow=False) is not None:
        yield from _aside(state, free_name(state))


def _all_or_none(changes: list[Change]) -> list[Change]:
    """What one program holds open, another file of which it may be writing: half of a reset is none."""
    first = next((each for each in changes if each.refused), None)
    if first is None:
        return changes
    why = f"goes together with {first.resource.path}, which {first.refused}"
    return [replace(each, refused=each.refused or why) for each in changes]


def _broken_and_regenerable(folder: str, state: str, broken: dict[str, str]) -> Iterator[Change]:
    regenerable = knowledge.load("claude_folder")["regenerable"]
    inside = [name for name in files.names(folder) if name in regenerable or os.path.join(folder, name) in broken]
    if folder in broken:
        yield from _aside(folder, free_name(folder))
    else:
        yield from _entries(folder, inside)
    if state in broken and os.path.dirname(state) != folder:
        yield from _aside(state, free_name(state))


def _entries(folder: str, names: list[str]) -> Iterator[Change]:
    """Move entries of the folder aside: beside it, or, where another file system begins there, into it."""
    apart = files.is_mount(folder) or files.resolve(folder) != folder
    aside = free_name(os.path.join(folder, "")) if apart else free_name(folder)
    for name in names:
        yield from _aside(os.path.join(folder, name), os.path.join(aside, name))


def _advice(folder: str, state: str, broken: dict[str, str]) -> Iterator[str]:
    if state in broken and (backup := _claude.newest_good_backup(folder, state)):
        yield f"Claude Code has kept a good copy. To get servers and trust back: {typed('cp -p', backup, state)}"
    if any(os.path.basename(path) == ".credentials.json" for path in broken):
        yield "You will have to log in again: claude auth login"
