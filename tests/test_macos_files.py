"""Files on macOS, simulated: the class with a C library and an fcntl that answer as Apple documents it.

Nothing here has met a Mac. The module is loaded as it would be there; what it asks the system for is written down.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib.util
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ccremedy.files import posix

SOURCE = Path(posix.__file__).with_name("macos.py")
SWAP, EXCLUSIVE = 0x2, 0x4  # sys/stdio.h: RENAME_SWAP, RENAME_EXCL
ACL, STAT, XATTR = 1 << 0, 1 << 1, 1 << 2  # copyfile.h
FULL_SYNC = 51  # sys/fcntl.h: F_FULLFSYNC
NODUMP, IMMUTABLE, APPEND, COMPRESSED, HIDDEN = 0x1, 0x2, 0x4, 0x20, 0x8000  # sys/stat.h
SYSTEM_IMMUTABLE, RESTRICTED = 0x20000, 0x80000


@dataclass
class Library:
    """Stands for libSystem: does what the calls do on a file system that has `lacks` not, and notes them."""

    fails: dict[str, int] = field(default_factory=dict)  # by function: the errno
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def _done(self, name: str, *arguments: Any) -> int:
        self.calls.append((name, *(getattr(each, "value", each) for each in arguments)))
        if code := self.fails.get(name):
            ctypes.set_errno(code)
            return -1
        return 0

    def renamex_np(self, source: bytes, destination: bytes, flags: ctypes.c_uint32) -> int:
        there = os.path.lexists(destination)
        if not os.path.lexists(source) or (flags.value == SWAP and not there):
            self.fails.setdefault("renamex_np", errno.ENOENT)
        elif flags.value == EXCLUSIVE and there:
            self.fails.setdefault("renamex_np", errno.EEXIST)
        if self._done("renamex_np", source, destination, flags):
            return -1
        if flags.value == SWAP:
            os.rename(destination, destination + b".swap")
        os.rename(source, destination)
        if flags.value == SWAP:
            os.rename(destination + b".swap", source)
        return 0

    def fcopyfile(self, source: Any, destination: Any, state: None, flags: Any) -> int:
        return self._done("fcopyfile", source, destination, state, flags)

    def fchflags(self, handle: Any, flags: Any) -> int:
        return self._done("fchflags", handle, flags)


@pytest.fixture
def library() -> Library:
    return Library()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, library: Library) -> ModuleType:
    spec = importlib.util.spec_from_file_location("macos_as_it_is_there", SOURCE)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as there:
        there.setattr(sys, "platform", "darwin")
        spec.loader.exec_module(made)
    monkeypatch.setattr(made, "_library", lambda: library)
    return made


@pytest.fixture
def macos(module: ModuleType) -> Any:
    return module.Macos()


def status(path: Path, **other: int) -> Any:
    """What stat would say there, with flags."""
    found = os.lstat(path)
    return SimpleNamespace(**{name: getattr(found, name) for name in dir(found) if name.startswith("st_")} | other)


# ---- renames


def test_simulated_a_swap_is_one_call_with_that_flag(macos: Any, library: Library, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    assert macos.exchange(str(tmp_path / "new"), str(tmp_path / "old")) is True
    assert ((tmp_path / "new").read_text(), (tmp_path / "old").read_text()) == ("old", "new")
    assert [(call[0], call[3]) for call in library.calls] == [("renamex_np", SWAP)]


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.EINVAL, errno.ENOSYS], ids=lambda code: errno.errorcode[code])
@pytest.mark.parametrize("how", ["exchange", "rename_to_free"])
def test_simulated_a_file_system_without_it_is_told_from_a_failure(
    how: str, code: int, macos: Any, library: Library, tmp_path: Path
) -> None:
    (tmp_path / "new").write_text("new")
    library.fails["renamex_np"] = code
    assert getattr(macos, how)(str(tmp_path / "new"), str(tmp_path / "old")) is False
    assert (tmp_path / "new").read_text() == "new"


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EROFS], ids=lambda code: errno.errorcode[code])
def test_simulated_a_swap_that_fails_says_so(code: int, macos: Any, library: Library, tmp_path: Path) -> None:
    library.fails["renamex_np"] = code
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        macos.exchange(str(tmp_path / "new"), str(tmp_path / "old"))
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path / "new"))


def test_simulated_what_has_gone_is_not_found(macos: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        macos.exchange(str(tmp_path / "new"), str(tmp_path / "old"))


def test_simulated_nothing_is_renamed_over(macos: Any, library: Library, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    with pytest.raises(FileExistsError):
        macos.rename_to_free(str(tmp_path / "new"), str(tmp_path / "old"))
    assert (tmp_path / "old").read_text() == "old"
    library.fails.clear()
    assert macos.rename_to_free(str(tmp_path / "new"), str(tmp_path / "free")) is True
    assert [call[3] for call in library.calls] == [EXCLUSIVE, EXCLUSIVE]


def test_simulated_a_system_without_the_call_has_no_swap(
    module: ModuleType, macos: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_library", SimpleNamespace)
    assert macos.exchange(str(tmp_path / "new"), str(tmp_path / "old")) is False


# ---- syncs


@dataclass
class Disk:
    """Stands for fcntl and fsync."""

    code: int
    calls: list[object] = field(default_factory=list)

    def fcntl(self, handle: int, command: int) -> int:
        self.calls.append(command)
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return 0

    def fsync(self, handle: int) -> None:
        self.calls.append("fsync")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Disk:
    made = Disk(getattr(request, "param", 0))
    monkeypatch.setattr(fcntl, "fcntl", made.fcntl)
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


def test_simulated_a_sync_reaches_the_disk(macos: Any, disk: Disk) -> None:
    macos.sync(0)
    assert disk.calls == [FULL_SYNC]


@pytest.mark.parametrize("disk", [errno.ENOTSUP, errno.ENOTTY, errno.EINVAL], indirect=True)
def test_simulated_a_network_drive_is_synced_as_far_as_it_can_be(macos: Any, disk: Disk) -> None:
    macos.sync(0)
    assert disk.calls == [FULL_SYNC, "fsync"]


@pytest.mark.parametrize("disk", [errno.EIO, errno.ENOSPC, errno.EDQUOT], indirect=True)
def test_simulated_a_disk_that_fails_is_not_asked_again(macos: Any, disk: Disk) -> None:
    with pytest.raises(OSError, match=os.strerror(disk.code)):
        macos.sync(0)
    assert disk.calls == [FULL_SYNC]


def test_simulated_folders_and_modes_are_synced_the_same_way(macos: Any, disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    macos.sync_folder(str(tmp_path))
    macos.set_mode(str(tmp_path / "file"), 0o600)
    assert disk.calls == [FULL_SYNC, FULL_SYNC]


# ---- what beside its bytes belongs to a file


def copied(macos: Any, folder: Path, flags: int = 0) -> int:
    """The mode of a new file after the metadata of another went to it."""
    (folder / "old").write_text("old")
    (folder / "old").chmod(0o640)
    handle = os.open(folder / "new", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        macos.copy_metadata(str(folder / "old"), status(folder / "old", st_flags=flags), handle)
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def test_simulated_acl_and_attributes_are_copied_and_owner_and_mode_kept(
    macos: Any, library: Library, tmp_path: Path
) -> None:
    assert copied(macos, tmp_path) == 0o640
    ((name, source, destination, state, flags),) = library.calls
    assert (name, state, flags) == ("fcopyfile", None, ACL | XATTR)
    assert source != destination


def test_simulated_the_time_of_the_old_file_is_not_given_to_the_new_one(
    macos: Any, library: Library, tmp_path: Path
) -> None:
    copied(macos, tmp_path)
    assert not library.calls[0][4] & STAT


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EIO, errno.EPERM], ids=lambda code: errno.errorcode[code])
def test_simulated_an_acl_that_cannot_be_copied_stops_the_write(
    code: int, macos: Any, library: Library, tmp_path: Path
) -> None:
    library.fails["fcopyfile"] = code
    with pytest.raises(OSError, match=os.strerror(code)):
        copied(macos, tmp_path)


def test_simulated_flags_that_a_user_may_set_are_kept_and_no_others(
    macos: Any, library: Library, tmp_path: Path
) -> None:
    copied(macos, tmp_path, flags=HIDDEN | NODUMP | COMPRESSED | SYSTEM_IMMUTABLE)
    assert [call[2] for call in library.calls if call[0] == "fchflags"] == [HIDDEN | NODUMP]


def test_simulated_a_file_without_flags_is_not_asked_for_them(macos: Any, library: Library, tmp_path: Path) -> None:
    copied(macos, tmp_path, flags=COMPRESSED)
    assert [call[0] for call in library.calls] == ["fcopyfile"]


# ---- what stands in the way


@pytest.mark.parametrize(
    ("flags", "word"),
    [(IMMUTABLE, "uchg"), (APPEND, "uappnd"), (SYSTEM_IMMUTABLE, "immutable"), (RESTRICTED, "kept by the system"),
     (0, ""), (HIDDEN, "")],
    ids=["uchg", "uappnd", "schg", "restricted", "none", "hidden"],
)  # fmt: skip
@pytest.mark.parametrize("how", ["write_obstacle", "move_obstacle"])
def test_simulated_flags_that_forbid_it_are_seen_before_anything_is_tried(
    how: str, flags: int, word: str, macos: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    why = getattr(macos, how)(str(tmp_path / "file"), status(tmp_path / "file", st_flags=flags))
    assert word in why
    assert bool(why) == bool(word)


def test_simulated_a_locked_folder_is_seen(macos: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locked = status(tmp_path, st_flags=IMMUTABLE)
    monkeypatch.setattr(os, "stat", lambda path: locked)
    assert "immutable" in macos.folder_obstacle(str(tmp_path))


def test_simulated_a_file_whose_acl_forbids_writing_is_left(
    macos: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert "access control list" in macos.write_obstacle(str(tmp_path / "file"), status(tmp_path / "file"))


@pytest.mark.parametrize(
    ("mode", "group", "other"),
    [(0o775, 80, ""), (0o775, 0, ""), (0o775, 20, "other users"), (0o777, 80, "other users"), (0o755, 20, "")],
    ids=["admin", "wheel", "staff", "everybody", "nobody"],
)
def test_simulated_administrators_are_no_others(mode: int, group: int, other: str, macos: Any, tmp_path: Path) -> None:
    found = status(tmp_path, st_mode=stat.S_IFDIR | mode, st_gid=group)
    assert (other in macos.open_to_others(str(tmp_path), found)) if other else not macos.open_to_others("/x", found)
