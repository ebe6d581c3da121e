"""Linux, and what WSL shares with it."""

from __future__ import annotations

import os
import sys

from ccremedy import Facts, Problem, files
from ccremedy.machine import Details, Running

from . import _posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Linux(_posix.Posix):
    name = "linux"

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "linux" else 0

    def processes(self, facts: Facts) -> Iterator[Running]:
        if sys.platform == "win32":
            return
        second = os.sysconf("SC_CLK_TCK")  # in the kernel's ticks
        up = float((facts.text("/proc/uptime").split() or ["0"])[0])
        for pid in files.names(facts.under("/proc")):
            if pid.isdigit():
                # The name in field 2 of stat may hold spaces and brackets, so the others are counted from its end.
                start, _, end = facts.text(f"/proc/{pid}/stat").rpartition(")")
                fields = end.split()
                if len(fields) > 19 and fields[0] not in "ZX":
                    cpu, since = (int(fields[11]) + int(fields[12])) / second, int(fields[19]) / second
                    terminal = _terminal(int(fields[4]))
                    name, parent = start.partition("(")[2], int(fields[1])
                    yield Running(int(pid), fields[19], name, parent, terminal, cpu, max(up - since, 0.0))

    def own_pid(self, facts: Facts) -> int:
        name = os.path.basename(os.path.realpath(facts.under("/proc/self")))
        return int(name) if name.isdigit() else 0

    def domain(self, facts: Facts, space: str) -> str:
        return f"linux:{facts.text('/etc/machine-id').strip()}:{space}"

    def details(self, facts: Facts, pid: int) -> Details:
        place = facts.under(f"/proc/{pid}")
        try:
            environ = (files.read(f"{place}/environ") or b"").decode("utf-8", "surrogateescape")
        except Problem:
            environ = ""
        return Details(
            ours=files.status(place) is not None and files.belongs_to_us(place),
            program=_link(f"{place}/exe"),
            arguments=tuple(facts.text(f"/proc/{pid}/cmdline").split("\0")[:-1]),
            env=dict(entry.split("=", 1) for entry in environ.split("\0") if "=" in entry),
            folder=_link(f"{place}/cwd").removesuffix(" (deleted)"),
            space=_link(f"{place}/ns/pid"),
        )


def _terminal(number: int) -> str:
    """The name of a device number of field 7 of stat; '' for none. (Linux' devices.txt: 136 and on are pts)"""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"tty {major}:{minor}" if number else ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it has ended, or is closed to us
        return ""
