"""npm's global prefix, read as npm reads it, without starting npm (which takes 240 ms and writes a log).

The order is npm's own for `-g`: environment, user npmrc, global npmrc, npm's built-in npmrc, and else the folder of
node: two levels above the real one, and on Windows the one that it is in. Every oddity below was found by checking
against real npm, over a matrix of all of these (tests/test_npm_for_real.py, tests/test_npm_under_wine.py).
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


class Layout:
    """What npm does in another way on another system; this is how it does it on Unix."""

    packages: tuple[str, ...] = ("lib", "node_modules")  # below a prefix
    programs: tuple[str, ...] = ("bin",)
    line = "prefix=~/.npm-global"  # of an npmrc, for the folder that is to be the user's own

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @property
    def ours(self) -> str:
        return self.machine.path(".npm-global")

    @property
    def user(self) -> str:
        """What ~ stands for."""
        return self.machine.home

    def home(self, npm: str) -> str:
        """The folder of the package that runs as this program."""
        return os.path.dirname(os.path.dirname(os.path.realpath(npm)))

    def node(self, npm: str) -> str:
        """The node that runs this npm: the one on PATH, by its real path."""
        return os.path.realpath(self.machine.which("node") or os.path.join(os.path.dirname(npm), "node"))

    def default(self, node: str) -> str:
        """Two levels above node, below DESTDIR."""
        folder, destination = os.path.dirname(os.path.dirname(node)), self.machine.env.get("DESTDIR", "")
        return self.path(f"{destination}/{folder}") if destination else folder

    def path(self, value: str) -> str:
        """As npm's `path` type resolves it: ~/ is the home, anything relative starts at the working directory."""
        if value.startswith("~/"):
            value = os.path.join(self.user, value[2:].lstrip("/"))
        return "/" + os.path.normpath(os.path.join(self.machine.facts.cwd or "/", value)).lstrip("/")

    def variable(self, name: str) -> str | None:
        return self.machine.env.get(name)

    def literal(self, prefix: Prefix) -> str:
        """What in the user's own prefix was meant for a variable and is none to npm; '' for nothing."""
        return ""


class OnWindows(Layout):
    """Packages lie in the prefix itself, beside the shims of their programs."""

    packages = ("node_modules",)
    programs = ()
    line = "prefix=${APPDATA}\\npm"  # as the installer of Node.js writes it; npm takes a backslash for itself

    @property
    def ours(self) -> str:
        return self.path(os.path.join(self.machine.adapter.config_folder(self.machine.facts), "npm"))

    @property
    def user(self) -> str:
        return self.machine.env.get("HOME") or self.machine.home  # as Git Bash sets it

    def home(self, npm: str) -> str:
        """npm.cmd goes on to a newer npm, if one has been installed where the one beside it installs to."""
        beside = os.path.join(os.path.dirname(npm), "node_modules", "npm")
        newer = os.path.join(_read(self, npm, beside).folder, "node_modules", "npm")
        return newer if files.status(os.path.join(newer, "bin", "npm-cli.js")) else beside

    def node(self, npm: str) -> str:
        """The one beside it, or else on PATH; a link is not followed (which is how nvm-windows switches)."""
        return self.machine.which("node", [os.path.dirname(npm)]) or self.machine.which("node") or npm

    def default(self, node: str) -> str:
        return os.path.dirname(node)

    def path(self, value: str) -> str:
        value = value.replace("/", "\\").replace("\\", os.sep)
        if value.startswith(f"~{os.sep}"):
            value = os.path.join(self.user, value[2:].lstrip(os.sep))
        return os.path.abspath(os.path.join(self.machine.facts.cwd, value))  # `D:x` is D's own working directory

    def variable(self, name: str) -> str | None:
        return self.machine.env.get(name.upper())

    def literal(self, prefix: Prefix) -> str:
        found = re.search(r"%[^%\\/]+%", prefix.folder) if prefix.source == "user" else None
        return found[0] if found else ""


def layout(machine: Machine) -> Layout:
    return OnWindows(machine) if machine.adapter.name == "windows" else Layout(machine)


def user_npmrc(machine: Machine) -> str:
    here = layout(machine)
    value = _environment(here, "userconfig")[1]
    return here.path(value or "~/.npmrc")


def prefix(machine: Machine, npm: str) -> Prefix:
    """The global prefix of the npm program at path `npm`. Problem where npm itself stops at what is set."""
    here = layout(machine)
    return _read(here, npm, here.home(npm))


