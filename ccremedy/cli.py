"""The command line: words in, an exit code out. The only module that knows of dry runs, prompts and printing.

`main` is also the one exit for errors: a Problem is a sentence and its code, an interruption 130, 143 or 141, anything
else a bug (70) with a report that holds no values.
"""

from __future__ import annotations

import argparse
import os
import sys

from ccremedy import __version__, errors
from ccremedy.errors import Problem, Stopped
from ccremedy.report import Report, Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from ccremedy.diagnosis import Diagnosis
    from ccremedy.engine import Result
    from ccremedy.finding import Finding, Remedy
    from ccremedy.journal import Journal
    from ccremedy.machine import Machine
    from ccremedy.resources import Change

WRITING = ("", "apply", "undo", "recover")
VALUES = ("--timeout", "--max-risk", "--color", "--plan", "--output", "-o", "--change", "--exit-style")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, through the one exit for errors."""

    def error(self, message: str) -> NoReturn:
        raise Problem(message, todo=f"`{self.prog} --help` tells what can be said", code=errors.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    screen = Screen()
    as_json, command = "--json" in words, _command(words)
    try:
        options = _parse(words)
        screen = Screen(options.color, options.quiet, options.verbose)
        if command in WRITING:
            _raise_on_signals()
        report = options.act(options, screen)
        code = _show(report, options, screen)
        sys.stdout.flush()
        return code
    except Problem as problem:
        if as_json:
            _print_json(Report(command or "diagnose", problems=[problem], exit=problem.code).to_json())
        else:
            screen.problem(problem)
        return problem.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return errors.BROKEN_PIPE
    except (KeyboardInterrupt, EOFError):
        print("\nccremedy: interrupted. Nothing is left half done.", file=sys.stderr)
        return errors.INTERRUPTED
    except Stopped:
        print("ccremedy: stopped. Nothing is left half done.", file=sys.stderr)
        return errors.TERMINATED
    except Exception as error:  # noqa: BLE001 - the one place that turns a bug into something to send us
        _print_bug(error)
        return errors.BUG


# ---- commands


def _list(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import registry

    report = Report("list", _platform())
    report.more["remedies"] = [_remedy_json(each, report.platform) for each in registry.remedies().values()]
    for each in report.more["remedies"]:
        here = "" if each["supported"] else f"  ({each['unsupported']})"
        options.text.append(f"{each['id']:<18} {each['title']}{here}")
    return report


def _show_remedy(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import registry

    report = Report("show", _platform())
    remedy = registry.remedy(options.remedy)
    report.more["remedies"] = [_remedy_json(remedy, report.platform)]
    options.text += [f"{remedy.id}: {remedy.title}", ""]
    options.text += [f"  {line}".rstrip() for line in (sys.modules[type(remedy).__module__].__doc__ or "").splitlines()]
    options.text += ["", "  What you may have seen:", *(f"    {symptom}" for symptom in remedy.symptoms)]
    options.text += [f"  --{each.name}: {each.help}" for each in remedy.options]
    if remedy.id and report.platform not in remedy.platforms:
        options.text += ["", f"  Not here: {remedy.unsupported}."]
    return report


def _diagnose(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy.diagnosis import diagnose

    machine, remedies = _machine(options), _chosen(options, options.remedies)
    found = diagnose(machine, remedies.values())
    report = _report("diagnose", machine, found)
    report.notes += _interrupted_runs(machine)
    report.exit = errors.FOUND if found.findings else errors.PARTLY if found.failed else errors.OK
    if options.remedies and not found.findings and not found.failed:
        report.exit = _unsupported(machine, remedies)
    return report


def _bare(options: argparse.Namespace, screen: Screen) -> Report:
    """Without a command: diagnose, and on a terminal offer to mend."""
    options.remedies, options.all = [], True
    report = _diagnose(options, screen)
    mendable = any(not change.refused for finding in report.findings for change in finding.changes)
    if not mendable or options.json or not (options.yes or _can_ask(options)):
        return report
    options.dry_run, options.plan, options.exit_style = False, None, "plain"
    return _apply(options, screen)


def _plan(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import plan
    from ccremedy.diagnosis import diagnose

    machine, remedies = _machine(options), _chosen(options, _named(options))
    found = diagnose(machine, remedies.values())
    report = _report("plan", machine, found)
    report.exit = _precluded(found)
    plan.write(options.output, plan.make(machine, list(remedies), found.findings))
    if options.output == "-":
        options.quiet = options.silent = True
    else:
        report.notes.append(f"the plan is in {options.output}: ccremedy apply --plan {options.output}")
    return report


def _apply(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy import plan
    from ccremedy.diagnosis import diagnose

    planned = plan.load(options.plan) if options.plan else None
    if planned is not None:
        if options.remedies or options.all:
            raise Problem("a plan names its own remedies", todo="Say either --plan or remedies", code=errors.USAGE)
        options.remedies = planned["remedies"]
        for name in planned["options"]:
            setattr(options, name, True)
    remedies = _chosen(options, _named(options))
    machine = _machine(options)
    notes = [] if options.dry_run else _recover_first(machine, options)
    found = diagnose(machine, remedies.values())
    report = _report("apply", machine, found)
    report.notes += notes
    journal = _journal(machine)
    if planned is not None:
        plan.check(planned, machine, found.findings, journal.runs())
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
    report.remember_diffs()
    if _can_ask(options) and not options.yes:
        screen.report(report, machine, diffs=False)
    try:
        agreed = _agree(options, screen, mendable)
    except Problem as problem:
        report.problems.append(problem)
        report.exit = problem.code
        return report
    doing = [_only(finding, agreed) for finding in found.findings]
    with journal.lock(options.timeout):
        from ccremedy.engine import Engine  # not for a dry run

        hand = Engine(machine, journal, timeout=options.timeout)
        command = f"apply {' '.join(remedies)}"
        plan_id = planned["plan"] if planned else ""
        result = hand.apply(doing, journal.begin(_next(journal), command, _now(), plan_id), remedies)
    return _outcome(report, result, found, agreed)


def _undo(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy.engine import Engine
    from ccremedy.journal import find

    machine = _machine(options)
    journal = _journal(machine)
    report = Report("undo", machine.adapter.name)
    report.notes += _recover_first(machine, options)
    runs = journal.sound_runs()
    target = find(runs, options.run)
    count = len(target.kept())
    if not count:
        raise Problem(f"run {target.number} changed nothing that stood", code=errors.USAGE)
    if options.change is not None and not 1 <= options.change <= count:
        raise Problem(f"run {target.number} has changes 1 to {count}", code=errors.USAGE)
    chosen = target.kept() if options.change is None else [target.kept()[options.change - 1]]
    sentences = [step.changes[index].sentence() for step, index in chosen]
    diffs = _inverse_diffs([step.changes[index] for step, index in chosen])
    if not options.yes:
        if not _can_ask(options):
            raise _unconfirmed()
        from ccremedy import ask

        screen.say(f"Run {target.number} ({target.command}, {target.time}):")
        for sentence in sentences:
            screen.say(f"  {sentence}")
        if not ask.yes("Take this back?"):
            raise Problem("nothing was changed, as you asked", code=errors.UNCONFIRMED)
    with journal.lock(options.timeout):
        hand = Engine(machine, journal, timeout=options.timeout)
        runs = journal.sound_runs()
        run = journal.begin(_next(journal), f"undo {target.number}", _now())
        result = hand.undo(find(runs, target.number), run, options.change)
    report.run = run.number if run.steps else None
    report.problems, report.notes = result.problems, report.notes + result.notes
    report.outcomes, report.diffs = result.outcomes, diffs
    report.findings = _undone_findings(result)
    report.exit = _exit_code(result, set(result.outcomes.values()))
    return report


def _history(options: argparse.Namespace, screen: Screen) -> Report:
    machine = _machine(options)
    runs = _journal(machine).runs()
    report = Report("history", machine.adapter.name)
    report.more["runs"] = [
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
    for each in report.more["runs"]:
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


def _recover(options: argparse.Namespace, screen: Screen) -> Report:
    machine = _machine(options)
    report = Report("recover", machine.adapter.name)
    report.notes = _recover_first(machine, options) or ["no run was interrupted: there is nothing to recover"]
    return report


# ---- their parts


def _machine(options: argparse.Namespace) -> Machine:
    from ccremedy.machine import Machine

    return Machine.here({name: getattr(options, name, False) for name in options.switches})


def _journal(machine: Machine) -> Journal:
    from ccremedy.journal import Journal

    return Journal(machine.adapter.state_folder(machine.facts))


def _platform() -> str:
    from ccremedy import registry
    from ccremedy.machine import Facts

    return registry.adapter(Facts(sys.platform, dict(os.environ), "/")).name


def _named(options: argparse.Namespace) -> list[str]:
    if not options.remedies and not options.all:
        raise Problem("name a remedy, or say --all", todo="`ccremedy list` lists them", code=errors.USAGE)
    return list(options.remedies)


def _chosen(options: argparse.Namespace, names: list[str]) -> dict[str, Remedy]:
    """The remedies of these names; all where none is named. Switches of others are refused."""
    from ccremedy import registry

    chosen = {name: registry.remedy(name) for name in names} if names else registry.remedies()
    for switch, owner in options.switches.items():
        if getattr(options, switch, False) and owner not in chosen:
            raise Problem(
                f"--{switch} belongs to {owner}", todo=f"Name {owner} too, or leave it out", code=errors.USAGE
            )
    return chosen


def _report(command: str, machine: Machine, found: Diagnosis) -> Report:
    return Report(command, machine.adapter.name, found.findings, healthy=found.healthy, failed=found.failed)


def _recover_first(machine: Machine, options: argparse.Namespace) -> list[str]:
    """Bring what a crash interrupted to the state before, and say so."""
    from ccremedy.engine import Engine

    journal = _journal(machine)
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
        runs = _journal(machine).runs()
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


def _can_ask(options: argparse.Namespace) -> bool:
    return not options.no_input and not options.json and sys.stdin.isatty() and sys.stdout.isatty()


def _unconfirmed() -> Problem:
    return Problem("this needs your yes, and there is no terminal to ask on", todo="Say --yes", code=errors.UNCONFIRMED)


def _agree(options: argparse.Namespace, screen: Screen, findings: list[Finding]) -> set[Change]:
    """The changes that may be made: within --max-risk, and confirmed. Problem (5) where there are none."""
    from ccremedy.finding import RISKS

    most = RISKS.index(options.max_risk)
    within = [finding for finding in findings if RISKS.index(finding.risk) <= most]
    if not within:
        risk = findings[0].risk
        raise Problem(
            "all of it is riskier than --max-risk allows", todo=f"Say --max-risk {risk}", code=errors.UNCONFIRMED
        )
    if options.yes:
        return {change for finding in within for change in finding.changes if not change.refused}
    if not _can_ask(options):
        raise _unconfirmed()
    from ccremedy import ask

    agreed = ask.confirm(within, screen)
    if not agreed:
        raise Problem("nothing was changed, as you asked", code=errors.UNCONFIRMED)
    return set(agreed)


def _only(finding: Finding, agreed: set[Change]) -> Finding:
    from dataclasses import replace

    return replace(finding, changes=tuple(each for each in finding.changes if each.refused or each in agreed))


def _outcome(report: Report, result: Result, found: Diagnosis, agreed: set[Change]) -> Report:
    report.outcomes, report.problems, report.notes = result.outcomes, result.problems, report.notes + result.notes
    report.run = result.run.number if result.run.steps else None
    states = set()
    for finding in found.findings:
        for change in finding.changes:
            if not change.refused and change not in agreed:
                report.outcomes[finding.remedy, finding.id, change] = "declined"
            states.add(report.status(finding, change))
        if not finding.changes:
            states.add("refused")
    if found.failed:
        states.add("refused")
    report.exit = _exit_code(result, states)
    return report


def _exit_code(result: Result, states: set[str]) -> int:
    """The table in docs/design: what became of all the changes, as one number."""
    if any(problem.code == errors.INCOMPLETE for problem in result.problems):
        return errors.INCOMPLETE
    if not states - {"done", "undone", "pending"}:
        return errors.OK
    if states & {"done", "undone"}:
        return errors.PARTLY
    if "drifted" in states:
        return errors.DRIFT
    if "failed" in states:
        return next((p.code for p in result.problems if p.code == errors.UNSUPPORTED), errors.FAILED)
    return errors.UNSUPPORTED if "refused" in states else errors.UNCONFIRMED


def _precluded(found: Diagnosis) -> int:
    """The exit code of doing nothing: 6 where nothing of what is wrong can be mended here, 3 where one cannot tell."""
    if found.failed:
        return errors.PARTLY if len(found.healthy) + len(found.findings) else found.failed[0][1].code
    stuck = [finding for finding in found.findings if all(change.refused for change in finding.changes)]
    refused = any(change.refused for finding in found.findings for change in finding.changes)
    if found.findings and len(stuck) == len(found.findings):
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
        Finding(name, "taken back", changes=tuple(changes), severity="info", remedy=remedy)
        for (remedy, name), changes in grouped.items()
    ]


def _inverse_diffs(changes: list[Change]) -> dict[Change, str]:
    from dataclasses import replace

    from ccremedy.report import diff

    return {change: diff(replace(change, before=change.after, after=change.before)) for change in changes}


def _remedy_json(remedy: Remedy, platform: str) -> dict[str, object]:
    supported = platform in remedy.platforms
    return {
        "id": remedy.id,
        "title": remedy.title,
        "symptoms": list(remedy.symptoms),
        "platforms": sorted(remedy.platforms),
        "options": [{"name": f"--{each.name}", "help": each.help} for each in remedy.options],
        "supported": supported,
        "unsupported": "" if supported else remedy.unsupported,
    }


# ---- words


COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace, Screen], Report]]] = {
    "list": ("list the remedies", _list),
    "show": ("tell what a remedy does, and for which symptoms", _show_remedy),
    "diagnose": ("find out what is wrong; change nothing", _diagnose),
    "apply": ("mend it: show, ask, change, prove", _apply),
    "plan": ("write down what apply would do, to do it later", _plan),
    "undo": ("take back the last run, any run, or one change of a run", _undo),
    "history": ("list what was done", _history),
    "recover": ("take back what a crash interrupted", _recover),
}


def _command(words: list[str]) -> str:
    """The first word that is no option and no option's value."""
    skip = False
    for word in words:
        if skip or word in VALUES:
            skip = not skip
        elif not word.startswith("-"):
            return word
    return ""


