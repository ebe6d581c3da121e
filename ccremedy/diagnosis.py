"""What is wrong, by every remedy. Pure: nothing is written, no lock is taken, no process is started."""

from __future__ import annotations

from ccremedy.errors import UNSUPPORTED, Problem, explain
from ccremedy.finding import Finding, Healthy, Remedy
from ccremedy.record import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ccremedy.machine import Machine


@dataclass
class Diagnosis:
    findings: list[Finding] = field(default_factory=list["Finding"])
    healthy: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # (remedy, why nothing is to do)
    failed: list[tuple[str, Problem]] = field(default_factory=list[tuple[str, Problem]])  # (remedy, why it cannot tell)


def diagnose(machine: Machine, remedies: Iterable[Remedy]) -> Diagnosis:
    """What each remedy finds, or why it finds nothing, or why it could not tell."""
    result = Diagnosis()
    for remedy in remedies:
        if machine.adapter.name not in remedy.platforms:
            result.healthy.append((remedy.id, remedy.unsupported))
            continue
        try:
            for found in remedy.diagnose(machine):
                if isinstance(found, Healthy):
                    result.healthy.append((remedy.id, found.reason))
                else:
                    result.findings.append(replace(found, remedy=remedy.id))
        except Problem as problem:
            result.failed.append((remedy.id, problem))
        except OSError as error:
            where = str(error.filename or remedy.id)
            result.failed.append((remedy.id, Problem(explain(error), where=where, code=UNSUPPORTED)))
    return result
