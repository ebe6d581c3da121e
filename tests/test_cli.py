"""The command line as a person or a script meets it: what it prints, with which code it ends, what it leaves behind."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import ccremedy
from ccremedy import registry
from ccremedy.testing import snapshot

if TYPE_CHECKING:
    from conftest import Answer, CommandLine

Needs = Callable[[str], None]
ROOT = Path(__file__).resolve().parent.parent


def as_json(answer: Answer) -> dict[str, Any]:
    """The one document on standard output, which keeps to the published schema."""
    assert answer.err == ""
    document: dict[str, Any] = json.loads(answer.out)
    schema = json.loads((ROOT / "ccremedy" / "knowledge" / "report.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert document["exit"] == answer.code
    return document


def break_state(cli: CommandLine) -> Path:
    """Something for reset-config, whose risk is medium."""
    path = cli.home / ".claude.json"
    path.write_text('{"projects": {')
    path.chmod(0o600)
    return path


# ---- what each command says


def test_version_and_help(cli: CommandLine) -> None:
    assert cli("--version").out == f"ccremedy {ccremedy.__version__}\n"
    overview = cli("--help")
    assert overview.code == 0
    for command in ("list", "show", "diagnose", "apply", "plan", "undo", "history", "recover"):
        assert f"\n  {command} " in overview.out
        answer = cli(command, "--help")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.startswith(f"usage: ccremedy {command}")


def test_list_names_every_remedy(cli: CommandLine) -> None:
    answer = cli("list")
    names = [
        "duplicate-sessions", "git-bash-path", "install-path", "key-storage", "npm-prefix", "proxy-ca", "ps-policy",
        "reset-config", "wsl-path",
    ]  # fmt: skip
    assert [line.split()[0] for line in answer.out.splitlines()] == names
    document = as_json(cli("list", "--json"))
    assert [each["id"] for each in document["remedies"]] == names
    assert all(each["title"] and each["symptoms"] for each in document["remedies"])


@pytest.mark.parametrize("name", registry.remedies())
def test_show_tells_what_a_remedy_is_for(name: str, cli: CommandLine) -> None:
    answer = cli("show", name)
    assert answer.code == 0
    (document,) = as_json(cli("show", name, "--json"))["remedies"]
    assert answer.out.startswith(f"{name}: {document['title']}\n")
    for symptom in document["symptoms"]:
        assert symptom in answer.out


def test_diagnose_says_what_is_wrong_and_what_to_type(cli: CommandLine) -> None:
    answer = cli("diagnose")
    assert (answer.code, answer.err) == (1, "")
    for word in ("npm-prefix", "/proc/1", "would change “prefix” in ~/.npmrc", "~/.bashrc", "ccremedy apply --all"):
        assert word in answer.out
    document = as_json(cli("diagnose", "--json"))
    (finding,) = document["findings"]
    assert (finding["remedy"], finding["id"], finding["risk"]) == ("npm-prefix", "not-writable", "low")
    assert {change["status"] for change in finding["changes"]} == {"pending"}
    assert all("+++" in change["diff"] for change in finding["changes"])
    assert {each["remedy"] for each in document["healthy"]} == registry.remedies().keys() - {"npm-prefix"}
    assert all(each["reason"] for each in document["healthy"])


def test_diagnose_of_what_is_well_says_why(cli: CommandLine) -> None:
    answer = cli("diagnose", "reset-config")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("✓ reset-config: nothing to do: there are no files")


def test_a_remedy_of_another_platform_has_code_6(cli: CommandLine) -> None:
    for command in (("diagnose", "wsl-path"), ("apply", "wsl-path", "--yes"), ("apply", "wsl-path", "--dry-run")):
        answer = cli(*command)
        assert (answer.code, "this is not WSL" in answer.out) == (6, True), answer


def test_without_a_terminal_bare_ccremedy_diagnoses(cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    assert cli().out == cli("diagnose").out
    assert cli().code == 1
    assert as_json(cli("--json"))["findings"]
    assert snapshot(str(cli.home)) == before


def test_a_dry_run_shows_each_change_and_writes_nothing(cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    answer = cli("apply", "npm-prefix", "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    for line in ("-prefix=/proc/1", "+prefix=~/.npm-global", "+# >>> ccremedy npm-prefix >>>", "nothing was written"):
        assert line in answer.out
    document = as_json(cli("apply", "npm-prefix", "--dry-run", "--json"))
    assert (document["run"], document["exit"]) == (None, 0)
    assert cli("apply", "npm-prefix", "--dry-run", "--exit-style", "detailed").code == 10
    assert cli("apply", "reset-config", "--dry-run", "--exit-style", "detailed").code == 0
    assert snapshot(str(cli.home)) == before
    assert not list(cli.state.iterdir())


def test_apply_history_and_undo(cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    answer = cli("apply", "npm-prefix", "--yes")
    assert (answer.code, answer.err) == (0, "")
    assert "done: change “prefix” in ~/.npmrc" in answer.out
    assert "ccremedy undo 1" in answer.out
    mended = snapshot(str(cli.home))
    assert mended != before

    again = cli("apply", "npm-prefix", "--yes")
    assert (again.code, "nothing to do" in again.out) == (0, True), again
    assert snapshot(str(cli.home)) == mended

    history = cli("history")
    assert history.code == 0
    assert history.out.startswith("run 1  ")
    assert "  1. change “prefix” in" in history.out
    assert "run 2" not in history.out, "a run that did nothing leaves no entry"

    undone = cli("undo", "--yes")
    assert (undone.code, undone.err) == (0, "")
    assert "undone: change “prefix” in" in undone.out
    assert snapshot(str(cli.home)) == before
    assert "(undone by run 2)" in cli("history").out


def test_the_same_in_json(cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    applied = as_json(cli("apply", "npm-prefix", "--yes", "--json"))
    assert (applied["command"], applied["run"], applied["platform"]) == ("apply", 1, "linux")
    assert {change["status"] for each in applied["findings"] for change in each["changes"]} == {"done"}
    assert all(change["diff"] for each in applied["findings"] for change in each["changes"])
    (run,) = as_json(cli("history", "--json"))["runs"]
    assert (run["run"], run["command"], run["state"]) == (1, "apply npm-prefix", "finished")
    assert [change["change"] for change in run["changes"]] == list(range(1, len(run["changes"]) + 1))
    undone = as_json(cli("undo", "--yes", "--json"))
    assert (undone["command"], undone["run"]) == ("undo", 2)
    assert {change["status"] for each in undone["findings"] for change in each["changes"]} == {"undone"}
    assert as_json(cli("recover", "--json"))["notes"]
    assert snapshot(str(cli.home)) == before


def test_a_plan_on_standard_output_is_one_document(cli: CommandLine) -> None:
    answer = cli("plan", "npm-prefix", "-o", "-")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out)["remedies"] == ["npm-prefix"]
    assert not list(cli.state.iterdir())


def test_a_plan_is_carried_out_exactly(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = as_json(cli("plan", "--all", "-o", str(path), "--json"))
    assert (document["command"], len(document["findings"])) == ("plan", 1)
    applied = as_json(cli("apply", "--plan", str(path), "--yes", "--json"))
    assert (applied["run"], applied["exit"]) == (1, 0)


def test_all_of_it_at_once(cli: CommandLine) -> None:
    state = break_state(cli)
    before = snapshot(str(cli.home))
    applied = as_json(cli("apply", "--all", "--yes", "--json"))
    assert [(each["remedy"], applied["exit"]) for each in applied["findings"]] == [
        ("npm-prefix", 0),
        ("reset-config", 0),
    ]
    assert not state.exists()
    assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


# ---- undo


def test_undo_of_an_undo_and_of_that(cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    cli("apply", "npm-prefix", "--yes")
    mended = snapshot(str(cli.home))
    for expected in (before, mended, before, mended):
        assert cli("undo", "--yes").code == 0
        assert snapshot(str(cli.home)) == expected


def test_undo_of_one_change_and_then_of_the_rest(cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    cli("apply", "npm-prefix", "--yes")
    assert as_json(cli("undo", "1", "--change", "1", "--yes", "--json"))["exit"] == 0
    assert (cli.home / ".npmrc").read_text() == "prefix=/proc/1\n"
    assert b"ccremedy" in (cli.home / ".bashrc").read_bytes()
    assert cli("undo", "1", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


def test_undo_of_a_run_that_is_not_the_last(cli: CommandLine) -> None:
    cli("apply", "npm-prefix", "--yes")
    state = break_state(cli)
    assert cli("apply", "reset-config", "--yes").code == 0
    assert not state.exists()
    assert cli("undo", "1", "--yes").code == 0
    assert (cli.home / ".npmrc").read_text() == "prefix=/proc/1\n"
    assert not state.exists()
    assert cli("undo", "2", "--yes").code == 0
    assert state.exists()


def test_undo_twice_is_undo_once(cli: CommandLine) -> None:
    cli("apply", "npm-prefix", "--yes")
    assert cli("undo", "1", "--yes").code == 0
    before = snapshot(str(cli.home))
    assert cli("undo", "1", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


def test_an_edit_inside_what_we_own_is_left_and_reported(cli: CommandLine) -> None:
    cli("apply", "npm-prefix", "--yes")
    rc = cli.home / ".bashrc"
    rc.write_text(rc.read_text().replace("esac", "esac # mine"))
    mine = rc.read_text()
    answer = cli("undo", "--yes")
    assert (answer.code, "npm-prefix: taken back in part" in answer.out) == (3, True), answer
    assert f"{rc}" in answer.err
    assert "has been edited since" in answer.err
    assert rc.read_text() == mine
    assert (cli.home / ".npmrc").read_text() == "prefix=/proc/1\n"


def test_undo_of_nothing_but_drift_has_code_8(cli: CommandLine) -> None:
    cli("apply", "npm-prefix", "--yes")
    (cli.home / ".npmrc").write_text("prefix=/mine\n")
    answer = cli("undo", "1", "--change", "1", "--yes")
    assert (answer.code, "has been edited since" in answer.err) == (8, True), answer
    assert "npm-prefix: not taken back" in answer.out
    assert (cli.home / ".npmrc").read_text() == "prefix=/mine\n"


def test_undo_works_when_the_remedy_is_gone(cli: CommandLine, tmp_path: Path) -> None:
    cli.source = _clone(tmp_path)
    cli.python = (sys.executable, "-S")  # or an editable installation would bring its own remedies
    cli.more["PYTHONPATH"] = f"{cli.source}{os.pathsep}{_site_packages()}"
    before = snapshot(str(cli.home))
    assert cli("apply", "npm-prefix", "--yes").code == 0
    (cli.source / "remedies" / "npm_prefix.py").unlink()
    assert "npm-prefix" not in cli("list").out
    assert "add block “npm-prefix”" in cli("history").out
    assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


# ---- asking, and not asking


@pytest.mark.parametrize("command", [("apply", "npm-prefix"), ("apply", "--all"), ("undo",)], ids=" ".join)
@pytest.mark.parametrize("more", [(), ("--no-input",), ("--json",)], ids=lambda more: " ".join(more) or "plain")
def test_without_a_terminal_and_without_yes_nothing_is_done(
    command: tuple[str, ...], more: tuple[str, ...], cli: CommandLine
) -> None:
    if command == ("undo",):
        cli("apply", "npm-prefix", "--yes")
    before = snapshot(str(cli.home)), snapshot(str(cli.state))
    answer = cli(*command, *more)
    assert answer.code == 5, answer
    assert "Say --yes" in answer.out + answer.err
    assert (snapshot(str(cli.home)), snapshot(str(cli.state))) == before


def test_what_is_riskier_than_allowed_is_left_alone(cli: CommandLine) -> None:
    state = break_state(cli)
    answer = cli("apply", "reset-config", "--yes", "--max-risk", "low")
    assert (answer.code, "--max-risk medium" in answer.out + answer.err) == (5, True), answer
    assert state.exists()
    document = as_json(cli("apply", "--all", "--yes", "--max-risk", "low", "--json"))
    statuses = {each["remedy"]: {change["status"] for change in each["changes"]} for each in document["findings"]}
    assert statuses == {"npm-prefix": {"done"}, "reset-config": {"declined"}}
    assert document["exit"] == 3
    assert state.exists()


# ---- how it is printed


def test_quiet_prints_problems_only(cli: CommandLine) -> None:
    assert (cli("diagnose", "-q").out, cli("diagnose", "-q").err) == ("", "")
    assert cli("apply", "npm-prefix", "--yes", "--quiet").out == ""
    assert cli("apply", "nonsense", "--quiet").err.startswith("ccremedy: there is no remedy")


def test_verbose_says_also_why_there_is_nothing_to_do(cli: CommandLine) -> None:
    assert "wsl-path: nothing to do: this is not WSL" not in cli("diagnose").out
    assert "wsl-path: nothing to do: this is not WSL" in cli("diagnose", "-v").out


@pytest.mark.parametrize(
    ("words", "env", "colored"),
    [
        ((), {}, False),
        (("--color", "always"), {}, True),
        (("--color=always",), {}, True),
        (("--color", "never"), {}, False),
        (("--color", "auto"), {"TERM": "xterm"}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
    ],
)
def test_color_in_a_pipe(words: tuple[str, ...], env: dict[str, str], colored: bool, cli: CommandLine) -> None:
    assert ("\x1b[" in cli("diagnose", *words, env=env).out) == colored


def test_options_may_stand_anywhere(cli: CommandLine) -> None:
    expected = cli("apply", "npm-prefix", "--dry-run", "--timeout", "5", "-v").out
    assert cli("--timeout", "5", "-v", "apply", "--dry-run", "npm-prefix").out == expected
    assert cli("-v", "apply", "npm-prefix", "--timeout=5", "--dry-run").out == expected
    document = as_json(cli("--json", "--color", "never", "diagnose", "npm-prefix"))
    assert document["command"] == "diagnose"


def test_secrets_are_in_nothing_that_is_printed_or_kept(cli: CommandLine) -> None:
    secret = "npm_" + "s3cr3t" * 6
    (cli.home / ".npmrc").write_text(f"//registry.example/:_authToken={secret}\nprefix=/proc/1\n")
    (cli.home / ".bashrc").write_text(f"export ANTHROPIC_API_KEY={secret}\n")
    for line in (("diagnose", "-v"), ("apply", "npm-prefix", "--dry-run", "--json"), ("apply", "npm-prefix", "--yes")):
        answer = cli(*line)
        assert secret not in answer.out + answer.err
    assert secret not in json.dumps(str(snapshot(str(cli.state))))
    assert secret in (cli.home / ".npmrc").read_text()


# ---- interruptions

SLOW = "touch {mark}\nsleep 90\n"
SLOW_ONCE_MENDED = "case $PATH in */.npm-global/*) touch {mark}; sleep 90;; esac\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
@pytest.mark.parametrize("rc", [SLOW, SLOW_ONCE_MENDED], ids=["before anything is written", "while it is proven"])
def test_a_signal_during_apply_leaves_all_as_it_was(
    rc: str, number: int, code: int, cli: CommandLine, tmp_path: Path, needs: Needs
) -> None:
    needs("bash")
    mark = tmp_path / "mark"
    (cli.home / ".bashrc").write_text(rc.format(mark=mark))
    before = snapshot(str(cli.home))
    with cli.start("apply", "npm-prefix", "--yes", "--timeout", "90") as process:
        _wait_for(mark.exists)
        written = snapshot(str(cli.home)) != before
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert written == (rc == SLOW_ONCE_MENDED), "the signal did not arrive when it was meant to"
    assert process.returncode == code, err
    assert snapshot(str(cli.home)) == before
    assert err.decode().count("\n") <= 2
    assert b"Traceback" not in err
    assert cli("recover").out.startswith("· no run was interrupted")


@pytest.fixture
def to_nobody() -> Iterator[int]:
    """The end to write to of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_a_reader_that_goes_away(to_nobody: int, cli: CommandLine) -> None:
    """What was done by then stands, is in the journal, and can be taken back."""
    before = snapshot(str(cli.home))
    with cli.start("apply", "npm-prefix", "--yes", stdout=to_nobody) as process:
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(timeout=60)
    assert (process.returncode, err) == (141, b"")
    assert len(as_json(cli("history", "--json"))["runs"]) == 1
    assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


