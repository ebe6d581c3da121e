"""What surrounds the bytes of a file survives every edit and its undo, or the edit is refused with the reason.

Mode, owner, group, attributes, ACLs, inode flags, links, and every byte outside of the edit, for each resource that
edits a file. And a reset of 20,000 files opens none of them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sweep

from ccremedy import registry
from ccremedy.finding import Finding, want
from ccremedy.resources import Block, Change, Line, Resource
from ccremedy.testing import Case, Rig, no_shells, snapshot

BODY = "export CCREMEDY=1\n"
CASE = Case("metadata", registry.remedy("npm-prefix"), {"platform": "linux"})
TEXT = b"# mine\nexport EDITOR=vi\n"


@pytest.fixture(params=["block", "line"])
def resource(request: pytest.FixtureRequest) -> Callable[[str], tuple[Resource, str]]:
    """Each kind of resource that edits a file, for a path, and the value that the tests give it."""

    def make(path: str) -> tuple[Resource, str]:
        if request.param == "block":
            return Block(path, "metadata", "bash", "interactive"), BODY
        return Line(path, "prefix"), "prefix=~/.npm-global"

    return make


class Bench:
    """A machine with one file, and the change that edits it."""

    def __init__(self, tmp_path: Path, resource: Callable[[str], tuple[Resource, str]]) -> None:
        self.rig = Rig.make(CASE, str(tmp_path / "scratch"), no_shells)
        self.home = Path(self.rig.machine.home)
        self.file = self.home / "profile"
        self.file.write_bytes(TEXT)
        self._resource = resource

    def change(self) -> Change:
        (change,) = want(*self._resource(str(self.file)), by_hand="the line to add")
        return change

    def there_and_back(self) -> Any:
        """Apply, return everything as it is then, undo; nothing may be lost on the way back."""
        before = self.everything()
        result = self.rig.apply([Finding("metadata", "", changes=(self.change(),), remedy="npm-prefix")])
        assert set(result.outcomes.values()) == {"done"}, [str(problem) for problem in result.problems]
        then = self.everything()
        assert then != before, "nothing was edited"
        undone = self.rig.undo()
        assert not undone.problems, [str(problem) for problem in undone.problems]
        assert self.everything() == before
        return then[str(self.file.relative_to(self.home))]

    def everything(self) -> dict[str, tuple[Any, ...]]:
        return {path: (*entry, _flags(self.home / path)) for path, entry in snapshot(str(self.home)).items()}

    def refused(self) -> str:
        """Why the change is refused; apply must leave everything alone, and tell what to do by hand."""
        change = self.change()
        assert change.refused
        assert change.by_hand == "the line to add"
        before = self.everything()
        result = self.rig.apply([Finding("metadata", "", changes=(change,), remedy="npm-prefix")])
        assert set(result.outcomes.values()) == {"refused"}
        assert self.everything() == before
        return change.refused


@pytest.fixture
def bench(tmp_path: Path, resource: Callable[[str], tuple[Resource, str]]) -> Bench:
    return Bench(tmp_path, resource)


def _flags(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(handle, 0x80086601, bytes(8))[:4], "little") & 0x70
    except OSError:
        return 0
    finally:
        os.close(handle)


def _run(*command: str) -> None:
    """A tool that sets an attribute; where it, or the file system, has no such thing, the test is skipped."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}, which is not installed")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a file system and a user that can do {' '.join(command[:-1])}: {done.stderr.strip()}")


# ---- kept


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o700, 0o755, 0o666], ids=lambda mode: f"{mode:04o}")
def test_the_mode_is_kept(bench: Bench, mode: int) -> None:
    bench.file.chmod(mode)
    then = bench.there_and_back()
    assert then[1] == mode


def test_another_group_of_ours_is_kept(bench: Bench) -> None:
    others = [1] if os.geteuid() == 0 else [group for group in os.getgroups() if group != os.getegid()]
    if not others:
        pytest.skip("needs a user in two groups")
    os.chown(bench.file, -1, others[0])
    assert bench.there_and_back()[3] == others[0]


def test_extended_attributes_are_kept(bench: Bench) -> None:
    try:
        os.setxattr(bench.file, "user.ccremedy", b"kept\0as it is")
    except OSError as error:
        pytest.skip(f"needs a file system with user attributes: {error}")
    assert bench.there_and_back()[6]["user.ccremedy"] == b"kept\0as it is"


def test_an_access_list_is_kept(bench: Bench) -> None:
    _run("setfacl", "-m", "u:1:rw", str(bench.file))
    assert "system.posix_acl_access" in bench.there_and_back()[6]


def test_a_default_access_list_of_the_directory_does_not_reach_the_file(bench: Bench) -> None:
    _run("setfacl", "-d", "-m", "u:1:rwx", str(bench.home))
    assert "system.posix_acl_access" not in bench.there_and_back()[6]


def test_an_inode_flag_is_kept(bench: Bench) -> None:
    _run("chattr", "+d", str(bench.file))
    assert bench.there_and_back()[-1] & 0x40


