"""What the tests share: a home that is nobody's, the real command line, and reasons for skipping.

No test may touch the home of whoever runs the suite. HOME is a scratch directory for the whole session, and after
every test the files that ccremedy could have edited in the real one are looked at: the test that touched one fails.

The suite also runs on Windows. A module that cannot even be imported there, for what Windows does not have, is skipped
with a reason that names it: see `pytest_exception_interact`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ccremedy import hive

ROOT = Path(__file__).resolve().parent.parent

_REAL_HOME = os.path.expanduser("~")
_WATCHED = (
    ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshenv", ".zshrc", ".zprofile", ".npmrc", ".npm-global",
    ".config/fish/config.fish", ".local/state/ccremedy", "AppData/Local/ccremedy", "AppData/Roaming/npm",
)  # fmt: skip
_WINDOWS = os.name == "nt"

# Who starts the suite in the background or with nohup ignores these, and whatever the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine takes its time for an example, and the same ones each time make a failure one that can be had again.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=os.environ.get("CCREMEDY_SWEEP") != "1",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


def _sentinel() -> dict[str, object]:
    found: dict[str, object] = {r"HKEY_CURRENT_USER\Environment": _user_environment()}
    for name in _WATCHED:
        try:
            entry = os.lstat(os.path.join(_REAL_HOME, name))
            found[name] = (entry.st_ino, entry.st_size, entry.st_mtime_ns)
        except OSError:
            found[name] = None
    return found


def _user_environment() -> list[object]:
    """Windows keeps it in the registry, which no variable can point elsewhere."""
    values: list[object] = []
    if sys.platform == "win32":
        import winreg

        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_CURRENT_USER, "Environment") as key:
            while True:  # until there is no next one
                values.append(winreg.EnumValue(key, len(values)))
    return values


@pytest.fixture(scope="session", autouse=True)
def _home_is_scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home-of-nobody")
        for name, value in _home(home, home / "AppData" / "Local").items():
            patch.setenv(name, value)
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR", "CLAUDE_CONFIG_DIR", "NVM_DIR"):
            patch.delenv(name, raising=False)
        yield


def _home(home: Path, state: Path) -> dict[str, str]:
    """The variables that make this somebody's home."""
    if not _WINDOWS:
        return {"HOME": str(home)}
    return {"USERPROFILE": str(home), "APPDATA": str(home / "AppData" / "Roaming"), "LOCALAPPDATA": str(state)}


@pytest.fixture(autouse=True)
def _real_home_is_not_touched() -> Iterator[None]:
    before = _sentinel()
    yield
    touched = [name for name, entry in _sentinel().items() if entry != before[name]]
    assert not touched, f"this test touched the real home: {touched} in {_REAL_HOME}. Give it a home below tmp_path."


@pytest.fixture(autouse=True)
def _registry_is_of_one_test() -> Iterator[None]:
    """A case of Windows brings a registry, which the next test must not find."""
    real = hive.api
    yield
    hive.api = real


# ---- the command line

_ALWAYS = (
    ("SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERNAME") if _WINDOWS else ()
)  # what Windows starts with


