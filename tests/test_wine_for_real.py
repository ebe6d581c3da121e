"""The Windows that other tests run on is what they take it for: registry, secrets, locks, programs, processes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator

import pytest
from real import fetch
from real.wine import CLONE, HOME, NODE, PYTHON, Late, Windows, windows

CLAUDE = rf"{HOME}\.local\bin\claude.exe"
NPM = r"C:\Program Files\nodejs\node_modules\npm\bin\npm-cli.js"
SECRET = "sk-ant-api03-" + "q" * 95


@pytest.fixture(scope="module")
def machine() -> Iterator[Windows]:
    with windows("node", "claude") as made:
        yield made


def test_it_is_windows_10_with_its_own_python(machine: Windows) -> None:
    told = machine.steps(
        "import os, sys; result = [os.name, sys.platform, list(sys.getwindowsversion())[:2], sys.prefix]"
    )
    assert told == ["nt", "win32", [10, 0], r"C:\Python311"]
    assert machine.python("-c", "print('\\u201c', end='')").raw == b"\x93"  # a pipe has the code page of the system


def test_a_user_path_reaches_the_next_program_expanded_and_keeps_its_type(machine: Windows) -> None:
    machine.set_value("Path", r"%USERPROFILE%\bin;C:\tools")
    assert machine.value("Path") == (r"%USERPROFILE%\bin;C:\tools", "REG_EXPAND_SZ")
    assert machine.new_terminal()["PATH"].endswith(rf";{HOME}\bin;C:\tools")
    machine.set_value("Path", None)
    assert machine.value("Path") is None
    assert HOME not in machine.new_terminal()["PATH"]


def test_two_machines_share_nothing(machine: Windows) -> None:
    machine.set_value("OnlyHere", "1", "REG_SZ")
    with windows() as other:
        assert other.value("OnlyHere") is None
        other.put(rf"{HOME}\mine.txt", "x")
        assert other.steps("import os; result = os.listdir(os.environ['USERPROFILE'])").count("mine.txt") == 1
        assert not machine.real(rf"{HOME}\mine.txt").exists()
        assert other.steps("import ctypes; result = ctypes.windll.kernel32.GetLogicalDrives()") == 0b100  # C: alone
    machine.set_value("OnlyHere", None)


def test_what_does_not_end_is_ended_with_all_that_it_started(machine: Windows) -> None:
    sleep = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    before = machine.running()
    with pytest.raises(Late):
        machine.python("-c", sleep, timeout=0.5)
    assert machine.is_left_with(before)


def test_secrets_are_in_the_credential_manager(machine: Windows) -> None:
    script = rf"""
    import keyring
    keyring.set_password("ccremedy", "key", {SECRET!r})
    result = [keyring.get_keyring().__class__.__name__, keyring.get_password("ccremedy", "key") == {SECRET!r}]
    """
    assert machine.steps(script) == ["WinVaultKeyring", True]
    again = "import keyring; print(keyring.get_password('ccremedy', 'key')); keyring.delete_password('ccremedy', 'key')"
    assert machine.python("-c", again).out == f"{SECRET}\n"
    assert machine.steps("import keyring; result = keyring.get_password('ccremedy', 'key')") is None


def test_a_lock_keeps_another_process_out(machine: Windows) -> None:
    hold = "import filelock, time\nwith filelock.FileLock('C:/lock'): print('held', flush=True); time.sleep(60)"
    ask = """
    import filelock
    try:
        with filelock.FileLock("C:/lock", timeout=0): result = filelock.FileLock.__name__
    except filelock.Timeout:
        result = "taken"
    """
    holder = machine.start([PYTHON, "-c", hold])
    holder.until("held")
    assert machine.steps(ask) == "taken"
    holder.end()
    assert machine.steps(ask) == "WindowsFileLock"


def test_psutil_knows_processes(machine: Windows) -> None:
    script = """
    import os, psutil
    own = psutil.Process()
    result = [own.pid == os.getpid(), own.cmdline()[0], own.username().partition("\\\\")[2], own.create_time() > 0]
    """
    assert machine.steps(script) == [True, PYTHON, "Jo Doe", True]


def test_an_open_file_is_in_the_way(machine: Windows) -> None:
    script = """
    import os
    open("C:/new", "w").close()
    with open("C:/Old", "w"):
        try: os.replace("C:/new", "C:/OLD")  # the same name
        except PermissionError as error: result = error.winerror
    """
    assert machine.steps(script) in (5, 32)


def test_node_runs(machine: Windows) -> None:
    assert machine.run(["node", "--version"]).out == f"v{NODE}\n"


def test_npm_installs_where_windows_has_global_packages(machine: Windows) -> None:
    package = io.BytesIO()
    files = {
        "package/package.json": json.dumps({"name": "hello", "version": "1.0.0", "bin": {"hello": "hello.js"}}),
        "package/hello.js": "#!/usr/bin/env node\nconsole.log('hello ' + process.platform)\n",
    }
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    machine.put(r"C:\hello.tgz", package.getvalue())
    done = machine.run(["node", NPM, "install", "--global", "--offline", "--no-audit", "--no-fund", r"C:\hello.tgz"])
    assert done.code == 0, done.both
    shims = machine.real(rf"{HOME}\AppData\Roaming\npm")
    assert {"hello", "hello.cmd", "hello.ps1", "node_modules"} == {each.name for each in shims.iterdir()}
    assert rb'"%dp0%\node_modules\hello\hello.js" %*' in (shims / "hello.cmd").read_bytes()  # Wine's cmd cannot run it
    script = machine.inside(shims / "node_modules" / "hello" / "hello.js")
    assert machine.run(["node", script]).out == "hello win32\n"


def test_claude_code_runs(machine: Windows) -> None:
    assert machine.run([CLAUDE, "--version"]).out.startswith(fetch.CLAUDE)
    doctor = machine.run([CLAUDE, "doctor"], env={"DISABLE_AUTOUPDATER": "1"})
    assert doctor.code == 0, doctor.both
    assert "Platform: win32-x64" in doctor.out


def test_a_session_of_claude_code_is_written_down_with_the_time_its_process_started(machine: Windows) -> None:
    """In hundreds of nanoseconds since 1601, as Windows counts."""
    offline = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": SECRET, "DISABLE_AUTOUPDATER": "1"}
    words = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
    session = machine.start([CLAUDE, *words], env=offline, listens=True)
    told = machine.session(session.pid)
    script = "import psutil; result = psutil.Process(pid).create_time()"
    assert int(told["procStart"]) / 1e7 - 11644473600 == pytest.approx(machine.steps(script, pid=session.pid), abs=1e-3)
    session.end()
    assert machine.real(rf"{HOME}\.claude\sessions\{session.pid}.json").exists()  # as after any other sudden end


def test_ccremedy_starts_from_a_bare_clone(machine: Windows) -> None:
    assert machine.ccremedy("--version").out.startswith("ccremedy ")
    assert (machine.real(CLONE) / "ccremedy" / "__init__.py").exists()
    machine.ccremedy("list")
