"""The only module that starts a process, or ends one. No shell strings, no PATH lookups, always a time limit."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess

from ccremedy import files
from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Event


@dataclass(frozen=True)
class Outcome:
    code: int  # as subprocess has it: negative for a signal
    out: bytes
    err: bytes
    timed_out: bool = False


_running: set[subprocess.Popen[bytes]] = set()


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    timeout: float,
    cwd: str = "/",
    cancelled: Event | None = None,
    stdin: bytes = b"",
) -> Outcome:
    """Run an absolute program to its end with exactly this environment and nothing but `stdin` to read.

    After `timeout` seconds the whole process group is killed; what it had printed by then is kept. Where `cancelled`
    is set and `stop_all` called, it is killed too, also if it was just about to start.
    """
    with subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its own group to kill, and no terminal to grab
    ) as process:
        _running.add(process)
        if cancelled is not None and cancelled.is_set():
            _kill(process)
        try:
            out, err = process.communicate(stdin or None, timeout=timeout)
            return Outcome(process.returncode, out, err)
        except subprocess.TimeoutExpired:
            _kill(process)
            try:
                out, err = process.communicate(timeout=1)
            except subprocess.TimeoutExpired as late:  # a grandchild in a group of its own still holds the pipe
                out, err = late.stdout or b"", late.stderr or b""
            return Outcome(process.poll() or 0, out, err, timed_out=True)
        except BaseException:
            _kill(process)
            raise
        finally:
            _running.discard(process)


class Conversation:
    """A child that answers a line with a line. A time-out, an interruption and our own end kill it with its group.

    `stop_all` does not: what is taken back after an interruption may need its answers.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str = "/") -> None:
        import atexit

        self._process = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self.close)

    def ask(self, line: bytes, timeout: float) -> bytes:
        """The answer, without its line end. TimeoutError, or EOFError where the child has ended."""
        try:
            return self._exchange(line + b"\n", timeout)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        import atexit

        atexit.unregister(self.close)
        if self._process.returncode is None:
            _kill(self._process)
        with self._process:  # closes the pipes, and waits
            pass

    def _exchange(self, left: bytes, timeout: float) -> bytes:
        import selectors
        import time

        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        os.set_blocking(into.fileno(), False)  # what is longer than a pipe must not make us wait for ever
        deadline = time.monotonic() + timeout
        answer = b""
        with selectors.DefaultSelector() as ready:
            ready.register(into, selectors.EVENT_WRITE)
            ready.register(out, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                patience = deadline - time.monotonic()
                events = ready.select(patience) if patience > 0 else []
                if not events:
                    raise TimeoutError
                for key, _ in events:
                    if key.fileobj is out:
                        part = os.read(out.fileno(), 1 << 16)
                        if not part:
                            raise EOFError
                        answer += part
                    else:
                        left = left[_write(into.fileno(), left) :]
                        if not left:
                            ready.unregister(into)
        return answer[:-1]


def stop_all() -> None:
    """Kill what runs in other threads: we were interrupted, and nobody waits for the answer any more."""
    for process in list(_running):
        _kill(process)


def is_running(pid: int, start: str) -> bool:
    """Whether this number still is that of the process that the kernel started at `start`. A zombie has ended."""
    return _facts(pid)[0] == start


def stop(pid: int, start: str, *, kill: bool = False, patience: float = 10.0) -> None:
    """End the process of this number *and* start time, and no other: TERM, `patience` seconds, then KILL if `kill`.

    Gone, a zombie, or a number that has gone to another process: the one that was meant has ended, and nothing is
    done. Problem where it does not end; Problem (6) where it is not ours to end: another user's, ccremedy or what runs
    ccremedy, number 1.
    """
    where = f"process {pid}"
    try:
        with contextlib.closing(_hold(pid)) as held:
            known, users = _facts(pid)
            # Only now: what was read is true of what we hold, if that still has its number after the reading.
            if known != start or not held.has_number(pid):
                return
            if pid <= 1 or pid in _lineage():
                raise Problem("runs ccremedy, which does not stop it", where=where, code=UNSUPPORTED)
            if users != {os.geteuid()}:
                raise Problem("belongs to another user", where=where, code=UNSUPPORTED)
            held.send(signal.SIGTERM)
            if held.ends(patience):
                return
            if not kill:
                todo = "To kill it, which loses what it has not saved, try again with --kill"
                raise Problem(f"did not end within {patience:g} seconds", where=where, todo=todo)
            held.send(signal.SIGKILL)
            if not held.ends(patience):
                raise Problem(f"did not end within {patience:g} seconds of being killed", where=where)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Problem("may not be signalled by you", where=where, code=UNSUPPORTED) from None


def _hold(pid: int) -> _Pidfd | _Numbered:
    """A hold on this process that no other can slip under. ProcessLookupError where there is none."""
    try:
        return _Pidfd(os.pidfd_open(pid))
    except (AttributeError, OSError) as error:
        number = getattr(error, "errno", errno.ENOSYS)
        if number in (errno.EINVAL, errno.ENOENT):  # it is the number of a thread now
            raise ProcessLookupError from None
        if number not in (errno.ENOSYS, errno.EPERM):  # EPERM: a container that does not know the call
            raise
        return _Numbered(pid)


class _Pidfd:
    """A process itself, as Linux hands it out since 5.3."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def has_number(self, pid: int) -> bool:
        """Whether it has not been reaped, so that all of /proc/<pid> was its own until now."""
        return f"\nPid:\t{pid}\n".encode() in files.read_start(f"/proc/self/fdinfo/{self.handle}", 4096)

    def send(self, number: int) -> None:
        signal.pidfd_send_signal(self.handle, number)

    def ends(self, seconds: float) -> bool:
        watch = select.poll()
        watch.register(self.handle, select.POLLIN)
        return bool(watch.poll(seconds * 1000))

    def close(self) -> None:
        os.close(self.handle)


class _Numbered:
    """The same by number, on kernels without (macOS, WSL 1): looked at right before each signal, which leaves a gap."""

    def __init__(self, pid: int) -> None:
        try:
            import psutil  # its start times make up for the missing pidfd; nobody else needs it
        except ImportError:
            todo = "python3 -m pip install psutil"
            raise Problem("psutil is needed to stop a process here", todo=todo, code=UNSUPPORTED) from None
        try:
            self.process, self.gone, self.late = psutil.Process(pid), psutil.NoSuchProcess, psutil.TimeoutExpired
        except psutil.NoSuchProcess:
            raise ProcessLookupError from None

    def has_number(self, pid: int) -> bool:
        return bool(self.process.is_running())

    def send(self, number: int) -> None:
        try:
            self.process.send_signal(number)
        except self.gone:
            raise ProcessLookupError from None

    def ends(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except self.late:
            return str(self.process.status()) == "zombie"
        return True

    def close(self) -> None:
        pass


def _facts(pid: int) -> tuple[str, set[int]]:
    """When this process was started, '' where it has ended, and the users that it acts as."""
    lines = files.read_start(f"/proc/{pid}/status", 1 << 14).decode("utf-8", "replace").splitlines()
    users = {int(user) for line in lines if line.startswith("Uid:") for user in line.split()[1:]}
    fields = _stat(pid)
    return (fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""), users


def _lineage() -> set[int]:
    """This process, and those above it."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        fields = _stat(pid)
        pid = int(fields[1]) if len(fields) > 1 else 0
    return found


def _stat(pid: int) -> list[str]:
    """The third and later fields of /proc/<pid>/stat: the name before them may hold blanks and brackets."""
    return files.read_start(f"/proc/{pid}/stat", 4096).decode("utf-8", "replace").rpartition(")")[2].split()


def _write(handle: int, data: bytes) -> int:
    try:
        return os.write(handle, data)
    except BrokenPipeError:
        raise EOFError from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        os.killpg(process.pid, signal.SIGKILL)