@dataclass(frozen=True)
class Answer:
    """What a command said. `code` is negative for a signal."""

    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    """`python3 -m ccremedy` of this checkout, with a home and a state directory of its own and a clean environment."""

    home: Path
    state: Path
    path: str
    python: Sequence[str] = (sys.executable,)
    source: Path = ROOT
    more: dict[str, str] = field(default_factory=dict)  # environment of every call
    user: int | None = None  # the number of another user to run as (as root only)

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        env: dict[str, str | None] = {
            **{name: os.environ[name] for name in _ALWAYS if name in os.environ},
            **_home(self.home, self.state),
            "XDG_STATE_HOME": str(self.state),
            "PATH": self.path,
            "PYTHONPATH": str(self.source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            **self.more,
            **(changes or {}),
        }
        return {name: value for name, value in env.items() if value is not None}

    def command(self, *words: str) -> list[str]:
        return [*self.python, "-m", "ccremedy", *words]

    def start(
        self, *words: str, env: Mapping[str, str | None] | None = None, stdout: int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """In a session of its own: no terminal in reach, and one group to signal."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment(env),
            cwd=self.home if self.home.is_dir() else self.home.anchor,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __call__(self, *words: str, env: Mapping[str, str | None] | None = None, timeout: float = 60) -> Answer:
        """Run it to its end."""
        other: dict[str, Any] = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        done = subprocess.run(
            self.command(*words),
            env=self.environment(env),
            cwd=self.home if self.home.is_dir() else self.home.anchor,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            start_new_session=True,
            **other,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """A home in which `npm-prefix` has something to mend: npm's global folder is one that nobody may write to."""
    for name in ("home", "state", "bin"):
        (tmp_path / name).mkdir()
    for name in ("npm", "node"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "home" / ".npmrc").write_text("prefix=/proc/1\n")
    (tmp_path / "home" / ".bashrc").write_text("# mine\n")
    return CommandLine(tmp_path / "home", tmp_path / "state", f"{tmp_path / 'bin'}:/usr/bin:/bin")


# ---- capabilities


def _namespaces() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


_CAPABILITIES: dict[str, tuple[Callable[[], bool], str]] = {
    "root": (lambda: not _WINDOWS and os.geteuid() == 0, "needs root, to act as two users"),
    "mount namespaces": (_namespaces, "needs mount namespaces (unshare -m), to have a disk that is full"),
    "proc": (lambda: os.path.exists("/proc/self/environ"), "needs /proc"),
}


@functools.cache
def _lacking(capability: str) -> str:
    if capability in _CAPABILITIES:
        has, reason = _CAPABILITIES[capability]
        return "" if has() else reason
    found = any(
        os.access(os.path.join(folder, capability), os.X_OK) for folder in ("/bin", "/usr/bin", "/usr/local/bin")
    )
    return "" if found else f"needs {capability}, which is not installed"


@pytest.fixture
def needs() -> Callable[[str], None]:
    """`needs("root")`, `needs("zsh")`: skip, with the reason, where this machine lacks a capability or a program."""

    def check(capability: str) -> None:
        if reason := _lacking(capability):
            pytest.skip(reason)

    return check


_OF_UNIX = ("fcntl", "grp", "mitmproxy", "pexpect", "pty", "pwd", "resource", "secretstorage", "termios", "tty")


def pytest_exception_interact(
    node: pytest.Item | pytest.Collector,
    call: pytest.CallInfo[object],
    report: pytest.CollectReport | pytest.TestReport,
) -> None:
    """On Windows, skip the module that asks for what only Unix has. One that fails in ccremedy's own code fails."""
    if _WINDOWS and isinstance(node, pytest.Module) and call.excinfo and (reason := _only_on_unix(call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(node.path), 1, f"Skipped: {reason}")


def _only_on_unix(error: BaseException) -> str:
    cause = error.__cause__ or error  # pytest puts its own around an ImportError
    asking = traceback.extract_tb(cause.__traceback__)[-1].filename
    wanted = re.fullmatch(r"No module named '(\w+)'|module '(os|signal|socket)' has no attribute '(\w+)'", str(cause))
    if not wanted or not Path(asking).is_relative_to(ROOT / "tests"):
        return ""
    name = wanted[1] or f"{wanted[2]}.{wanted[3]}"
    return f"needs {name}, which Windows does not have" if wanted[2] or name in _OF_UNIX else ""


# ---- in which order

# The files that take minutes come first: begun last, they would keep one worker waiting for the other.
_LONG = ("test_sweeps", "test_canary", "test_npm_under_wine", "test_windows_under_wine", "test_keys_for_real",
         "test_quoting", "test_windows_for_real", "test_wsl_both_sides", "test_proxy_under_wine", "test_proxy_for_real",
         "test_wsl_for_real", "test_windows_bad_input", "test_duplicates_for_real", "test_contract")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


# ---- what is told at the end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have recorded under the name `told`: a worker of xdist can print nothing itself."""
    for report in (each for name in ("passed", "failed", "skipped") for each in terminalreporter.getreports(name)):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "told":
                terminalreporter.write_line(str(value))
