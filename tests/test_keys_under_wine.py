"""The key of a real Windows goes into its Credential Manager, and the real Claude Code goes on having it.

Wine keeps what Credential Manager is given in the registry, in HKEY_CURRENT_USER\\Software\\Wine\\Credential Manager,
and ciphers it. So nothing has to be left out where the key is looked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import canary
import pytest
from canary import CANARY, SECOND
from real.wine import HOME, PYTHON, Outcome, Windows, windows

pytestmark = pytest.mark.cell("key-storage", "windows", "wine")

CLAUDE = rf"{HOME}\.local\bin\claude.exe"
NAME = "ANTHROPIC_API_KEY"
DOCUMENTS = rf"{HOME}\OneDrive\Documents"
SHELL_FOLDERS = r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"
OLD_PROFILE = f"# mine\r\n$env:{NAME} = '{CANARY}'\r\nWrite-Host 'hi'\r\n"
OPEN = {
    rf"{HOME}\.claude\settings.json": json.dumps({"env": {NAME: CANARY}, "model": "opus"}, indent=2).encode(),
    rf"{HOME}\.bashrc": f"export {NAME}={CANARY}\r\n".encode(),
    rf"{DOCUMENTS}\WindowsPowerShell\Microsoft.PowerShell_profile.ps1": b"\xff\xfe" + OLD_PROFILE.encode("utf-16-le"),
    rf"{DOCUMENTS}\PowerShell\profile.ps1": f'$env:{NAME} = "{CANARY}"\n'.encode(),
    rf"{HOME}\AppData\Roaming\Code\User\settings.json": (
        f'{{\n  // mine\n  "terminal.integrated.env.windows": {{"{NAME}": "{CANARY}"}},\n}}\n'.encode()
    ),
}
STUB = r"""
import http.server, json

class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        keys = [self.headers.get("x-api-key"), self.headers.get("authorization")]
        with open("C:\\seen", "a") as seen:
            seen.write(json.dumps([self.path, *keys]) + "\n")
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                   "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        events = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "GOT IT"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
             "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
        body = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST

server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Api)
print("ready", flush=True)
server.serve_forever()
"""
QUIET = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:8080",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
VALUES = r"""
import winreg

def values(key, path):
    with winreg.OpenKey(key, path) as opened:
        keys, count, _ = winreg.QueryInfoKey(opened)
        for index in range(count):
            name, value, _ = winreg.EnumValue(opened, index)
            text = "" if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False)
            data = value if isinstance(value, bytes) else text.encode("utf-8", "replace")
            found.append([path, name, data.decode("latin-1")])
        below = [winreg.EnumKey(opened, index) for index in range(keys)]
    for name in below:
        values(key, path + "\\" + name if path else name)

