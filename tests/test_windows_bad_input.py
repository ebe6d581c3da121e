"""What a Windows may look like that nobody has set up so on purpose: one clear sentence, its own code, nothing lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from real.wine import HOME, PYTHON, Windows, windows

CLAUDE = rf"{HOME}\.local\bin\claude.exe"
PROGRAM = b"MZ\x90\0" + bytes(8000)  # as far as anybody looks at it


@pytest.fixture
def machine() -> Iterator[Windows]:
    with windows() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Windows]:
    """For what writes nothing."""
    with windows() as made:
        yield made


@pytest.mark.parametrize(
    ("home", "says"),
    [
        (r"\\nowhere\share\me", r"\\nowhere\share\me: is not there"),
        ("relative", "which is not an absolute path"),
        (r"C:\nothing", r"C:\nothing: is not there"),
        (r"C:\windows\win.ini", "is not a directory"),
        ("", "USERPROFILE: is not set"),
        (r"C:\a|b?", "is not there"),
    ],
    ids=["a share that is not there", "relative", "not there", "a file", "empty", "no name that can be"],
)
def test_under_wine_a_home_that_is_none_is_said_with_code_6(home: str, says: str, shared: Windows) -> None:
    answer = shared.ccremedy("diagnose", env={"USERPROFILE": home})
    assert (answer.code, answer.out) == (6, "")
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert "USERPROFILE" in answer.err


def test_under_wine_a_state_folder_on_a_drive_that_is_not_there_is_said_with_code_6(machine: Windows) -> None:
    """As a company's network drive at home."""
    machine.put(CLAUDE, PROGRAM)
    before = machine.value("Path")
    answer = machine.ccremedy("apply", "install-path", "--yes", env={"LOCALAPPDATA": r"Z:\me"}, timeout=30)
    assert answer.code == 6, answer.both
    assert r"Z:\me\ccremedy: " in answer.err
    assert machine.value("Path") == before


def test_under_wine_a_home_on_another_drive_works_like_any(machine: Windows) -> None:
    """As a company's network drive: another volume than that of the journal, so nothing may be renamed across."""
    prefix = machine.real("C:\\").parent
    (prefix / "drive_c" / "server").mkdir()
    os.symlink("../drive_c/server", prefix / "dosdevices" / "h:")
    state = machine.put(r"C:\server\me\.claude.json", '{"projects": {')
    env = {"USERPROFILE": r"H:\me"}
    answer = machine.ccremedy("apply", "reset-config", "--yes", env=env)
    assert answer.code == 0, answer.both
    assert not state.exists()
    assert machine.ccremedy("undo", "--yes", env=env).code == 0
    assert state.read_text() == '{"projects": {'


def test_under_wine_there_is_no_key_for_variables(machine: Windows) -> None:
    machine.put(CLAUDE, PROGRAM)
    machine.steps("import winreg; winreg.DeleteKey(winreg.HKEY_CURRENT_USER, 'Environment')")
    there = """
    import winreg
    try: winreg.OpenKey(winreg.HKEY_CURRENT_USER, "Environment"); result = True
    except OSError: result = False
    """
    assert machine.steps(there) is False
    assert machine.ccremedy("apply", "install-path", "--yes").code == 0
    assert machine.value("Path") == (rf"{HOME}\.local\bin", "REG_EXPAND_SZ")
    assert machine.ccremedy("undo", "--yes").code == 0
    assert machine.steps(there) is False


def test_under_wine_documents_are_in_onedrive_and_the_profile_is_utf_16(machine: Windows) -> None:
    key = r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"
    machine.set_value("Personal", r"%USERPROFILE%\OneDrive - Corp\Dokumente", key=key)
    path = rf"{HOME}\OneDrive - Corp\Dokumente\WindowsPowerShell\Microsoft.PowerShell_profile.ps1"
    text = "Set-Location ~\r\n$env:ANTHROPIC_API_KEY = 'sk-ant-api03-" + "x" * 40 + "'\r\n# Grüße\r\n"
    profile = machine.put(path, b"\xff\xfe" + text.encode("utf-16-le"))
    seen = machine.ccremedy("diagnose", "key-storage")
    assert seen.code == 1
    assert f"{path}, line 2: a key" in seen.out
    before = profile.read_bytes()
    done = machine.ccremedy("apply", "key-storage", "--yes")
    assert done.code == 0, done.both
    after = profile.read_bytes()
    assert after[:2] == b"\xff\xfe"
    assert "sk-ant" not in after[2:].decode("utf-16-le")
    assert after[2:].decode("utf-16-le").endswith("\r\n# Grüße\r\n")
    assert machine.ccremedy("undo", "--yes").code == 0
    assert profile.read_bytes() == before


def test_under_wine_another_ccremedy_is_at_work(machine: Windows) -> None:
    machine.put(CLAUDE, PROGRAM)
    lock = rf"{HOME}\AppData\Local\ccremedy\lock"
    assert machine.ccremedy("apply", "install-path", "--yes").code == 0
    hold = f"import filelock, time\nwith filelock.FileLock({lock!r}): print('held', flush=True); time.sleep(60)"
    other = machine.start([PYTHON, "-c", hold])
    other.until("held")
    answer = machine.ccremedy("undo", "--yes", "--timeout", "1")
    assert (answer.code, "another ccremedy is at work" in answer.err) == (7, True), answer.both
    other.end()
    assert machine.ccremedy("undo", "--yes").code == 0


def test_under_wine_a_file_that_a_program_keeps_open_is_left_and_said_so(machine: Windows) -> None:
    path = rf"{HOME}\.claude.json"
    machine.put(path, '{"cut')
    other = machine.start(
        [PYTHON, "-c", f"import time\nwith open({path!r}): print('open', flush=True); time.sleep(60)"]
    )
    other.until("open")
    answer = machine.ccremedy("apply", "reset-config", "--yes")
    assert answer.code == 6, answer.both
    assert "held open by another program" in answer.out
    other.end()
    assert machine.ccremedy("apply", "reset-config", "--yes").code == 0
