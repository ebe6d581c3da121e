"""What each command does: options in, a report out. The words themselves are read in the package's `__init__`."""

from __future__ import annotations

import os
import sys

from ccremedy import errors
from ccremedy.cli.report import Report, Screen
from ccremedy.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from ccremedy.diagnosis import Diagnosis
    from ccremedy.engine import Result
    from ccremedy.finding import Finding, Remedy
    from ccremedy.journal import Journal
    from ccremedy.machine import Machine
    from ccremedy.plans import Plan
    from ccremedy.resources import Change


def list_remedies(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import registry

    report = Report("list", _platform())
    report.more["remedies"] = told = [_remedy_json(each, report.platform) for each in registry.remedies().values()]
    for each in told:
        here = "" if each["supported"] else f"  ({each['unsupported']})"
        options.text.append(f"{each['id']:<18} {each['title']}{here}")
    return report


def show_remedy(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import registry

    report = Report("show", _platform())
    remedy = registry.remedy(options.remedy)
    report.more["remedies"] = [_remedy_json(remedy, report.platform)]
    options.text += [f"{remedy.id}: {remedy.title}", ""]
    options.text += [f"  {line}".rstrip() for line in (sys.modules[type(remedy).__module__].__doc__ or "").splitlines()]
    options.text += ["", "  What you may have seen:", *(f"    {symptom}" for symptom in remedy.symptoms)]
    options.text += [f"  {f'--{each.name} {each.value}'.rstrip()}: {each.help}" for each in remedy.options]
    if remedy.id and report.platform not in remedy.platforms:
        options.text += ["", f"  Not here: {remedy.unsupported}."]
    return report


def diagnose(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import diagnosis

    machine, remedies = this_machine(options), _chosen(options, options.remedies)
    found = diagnosis.diagnose(machine, remedies.values())
    report = _report("diagnose", machine, found)
    report.notes += _interrupted_runs(machine)
    report.exit = errors.FOUND if found.findings else errors.PARTLY if found.failed else errors.OK
    if options.remedies and not found.findings and not found.failed:
        report.exit = _unsupported(machine, remedies)
    return report


def without_a_command(options: argparse.Namespace, screen: Screen) -> Report:
    """Without a command: diagnose, and on a terminal offer to mend."""
    options.remedies, options.all = [], True
    report = diagnose(options, screen)
    mendable = any(not change.refused for finding in report.findings for change in finding.changes)
    if not mendable or options.json or not (options.yes or can_ask(options)):
        return report
    options.dry_run, options.plan, options.exit_style = False, None, "plain"
    return apply(options, screen)


def plan(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import diagnosis, plans

    machine, remedies = this_machine(options), _chosen(options, _named(options))
    found = diagnosis.diagnose(machine, remedies.values())
    report = _report("plan", machine, found)
    report.exit = _precluded(found)
    plans.write(options.output, plans.make(machine, list(remedies), found.findings))
    if options.output == "-":
        options.quiet = options.silent = True
    else:
        report.notes.append(f"the plan is in {options.output}: ccremedy apply --plan {options.output}")
    return report


def apply(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import diagnosis, plans

    planned = plans.load(options.plan) if options.plan else None
    if planned is not None:
        if options.remedies or options.all:
            raise Problem("a plan names its own remedies", todo="Say either --plan or remedies", code=errors.USAGE)
        options.remedies = planned["remedies"]
        for name, value in planned["options"].items():
            if name not in options.switches:  # or a forged plan could say --yes for the user
                raise Problem(f"is not a plan: no remedy has “--{name}”", where=options.plan, code=errors.USAGE)
            setattr(options, name, value)
    remedies = _chosen(options, _named(options))
    machine = this_machine(options)
    notes = [] if options.dry_run else recover_first(machine, options)
    found = diagnosis.diagnose(machine, remedies.values())
    report = _report("apply", machine, found)
    report.notes += notes
    if planned is not None:
        plans.check(planned, machine, found.findings, journal_of(machine).runs())
    mendable = [finding for finding in found.findings if any(not change.refused for change in finding.changes)]
    if options.dry_run or not mendable:
        report.exit = _precluded(found)
        if not found.findings and not found.failed and options.remedies:
            report.exit = _unsupported(machine, remedies)
        if options.dry_run and mendable:
            report.notes.append("this was a dry run: nothing was written")
            if options.exit_style == "detailed":
                report.exit = 10
        return report
    return carry_out(report, machine, found, remedies, f"apply {' '.join(remedies)}", options, screen, planned)


def carry_out(
    report: Report, machine: Machine, found: Diagnosis, remedies: dict[str, Remedy], command: str,
    options: argparse.Namespace, screen: Screen, planned: Plan | None = None,
) -> Report:  # fmt: skip
    """Ask, lock, do: from what was found and shown to what became of it."""
    from ccremedy import plans

    journal = journal_of(machine)
    mendable = [finding for finding in found.findings if any(not change.refused for change in finding.changes)]
    report.remember_diffs()
    if can_ask(options) and not options.yes:
        screen.report(report, machine, diffs=False)
    try:
        agreed = _agree(options, screen, mendable)
    except Problem as problem:
        report.problems.append(problem)
        report.exit = problem.code
        return report
    with journal.lock(options.timeout):
        from ccremedy.engine import Engine  # not for a dry run

        if planned is not None:
            plans.check_unused(planned, journal.sound_runs())  # somebody else may have been faster
        if not all(change.resource.REVERSIBLE for change in agreed):
            found.findings = report.findings = _still_so(machine, found.findings, remedies)
        doing = [_only(finding, agreed) for finding in found.findings]
        hand = Engine(machine, journal, timeout=options.timeout)
        run = journal.begin(_next(journal), command, _now(), planned["plan"] if planned else "")
        result = hand.apply(doing, run, remedies)
    return _outcome(report, result, found, agreed)


def undo(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy.engine import Engine
    from ccremedy.journal import find

    machine = this_machine(options)
    journal = journal_of(machine)
    report = Report("undo", machine.adapter.name)
    report.notes += recover_first(machine, options)
    runs = journal.sound_runs()
    target = find(runs, options.run)
    count = len(target.kept())
    if not count:
        raise Problem(f"run {target.number} changed nothing that stood", code=errors.USAGE)
    if options.change is not None and not 1 <= options.change <= count:
        raise Problem(f"run {target.number} has changes 1 to {count}", code=errors.USAGE)
    only: int | None = options.change
    chosen = target.kept() if only is None else [target.kept()[only - 1]]
    sentences = [step.changes[index].sentence() for step, index in chosen]
    diffs = _inverse_diffs([step.changes[index] for step, index in chosen])
    if not options.yes:
        if not can_ask(options):
            raise _unconfirmed()
        from ccremedy.cli import ask

        screen.say(f"Run {target.number} ({target.command}, {target.time}):")
        for sentence in sentences:
            screen.say(f"  {sentence}")
        if not ask.yes("Take this back?"):
            raise Problem("nothing was changed, as you asked", code=errors.UNCONFIRMED)
    with journal.lock(options.timeout):
        hand = Engine(machine, journal, timeout=options.timeout)
        runs = journal.sound_runs()
        run = journal.begin(_next(journal), f"undo {target.number}", _now())
        result = hand.undo(find(runs, target.number), run, only)
    report.run = run.number if run.kept() else None
    report.problems, report.notes = result.problems, report.notes + result.notes
    report.outcomes, report.diffs = result.outcomes, diffs
    report.findings = _undone_findings(result)
    report.exit = _exit_code(result, set(result.outcomes.values()))
    return report


def history(options: argparse.Namespace, screen: Screen) -> Report:
    machine = this_machine(options)
    runs = journal_of(machine).runs()
    report = Report("history", machine.adapter.name)
    told: list[dict[str, Any]] = [
        {
            "run": run.number,
            "time": run.time,
            "command": run.command,
            "state": "damaged" if run.damage else "interrupted" if run.open else "finished",
            "changes": [
                {"change": number, "summary": step.changes[index].sentence(), "undone_by": step.undone.get(index)}
                for number, (step, index) in enumerate(run.kept(), 1)
            ],
        }
        for run in runs
    ]
    report.more["runs"] = told
    for each in told:
        state = "" if each["state"] == "finished" else f"  ({each['state']})"
        options.text.append(f"run {each['run']}  {each['time']}  {each['command']}{state}")
        for change in each["changes"]:
            undone = f"  (undone by run {change['undone_by']})" if change["undone_by"] else ""
            options.text.append(f"  {change['change']}. {change['summary']}{undone}")
    report.problems += [Problem(run.damage, where=run.path, code=errors.INCOMPLETE) for run in runs if run.damage]
    if not runs:
        options.text.append("ccremedy has changed nothing here.")
    report.exit = errors.INCOMPLETE if report.problems else errors.OK
    return report


def recover(options: argparse.Namespace, screen: Screen) -> Report:
    machine = this_machine(options)
    report = Report("recover", machine.adapter.name)
    report.notes = recover_first(machine, options) or ["no run was interrupted: there is nothing to recover"]
    return report


# ---- their parts


def this_machine(options: argparse.Namespace) -> Machine:
    from ccremedy import registry

    for name in options.switches:
        if getattr(options, name) == "-":
            setattr(options, name, asked(options, f"--{name}:"))
    machine = registry.this_machine({name: getattr(options, name) or False for name in options.switches})
    if not machine.home.isascii() and sys.getfilesystemencoding() != "utf-8":  # files would get another name of it
        what = "has letters in its name that this terminal's encoding takes for others"
        raise Problem(what, where=machine.home, todo="Set PYTHONUTF8=1, then try again", code=errors.UNSUPPORTED)
    return machine


def asked(options: argparse.Namespace, question: str) -> str:
    """A line that nobody else is to see: from standard input, or at a terminal without showing it."""
    if not sys.stdin.isatty():
        return sys.stdin.read(1 << 16).strip()
    if not can_ask(options):
        raise Problem("it is asked for at a terminal, or read from standard input", code=errors.UNCONFIRMED)
    from ccremedy.cli import ask

    return ask.hidden(question).strip()


def journal_of(machine: Machine) -> Journal:
    from ccremedy.journal import Journal

    return Journal(machine.adapter.state_folder(machine.facts))


def _platform() -> str:
    from ccremedy import registry
    from ccremedy.machine import Facts

    return registry.adapter(Facts(sys.platform, dict(os.environ), os.path.abspath(os.sep))).name


def _named(options: argparse.Namespace) -> list[str]:
    if not options.remedies and not options.all:
        raise Problem("name a remedy, or say --all", todo="`ccremedy list` lists them", code=errors.USAGE)
    return list(options.remedies)


def _chosen(options: argparse.Namespace, names: list[str]) -> dict[str, Remedy]:
    """The remedies of these names; all where none is named. Switches of others are refused."""
    from ccremedy import registry

    chosen = {name: registry.remedy(name) for name in names} if names else registry.remedies()
    for switch, owners in options.switches.items():
        if getattr(options, switch) and not set(owners) & chosen.keys():
            raise Problem(
                f"--{switch} belongs to {owners[0]}", todo=f"Name {owners[0]} too, or leave it out", code=errors.USAGE
            )
    return chosen


def _report(command: str, machine: Machine, found: Diagnosis) -> Report:
    return Report(command, machine.adapter.name, found.findings, healthy=found.healthy, failed=found.failed)


def recover_first(machine: Machine, options: argparse.Namespace) -> list[str]:
    """Bring what a crash interrupted to the state before, and say so."""
    from ccremedy.engine import Engine

    journal = journal_of(machine)
    if not any(run.open for run in journal.sound_runs()):
        return []
    with journal.lock(options.timeout):
        mended = Engine(machine, journal).recover()
    return [f"an interrupted change was taken back: {step.remedy}, {step.finding}" for step in mended]


def _interrupted_runs(machine: Machine) -> list[str]:
    """For diagnose, which writes nothing and refuses nothing."""
    from ccremedy import files

    if not files.status(machine.adapter.state_folder(machine.facts)):
        return []
    try:
        runs = journal_of(machine).runs()
    except Problem as problem:
        return [f"the journal cannot be read, so nothing could be applied: {problem}"]
    return [f"run {run.number} was interrupted: ccremedy recover" for run in runs if run.open and not run.damage] + [
        f"the journal of run {run.number} {run.damage}: {run.path}" for run in runs if run.damage
    ]


def _next(journal: Journal) -> int:
    return max((run.number for run in journal.sound_runs()), default=0) + 1


def _now() -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def can_ask(options: argparse.Namespace) -> bool:
    return not options.no_input and not options.json and sys.stdin.isatty() and sys.stdout.isatty()


def _unconfirmed() -> Problem:
    return Problem("this needs your yes, and there is no terminal to ask on", todo="Say --yes", code=errors.UNCONFIRMED)


def _agree(options: argparse.Namespace, screen: Screen, findings: list[Finding]) -> set[Change]:
    """The changes that may be made: within --max-risk, and confirmed. Problem (5) where there are none."""
    from ccremedy.finding import RISKS

    most = RISKS.index(options.max_risk or ("medium" if options.yes else "high"))
    within = [finding for finding in findings if RISKS.index(finding.risk) <= most]
    if not within:
        risk = findings[0].risk
        raise Problem(
            "all of it is riskier than --max-risk allows", todo=f"Say --max-risk {risk}", code=errors.UNCONFIRMED
        )
    if options.yes:
        return {change for finding in within for change in finding.changes if not change.refused}
    if not can_ask(options):
        raise _unconfirmed()
    from ccremedy.cli import ask

    agreed = ask.confirm(within, screen)
    if not agreed:
        raise Problem("nothing was changed, as you asked", code=errors.UNCONFIRMED)
    return set(agreed)


def _only(finding: Finding, agreed: set[Change]) -> Finding:
    from ccremedy.record import replace

    return replace(finding, changes=tuple(each for each in finding.changes if each.refused or each in agreed))


def _still_so(machine: Machine, findings: list[Finding], remedies: dict[str, Remedy]) -> list[Finding]:
    """What cannot be taken back is looked at once more: an idle session may have begun to work since it was shown."""
    from ccremedy.diagnosis import diagnose
    from ccremedy.record import replace

    now = diagnose(machine, remedies.values())
    again = {change.key(): change for finding in now.findings for change in finding.changes}

    def checked(change: Change) -> Change:
        if change.resource.REVERSIBLE or change.refused:
            return change
        current = again.get(change.key())
        return replace(change, refused="is no longer as it was shown" if current is None else current.refused)

    return [replace(each, changes=tuple(map(checked, each.changes))) for each in findings]


def _outcome(report: Report, result: Result, found: Diagnosis, agreed: set[Change]) -> Report:
    report.outcomes, report.problems, report.notes = result.outcomes, result.problems, report.notes + result.notes
    report.run = result.run.number if result.run.kept() else None
    states: set[str] = set()
    for finding in found.findings:
        for change in finding.changes:
            if not change.refused and change not in agreed:
                report.outcomes[finding.remedy, finding.id, change] = "declined"
            states.add(report.status(finding, change))
        if not finding.changes and finding.severity == "error":
            states.add("refused")
    if found.failed:
        states.add("refused")
    report.exit = _exit_code(result, states)
    return report


def _exit_code(result: Result, states: set[str]) -> int:
    """What became of all the changes, as one number (the README has the table)."""
    if any(problem.code == errors.INCOMPLETE for problem in result.problems):
        return errors.INCOMPLETE
    if not states - {"done", "undone", "pending"}:
        return errors.OK
    if states & {"done", "undone"}:
        return errors.PARTLY
    if "drifted" in states:
        return errors.DRIFT
    if "failed" in states:
        codes = (errors.UNSUPPORTED, errors.LOCKED)
        return next((problem.code for problem in result.problems if problem.code in codes), errors.FAILED)
    return errors.UNSUPPORTED if "refused" in states else errors.UNCONFIRMED


def _precluded(found: Diagnosis) -> int:
    """The exit code of doing nothing: 6 where nothing of what is wrong can be mended here, 3 where one cannot tell."""
    if found.failed:
        return errors.PARTLY if len(found.healthy) + len(found.findings) else found.failed[0][1].code
    grave = [finding for finding in found.findings if finding.changes or finding.severity == "error"]
    stuck = [finding for finding in grave if all(change.refused for change in finding.changes)]
    refused = any(change.refused for finding in grave for change in finding.changes)
    if grave and len(stuck) == len(grave):
        return errors.UNSUPPORTED
    return errors.PARTLY if stuck or refused else errors.OK


def _unsupported(machine: Machine, remedies: dict[str, Remedy]) -> int:
    """6 where everything that was asked for by name has no meaning on this platform."""
    none = all(machine.adapter.name not in remedy.platforms for remedy in remedies.values())
    return errors.UNSUPPORTED if none else errors.OK


def _undone_findings(result: Result) -> list[Finding]:
    from ccremedy.finding import Finding

    grouped: dict[tuple[str, str], list[Change]] = {}
    for remedy, finding, change in result.outcomes:
        grouped.setdefault((remedy, finding), []).append(change)
    return [
        Finding(name, _how_far(result, remedy, name), changes=tuple(changes), severity="info", remedy=remedy)
        for (remedy, name), changes in grouped.items()
    ]


def _how_far(result: Result, remedy: str, finding: str) -> str:
    found = {outcome for (of, name, _), outcome in result.outcomes.items() if (of, name) == (remedy, finding)}
    return "taken back" if found == {"undone"} else "taken back in part" if "undone" in found else "not taken back"


def _inverse_diffs(changes: list[Change]) -> dict[Change, str]:
    from ccremedy.cli.report import diff
    from ccremedy.record import replace

    return {change: diff(replace(change, before=change.after, after=change.before)) for change in changes}


def _remedy_json(remedy: Remedy, platform: str) -> dict[str, object]:
    supported = platform in remedy.platforms
    return {
        "id": remedy.id,
        "title": remedy.title,
        "symptoms": list(remedy.symptoms),
        "platforms": sorted(remedy.platforms),
        "options": [{"name": f"--{each.name}", "value": each.value, "help": each.help} for each in remedy.options],
        "supported": supported,
        "unsupported": "" if supported else remedy.unsupported,
    }