import json
found = []
globals().update(locals())
values(winreg.HKEY_CURRENT_USER, "")
result = found
"""
CREDENTIALS = r"""
import ctypes
count, entries = ctypes.c_ulong(), ctypes.c_void_p()
advapi = ctypes.WinDLL("advapi32")
found = bool(advapi.CredEnumerateW(None, 0, ctypes.byref(count), ctypes.byref(entries)))
result = count.value if found else 0
"""


@pytest.fixture
def machine() -> Iterator[Windows]:
    with windows() as made:
        yield made


def spread(machine: Windows) -> None:
    """The key is everywhere where one puts it on Windows."""
    machine.set_value("Personal", r"%USERPROFILE%\OneDrive\Documents", key=SHELL_FOLDERS)
    machine.set_value(NAME, CANARY, "REG_SZ")
    for path, data in OPEN.items():
        machine.put(path, data)
    machine.new_terminal()


def ccremedy(machine: Windows, *words: str, **more: Any) -> Outcome:
    """In a terminal that is open since before the key was set, so that only what is persisted counts."""
    return machine.ccremedy(*words, env={NAME: None}, **more)


def sent(machine: Windows) -> set[tuple[str | None, str | None]]:
    """x-api-key and Authorization, as the real Claude Code sends them from a new terminal."""
    seen = machine.put(r"C:\seen", "")
    machine.new_terminal()
    done = machine.run([CLAUDE, "-p", "hello"], env=QUIET, timeout=240)
    assert done.out.strip() == "GOT IT", done.both
    lines = [json.loads(line) for line in seen.read_text().splitlines()]
    return {(key, bearer) for path, key, bearer in lines if "/v1/messages" in path}


def where_it_is(machine: Windows) -> dict[str, list[str]]:
    """Every file of the profile and every value of HKEY_CURRENT_USER that gives the key away."""
    home, bin = machine.real(HOME), machine.real(HOME) / ".local" / "bin"
    inside = [*home.iterdir(), *(home / ".local").glob("*")]
    assert not bin.exists() or [path.name for path in bin.iterdir()] == ["claude.exe"]  # 250 MB, and no profile's
    found = canary.scan(*(path for path in inside if path not in (bin, bin.parent)))
    for path in (each for each in home.iterdir() if each.is_file()):
        if how := canary.leaks(path.read_bytes()):
            found[str(path)] = how
    for key, name, text in machine.steps(VALUES):
        if how := canary.leaks(f"{name}\n".encode() + text.encode("latin-1")):
            found[rf"{key}\{name}"] = how
    return found


def test_the_real_claude_code_has_the_key_before_and_after_and_no_file_has() -> None:
    with windows("claude") as machine:
        the_key_moves_and_claude_code_has_it(machine)


def the_key_moves_and_claude_code_has_it(machine: Windows) -> None:
    machine.put(r"C:\stub.py", STUB)
    machine.start([PYTHON, r"C:\stub.py"]).until("ready")
    spread(machine)
    assert len(where_it_is(machine)) == len(OPEN) + 1
    assert sent(machine) == {(CANARY, None)}
    before = {path: machine.real(path).read_bytes() for path in OPEN}

    done = ccremedy(machine, "apply", "key-storage", "--yes")
    assert done.code == 0, done.both
    assert not canary.leaks(done.raw + done.raw_err)
    assert where_it_is(machine) == {}
    assert any(key.startswith(r"Software\Wine\Credential Manager") for key, _, _ in machine.steps(VALUES))
    assert sent(machine) == {(CANARY, f"Bearer {CANARY}")}  # as it does for an apiKeyHelper
    assert where_it_is(machine) == {}  # nor has Claude Code left it anywhere
    again = ccremedy(machine, "diagnose", "key-storage")
    assert again.code == 0, again.both

    undone = ccremedy(machine, "undo", "--yes")
    assert undone.code == 0, undone.both
    assert {path: machine.real(path).read_bytes() for path in OPEN} == before
    assert machine.value(NAME) == (CANARY, "REG_SZ")
    assert machine.steps(CREDENTIALS) == 0
    assert sent(machine) == {(CANARY, None)}


def test_the_command_line_of_the_key(machine: Windows) -> None:
    helper = rf"{HOME}\.claude\settings.json"

    def printed() -> str:
        """As Claude Code runs it: through the real cmd.exe."""
        command = json.loads(machine.real(helper).read_text())["apiKeyHelper"]
        script = "import subprocess; result = subprocess.run(line, capture_output=True, text=True).stdout"
        found: str = machine.steps(script, line=rf'"C:\windows\system32\cmd.exe" /d /s /c "{command}"')
        return found

    done = ccremedy(machine, "key", "set", "--yes", stdin=CANARY + "\r\n")
    assert done.code == 0, done.both
    assert printed() == CANARY + "\n"
    status = ccremedy(machine, "key", "status")
    assert "1. apiKeyHelper" in status.out
    assert "ccremedy keeps the key with fingerprint" in status.out
    assert not canary.leaks(done.raw + done.raw_err + status.raw)
    assert ccremedy(machine, "key", "print").out == CANARY + "\n"

    rotated = ccremedy(machine, "key", "rotate", "--yes", stdin=SECOND)
    assert rotated.code == 0, rotated.both
    assert printed() == SECOND + "\n"
    assert machine.steps(CREDENTIALS) == 2  # by content: undo of the rotation needs the first one
    assert ccremedy(machine, "undo", "--yes").code == 0
    assert printed() == CANARY + "\n"

    removed = ccremedy(machine, "key", "remove", "--yes")
    assert removed.code == 0, removed.both
    assert machine.steps(CREDENTIALS) == 0
    gone = ccremedy(machine, "key", "print")
    assert (gone.code, gone.out) == (6, "")
    assert "there is no key to print" in gone.err
    assert json.loads(machine.real(helper).read_text()) == {}


def test_what_is_refused_because_of_one_file_names_it_and_no_way_that_does_not_help(machine: Windows) -> None:
    state = rf"{HOME}\.claude.json"
    machine.put(state, json.dumps({"primaryApiKey": CANARY})).chmod(0o444)
    shown = ccremedy(machine, "apply", "key-storage", "--dry-run")
    assert shown.code == 6
    assert f"refused: all of it, because it goes together with {state}, which is read-only" in shown.out
    assert "--owner-only-file" not in shown.out


def test_a_key_that_credential_manager_cannot_hold_is_refused_before_anything_is_written(machine: Windows) -> None:
    long = "sk-ant-" + "k" * 1274
    why = "is too long for Windows Credential Manager (1281 characters; it takes 1280)"
    done = ccremedy(machine, "key", "set", "--yes", stdin=long)
    assert done.code == 2
    assert f"what was given {why}" in done.err
    machine.put(rf"{HOME}\.bashrc", f"export {NAME}={long}\n")
    machine.put(rf"{HOME}\.claude\settings.json", "{}")
    before = machine.tree()
    moved = ccremedy(machine, "apply", "key-storage", "--yes")
    assert moved.code == 6
    assert f"refused: all of it, because it {why}" in moved.out
    after = machine.tree()
    assert {name: after[name] for name in before if name in after} == before
    assert machine.steps(CREDENTIALS) == 0
    fits = ccremedy(machine, "key", "set", "--yes", stdin="sk-ant-" + "k" * 1273)
    assert fits.code == 0, fits.both
    assert ccremedy(machine, "key", "print").out.strip() == "sk-ant-" + "k" * 1273


def test_where_there_is_no_store_to_be_used_a_folder_is_its_owners_alone(machine: Windows) -> None:
    machine.put(rf"{HOME}\.bashrc", f"export {NAME}={CANARY}\n")
    done = ccremedy(machine, "apply", "key-storage", "--owner-only-file", "--yes", "--max-risk", "high")
    assert done.code == 0, done.both
    keys = rf"{HOME}\AppData\Local\ccremedy\keys"
    script = r"""
    import sys
    sys.path[:0] = ["C:\\clone"] * ("C:\\clone" not in sys.path)
    from ccremedy.files import windows
    owner, listed = windows._security(folder)
    result = [windows._others(folder, 0xFFFFFFFF), "WD" in listed]
    """
    assert machine.steps(script, folder=keys) == ["", False]
    assert machine.steps(CREDENTIALS) == 0
    assert {path.split("\\")[-1].split("/")[-2] for path in where_it_is(machine)} == {"keys"}
    assert ccremedy(machine, "key", "print").out == CANARY + "\n"
    assert ccremedy(machine, "undo", "--yes").code == 0
    assert not machine.real(keys).exists()


def test_what_the_whole_computer_has_is_said_and_left(machine: Windows) -> None:
    script = r"""
    import winreg
    path = r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path, 0, winreg.KEY_ALL_ACCESS) as key:
        winreg.SetValueEx(key, name, 0, winreg.REG_SZ, value)
    """
    machine.steps(script, name=NAME, value=CANARY)
    machine.put(rf"{HOME}\shop\.env", f"{NAME}=sk-ant-api03-{'n' * 40}\r\n")
    machine.put(rf"{HOME}\shop\.npmrc", b"\xff\xfe" + f"token=sk-ant-api03-{'u' * 40}".encode("utf-16-le"))
    found = ccremedy(machine, "diagnose", "key-storage", cwd=rf"{HOME}\shop")
    assert found.code == 1
    key = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
    assert f"{NAME} in {key}, which every user of this computer can read: a key" in found.out
    assert rf"{HOME}\shop\.env, line 1: a key" in found.out
    assert rf"{HOME}\shop\.npmrc, line 1: a key" in found.out
    assert not canary.leaks(found.raw)
