"""Claude Code's settings, layer by layer, and the environment that comes of them.

What wins: managed > project (local) > project > user, and what any of them puts in `env` beats the same variable of
the shell. A layer that does not parse is ignored as a whole, and silently. (research: claude-code-facts §3, §6)
"""

from __future__ import annotations

import os

from ccremedy import files
from ccremedy.errors import Problem
from ccremedy.record import dataclass, field, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccremedy.machine import Machine

PROXY_NAMES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")  # the order in which Claude Code looks


@dataclass(frozen=True)
class Layer:
    """One settings file that is there: what it says, or why Claude Code ignores it."""

    name: str
    path: str  # or the place in the registry
    values: dict[str, object] = field(default_factory=dict[str, object])
    fault: str = ""

    def env(self) -> dict[str, str]:
        found = self.values.get("env")
        if not is_object(found):
            return {}
        # As an environment can hold it: it ends at a NUL.
        return {name: str(value).partition("\0")[0] for name, value in found.items() if isinstance(value, (str, int))}


def user_file(machine: Machine) -> str:
    return os.path.join(machine.claude_folder(), "settings.json")


def layers(machine: Machine) -> list[Layer]:
    """The settings files that are there, the one that wins first."""
    above, below = machine.adapter.policies(machine.facts)
    managed = machine.system(machine.adapter.managed)
    parts = os.path.join(managed, "managed-settings.d")
    paths = [("managed", os.path.join(managed, "managed-settings.json"))]
    paths += [("managed", os.path.join(parts, name)) for name in files.names(parts) if name.endswith(".json")]
    policies = {where: text.encode("utf-8", "replace") for where, text in (*above.items(), *below.items())}
    paths = [*(("managed", where) for where in above), *paths, *(("managed", where) for where in below)]
    if machine.facts.cwd:
        project = os.path.join(machine.facts.cwd, ".claude")
        paths += [("project (local)", os.path.join(project, "settings.local.json"))]
        paths += [("project", os.path.join(project, "settings.json"))]
    paths.append(("user", user_file(machine)))
    own = {path: name for name, path in paths}  # in the home directory, the project's file is the user's
    found = (_layer(own[path], path, policies.get(path)) for path in dict.fromkeys(path for _, path in paths))
    return [layer for layer in found if layer is not None]


def _layer(name: str, path: str, given: bytes | None) -> Layer | None:
    from ccremedy import jsonc  # only where there is a file to read

    try:
        data = files.read(path) if given is None else given
        if data is None:
            return None
        values: object = jsonc.parse(as_claude_reads(data), strict=True) if data.strip() else {}
    except Problem as problem:
        return Layer(name, path, fault=problem.what)
    return Layer(name, path, values) if is_object(values) else Layer(name, path, fault="holds no JSON object")


def as_claude_reads(data: bytes) -> bytes:
    """A settings file as UTF-8; Claude Code takes UTF-16 as well, and does not mind a broken byte (2.1.330)."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return data.decode(encoding, "replace").encode()


@dataclass(frozen=True)
class Variable:
    """What Claude Code sees of a variable, and where that comes from."""

    value: str
    where: str  # a path, or SHELL


SHELL = "the environment"


def variable(machine: Machine, *names: str) -> Variable:
    """The first of these variables that is set for Claude Code; an empty one counts as set to nothing."""
    found = layers(machine)
    for name in names:
        for layer in found:
            if name in layer.env():
                return Variable(layer.env()[name], layer.path)
        if machine.env.get(name):
            return Variable(machine.env[name], SHELL)
    return Variable("", "")
