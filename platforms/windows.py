"""Windows: recognised, so that ccremedy can say that it does not work there yet; how its environment is read and kept.

A program that is started anew gets its variables from two keys of the registry, not from what we have now.
"""

from __future__ import annotations

import os

from ccremedy import Adapter, Facts, Machine, Problem, want
from ccremedy.errors import UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ccremedy import Change


class Windows(Adapter):
    name = "windows"
    unsupported = "not yet supported by this version of ccremedy"
    separator = ";"
    home = "USERPROFILE"
    editor = "windows"
    managed = "/Program Files/ClaudeCode"
    has_modes = False

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "win32" else 0

    def state_folder(self, facts: Facts) -> str:
        return os.path.join(facts.env.get("LOCALAPPDATA", ""), "ccremedy")

    def config_folder(self, facts: Facts) -> str:
        return facts.env.get("APPDATA", "")

    def file_names(self, facts: Facts, program: str) -> tuple[str, ...]:
        ends = facts.env.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(";")
        if any(program.lower().endswith(end.lower()) for end in ends if end):
            return (program,)
        return tuple(dict.fromkeys(program + each for end in ends if end for each in (end.lower(), end)))

    def trusted(self, facts: Facts, program: str) -> str:
        path = facts.under(f"/Windows/System32/{program}")
        return path if os.access(path, os.X_OK) else ""

    def shells(self, facts: Facts) -> dict[str, str]:
        return {}

    def start_up_files(self, machine: Machine) -> list[tuple[str, str]]:
        return []

    def new_environment(self, machine: Machine) -> Mapping[str, str]:
        from ccremedy import hive

        key = machine.facts.key
        return hive.environment(machine.env, key(hive.SYSTEM_ENVIRONMENT), key(hive.ENVIRONMENT))

    def environment_keys(self, facts: Facts) -> tuple[str, ...]:
        from ccremedy import hive

        return (facts.key(hive.ENVIRONMENT),)

    def persist_path(
        self, machine: Machine, name: str, folder: str, expect: str, behind: Sequence[str] = ()
    ) -> Iterator[Change]:
        from ccremedy import Segment  # brings the registry along, which other platforms need not have

        if any(character in folder for character in ';%"\n'):
            what = "has a semicolon, a percent sign or a quote in its name, so it cannot stand on PATH"
            raise Problem(what, where=folder, code=UNSUPPORTED)
        for key in self.environment_keys(machine.facts):
            changes = want(Segment(key, "Path", folder), folder, expects=(expect,))
            yield from (change for change in changes if not change.before)  # it may stand there in another spelling

    def persist_variables(self, machine: Machine, name: str, values: Mapping[str, str]) -> Iterator[Change]:
        from ccremedy import Value, hive

        for key in self.environment_keys(machine.facts):
            for variable, value in values.items():
                yield from want(Value(key, variable), hive.spelled(1, hive.as_data(value)), by_hand=value)
