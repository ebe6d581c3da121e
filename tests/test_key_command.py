"""`ccremedy key` and key-storage as somebody without a secret store uses them: with a file that only they can read.

(`test_keys_for_real` does the same with a real store.)
"""

from __future__ import annotations

import datetime
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from canary import CANARY, SECOND, Person, leaks, scan

from ccremedy.testing import snapshot

OWNER_ONLY = ("--owner-only-file", "--yes")
APPLY = ("apply", "key-storage", *OWNER_ONLY, "--max-risk", "high")
KEY = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz-AA"
OTHER = "sk-ant-api03-zyxwvutsrqponmlkjihgfedcba9876543210-BB"


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person.make(tmp_path, {})


@pytest.fixture
def keeper(person: Person) -> Person:
    """Somebody who has stored a key."""
    done = person("key", "set", *OWNER_ONLY, stdin=f"{CANARY}\n")
    assert done.returncode == 0, done
    return person


def world(person: Person) -> tuple[Any, ...]:
    """What must be as before where nothing was changed. An empty state folder is no change."""
    state = snapshot(str(person.state)) if person.state.exists() else {}
    return snapshot(str(person.home)), {name: entry for name, entry in state.items() if name not in ("lock", "runs")}


def put(person: Person, name: str, text: str, mode: int = 0o600) -> Path:
    path = person.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def findings(person: Person, *words: str) -> dict[str, Any]:
    """What key-storage finds, by id."""
    return {each["id"]: each for each in document(person("diagnose", "key-storage", "--json", *words))["findings"]}


# ---- set, print, rotate, remove


def test_set_stores_it_for_its_owner_alone_and_tells_claude_code(keeper: Person) -> None:
    (place,) = scan(keeper.home, keeper.state)
    assert Path(place).read_text() == CANARY
    assert [oct(Path(each).stat().st_mode & 0o777) for each in (Path(place).parent, place)] == ["0o700", "0o600"]
    record = json.loads((keeper.state / "key.json").read_text())
    assert record["since"] == datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    helper = json.loads((keeper.home / ".claude" / "settings.json").read_text())["apiKeyHelper"]
    printed = subprocess.run(["/bin/sh", "-c", helper], env=keeper.env, capture_output=True, cwd="/")
    assert (printed.returncode, printed.stdout) == (0, f"{CANARY}\n".encode())
    assert keeper("key", "print").stdout == f"{CANARY}\n"


def test_setting_the_same_key_again_changes_nothing(keeper: Person) -> None:
    before = world(keeper)
    done = keeper("key", "set", *OWNER_ONLY, stdin=CANARY)
    assert done.returncode == 0, done
    assert world(keeper) == before


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n\n"], ids=repr)
def test_what_surrounds_it_on_standard_input_is_no_part_of_it(person: Person, end: str) -> None:
    assert person("key", "set", *OWNER_ONLY, stdin=CANARY + end).returncode == 0
    assert person("key", "print").stdout == f"{CANARY}\n"


def test_the_prompt_shows_nothing_of_it(person: Person, tmp_path: Path) -> None:
    log = io.StringIO()
    words = ["-m", "ccremedy", "key", "set", "--owner-only-file"]
    env: Any = person.env | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}  # nobody tells it its cursor
    child: Any = pexpect.spawn(sys.executable, words, env=env, cwd=str(person.home), dimensions=(50, 120),
                               encoding="utf-8", timeout=60)  # fmt: skip
    child.logfile_read = log
    child.expect_exact("The key:")
    child.send(f"{CANARY}\r")
    child.expect_exact("Do all of this?")
    child.expect_exact("change nothing at all")
    assert not (person.state / "key.json").exists()
    child.send("\r")
    child.expect(pexpect.EOF)
    child.wait()
    child.close()
    assert child.exitstatus == 0, log.getvalue()
    shown = log.getvalue()
    assert [CANARY[at : at + 5] for at in range(len(CANARY) - 4) if CANARY[at : at + 5] in shown] == []
    assert person("key", "print").stdout == f"{CANARY}\n"


