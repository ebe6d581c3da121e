"""A process by its number and start time, where nothing better is to be had (macOS, old Linux kernels): psutil tells.

It is looked at right before each signal, which leaves a gap.
"""

from __future__ import annotations

import os
import sys

assert sys.platform != "win32"

from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.processes.posix import GROUP, hold_together, kill_together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ccremedy.processes import Held

__all__ = ["GROUP", "facts", "hold", "hold_together", "kill_together", "parent"]


def hold(pid: int) -> Held:
    return Numbered(pid)


class Numbered:
    def __init__(self, pid: int) -> None:
        psutil = _psutil()
        self.gone, self.late = psutil.NoSuchProcess, psutil.TimeoutExpired
        try:
            self.process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            raise ProcessLookupError from None

    def has_number(self, pid: int) -> bool:
        return bool(self.process.is_running())

    def ask(self) -> bool:
        self._send(self.process.terminate)
        return True

    def kill(self) -> None:
        self._send(self.process.kill)

    def _send(self, send: object) -> None:
        assert callable(send)
        try:
            send()
        except self.gone:
            raise ProcessLookupError from None

    def ends(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except self.late:
            return str(self.process.status()) == "zombie"
        return True

    def close(self) -> None:
        pass


def facts(pid: int) -> tuple[str, bool]:
    psutil = _psutil()
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return "", False
        return f"{process.create_time():.2f}", set(process.uids()) == {os.geteuid()}
    except psutil.Error:
        return "", False


def parent(pid: int) -> int:
    psutil = _psutil()
    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:
        return 0


def _psutil() -> ModuleType:
    try:
        import psutil
    except ImportError:
        todo = "python3 -m pip install psutil"
        raise Problem("psutil is needed to stop a process here", todo=todo, code=UNSUPPORTED) from None
    found: ModuleType = psutil
    return found