def resolved(machine: Machine, value: str) -> str:
    """A path that stands in an npmrc."""
    here = layout(machine)
    return here.path(_replaced(here, value, ""))


def locked(here: Layout, prefix: str) -> str:
    """The first folder that `npm install -g` would have to write to and may not; '' where it may write to all."""
    for parts in (here.packages, (*here.packages, "@anthropic-ai"), here.programs):
        folder = os.path.normpath(os.path.join(prefix, *parts))
        if not files.status(folder):
            folder = files.existing_parent(folder)
        if not files.can_write(folder):
            return folder
    return ""


def _read(here: Layout, npm: str, home: str) -> Prefix:
    variable, value = _environment(here, "prefix")
    if value:
        return Prefix(_path(here, value), "environment", variable)
    user, builtin = user_npmrc(here.machine), os.path.join(home, "npmrc")
    in_user, in_builtin = _settings(here, user, home), _settings(here, builtin, home)
    if "prefix" in in_user:
        return Prefix(_path(here, in_user["prefix"], user), "user", user)
    if "prefix" in in_builtin:
        below = Prefix(_path(here, in_builtin["prefix"], builtin), "builtin", builtin)
    else:
        node = here.node(npm)
        given = here.variable("PREFIX")
        default = _path(here, _replaced(here, given.strip(_BLANK), "")) if given else here.default(node)
        below = Prefix(default, "node", node)
    # Without a setting of its own, the global npmrc is below the prefix as known so far.
    settings = ({"globalconfig": _environment(here, "globalconfig")[1]}, in_user, in_builtin)
    config = next((each["globalconfig"] for each in settings if each.get("globalconfig")), "")
    system = _path(here, config) if config else os.path.join(below.folder, "etc", "npmrc")
    in_system = _settings(here, system, home)
    return Prefix(_path(here, in_system["prefix"], system), "global", system) if "prefix" in in_system else below


def project_npmrc(machine: Machine) -> str:
    """The .npmrc of the project around the working directory, if it sets a prefix ('': none does).

    `npm install -g` ignores it and `npm config get prefix` does not, which is why nobody should set one there.
    """
    here = machine.facts.cwd
    for folder in files.walk_up(here) if os.path.isabs(here) else ():
        if files.same(folder, machine.home):
            break
        if folder == here or any(files.status(os.path.join(folder, name)) for name in ("package.json", "node_modules")):
            npmrc = os.path.join(folder, ".npmrc")
            if npmrc != user_npmrc(machine) and "prefix" in _settings(layout(machine), npmrc, ""):
                return npmrc
    return ""


def _environment(here: Layout, key: str) -> tuple[str, str]:
    """npm_config_KEY in any letter case; npm ignores empty ones, and of several the last one wins."""
    found = ("", "")
    for name, value in here.machine.env.items():
        if name.lower() == f"npm_config_{key}" and value:
            found = (name, _replaced(here, value.strip(_BLANK), ""))
    return found


def _settings(here: Layout, npmrc: str, npm: str) -> dict[str, str | None]:
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
        key = _replaced(here, str(_unsafe(parts[1])), npm)
        value = _unsafe(parts[3]) if parts[2] else True
        if key.removesuffix("[]") in _KEYS:
            found[key.removesuffix("[]")] = value if key in _KEYS else None
    return {
        key: _replaced(here, value.strip(_BLANK), npm)
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


def _replaced(here: Layout, text: str, npm: str) -> str:
    """With ${VARIABLES} filled in; an unset one stays, or goes if its name ends in ? and this npm knows that."""
    optional = _knows_optional(npm)

    def value(found: re.Match[str]) -> str:
        escapes, name = found.groups()
        if len(escapes) % 2:
            return found[0][(len(escapes) + 1) // 2 :]
        fallback = f"${{{name}}}"
        if optional and name.endswith("?"):
            name, fallback = name[:-1], ""
        return escapes[: len(escapes) // 2] + (fallback if (known := here.variable(name)) is None else known)

    return re.sub(r"(?<!\\)(\\*)\$\{([^${}]+)\}", value, text)


def _knows_optional(npm: str) -> bool:
    """Whether this npm has ${NAME?}: told by its own pattern for it, for it came amid the releases of npm 11."""
    code = os.path.join(npm, "node_modules", "@npmcli", "config", "lib", "env-replace.js")
    return rb"(\?)?\}" in files.read_start(code, 1 << 16)


def _path(here: Layout, value: str | None, where: str = "npm") -> str:
    if value is None:
        raise Problem("sets a path of npm's to something else, so npm does not start", where=where, todo="Correct it")
    return here.path(value)