def test_without_a_terminal_and_without_input_it_says_so(person: Person) -> None:
    before = world(person)
    done = person("key", "set", *OWNER_ONLY)
    assert done.returncode == 2
    assert "is empty" in done.stderr
    assert world(person) == before


def test_a_key_is_no_argument(person: Person) -> None:
    before = world(person)
    done = person("key", "set", CANARY, *OWNER_ONLY)
    assert done.returncode == 2
    assert not leaks((done.stdout + done.stderr).encode())
    assert world(person) == before


def test_rotate_and_its_undo(keeper: Person) -> None:
    before = world(keeper)
    done = keeper("key", "rotate", "--yes", stdin=SECOND)
    assert done.returncode == 0, done
    assert "revoke the old key" in done.stdout
    assert keeper("key", "print").stdout == f"{SECOND}\n"
    undone = keeper("undo", "--yes")
    assert undone.returncode == 0, undone
    assert keeper("key", "print").stdout == f"{CANARY}\n"
    assert world(keeper)[0] == before[0]
    assert not scan(keeper.home, keeper.state, secrets=(SECOND,))


def test_there_is_nothing_to_rotate_print_or_remove(person: Person) -> None:
    before = world(person)
    for word, what in (("rotate", "rotate"), ("print", "print"), ("remove", "remove")):
        done = person("key", word, *(("--yes",) if word != "print" else ()), stdin=CANARY)
        assert done.returncode == 6, done
        assert done.stderr.startswith(f"ccremedy: there is no key to {what}")
    assert world(person) == before


def test_remove_leaves_nothing_of_it(keeper: Person) -> None:
    settings = keeper.home / ".claude" / "settings.json"
    settings.write_text(settings.read_text().replace("{", '{\n  "model": "opus",', 1))
    done = keeper("key", "remove", "--yes")
    assert done.returncode == 0, done
    assert "<redacted>" not in done.stdout
    assert scan(keeper.home, keeper.state) == {}
    assert not (keeper.state / "key.json").exists()
    assert json.loads(settings.read_text()) == {"model": "opus"}
    assert keeper("key", "print").returncode == 6
    assert "ccremedy undo" not in done.stdout, "it cannot be taken back, so nobody is told to"


def test_remove_leaves_the_helper_of_another_program(keeper: Person) -> None:
    settings = put(keeper, ".claude/settings.json", '{"apiKeyHelper": "/usr/bin/pass show claude"}')
    assert keeper("key", "remove", "--yes").returncode == 0
    assert json.loads(settings.read_text()) == {"apiKeyHelper": "/usr/bin/pass show claude"}


# ---- what none can be

