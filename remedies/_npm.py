"""npm's global prefix, read as npm reads it, without starting npm (which takes 240 ms and writes a log).

The order is npm's own for `-g`: environment, user npmrc, global npmrc, npm's built-in npmrc, and else two levels
above the real node. Checked against real npm over a matrix of all of these (tests/test_npm_for_real.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ccremedy import Machine, editors, files


@dataclass(frozen=True)
class Prefix:
    folder: str
    source: str  # "environment", "user", "global", "builtin" or "node"
    where: str  # the variable, the npmrc or the program that says so


def user_npmrc(machine: Machine) -> str:
    configured = _environment(machine, "userconfig")[1]
    return _path(machine, configured) if configured else machine.path(".npmrc")


def prefix(machine: Machine, npm: str) -> Prefix:
    """The global prefix of the npm program at path `npm`."""
    variable, value = _environment(machine, "prefix")
    if value:
        return Prefix(_path(machine, value), "environment", variable)
    user = user_npmrc(machine)
    if value := _setting(machine, user):
        return Prefix(_path(machine, value), "user", user)
    node = _node_beside(machine, npm)
    default = machine.env.get("PREFIX") or os.path.dirname(os.path.dirname(node))
    config = _environment(machine, "globalconfig")[1] or os.path.join(default, "etc", "npmrc")
    if value := _setting(machine, config):
        return Prefix(_path(machine, value), "global", config)
    builtin = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(npm))), "npmrc")
    if value := _setting(machine, builtin):
        return Prefix(_path(machine, value), "builtin", builtin)
    return Prefix(default, "node", node)


def _node_beside(machine: Machine, npm: str) -> str:
    """The node that runs this npm: the one on PATH, by its real path."""
    node = machine.which("node") or os.path.join(os.path.dirname(npm), "node")
    return os.path.realpath(node)


def _environment(machine: Machine, key: str) -> tuple[str, str]:
    """npm_config_KEY in any letter case; npm ignores empty ones."""
    for name, value in machine.env.items():
        if name.lower() == f"npm_config_{key}" and value:
            return name, value
    return "", ""


def project_npmrc(machine: Machine) -> str:
    """The .npmrc of the project around the working directory, if it sets a prefix ('': none does).

    `npm install -g` ignores it and `npm config get prefix` does not, which is why nobody should set one there.
    """
    here = machine.facts.cwd
    for folder in files.walk_up(here) if os.path.isabs(here) else []:
        if folder == machine.home:
            break
        if folder == here or any(files.status(os.path.join(folder, name)) for name in ("package.json", "node_modules")):
            npmrc = os.path.join(folder, ".npmrc")
            if npmrc != user_npmrc(machine) and _setting(machine, npmrc):
                return npmrc
    return ""


def _setting(machine: Machine, npmrc: str) -> str:
    """The prefix that an npmrc sets, with ${VARIABLES} filled in; '' where it sets none."""
    line = editors.get_line(files.read(npmrc) or b"", "prefix")
    value = line.partition("=")[2].strip()
    if value[:1] in ("'", '"') and value[-1:] == value[:1]:
        value = value[1:-1]
    else:
        value = re.split(r"(?<!\\)[;#]", value)[0].strip()  # npm's ini drops comments at the end of a value
    return re.sub(r"(\\*)\$\{([^${}]+)\}", lambda found: _variable(machine, found), value)


def _variable(machine: Machine, found: re.Match[str]) -> str:
    """npm leaves an unset variable as it stands, unless its name ends in a question mark."""
    escapes, name = found.groups()
    if len(escapes) % 2:
        return found[0][(len(escapes) + 1) // 2 :]
    value = machine.env.get(name.removesuffix("?"), "" if name.endswith("?") else found[0][len(escapes) :])
    return escapes[: len(escapes) // 2] + value


def _path(machine: Machine, value: str) -> str:
    """As npm's `path` type resolves it: ~/ is the home directory, anything relative starts at the working directory."""
    if value.startswith("~/"):
        value = machine.path(value[2:])
    return os.path.normpath(os.path.join(machine.facts.cwd or "/", value))
