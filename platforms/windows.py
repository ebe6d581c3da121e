r"""Windows: variables live in the registry, and every new program gets the system's, the user's over them.

That of the user's PATH is what ccremedy edits; `cmd`, PowerShell and Git Bash all start from it, so there is no
start-up file that would have to say it too. The folders of the system come first, whatever a user does.
"""

from __future__ import annotations

import os

from ccremedy import Adapter, Facts, Machine, Problem, files, want
from ccremedy.errors import UNSUPPORTED
from ccremedy.machine import Details, Running
from ccremedy.shells import bash_files, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ccremedy import Change

# Where only an administrator may write. Not PATH: a folder of the user's, or the working directory, comes before.
_TRUSTED = {
    "cmd.exe": ("/Windows/System32",),
    "wsl.exe": ("/Windows/System32", "/Program Files/WSL"),
    "powershell.exe": ("/Windows/System32/WindowsPowerShell/v1.0",),
    "pwsh.exe": ("/Program Files/PowerShell/7",),
    "git.exe": ("/Program Files/Git/cmd", "/Program Files (x86)/Git/cmd"),
    "bash.exe": ("/Program Files/Git/bin", "/Program Files (x86)/Git/bin"),
}
_SHELLS = {"cmd": "cmd.exe", "powershell": "powershell.exe", "pwsh": "pwsh.exe", "bash": "bash.exe"}
_PATHEXT = ".COM;.EXE;.BAT;.CMD"
_PROFILES = ("profile.ps1", "Microsoft.PowerShell_profile.ps1", "Microsoft.VSCode_profile.ps1")