UNFIT = {
    "quotes": f'"{CANARY}"',
    "a-quote": f"{CANARY}'",
    "a-newline": f"{CANARY}\n{SECOND}",
    "a-blank": f"{CANARY} {SECOND}",
    "not-ascii": f"{CANARY}é",
    "a-control": f"{CANARY}\x1b[2J",
    "ten-kilobytes": "k" * 10_240,
    "a-hundred-kilobytes": "k" * 102_400,
    "empty": "",
    "only-blanks": " \n\t ",
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_key_is_refused_in_one_sentence(person: Person, name: str) -> None:
    before = world(person)
    done = person("key", "set", *OWNER_ONLY, stdin=UNFIT[name])
    assert done.returncode == 2, done
    assert re.fullmatch(r"ccremedy: what was given [^\n]+\. Nothing was changed\.\n", done.stderr), done.stderr
    assert not leaks((done.stdout + done.stderr).encode(), CANARY, SECOND)
    assert world(person) == before


@pytest.mark.parametrize("name", ["a-blank", "not-ascii", "ten-kilobytes"])
def test_what_is_no_key_is_not_moved_either(person: Person, name: str) -> None:
    put(person, ".bashrc", f"export ANTHROPIC_API_KEY='{UNFIT[name]}'\n")
    before = world(person)
    done = person(*APPLY)
    assert done.returncode == 6, done
    assert world(person) == before


# ---- status: seven levels

LOGIN = json.dumps({"claudeAiOauth": {"accessToken": "sk-ant-oat01-xxxxxxxxxxxxxxxx"}})
LEVELS: list[tuple[int, str, dict[str, str], dict[str, str], str]] = [
    (1, "CLAUDE_CODE_USE_BEDROCK", {"CLAUDE_CODE_USE_BEDROCK": "1"}, {}, "the environment"),
    (2, "ANTHROPIC_AUTH_TOKEN", {"ANTHROPIC_AUTH_TOKEN": "token"}, {}, "the environment"),
    (3, "ANTHROPIC_API_KEY", {"ANTHROPIC_API_KEY": KEY}, {}, "the environment"),
    (4, "apiKeyHelper", {}, {".claude/settings.json": '{"apiKeyHelper": "pass show x"}'}, ".claude/settings.json"),
    (5, "CLAUDE_CODE_OAUTH_TOKEN", {"CLAUDE_CODE_OAUTH_TOKEN": "token"}, {}, "the environment"),
    (6, "ANTHROPIC_PROFILE", {"ANTHROPIC_PROFILE": "work"}, {}, "the environment"),
    (7, "login", {}, {".claude/.credentials.json": LOGIN}, ".claude/.credentials.json"),
]


@pytest.mark.parametrize("level", range(1, 8))
def test_status_tells_which_level_wins_over_all_below_it(person: Person, level: int) -> None:
    env: dict[str, str] = {}
    for _, _, more, files, _ in LEVELS[level - 1 :]:
        env |= more
        for name, text in files.items():
            put(person, name, text)
    done = person("key", "status", "--json", **env)
    assert done.returncode == 0, done
    used = document(done)["credentials"]
    assert [each["level"] for each in used] == list(range(level, 8))
    assert [each["wins"] for each in used] == [True] + [False] * (7 - level)
    number, name, _, _, where = LEVELS[level - 1]
    where = where if where == "the environment" else str(person.home / where)
    assert (used[0]["level"], used[0]["name"], used[0]["where"]) == (number, name, where)
    text = person("key", "status", **env).stdout
    assert f"1. {name}, from {where}" in text
    assert not leaks(text.encode(), KEY)


def test_a_console_login_is_the_last(person: Person) -> None:
    put(person, ".claude.json", json.dumps({"primaryApiKey": KEY}))
    (used,) = document(person("key", "status", "--json"))["credentials"]
    assert (used["level"], used["name"], used["where"]) == (7, "Console login", str(person.home / ".claude.json"))


@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"])
def test_what_the_settings_put_into_the_environment_comes_from_there(person: Person, variable: str) -> None:
    settings = put(person, ".claude/settings.json", json.dumps({"env": {variable: KEY}}))
    (used,) = document(person("key", "status", "--json", **{variable: OTHER}))["credentials"]
    assert (used["name"], used["where"]) == (variable, str(settings))


def test_a_key_that_was_refused_once_is_told(person: Person) -> None:
    put(person, ".claude.json", json.dumps({"customApiKeyResponses": {"rejected": [KEY[-20:]]}}))
    text = person("key", "status", ANTHROPIC_API_KEY=KEY).stdout
    assert "refused once at a prompt, so only `claude -p` uses it" in text
    assert "refused" not in person("key", "status", ANTHROPIC_API_KEY=OTHER).stdout


def test_a_provider_that_is_switched_off_is_none(person: Person) -> None:
    assert document(person("key", "status", "--json", CLAUDE_CODE_USE_BEDROCK="0"))["credentials"] == []


def test_status_tells_of_the_key_that_is_kept(keeper: Person) -> None:
    done = keeper("key", "status")
    assert done.returncode == 0, done
    assert re.search(r"ccremedy keeps the key with fingerprint [0-9a-f]{8}, since 0 days", done.stdout), done.stdout
    assert document(keeper("key", "status", "--json"))["key"]["days"] == 0
    assert document(keeper("key", "status", "--json"))["credentials"][0]["name"] == "apiKeyHelper"


def test_status_of_nothing(person: Person) -> None:
    done = person("key", "status")
    assert (done.returncode, done.stdout) == (0, "Claude Code has no credential here.\n")
    answer = document(person("key", "status", "--json"))
    assert (answer["credentials"], answer["key"], answer["exit"]) == ([], None, 0)


# ---- ninety days


def note(person: Person, text: str) -> Path:
    """The record of which key is kept, as it would be, or as somebody has damaged it."""
    person.state.mkdir(mode=0o700, exist_ok=True)
    record = person.state / "key.json"
    record.write_text(text)
    return record


def aged(person: Person, days: int, noted: bool) -> None:
    then = time.time() - days * 86_400
    since = {"since": time.strftime("%Y-%m-%d", time.gmtime(then))} if noted else {}
    record = note(person, json.dumps({"fingerprint": "0" * 20, "vault": str(person.state / "keys"), **since}))
    if not noted:
        os.utime(record, (then, then))


@pytest.mark.parametrize("noted", [True, False], ids=["by-its-date", "by-the-age-of-the-record"])
@pytest.mark.parametrize(("days", "speaks"), [(0, False), (90, False), (91, True)])
def test_after_ninety_days_it_speaks_up(person: Person, days: int, speaks: bool, noted: bool) -> None:
    aged(person, days, noted)
    found = findings(person)
    assert ("old-key" in found) == speaks
    if speaks:
        assert f"{days} days old" in found["old-key"]["title"]
        assert "ccremedy key rotate" in found["old-key"]["advice"][0]


def test_a_rotated_key_is_young_again(person: Person) -> None:
    aged(person, 91, True)
    assert person("key", "rotate", "--yes", stdin=SECOND).returncode == 0
    assert "old-key" not in findings(person)
    assert person("undo", "--yes").returncode == 0
    assert "old-key" in findings(person)


# ---- what stands in the way


def refused(person: Person, *words: str, says: str, code: int = 6) -> None:
    before = world(person)
    done = person(*words, stdin=CANARY)
    assert done.returncode == code, done
    assert says in done.stdout + done.stderr, done
    assert not leaks((done.stdout + done.stderr).encode(), CANARY, KEY)
    assert world(person) == before


SET = ("key", "set", *OWNER_ONLY)


@pytest.mark.parametrize("words", [SET, APPLY], ids=["key-set", "apply"])
def test_the_helper_of_another_program_is_left(person: Person, words: tuple[str, ...]) -> None:
    put(person, ".bashrc", f"export ANTHROPIC_API_KEY={KEY}\n")
    put(person, ".claude/settings.json", '{"apiKeyHelper": "/usr/bin/pass show claude"}')
    refused(person, *words, says="names another program already")


@pytest.mark.parametrize("words", [SET, APPLY], ids=["key-set", "apply"])
def test_settings_that_do_not_parse_are_named_with_the_line_and_the_remedy(
    person: Person, words: tuple[str, ...]
) -> None:
    put(person, ".bashrc", f"export ANTHROPIC_API_KEY={KEY}\n")
    put(person, ".claude/settings.json", '{\n  "model": "opus",\n  "env": {,}\n}\n')
    refused(person, *words, says="line 3")
    refused(person, *words, says="reset-config")


DAMAGED = ["", "{", "[]", "null", '"text"', "{}", '{"fingerprint": "x"}', "[" * 5000, "\x00"]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda text: repr(text[:20]))
def test_a_damaged_record_is_named(person: Person, content: str) -> None:
    record = note(person, content)
    for word in ("status", "print"):
        done = person("key", word)
        assert done.returncode == 6, done
        assert str(record) in done.stderr
        assert "ccremedy key set" in done.stderr
    done = person("diagnose", "key-storage")
    assert done.returncode in (1, 3, 6), done
    assert "this is a bug" not in done.stderr


