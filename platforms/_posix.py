"""What Linux, WSL and macOS have in common."""

from __future__ import annotations

import os

from ccremedy import Adapter, Block, Change, Facts, Machine, Problem, want
from ccremedy.errors import UNSUPPORTED
from ccremedy.shells import KNOWN, export, prepend, profiles, quote, start_up_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Never PATH: a folder of the user's, or one that anybody may write to, may stand in it.
_PROGRAMS = ("/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")


class Posix(Adapter):
    def state_folder(self, facts: Facts) -> str:
        """$XDG_STATE_HOME/ccremedy; a relative value counts as unset, as its specification says."""
        base = facts.env.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.join(facts.env.get("HOME", ""), ".local", "state")
        return os.path.join(base, "ccremedy")

    def config_folder(self, facts: Facts) -> str:
        return os.path.join(facts.env.get("HOME", ""), ".config")

    def trusted(self, facts: Facts, program: str) -> str:
        paths = (os.path.join(folder, program) for folder in _PROGRAMS)
        return next((path for path in paths if os.access(path, os.X_OK)), "")

    def shell_command(self, facts: Facts, command: str) -> Sequence[str] | str:
        return ("/bin/sh", "-c", command)

    def quote(self, word: str) -> str:
        return quote("sh", word)

    def start_up_files(self, machine: Machine) -> list[tuple[str, str]]:
        return start_up_files(machine)

    def shells(self, facts: Facts) -> dict[str, str]:
        found = ((name, self.trusted(facts, name)) for name in KNOWN)
        return {name: program for name, program in found if program}

    def persist_path(
        self, machine: Machine, name: str, folder: str, expect: str, behind: Sequence[str] = ()
    ) -> Iterator[Change]:
        if ":" in folder or "\n" in folder:
            what = "has a colon or a line end in its name, so it cannot stand on PATH"
            raise Problem(what, where=folder, code=UNSUPPORTED)
        expects = (expect, ":".join((f"ahead {folder}", *behind))) if behind else (expect,)
        for profile in profiles(machine):
            lines = prepend(profile.shell, folder, machine.windows_folders(), behind)
            block = Block(profile.path, name, profile.shell, profile.role)
            yield from want(block, lines, expects=expects)

    def persist_variables(self, machine: Machine, name: str, values: Mapping[str, str]) -> Iterator[Change]:
        for profile in profiles(machine) if values else []:
            body = "".join(export(profile.shell, variable, value) for variable, value in values.items())
            expects = tuple(f"env {variable}={value}" for variable, value in values.items())
            yield from want(Block(profile.path, name, profile.shell, profile.role), body, expects=expects)
