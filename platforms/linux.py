"""Linux, and what WSL shares with it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ccremedy import Facts

from . import _posix


class Linux(_posix.Posix):
    name = "linux"

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "linux" else 0

    def processes(self, facts: Facts) -> Iterator[tuple[int, str]]:
        for name in os.listdir(facts.under("/proc")) if os.path.isdir(facts.under("/proc")) else []:
            if name.isdigit():
                # Field 22 of stat; the name in field 2 may hold spaces and brackets, so count from its end.
                fields = facts.text(f"/proc/{name}/stat").rpartition(")")[2].split()
                if len(fields) > 19:
                    yield int(name), fields[19]
