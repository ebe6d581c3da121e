"""docs/platforms.md claims what the tests show, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import platform_table
import pytest
from platform_table import Evidence, Mistake

ROOT = platform_table.ROOT


def test_the_page_is_what_the_tests_show() -> None:
    now = platform_table.PAGE.read_text(encoding="utf-8")
    assert now == platform_table.page(now), f"run {platform_table.COMMAND}"


def test_the_platforms_are_those_that_have_an_adapter() -> None:
    adapters = [path.stem for path in (ROOT / "platforms").glob("*.py") if not path.stem.startswith("_")]
    assert sorted(adapters) == sorted(platform_table.PLATFORMS)


def test_nothing_is_claimed_for_real_where_no_mark_says_on_what() -> None:
    for each in platform_table.everything():
        assert each.level != "real" or each.platform == "linux" or each.where, each


# ---- reading marks


def marks(tmp_path: Path, text: str) -> list[tuple[str, str, str, str]]:
    path = tmp_path / "test_it.py"
    path.write_text(text)
    return [(each.remedy, each.platform, each.level, each.where) for each in platform_table.marks(path)]


@pytest.mark.parametrize(
    "text",
    [
        '@pytest.mark.cell("npm-prefix", "wsl", "simulated")\ndef test_it(): ...',
        '@pytest.mark.cell("npm-prefix", "wsl", "simulated")\nclass TestIt: ...',
        'pytestmark = [pytest.mark.slow, pytest.mark.cell("npm-prefix", "wsl", "simulated")]',
        'X = pytest.param(1, marks=pytest.mark.cell("npm-prefix", "wsl", "simulated"))',
    ],
    ids=["function", "class", "file", "parameter"],
)
def test_a_mark_is_found_on_a(text: str, tmp_path: Path) -> None:
    assert marks(tmp_path, text) == [("npm-prefix", "wsl", "simulated", "")]


def test_where_is_read(tmp_path: Path) -> None:
    text = 'pytestmark = pytest.mark.cell("npm-prefix", "wsl", "real", where="by hand")'
    assert marks(tmp_path, text) == [("npm-prefix", "wsl", "real", "by hand")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('pytest.mark.cell("npm-prefix", "wsl", "real")', r"for real on wsl\? Say where"),
        ('pytest.mark.cell("npm-prefix", "wsl", "nearly")', "'nearly' .* none of simulated, wine, real"),
        ('pytest.mark.cell("npm-prefix", "wsl", "wine", when="now")', "when"),
        ('pytest.mark.cell("npm-prefix", "wsl")', "it reads cell"),
        ("pytest.mark.cell(*words)", "it reads cell"),
        ("cell = pytest.mark.cell", "it reads cell"),
        ('pytest.mark.cell("npm-prefxi", "wsl", "wine")', "there is no npm-prefxi on wsl"),
        ('pytest.mark.cell("npm-prefix", "os2", "wine")', "there is no npm-prefix on os2"),
        ('pytest.mark.cell("wsl-path", "linux", "real")', "wsl-path on linux: this is not WSL"),
    ],
)
def test_a_mark_that_means_nothing_is_a_mistake(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=rf"test_it\.py:1: .*{says}"):
        marks(tmp_path, text)


# ---- reading cases


@pytest.mark.parametrize(("platform", "level"), [("linux", "real"), ("wsl", "simulated")])
def test_a_case_counts_by_its_platform(platform: str, level: str, tmp_path: Path) -> None:
    case = tmp_path / "npm-prefix" / "a-case" / "case.json"
    case.parent.mkdir(parents=True)
    case.write_text(json.dumps({"platform": platform}))
    assert list(platform_table.cases(tmp_path)) == [
        Evidence("npm-prefix", platform, level, "", "tests/cases/npm-prefix/")
    ]


def test_a_case_without_a_meaning_counts_for_nothing(tmp_path: Path) -> None:
    case = tmp_path / "wsl-path" / "a-case" / "case.json"
    case.parent.mkdir(parents=True)
    case.write_text('{"platform": "linux"}')
    assert list(platform_table.cases(tmp_path)) == []


# ---- the table


def row(name: str, found: list[Evidence]) -> list[str]:
    (line,) = [each for each in platform_table.table(found).splitlines() if each.startswith(f"| `{name}` |")]
    return line.split(" | ")[1:]


def test_the_best_wins() -> None:
    def found(level: str, where: str = "") -> Evidence:
        return Evidence("npm-prefix", "wsl", level, where, "")

    simulated, wine, alike, real = found("simulated"), found("wine"), found("real", "by hand"), found("real")
    assert row("npm-prefix", [wine, simulated])[1] == "under Wine"
    assert row("npm-prefix", [simulated, alike, wine])[1] == "for real (by hand)"
    assert row("npm-prefix", [alike, real])[1] == "for real"


def test_where_there_is_nothing_it_says_so() -> None:
    assert row("npm-prefix", [])[:2] == ["not run", "not run"]
    assert row("wsl-path", [])[:2] == ["no meaning: this is not WSL", "not run"]


def test_without_its_place_in_the_page_the_table_is_not_written() -> None:
    with pytest.raises(Mistake, match="between which lines"):
        platform_table.page("# What was tried\n")
