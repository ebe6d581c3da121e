"""What the tests share: a home that is nobody's, the real command line, and reasons for skipping.

No test may touch the home of whoever runs the suite. HOME is a scratch directory for the whole session, and after
every test the files that ccremedy could have edited in the real one are looked at: the test that touched one fails.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ccremedy import hive

ROOT = Path(__file__).resolve().parent.parent

# Windows has not got what these modules import, so what imports them cannot even be collected there.
_FOR_POSIX = re.compile(r"^(?:import|from) (?:fcntl|pexpect|pwd|real|sweep|test_\w+)\b", re.M)
collect_ignore = [
    path.name
    for path in sorted((ROOT / "tests").glob("test_*.py"))
    if sys.platform == "win32" and _FOR_POSIX.search(path.read_text(encoding="utf-8"))
]


def pytest_report_header() -> list[str]:
    return [f"not for Windows, and not collected: {', '.join(collect_ignore)}"] if collect_ignore else []


_REAL_HOME = os.path.expanduser("~")
_WATCHED = (
    ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshenv", ".zshrc", ".zprofile", ".npmrc", ".npm-global",
    ".config/fish/config.fish", ".local/state/ccremedy",
)  # fmt: skip


def _sentinel() -> dict[str, tuple[int, int, int] | None]:
    found: dict[str, tuple[int, int, int] | None] = {}
    for name in _WATCHED:
        try:
            entry = os.lstat(os.path.join(_REAL_HOME, name))
            found[name] = (entry.st_ino, entry.st_size, entry.st_mtime_ns)
        except OSError:
            found[name] = None
    return found


@pytest.fixture(scope="session", autouse=True)
def _home_is_scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home-of-nobody")))
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR", "CLAUDE_CONFIG_DIR", "NVM_DIR"):
            patch.delenv(name, raising=False)
        yield


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
            "HOME": str(self.home),
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

    def start(self, *words: str, env: Mapping[str, str | None] | None = None) -> subprocess.Popen[bytes]:
        """In a session of its own: no terminal in reach, and one group to signal."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment(env),
            cwd=self.home if self.home.is_dir() else "/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __call__(self, *words: str, env: Mapping[str, str | None] | None = None, timeout: float = 60) -> Answer:
        """Run it to its end."""
        other: dict[str, Any] = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        done = subprocess.run(
            self.command(*words),
            env=self.environment(env),
            cwd=self.home if self.home.is_dir() else "/",
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
    "root": (lambda: os.geteuid() == 0, "needs root, to act as two users"),
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