class Windows(Adapter):
    name = "windows"
    separator = ";"
    home = "USERPROFILE"
    editor = "windows"
    managed = "/Program Files/ClaudeCode"
    has_modes = False
    has_trust_store = True
    has_bundles = False
    asks_to_end = False

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "win32" else 0

    def state_folder(self, facts: Facts) -> str:
        return os.path.join(_folder(facts, "LOCALAPPDATA", "AppData", "Local"), "ccremedy")

    def config_folder(self, facts: Facts) -> str:
        return _folder(facts, "APPDATA", "AppData", "Roaming")

    def documents_folder(self, machine: Machine) -> str:
        """OneDrive and administrators move them."""
        from ccremedy import hive  # here and below: other platforms, which import this module too, need it nowhere

        key = machine.facts.key(rf"{hive.USER}\Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders")
        moved = hive.expanded(hive.text(key, "Personal"), machine.env)
        return os.path.normpath(moved) if os.path.isabs(moved) else super().documents_folder(machine)

    def file_names(self, facts: Facts, program: str) -> tuple[str, ...]:
        if os.path.splitext(program)[1]:
            return (program,)
        known = facts.env.get("PATHEXT") or _PATHEXT
        return tuple(program + each.strip().lower() for each in known.split(";") if each.strip())

    def trusted(self, facts: Facts, program: str) -> str:
        name = program if program.endswith(".exe") else f"{program}.exe"
        paths = (os.path.join(facts.under(folder), name) for folder in _TRUSTED.get(name, ()))
        return next((path for path in paths if files.executable(path)), "")

    def shells(self, facts: Facts) -> dict[str, str]:
        found = ((name, self.trusted(facts, program)) for name, program in _SHELLS.items())
        return {name: program for name, program in found if program}

    def shell_command(self, facts: Facts, command: str) -> Sequence[str] | str:
        # As node and Bun do it. /s: the outer quotes go and nothing else; /d: no AutoRun of anybody's.
        return f'"{self.trusted(facts, "cmd.exe")}" /d /s /c "{command}"'

    def quote(self, word: str) -> str:
        return quote("either", word)  # Git Bash may be what runs it

    def new_environment(self, machine: Machine) -> Mapping[str, str]:
        from ccremedy import hive

        facts = machine.facts
        system, user = facts.key(hive.SYSTEM_ENVIRONMENT), facts.key(hive.ENVIRONMENT)
        return hive.environment(facts.env, system, user)

    def environment_keys(self, facts: Facts) -> tuple[str, ...]:
        from ccremedy import hive

        return (facts.key(hive.ENVIRONMENT),)

    def first_path(self, machine: Machine) -> list[str]:
        from ccremedy import hive

        path = hive.text(machine.facts.key(hive.SYSTEM_ENVIRONMENT), "Path")
        return machine.search_path({"PATH": hive.expanded(path, machine.env)})

    def authorities(self, facts: Facts) -> str:
        from . import _internet

        return _internet.authorities()

    def proxies(self, machine: Machine) -> Iterator[tuple[str, str]]:
        from . import _internet

        return _internet.proxies(machine)

    def policies(self, facts: Facts) -> tuple[dict[str, str], dict[str, str]]:
        """The machine's outranks the files of managed settings, the user's counts below them."""
        from ccremedy import hive

        keys = (facts.key(rf"{top}\SOFTWARE\Policies\ClaudeCode") for top in (hive.SYSTEM, hive.USER))
        above, below = ({rf"{key}\Settings": text} if (text := hive.text(key, "Settings")) else {} for key in keys)
        return above, below

    def persist_path(
        self, machine: Machine, name: str, folder: str, expect: str, behind: Sequence[str] = ()
    ) -> Iterator[Change]:
        from ccremedy import Segment

        for mark, what in ((";", "a semicolon"), ("%", "a percent sign"), ('"', "a quotation mark")):
            if mark in folder:
                what = f"has {what} in its name, so it cannot stand on PATH"
                todo = "What is to be found there has to go into a folder of another name"
                raise Problem(what, where=folder, todo=todo, code=UNSUPPORTED)
        by_hand = f"Add {folder} to the Path of your account: Settings, “Edit environment variables for your account”"
        for key in self.environment_keys(machine.facts):
            changes = want(Segment(key, "Path", folder), folder, by_hand=by_hand, expects=(expect,))
            yield from (change for change in changes if not change.before)  # it may stand there in another spelling

    def persist_variables(self, machine: Machine, name: str, values: Mapping[str, str]) -> Iterator[Change]:
        from ccremedy import Value, hive

        for key in self.environment_keys(machine.facts):
            for variable, text in values.items():
                by_hand = f"Set {variable} to {text} in the environment variables of your account"
                spelled = hive.spelled(1, hive.as_data(text))
                yield from want(Value(key, variable), spelled, by_hand=by_hand, expects=(f"env {variable}={text}",))

    def start_up_files(self, machine: Machine) -> list[tuple[str, str]]:
        """Git Bash's, in the home directory, and PowerShell's (5.1 and 7), wherever the documents are."""
        documents = self.documents_folder(machine)
        folders = [os.path.join(documents, name) for name in ("WindowsPowerShell", "PowerShell")]
        found = [(os.path.join(folder, name), "powershell") for folder in folders for name in _PROFILES]
        return [*((path, "sh") for path in bash_files(machine)), *found]

    def processes(self, facts: Facts) -> Iterator[Running]:
        """The start is in hundreds of nanoseconds since 1601, which is what Claude Code writes here (2.1.330)."""
        from ccremedy import processes

        from . import _processes

        for pid, parent, name in processes.listing():
            start = processes.started(pid)
            if start:
                used, age = processes.use(pid)
                yield Running(pid, start, name, parent, _processes.UNKNOWN, used, age)

    def details(self, facts: Facts, pid: int) -> Details:
        from . import _processes

        return _processes.details(pid)

    def is_desktop_app(self, path: str) -> bool:
        """From the Store, or from its own installer; not the Claude Code that it brings along for itself.

        The last of these folders is a guess, which can only leave a program alone.
        """
        plain = path.replace("\\", "/").lower()
        return any(mark in plain for mark in ("/windowsapps/claude_", "/anthropicclaude/", "/programs/claude/"))

    def reported_variables(self, machine: Machine, name: str) -> Iterator[tuple[str, str]]:
        from ccremedy import hive

        key = machine.facts.key(hive.SYSTEM_ENVIRONMENT)
        if text := hive.text(key, name):
            yield text, f"{key}, which every user of this computer can read"

    def gone(self, process: Running, running: Mapping[int, Running]) -> bool:
        """Windows leaves the number of a parent that has ended, and may give it to a process that came later."""
        parent = running.get(process.parent)
        return parent is None or int(parent.start) > int(process.start)


def _folder(facts: Facts, name: str, *parts: str) -> str:
    set_to = facts.env.get(name, "")
    return set_to if os.path.isabs(set_to) else os.path.join(facts.env.get("USERPROFILE", ""), *parts)
