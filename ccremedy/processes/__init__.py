"""The only module that starts a process, or ends one. No PATH lookups, always a time limit.

No shell strings either, but for what Claude Code itself gives to a shell: the command in its setting apiKeyHelper.
What differs from system to system is in `linux`, `numbered` (macOS, and Linux without pidfds) and `windows`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event
    from typing import Protocol

    class Held(Protocol):
        """One process, kept from being taken for another that gets its number."""

        def has_number(self, pid: int) -> bool: ...
        def ask(self) -> bool:
            """Ask it to end. False where this system knows no asking."""
            ...

        def kill(self) -> None: ...
        def ends(self, seconds: float) -> bool: ...
        def close(self) -> None: ...


if sys.platform == "win32":
    from ccremedy.processes import windows as system
elif sys.platform == "darwin":
    from ccremedy.processes import numbered as system
else:
    from ccremedy.processes import linux as system


@dataclass(frozen=True)
class Outcome:
    code: int  # as subprocess has it: negative for a signal
    out: bytes
    err: bytes
    timed_out: bool = False

    def said(self) -> str:
        """What it has said on standard error, for a person."""
        try:
            return self.err.decode().strip()
        except UnicodeDecodeError:
            from locale import getpreferredencoding  # on Windows a pipe has an old code page

            return self.err.decode(getpreferredencoding(False), "replace").strip()


_running: set[subprocess.Popen[bytes]] = set()


def run(
    argv: Sequence[str] | str,
    env: Mapping[str, str],
    timeout: float,
    cwd: str = os.path.abspath(os.sep),
    cancelled: Event | None = None,
    stdin: bytes = b"",
) -> Outcome:
    """Run an absolute program to its end with exactly this environment and nothing but `stdin` to read.

    After `timeout` seconds all that it has started is killed; what it had printed by then is kept. Where `cancelled`
    is set and `stop_all` called, it is killed too, also if it was just about to start. A string is a whole command
    line, as only Windows knows it.
    """
    with _started(argv, env, cwd, subprocess.PIPE if stdin else subprocess.DEVNULL, subprocess.PIPE) as process:
        _running.add(process)
        if cancelled is not None and cancelled.is_set():
            system.kill_together(process)
        try:
            out, err = process.communicate(stdin or None, timeout=timeout)
            return Outcome(process.returncode, out, err)
        except subprocess.TimeoutExpired:
            system.kill_together(process)
            try:
                out, err = process.communicate(timeout=1)
            except subprocess.TimeoutExpired as late:  # a grandchild in a group of its own still holds the pipe
                out, err = late.stdout or b"", late.stderr or b""
            return Outcome(process.poll() or 0, out, err, timed_out=True)
        except BaseException:
            system.kill_together(process)
            raise
        finally:
            _running.discard(process)


def _started(
    argv: Sequence[str] | str, env: Mapping[str, str], cwd: str, stdin: int, stderr: int
) -> subprocess.Popen[bytes]:
    """A process with a group of its own to kill, and no terminal to grab."""
    process = subprocess.Popen(
        argv, env=dict(env), cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, **system.GROUP
    )
    system.hold_together(process)
    return process


class Conversation:
    """A child that answers a line with a line. A time-out, an interruption and our own end kill it with its group.

    `stop_all` does not: what is taken back after an interruption may need its answers. Threads wait for it, because
    on Windows nobody can wait for a pipe for a limited time.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str = os.path.abspath(os.sep)) -> None:
        import atexit
        from queue import SimpleQueue
        from threading import Thread

        self._process = _started(argv, env, cwd, subprocess.PIPE, subprocess.DEVNULL)
        self._questions: SimpleQueue[bytes] = SimpleQueue()
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        for work in (self._write, self._read):
            Thread(target=work, daemon=True).start()
        atexit.register(self.close)

    def ask(self, line: bytes, timeout: float) -> bytes:
        """The answer, without its line end. TimeoutError, or EOFError where the child has ended."""
        from queue import Empty

        try:
            self._questions.put(line + b"\n")
            answer = self._answers.get(timeout=timeout)
        except BaseException as error:
            self.close()
            if isinstance(error, Empty):
                raise TimeoutError from None
            raise
        if not answer.endswith(b"\n"):
            self.close()
            raise EOFError
        return answer[:-1]

    def close(self) -> None:
        import atexit

        atexit.unregister(self.close)
        if self._process.returncode is None:
            system.kill_together(self._process)
        self._process.wait()
        self._questions.put(b"")

    def _write(self) -> None:
        into = self._process.stdin
        assert into is not None
        with into, contextlib.suppress(OSError):  # it has ended, which the answer will say
            while line := self._questions.get():
                into.write(line)
                into.flush()

    def _read(self) -> None:
        out = self._process.stdout
        assert out is not None
        with out, contextlib.suppress(OSError):
            while line := out.readline():
                self._answers.put(line)
        self._answers.put(b"")


