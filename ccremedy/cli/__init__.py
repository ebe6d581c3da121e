"""The command line: words in, an exit code out. The only module that knows of dry runs, prompts and printing.

`main` is also the one exit for errors: a Problem is a sentence and its code, an interruption 130, 143 or 141, anything
else a bug (70) with a report that holds no values.
"""

from __future__ import annotations

import argparse
import os
import sys

from ccremedy import __version__, errors
from ccremedy.cli import commands
from ccremedy.cli.report import Report, Screen
from ccremedy.errors import Problem, Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

WRITING = ("", "apply", "undo", "recover", "key")
VALUES = ("--timeout", "--max-risk", "--color", "--plan", "--output", "-o", "--change", "--exit-style")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, through the one exit for errors."""

    def error(self, message: str) -> NoReturn:
        raise Problem(message, todo=f"`{self.prog} --help` tells what can be said", code=errors.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["key", "print"]:
        from ccremedy.cli.key import print_key

        return print_key()
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as we live
    try:
        return _last_words(_answer(words))
    except BrokenPipeError:
        return _last_words(errors.BROKEN_PIPE)
    except OSError:  # not even the complaint could be printed
        return _last_words(errors.FAILED)


def _answer(words: list[str]) -> int:
    screen = Screen()
    as_json, command = "--json" in words, _command(words)
    try:
        options = _parse(words)
        screen = Screen(options.color, options.quiet, options.verbose)
        if command in WRITING:
            _raise_on_signals()
        report = options.act(options, screen)
        return _show(report, options, screen)
    except SystemExit as end:  # argparse, after --help and --version
        return int(end.code or 0)
    except Problem as problem:
        if as_json:
            _print_json(Report(command or "diagnose", problems=[problem], exit=problem.code).to_json())
        else:
            screen.problem(problem)
        return problem.code
    except BrokenPipeError:
        raise
    except OSError as error:
        screen.problem(Problem(errors.explain(error), where=str(error.filename or "the output")))
        return errors.FAILED
    except (KeyboardInterrupt, EOFError):
        print("\nccremedy: interrupted. Nothing is left half done.", file=sys.stderr)
        return errors.INTERRUPTED
    except Stopped:
        print("ccremedy: stopped. Nothing is left half done.", file=sys.stderr)
        return errors.TERMINATED
    except Exception as error:  # noqa: BLE001 - the one place that turns a bug into something to send us
        _print_bug(error)
        return errors.BUG


def _last_words(code: int) -> int:
    """Flush, and where nobody reads any more, keep Python from complaining of it once again at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = errors.BROKEN_PIPE if isinstance(error, BrokenPipeError) else code or errors.FAILED
    return code


# ---- words


def _key(options: argparse.Namespace, screen: Screen) -> Report:
    from ccremedy.cli import key  # brings what no other command needs

    return key.act(options, screen)


COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace, Screen], Report]]] = {
    "list": ("list the remedies", commands.list_remedies),
    "show": ("tell what a remedy does, and for which symptoms", commands.show_remedy),
    "diagnose": ("find out what is wrong; change nothing", commands.diagnose),
    "apply": ("mend it: show, ask, change, prove", commands.apply),
    "plan": ("write down what apply would do, to do it later", commands.plan),
    "undo": ("take back the last run, any run, or one change of a run", commands.undo),
    "history": ("list what was done", commands.history),
    "recover": ("take back what a crash interrupted", commands.recover),
    "key": ("the API key in the secret store: set, status, print, rotate or remove it", _key),
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
    options.act = COMMANDS[command][1] if command else commands.without_a_command
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


def _specific(parser: argparse.ArgumentParser, command: str) -> dict[str, list[str]]:
    """The arguments of one command. Returns the options of remedies that it takes, each with its remedies."""
    if command == "key":
        from ccremedy.cli.key import WORDS

        parser.add_argument("what", choices=WORDS)
        parser.add_argument("--owner-only-file", action="store_true", help="keep it in a file that only you can read")
    if command in ("", "apply", "undo", "key"):
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    if command in ("", "apply", "key"):
        parser.add_argument("--max-risk", choices=("low", "medium", "high"),
                            help="leave alone what is riskier (high; medium with --yes)")  # fmt: skip
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

    switches: dict[str, list[str]] = {}
    for remedy in registry.remedies().values():
        for option in remedy.options:
            name, what = f"--{option.name}", f"{remedy.id}: {option.help}"
            if option.name not in switches and option.value:
                parser.add_argument(name, dest=option.name, help=what, metavar=option.value, type=_filled)
            elif option.name not in switches:
                parser.add_argument(name, dest=option.name, help=what, action="store_true")
            switches.setdefault(option.name, []).append(remedy.id)
    return switches


def _filled(text: str) -> str:
    """An empty value is a variable that somebody forgot to set, not an option that was not given."""
    if not text:
        raise ValueError
    return text


_filled.__name__ = "value"  # argparse names the type in its message


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
        machine = commands.this_machine(options)
    screen.report(report, machine, diffs=getattr(options, "dry_run", False) or screen.verbose)
    lasting = getattr(options, "what", "") == "remove" or not any(c.resource.REVERSIBLE for _, _, c in report.outcomes)
    if report.run and not lasting:
        screen.say(f"That was run {report.run}. To take it back: ccremedy undo {report.run}")
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
