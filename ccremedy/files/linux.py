"""Linux: swaps by renameat2, extended attributes (with them ACL and security label), inode flags."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

assert sys.platform != "win32"
assert sys.platform != "darwin"

from ccremedy.files.posix import Posix

_NO_REPLACE, _EXCHANGE = 1, 2  # linux/fs.h: RENAME_NOREPLACE, RENAME_EXCHANGE
_FIXED = 0x10 | 0x20  # linux/fs.h: FS_IMMUTABLE_FL, FS_APPEND_FL
_COPIED = 0x4 | 0x8 | 0x40 | 0x80 | 0x800000  # compr, sync, nodump, noatime, nocow: a user may set these
_SERVED = (0x6969, 0xFF534D42, 0xFE534D42)  # linux/magic.h: NFS_, CIFS_, SMB2_SUPER_MAGIC
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS


class Linux(Posix):
    def write_obstacle(self, path: str, found: os.stat_result) -> str:
        return super().write_obstacle(path, found) or self.folder_obstacle(path)

    def move_obstacle(self, path: str, found: os.stat_result) -> str:
        return super().move_obstacle(path, found) or self.folder_obstacle(path)

    def folder_obstacle(self, path: str) -> str:
        return "is immutable (chattr +i or +a)" if _flags(path) & _FIXED else ""

    def exchange(self, scratch: str, target: str) -> bool:
        """Swap two files in one step. False where the file system cannot."""
        return renameat2(scratch, target, _EXCHANGE)

    def rename_to_free(self, source: str, destination: str) -> bool:
        """Rename, and FileExistsError rather than overwrite. False where the file system cannot."""
        return renameat2(source, destination, _NO_REPLACE)

    def has_writer(self, path: str) -> bool | None:
        """A lease for reading is granted where nobody has the file open for writing."""
        import fcntl
        from signal import SIGURG

        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | self.AS_IT_IS)
        except OSError:
            return None
        try:
            fcntl.fcntl(handle, fcntl.F_SETSIG, SIGURG)  # what we get where it is opened just now; SIGIO would end us
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            # Also the answer for a file on a server that has promised nothing (nfs4_setlease, cifs_setlease).
            return None if kind_of_system(handle) in _SERVED else True
        except OSError:
            return None
        finally:
            os.close(handle)
        return False

    def copy_metadata(self, target: str, model: os.stat_result, handle: int) -> None:
        """Owner, group, mode, extended attributes and inode flags of `target`."""
        self.copy_owner_and_mode(model, handle)
        wanted = {name: os.getxattr(target, name) for name in _attributes(target)}
        present = {name: os.getxattr(handle, name) for name in _attributes(handle)}
        for name in present.keys() - wanted.keys():  # a default ACL of the directory, say
            os.removexattr(handle, name)
        for name, value in wanted.items():
            if present.get(name) != value:
                os.setxattr(handle, name, value)
        _copy_flags(target, handle)


def kind_of_system(handle: int) -> int:
    """The number by which Linux knows the kind of file system that the open file is in."""
    import ctypes

    about = (ctypes.c_long * 64)()  # struct statfs, which begins with it
    ctypes.CDLL(None).fstatfs(handle, about)
    return int(about[0]) & 0xFFFFFFFF


def renameat2(source: str, destination: str, flag: int) -> bool:
    import ctypes  # only apply and undo move anything

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_cwd = -100
    if call is None:
        return False
    if call(at_cwd, os.fsencode(source), at_cwd, os.fsencode(destination), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):  # a file system or kernel without the flag
        return False
    raise OSError(code, os.strerror(code), source, None, destination)


def _attributes(file: str | int) -> list[str]:
    try:
        return os.listxattr(file)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _flags(path: str) -> int:
    """Inode flags (chattr), 0 where there are none to be had, as for a link."""
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(handle, _GET_FLAGS, bytes(8))[:4], "little")
    except OSError:
        return 0
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)


def _copy_flags(target: str, handle: int) -> None:
    import fcntl

    if wanted := _flags(target) & _COPIED:
        # Beside flags that the file system keeps for itself (ext4: extents), which must stay as they are.
        now = int.from_bytes(fcntl.ioctl(handle, _GET_FLAGS, bytes(8))[:4], "little")
        fcntl.ioctl(handle, _SET_FLAGS, (now & ~_COPIED | wanted).to_bytes(8, "little"))
