"""What can be asked of a machine. Read only: a remedy is only ever handed a Machine.

`registry.this_machine()` is the one that we run on. Tests make others over a scratch `root`, with the same code: only
where the system's own files are looked for (`/proc`, `/etc`, `/usr/bin`), or the keys of the registry, differs.
"""

from __future__ import annotations

import os
import stat

from ccremedy import files
from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.record import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ccremedy.network import Look, Proxy
    from ccremedy.resources import Change


@dataclass(frozen=True)
class Facts:
    """What an adapter recognises its platform by."""

    system: str  # sys.platform
    env: Mapping[str, str]
    root: str  # "/" or, in tests, a directory that stands for it
    cwd: str = ""  # '' where the working directory is gone
    program: tuple[str, ...] = ()  # the words that start this very ccremedy from anywhere
    hives: str = ""  # in tests on Windows: a key of the user's that stands for the registry

    def text(self, path: str) -> str:
        """The text of a system file, '' where there is none."""
        return files.read_start(self.under(path), 1 << 16).decode("utf-8", "replace")

    def under(self, path: str) -> str:
        """Where a path of the system's own is; on Windows `/Windows` is that folder of the drive of the root."""
        return os.path.normpath(os.path.join(self.root, path.lstrip("/")))

    def key(self, path: str) -> str:
        """Where a key of the registry is."""
        return rf"{self.hives}\{path}" if self.hives else path


@dataclass(frozen=True)
class Running:
    """What one look at a process shows."""

    pid: int
    start: str  # in the kernel's own measure
    name: str
    parent: int
    terminal: str  # that it listens to; '' for none, "unknown" where there is no telling
    cpu: float  # seconds of a processor's time that it has used
    age: float  # seconds, when the look at all of them began; 0 where that is not known


@dataclass(frozen=True)
class Login:
    """What a store of the system's holds and lets Claude Code in; or, without a name, why nothing is seen there."""

    name: str
    where: str
    note: str = ""
    todo: str = ""


@dataclass(frozen=True)
class Details:
    """What a closer look shows; empty where it has ended, or is closed to us."""

    ours: bool  # started by the user that we run as
    program: str  # the file that it runs
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    folder: str
    space: str  # which pid namespace it lives in


