"""Asks a person, change by change. Every answer is collected before anything is written."""

from __future__ import annotations

from ccremedy.errors import UNCONFIRMED, UNSUPPORTED, Problem
from ccremedy.finding import RISKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ccremedy.cli.report import Screen
    from ccremedy.finding import Finding
    from ccremedy.resources import Change

YES, NO, ALL, DIFF, QUIT = "Yes", "No", "Yes, and all of this kind", "Show the diff", "Quit: change nothing at all"


def confirm(findings: list[Finding], screen: Screen) -> list[Change]:
    """The changes that a person agrees to. KeyboardInterrupt on Ctrl-C; Problem (5) where they quit."""
    agreed: list[Change] = []
    kinds: set[tuple[str, str]] = set()
    for finding in findings:
        if finding.together:
            agreed += _whole(finding, screen)
            continue
        for change in finding.changes:
            if change.refused:
                continue
            kind = (finding.remedy, type(change.resource).__name__)
            if kind in kinds and RISKS.index(finding.risk) < RISKS.index("high"):
                agreed.append(change)
                continue
            screen.say(f"\n{finding.remedy}: {finding.title}")
            screen.change(change, "pending", None, diffs=True)
            answer = DIFF
            while answer == DIFF:
                answer = _select(f"{change.sentence()}?")
                if answer == DIFF:
                    screen.diff(change)
            if answer == QUIT:
                raise Problem("nothing was changed, as you asked", code=UNCONFIRMED)
            if answer == ALL:
                kinds.add(kind)
            if answer in (YES, ALL):
                agreed.append(change)
    return agreed


def _whole(finding: Finding, screen: Screen) -> list[Change]:
    changes = [change for change in finding.changes if not change.refused]
    if not changes:
        return []
    screen.say(f"\n{finding.remedy}: {finding.title}")
    for change in changes:
        screen.change(change, "pending", None, diffs=True)
    answer = str(_questionary().select("Do all of this?", choices=[YES, NO, QUIT]).unsafe_ask())
    if answer == QUIT:
        raise Problem("nothing was changed, as you asked", code=UNCONFIRMED)
    return changes if answer == YES else []


def yes(question: str) -> bool:
    """A plain yes or no; no by default."""
    return bool(_questionary().confirm(question, default=False).unsafe_ask())


def hidden(question: str) -> str:
    return str(_questionary().password(question).unsafe_ask())


def _select(question: str) -> str:
    return str(_questionary().select(question, choices=[YES, NO, ALL, DIFF, QUIT]).unsafe_ask())


def _questionary() -> Any:
    try:
        import questionary  # 180 ms, and only a person at a terminal needs it
    except ModuleNotFoundError:
        raise Problem(
            "the package “questionary”, which asks, is not installed",
            todo="Install ccremedy with its packages, as its README says under “Mend it”, or say --yes",
            code=UNSUPPORTED,
        ) from None
    return questionary
