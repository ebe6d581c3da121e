"""install-path with the real Claude Code, node and registry of a Windows under Wine: seen, mended, taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from real.wine import HOME, Windows, windows

pytestmark = pytest.mark.cell("install-path", "windows", "wine")
CLAUDE = rf"{HOME}\.local\bin\claude.exe"
WANTED = rf"{HOME}\.local\bin"


@pytest.fixture(scope="module")
def claude() -> Iterator[Windows]:
    """As the vendor's installer leaves it: the program is there, and its folder is not on the user's PATH."""
    with windows("node", "claude") as made:
        yield made


@pytest.fixture
def broken(claude: Windows) -> Iterator[Windows]:
    before = claude.value("Path")
    assert before is not None
    yield claude
    claude.set_value("Path", *before)
    claude.new_terminal()


def found(machine: Windows, program: str) -> str:
    """Where a program that is started now finds `program`, as cmd does: by PATH and PATHEXT."""
    path = machine.new_terminal()
    look = "import shutil, sys; print(shutil.which(sys.argv[1]) or '')"
    return machine.python("-c", look, program, env={"PATH": path.get("Path") or path["PATH"]}).out.strip()


def test_under_wine_it_is_seen_shown_mended_and_taken_back(broken: Windows) -> None:
    before = broken.value("Path")
    assert found(broken, "claude") == ""

    seen = broken.ccremedy("diagnose", "install-path", "--json")
    assert seen.code == 1
    (finding,) = seen.json["findings"]
    assert finding["id"] == "not-on-path"
    assert any(CLAUDE in each for each in finding["evidence"])

    tree = broken.tree()
    shown = broken.ccremedy("apply", "install-path", "--dry-run")
    assert shown.code == 0
    assert f"+{WANTED}" in shown.out
    assert (broken.value("Path"), broken.tree()) == (before, tree)

    done = broken.ccremedy("apply", "install-path", "--yes", "--json")
    assert done.code == 0, done.both
    assert [change["status"] for change in done.json["findings"][0]["changes"]] == ["done"]
    assert before is not None
    assert broken.value("Path") == (f"{WANTED};{before[0]}", before[1])
    assert found(broken, "claude").lower() == CLAUDE.lower()
    told = broken.run(["claude", "--version"])
    assert (told.code, told.out) == (0, "2.1.330 (Claude Code)\n")

    again = broken.ccremedy("apply", "install-path", "--yes")
    assert (again.code, "nothing to do" in again.out) == (0, True)

    undone = broken.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    assert broken.value("Path") == before
    assert found(broken, "claude") == ""


@pytest.mark.parametrize("kind", ["REG_SZ", "REG_EXPAND_SZ"])
def test_under_wine_the_type_is_kept(kind: str, broken: Windows) -> None:
    text = rf"C:\Ünï cödé;;{HOME}\bin;"
    broken.set_value("Path", text, kind)
    assert broken.ccremedy("apply", "install-path", "--yes").code == 0
    assert broken.value("Path") == (f"{WANTED};{text}", kind)
    assert broken.ccremedy("undo", "--yes").code == 0
    assert broken.value("Path") == (text, kind)


def test_under_wine_there_was_no_path_at_all(broken: Windows) -> None:
    broken.set_value("Path", None)
    assert broken.ccremedy("apply", "install-path", "--yes").code == 0
    assert broken.value("Path") == (WANTED, "REG_EXPAND_SZ")
    assert broken.ccremedy("undo", "--yes").code == 0
    assert broken.value("Path") is None


def test_under_wine_what_somebody_adds_meanwhile_stays(broken: Windows) -> None:
    before = broken.value("Path")
    assert before is not None
    assert broken.ccremedy("apply", "install-path", "--yes").code == 0
    mended = broken.value("Path")
    assert mended is not None
    broken.set_value("Path", rf"C:\theirs;{mended[0]};%TOOLS%", mended[1])
    assert broken.ccremedy("undo", "--yes").code == 0
    assert broken.value("Path") == (rf"C:\theirs;{before[0]};%TOOLS%", before[1])


@pytest.mark.parametrize(
    ("value", "kind"), [(7, "REG_DWORD"), (["C:\\a", "C:\\b"], "REG_MULTI_SZ")], ids=["a number", "a list"]
)
def test_under_wine_a_value_of_another_type_is_left_alone(value: object, kind: str, broken: Windows) -> None:
    broken.set_value("Path", value, kind)
    answer = broken.ccremedy("apply", "install-path", "--yes")
    assert answer.code == 6, answer.both
    assert kind in answer.both
    assert "regedit" in answer.both
    assert broken.value("Path") == (value, kind)


def test_under_wine_the_installer_wrote_an_empty_program(claude: Windows) -> None:
    with windows() as machine:
        machine.put(CLAUDE, "")
        answer = machine.ccremedy("apply", "install-path", "--yes")
        assert answer.code == 6, answer.both
        assert "empty (0 bytes)" in answer.out
        assert "install.ps1" in answer.out


def test_under_wine_everything_is_diagnosed_and_nothing_is_written(claude: Windows) -> None:
    tree, values = claude.tree(), claude.steps(_VALUES)
    answer = claude.ccremedy("diagnose", "--json")
    assert not answer.json["failed"], answer.json["failed"]
    assert {each["remedy"] for each in answer.json["findings"]} <= {"install-path", "key-storage", "proxy-ca"}
    unsupported = {each["remedy"] for each in answer.json["healthy"] if each["reason"] == "this is not WSL"}
    assert unsupported == {"wsl-path"}
    assert claude.tree() == tree
    assert claude.steps(_VALUES) == values


def test_under_wine_what_has_no_meaning_there_says_so_with_code_6(claude: Windows) -> None:
    answer = claude.ccremedy("apply", "wsl-path", "--yes")
    assert (answer.code, "this is not WSL" in answer.both) == (6, True)


def test_under_wine_the_real_doctor_agrees(broken: Windows) -> None:
    """It says that the folder is not on PATH before, and not after."""
    warning = "not in your PATH"
    before = broken.run([CLAUDE, "doctor"], timeout=90).both
    assert broken.ccremedy("apply", "install-path", "--yes").code == 0
    broken.new_terminal()
    after = broken.run([CLAUDE, "doctor"], timeout=90).both
    broken.ccremedy("undo", "--yes")
    assert (warning in before, warning in after) == (True, False), json.dumps([before, after], indent=1)


_VALUES = r"""
import winreg
result = []
with winreg.OpenKey(winreg.HKEY_CURRENT_USER, "Environment") as key:
    for index in range(winreg.QueryInfoKey(key)[1]):
        result.append([str(each) for each in winreg.EnumValue(key, index)])
"""