def _parse(words: list[str]) -> argparse.Namespace:
    command = _command(words)
    if command and command not in COMMANDS:
        from ccremedy.registry import suggest

        raise Problem(f"there is no command “{command}”", todo=suggest(command, list(COMMANDS)), code=errors.USAGE)
    overview = [f"  {name:<10} {what}" for name, (what, _) in COMMANDS.items()]
    without = "Without a command: diagnose, and on a terminal offer to mend."
    what = COMMANDS[command][0] if command else "find out why Claude Code is broken, and mend it"
    parser = Parser(
        prog=f"ccremedy {command}".strip(),
        description=f"{what.capitalize()}.",
        epilog=None if command else "\n".join(["commands:", *overview, "", without]),
        # A width of its own: to ask the terminal's, argparse imports seven modules for every single option.
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
        allow_abbrev=False,
    )
    _common(parser)
    switches = _specific(parser, command)
    rest = list(words)
    if command:
        rest.remove(command)
    else:
        parser.add_argument("--version", action="version", version=f"ccremedy {__version__}")
    options = parser.parse_intermixed_args(rest)
    options.act = COMMANDS[command][1] if command else _bare
    options.switches, options.text, options.silent = switches, [], False
    return options


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    parser.add_argument("--no-input", action="store_true", help="never ask; what needs a yes is not done")
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS",
                        help="how long a shell may take to start, and another run to end (10)")  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="print problems only")
    parser.add_argument("-v", "--verbose", action="store_true", help="say also why there is nothing to do")


