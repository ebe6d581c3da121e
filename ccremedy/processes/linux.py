"""Linux: a process is held by its pidfd, and /proc tells what it is."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys

assert sys.platform == "linux"

from ccremedy import files
from ccremedy.processes.posix import GROUP, hold_together, kill_together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccremedy.processes import Held

__all__ = ["GROUP", "facts", "hold", "hold_together", "kill_together", "parent"]


def hold(pid: int) -> Held:
    try:
        return Pidfd(os.pidfd_open(pid))
    except (AttributeError, OSError) as error:
        number = getattr(error, "errno", errno.ENOSYS)
        if number in (errno.EINVAL, errno.ENOENT):  # it is the number of a thread now
            raise ProcessLookupError from None
        if number not in (errno.ENOSYS, errno.EPERM):  # EPERM: a container that does not know the call
            raise
    from ccremedy.processes import numbered  # a kernel before 5.3, or WSL 1

    return numbered.hold(pid)


class Pidfd:
    """A process itself, as Linux hands it out since 5.3."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def has_number(self, pid: int) -> bool:
        """Whether it has not been reaped, so that all of /proc/<pid> was its own until now."""
        return f"\nPid:\t{pid}\n".encode() in files.read_start(f"/proc/self/fdinfo/{self.handle}", 4096)

    def ask(self) -> bool:
        signal.pidfd_send_signal(self.handle, signal.SIGTERM)
        return True

    def kill(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def ends(self, seconds: float) -> bool:
        watch = select.poll()
        watch.register(self.handle, select.POLLIN)
        return bool(watch.poll(seconds * 1000))

    def close(self) -> None:
        os.close(self.handle)


def facts(pid: int) -> tuple[str, bool]:
    lines = files.read_start(f"/proc/{pid}/status", 1 << 14).decode("utf-8", "replace").splitlines()
    users = {int(user) for line in lines if line.startswith("Uid:") for user in line.split()[1:]}
    fields = _stat(pid)
    return (fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""), users == {os.geteuid()}


def parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def _stat(pid: int) -> list[str]:
    """The third and later fields of /proc/<pid>/stat: the name before them may hold blanks and brackets."""
    return files.read_start(f"/proc/{pid}/stat", 4096).decode("utf-8", "replace").rpartition(")")[2].split()
