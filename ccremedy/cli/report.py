"""What a person reads and what a program reads, of the same facts. Everything foreign is redacted here, once."""

from __future__ import annotations

import codecs
import os
import sys

from ccremedy.errors import Problem
from ccremedy.record import dataclass, field
from ccremedy.redact import redact, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccremedy.finding import Finding
    from ccremedy.machine import Machine
    from ccremedy.resources import Change

SCHEMA = 1
PLAIN = str.maketrans({"✗": "x", "✓": "+", "·": "-", "→": ">", "…": "...", "“": '"', "”": '"', "’": "'", "–": "-"})
MARKS = {"error": ("✗", "31"), "warning": ("!", "33"), "info": ("·", "36"), "ok": ("✓", "32")}


WIDEST = 500  # characters of one line; a minified file has one of a megabyte


def shown(text: str) -> str:
    """Foreign text as we show it: redacted, no longer than a person would read."""
    return _clipped(redact(text))


def spelled(path: str) -> str:
    """A path or a sentence about one, which holds no secret."""
    return _clipped(visible(path))


def _clipped(text: str) -> str:
    lines = (f"{line[:WIDEST]} … ({len(line)} characters)" if len(line) > WIDEST else line for line in text.split("\n"))
    return "\n".join(lines)


@dataclass
class Report:
    """One answer of one command; `--json` prints all of it, a terminal the parts that say something."""

    command: str
    platform: str = ""
    findings: list[Finding] = field(default_factory=list["Finding"])
    outcomes: dict[tuple[str, str, Change], str] = field(default_factory=dict["tuple[str, str, Change]", str])
    healthy: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    failed: list[tuple[str, Problem]] = field(default_factory=list[tuple[str, Problem]])
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[str] = field(default_factory=list[str])
    diffs: dict[Change, str] = field(default_factory=dict["Change", str])  # as they were before anything was written
    run: int | None = None
    more: dict[str, object] = field(default_factory=dict[str, object])  # what one command alone says: "runs", "key"
    exit: int = 0

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "command": self.command,
            "platform": self.platform,
            "findings": [self._finding(each) for each in self.findings],
            "healthy": [{"remedy": remedy, "reason": shown(reason)} for remedy, reason in self.healthy],
            "failed": [{"remedy": remedy, **problem_json(problem)} for remedy, problem in self.failed],
            "problems": [problem_json(problem) for problem in self.problems],
            "notes": [shown(note) for note in self.notes],
            **self.more,
            "run": self.run,
            "exit": self.exit,
        }

    def _finding(self, finding: Finding) -> dict[str, object]:
        return {
            "remedy": finding.remedy,
            "id": finding.id,
            "title": shown(finding.title),
            "severity": finding.severity,
            "risk": finding.risk,
            "evidence": [shown(each) for each in finding.evidence],
            "advice": [shown(each) for each in finding.advice],
            "changes": [
                {
                    "resource": spelled(str(change.resource)),
                    "summary": spelled(change.sentence()),
                    "diff": self.diffs.get(change) or diff(change),
                    "reversible": change.resource.REVERSIBLE,
                    "status": self.status(finding, change),
                    **({"refused": shown(change.refused)} if change.refused else {}),
                    **({"by_hand": shown(change.by_hand)} if self._by_hand(finding, change) else {}),
                }
                for change in finding.changes
            ],
        }

    def _by_hand(self, finding: Finding, change: Change) -> bool:
        return bool(change.by_hand) and self.status(finding, change) in ("refused", "failed")

    def remember_diffs(self) -> None:
        """Before something is written: afterwards there is no difference left to show."""
        self.diffs = {change: diff(change) for finding in self.findings for change in finding.changes}

    def status(self, finding: Finding, change: Change) -> str:
        outcome = self.outcomes.get((finding.remedy, finding.id, change))
        return outcome or ("refused" if change.refused else "pending")


def problem_json(problem: Problem) -> dict[str, object]:
    return {
        "what": shown(problem.what),
        "where": spelled(problem.where),
        "todo": shown(problem.todo),
        "code": problem.code,
    }


