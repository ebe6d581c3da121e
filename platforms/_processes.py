"""What psutil tells of a process, where the system has no /proc."""

from __future__ import annotations

from ccremedy import Problem
from ccremedy.errors import UNSUPPORTED
from ccremedy.machine import Details


def details(pid: int) -> Details:
    raise NotImplementedError
