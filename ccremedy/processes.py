"""The only module that starts a process. No shell strings, no PATH lookups, always a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

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
    argv: Sequence[str], env: Mapping[str, str], timeout: float, cwd: str = "/", cancelled: Event | None = None
) -> Outcome:
    """Run an absolute program to its end with exactly this environment and nothing to read.

    After `timeout` seconds the whole process group is killed; what it had printed by then is kept. Where `cancelled`
    is set and `stop_all` called, it is killed too, also if it was just about to start.
    """
    with subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its own group to kill, and no terminal to grab
    ) as process:
        _running.add(process)
        if cancelled is not None and cancelled.is_set():
            _kill(process)
        try:
            out, err = process.communicate(timeout=timeout)
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


def stop_all() -> None:
    """Kill what runs in other threads: we were interrupted, and nobody waits for the answer any more."""
    for process in list(_running):
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        os.killpg(process.pid, signal.SIGKILL)