@pytest.mark.parametrize("how", ["relative", "absolute", "chain"])
def test_behind_a_link_the_file_is_edited_and_the_link_kept(bench: Bench, how: str) -> None:
    (bench.home / "dotfiles").mkdir()
    real = bench.home / "dotfiles" / "profile"
    bench.file.rename(real)
    if how == "chain":
        (bench.home / "middle").symlink_to("dotfiles/profile")
    bench.file.symlink_to({"relative": "dotfiles/profile", "absolute": str(real), "chain": "middle"}[how])
    link = os.readlink(bench.file)
    before = real.read_bytes()
    result = bench.rig.apply([Finding("metadata", "", changes=(bench.change(),), remedy="npm-prefix")])
    assert set(result.outcomes.values()) == {"done"}
    assert os.readlink(bench.file) == link
    assert real.read_bytes() != before
    assert not real.is_symlink()
    bench.rig.undo()
    assert real.read_bytes() == before
    assert os.readlink(bench.file) == link


OUTSIDE = {
    "empty": b"",
    "without a last line end": b"# mine\nexport EDITOR=vi",
    "with Windows line ends": b"# mine\r\nexport EDITOR=vi\r\n",
    "with both kinds of line ends": b"# mine\r\nexport EDITOR=vi\n\r\n",
    "with a byte order mark": b"\xef\xbb\xbf# mine\nexport EDITOR=vi\n",
    "that is nothing but a byte order mark": b"\xef\xbb\xbf",
    "that is not UTF-8": b"# gr\xfc\xdfe\n\xff\xfe\x80\n",
    "with zero bytes": b"# mine\n\0\0\nexport EDITOR=vi\n",
    "with a carriage return alone": b"# mine\rexport EDITOR=vi\r",
    "with one line without an end": b"x",
    "with empty lines around": b"\n\n# mine\n\n\n",
}


@pytest.mark.parametrize("content", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_every_byte_outside_of_the_edit_is_kept_in_a_file(bench: Bench, content: bytes) -> None:
    bench.file.write_bytes(content)
    edited = bench.there_and_back()[5]
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    assert edited.startswith(mark)  # a byte order mark stays in front of what is put in
    piece = edited[len(mark) :]
    for part in content[len(mark) :].split(b"\n"):  # in this order, whatever was put between them
        assert part in piece
        piece = piece[piece.index(part) + len(part) :]
    assert len(edited) > len(content)


# ---- refused


def test_a_read_only_file_is_refused(bench: Bench) -> None:
    bench.file.chmod(0o444)
    assert "read-only" in bench.refused()


def test_a_file_of_another_user_is_refused(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to have a file of another user")
    os.chown(bench.file, 1, -1)
    assert "not to you" in bench.refused()


@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_file_is_refused(bench: Bench, flag: str) -> None:
    _run("chattr", f"+{flag}", str(bench.file))
    try:
        assert "immutable" in bench.refused()
    finally:
        subprocess.run(["chattr", f"-{flag}", str(bench.file)], check=True)


def test_a_file_in_an_immutable_directory_is_refused(bench: Bench) -> None:
    _run("chattr", "+i", str(bench.home))
    try:
        assert "immutable" in bench.refused() or "does not let you" in bench.refused()
    finally:
        subprocess.run(["chattr", "-i", str(bench.home)], check=True)


def test_a_hard_link_is_refused(bench: Bench) -> None:
    os.link(bench.file, bench.home / "other")
    assert "hard links" in bench.refused()


def test_a_link_to_nothing_is_refused(bench: Bench) -> None:
    bench.file.unlink()
    bench.file.symlink_to("nowhere")
    assert "does not exist" in bench.refused()


# ---- a large tree


def _reset(tmp_path: Path, count: int) -> tuple[Counter[str], list[str]]:
    """Apply and undo a full reset of a folder with `count` files: how often each call, and which files were opened."""
    contents = {"~/.claude/settings.json": "{}\n", "~/.claude.json": "{}\n"}
    case = Case("full", registry.remedy("reset-config"), {"platform": "linux", "options": ["full"], "files": contents})
    rig = Rig.make(case, str(tmp_path / str(count)), no_shells)
    for folder in range(20):
        inside = os.path.join(rig.machine.home, ".claude", "projects", f"-{folder}")
        os.makedirs(inside)
        for number in range(count // 20):
            with open(os.path.join(inside, f"{number}.jsonl"), "wb") as out:
                out.truncate(100_000)  # without a byte on the disk: 2 GB of 20,000 files
    before = _names(rig.machine.home)
    calls: Counter[str] = Counter()
    opened: list[str] = []

    def count_and_go_on(called: str, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        calls[called] += 1
        if called == "open":
            opened.append(arguments[0])
        return real(*arguments, **options)

    with sweep.seam(count_and_go_on):
        findings = rig.diagnose().findings
        result = rig.apply(findings)
        assert set(result.outcomes.values()) == {"done"}
        assert not os.path.exists(os.path.join(rig.machine.home, ".claude"))
        rig.undo()
    assert _names(rig.machine.home) == before
    return calls, opened


def _names(top: str) -> set[tuple[str, int, int]]:
    found = set()
    for folder, _, names in os.walk(top):
        for name in names:
            entry = os.lstat(os.path.join(folder, name))
            found.add((os.path.join(folder, name), entry.st_ino, entry.st_size))
    return found


def test_a_reset_of_20000_files_opens_none_and_costs_what_20_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, _ = _reset(tmp_path, 20)
    many, opened = _reset(tmp_path, 20_000)
    with capsys.disabled():
        print(f"\nbig-reset files=20000 calls={sum(many.values())} calls-for-20={sum(few.values())}", end=" ")
    assert many == few
    assert not [path for path in opened if "/projects/" in path]
