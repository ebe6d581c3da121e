"""A person at a terminal: what is on the screen, what each answer does, and that nothing is written before the last."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from ccremedy.testing import snapshot

if TYPE_CHECKING:
    from conftest import CommandLine

DOWN, ENTER, CTRL_C = "\x1b[B", "\r", "\x03"
YES, NO, ALL, DIFF, QUIT = range(5)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Terminal:
    """One command at a terminal of 120 x 50, and everything that it has shown."""

    def __init__(self, cli: CommandLine, *words: str, env: dict[str, str | None] | None = None) -> None:
        self.cli, self.log = cli, io.StringIO()
        command, *arguments = cli.command(*words)
        # Nobody here tells where the cursor is; prompt_toolkit would ask, and draw all anew after 2 seconds without it.
        environment = cli.environment({"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **(env or {})})
        self.child: Any = pexpect.spawn(
            command, arguments, env=environment, cwd=str(cli.home), dimensions=(50, 120), encoding="utf-8", timeout=60
        )
        self.child.logfile_read = self.log

    def question(self, text: str) -> None:
        """Wait until this is asked, with all of its choices drawn: by then, what is typed is kept until it is read."""
        self.child.expect_exact(text)
        self.child.expect_exact("change nothing at all")

    def answer(self, choice: int) -> None:
        self.child.send(DOWN * choice + ENTER)

    def screen(self) -> str:
        return CONTROL.sub("", self.log.getvalue())

    def end(self) -> int:
        self.child.expect(pexpect.EOF)
        self.child.wait()  # or closing would end what is just about to end by itself
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)


Start = Callable[..., Terminal]
NPMRC, PROFILE, BASHRC = "change “prefix”", "/.profile?", "/.bashrc?"


@pytest.fixture
def at(cli: CommandLine, needs: Callable[[str], None]) -> Iterator[Start]:
    """Start the command at a terminal; whatever it is still doing at the end of the test is ended."""
    needs("bash")
    started: list[Terminal] = []

    def start(*words: str, env: dict[str, str | None] | None = None) -> Terminal:
        started.append(Terminal(cli, *words, env=env))
        return started[-1]

    yield start
    for each in started:
        each.child.close(force=True)


def home(terminal: Terminal) -> dict[str, Any]:
    return snapshot(str(terminal.cli.home))


def test_bare_ccremedy_finds_asks_and_mends(at: Start, cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    terminal = at()
    terminal.question(NPMRC)
    shown = terminal.screen()
    for text in ("npm-prefix: npm cannot install global packages", "-prefix=/proc/1", "+prefix=~/.npm-global"):
        assert text in shown
    for text in ("Yes", "No", "Yes, and all of this kind", "Show the diff", "Quit: change nothing at all"):
        assert text in shown
    assert home(terminal) == before
    terminal.answer(YES)
    terminal.question(PROFILE)
    assert home(terminal) == before, "something was written before the last answer"
    terminal.answer(ALL)
    assert terminal.end() == 0
    after = terminal.screen()
    assert "done: change “prefix” in ~/.npmrc" in after
    assert "done: add block “npm-prefix” in ~/.bashrc" in after
    assert "ccremedy undo 1" in after
    assert after.count("?") >= 2
    assert home(terminal) != before


def test_no_leaves_that_change_out(at: Start, cli: CommandLine) -> None:
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    terminal.answer(NO)
    terminal.question(PROFILE)
    terminal.answer(NO)
    terminal.question(BASHRC)
    terminal.answer(NO)
    _answer_the_rest(terminal, NO)
    assert terminal.end() == 5
    assert "nothing was changed, as you asked" in terminal.screen()
    assert (cli.home / ".npmrc").read_text() == "prefix=/proc/1\n"
    assert not list(cli.state.iterdir())


def _answer_the_rest(terminal: Terminal, choice: int) -> None:
    while terminal.child.expect(["change nothing at all", pexpect.EOF]) == 0:
        terminal.answer(choice)


def test_yes_to_one_and_no_to_the_others(at: Start, cli: CommandLine) -> None:
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    terminal.answer(NO)
    terminal.question(PROFILE)
    terminal.answer(NO)
    terminal.question(BASHRC)
    terminal.answer(YES)
    _answer_the_rest(terminal, NO)
    assert terminal.end() == 3
    assert (cli.home / ".npmrc").read_text() == "prefix=/proc/1\n"
    assert not (cli.home / ".profile").exists()
    assert ">>> ccremedy npm-prefix >>>" in (cli.home / ".bashrc").read_text()
    shown = terminal.screen()
    assert "declined: change “prefix” in ~/.npmrc" in shown
    assert "done: add block “npm-prefix” in ~/.bashrc" in shown


def test_all_of_this_kind_asks_about_other_kinds_still(at: Start, cli: CommandLine) -> None:
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    terminal.answer(ALL)
    terminal.question(PROFILE)
    terminal.answer(ALL)
    assert terminal.end() == 0
    assert terminal.screen().count("Quit: change nothing at all") == 2


def test_show_the_diff_asks_again(at: Start, cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    shown = terminal.screen().count("+prefix=~/.npm-global")
    terminal.answer(DIFF)
    terminal.child.expect_exact("+prefix=~/.npm-global")
    terminal.question(NPMRC)
    assert terminal.screen().count("+prefix=~/.npm-global") == shown + 1
    assert home(terminal) == before
    terminal.answer(QUIT)
    assert terminal.end() == 5
    assert home(terminal) == before


def test_quit_takes_back_every_yes_before_it(at: Start, cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    terminal.answer(YES)
    terminal.question(PROFILE)
    terminal.answer(QUIT)
    assert terminal.end() == 5
    assert "nothing was changed, as you asked" in terminal.screen()
    assert home(terminal) == before
    assert not list(cli.state.iterdir())


@pytest.mark.parametrize("key", [CTRL_C, "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_leaving_during_a_question_changes_nothing(key: str, at: Start, cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    terminal.answer(YES)
    terminal.question(PROFILE)
    terminal.child.send(key)
    if key == CTRL_C:
        assert terminal.end() == 130
        assert "interrupted" in terminal.screen()
        assert "Traceback" not in terminal.screen()
    else:
        terminal.answer(QUIT)
        assert terminal.end() in (5, 130)
    assert home(terminal) == before
    assert not list(cli.state.iterdir())


def test_ctrl_c_while_it_works_leaves_all_as_it_was(at: Start, cli: CommandLine, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (cli.home / ".bashrc").write_text(f"case $PATH in */.npm-global/*) touch {mark}; sleep 90;; esac\n")
    before = snapshot(str(cli.home))
    terminal = at("apply", "npm-prefix", "--yes", "--timeout", "90")
    end = time.monotonic() + 60
    while not mark.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert home(terminal) != before
    terminal.child.send(CTRL_C)
    assert terminal.end() == 130
    assert home(terminal) == before


def test_a_terminal_that_goes_away_changes_nothing(at: Start, cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    terminal = at("apply", "npm-prefix")
    terminal.question(NPMRC)
    terminal.answer(YES)
    terminal.question(PROFILE)
    terminal.child.ptyproc.fileobj.close()  # hangs up
    end = time.monotonic() + 60
    while terminal.child.isalive() and time.monotonic() < end:
        time.sleep(0.05)
    assert not terminal.child.isalive()
    assert home(terminal) == before


@pytest.mark.parametrize(
    ("key", "code"), [("y", 0), ("n", 5), (ENTER, 5), (CTRL_C, 130)], ids=["y", "n", "enter", "^C"]
)
def test_undo_asks_and_takes_no_for_an_answer(key: str, code: int, at: Start, cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    assert cli("apply", "npm-prefix", "--yes").code == 0
    mended = snapshot(str(cli.home))
    terminal = at("undo")
    terminal.child.expect_exact("Take this back?")
    shown = terminal.screen()
    assert "Run 1 (apply npm-prefix, " in shown
    assert "change “prefix” in" in shown
    assert home(terminal) == mended
    terminal.child.send(key)
    assert terminal.end() == code
    assert home(terminal) == (before if code == 0 else mended)


def test_where_all_is_well_nothing_is_asked(at: Start, cli: CommandLine) -> None:
    (cli.home / ".npmrc").unlink()
    cli.path = "/nonexistent"
    terminal = at()
    assert terminal.end() == 0
    assert "nothing to do" in terminal.screen()
    assert "?" not in terminal.screen().replace("??", "")


def test_no_input_never_asks(at: Start, cli: CommandLine) -> None:
    terminal = at("apply", "npm-prefix", "--no-input")
    assert terminal.end() == 5
    assert "Say --yes" in terminal.screen()
    assert "Quit: change nothing at all" not in terminal.screen()


def test_yes_at_a_terminal_asks_nothing(at: Start, cli: CommandLine) -> None:
    terminal = at("apply", "npm-prefix", "--yes")
    assert terminal.end() == 0
    assert "Quit: change nothing at all" not in terminal.screen()


@pytest.mark.parametrize(
    ("words", "env", "colored"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"TERM": "dumb"}, False),
        (("--color", "never"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1", "TERM": "dumb"}, True),
    ],
    ids=["by itself", "NO_COLOR", "a dumb terminal", "never", "always"],
)
def test_color_at_a_terminal(
    words: tuple[str, ...], env: dict[str, str | None], colored: bool, at: Start, cli: CommandLine
) -> None:
    terminal = at("diagnose", *words, env=env)
    assert terminal.end() == 1
    assert ("\x1b[" in terminal.log.getvalue()) == colored


def test_a_file_cannot_act_on_the_terminal(at: Start, cli: CommandLine) -> None:
    (cli.home / ".bashrc").write_text("# \x1b]0;owned\x07\x1b[2J \u202e\n")
    terminal = at("apply", "npm-prefix", "--dry-run", "--color", "never")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.log.getvalue()
    assert "\\x1b]0;owned\\x07\\x1b[2J \\u202e" in terminal.screen()


# ---- changes that mean something only together, and what is riskier than --yes would do

KEY = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz-AA"


@pytest.mark.parametrize(
    ("choice", "code"), [(0, 0), (1, 5), (2, 5)], ids=["yes moves the key", "no leaves it", "quit leaves it"]
)
def test_what_belongs_together_is_one_question(choice: int, code: int, at: Start, cli: CommandLine) -> None:
    bashrc = cli.home / ".bashrc"
    bashrc.write_text(f"export ANTHROPIC_API_KEY={KEY}\n")
    before = snapshot(str(cli.home))
    terminal = at("apply", "key-storage", "--owner-only-file")  # of high risk: --yes alone would not do it
    terminal.question("Do all of this?")
    assert KEY not in terminal.screen()
    assert home(terminal) == before
    terminal.answer(choice)
    assert terminal.end() == code
    assert KEY not in terminal.screen()
    assert (KEY in bashrc.read_text()) == (code != 0)
    assert (home(terminal) == before) == (code != 0)


def test_yes_alone_does_not_cover_what_is_of_high_risk(cli: CommandLine) -> None:
    (cli.home / ".bashrc").write_text(f"export ANTHROPIC_API_KEY={KEY}\n")
    before = snapshot(str(cli.home))
    answer = cli("apply", "key-storage", "--owner-only-file", "--yes")
    assert (answer.code, "--max-risk high" in answer.out + answer.err) == (5, True), answer
    assert snapshot(str(cli.home)) == before
