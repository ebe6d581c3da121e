"""Finds remedies and adapters; nobody imports one by name.

The built-in ones are the modules of `ccremedy.remedies` and `ccremedy.platforms` whose names do not start with an
underscore. In an installation these are sub-packages; in a checkout they stand beside `ccremedy/`, and are loaded
from there under the same names, so a bare clone works with nothing installed. Third parties register a `Remedy`
class under the entry-point group `ccremedy.remedies`, its name being the remedy's id.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from ccremedy import files
from ccremedy.errors import UNSUPPORTED, USAGE, Problem
from ccremedy.finding import Remedy
from ccremedy.machine import Adapter, Facts, Machine, own_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypeVar

    Kind = TypeVar("Kind")


def adapter(facts: Facts) -> Adapter:
    """The adapter that claims this machine most firmly. Problem (6) where none does."""
    adapters = [made for module in _modules("platforms") if (made := _derived(module, Adapter)) is not None]
    best = max(adapters, key=lambda each: each.priority(facts))
    if not best.priority(facts):
        raise Problem(f"ccremedy does not know the platform “{facts.system}”", code=UNSUPPORTED)
    return best


def this_machine(options: Mapping[str, bool | str]) -> Machine:
    """The machine, for the user that we run as. Problem (6) where it is unsupported, or its home is not ours."""
    facts = Facts(sys.platform, dict(os.environ), os.path.abspath(os.sep), files.working_folder(), program())
    found = adapter(facts)
    if found.unsupported:
        raise Problem(found.unsupported, where=found.name, code=UNSUPPORTED)
    return Machine(own_home(facts.env, found.home), found, facts, found.shells(facts), options)


def program() -> tuple[str, ...]:
    """The words that start this ccremedy again, from wherever and with whatever PATH."""
    started = os.path.abspath(sys.argv[0])
    for path in (started, f"{started}.exe"):  # on Windows the script takes that ending off
        if os.path.splitext(os.path.basename(path))[0] == "ccremedy" and files.executable(path):
            return (path,)
    # From a clone, with nothing taken from the directory that it is started in: that may be anybody's project.
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = "sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]"
    return (sys.executable, "-c", f"import sys; {path}; from ccremedy.cli import main; sys.exit(main())", home)


def remedies() -> dict[str, Remedy]:
    """Every remedy by its id, in the order of the ids."""
    found: dict[str, Remedy] = {}
    for module in _modules("remedies"):
        remedy = _derived(module, Remedy)
        if remedy is not None:
            remedy.id = module.__name__.rpartition(".")[2].replace("_", "-")
            found[remedy.id] = remedy
    for name, remedy in _third_party():
        remedy.id = name
        found.setdefault(name, remedy)
    return dict(sorted(found.items()))


def remedy(name: str) -> Remedy:
    """The remedy of this id. Problem (2), with the nearest ids, where there is none."""
    known = remedies()
    if name not in known:
        raise Problem(f"there is no remedy “{name}”", todo=suggest(name, known), code=USAGE)
    return known[name]


def suggest(word: str, known: dict[str, object] | list[str] | dict[str, Remedy]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=2)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}"


def _modules(family: str) -> Iterator[ModuleType]:
    package = _package(family)
    for folder in package.__path__:
        for name in files.names(folder):
            if name.endswith(".py") and not name.startswith("_"):
                yield _import(f"{package.__name__}.{name[:-3]}")


def _package(family: str) -> ModuleType:
    here, name = os.path.dirname(os.path.abspath(__file__)), f"ccremedy.{family}"
    beside = os.path.join(os.path.dirname(here), family)
    if name not in sys.modules and not files.is_folder(os.path.join(here, family)) and files.is_folder(beside):
        sys.modules[name] = package = ModuleType(name)  # a checkout
        package.__path__ = [beside]
    return _import(name)


def _import(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _derived(module: ModuleType, base: type[Kind]) -> Kind | None:
    """An instance of the one class in `module` that derives from `base`."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__:
            return value()
    return None


def _third_party() -> Iterator[tuple[str, Remedy]]:
    """Remedies of other distributions. Looked for without `importlib.metadata`, unless there are any (50 ms)."""
    mark = b"[ccremedy.remedies]"
    for folder in sys.path:
        for name in files.names(folder) if os.path.isabs(folder) and os.path.isdir(folder) else []:
            entry_points = os.path.join(folder, name, "entry_points.txt")
            if name.endswith((".dist-info", ".egg-info")) and mark in files.read_start(entry_points, 1 << 16):
                break
        else:
            continue
        break
    else:
        return
    from importlib.metadata import entry_points as all_entry_points

    for point in all_entry_points(group="ccremedy.remedies"):
        try:
            made = point.load()()
        except Exception as error:  # noqa: BLE001 - somebody else's bug must not take our own remedies down
            print(f"ccremedy: remedy “{point.name}” of another package does not load: {error}", file=sys.stderr)
            continue
        if isinstance(made, Remedy):
            yield point.name, made
