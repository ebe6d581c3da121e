"""What the README lists is what there is: remedies, commands, exit codes and files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ccremedy import errors, registry
from ccremedy.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_remedy_has_a_row_and_every_row_a_remedy() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", README, re.M) == list(registry.remedies())


def test_every_remedy_has_cases_where_something_is_found_and_where_nothing_is() -> None:
    for name in registry.remedies():
        paths = (ROOT / "tests" / "cases" / name).glob("*/case.json")
        finds = [json.loads(path.read_text(encoding="utf-8"))["finds"] for path in paths]
        assert [] in finds, name
        assert any(finds), name


@pytest.mark.parametrize("command", re.findall(r"^    (?:python3 -m )?ccremedy ([a-z]+)", README, re.M))
def test_a_command_that_the_readme_shows_is_there(command: str) -> None:
    assert command in COMMANDS


def test_every_exit_code_is_told() -> None:
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.M) for code in row.split(",")}
    assert told == {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}


@pytest.mark.parametrize("path", re.findall(r"`(ccremedy/[\w./]+)`|\]\((docs/[\w.]+)\)", README), ids="".join)
def test_a_file_that_the_readme_names_is_there(path: tuple[str, str]) -> None:
    assert (ROOT / "".join(path)).is_file()


def test_the_first_lines_say_what_it_is_and_the_two_commands_stand_alone() -> None:
    blocks = re.findall(r"(?:^    .*\n)+", README, re.M)
    assert [block.strip() for block in blocks[:2]] == ["python3 -m ccremedy diagnose", "python3 -m tests"]