@pytest.mark.parametrize("line", [("diagnose",), ("diagnose", "--json"), ("list",), ("--help",)], ids=" ".join)
def test_a_reader_that_goes_away_while_looking(line: tuple[str, ...], to_nobody: int, cli: CommandLine) -> None:
    with cli.start(*line, stdout=to_nobody) as process:
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_of_two_at_once_one_is_told_to_wait(cli: CommandLine, tmp_path: Path, needs: Needs) -> None:
    needs("bash")
    mark, go_on = tmp_path / "mark", tmp_path / "go-on"
    (cli.home / ".bashrc").write_text(f"touch {mark}\nuntil [ -e {go_on} ]; do sleep 0.05; done\n")
    with cli.start("apply", "npm-prefix", "--yes", "--timeout", "90") as first:
        _wait_for(mark.exists)
        second = cli("apply", "npm-prefix", "--yes", "--timeout", "0.3", "-q")
        assert (second.code, second.err.count("\n")) == (7, 1), second
        assert "another ccremedy is at work" in second.err
        assert cli("apply", "npm-prefix", "--dry-run").code == 0, "to look, no lock is needed"
        assert first.poll() is None, "the first has ended: this test has shown nothing"
        go_on.touch()
        _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert len(as_json(cli("history", "--json"))["runs"]) == 1


