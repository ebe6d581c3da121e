"""Which of nvm's installed versions is the default one, read from its files as nvm itself reads them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from ccremedy import registry
from ccremedy.machine import Facts, Machine

registry.remedies()  # the helpers are importable by name once the registry has found the remedies
node = import_module("ccremedy.remedies._node")

INSTALLED = ["v8.17.0", "v9.11.2", "v16.20.2", "v18.20.7", "v18.20.8", "v20.1.0", "v20.10.0", "v20.9.0", "v22.23.3"]
NEWEST = "v22.23.3"


def nvm(top: Path, aliases: dict[str, str], installed: list[str] | None = None) -> Path:
    for version in INSTALLED if installed is None else installed:
        folder = top / ".nvm" / "versions" / "node" / version / "bin"
        folder.mkdir(parents=True)
    for name, text in aliases.items():
        place = top / ".nvm" / "alias" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return top / ".nvm"


def programs(top: Path, env: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """(manager, version whose programs it would put on PATH) of each."""
    facts = Facts("linux", {"HOME": str(top)} | (env or {}), str(top), str(top))
    machine = Machine(str(top), registry.adapter(facts), facts, {})
    found = []
    for each in node.managers(machine):
        assert not each.programs or each.programs.endswith("/bin")
        found.append((each.name, Path(each.programs).parent.name if each.programs else ""))
    return found


LTS = {"lts/*": "lts/iron\n", "lts/iron": "v20.10.0\n", "lts/hydrogen": "v18.20.8\n", "lts/argon": "v4.9.1\n"}


@pytest.mark.parametrize(
    ("aliases", "version"),
    [
        ({"default": "v18.20.8\n"}, "v18.20.8"),
        ({"default": "18.20.8\n"}, "v18.20.8"),
        ({"default": "18.20.7"}, "v18.20.7"),
        ({"default": "20\n"}, "v20.10.0"),
        ({"default": "v20\n"}, "v20.10.0"),
        ({"default": "20.1\n"}, "v20.1.0"),
        ({"default": "18\n"}, "v18.20.8"),
        ({"default": "8\n"}, "v8.17.0"),
        ({"default": "lts/*\n"} | LTS, "v20.10.0"),
        ({"default": "lts/hydrogen\n"} | LTS, "v18.20.8"),
        ({"default": "node\n"}, NEWEST),
        ({"default": "stable\n"}, NEWEST),
        ({"default": "work\n", "work": "18\n"}, "v18.20.8"),
        ({"default": "a\n", "a": "b\n", "b": "c\n", "c": "16\n"}, "v16.20.2"),
        ({"default": "  18  \n"}, "v18.20.8"),
        ({"default": "18\r\n"}, "v18.20.8"),
        ({"default": "18\nleft over\n"}, "v18.20.8"),
    ],
    ids=[
        "a version", "a version without its v", "an older patch, without a line end", "a major",
        "a major with its v", "a minor",
        "the newest of two patches", "a major of one digit", "lts/* by an alias of an alias", "an LTS by its name",
        "node",
        "stable", "an alias of one's own", "a chain of aliases", "blanks", "CRLF", "only the first line counts",
    ],
)  # fmt: skip
def test_the_default_is(aliases: dict[str, str], version: str, tmp_path: Path) -> None:
    nvm(tmp_path, aliases)
    assert programs(tmp_path) == [("nvm", version)]


@pytest.mark.parametrize(
    "aliases",
    [
        {},
        {"default": ""},
        {"default": "\n"},
        {"default": "v21.0.0\n"},
        {"default": "21\n"},
        {"default": "2\n"},
        {"default": "lts/argon\n"} | LTS,
        {"default": "lts/*\n"},
        {"default": "default\n"},
        {"default": "a\n", "a": "b\n", "b": "default\n"},
        {"default": "nowhere\n"},
        {"default": "../../../../etc/passwd\n"},
        {"default": "/etc/hostname\n"},
        {"default": "\0\n"},
        {"default": "v18.20.8; rm -rf /\n"},
        {"default": "x" * 100_000},
    ],
    ids=[
        "no default", "an empty default", "an empty line", "a version that is not installed",
        "a major that is not installed",
        "a beginning of a number", "an LTS that is not installed", "lts/* that was never looked up", "itself",
        "a circle",
        "an alias that is not there", "a way out of the folder", "an absolute path", "NUL", "a command",
        "a very long word",
    ],
)  # fmt: skip
def test_the_newest_one_counts_where_the_default_leads_nowhere(aliases: dict[str, str], tmp_path: Path) -> None:
    nvm(tmp_path, aliases)
    assert programs(tmp_path) == [("nvm", NEWEST)]


def test_the_system_as_default_is_nobody_s_version(tmp_path: Path) -> None:
    """`nvm alias default system`: nvm then puts nothing on PATH, and so do we."""
    nvm(tmp_path, {"default": "system\n"})
    assert programs(tmp_path) == [("nvm", "")]


@pytest.mark.parametrize(
    ("installed", "newest"),
    [
        (["v9.11.2", "v10.0.0"], "v10.0.0"),
        (["v18.9.0", "v18.10.0"], "v18.10.0"),
        (["v18.20.9", "v18.20.10"], "v18.20.10"),
        (["v18.20.8", "system", "v99", ".cache", "v20.0.0-nightly", "v7.0.0.bak"], "v18.20.8"),
        (["v0.12.18", "v4.9.1"], "v4.9.1"),
    ],
    ids=["majors", "minors", "patches", "what is no version", "very old ones"],
)
def test_versions_are_sorted_as_numbers(installed: list[str], newest: str, tmp_path: Path) -> None:
    nvm(tmp_path, {}, installed)
    assert programs(tmp_path) == [("nvm", newest)]


def test_an_nvm_without_versions_is_none(tmp_path: Path) -> None:
    nvm(tmp_path, {"default": "18\n"}, [])
    assert programs(tmp_path) == []


def test_an_nvm_without_a_usable_version_has_no_programs(tmp_path: Path) -> None:
    nvm(tmp_path, {"default": "18\n"}, ["broken"])
    assert programs(tmp_path) == [("nvm", "")]


def test_nvm_dir_says_where_it_is(tmp_path: Path) -> None:
    nvm(tmp_path / "elsewhere", {"default": "18\n"})
    assert programs(tmp_path) == []
    assert programs(tmp_path, {"NVM_DIR": str(tmp_path / "elsewhere" / ".nvm")}) == [("nvm", "v18.20.8")]


def test_an_nvm_in_the_configuration_folder_is_found(tmp_path: Path) -> None:
    nvm(tmp_path, {"default": "18\n"})
    (tmp_path / ".config").mkdir()
    (tmp_path / ".nvm").rename(tmp_path / ".config" / "nvm")
    assert programs(tmp_path) == [("nvm", "v18.20.8")]


@pytest.mark.parametrize("kind", ["a directory", "a pipe", "a link to itself"])
def test_a_default_that_is_no_file_leads_nowhere(kind: str, tmp_path: Path) -> None:
    import os

    folder = nvm(tmp_path, {"other": "18\n"}) / "alias"
    if kind == "a directory":
        (folder / "default").mkdir()
    elif kind == "a pipe":
        os.mkfifo(folder / "default")
    else:
        (folder / "default").symlink_to("default")
    assert programs(tmp_path) == [("nvm", NEWEST)]
