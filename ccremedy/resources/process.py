"""A process: it can be ended, and not be brought back."""

from __future__ import annotations

from ccremedy.errors import Problem
from ccremedy.record import dataclass
from ccremedy.resources import Resource

RUNNING, ENDED = "running", "ended"


@dataclass(frozen=True)
class Process(Resource):
    """The process that has had `pid` since `start` (the kernel's own measure), working in the folder `path`."""

    pid: int
    start: str
    session: str  # its id, by which `claude --resume` takes it up again; '' where it has none
    role: str  # "interactive", "print"…: see `sessions.Session.kind`
    kill: bool  # whether it may be killed where asking was not enough
    REVERSIBLE = False

    def __str__(self) -> str:
        return f"{self.role} session {self.pid} in {self.path}"

    @property
    def name(self) -> str:
        return f"{self.pid}:{self.start}"

    def sentence(self, before: str | None, after: str | None) -> str:
        return f"stop {self}"

    def read(self) -> str:
        from ccremedy import processes  # brings subprocess, which no healthy machine needs

        return RUNNING if processes.is_running(self.pid, self.start) else ENDED

    def write(self, now: str | None, value: str | None, scratch: str) -> None:
        if value != ENDED:
            raise Problem("has ended and cannot be started again by us", where=str(self), todo=self.farewell())
        from ccremedy import processes

        processes.stop(self.pid, self.start, kill=self.kill)

    def obstacle(self) -> str:
        return ""

    def folders(self, value: str | None) -> tuple[str, ...]:
        return ()

    def fingerprint(self) -> str:
        return self.name

    def farewell(self) -> str:
        from ccremedy.shells import typed  # where there is something to say good-bye to

        if not self.session:
            return "it had no session that could be resumed"
        return typed("cd", self.path, then=f"claude --resume {self.session}")