def test_what_kill_9_interrupted_is_taken_back_by_the_next_command(
    cli: CommandLine, tmp_path: Path, needs: Needs
) -> None:
    needs("bash")
    mark = tmp_path / "mark"
    (cli.home / ".bashrc").write_text(SLOW_ONCE_MENDED.format(mark=mark))
    before = snapshot(str(cli.home))
    with cli.start("apply", "npm-prefix", "--yes", "--timeout", "90") as process:
        _wait_for(mark.exists)
        process.kill()
        process.communicate()
    assert snapshot(str(cli.home)) != before
    assert "run 1 was interrupted: ccremedy recover" in cli("diagnose").out
    assert as_json(cli("history", "--json"))["runs"][0]["state"] == "interrupted"
    answer = cli("recover")
    assert (answer.code, "taken back: npm-prefix" in answer.out) == (0, True), answer
    assert snapshot(str(cli.home)) == before
    assert cli("recover").out.startswith("· no run was interrupted")


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to the point that this test is about"
        time.sleep(0.02)


# ---- a bare clone


def _clone(scratch: Path) -> Path:
    clone = scratch / "clone"
    for package in ("ccremedy", "remedies", "platforms"):
        shutil.copytree(ROOT / package, clone / package, ignore=shutil.ignore_patterns("__pycache__"))
    return clone