def test_a_forged_record_gives_nothing_else_away(person: Person) -> None:
    """It is ours alone to write; but should somebody have: no file but an entry of the folder is printed."""
    put(person, "secret", "something else")
    note(person, json.dumps({"fingerprint": "../../home/secret", "vault": str(person.state / "keys")}))
    done = person("key", "print")
    assert (done.returncode != 0, done.stdout) == (True, "")


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777], ids=oct)
def test_a_folder_that_is_open_to_others_is_not_used(keeper: Person, mode: int) -> None:
    (keeper.state / "keys").chmod(mode)
    done = keeper("key", "print")
    assert (done.returncode, done.stdout) == (6, "")
    assert "chmod 700" in done.stderr
    before = world(keeper)
    done = keeper("key", "rotate", *OWNER_ONLY, stdin=SECOND)
    assert done.returncode == 6, done
    assert "is open to other users" in done.stdout + done.stderr
    assert world(keeper) == before


# ---- start-up files

SPELLED = {
    "twice": f"export ANTHROPIC_API_KEY={KEY}\n# and again\nexport ANTHROPIC_API_KEY={KEY}\n",
    "twice-with-two-values": f"export ANTHROPIC_API_KEY={KEY}\nexport ANTHROPIC_API_KEY={OTHER}\n",
    "in-both-quotings": f"export ANTHROPIC_API_KEY='{KEY}'\nANTHROPIC_API_KEY=\"{OTHER}\" # old\n",
    "in-parts": f"export ANTHROPIC_API_KEY={KEY[:10]}'{KEY[10:20]}'\"{KEY[20:]}\"\n",
    "with-a-semicolon": f"ANTHROPIC_API_KEY={KEY}; export ANTHROPIC_API_KEY\n",
    "with-windows-line-ends": f"a=1\r\nexport ANTHROPIC_API_KEY={KEY}\r\nb=2\r\n",
    "without-a-last-line-end": f"export ANTHROPIC_API_KEY={KEY}",
    "with-bytes-that-are-no-text": f"# caf\udce9\nexport ANTHROPIC_API_KEY={KEY}\n",
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_a_key_in_bashrc_goes_and_comes_back(person: Person, spelling: str) -> None:
    path = person.home / ".bashrc"
    original = SPELLED[spelling].encode("utf-8", "surrogateescape")
    path.write_bytes(original)
    done = person(*APPLY)
    assert done.returncode == 0, done
    assert b"sk-ant" not in path.read_bytes()
    assert path.read_bytes().count(b"\n") == original.count(b"\n")
    shell = subprocess.run(
        ["bash", "-c", '. ~/.bashrc; printf %s "$ANTHROPIC_API_KEY"'], env=person.env, capture_output=True
    )
    assert shell.stdout == b"", "no shell sets it any more"
    found = scan(person.home, person.state, secrets=(KEY, OTHER))
    assert {Path(each).parent.name for each in found} == {"keys"}
    undone = person("undo", "--yes")
    assert undone.returncode == 0, undone
    assert path.read_bytes() == original
    assert not scan(person.state, secrets=(KEY, OTHER))


def test_of_two_keys_the_one_that_a_shell_sets_goes_on_being_used(person: Person) -> None:
    put(person, ".bashrc", SPELLED["twice-with-two-values"])
    assert person(*APPLY).returncode == 0
    assert person("key", "print").stdout == f"{OTHER}\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"# export ANTHROPIC_API_KEY={KEY}", "keys-elsewhere"),
        (f"test -n $CI && export ANTHROPIC_API_KEY={KEY}", "keys-elsewhere"),
        (f"ANTHROPIC_API_KEY={KEY} claude -p hello", "keys-elsewhere"),
        (f"alias ai='ANTHROPIC_API_KEY={KEY} claude'", "keys-elsewhere"),
        ("export ANTHROPIC_API_KEY=$(pass show claude)", ""),
        ("export ANTHROPIC_API_KEY=`cat ~/key`", ""),
        ('export ANTHROPIC_API_KEY="$MY_KEY"', ""),
        ("unset ANTHROPIC_API_KEY", ""),
        ("export ANTHROPIC_API_KEY=", ""),
    ],
)
def test_a_line_that_does_something_else_is_left(person: Person, line: str, found: str) -> None:
    put(person, ".bashrc", f"{line}\n")
    before = world(person)
    assert list(findings(person, "--owner-only-file")) == ([found] if found else [])
    done = person(*APPLY)
    assert done.returncode in (0, 3, 6), done
    assert not leaks((done.stdout + done.stderr).encode(), KEY)
    assert world(person) == before


