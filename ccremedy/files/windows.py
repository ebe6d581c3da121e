r"""Windows: swaps by ReplaceFileW, access lists instead of owners and modes, and patience with virus scanners.

ReplaceFileW keeps what belongs to the replaced file (its access list, attributes, streams), so nothing is copied here.
It puts the old file under a third name, which is then given the name of the scratch file. Where it stops half-way
(ERROR_UNABLE_TO_MOVE_REPLACEMENT_2), the old file is left under that third name and nothing in its place:
`finish_exchange` brings it back, at once or, after a crash, from the journal. A swap is two renames, so for an instant
the scratch name is free; the file itself is always there.

Directories are not synced: NTFS journals its own records, and renames are made with MOVEFILE_WRITE_THROUGH.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from functools import cache
from types import ModuleType

assert sys.platform == "win32"

import msvcrt

from ccremedy.files import access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    Given = ParamSpec("Given")
    Result = TypeVar("Result")

# winerror.h: access denied, sharing and lock violations. A scanner that has just opened the file causes each of them.
_BUSY = (5, 32, 33)
_NOT_REMOVED, _NOT_MOVED, _HALF_MOVED = 1175, 1176, 1177  # ERROR_UNABLE_TO_…, of ReplaceFileW
_UNKNOWN_CALL = (1, 50, 120)  # what a file system or server says that has no such call
_WAITS = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.25, 0.25)  # seconds
_READ, _WRITE, _DELETE, _ADD_FILE, _ADD_FOLDER = 0x80000000, 0x40000000, 0x10000, 0x2, 0x4  # winnt.h
_SHARE_ALL, _SHARE_WRITE, _OPEN_EXISTING, _ALSO_FOLDERS, _NOT_THROUGH_LINKS = 7, 2, 3, 0x02000000, 0x00200000
_WRITE_THROUGH = 8  # winbase.h: MOVEFILE_WRITE_THROUGH
_READ_ONLY, _HIDDEN, _OFFLINE, _IN_THE_CLOUD = 0x1, 0x2, 0x1000, 0x400000  # winnt.h: FILE_ATTRIBUTE_…
_KEPT, _NORMAL = 0x2 | 0x4 | 0x20 | 0x2000, 0x80  # hidden, system, archive, not indexed
_OWNER, _ACCESS_LIST, _A_FILE = 1, 4, 1  # OWNER_ and DACL_SECURITY_INFORMATION, SE_FILE_OBJECT
_SINCE_1601 = 116_444_736_000_000_000  # 1970 in hundreds of nanoseconds

_kernel, _advapi = (ctypes.WinDLL(name, use_last_error=True) for name in ("kernel32", "advapi32"))
_kernel.CreateFileW.restype = ctypes.c_void_p
_kernel.CreateFileW.argtypes = [ctypes.c_wchar_p, *[ctypes.c_ulong] * 2, ctypes.c_void_p, *[ctypes.c_ulong] * 2,
                                ctypes.c_void_p]  # fmt: skip
_kernel.CloseHandle.argtypes = [ctypes.c_void_p]
_kernel.LocalFree.argtypes = [ctypes.c_void_p]
_kernel.GetCurrentProcess.restype = ctypes.c_void_p
_kernel.ReplaceFileW.argtypes = [*[ctypes.c_wchar_p] * 3, ctypes.c_ulong, *[ctypes.c_void_p] * 2]
_kernel.MoveFileExW.argtypes = [*[ctypes.c_wchar_p] * 2, ctypes.c_ulong]
_kernel.CreateDirectoryW.argtypes = [ctypes.c_wchar_p, ctypes.c_void_p]
_kernel.SetFileAttributesW.argtypes = [ctypes.c_wchar_p, ctypes.c_ulong]
_kernel.GetFileInformationByHandleEx.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong]
_kernel.SetFileInformationByHandle.argtypes = _kernel.GetFileInformationByHandleEx.argtypes
_advapi.OpenProcessToken.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p]
_advapi.GetTokenInformation.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p]
_advapi.ConvertSidToStringSidW.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
_advapi.GetNamedSecurityInfoW.argtypes = [ctypes.c_wchar_p, ctypes.c_int, ctypes.c_ulong, *[ctypes.c_void_p] * 5]
_advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW.argtypes = [
    ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p
]  # fmt: skip
_advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = [
    ctypes.c_wchar_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p
]  # fmt: skip


class Windows:
    NO_NAME = errno.EINVAL  # such as a colon or a question mark in it
    AS_IT_IS = os.O_BINARY | os.O_NOINHERIT

    def open_to_read(self, path: str) -> int:
        """Shared in every way: nobody's rename or removal fails because we are reading."""
        handle = _patiently(_open, path, _READ, _ALSO_FOLDERS)
        return msvcrt.open_osfhandle(handle, os.O_RDONLY | self.AS_IT_IS)

    def without_prefix(self, path: str) -> str:
        r"""What a link says, as we write paths: \\?\C:\x is C:\x."""
        if path.startswith("\\\\?\\UNC\\"):
            return "\\\\" + path[8:]
        return path.removeprefix("\\\\?\\")

    def can_write(self, folder: str) -> bool:
        """Whether the kernel would let us create entries in this directory: asked, by opening it for just that."""
        return os.path.isdir(folder) and not _refused(folder, _ADD_FILE | _ADD_FOLDER, _ALSO_FOLDERS)

    def write_obstacle(self, path: str, found: os.stat_result) -> str:
        """Why this regular file must not be replaced ('' if it may), as the end of a sentence; so all of these."""
        if found.st_file_attributes & _READ_ONLY:
            return "is read-only"
        if found.st_file_attributes & (_OFFLINE | _IN_THE_CLOUD):
            return "lies in the cloud only (OneDrive): open it once, so that it is here"
        return _refused(path, _READ | _WRITE | _DELETE, 0)

    def move_obstacle(self, path: str, found: os.stat_result) -> str:
        return _refused(path, _DELETE, _ALSO_FOLDERS | _NOT_THROUGH_LINKS)

    def folder_obstacle(self, path: str) -> str:
        return ""

    def belongs_to_us(self, path: str) -> bool:
        """Profiles belong to the system or to administrators; what belongs to another person is another person's."""
        owner = _security(path)[0]
        if owner == me() or owner.startswith("S-1-5-21-"):
            return owner == me()
        return not os.path.isdir(str(_long(path))) or self.can_write(path)

    def give_back(self, path: str) -> str:
        return ""

    def indiscretion(self, folder: str, found: os.stat_result) -> tuple[str, str]:
        """Why this directory is not its owner's alone, and what to do about it; '' where it is."""
        if not self.belongs_to_us(folder):
            return "belongs to another user", "Take it back, or choose another place (LOCALAPPDATA)"
        if others := _others(folder, 0xFFFFFFFF):
            todo = f'Run: icacls "{folder}" /inheritance:r /grant:r "%USERNAME%:(OI)(CI)F"'
            return f"is open to other users ({others}), so what is in it cannot be trusted", todo
        return "", ""

    def open_to_others(self, path: str, found: os.stat_result) -> str:
        changing = 0x2 | 0x4 | 0x40 | 0x10000 | 0x40000 | 0x80000  # write, append, delete within, delete, DACL, owner
        if os.path.isdir(str(_long(path))):
            changing &= ~0x6  # who may add files to a folder changes none that are there
        others = _others(path, changing)
        return f"other users: {path} lets {others} do so" if others else ""

    def make_folder(self, folder: str, mode: int) -> None:
        """A folder for its owner alone gets an access list of its own, whatever it would have inherited."""
        if mode & 0o077:
            os.mkdir(str(_long(folder)))
            return
        who = "".join(f"(A;OICI;FA;;;{each})" for each in (me(), "SY", "BA"))
        with _descriptor(f"D:P{who}") as descriptor:
            attributes = _Attributes(ctypes.sizeof(_Attributes), descriptor, 0)
            if not _kernel.CreateDirectoryW(_long(folder), ctypes.byref(attributes)):
                raise _error(folder)

    def set_mode(self, path: str, mode: int) -> None:
        os.chmod(str(_long(path)), mode)

    def set_new_mode(self, handle: int, mode: int) -> None:
        """The folder says who may read what is made in it."""

    def copy_metadata(self, target: str, model: os.stat_result, handle: int) -> None:
        """Hidden and the like; the swap keeps the target's access list and streams."""
        times = (ctypes.c_longlong * 5)()  # FILE_BASIC_INFO: four times, of which 0 means that it stays; attributes
        times[4] = model.st_file_attributes & _KEPT or _NORMAL
        if not _kernel.SetFileInformationByHandle(
            msvcrt.get_osfhandle(handle), 0, ctypes.byref(times), ctypes.sizeof(times)
        ):
            raise _error(target)

    def sync(self, handle: int) -> None:
        """What is written through this handle survives a power cut."""
        os.fsync(handle)

    def sync_folder(self, folder: str) -> None:
        """See above."""

    def has_writer(self, path: str) -> bool | None:
        """Whether somebody has the file open for writing: then it cannot be opened so that nobody may."""
        try:
            _kernel.CloseHandle(_open(path, _READ, 0, _SHARE_ALL & ~_SHARE_WRITE))
        except OSError as error:
            return True if error.winerror == 32 else None
        return False

    def renamed_at(self, path: str, found: os.stat_result) -> int:
        """When it was last given another name, or written; nanoseconds."""
        handle = _patiently(_open, path, 0x80, _ALSO_FOLDERS | _NOT_THROUGH_LINKS)  # FILE_READ_ATTRIBUTES
        try:
            times = (ctypes.c_longlong * 5)()  # FILE_BASIC_INFO: created, read, written, changed, attributes
            if not _kernel.GetFileInformationByHandleEx(handle, 0, ctypes.byref(times), ctypes.sizeof(times)):
                raise _error(path)
            return (times[3] - _SINCE_1601) * 100
        finally:
            _kernel.CloseHandle(handle)

    def exchange(self, scratch: str, target: str) -> bool:
        """Swap two files. False where the file system cannot."""
        for wait in (*_WAITS, 0.0):
            if _kernel.ReplaceFileW(*map(_long, (target, scratch, scratch + _OUT)), 0, None, None):
                _patiently(_move, scratch + _OUT, scratch)
                return True
            error = _error(target)
            if error.winerror in _UNKNOWN_CALL:
                return False
            if error.winerror == _HALF_MOVED:
                _patiently(_move, scratch + _OUT, target)
            elif error.winerror not in (*_BUSY, _NOT_REMOVED, _NOT_MOVED):
                raise error
            if not wait:
                raise error
            time.sleep(wait)
        return False

    def finish_exchange(self, scratch: str, target: str) -> None:
        """Give what a crash has left under the third name the name that it was to have."""
        out = scratch + _OUT
        if not os.path.lexists(str(_long(out))):
            return
        for place in (target, scratch):
            if not os.path.lexists(str(_long(place))):
                _patiently(_move, out, place)
                return
        number = 1
        while os.path.lexists(str(_long(f"{target}.ccremedy-{number}"))):
            number += 1
        _patiently(_move, out, f"{target}.ccremedy-{number}")  # what cannot be told for sure is kept

    def rename_to_free(self, source: str, destination: str) -> bool:
        """Rename, and FileExistsError rather than overwrite."""
        _patiently(_move, source, destination)
        return True

    # A crash between the two steps leaves one that is not known as ours; it grows stale like anybody's.
    def make_lock(self, path: str) -> None:
        os.mkdir(str(_long(path)))
        _kernel.SetFileAttributesW(_long(path), _HIDDEN)

    def is_our_lock(self, found: os.stat_result) -> bool:
        return bool(found.st_file_attributes & _HIDDEN)