def _site_packages() -> str:
    import filelock

    return os.path.dirname(os.path.dirname(filelock.__file__))


@pytest.fixture
def bare(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """A clone, and a Python without a single package of others."""
    cli.source = _clone(tmp_path)
    cli.python = (sys.executable, "-S")
    probe = subprocess.run([*cli.python, "-c", "import filelock"], env={}, capture_output=True)
    assert probe.returncode != 0, "this Python has filelock after all"
    return cli


def test_a_bare_clone_diagnoses_and_shows(bare: CommandLine) -> None:
    assert bare("diagnose").code == 1
    assert as_json(bare("diagnose", "--json"))["findings"]
    assert bare("apply", "npm-prefix", "--dry-run").code == 0
    assert bare("plan", "npm-prefix", "-o", "-").code == 0
    assert bare("history").code == 0
    assert bare("list").out.count("\n") == len(registry.remedies())


def test_a_bare_clone_says_what_it_needs_to_change_anything(bare: CommandLine) -> None:
    before = snapshot(str(bare.home))
    answer = bare("apply", "npm-prefix", "--yes", "--quiet")
    assert (answer.code, answer.err.count("\n")) == (6, 1), answer
    assert "filelock" in answer.err
    assert "README" in answer.err
    assert snapshot(str(bare.home)) == before
    assert not list(bare.state.iterdir())


def test_the_clone_is_run_from_its_own_directory(bare: CommandLine) -> None:
    """As the README says it: `cd ccremedy && python3 -m ccremedy diagnose`."""
    env = bare.environment({"PYTHONPATH": None})
    done = subprocess.run(bare.command("diagnose"), cwd=bare.source, env=env, capture_output=True, text=True)
    assert (done.returncode, "npm-prefix" in done.stdout) == (1, True), done


# ---- where effects are

READING = {"devnull"}
EFFECTS = {
    "chflags", "chmod", "chown", "copy_file_range", "execl", "execle", "execlp", "execv", "execve", "execvp", "fchmod",
    "fchown", "fork", "forkpty", "ftruncate", "kill", "killpg", "lchmod", "lchown", "link", "makedirs", "mkdir",
    "mkfifo", "mknod", "open", "popen", "posix_spawn", "remove", "removedirs", "removexattr", "rename", "renames",
    "replace", "rmdir", "sendfile", "setxattr", "spawnl", "spawnv", "startfile", "symlink", "system", "truncate",
    "umask", "unlink", "utime", "write", "writev",
}  # fmt: skip
MODULES = {"shutil", "tempfile", "subprocess", "multiprocessing", "ctypes", "socket", "urllib", "http", "pty", "io"}
METHODS = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "rmtree"}
ALLOWED = {
    "ccremedy/files/__init__.py": "every touch of the file system",
    "ccremedy/files/posix.py": "the same, as Linux and macOS do it",
    "ccremedy/files/linux.py": "and only Linux",
    "ccremedy/files/macos.py": "and only macOS",
    "ccremedy/files/windows.py": "and Windows",
    "ccremedy/hive.py": "the registry of Windows",
    "ccremedy/processes/__init__.py": "every process",
    "ccremedy/processes/posix.py": "the same, as Linux and macOS do it",
    "ccremedy/processes/windows.py": "and Windows",
    "ccremedy/network.py": "every connection",
    "ccremedy/testing.py": "makes the sick machines of the tests",
}
SOURCES = sorted(
    str(path.relative_to(ROOT)) for top in ("ccremedy", "remedies", "platforms") for path in (ROOT / top).rglob("*.py")
)


