"""Processes where there is no /proc: macOS and Windows, by psutil.

A process that ends while it is looked at, or that is closed to us, tells less; it never ends the scan.
"""

from __future__ import annotations

import time

from ccremedy import Problem
from ccremedy.errors import UNSUPPORTED
from ccremedy.machine import Details, Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    Answer = TypeVar("Answer")

UNKNOWN = "unknown"  # a terminal: who cannot be asked for one is not taken to have lost it


def processes() -> Iterator[Running]:
    """Every process that runs, but for zombies and those that do not even tell when they were started."""
    now = time.time()
    psutil = _psutil()
    for process in psutil.process_iter():
        with process.oneshot():
            started = _ask(process.create_time, 0.0)
            if started and _ask(process.status, "") != psutil.STATUS_ZOMBIE:
                spent = _ask(process.cpu_times, None)  # of other users' processes macOS does not tell
                yield Running(
                    pid=process.pid,
                    start=f"{started:.2f}",
                    name=_ask(process.name, ""),
                    parent=_ask(process.ppid, 0),
                    terminal=_terminal(process),
                    cpu=spent.user + spent.system if spent else 0.0,
                    age=max(now - started, 0.0),
                )


def details(pid: int) -> Details:
    psutil = _psutil()
    try:
        process = psutil.Process(pid)
        ours = process.username() == psutil.Process().username()
    except (psutil.Error, OSError, KeyError):
        return Details(False, "", (), {}, "", "")
    return Details(
        ours=ours,
        program=_ask(process.exe, ""),
        arguments=tuple(_ask(process.cmdline, list[str]())),
        env=_ask(process.environ, dict[str, str]()),
        folder=_ask(process.cwd, ""),
        space="",  # neither system has namespaces of process numbers
    )


def _ask(question: Callable[[], Answer | None], otherwise: Answer) -> Answer:
    try:
        answer = question()
    except (_psutil().Error, OSError, ValueError, SystemError):  # also WinError 87, and what its C code makes of a race
        return otherwise
    return otherwise if answer is None else answer


def _terminal(process: Any) -> str:
    ask: Callable[[], str | None] | None = getattr(process, "terminal", None)
    if ask is None:
        return UNKNOWN
    try:
        return (ask() or "").removeprefix("/dev/")
    except (_psutil().Error, OSError):
        return UNKNOWN


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        todo = "python3 -m pip install psutil"
        raise Problem("psutil is needed to see which processes run here", todo=todo, code=UNSUPPORTED) from None
    return psutil
