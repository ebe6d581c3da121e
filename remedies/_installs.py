"""Every Claude Code that is installed here, how it came there, and whether it could start. Nothing is started.

An installer may report success without having written a program, so the file behind each launcher is looked at, too.
Claude Desktop, which has a program of the same name, is another product; it is only told so that it can be named.
"""

from __future__ import annotations

import json
import os
import re

from ccremedy import Machine, Problem, files, knowledge
from ccremedy.errors import Unreadable
from ccremedy.record import dataclass

from . import _node, _npm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DESKTOP = "Claude Desktop"
_SYSTEMS = {"linux": "Linux", "wsl": "Linux", "macos": "macOS", "windows": "Windows"}
_PACKAGE = ("node_modules", "@anthropic-ai", "claude-code")


@dataclass(frozen=True)
class Install:
    """One launcher, the file that it comes down to, and what is wrong with it, as the end of a sentence ('': nothing).

    `passed_over`: a shell that looks for it goes on to the next folder.
    """

    path: str
    method: str
    target: str
    fault: str = ""
    passed_over: bool = False

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    def __str__(self) -> str:
        return f"{self.path} ({self.method})"


def terminal_path(machine: Machine) -> list[str]:
    """The PATH of a new terminal: the registry's, or ours, to which start-up files have added."""
    registered = machine.adapter.environment_keys(machine.facts)
    return machine.search_path(machine.adapter.new_environment(machine) if registered else None)


def holds(path: list[str], folder: str) -> bool:
    """Whether the folder is among these. With a blank behind its name an entry is another one, but not by itself."""
    return any(files.same(os.path.join(each, ""), os.path.join(folder, "")) for each in path)


def on_path(machine: Machine, folders: list[str]) -> list[Install]:
    """What is called claude in these folders, in their order. A claude of the Windows around a WSL is not ours."""
    methods = {_identity(path): method for method, path in reversed(list(_places(machine))) if "\0" not in path}
    found = (_first(machine, folder) for folder in dict.fromkeys(folders))
    return [
        look(machine, path, methods.get(_identity(path), "")) for path in found if path and not machine.is_windows(path)
    ]


def elsewhere(machine: Machine, known: list[Install]) -> list[Install]:
    """Those in the places where installers put them, the best first, without the known ones."""
    seen = {_identity(each.path) for each in known}
    found: list[Install] = []
    for method, path in _places(machine):
        if "\0" in path or _identity(path) in seen:
            continue
        seen.add(_identity(path))
        if files.status(path, follow=False) is not None and not machine.is_windows(path):
            found.append(look(machine, path, method))
    if lost := _lost_launcher(machine):
        found += [lost] if _identity(lost.path) not in {_identity(each.path) for each in [*known, *found]} else []
    return found


def look(machine: Machine, path: str, method: str = "") -> Install:
    target = _behind(path)
    spellings = [each.replace("\\", "/").lower() for each in (path, target)]
    told = (name for name, mark in _data()["methods"] if any(re.search(mark, each) for each in spellings))
    method = next(told, "") or method or "by a way that ccremedy does not know"
    if method == DESKTOP:
        return Install(path, method, target)
    gone = files.reachable(path) is None
    fault = _not_there(path, target) if gone else _fault(machine, path, target, method)
    return Install(path, method, target, fault, gone or not files.executable(path))


def version(machine: Machine, install: Install) -> str:
    """The version, from what lies beside it; '' where nothing tells."""
    if install.method == "native":
        beside = os.path.basename(install.target)
        return beside if numbers(beside) else max(_versions(machine), key=numbers, default="")
    package = _package(install.target)
    data = files.read_start(os.path.join(package, "package.json"), 1 << 16) if package else b""
    found = re.search(rb'"version"\s*:\s*"([0-9.]+)"', data)
    return found[1].decode() if found else ""


def reinstall(machine: Machine, install: Install) -> str:
    """What to type to have it anew."""
    commands = _data()["reinstall"]
    if install.method == "native" and (newest := _sound_version(machine)) and machine.adapter.name != "windows":
        from ccremedy.shells import quote

        return f"ln -sfn {quote('sh', newest)} {quote('sh', install.path)}"
    fallback: str = commands["windows" if machine.adapter.name == "windows" else "posix"]
    return str(commands.get(install.method, fallback))


def _data() -> knowledge.Installs:
    return knowledge.load("installs")


def _family(machine: Machine) -> tuple[str, ...]:
    name = machine.adapter.name
    return ("windows",) if name == "windows" else ("posix", name)


def _filled(machine: Machine, path: str) -> str:
    """Where a place of the data is here; '' where a variable in it is not set."""
    if path.startswith("~/"):
        return os.path.normpath(machine.path(path[2:]))
    if path.startswith("/"):
        return machine.system(path)
    from ccremedy import hive

    known = {name.upper() for name in machine.env}
    is_filled = known.issuperset(re.findall("%([^%]+)%", path))
    return os.path.normpath(hive.expanded(path, machine.env)) if is_filled else ""


def _places(machine: Machine) -> Iterator[tuple[str, str]]:
    """(method, path), the best first."""
    places = [(method, _filled(machine, path)) for family, method, path in _data()["places"]
              if family in _family(machine)]  # fmt: skip
    yield from ((method, path) for method, path in places if path and "of old" not in method)
    if machine.adapter.name != "windows":
        if prefix := _prefix(machine):
            yield "npm", os.path.join(prefix, "bin", "claude")
        for manager in _node.managers(machine):
            if manager.programs:
                yield manager.name, os.path.join(manager.programs, "claude")
    yield from ((method, path) for method, path in places if path and "of old" in method)