def test_what_another_run_has_moved_stays_whole_when_one_is_undone(person: Person) -> None:
    """Two files with one key, moved one after the other: taking back the first must not lose the other's."""
    first = put(person, ".bashrc", f"export ANTHROPIC_API_KEY={KEY}\n")
    assert person(*APPLY).returncode == 0
    second = put(person, ".zshrc", f"export ANTHROPIC_API_KEY={KEY}\n")
    assert person(*APPLY).returncode == 0
    for run in ("1", "2"):
        done = person("undo", run, "--yes")
        if done.returncode:  # it may say that the other one has to go first
            assert done.returncode in (3, 6, 8), done
    for run in ("2", "1"):
        person("undo", run, "--yes")
    for path in (first, second):
        assert path.read_text() == f"export ANTHROPIC_API_KEY={KEY}\n"


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + f"export ANTHROPIC_API_KEY={OTHER}\n",
        lambda text: "\n".join(line for line in text.split("\n") if "ccremedy" not in line),
    ],
    ids=["another-line-was-added", "our-comment-was-removed"],
)
def test_a_key_whose_place_was_edited_is_not_forgotten(person: Person, edit: Callable[[str], str]) -> None:
    path = put(person, ".bashrc", f"export ANTHROPIC_API_KEY={KEY}\n")
    assert person(*APPLY).returncode == 0
    edited = edit(path.read_text())
    path.write_text(edited)
    done = person("undo", "--yes")
    assert done.returncode in (3, 8), done
    assert str(path) in done.stderr
    assert path.read_text() == edited
    assert scan(person.state, secrets=(KEY,)), "its only copy"