def stop_all() -> None:
    """Kill what runs in other threads: we were interrupted, and nobody waits for the answer any more."""
    for process in list(_running):
        system.kill_together(process)


# Windows has no /proc, and psutil is not needed where this much tells who may be meant.


def listing() -> Iterator[tuple[int, int, str]]:
    """The number, the parent's number and the name of every process; on Windows alone."""
    if sys.platform == "win32":
        return system.listing()
    return iter(())


def use(pid: int) -> tuple[float, float]:
    """The seconds of a processor that it has used, and its age in seconds; on Windows alone."""
    if sys.platform == "win32":
        return system.use(pid)
    return 0.0, 0.0


def started(pid: int) -> str:
    """When this process was started, in the kernel's own measure; '' where it has ended, as a zombie has too."""
    return _facts(pid)[0]


def is_running(pid: int, start: str) -> bool:
    """Whether this number still is that of the process that the kernel started at `start`."""
    return started(pid) == start


def stop(pid: int, start: str, *, kill: bool = False, patience: float = 10.0) -> None:
    """End the process of this number *and* start time, and no other: TERM, `patience` seconds, then KILL if `kill`.

    Gone, a zombie, or a number that has gone to another process: the one that was meant has ended, and nothing is
    done. Problem where it does not end; Problem (6) where it is not ours to end: another user's, ccremedy or what runs
    ccremedy, number 1. Windows knows no asking, so there it takes `kill`.
    """
    where = f"process {pid}"
    still = "To kill it, which loses what it has not saved, try again with --kill"
    try:
        with contextlib.closing(_hold(pid)) as held:
            known, ours = _facts(pid)
            # Only now: what was read is true of what we hold, if that still has its number after the reading.
            if known != start or not held.has_number(pid):
                return
            if pid <= 1 or pid in _lineage():
                raise Problem("runs ccremedy, which does not stop it", where=where, code=UNSUPPORTED)
            if not ours:
                raise Problem("belongs to another user", where=where, code=UNSUPPORTED)
            if not held.ask():
                if not kill:
                    raise Problem("cannot be asked to end, only be killed", where=where, todo=still, code=UNSUPPORTED)
            elif held.ends(patience):
                return
            elif not kill:
                raise Problem(f"did not end within {patience:g} seconds", where=where, todo=still)
            held.kill()
            if not held.ends(patience):
                raise Problem(f"did not end within {patience:g} seconds of being killed", where=where)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Problem("may not be signalled by you", where=where, code=UNSUPPORTED) from None


def _hold(pid: int) -> Held:
    """A hold on this process that no other can slip under. ProcessLookupError where there is none."""
    return system.hold(pid)


def _facts(pid: int) -> tuple[str, bool]:
    """When this process was started, '' where it has ended, and whether it acts as this user and no other."""
    return system.facts(pid)


def _lineage() -> set[int]:
    """This process, and those above it."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        pid = system.parent(pid)
    return found
