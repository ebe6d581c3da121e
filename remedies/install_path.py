"""Let a new terminal find the Claude Code that is installed, and say which one answers, and which one is broken."""

from __future__ import annotations

import os
import re

from ccremedy import Finding, Healthy, Machine, Option, Remedy, files
from ccremedy.errors import Problem
from ccremedy.shells import stranger

from . import _installs, _node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._installs import Install

SETUP = "https://code.claude.com/docs/en/setup"
NEW = "Then open a new terminal: one that is open keeps the PATH that it was started with"


class InstallPath(Remedy):
    title = "Let a new terminal find the Claude Code that is installed"
    symptoms = (
        "command not found: claude",
        "'claude' is not recognized as an internal or external command",
        "The term 'claude' is not recognized as the name of a cmdlet",
        "Too many levels of symbolic links",
        "claude native binary not installed",
    )
    platforms = frozenset({"linux", "wsl", "macos", "windows"})
    options = (Option("wsl", "on Windows: ask each distribution of WSL which claude and node answer in it"),)

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        answering = _installs.on_path(machine, _installs.terminal_path(machine))
        found = answering + _installs.elsewhere(machine, answering)
        winner = next((each for each in answering if not each.passed_over), None)
        ours = [each for each in found if each.method != _installs.DESKTOP]
        sound = [each for each in ours if not each.fault]
        broken = [each for each in ours if each.fault and (each == winner or not sound)]
        best = next((each for each in sound if each not in answering), *sound[:1]) if sound else None
        notes = tuple(_notes(machine, [each for each in found if each not in (winner, best, *broken)]))
        if winner is not None and winner in sound:
            here = {os.path.normcase(os.path.normpath(folder)) for folder in machine.search_path()}
            where = "" if os.path.normcase(winner.folder) in here else ", but not yet in this one"
            says = f"is what a new terminal starts{where}" if not _ahead(machine) else "is the first of Linux' own"
            more = [f"there is {best} too"] if best not in (winner, None) else []
            yield Healthy("; ".join((f"{winner} {says}", *more, *notes)))
            return
        if not ours:
            other = [f"{winner.path} is Claude Desktop, which is another program"] if winner else []
            yield Healthy("; ".join((f"Claude Code is not installed here. To install it: {SETUP}", *other, *notes)))
            return
        if broken:
            yield Finding(
                "broken-binary",
                "Claude Code is installed, but cannot start",
                tuple(f"{each.path} {each.fault}" for each in broken),
                (*(f"To have it anew: {_installs.reinstall(machine, each)}" for each in broken), *notes),
                risk="manual",
            )
        if best:
            yield from _forward(self.id, machine, best, winner, best in answering, notes)


def _forward(
    name: str, machine: Machine, best: Install, winner: Install | None, is_on_path: bool, notes: tuple[str, ...]
) -> Iterator[Finding | Healthy]:
    """Let the best of the sound ones be found first."""
    evidence = (f"{best} is sound", *([f"{winner} comes first"] if winner else []), *notes)
    fixed = winner is not None and _installs.holds(machine.adapter.first_path(machine), winner.folder)
    if winner and (is_on_path or fixed):
        todo = _other_order(best, winner, fixed)
        yield Finding("shadowed", "another claude comes first", evidence, (todo,), severity="warning", risk="manual")
        return
    if machine.adapter.name == "windows" and _installs.holds(_installs.terminal_path(machine), best.folder):
        ending = os.path.splitext(best.path)[1].upper()
        evidence = (f"{best} is sound, and its folder is on PATH", f"PATHEXT is {machine.env.get('PATHEXT')}", *notes)
        todo = f"Put {ending} back into PATHEXT: Settings, “Edit environment variables for your account”"
        yield Finding("no-ending", f"a prompt takes no {ending} for a program", evidence, (todo, NEW), risk="manual")
        return
    if loaded := _loaded(machine, best):
        yield Healthy(f"{best} is put on PATH by {loaded}; open a new terminal")
        return
    ahead_of = [winner.folder] if winner else []
    changes = tuple(machine.persist_path(name, best.folder, f"path {best.folder}", ahead_of))
    unknown = stranger(machine)
    todo = f"Your shell is {unknown}, whose start-up files ccremedy does not know: put {best.folder} on its PATH"
    if not changes and not unknown:
        yield Healthy(f"{best.folder}, where {best} is, will be on the PATH of a new terminal; open one")
        return
    yield Finding(
        "not-on-path",
        "a new terminal does not find claude",
        evidence,
        (todo, NEW) if unknown else (NEW,),
        changes,
        risk="low" if changes else "manual",
    )


