"""Throw-away machines: namespaces over this one's files, with the real programs in their real places.

Inside there is no network, no other process, and no node, npm or claude except those that a test puts there. An
ordinary user `dev` lives in it, whom the real machine does not know. Needs root, for that user's sake.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ccremedy.testing import snapshot

from . import fetch

PROJECT = Path(__file__).resolve().parents[2]
UID = 12345
CACHE = "/srv/cache"  # where a world sees the cache of `fetch`
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_NAMESPACES = ("--mount", "--pid", "--net")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@dataclass
class World:
    """One such machine. Paths are as they are inside; `real(path)` is where this machine finds them."""

    pid: int  # of its first process
    python: str
    home: str = "/home/dev"
    env: dict[str, str] = field(default_factory=dict)
    spaces: tuple[str, ...] = ("-m", "-p", "-n")  # the namespaces that it has for itself, as nsenter calls them

    def real(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of root's, or of the user's below the home directory."""
        place = self.real(path)
        for folder in reversed([each for each in place.parents if not each.exists()]):
            folder.mkdir(mode=0o755)
            self._own(folder)
        place.write_text(text)
        place.chmod(mode)
        self._own(place)

    def link(self, path: str, target: str) -> None:
        place = self.real(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def bind(self, source: Path, path: str) -> None:
        """Show a file or folder of the cache at `path`, whatever the modes of the folders that it really is in."""
        place = self.real(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            place.mkdir()
        else:
            place.touch()
        inside = f"{CACHE}/{source.relative_to(fetch.cache())}"
        done = self.run(["mount", "--bind", inside, path], root=True)
        assert done.code == 0, done.both

    def give_home(self) -> None:
        """Everything below the home directory becomes the user's."""
        subprocess.run(["chown", "-hR", f"{UID}:{UID}", str(self.real(self.home))], check=True)

    def _own(self, place: Path) -> None:
        if place.is_relative_to(self.real(self.home)):
            os.lchown(place, UID, UID)

    def run(
        self, argv: Sequence[str], *, root: bool = False, timeout: float = 300, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run it as the user, from the home directory, with the user's environment and nothing of ours."""
        user = [] if root else ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        start = {"HOME": self.home, "USER": "dev", "LOGNAME": "dev", "LANG": "C.UTF-8", "TERM": "xterm"}
        full = start | {"PATH": SYSTEM_PATH} | self.env | dict(env or {})
        inside = [*user, "env", "-i", *(f"{name}={value}" for name, value in full.items()), *argv]
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), *self.spaces, "-r", f"--wdns={full.get('PWD', self.home)}", *inside],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def shell(self, start: str, script: str, *, timeout: float = 300, env: Mapping[str, str] | None = None) -> Outcome:
        """`start` is as one types it: "bash -lc"."""
        return self.run([*start.split(), script], timeout=timeout, env=env)

    def ccremedy(self, *words: str, **more: str) -> Outcome:
        """The tool from a bare clone: nothing is installed."""
        done = self.run([self.python, "-m", "ccremedy", *words], env={"PYTHONPATH": "/opt/clone"} | more)
        assert "Traceback" not in done.both, done.both
        assert done.code != 70, done.both
        return done

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """All of the home directory but the tool's own state."""
        found = snapshot(str(self.real(self.home)))
        return {path: entry for path, entry in found.items() if not _state(path)}


def _state(path: str) -> bool:
    ours = ".local/state/ccremedy"
    return path == ours or path.startswith(f"{ours}/") or ours.startswith(f"{path}/")


@contextlib.contextmanager
def world(
    kind: str = "linux",
    home: str = "/home/dev",
    env: Mapping[str, str] | None = None,
    windows: Sequence[str] | None = None,
) -> Iterator[World]:
    """`kind` is "linux", "wsl2", "wsl1", or "container": WSL's kernel without WSL.

    With `windows`, the programs that `wine.windows` takes, real ones of Windows are in /mnt/c, and can be started.
    """
    _demand()
    more, spaces = [str(fetch.cache())], World.spaces
    if windows is not None:
        from . import wine  # most worlds need none

        more += [":".join(map(str, [*map(wine.layer, windows), wine.prefix()])), str(UID)]
        spaces = ("-U", *spaces)
    with tempfile.TemporaryDirectory(prefix="ccremedy-world-") as scratch:
        script = str(Path(__file__).with_name("world.sh"))
        argv = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "/bin/sh", script, scratch, kind, *more]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
            try:
                assert parent.stdout is not None
                assert parent.stdout.readline() == "ready\n", f"world.sh ended with {parent.wait()}"
                (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
                made = World(int(child), _interpreter(), home, dict(env or {}), spaces)
                _people(made)
                _clone(made)
                yield made
            finally:
                parent.kill()  # --kill-child takes the first process, and the kernel all the others, with it


def _demand() -> None:
    if os.geteuid():
        pytest.skip("needs root, to be an ordinary user beside it")
    tools = [tool for tool in ("unshare", "nsenter", "setpriv", "pivot_root") if not shutil.which(tool)]
    if tools:
        pytest.skip(f"needs {', '.join(tools)} (util-linux)")
    tried = subprocess.run(["unshare", *_NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"needs namespaces: {tried.stderr.strip()}")


def _people(made: World) -> None:
    with made.real("/etc/passwd").open("a") as passwd:
        passwd.write(f"dev:x:{UID}:{UID}::{made.home}:/bin/bash\n")
    with made.real("/etc/group").open("a") as group:
        group.write(f"dev:x:{UID}:\n")
    made.real(made.home).mkdir(parents=True)
    made.give_home()


def _clone(made: World) -> None:
    shutil.copytree(_compiled(), made.real("/opt/clone"))


@functools.cache
def _compiled() -> str:
    """The project, and the one package that `apply` needs beside the standard library: a bare clone, made once."""
    folder = tempfile.mkdtemp(prefix="ccremedy-clone-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rubbish = shutil.ignore_patterns("__pycache__")
    for name in ("ccremedy", "remedies", "platforms"):
        shutil.copytree(PROJECT / name, Path(folder, name), ignore=rubbish)
    found = importlib.util.find_spec("filelock")
    assert found is not None
    assert found.origin is not None
    shutil.copytree(Path(found.origin).parent, Path(folder, "filelock"), ignore=rubbish)
    subprocess.run([_interpreter(), "-m", "compileall", "-q", folder], check=True)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder


@functools.cache
def _interpreter() -> str:
    """A Python that any user may start: ours may lie in root's home directory."""
    for program in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        ask = "import sys; sys.exit(sys.version_info < (3, 10))"
        # By way of env: setpriv itself keeps root's power over folders.
        check = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", program, "-I", "-c", ask]
        hidden = program.startswith(("/opt/", "/home/", "/tmp/"))  # a world has its own
        if not hidden and subprocess.run(check, capture_output=True, cwd="/", check=False).returncode == 0:
            return program
    pytest.skip("needs a Python of 3.10 or later that an ordinary user may start")


def node_and_npm(made: World, node: str, npm: str, prefix: str = "/usr/local") -> None:
    """A Node.js with its npm below `prefix`, as its tarball lays them out; root's, unless it is in the home."""
    (program,), (package,) = fetch.needed("node", node), fetch.needed("npm", npm)
    made.bind(program, f"{prefix}/bin/node")
    made.bind(package, f"{prefix}/lib/node_modules/npm")
    made.link(f"{prefix}/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")
