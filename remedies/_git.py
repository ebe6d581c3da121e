"""Git for Windows, and the bash in it: where it is, and which one Claude Code is told of. Nothing is started."""

from __future__ import annotations

import os

from ccremedy import Machine, files, hive, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def told(machine: Machine, env: Mapping[str, str], name: str) -> tuple[str, str]:
    """What Claude Code is told when it is started anew, and where that is set."""
    for layer in settings.layers(machine):
        if name in layer.env():
            return layer.env()[name], layer.path
    for key in (*machine.adapter.environment_keys(machine.facts), machine.facts.key(hive.SYSTEM_ENVIRONMENT)):
        if hive.text(key, name):
            return env.get(name.upper(), ""), key
    return machine.env.get(name, ""), settings.SHELL


def wrong(value: str) -> str:
    """Why Claude Code does not take it, as the end of a sentence; '' where it does, or where nothing is set."""
    if '"' in value:
        return f"is {value}, and no file has quotation marks in its name"
    if value and files.is_folder(value):
        return f"is {value}, which is a folder"
    if value.replace("\\", "/").rpartition("/")[2].lower() not in ("", "bash", "bash.exe", "sh", "sh.exe"):
        return f"is {value}, and only bash.exe and sh.exe are taken"
    return f"is {value}, which is not there" if value and files.status(value) is None else ""


def _roots(machine: Machine, env: Mapping[str, str]) -> Iterator[str]:
    """Where Git for Windows may be installed: what its installer has registered, the usual places, PATH, scoop."""
    for top in (hive.SYSTEM, hive.USER):
        yield hive.text(machine.facts.key(rf"{top}\SOFTWARE\GitForWindows"), "InstallPath")
    for place in ("%PROGRAMFILES%/Git", "%PROGRAMFILES(X86)%/Git", "%LOCALAPPDATA%/Programs/Git"):
        yield hive.expanded(place, env)
    if git := machine.which("git", machine.search_path(env)):
        yield os.path.dirname(os.path.dirname(os.path.realpath(git)))
    yield hive.expanded("%USERPROFILE%/scoop/apps/git/current", env)


def bashes(machine: Machine, env: Mapping[str, str]) -> Iterator[str]:
    for root in _roots(machine, env):
        path = os.path.normpath(os.path.join(root, "bin", "bash.exe"))
        if os.path.isabs(path) and files.executable(path):
            yield path


def found_by_itself(machine: Machine, env: Mapping[str, str]) -> str:
    places = [hive.expanded(f"%{name}%/Git/cmd/git.exe", env) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)")]
    git = next((path for path in places if files.executable(path)), "")
    git = git or machine.which("git", machine.search_path(env))
    bash = os.path.normpath(os.path.join(git, "..", "..", "bin", "bash.exe")) if git else ""
    return bash if bash and files.executable(bash) else ""