class Adapter:
    """One platform: its facts, and how an intent becomes changes there. Derive from this in `platforms/NAME.py`."""

    name = ""
    unsupported = ""  # why ccremedy cannot work here; '' where it can
    separator = ":"  # between the folders of PATH
    home = "HOME"  # the variable that names the home directory
    editor = "linux"  # what VS Code calls this platform in the names of its settings
    managed = "/etc/claude-code"  # where an administrator puts settings of Claude Code
    has_modes = True  # whether permission bits say who may read a file
    has_trust_store = False  # whether certificate authorities are kept where no file has them
    has_bundles = True  # whether files hold those that the system trusts
    knows_starts = True  # whether `Running.start` is what Claude Code writes as `procStart`
    asks_to_end = True  # whether a process can be asked to end; otherwise it can only be killed
    new_path: tuple[str, ...] = (  # what a new terminal has on PATH before any start-up file
        "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
    )  # fmt: skip
    list_environment = "/usr/bin/env -0"  # the command line that prints all variables, each with a NUL behind it

    def priority(self, facts: Facts) -> int:
        """0: this is not my platform. The highest number wins."""
        raise NotImplementedError

    def state_folder(self, facts: Facts) -> str:
        raise NotImplementedError

    def config_folder(self, facts: Facts) -> str:
        """Where programs of the desktop (VS Code) keep their settings."""
        raise NotImplementedError

    def documents_folder(self, machine: Machine) -> str:
        """Where the person's documents are."""
        return machine.path("Documents")

    def file_names(self, facts: Facts, program: str) -> tuple[str, ...]:
        """The names of the files that a prompt starts for this word, the best first."""
        return (program,)

    def trusted(self, facts: Facts, program: str) -> str:
        """A program in a folder that only an administrator may write to; '' where there is none. Never by PATH."""
        raise NotImplementedError

    def shell_command(self, facts: Facts, command: str) -> Sequence[str] | str:
        """What Claude Code starts to run a command line that stands in its settings."""
        raise NotImplementedError

    def quote(self, word: str) -> str:
        """One literal word of such a command line."""
        raise NotImplementedError

    def new_environment(self, machine: Machine) -> Mapping[str, str]:
        """What a program has that is started anew, as far as that can be told without starting a shell."""
        return machine.env

    def environment_keys(self, facts: Facts) -> tuple[str, ...]:
        """The keys of the registry whose values are the variables of this user."""
        return ()

    def first_path(self, machine: Machine) -> list[str]:
        """The folders that a new terminal has on PATH before all that this user may put there."""
        return []

    def windows_folders(self, facts: Facts) -> tuple[str, ...]:
        """Where the drives of a Windows around us are mounted."""
        return ()

    def profiles_folder(self, facts: Facts) -> str:
        """Where Anthropic's own tools keep their profiles."""
        return os.path.join(self.config_folder(facts), "anthropic")

    def reported_variables(self, machine: Machine, name: str) -> Iterator[tuple[str, str]]:
        """Each value that this variable is given at a place that we do not edit, and where that is."""
        return iter(())

    def logins(self, machine: Machine, thorough: bool = False) -> Iterator[Login]:
        """What a store of the system's holds of Claude Code's own, without reading it.

        `thorough`: all that can be told; otherwise at most one program is started.
        """
        return iter(())

    def authorities(self, facts: Facts) -> str:
        """Certificate authorities, as PEM, that this system trusts beyond what is in its files."""
        return ""

    def policies(self, facts: Facts) -> tuple[dict[str, str], dict[str, str]]:
        """Managed settings in no file, by where they are: what outranks those in files, and what these outrank."""
        return {}, {}

    def proxies(self, machine: Machine) -> Iterator[tuple[str, str]]:
        """Each proxy in the system's own settings, and where that is; '' for a script that would have to be run."""
        return iter(())

    def is_desktop_app(self, path: str) -> bool:
        """Whether this program is, or belongs to, the desktop application, which is called Claude too."""
        return False

    def shells(self, facts: Facts) -> dict[str, str]:
        """The installed shells that we know, by name, with the program's absolute path."""
        raise NotImplementedError

    def persist_path(
        self, machine: Machine, name: str, folder: str, expect: str, behind: Sequence[str] = ()
    ) -> Iterator[Change]:
        """The changes after which every new shell finds `folder` on its PATH, ahead of Windows' and of `behind`."""
        raise NotImplementedError

    def persist_variables(self, machine: Machine, name: str, values: Mapping[str, str]) -> Iterator[Change]:
        """The changes after which what is started anew has these variables. `name` is that of a block, where one is."""
        raise NotImplementedError

    def start_up_files(self, machine: Machine) -> list[tuple[str, str]]:
        """Every file that a shell or a desktop of this user may set variables in, with its syntax (as `Assignment`)."""
        raise NotImplementedError

    def processes(self, facts: Facts) -> Iterator[Running]:
        """Every process that runs; a zombie does not. The start time is as the platform's Claude Code writes it."""
        raise NotImplementedError

    def details(self, facts: Facts, pid: int) -> Details:
        """What is known of one process; empty where it has ended, or is closed to us."""
        raise NotImplementedError

    def own_pid(self, facts: Facts) -> int:
        """The number of the process that we are."""
        return os.getpid()

    def domain(self, facts: Facts, space: str) -> str:
        """What Claude Code calls the system and namespace in which process numbers mean something; '' if unknown."""
        return ""

    def gone(self, process: Running, running: Mapping[int, Running]) -> bool:
        """Whether the parent has ended; `running` is everything that runs, by its number."""
        return process.parent == 1


def _look(machine: Machine, url: str, proxy: Proxy | None, roots: str, no_proxy: str) -> Look:
    from ccremedy import network  # opens connections; most diagnoses do not

    trusted = roots + machine.adapter.authorities(machine.facts)
    return network.look(url, proxy, trusted, machine.bundles(), no_proxy)


