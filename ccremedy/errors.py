"""Exit codes, and the one exception that a person is meant to read.

A `Problem` carries what happened, where, and what to do; `cli.main` is the only place that prints one.
Anything else that escapes is a bug, and is reported as such (exit 70).
"""

from __future__ import annotations

OK = 0
FOUND = FAILED = 1  # diagnose: at least one finding; apply, undo: failed and undone cleanly
USAGE = 2
PARTLY = 3  # some check could not run; some changes were refused or skipped
INCOMPLETE = 4  # failed, and taking it back failed too: a person must look
UNCONFIRMED = 5
UNSUPPORTED = 6  # not on this platform, or a precondition is missing
LOCKED = 7
DRIFT = 8  # the target changed since the plan, or since apply
BUG = 70
INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141


class Problem(Exception):
    """Something that stops us, which is not a bug: what, where (a path or a name), what to do, exit code."""

    def __init__(self, what: str, *, where: str = "", todo: str = "", code: int = FAILED) -> None:
        super().__init__(what)
        self.what, self.where, self.todo, self.code = what, where, todo, code

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(part if part.endswith((".", "?")) else f"{part}." for part in (sentence, self.todo) if part)


class Drift(Problem):
    """What is there is neither what we expected before the change nor what we want after it."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo, code=DRIFT)


class Unreadable(Problem):
    """The operating system would not let us read it. `errno` tells a passing fault from a file that is closed to us."""

    def __init__(self, error: OSError, *, where: str, todo: str = "") -> None:
        super().__init__(f"cannot be read: {explain(error)}", where=where, todo=todo, code=UNSUPPORTED)
        self.errno = error.errno


class Stopped(BaseException):
    """SIGTERM or SIGHUP arrived: unwind as for Ctrl-C, so that what was begun is taken back."""


def explain(error: OSError) -> str:
    """The operating system's reason, in lower case, without numbers or paths."""
    if getattr(error, "winerror", None) in (32, 33):
        return "another program has it open"
    return (error.strerror or type(error).__name__).lower()
