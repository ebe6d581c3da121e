"""npm's global prefix, read as npm reads it, without starting npm (which takes 240 ms and writes a log).

The order is npm's own for `-g`: environment, user npmrc, global npmrc, npm's built-in npmrc, and else two levels
above the real node. Every oddity below was found by checking against real npm, over a matrix of all of these
(tests/test_npm_for_real.py).
"""

from __future__ import annotations

import json
import os
import re

from ccremedy import Machine, Problem, files
from ccremedy.record import dataclass

# What JavaScript trims, which is not what Python strips; the byte order mark is one of them.
_BLANK = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_KEYS = ("prefix", "globalconfig", "userconfig")


@dataclass(frozen=True)
class Prefix:
    folder: str
    source: str  # "environment", "user", "global", "builtin" or "node"
    where: str  # the variable, the npmrc or the program that says so


def user_npmrc(machine: Machine) -> str:
    value = _environment(machine, "userconfig")[1]
    return _path(machine, value) if value else machine.path(".npmrc")


def prefix(machine: Machine, npm: str) -> Prefix:
    """The global prefix of the npm program at path `npm`. Problem where npm itself stops at what is set."""
    variable, value = _environment(machine, "prefix")
    if value:
        return Prefix(_path(machine, value), "environment", variable)
    home = os.path.dirname(os.path.dirname(os.path.realpath(npm)))
    user, builtin = user_npmrc(machine), os.path.join(home, "npmrc")
    in_user, in_builtin = _settings(machine, user, home), _settings(machine, builtin, home)
    if "prefix" in in_user:
        return Prefix(_path(machine, in_user["prefix"], user), "user", user)
    if "prefix" in in_builtin:
        below = Prefix(_path(machine, in_builtin["prefix"], builtin), "builtin", builtin)
    else:
        node = _node_beside(machine, npm)
        below = Prefix(_default(machine, node), "node", node)
    # Without a setting of its own, the global npmrc is below the prefix as known so far.
    settings = ({"globalconfig": _environment(machine, "globalconfig")[1]}, in_user, in_builtin)
    config = next((each["globalconfig"] for each in settings if each.get("globalconfig")), "")
    system = _path(machine, config) if config else os.path.join(below.folder, "etc", "npmrc")
    in_system = _settings(machine, system, home)
    return Prefix(_path(machine, in_system["prefix"], system), "global", system) if "prefix" in in_system else below


def project_npmrc(machine: Machine) -> str:
    """The .npmrc of the project around the working directory, if it sets a prefix ('': none does).

    `npm install -g` ignores it and `npm config get prefix` does not, which is why nobody should set one there.
    """
    here = machine.facts.cwd
    for folder in files.walk_up(here) if os.path.isabs(here) else ():
        if folder == machine.home:
            break
        if folder == here or any(files.status(os.path.join(folder, name)) for name in ("package.json", "node_modules")):
            npmrc = os.path.join(folder, ".npmrc")
            if npmrc != user_npmrc(machine) and "prefix" in _settings(machine, npmrc, ""):
                return npmrc
    return ""


def _default(machine: Machine, node: str) -> str:
    """PREFIX, or two levels above node, below DESTDIR."""
    if value := machine.env.get("PREFIX"):
        return _path(machine, _replaced(machine, value.strip(_BLANK), ""))
    default = os.path.dirname(os.path.dirname(node))
    destination = machine.env.get("DESTDIR", "")
    return _path(machine, f"{destination}/{default}") if destination else default


def _node_beside(machine: Machine, npm: str) -> str:
    """The node that runs this npm: the one on PATH, by its real path."""
    node = machine.which("node") or os.path.join(os.path.dirname(npm), "node")
    return os.path.realpath(node)


def _environment(machine: Machine, key: str) -> tuple[str, str]:
    """npm_config_KEY in any letter case; npm ignores empty ones, and of several the last one wins."""
    found = ("", "")
    for name, value in machine.env.items():
        if name.lower() == f"npm_config_{key}" and value:
            found = (name, _replaced(machine, value.strip(_BLANK), ""))
    return found


def _settings(machine: Machine, npmrc: str, npm: str) -> dict[str, str | None]:
    """What an npmrc sets of the three keys that matter here, by the rules of npm's `ini`."""
    try:
        text = (files.read(npmrc) or b"").decode("utf-8", "replace")
    except Problem:  # npm passes over what it cannot read, silently
        return {}
    found: dict[str, object] = {}
    for line in re.split(r"[\r\n]+", text):
        bare = line.strip(_BLANK)
        if not bare or bare[0] in ";#":
            continue
        if re.fullmatch(rf"\[[^\]]*\][{_BLANK}]*", line):
            break  # whatever follows belongs to the section; an indented one is none
        parts = re.fullmatch(r"([^=]+)(=([^\u2028\u2029]*))?", line)
        if parts is None:
            continue
        key = _replaced(machine, str(_unsafe(parts[1])), npm)
        value = _unsafe(parts[3]) if parts[2] else True
        if key.removesuffix("[]") in _KEYS:
            found[key.removesuffix("[]")] = value if key in _KEYS else None
    return {
        key: _replaced(machine, value.strip(_BLANK), npm)
        if isinstance(value, str) and value not in ("true", "false", "null")  # of which ini makes no strings
        else None
        for key, value in found.items()
    }


def _unsafe(text: str) -> object:
    """A key or a value: quotes taken off as JSON has them, or comments cut and escapes resolved."""
    text = text.strip(_BLANK)
    if text and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1] if text[0] == "'" else text
        try:
            value: object = json.loads(text)
        except ValueError:
            value = text
        return value
    unquoted = re.match(r"(?:[^\\;#]|\\(?s:.)|\\\Z)*", text)
    assert unquoted is not None
    return re.sub(r"\\([\\;#])", r"\1", unquoted[0]).strip(_BLANK)


def _replaced(machine: Machine, text: str, npm: str) -> str:
    """With ${VARIABLES} filled in; an unset one stays, or goes if its name ends in ? and this npm knows that."""
    optional = _knows_optional(npm)

    def value(found: re.Match[str]) -> str:
        escapes, name = found.groups()
        if len(escapes) % 2:
            return found[0][(len(escapes) + 1) // 2 :]
        fallback = f"${{{name}}}"
        if optional and name.endswith("?"):
            name, fallback = name[:-1], ""
        return escapes[: len(escapes) // 2] + machine.env.get(name, fallback)

    return re.sub(r"(?<!\\)(\\*)\$\{([^${}]+)\}", value, text)


def _knows_optional(npm: str) -> bool:
    """Whether this npm has ${NAME?}: told by its own pattern for it, for it came amid the releases of npm 11."""
    code = os.path.join(npm, "node_modules", "@npmcli", "config", "lib", "env-replace.js")
    return rb"(\?)?\}" in files.read_start(code, 1 << 16)


def _path(machine: Machine, value: str | None, where: str = "npm") -> str:
    """As npm's `path` type resolves it: ~/ is the home directory, anything relative starts at the working directory."""
    if value is None:
        raise Problem("sets a path of npm's to something else, so npm does not start", where=where, todo="Correct it")
    if value.startswith("~/"):
        value = machine.path(value[2:].lstrip("/"))
    return "/" + os.path.normpath(os.path.join(machine.facts.cwd or "/", value)).lstrip("/")