_OUT = "~"  # ends the third name


# ---- patience, and long paths


def patient(module: ModuleType) -> ModuleType:
    """`os`, with calls that a scanner lets fail made again for about a second, and with paths of any length."""

    class Patient(ModuleType):
        def __getattr__(self, name: str) -> object:
            real = getattr(module, name)
            if name not in _PATIENT | _OF_PATHS:
                return real
            wait = _patiently if name in _PATIENT else _at_once

            def call(*given: object, **named: object) -> object:
                return wait(real, *map(_long, given), **named)

            return call

    return Patient("os")


_PATIENT = {"open", "rename", "unlink", "rmdir", "mkdir"}
_OF_PATHS = {"stat", "lstat", "listdir", "readlink", "chmod"}
_LONGEST = 247  # characters of a folder, so that a name of 8.3 fits behind it (MAX_PATH is 260)


def _long(given: object) -> object:
    r"""A path that is too long for most programs as one that is not: \\?\C:\x. Anything else as it is."""
    if not isinstance(given, str) or len(given) <= _LONGEST or given.startswith("\\\\?\\") or not os.path.isabs(given):
        return given
    path = os.path.normpath(given)
    return f"\\\\?\\UNC\\{path[2:]}" if path.startswith("\\\\") else f"\\\\?\\{path}"


