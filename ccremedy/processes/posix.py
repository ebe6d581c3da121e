"""Groups of processes, as Linux and macOS have them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Group(TypedDict):
        start_new_session: bool


GROUP: Group = {"start_new_session": True}


def hold_together(process: subprocess.Popen[bytes]) -> None:
    """It leads a group, and what it starts belongs to that."""


def kill_together(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        os.killpg(process.pid, signal.SIGKILL)
