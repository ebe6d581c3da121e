"""Where node and npm are kept: version managers and the system. Read from disk; no manager is started.

Layouts by the managers' own documentation and source; nvm's alias resolution was checked against the real nvm 0.40.6.
"""

from __future__ import annotations

import os
import re

from ccremedy import Machine, files
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Manager:
    """A version manager: where it lives, and the folder of programs that it would put on PATH ('' if none is set)."""

    name: str
    home: str
    programs: str
    shims: bool = False  # the programs are stand-ins, which choose a version when they run


def managers(machine: Machine) -> Iterator[Manager]:
    """The version managers that are installed for this user."""
    return _on_windows(machine) if machine.adapter.name == "windows" else _on_unix(machine)


def owner(machine: Machine, folder: str) -> str:
    """The version manager that keeps this folder, '' where none does."""
    above = [] if "\0" in folder else [*files.walk_up(os.path.realpath(folder))]
    return next((each.name for each in managers(machine) if os.path.realpath(each.home) in above), "")


def _on_windows(machine: Machine) -> Iterator[Manager]:
    """What nvm-windows shows under NVM_SYMLINK, and fnm below %LOCALAPPDATA%, are links into their own folders."""
    env = machine.env
    roaming = machine.adapter.config_folder(machine.facts)
    local = env.get("LOCALAPPDATA") or machine.path("AppData", "Local")
    for home in (env.get("NVM_HOME"), os.path.join(local, "nvm"), os.path.join(roaming, "nvm")):
        if home and any(_version(name) for name in files.names(home)):
            yield Manager("nvm-windows", home, env.get("NVM_SYMLINK", ""))
            break
    for home in (env.get("FNM_DIR"), os.path.join(roaming, "fnm"), machine.path(".fnm")):
        if home and files.names(os.path.join(home, "node-versions")):
            yield Manager("fnm", home, os.path.join(home, "aliases", "default"))
            break
    for name, home, programs in (
        ("volta", env.get("VOLTA_HOME") or os.path.join(local, "Volta"), "bin"),
        ("volta", machine.system("/Program Files/Volta"), ""),  # its first version's, of its installer
        ("mise", env.get("MISE_DATA_DIR") or os.path.join(local, "mise"), "shims"),
    ):
        folder = os.path.normpath(os.path.join(home, programs))
        if machine.which("npm", [folder]):
            yield Manager(name, home, folder, shims=True)


def _on_unix(machine: Machine) -> Iterator[Manager]:
    env, data = machine.env, machine.env.get("XDG_DATA_HOME") or machine.path(".local", "share")
    config = machine.env.get("XDG_CONFIG_HOME") or machine.path(".config")
    for home in (env.get("NVM_DIR"), machine.path(".nvm"), os.path.join(config, "nvm")):
        if home and _kept(machine, os.path.join(home, "versions", "node")):
            yield Manager("nvm", home, _nvm_programs(home))
            break
    desktop = machine.adapter.config_folder(machine.facts)  # on macOS fnm's own folder is there
    for home in (env.get("FNM_DIR"), os.path.join(data, "fnm"), os.path.join(desktop, "fnm"), machine.path(".fnm")):
        if home and _kept(machine, os.path.join(home, "node-versions")):
            yield Manager("fnm", home, _fnm_programs(home))
            break
    for name, home, programs in (
        ("volta", env.get("VOLTA_HOME") or machine.path(".volta"), "bin"),
        ("asdf", env.get("ASDF_DATA_DIR") or machine.path(".asdf"), "shims"),
        ("mise", env.get("MISE_DATA_DIR") or os.path.join(data, "mise"), "shims"),
        ("nodenv", env.get("NODENV_ROOT") or machine.path(".nodenv"), "shims"),
        ("n", env.get("N_PREFIX") or machine.path("n"), "bin"),
    ):
        if files.executable(os.path.join(home, programs, "node")):
            yield Manager(name, home, os.path.join(home, programs), shims=name != "n")


def _kept(machine: Machine, folder: str) -> list[str]:
    """The names in it. A variable that came along from another user leads to what is closed to us, and is none."""
    theirs = not folder.startswith(machine.path("")) and files.reachable(folder) is None
    return [] if theirs else files.names(folder)


def linux_folders(machine: Machine) -> Iterator[str]:
    """Every folder that may hold Linux' own node, npm or claude, the best first."""
    yield from (each.programs for each in managers(machine) if each.programs)
    yield machine.path(".local", "bin")
    yield machine.path(".npm-global", "bin")
    for folder in ("/usr/local/bin", "/usr/bin", "/snap/bin", "/home/linuxbrew/.linuxbrew/bin", "/opt/node/bin"):
        yield machine.system(folder)
    yield from (folder for folder in machine.search_path() if not machine.is_windows(folder))


def _nvm_programs(home: str) -> str:
    """The programs of nvm's default version; of the newest one where the default is unset or not installed."""
    installed = sorted(
        (name for name in files.names(os.path.join(home, "versions", "node")) if _version(name)), key=_version
    )
    if _alias(home, "default") == "system":
        return ""  # the user's choice: none of nvm's own
    chosen = _nvm_alias(home, "default", installed) or (installed[-1] if installed else "")
    return os.path.join(home, "versions", "node", chosen, "bin") if chosen else ""


def _nvm_alias(home: str, name: str, installed: list[str], depth: int = 8) -> str:
    """The installed version that an nvm alias means: a version or its beginning, another alias, node, lts/…"""
    if depth == 0 or ".." in name:
        return ""
    if name in ("node", "stable"):
        return installed[-1] if installed else ""
    wanted = name.removeprefix("v")
    if re.fullmatch(r"\d+(\.\d+){0,2}", wanted):
        matching = [each for each in installed if f"{each}.".startswith(f"v{wanted}.")]
        return matching[-1] if matching else ""
    text = _alias(home, name)
    return _nvm_alias(home, text, installed, depth - 1) if text else ""


def _alias(home: str, name: str) -> str:
    """What an alias of nvm's says; '' where there is none, or it is no name that nvm could follow."""
    if not re.fullmatch(r"[\w./*-]{1,64}", name):
        return ""
    text = files.read_start(os.path.join(home, "alias", name), 256).decode("utf-8", "replace")
    return text.split("\n")[0].strip()


def _fnm_programs(home: str) -> str:
    default = os.path.join(home, "aliases", "default", "bin")
    if files.status(default):
        return default
    versions = sorted((n for n in files.names(os.path.join(home, "node-versions")) if _version(n)), key=_version)
    return os.path.join(home, "node-versions", versions[-1], "installation", "bin") if versions else ""


def _version(name: str) -> tuple[int, ...]:
    found = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)", name)
    return tuple(map(int, found.groups())) if found else ()
