"""What a remedy is and what it says.

A remedy has one method, `diagnose`: it asks the machine and yields findings, each with the changes that would mend it.
It has no apply and no undo of its own, so it cannot get them wrong. Dry run is diagnose, verify is diagnose again.
"""

from __future__ import annotations

from ccremedy.errors import Problem
from ccremedy.record import dataclass, replace
from ccremedy.resources import Change, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ccremedy.machine import Machine

RISKS = ("low", "medium", "high", "manual")  # local and reversible; user-visible state; its own yes; a person must


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a sentence, what shows it, what would mend it, and what only a person can do.

    Changes are independent of each other as far as a person may decline one; they are made in order.
    """

    id: str
    title: str
    evidence: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    severity: str = "error"  # or "warning", "info"
    risk: str = "low"
    together: bool = False  # one yes for all of its changes: none means anything without the others
    remedy: str = ""  # filled in by the engine


@dataclass(frozen=True)
class Healthy:
    """Nothing to do here, and why."""

    reason: str


@dataclass(frozen=True)
class Option:
    """What `apply`, `plan` and `diagnose` offer for one remedy: a switch (`--full`), or a value (`--proxy URL`)."""

    name: str
    help: str
    value: str = ""  # what it takes, as the help calls it


class Remedy:
    """Derive from this in `remedies/NAME.py`; the id is the file's name with dashes."""

    id = ""
    title = ""
    symptoms: tuple[str, ...] = ()  # what the user sees, word for word: `show` prints it
    platforms: frozenset[str] = frozenset({"linux", "wsl", "macos", "windows"})
    unsupported = "has no meaning on this platform"
    options: tuple[Option, ...] = ()

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        """Pure. Yields at least one of the two. Problem where it cannot be told."""
        raise NotImplementedError


def want(
    resource: Resource, value: str, *, by_hand: str = "", refused: str = "", expects: tuple[str, ...] = ()
) -> Iterator[Change]:
    """The change that gives `resource` this value, if it has another; with the reason where we must not make it."""
    change = Change(resource, None, value, by_hand=by_hand or value.strip(), expects=expects)
    try:
        now = resource.read()
    except Problem as problem:  # a directory in its place, a damaged block
        what = problem.what
        if problem.where != resource.path:  # something else stands in the way: the store, a package
            what = "cannot be done: " + f"{problem.where} {what}".strip()
        yield replace(change, refused=refused or f"{what}. {problem.todo}".rstrip(". "))
        return
    if now != value:
        refused = refused or resource.obstacle()
        folders = () if refused else resource.folders(value)
        yield replace(change, before=now, refused=refused, folders=folders)
