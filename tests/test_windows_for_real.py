"""Windows' own remedies on a Windows under Wine: seen, shown, mended, taken back.

install-path with the real Claude Code, node and registry; ps-policy and git-bash-path with real files and registry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from real.wine import HOME, Windows, windows

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


@pytest.mark.cell("install-path", "windows", "wine")
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
    before = broken.run([CLAUDE, "doctor"], timeout=240).both
    assert broken.ccremedy("apply", "install-path", "--yes").code == 0
    broken.new_terminal()
    after = broken.run([CLAUDE, "doctor"], timeout=240).both
    broken.ccremedy("undo", "--yes")
    assert (warning in before, warning in after) == (True, False), json.dumps([before, after], indent=1)


# ---- what PowerShell and old versions need, as far as Wine has it: no PowerShell answers here


def npm_has_installed(machine: Windows, version: str) -> str:
    """Claude Code as npm lays it out; the folder of the shims."""
    folder = rf"{HOME}\AppData\Roaming\npm"
    package = rf"{folder}\node_modules\@anthropic-ai\claude-code"
    about = {"name": "@anthropic-ai/claude-code", "version": version, "bin": {"claude": "bin/claude.exe"}}
    machine.put(rf"{package}\package.json", json.dumps(about))
    machine.put(rf"{package}\bin\claude.exe", b"MZ\x90\0" + bytes(8000))
    for name, text in (("claude", "#!/bin/sh\n"), ("claude.cmd", "@ECHO off\r\n"), ("claude.ps1", "& claude.exe\n")):
        machine.put(rf"{folder}\{name}", text)
    return folder


@pytest.fixture
def npm() -> Iterator[Windows]:
    with windows() as made:
        made.set_value("Path", r"%APPDATA%\npm")
        yield made


def keys_of_powershell(machine: Windows) -> Any:
    return machine.steps(r"""
import winreg
def tree(key, path):
    found = [[path, *map(str, winreg.EnumValue(key, each))] for each in range(winreg.QueryInfoKey(key)[1])] or [[path]]
    for name in [winreg.EnumKey(key, each) for each in range(winreg.QueryInfoKey(key)[0])]:
        with winreg.OpenKey(key, name) as inner: found += tree(inner, path + "\\" + name)
    return found
try:
    with winreg.OpenKey(winreg.HKEY_CURRENT_USER, r"Software\Microsoft\PowerShell") as key: result = tree(key, "")
except FileNotFoundError: result = None
""")


@pytest.mark.cell("ps-policy", "windows", "wine")
def test_under_wine_the_script_that_a_policy_blocks_goes_aside_and_comes_back(npm: Windows) -> None:
    folder = npm_has_installed(npm, "2.1.330")
    tree = npm.tree(folder)
    assert "Restricted" in npm.ccremedy("diagnose", "ps-policy").out
    assert npm.ccremedy("apply", "ps-policy", "--yes").code == 0
    assert not npm.real(rf"{folder}\claude.ps1").exists()
    assert npm.real(rf"{folder}\claude.cmd").exists()
    again = npm.ccremedy("diagnose", "ps-policy")
    assert (again.code, "which is no script" in again.out) == (0, True)
    assert npm.ccremedy("undo", "--yes").code == 0
    assert npm.tree(folder) == tree


@pytest.mark.cell("ps-policy", "windows", "wine")
def test_under_wine_the_policy_of_the_user_is_set_and_taken_back_with_its_keys(npm: Windows) -> None:
    npm_has_installed(npm, "2.1.330")
    before = keys_of_powershell(npm)
    assert npm.ccremedy("apply", "ps-policy", "--policy", "--yes").code == 0
    place = r"\1\ShellIds\Microsoft.PowerShell"
    assert [place, "ExecutionPolicy", "RemoteSigned", "1"] in keys_of_powershell(npm)
    assert npm.ccremedy("undo", "--yes").code == 0
    assert keys_of_powershell(npm) == before


@pytest.mark.cell("ps-policy", "windows", "wine")
def test_under_wine_a_policy_that_an_administrator_forces_is_not_touched(npm: Windows) -> None:
    npm_has_installed(npm, "2.1.330")
    key = r"Software\Policies\Microsoft\Windows\PowerShell"
    npm.set_value("EnableScripts", 1, "REG_DWORD", key)
    npm.set_value("ExecutionPolicy", "AllSigned", "REG_SZ", key)
    before = keys_of_powershell(npm)
    answer = npm.ccremedy("apply", "ps-policy", "--policy", "--yes")
    assert answer.code == 0, answer.both
    assert "The policy is forced by group policy" in answer.out
    assert (npm.value("ExecutionPolicy", key), keys_of_powershell(npm)) == (("AllSigned", "REG_SZ"), before)
    assert not npm.real(rf"{HOME}\AppData\Roaming\npm\claude.ps1").exists()  # the other way helps all the same


@pytest.mark.cell("git-bash-path", "windows", "wine")
def test_under_wine_an_old_version_is_told_where_git_is(npm: Windows) -> None:
    npm_has_installed(npm, "2.1.100")
    bash = r"C:\tools\Git\bin\bash.exe"
    npm.put(bash, b"MZ" + bytes(100))
    npm.set_value("InstallPath", r"C:\tools\Git", "REG_SZ", r"Software\GitForWindows")
    answer = npm.ccremedy("apply", "git-bash-path", "--yes")
    assert answer.code == 0, answer.both
    settings = npm.real(rf"{HOME}\.claude\settings.json")
    assert json.loads(settings.read_text()) == {"env": {"CLAUDE_CODE_GIT_BASH_PATH": bash}}
    assert npm.ccremedy("undo", "--yes").code == 0
    assert not settings.exists()


@pytest.mark.cell("git-bash-path", "windows", "wine")
def test_under_wine_a_new_version_needs_no_git(npm: Windows) -> None:
    npm_has_installed(npm, "2.1.330")
    answer = npm.ccremedy("apply", "git-bash-path", "--yes")
    assert (answer.code, "needs no Git Bash" in answer.out) == (0, True)


_VALUES = r"""
import winreg
result = []
with winreg.OpenKey(winreg.HKEY_CURRENT_USER, "Environment") as key:
    for index in range(winreg.QueryInfoKey(key)[1]):
        result.append([str(each) for each in winreg.EnumValue(key, index)])
"""