def diff(change: Change) -> str:
    """A unified diff of the file that the change edits, redacted; '' where it moves something."""
    try:
        preview = None if change.refused else change.resource.preview(change.after)
    except Problem:  # it is not as it was when this was planned, which whoever writes will say
        preview = None
    if preview is None:
        return ""
    from difflib import unified_diff  # not needed where nothing is found

    # Whole texts, because some secrets run over several lines.
    before, after = (_lines(redact(data.decode("utf-8", "surrogateescape"))) for data in preview)
    path = spelled(change.resource.path)
    lines = unified_diff(before, after, path if change.before is not None else "/dev/null", path)
    return _clipped("".join(lines))


def _lines(text: str) -> list[str]:
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([f"{rest}\n\\ No newline at end of file\n"] if rest else [])


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What an old code page cannot print (a pipe of Windows'), in ASCII."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


class Screen:
    """Prints to a terminal or a pipe. Colour only where it is wanted and seen."""

    def __init__(self, color: str = "auto", quiet: bool = False, verbose: bool = False) -> None:
        codecs.register_error("ccremedy", _plainly)
        for stream in (sys.stdout, sys.stderr):
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="ccremedy")
        wanted = color == "always" or (
            color == "auto"
            and sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        self.color, self.quiet, self.verbose = wanted, quiet, verbose

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and text else text

    def say(self, text: str = "") -> None:
        if not self.quiet:
            print(text)

    def problem(self, problem: Problem) -> None:
        print(f"{self.paint('ccremedy:', '31')} {shown(str(problem))}", file=sys.stderr)

    def report(self, report: Report, machine: Machine | None, *, diffs: bool) -> None:
        for finding in report.findings:
            self._finding(report, finding, machine, diffs=diffs)
        for remedy, problem in report.failed:
            self.say(f"{self.paint('?', '33')} {remedy}: could not be checked: {shown(str(problem))}")
        if self.verbose or not report.findings:
            for remedy, reason in report.healthy:
                self.say(f"{self.paint('✓', '32')} {remedy}: nothing to do: {shown(reason)}")
        for note in report.notes:
            self.say(f"{self.paint('·', '36')} {shown(note)}")
        sys.stdout.flush()
        for each in report.problems:
            self.problem(each)

    def _finding(self, report: Report, finding: Finding, machine: Machine | None, *, diffs: bool) -> None:
        mark, code = MARKS[finding.severity]
        risk = f"  ({finding.risk} risk)" if finding.changes else ""
        self.say(f"{self.paint(mark, code)} {self.paint(finding.remedy, '1')}: {shown(finding.title)}{risk}")
        for line in finding.evidence:
            self.say(f"    {shown(line)}")
        reasons = {change.refused for change in finding.changes}
        if finding.together and len(reasons) == 1 and all(reasons):
            self.say(f"  {self.paint('refused:', '31')} all of it, because it {shown(*reasons)}")
        else:
            for change in finding.changes:
                self.change(change, report.status(finding, change), machine, diffs=diffs)
        for line in finding.advice:
            self.say(f"  {self.paint('→', '36')} {shown(line)}")
        self.say()

    def change(self, change: Change, status: str, machine: Machine | None, *, diffs: bool) -> None:
        sentence = change.sentence()
        if machine is not None:
            sentence = sentence.replace(machine.home + os.sep, f"~{os.sep}")
        word, code = {
            "pending": ("would", "33"),
            "done": ("done:", "32"),
            "undone": ("undone:", "32"),
        }.get(status, (f"{status}:", "31"))
        forever = "" if change.resource.REVERSIBLE else " (this cannot be taken back)"
        self.say(f"  {self.paint(word, code)} {spelled(sentence)}{forever}")
        if change.refused:
            self.say(f"    because it {shown(change.refused)}")
        if status in ("refused", "failed") and change.by_hand:
            self.say("    by hand:")
            for line in change.by_hand.splitlines():
                self.say(f"      {shown(line)}")
        elif diffs:
            self.diff(change)

    def diff(self, change: Change) -> None:
        colors = {"+": "32", "-": "31", "@": "36"}
        for line in diff(change).splitlines():
            self.say(f"    {self.paint(line, colors.get(line[:1], '0'))}")