def effects(source: str) -> Iterator[str]:
    """The lines on which something is opened, written, renamed or started, as `line: what`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in MODULES)
            if isinstance(node, ast.ImportFrom) and node.module in ("os", "pathlib"):
                yield f"{node.lineno}: from {node.module}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield f"{node.lineno}: open()"
        if isinstance(node, ast.Attribute):
            of_os = isinstance(node.value, ast.Name) and node.value.id == "os"
            if (of_os and node.attr in EFFECTS) or node.attr in METHODS:
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", [path for path in SOURCES if path not in ALLOWED])
def test_this_module_has_no_effects(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    found = [each for each in effects("\n".join(lines)) if "os.devnull" not in lines[int(each.split(":")[0]) - 1]]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "open('x', 'w')", "os.rename(a, b)", "os.unlink(a)", "import shutil", "from subprocess import run",
        "import os.path, tempfile", "from os import unlink", "path.write_text('x')", "f = os.mkdir", "import socket",
    ],
)  # fmt: skip
def test_an_effect_would_be_seen(line: str) -> None:
    assert list(effects(f"def f():\n    {line}\n"))


def test_the_modules_that_may_have_effects_have_some() -> None:
    assert {path for path in SOURCES if list(effects((ROOT / path).read_text()))} >= ALLOWED.keys()


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith("ccremedy/cli/")])
def test_only_the_command_line_knows_of_dry_runs(path: str) -> None:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "value")]
        assert not any(name in ("dry_run", "dryrun", "--dry-run", "check_mode") for name in names if name)