def test_an_undo_can_be_undone(person: Person) -> None:
    put(person, ".bashrc", f"export ANTHROPIC_API_KEY={KEY}\n")
    assert person(*APPLY).returncode == 0
    moved = world(person)[0]
    assert person("undo", "--yes").returncode == 0
    again = person("undo", "--yes")
    assert again.returncode == 0, again
    assert world(person)[0] == moved
    assert person("key", "print").stdout == f"{KEY}\n"


# ---- beside a session


@pytest.fixture
def session(person: Person) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has written down that it is an interactive session of Claude Code."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        record = {"pid": process.pid, "sessionId": "0b3c", "cwd": str(person.home), "procStart": started,
                  "version": "2.1.330", "kind": "interactive", "status": "busy"}  # fmt: skip
        put(person, f".claude/sessions/{process.pid}.json", json.dumps(record))
        yield process
        process.kill()


def test_beside_a_live_session_its_state_file_is_left_unless_asked_for(
    person: Person, session: subprocess.Popen[bytes]
) -> None:
    text = f'{{"numStartups": 3, "primaryApiKey": "{KEY}", "projects": {{}}}}'
    path = put(person, ".claude.json", text)
    refused(person, *APPLY, says="--while-running")
    refused(person, *APPLY, says=str(session.pid))
    done = person(*APPLY, "--while-running")
    assert done.returncode == 0, done
    assert json.loads(path.read_text()) == {"numStartups": 3, "projects": {}}
    path.write_text(path.read_text().replace("3", "4"))  # which the session goes on doing
    undone = person("undo", "--yes")
    assert undone.returncode == 0, undone
    assert path.read_text() == text.replace("3", "4", 1)
