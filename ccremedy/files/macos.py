"""macOS: swaps by renamex_np, ACL and extended attributes by fcopyfile, and syncs that reach the disk.

By Apple's documentation (rename(2), copyfile(3), fcntl(2), chflags(2)) and the source of copyfile. `fcopyfile` is not
asked to copy owner, mode and times (COPYFILE_STAT): it does not say when it could not, it would give a file that has
just been written its old time, by which others tell that it has changed, and it would claim that it is compressed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

assert sys.platform == "darwin"

from ccremedy.files.posix import Posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import CDLL

_FULL_SYNC = 51  # sys/fcntl.h: F_FULLFSYNC
_NO_SUCH_SYNC = (errno.ENOTSUP, errno.ENOTTY, errno.EINVAL)  # network drives, and file systems of others
_NO_REPLACE, _EXCHANGE = 4, 2  # sys/stdio.h: RENAME_EXCL, RENAME_SWAP
_COPIED = 1 << 0 | 1 << 2  # copyfile.h: COPYFILE_ACL, COPYFILE_XATTR
_FIXED = 0x2 | 0x4 | 0x20000 | 0x40000  # sys/stat.h: UF_IMMUTABLE, UF_APPEND, SF_IMMUTABLE, SF_APPEND
_KEPT_BY_THE_SYSTEM = 0x80000 | 0x100000  # sys/stat.h: SF_RESTRICTED, SF_NOUNLINK
_COPIED_FLAGS = 0x1 | 0x8 | 0x8000  # sys/stat.h: UF_NODUMP, UF_OPAQUE, UF_HIDDEN: a user may set these
_ADMINISTRATORS = (0, 80)  # the groups wheel and admin, whose members may do everything here


class Macos(Posix):
    def write_obstacle(self, path: str, found: os.stat_result) -> str:
        denied = "" if os.access(path, os.W_OK) else "is closed by an access control list (ls -le shows it)"
        return super().write_obstacle(path, found) or _held(found) or denied

    def move_obstacle(self, path: str, found: os.stat_result) -> str:
        return super().move_obstacle(path, found) or _held(found)

    def folder_obstacle(self, path: str) -> str:
        return _held(os.stat(path))

    def open_to_others(self, path: str, found: os.stat_result) -> str:
        """As everywhere, but a folder of Homebrew's, say, is open to administrators, who need no folder for that."""
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        open_to_all = found.st_mode & stat.S_IWOTH and not sticky
        closed = found.st_uid in (0, os.geteuid()) and found.st_gid in _ADMINISTRATORS and not open_to_all
        return "" if closed else super().open_to_others(path, found)

    def sync(self, handle: int) -> None:
        """fsync alone leaves the bytes in the drive's own cache."""
        import fcntl

        try:
            fcntl.fcntl(handle, _FULL_SYNC)
        except OSError as error:
            if error.errno not in _NO_SUCH_SYNC:  # an I/O error is one: a second try would say that all is well
                raise
            os.fsync(handle)

    def exchange(self, scratch: str, target: str) -> bool:
        """Swap two files in one step. False where the file system cannot (HFS+, network drives)."""
        return renamex_np(scratch, target, _EXCHANGE)

    def rename_to_free(self, source: str, destination: str) -> bool:
        """Rename, and FileExistsError rather than overwrite. False where the file system cannot."""
        return renamex_np(source, destination, _NO_REPLACE)

    def copy_metadata(self, target: str, model: os.stat_result, handle: int) -> None:
        """Owner, group, mode, ACL, extended attributes and flags of `target`.

        What an ACL has from the folder is not copied but inherited anew: the scratch file is in the same folder.
        """
        source = os.open(target, os.O_RDONLY | os.O_NONBLOCK | self.AS_IT_IS)
        try:
            _call("fcopyfile", source, handle, None, _COPIED)
        finally:
            os.close(source)
        self.copy_owner_and_mode(model, handle)
        if wanted := _flags(model) & _COPIED_FLAGS:
            _call("fchflags", handle, _flags(os.fstat(handle)) & ~_COPIED_FLAGS | wanted)


def renamex_np(source: str, destination: str, flag: int) -> bool:
    try:
        _call("renamex_np", os.fsencode(source), os.fsencode(destination), flag, names=(source, destination))
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):  # the file system's way to say that it has none
            return False
        raise
    return True


def _call(name: str, *arguments: int | bytes | None, names: tuple[str, ...] = ()) -> None:
    """Call a function of the C library that Python does not have. OSError where it fails."""
    import ctypes  # only apply and undo write anything

    call = getattr(_library(), name, None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(*(ctypes.c_uint32(each) if isinstance(each, int) else each for each in arguments)) != 0:
        code = ctypes.get_errno()
        first, second = (*names, None, None)[:2]
        raise OSError(code, os.strerror(code), first, None, second)


def _library() -> CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _held(found: os.stat_result) -> str:
    """Why the system lets nobody change this entry, as the end of a sentence; '' if it does."""
    flags = _flags(found)
    if flags & _KEPT_BY_THE_SYSTEM:
        return "is kept by the system (ls -lO shows the flag)"
    return "is immutable (chflags uchg or uappnd; in Finder: Locked)" if flags & _FIXED else ""


def _flags(found: os.stat_result) -> int:
    """The flags of chflags; 0 where there are none to be had."""
    return getattr(found, "st_flags", 0)
