"""What Linux, WSL and macOS have in common."""

from __future__ import annotations

import os

from ccremedy import Adapter, Block, Change, Facts, Machine, Problem, want
from ccremedy.errors import UNSUPPORTED
from ccremedy.shells import KNOWN, prepend, profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Never PATH: a folder of the user's, or one that anybody may write to, may stand in it.
_PROGRAMS = ("/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")


class Posix(Adapter):
    def state_folder(self, facts: Facts) -> str:
        """$XDG_STATE_HOME/ccremedy; a relative value counts as unset, as its specification says."""
        base = facts.env.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.join(facts.env.get("HOME", ""), ".local", "state")
        return os.path.join(base, "ccremedy")

    def shells(self, facts: Facts) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in KNOWN:
            for folder in _PROGRAMS:
                program = os.path.join(folder, name)
                if os.access(program, os.X_OK):
                    found.setdefault(name, program)
        return found

    def persist_path(
        self, machine: Machine, name: str, folder: str, expect: str, behind: Sequence[str] = ()
    ) -> Iterator[Change]:
        if ":" in folder or "\n" in folder:
            what = "has a colon or a line end in its name, so it cannot stand on PATH"
            raise Problem(what, where=folder, code=UNSUPPORTED)
        for profile in profiles(machine):
            lines = prepend(profile.shell, folder, machine.windows_folders(), behind)
            block = Block(profile.path, name, profile.shell, profile.role)
            yield from want(block, lines, expects=(expect,))