def _at_once(call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    return call(*given, **named)


def _patiently(call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    for wait in _WAITS:
        try:
            return call(*given, **named)
        except PermissionError as error:
            if error.winerror not in (None, *_BUSY):  # None: the C library, which tells no more
                raise
        time.sleep(wait)
    return call(*given, **named)


# ---- calls


def _error(path: str) -> OSError:
    code = ctypes.get_last_error()
    return OSError(None, ctypes.FormatError(code), path, code)


def _open(path: str, access: int, flags: int, share: int = _SHARE_ALL) -> int:
    handle = _kernel.CreateFileW(_long(path), access, share, None, _OPEN_EXISTING, flags, None)
    if handle in (None, ctypes.c_void_p(-1).value):
        raise _error(path)
    return int(handle)


def _refused(path: str, access: int, flags: int) -> str:
    """Why Windows does not open it for this ('' if it does). Opening changes nothing."""
    try:
        _kernel.CloseHandle(_patiently(_open, path, access, flags))
    except OSError as error:
        if error.winerror in (32, 33):
            return "is held open by another program, which lets nobody else write it"
        return "may not be written by you" if error.winerror == 5 else f"cannot be written: {error.strerror}"
    return ""


def _move(source: str, destination: str) -> None:
    if not _kernel.MoveFileExW(_long(source), _long(destination), _WRITE_THROUGH):
        raise _error(source)


# ---- who may do what


class _Attributes(ctypes.Structure):
    _fields_ = (("size", ctypes.c_ulong), ("descriptor", ctypes.c_void_p), ("inherit", ctypes.c_int))


class _descriptor:
    """A security descriptor made of its text (SDDL), for as long as the block lasts."""

    def __init__(self, text: str) -> None:
        self.place = ctypes.c_void_p()
        make = _advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW
        if not make(text, 1, ctypes.byref(self.place), None):
            raise _error("")

    def __enter__(self) -> ctypes.c_void_p:
        return self.place

    def __exit__(self, *_: object) -> None:
        _kernel.LocalFree(self.place)


@cache
def me() -> str:
    """The SID of the user that we run as."""
    return user_of(_kernel.GetCurrentProcess())


def user_of(process: int) -> str:
    """The SID of the user that a process (a handle of it) acts as."""
    token = ctypes.c_void_p()
    if not _advapi.OpenProcessToken(process, 8, ctypes.byref(token)):  # TOKEN_QUERY
        raise _error("")
    try:
        room, size = (ctypes.c_void_p * 64)(), ctypes.c_ulong()  # TOKEN_USER: a pointer to the SID, and the SID
        if not _advapi.GetTokenInformation(token, 1, room, ctypes.sizeof(room), ctypes.byref(size)):
            raise _error("")
        text = ctypes.c_wchar_p()
        if not _advapi.ConvertSidToStringSidW(room[0], ctypes.byref(text)):
            raise _error("")
        found = text.value or ""
        _kernel.LocalFree(ctypes.cast(text, ctypes.c_void_p))
        return found
    finally:
        _kernel.CloseHandle(token)


def _security(path: str) -> tuple[str, str]:
    """The owner's SID, and the access list as SDDL has it; '' where the file system has none, or does not tell."""
    place = ctypes.c_void_p()
    parts = _OWNER | _ACCESS_LIST
    if _advapi.GetNamedSecurityInfoW(_long(path), _A_FILE, parts, None, None, None, None, ctypes.byref(place)):
        return "", ""
    try:
        text = ctypes.c_wchar_p()
        tell = _advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW
        if not tell(place, 1, parts, ctypes.byref(text), None):
            return "", ""
        found = text.value or ""
        _kernel.LocalFree(ctypes.cast(text, ctypes.c_void_p))
    finally:
        _kernel.LocalFree(place)
    return access.parse(found)


def _others(path: str, rights: int) -> str:
    """Who beside us, the owner and administrators has one of these rights, as SIDs; '' for nobody."""
    owner, listed = _security(path)
    return ", ".join(access.others(listed, rights, {me(), owner}))