def _specific(parser: argparse.ArgumentParser, command: str) -> dict[str, str]:
    """The arguments of one command. Returns the switches of remedies that it takes, each with its remedy."""
    if command in ("", "apply", "undo"):
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    if command in ("", "apply"):
        parser.add_argument("--max-risk", choices=("low", "medium", "high"), default="medium",
                            help="leave alone what is riskier (medium)")  # fmt: skip
    if command in ("diagnose", "apply", "plan"):
        parser.add_argument("remedies", nargs="*", metavar="REMEDY")
    if command in ("apply", "plan"):
        parser.add_argument("--all", action="store_true", help="every remedy that finds something")
    if command == "apply":
        parser.add_argument("--dry-run", action="store_true", help="show each change as a diff; write nothing")
        parser.add_argument("--plan", metavar="FILE", help="carry out exactly this plan")
        parser.add_argument("--exit-style", choices=("plain", "detailed"), default="plain",
                            help="detailed: a dry run that would change something exits with 10")  # fmt: skip
    if command == "plan":
        parser.add_argument("-o", "--output", metavar="FILE", required=True, help="where to write it; - for the screen")
    if command == "show":
        parser.add_argument("remedy", metavar="REMEDY")
    if command == "undo":
        parser.add_argument("run", nargs="?", type=int, metavar="RUN", help="number of the run (the last one)")
        parser.add_argument("--change", type=int, metavar="N", help="only the N-th change of it")
    if command not in ("diagnose", "apply", "plan"):
        return {}
    from ccremedy import registry

    switches = {}
    for remedy in registry.remedies().values():
        for option in remedy.options:
            switches[option.name] = remedy.id
            parser.add_argument(f"--{option.name}", action="store_true", help=f"{remedy.id}: {option.help}")
    return switches


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 3600:
        raise ValueError
    return value


