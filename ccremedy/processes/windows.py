"""Windows: a process is held by a handle, and those that belong together by a job."""

from __future__ import annotations

import ctypes
import subprocess
import sys

assert sys.platform == "win32"

from ccremedy.files.windows import me, user_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypedDict

    class Group(TypedDict):
        creationflags: int


GROUP: Group = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}

_TERMINATE, _LOOK, _WAIT = 0x1, 0x1000, 0x100000  # winnt.h: PROCESS_TERMINATE, …QUERY_LIMITED_INFORMATION, SYNCHRONIZE
_NO_SUCH = (87, 6)  # ERROR_INVALID_PARAMETER: there is no process of that number
_STILL_THERE = 258  # WAIT_TIMEOUT

_kernel = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel.OpenProcess.restype = _kernel.CreateJobObjectW.restype = ctypes.c_void_p
_kernel.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
_kernel.CreateJobObjectW.argtypes = [ctypes.c_void_p] * 2
_kernel.SetInformationJobObject.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong]
_kernel.AssignProcessToJobObject.argtypes = [ctypes.c_void_p] * 2
_kernel.TerminateJobObject.argtypes = _kernel.TerminateProcess.argtypes = [ctypes.c_void_p, ctypes.c_uint]
_kernel.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
_kernel.GetProcessTimes.argtypes = [ctypes.c_void_p] * 5
_kernel.CloseHandle.argtypes = [ctypes.c_void_p]
_kernel.GetProcessId.argtypes = [ctypes.c_void_p]


# ---- what belongs together

_jobs: dict[int, int] = {}  # the number of a process of ours: its job


def hold_together(process: subprocess.Popen[bytes]) -> None:
    """What it starts from now on ends with it, and with us. Where Windows has no job for it, it is killed alone."""
    job = _kernel.CreateJobObjectW(None, None)
    limits = (ctypes.c_ubyte * 144)()  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION, on 64 bits
    ctypes.c_ulong.from_buffer(limits, 16).value = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    _kernel.SetInformationJobObject(job, 9, ctypes.byref(limits), ctypes.sizeof(limits))
    if job and _kernel.AssignProcessToJobObject(job, int(process._handle)):  # type: ignore[attr-defined]
        _jobs[process.pid] = job


def kill_together(process: subprocess.Popen[bytes]) -> None:
    job = _jobs.pop(process.pid, None)
    if job:
        _kernel.TerminateJobObject(job, 1)
        _kernel.CloseHandle(job)
    elif process.poll() is None:
        process.kill()


# ---- one process


def hold(pid: int) -> Handle:
    return Handle(pid)


class Handle:
    """As long as it is open, Windows gives the number to no other process."""

    def __init__(self, pid: int) -> None:
        self.handle = _kernel.OpenProcess(_TERMINATE | _LOOK | _WAIT, False, pid)
        if not self.handle:
            code = ctypes.get_last_error()
            raise ProcessLookupError if code in _NO_SUCH else PermissionError

    def has_number(self, pid: int) -> bool:
        return int(_kernel.GetProcessId(self.handle)) == pid and not self.ends(0)

    def ask(self) -> bool:
        return False

    def kill(self) -> None:
        if not _kernel.TerminateProcess(self.handle, 1) and not self.ends(0):
            raise PermissionError

    def ends(self, seconds: float) -> bool:
        return int(_kernel.WaitForSingleObject(self.handle, int(seconds * 1000))) != _STILL_THERE

    def close(self) -> None:
        _kernel.CloseHandle(self.handle)


def facts(pid: int) -> tuple[str, bool]:
    """The start is in hundreds of nanoseconds since 1601."""
    handle = _kernel.OpenProcess(_LOOK | _WAIT, False, pid)
    if not handle:
        return "", False
    try:
        times = _times(handle)
        if int(_kernel.WaitForSingleObject(handle, 0)) != _STILL_THERE or not times[0]:
            return "", False
        try:
            return str(times[0]), user_of(handle) == me()
        except OSError:  # closed to us
            return str(times[0]), False
    finally:
        _kernel.CloseHandle(handle)


def parent(pid: int) -> int:
    """0 where it has ended: its number stays, and may be a later process' by now."""
    above = next((above for number, above, _ in listing() if number == pid), 0)
    times = [int(facts(each)[0] or 0) for each in (above, pid)]
    return above if times[0] <= times[1] else 0


class _Entry(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_ulong), ("usage", ctypes.c_ulong), ("pid", ctypes.c_ulong), ("heap", ctypes.c_void_p),
        ("module", ctypes.c_ulong), ("threads", ctypes.c_ulong), ("parent", ctypes.c_ulong),
        ("priority", ctypes.c_long), ("flags", ctypes.c_ulong), ("name", ctypes.c_wchar * 260),
    )  # fmt: skip


def listing() -> Iterator[tuple[int, int, str]]:
    """The number, the parent's number and the program's name of every process."""
    snapshot = ctypes.c_void_p(_kernel.CreateToolhelp32Snapshot(2, 0))  # TH32CS_SNAPPROCESS
    entry = _Entry(ctypes.sizeof(_Entry))
    try:
        more = _kernel.Process32FirstW(snapshot, ctypes.byref(entry))
        while more:
            yield int(entry.pid), int(entry.parent), str(entry.name)
            more = _kernel.Process32NextW(snapshot, ctypes.byref(entry))
    finally:
        _kernel.CloseHandle(snapshot)


def use(pid: int) -> tuple[float, float]:
    """How many seconds of a processor it has used, and how many seconds ago it was started; 0 where it has ended."""
    handle = _kernel.OpenProcess(_LOOK, False, pid)
    if not handle:
        return 0.0, 0.0
    try:
        start, _, in_kernel, outside = _times(handle)
    finally:
        _kernel.CloseHandle(handle)
    now = ctypes.c_ulonglong()
    _kernel.GetSystemTimeAsFileTime(ctypes.byref(now))
    return (in_kernel + outside) / 10_000_000, max(now.value - start, 0) / 10_000_000 if start else 0.0


def _times(handle: int) -> tuple[int, ...]:
    """Started, ended, time in the kernel, time outside of it; in hundreds of nanoseconds."""
    times = (ctypes.c_ulonglong * 4)()
    _kernel.GetProcessTimes(handle, *(ctypes.byref(times, 8 * number) for number in range(4)))
    return tuple(times)
