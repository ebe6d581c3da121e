"""Variables that launchd gives to programs, as far as property lists of agents say so (launchd.plist(5)).

Whoever wants a variable in programs that are started from the Dock has an agent run `launchctl setenv NAME VALUE`; and
an agent may give variables to its own program alone.
"""

from __future__ import annotations

import os
import shlex

from ccremedy import Machine, Problem, files
from ccremedy.record import is_list, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT = 1 << 20  # bytes of a property list


def variables(machine: Machine) -> Iterator[tuple[str, str, str]]:
    """Name, value and file of each variable that an agent gives to everything started from the Dock."""
    for path, agent in _agents(machine, b"setenv"):
        yield from ((name, value, path) for name, value in _set_by(agent))


def given(machine: Machine, name: str) -> Iterator[tuple[str, str]]:
    """Each value that an agent gives to this variable, and where; for itself alone, or for everything."""
    for path, agent in _agents(machine, name.encode()):
        own = agent.get("EnvironmentVariables")
        found = [*_set_by(agent), *(own.items() if is_object(own) else ())]
        yield from ((value, path) for each, value in found if each == name and isinstance(value, str))


def _agents(machine: Machine, mark: bytes) -> Iterator[tuple[str, dict[str, object]]]:
    """The agents in whose files these bytes stand. ASCII stands in both kinds of property list as it is."""
    for folder in (machine.path("Library", "LaunchAgents"), machine.system("/Library/LaunchAgents")):
        for name in _names(folder):
            path = os.path.join(folder, name)
            if name.endswith(".plist") and mark in (data := _read(path)):
                yield path, _parsed(data)


def _names(folder: str) -> list[str]:
    try:
        return files.names(folder)
    except Problem:  # closed to us, so nothing of it is seen
        return []


def _read(path: str) -> bytes:
    try:
        return files.read(path, _LIMIT) or b""
    except Problem:
        return b""


def _parsed(data: bytes) -> dict[str, object]:
    """Empty where launchd could not read it either."""
    import plistlib  # only where one of our names stands in it
    from xml.parsers.expat import ExpatError

    try:
        found = plistlib.loads(data)
    except (ValueError, ExpatError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}
    return found if is_object(found) else {}


def _set_by(agent: dict[str, object]) -> Iterator[tuple[str, str]]:
    """What its program sets with launchctl: itself, or as commands of a shell."""
    words = agent.get("ProgramArguments")
    arguments = [str(word) for word in words] if is_list(words) else []
    yield from _pairs(arguments)
    for script in arguments[1:] if os.path.basename(arguments[0] if arguments else "") in ("sh", "bash", "zsh") else ():
        for line in script.replace("&&", ";").replace("\n", ";").split(";"):
            try:
                yield from _pairs(shlex.split(line))
            except ValueError:  # a quote that is not closed
                continue


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    if len(words) > 3 and os.path.basename(words[0]) == "launchctl" and words[1] == "setenv":
        yield from zip(words[2::2], words[3::2])