def _prefix(machine: Machine) -> str:
    npm = machine.which("npm")
    try:
        return _npm.prefix(machine, npm).folder if npm and not machine.is_windows(npm) else ""
    except Problem:  # npm itself stops at what is set: npm-prefix says so
        return ""


def _first(machine: Machine, folder: str) -> str:
    for name in machine.adapter.file_names(machine.facts, "claude"):
        path = os.path.join(folder, name)
        if files.reachable(path, follow=False) is not None:
            return path
    return ""


def _identity(path: str) -> str:
    """The same for two ways to one launcher, and for the shims that stand for each other on Windows."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), os.path.splitext(name)[0])


def _behind(path: str) -> str:
    """The file behind links, and behind the shim that npm writes on Windows."""
    if os.path.splitext(path)[1].lower() in (".cmd", ".ps1", ".bat"):
        package = os.path.join(os.path.dirname(path), *_PACKAGE)
        try:
            says = json.loads(files.read_start(os.path.join(package, "package.json"), 1 << 16))["bin"]["claude"]
            return os.path.normpath(os.path.join(package, str(says)))
        except (ValueError, KeyError, TypeError):
            mark = b"@anthropic-ai" in files.read_start(path, 1 << 12)
            return package if mark else path
    return os.path.realpath(path)


def _package(target: str) -> str:
    """The folder of npm's package that this file is in, '' where it is in none."""
    mark = os.path.join("", *_PACKAGE, "")
    before, found, _ = target.partition(os.sep + mark)
    return os.path.join(before, *_PACKAGE) if found else ""


def _not_there(path: str, target: str) -> str:
    try:
        files.resolve(path)
    except Unreadable:
        return f"leads to {target}, which is closed to you"
    except Problem as problem:
        return problem.what
    return f"is a link to {target}, which is not there"


def _fault(machine: Machine, path: str, target: str, method: str) -> str:
    lead = "" if target == path else f"leads to {target}, which "
    found = files.status(target)
    if found is None:
        return f"{lead}is not there"
    if files.is_folder(target):
        return f"{lead}is a directory"
    if not found.st_size:
        return f"{lead}is empty (0 bytes)"
    if machine.adapter.has_modes and not files.executable(target):
        return f"{lead}is not executable (mode {found.st_mode & 0o7777:04o})"
    start = files.read_start(target, 1 << 12)
    kind = next((name for name, marks in _data()["programs"].items()
                 if any(start.startswith(bytes.fromhex(mark)) for mark in marks)), "")  # fmt: skip
    if kind and kind != _SYSTEMS[machine.adapter.name]:
        return f"{lead}is a program for {kind}"
    if kind == "Linux" and (loader := _loader(start)) and files.status(machine.system(loader)) is None:
        return f"{lead}is for another processor or C library: it is started by {loader}, which is not here"
    if _data()["placeholder"].encode() in start:
        return f"{lead}only says that npm did not fetch the program itself"
    if kind and found.st_size < _data()["smallest"]:
        return f"{lead}is cut short: {found.st_size} bytes"
    if not kind and method in ("native", "WinGet") and start and not start.startswith(b"#!"):
        return f"{lead}is no program"
    return ""


def _loader(start: bytes) -> str:
    """The program by which Linux starts this one; '' for none, or where its name stands further in (`man 5 elf`)."""

    def number(place: int, size: int) -> int:
        return int.from_bytes(start[place : place + size], "big" if start[5:6] == b"\2" else "little")

    wide = start[4:5] == b"\2"
    heads, place, length = ((32, 8), (8, 8), (32, 8)) if wide else ((28, 4), (4, 4), (16, 4))
    first, size, count = number(*heads), number(54 if wide else 42, 2), number(56 if wide else 44, 2)
    for head in range(first, min(first + size * count, len(start)), size or 1):
        if number(head, 4) == 3:  # PT_INTERP
            begin, much = number(head + place[0], place[1]), number(head + length[0], length[1])
            return start[begin : begin + much].partition(b"\0")[0].decode("utf-8", "replace")
    return ""


# ---- the native installer's versions


def _folder_of_versions(machine: Machine) -> str:
    windows = machine.adapter.name == "windows"
    data = "" if windows else machine.env.get("XDG_DATA_HOME", "")
    if os.path.isabs(data):
        return os.path.join(data, "claude", "versions")
    return _filled(machine, _data()["versions"]["windows" if windows else "posix"])


def _versions(machine: Machine) -> list[str]:
    folder = _folder_of_versions(machine)
    return [name for name in files.names(folder) if numbers(name)] if folder else []


def _sound_version(machine: Machine) -> str:
    """The newest version of the native installer that could start, '' where there is none."""
    folder = _folder_of_versions(machine)
    for name in sorted(_versions(machine), key=numbers, reverse=True):
        path = os.path.join(folder, name)
        if not _fault(machine, path, path, "native"):
            return path
    return ""


def _lost_launcher(machine: Machine) -> Install | None:
    """The native launcher, where an update has left versions without it."""
    if machine.adapter.name == "windows" or not (newest := _sound_version(machine)):
        return None
    path = machine.path(".local", "bin", "claude")
    return Install(path, "native", newest, f"is missing, while {newest} is there", passed_over=True)


def numbers(name: str) -> tuple[int, ...]:
    """The version that a file is named after; () where it is named after none."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(-[\w.]+)?(\.exe)?", name)
    return tuple(map(int, found.groups()[:3])) if found else ()
