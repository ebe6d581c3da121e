"""macOS, by Apple's documentation and by what others report: ccremedy's authors have no Mac to run it on.

Every program that is asked is one that Apple keeps where not even root writes. Homebrew's folders belong to the user:
shells are taken from there, because the user's terminal starts them, and nothing else is.
"""

from __future__ import annotations

import os
import sys

from ccremedy import Change, Facts, Machine, files
from ccremedy.machine import Details, Login, Running
from ccremedy.shells import quote

from . import _posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SYSTEM = ("/bin", "/usr/bin", "/sbin", "/usr/sbin")
_HOMEBREW = ("/opt/homebrew/bin", "/usr/local/bin")  # of Apple's processors, and of Intel's
# What is in /usr/bin under these names asks in a window to have them installed where they are not.
_STAND_INS = {"git": "/Library/Developer/CommandLineTools/usr/bin"}
# path_helper, which /etc/zprofile and /etc/profile run, puts these ahead of what a login shell has inherited: below
# tmux, say, whose windows are login shells again.
_MOVED_AHEAD = ("/usr/local/bin", "/usr/bin")
# env knows -0 since macOS 13 only, and this Python is here, unless it is packed into ccremedy.
_PYTHON = "" if getattr(sys, "frozen", False) else sys.executable
_LIST_ENVIRONMENT = (
    f"{quote('sh', _PYTHON)} -I -S -c 'import os, sys; sys.stdout.buffer.write("
    'b"".join(name + b"=" + value + bytes(1) for name, value in os.environb.items()))\''
    if _PYTHON
    else _posix.Posix.list_environment
)


class Macos(_posix.Posix):
    name = "macos"
    editor = "osx"
    managed = "/Library/Application Support/ClaudeCode"
    has_trust_store = True
    knows_starts = False
    new_path = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
    list_environment = _LIST_ENVIRONMENT

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "darwin" else 0

    def state_folder(self, facts: Facts) -> str:
        """Where macOS wants it, unless $XDG_STATE_HOME says otherwise."""
        if os.path.isabs(facts.env.get("XDG_STATE_HOME", "")):
            return super().state_folder(facts)
        return os.path.join(self.config_folder(facts), "ccremedy")

    def config_folder(self, facts: Facts) -> str:
        return os.path.join(facts.env.get("HOME", ""), "Library", "Application Support")

    def profiles_folder(self, facts: Facts) -> str:
        return os.path.join(facts.env.get("HOME", ""), ".config", "anthropic")

    def trusted(self, facts: Facts, program: str) -> str:
        folders = (_STAND_INS[program],) if program in _STAND_INS else _SYSTEM
        return _first(facts, folders, program)

    def shells(self, facts: Facts) -> dict[str, str]:
        """bash, zsh and fish. Homebrew's bash where a terminal starts that one: it is newer by far than Apple's 3.2."""
        found = {name: _first(facts, (*_SYSTEM, *_HOMEBREW), name) for name in ("bash", "zsh", "fish")}
        chosen = facts.env.get("SHELL", "")
        if os.path.basename(chosen) in found and os.path.dirname(chosen) in map(facts.under, _HOMEBREW):
            found[os.path.basename(chosen)] = chosen if files.executable(chosen) else found[os.path.basename(chosen)]
        return {name: program for name, program in found.items() if program}

    def persist_path(
        self, machine: Machine, name: str, folder: str, expect: str, behind: Sequence[str] = ()
    ) -> Iterator[Change]:
        """In ~/.zprofile and ~/.bash_profile, which are read after path_helper has run, and where the others go."""
        yield from super().persist_path(machine, name, folder, expect, (*behind, *_MOVED_AHEAD))

    def new_environment(self, machine: Machine) -> Mapping[str, str]:
        """What a program has that is started from the Dock: no start-up file, but what agents have set."""
        from . import _launchd

        kept = {name: machine.env[name] for name in ("HOME", "USER", "LOGNAME", "SHELL") if name in machine.env}
        agents = {name: value for name, value, _ in _launchd.variables(machine)}
        return {"PATH": ":".join(self.new_path), **kept, **agents}

    def reported_variables(self, machine: Machine, name: str) -> Iterator[tuple[str, str]]:
        from . import _launchd

        yield from _launchd.given(machine, name)

    def logins(self, machine: Machine, thorough: bool = False) -> Iterator[Login]:
        from . import _keychain

        yield from _keychain.logins(machine, self.trusted(machine.facts, "security"), thorough)

    def authorities(self, facts: Facts) -> str:
        from . import _keychain

        return _keychain.authorities(facts.env, self.trusted(facts, "security"))

    def is_desktop_app(self, path: str) -> bool:
        """Names on a Mac's disk differ by letter case only to the eye, so its `Claude` is found as `claude`."""
        return "/applications/claude.app/" in os.path.realpath(path).lower()

    def processes(self, facts: Facts) -> Iterator[Running]:
        from . import _processes

        return _processes.processes()

    def details(self, facts: Facts, pid: int) -> Details:
        from . import _processes

        return _processes.details(pid)


def _first(facts: Facts, folders: Sequence[str], program: str) -> str:
    paths = (os.path.join(facts.under(folder), program) for folder in folders)
    return next((path for path in paths if files.executable(path)), "")