def _other_order(best: Install, winner: Install, fixed: bool) -> str:
    """How the best could come before the winner, which we do not do; `fixed`: on the PATH of the system."""
    if fixed:
        return (
            f"{winner.folder} is on the PATH of the system, which comes before yours: have an administrator rename "
            f"{winner.path}, or put {best.folder} before it"
        )
    if winner.method == _installs.DESKTOP:
        return (
            "Update Claude Desktop (newer ones have another name), or switch its alias off: Settings, Apps, "
            "Advanced app settings, App execution aliases"
        )
    return f"Let {best.folder} stand before {winner.folder} on PATH, or rename the other one"


def _loaded(machine: Machine, best: Install) -> str:
    """The manager of node that puts it on PATH, and where the user's shell loads that; '' where none does."""
    for manager in _node.managers(machine):
        loads = r"^[^#\n]*(\bN_PREFIX\b|/n/bin\b)" if manager.name == "n" else rf"^[^#\n]*\b{manager.name}\b"
        ours = manager.programs == best.folder and not manager.shims
        if ours and (where := _mention(machine, loads, os.path.basename(machine.env.get("SHELL", "")))):
            return f"{manager.name}, which {where} loads"
    return ""


def _notes(machine: Machine, others: list[Install]) -> Iterator[str]:
    """What else there is to know: other ones, an alias, the claude of Windows or of WSL."""
    for each in others:
        if each.method == _installs.DESKTOP:
            yield f"{each.path} is Claude Desktop, which is another program"
        else:
            yield f"there is {each} too{f', which {each.fault}' if each.fault else ''}"
    if where := _mention(machine, r"^[ \t]*(alias[ \t]+claude[= ]|(function[ \t]+)?claude[ \t]*\(\))"):
        yield f"{where} makes of claude an alias or function, which wins in the shells that read it"
    if machine.windows_folders():
        yield from _of_windows(machine)
    if machine.adapter.name == "windows":
        from . import _wsl  # only where there may be one

        yield from _wsl.notes(machine)


def _of_windows(machine: Machine) -> Iterator[str]:
    """The claude of the Windows around a WSL, where a prompt starts that one, or would under its whole name."""
    if ahead := _ahead(machine):
        yield f"{ahead} answers first, and belongs to Windows: see wsl-path"
    elif not machine.which("claude") and (other := machine.which("claude.exe")):
        yield f"{other} belongs to Windows, and answers in here to claude.exe alone"


def _ahead(machine: Machine) -> str:
    """The claude that a prompt starts, if that is one of the Windows around a WSL."""
    answers = machine.which("claude") if machine.windows_folders() else ""
    return answers if answers and machine.is_windows(answers) else ""


def _mention(machine: Machine, pattern: str, shell: str = "") -> str:
    """The first start-up file in which this stands; of this shell's, if it is one that we know."""
    for path, syntax in machine.adapter.start_up_files(machine):
        reader = "fish" if syntax == "fish" else "zsh" if os.path.basename(path).startswith(".z") else "bash"
        if shell in ("bash", "zsh", "fish") and shell != reader:
            continue
        try:
            text = (files.read(path) or b"").decode("utf-8", "replace") if syntax in ("sh", "fish") else ""
        except Problem:
            continue
        if re.search(pattern, text, re.M):
            return path
    return ""
