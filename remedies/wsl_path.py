"""On WSL, let Linux' own node, npm and claude win over those of Windows.

Windows appends its PATH to ours, so its npm answers wherever Linux' is not on PATH, and then calls a Windows node with
Linux paths ("exec: node: not found"). Windows' PATH import is left on: switching it off breaks interop for everything.
"""

from __future__ import annotations

import os

from ccremedy import Change, Finding, Healthy, Machine, Remedy, files
from ccremedy.shells import stranger

from . import _installs, _node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROGRAMS = ("node", "npm", "claude")
INSTALL = {
    "node": "Install a Node.js for Linux (https://github.com/nvm-sh/nvm, or your distribution's package)",
    "npm": "Install npm for Linux: it comes with the Node.js of nvm, or as your distribution's package “npm”",
    "claude": "Install Claude Code for Linux, which needs no Node.js: https://code.claude.com/docs/en/setup",
}


class WslPath(Remedy):
    title = "Let Linux' node, npm and claude win over those of Windows"
    symptoms = ("exec: node: not found", "Could not determine Node.js install directory")
    platforms = frozenset({"wsl"})
    unsupported = "this is not WSL"

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        found = {program: machine.which(program) for program in PROGRAMS}
        windows = {program: path for program, path in found.items() if path and machine.is_windows(path)}
        if not windows:
            ours = [f"{program} is {path}" for program, path in found.items() if path]
            yield Healthy("; ".join(("no node, npm or claude that answers belongs to Windows", *ours)))
            return
        there = list(windows)
        if "npm" in windows and not found["node"]:
            windows["node"] = "nowhere (Windows has only node.exe)"
        linux = {program: _linux_folder(machine, program) for program in windows}
        changes: list[Change] = []
        for number, folder in enumerate(dict.fromkeys(filter(None, linux.values()))):
            program = next(each for each in linux if linux[each] == folder)
            name = f"wsl-path-{number + 1}" if number else "wsl-path"
            changes += machine.persist_path(name, folder, f"linux {program}", _links(machine, found.values(), folder))
        advice = [f"{program} has no Linux twin here. {INSTALL[program]}" for program in windows if not linux[program]]
        if shell := stranger(machine):
            folders = " and ".join(dict.fromkeys(filter(None, linux.values())))
            left = (
                f"Your shell is {shell}, whose start-up files ccremedy does not know: put {folders} first on its PATH"
            )
            advice += [left] if folders else []
        if changes or advice:
            yield Finding(
                "windows-first",
                f"{_and(there)} come{'s' if len(there) == 1 else ''} from Windows",
                evidence=(
                    *(_told(machine, program, windows, linux, found[program]) for program in PROGRAMS),
                    *_interop(machine),
                ),
                advice=(*advice, *(PARENT if changes else ())),
                changes=tuple(changes),
            )
        else:
            yield Healthy("the start-up files already put Linux' first; open a new terminal to see it")


PARENT = ("A plain `bash -c` reads no start-up file: it keeps the PATH of what starts it, until that is started anew",)


def _linux_folder(machine: Machine, program: str) -> str:
    """The first folder with this program in it that has nothing to do with Windows. A broken claude is none."""
    for folder in _node.linux_folders(machine):
        path = machine.which(program, [folder])
        if path and not machine.is_windows(path) and (program != "claude" or not _installs.look(machine, path).fault):
            return os.path.normpath(folder)
    return ""


def _told(machine: Machine, program: str, windows: dict[str, str], linux: dict[str, str], answers: str) -> str:
    """Which side wins, and why; and where the other one's is."""
    if program not in windows:
        return f"{program} is Linux' own {answers}" if answers else f"{program} is nowhere"
    lead = f"{program} is {windows[program] if not answers else f'that of Windows, {answers}'}"
    if not (folder := linux[program]):
        return f"{lead}; Linux has none"
    on_path = folder in map(os.path.normpath, machine.search_path())
    why = "comes later on PATH" if on_path else "is in no folder of PATH"
    return f"{lead}; Linux' own {os.path.join(folder, program)} {why}"


def _interop(machine: Machine) -> Iterator[str]:
    """Whether programs of Windows can be started at all: as long as the kernel knows what to do with one."""
    folder = machine.system("/proc/sys/fs/binfmt_misc")
    known = files.names(folder)
    if "status" in known and not any(name.startswith("WSLInterop") for name in known):
        yield f"programs of Windows cannot start in here now: interop is off (there is no WSLInterop in {folder})"


def _links(machine: Machine, programs: Iterable[str], ours: str) -> list[str]:
    """The folders on PATH, not on a drive of Windows themselves, whose programs are links to one."""
    folders = dict.fromkeys(os.path.dirname(program) for program in programs if program and machine.is_windows(program))
    drives = tuple(f"{drive}/" for drive in machine.windows_folders())
    return [folder for folder in folders if folder != ours and not f"{folder}/".startswith(drives)]


def _and(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
