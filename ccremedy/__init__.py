"""ccremedy: find out why a Claude Code installation is broken, mend it, prove it, take it back.

The names below are all that a remedy or an adapter may use. They are fetched on first use, so that
`ccremedy --version` pays for none of them.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccremedy.errors import Problem
    from ccremedy.finding import Finding, Healthy, Option, Remedy, want
    from ccremedy.machine import Adapter, Facts, Machine
    from ccremedy.resources import (
        Assignment,
        Block,
        Change,
        Entry,
        Line,
        Location,
        Mode,
        Process,
        Segment,
        Setting,
        Value,
        Whole,
    )

_HOME = {
    "Problem": "errors",
    **dict.fromkeys(("Finding", "Healthy", "Option", "Remedy", "want"), "finding"),
    **dict.fromkeys(("Adapter", "Facts", "Machine"), "machine"),
    **dict.fromkeys(("Change", "Assignment", "Block", "Entry", "Line", "Location", "Mode", "Process"), "resources"),
    **dict.fromkeys(("Segment", "Setting", "Value", "Whole"), "resources"),
}

__all__ = [
    "Adapter",
    "Assignment",
    "Block",
    "Change",
    "Entry",
    "Facts",
    "Finding",
    "Healthy",
    "Line",
    "Location",
    "Machine",
    "Mode",
    "Option",
    "Problem",
    "Process",
    "Remedy",
    "Segment",
    "Setting",
    "Value",
    "Whole",
    "want",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ccremedy' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ccremedy.{_HOME[name]}"), name)