_seconds.__name__ = "number of seconds"  # argparse names the type in its message


# ---- results


def _show(report: Report, options: argparse.Namespace, screen: Screen) -> int:
    if options.silent:
        return report.exit
    if options.json:
        _print_json(report.to_json())
        return report.exit
    for line in options.text:
        screen.say(line)
    machine = None
    if report.findings or report.failed or report.healthy:
        machine = _machine(options)
    screen.report(report, machine, diffs=getattr(options, "dry_run", False) or screen.verbose)
    if report.run:
        what = "taken back" if report.command == "undo" else "made"
        screen.say(f"Run {report.run}. To take back what it {what}: ccremedy undo {report.run}")
    elif report.command == "diagnose" and any(not c.refused for f in report.findings for c in f.changes):
        screen.say("To mend it: ccremedy apply --all (add --dry-run to see each change first)")
    return report.exit


def _print_json(document: object) -> None:
    import json

    print(json.dumps(document, indent=2, ensure_ascii=True))
    sys.stdout.flush()


def _print_bug(error: BaseException) -> None:
    """Where it happened, without the values that were being worked on."""
    import platform
    import traceback

    print(f"ccremedy: this is a bug in ccremedy {__version__}: {type(error).__name__}", file=sys.stderr)
    print(f"  Python {platform.python_version()} on {sys.platform}", file=sys.stderr)
    for frame in traceback.extract_tb(error.__traceback__):
        name = os.path.relpath(frame.filename, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        print(f"  {name}:{frame.lineno} in {frame.name}", file=sys.stderr)
    print("Nothing is left half done. These lines hold no values of yours; please send them to us.", file=sys.stderr)


def _raise_on_signals() -> None:
    import signal

    def stop(number: int, frame: object) -> None:
        raise Stopped

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), stop)