@dataclass(frozen=True)
class Machine:
    home: str
    adapter: Adapter
    facts: Facts
    shells: Mapping[str, str]  # installed shells: name to absolute path
    options: Mapping[str, bool | str] = field(default_factory=dict[str, bool | str])
    network: Callable[[Machine, str, Proxy | None, str, str], Look] = _look

    @property
    def env(self) -> Mapping[str, str]:
        return self.facts.env

    def path(self, *parts: str) -> str:
        """A path below the home directory."""
        return os.path.join(self.home, *parts)

    def system(self, path: str) -> str:
        """A path of the system's own, below the root."""
        return self.facts.under(path)

    def search_path(self, env: Mapping[str, str] | None = None) -> list[str]:
        """The folders of PATH; of this process, or of another environment."""
        path = (self.env if env is None else env).get("PATH", "")
        folders = (folder.strip('"') for folder in path.split(self.adapter.separator))
        return [folder for folder in folders if os.path.isabs(folder)]

    def which(self, program: str, folders: list[str] | None = None) -> str:
        """The first executable of this name on PATH, '' where there is none. Links are not resolved."""
        for folder in self.search_path() if folders is None else folders:
            for name in self.adapter.file_names(self.facts, program):
                candidate = os.path.join(folder, name)
                if files.executable(candidate) and not self.adapter.is_desktop_app(candidate):
                    return candidate
        return ""

    def windows_folders(self) -> tuple[str, ...]:
        return self.adapter.windows_folders(self.facts)

    def is_windows(self, path: str) -> bool:
        """Whether this path, or what it links to, lies on a drive of the Windows around us."""
        return any(
            where.startswith(folder.rstrip("/") + "/")
            for where in (path, os.path.realpath(path))
            for folder in self.windows_folders()
        )

    def persist_path(self, name: str, folder: str, expect: str, behind: Sequence[str] = ()) -> Iterator[Change]:
        return self.adapter.persist_path(self, name, folder, expect, behind)

    def look(self, url: str, proxy: Proxy | None, roots: str, no_proxy: str) -> Look:
        """How far one comes to `url`, trusting the authorities of this system and `roots` (see `network.look`)."""
        return self.network(self, url, proxy, roots, no_proxy)

    def bundles(self) -> tuple[str, ...]:
        """The files and folders of certificate authorities that this system trusts."""
        from ccremedy import network

        return network.system_bundles(self.system, self.env, self.adapter.has_bundles)

    # ---- Claude Code's own files (research: claude-code-facts §3)

    def claude_folder(self) -> str:
        """Where Claude Code keeps its files. Problem (6) where CLAUDE_CONFIG_DIR is not what it was meant to be."""
        configured = self.env.get("CLAUDE_CONFIG_DIR", "")
        if configured and not os.path.isabs(configured):
            raise Problem(
                f"is “{configured}”, which Claude Code reads as a path below whatever directory it is started in",
                where="CLAUDE_CONFIG_DIR",
                todo="Set it to an absolute path (~ is not expanded), or unset it",
                code=UNSUPPORTED,
            )
        folder = os.path.normpath(configured) if configured else self.path(".claude")
        for inside, what in (
            (self.home, "holds your whole home directory"),
            (self.adapter.state_folder(self.facts), "holds ccremedy's own journal"),
        ):
            above = files.walk_up(inside)
            if any(files.same(folder, each) for each in above) if configured else folder in above:
                todo = "Set CLAUDE_CONFIG_DIR to a directory of its own"
                raise Problem(what, where=folder, todo=todo, code=UNSUPPORTED)
        return folder

    def claude_state(self) -> str:
        """The global state file: beside the default folder, but inside a configured one."""
        inside = bool(self.env.get("CLAUDE_CONFIG_DIR"))
        return os.path.join(self.claude_folder() if inside else self.home, ".claude.json")


def own_home(env: Mapping[str, str], name: str = "HOME") -> str:
    """What the variable says, if it is a directory of the user that we run as. sudo often keeps another user's."""
    home = env.get(name, "")
    if not os.path.isabs(home):
        what = "is not set" if not home else f"is “{home}”, which is not an absolute path"
        raise Problem(what, where=name, todo="Set it to your home directory, then try again", code=UNSUPPORTED)
    found = files.status(home)
    if found is None:
        raise Problem("is not there", where=home, todo=f"Set {name} to your home directory", code=UNSUPPORTED)
    if not stat.S_ISDIR(found.st_mode):
        raise Problem("is not a directory", where=home, todo=f"Set {name} to your home directory", code=UNSUPPORTED)
    if not files.belongs_to_us(home):
        raise Problem(
            "is the home directory of another user than the one that ccremedy runs as",
            where=home,
            todo="Run ccremedy as its owner, without sudo",
            code=UNSUPPORTED,
        )
    return os.path.normpath(home)
