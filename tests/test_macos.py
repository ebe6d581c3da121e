"""What is particular to macOS, simulated: no Mac has run any of it.

Machines are scratch roots on which the adapter of macOS is asked; its tools are scripts that answer what others have
seen (tests/real/macos_tools.json), its shells are the real ones of this machine.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ccremedy import credentials, errors, registry, sessions, shells, vault
from ccremedy import machine as machines
from ccremedy.errors import UNSUPPORTED, Problem
from ccremedy.machine import Facts, Machine, Running

TOOLS = json.loads((Path(__file__).parent / "real" / "macos_tools.json").read_text())
SSH = {"SSH_CONNECTION": "192.0.2.7 50022 192.0.2.8 22"}


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def mac(tmp_path: Path) -> Callable[..., Machine]:
    """A Mac with nothing on it, and these variables."""
    home = tmp_path / "Users" / "me"
    home.mkdir(parents=True)

    def make(installed: dict[str, str] | None = None, **env: str) -> Machine:
        facts = Facts("darwin", {"HOME": str(home), "USER": "me", "PATH": "/usr/bin:/bin"} | env, str(tmp_path))
        return Machine(str(home), registry.adapter(facts), facts, installed or {})

    return make


# ---- folders and programs


def test_simulated_everything_has_its_place(mac: Callable[..., Machine]) -> None:
    found = mac()
    adapter, home = found.adapter, found.home
    assert (adapter.name, adapter.unsupported, adapter.editor) == ("macos", "", "osx")
    assert adapter.state_folder(found.facts) == f"{home}/Library/Application Support/ccremedy"
    assert adapter.config_folder(found.facts) == f"{home}/Library/Application Support"
    assert adapter.profiles_folder(found.facts) == f"{home}/.config/anthropic"
    assert adapter.managed == "/Library/Application Support/ClaudeCode"
    moved = mac(XDG_STATE_HOME="/elsewhere")
    assert moved.adapter.state_folder(moved.facts) == "/elsewhere/ccremedy"


@pytest.mark.parametrize("folder", ["usr/local/bin", "opt/homebrew/bin", "Users/me/bin"])
def test_simulated_no_program_of_the_users_own_folders_is_trusted(
    folder: str, mac: Callable[..., Machine], tmp_path: Path
) -> None:
    program(tmp_path / folder / "security")
    found = mac(PATH=f"{tmp_path}/{folder}")
    assert found.adapter.trusted(found.facts, "security") == ""


def test_simulated_git_is_never_the_one_that_asks_to_be_installed(mac: Callable[..., Machine], tmp_path: Path) -> None:
    program(tmp_path / "usr/bin/git")
    found = mac()
    assert found.adapter.trusted(found.facts, "git") == ""
    real = program(tmp_path / "Library/Developer/CommandLineTools/usr/bin/git")
    assert found.adapter.trusted(found.facts, "git") == str(real)


def test_simulated_shells_are_apples_unless_the_terminal_starts_homebrews(
    mac: Callable[..., Machine], tmp_path: Path
) -> None:
    apple, brew = tmp_path / "bin", tmp_path / "opt/homebrew/bin"
    for path in (apple / "bash", apple / "zsh", apple / "sh", brew / "bash", brew / "fish"):
        program(path)
    found = mac(SHELL=f"{apple}/zsh")
    usual = {"bash": f"{apple}/bash", "zsh": f"{apple}/zsh", "fish": f"{brew}/fish"}
    assert found.adapter.shells(found.facts) == usual
    found = mac(SHELL=f"{brew}/bash")
    assert found.adapter.shells(found.facts) == usual | {"bash": f"{brew}/bash"}
    program(tmp_path / "Users/me/bash")
    for odd in (f"{tmp_path}/Users/me/bash", f"{brew}/zsh", f"{brew}/../bash", ""):
        found = mac(SHELL=odd)
        assert found.adapter.shells(found.facts) == usual


@pytest.mark.parametrize("folder", ["Applications", "Users/me/Applications"])
def test_simulated_the_desktop_application_is_not_claude_code(
    folder: str, mac: Callable[..., Machine], tmp_path: Path
) -> None:
    desktop = program(tmp_path / folder / "Claude.app/Contents/MacOS/claude")
    command = program(tmp_path / "opt/homebrew/bin/claude")
    assert mac().which("claude", [str(desktop.parent), str(command.parent)]) == str(command)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/claude").symlink_to(desktop)
    assert mac().which("claude", [str(tmp_path / "bin")]) == ""


def test_simulated_the_bundle_of_the_native_installer_is_claude_code(
    mac: Callable[..., Machine], tmp_path: Path
) -> None:
    bundle = tmp_path / "Users/me/.local/share/claude/versions/bundles/2.1.330/claude.app/Contents/MacOS/claude"
    assert mac().which("claude", [str(program(bundle).parent)]) == str(bundle)


def test_simulated_the_home_directory_is_known_under_another_spelling(
    mac: Callable[..., Machine], tmp_path: Path
) -> None:
    """A link stands for a disk that takes no notice of letter case."""
    (tmp_path / "users").symlink_to(tmp_path / "Users")
    with pytest.raises(Problem, match="holds your whole home directory"):
        mac(CLAUDE_CONFIG_DIR=f"{tmp_path}/users/me").claude_folder()
    (tmp_path / "Users/me/own").mkdir()
    for fine in ("users/me/own", "users/me/not-there-yet"):
        assert mac(CLAUDE_CONFIG_DIR=f"{tmp_path}/{fine}").claude_folder() == f"{tmp_path}/{fine}"


# ---- agents of launchd

KEY = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz-AA"


def agent(folder: Path, name: str, form: plistlib.PlistFormat = plistlib.FMT_XML, **facts: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.plist"
    path.write_bytes(plistlib.dumps({"Label": name, **facts}, fmt=form))
    return str(path)


@pytest.mark.parametrize("form", [plistlib.FMT_XML, plistlib.FMT_BINARY], ids=["XML", "binary"])
@pytest.mark.parametrize("where", ["Users/me/Library/LaunchAgents", "Library/LaunchAgents"])
@pytest.mark.parametrize(
    "facts",
    [
        {"ProgramArguments": ["/bin/launchctl", "setenv", "ANTHROPIC_API_KEY", KEY]},
        {"ProgramArguments": ["launchctl", "setenv", "LANG", "C", "ANTHROPIC_API_KEY", KEY]},
        {"ProgramArguments": ["/bin/sh", "-c", f"launchctl setenv ANTHROPIC_API_KEY '{KEY}'"]},
        {"ProgramArguments": ["/bin/zsh", "-lc", f'true && launchctl setenv ANTHROPIC_API_KEY {KEY}; echo "it\'s"']},
        {"EnvironmentVariables": {"ANTHROPIC_API_KEY": KEY}, "ProgramArguments": ["/usr/local/bin/tool"]},
    ],
    ids=["launchctl", "several", "a shell", "a shell with more", "for itself"],
)
def test_simulated_what_an_agent_sets_is_seen(
    facts: dict[str, object], where: str, form: plistlib.PlistFormat, mac: Callable[..., Machine], tmp_path: Path
) -> None:
    path = agent(tmp_path / where, "me.key", form, **facts)
    found = mac()
    assert list(found.adapter.reported_variables(found, "ANTHROPIC_API_KEY")) == [(KEY, path)]
    assert list(found.adapter.reported_variables(found, "HTTPS_PROXY")) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"ANTHROPIC_API_KEY", b"<plist>ANTHROPIC_API_KEY", b"bplist00ANTHROPIC_API_KEY", b"\xff\xfeANTHROPIC_API_KEY",
     b'<?xml version="1.0"?><!DOCTYPE p [<!ENTITY a "b">]><plist><string>&a;ANTHROPIC_API_KEY</string></plist>',
     plistlib.dumps(["ANTHROPIC_API_KEY"]), plistlib.dumps({"ProgramArguments": "ANTHROPIC_API_KEY"}),
     plistlib.dumps({"ProgramArguments": [1, "ANTHROPIC_API_KEY"], "EnvironmentVariables": ["ANTHROPIC_API_KEY"]}),
     plistlib.dumps({"EnvironmentVariables": {"ANTHROPIC_API_KEY": 7}}),
     plistlib.dumps({"ProgramArguments": ["/bin/sh", "-c", "launchctl setenv ANTHROPIC_API_KEY 'open"]}),
     plistlib.dumps({"ProgramArguments": ["launchctl", "setenv", "ANTHROPIC_API_KEY"]})],
    ids=["empty", "text", "cut short", "binary, cut short", "another encoding", "entities", "a list",
         "arguments as text", "odd types", "a number", "an open quote", "no value"],
)  # fmt: skip
def test_simulated_an_odd_agent_is_no_agent(data: bytes, mac: Callable[..., Machine], tmp_path: Path) -> None:
    folder = tmp_path / "Users/me/Library/LaunchAgents"
    folder.mkdir(parents=True)
    (folder / "odd.plist").write_bytes(data)
    (folder / "folder.plist").mkdir()
    found = mac()
    assert list(found.adapter.reported_variables(found, "ANTHROPIC_API_KEY")) == []


def test_simulated_the_dock_sees_what_agents_set_and_no_start_up_file(
    mac: Callable[..., Machine], tmp_path: Path
) -> None:
    agents = tmp_path / "Users/me/Library/LaunchAgents"
    agent(agents, "a", ProgramArguments=["/bin/launchctl", "setenv", "HTTPS_PROXY", "http://proxy.corp:3128"])
    agent(agents, "b", EnvironmentVariables={"setenv": "x", "HTTP_PROXY": "http://own.corp:1"})
    (tmp_path / "Users/me/.zshrc").write_text("export FROM_ZSH=1\n")
    found = mac(FROM_ZSH="1", PATH="/opt/homebrew/bin:/usr/bin")
    env = found.adapter.new_environment(found)
    assert env == {
        "HOME": found.home, "USER": "me", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HTTPS_PROXY": "http://proxy.corp:3128",
    }  # fmt: skip


# ---- the Keychain


def security(root: Path, **answers: dict[str, Any]) -> Path:
    """The tool, which writes down how it was started and answers what was recorded; 44 to everything else."""
    arms = [
        f"{shlex.quote(each['words'])}) printf %s {shlex.quote(each['out'])}; "
        f"printf %s {shlex.quote(each['err'])} >&2; exit {each['code']};;"
        for each in answers.values()
    ]
    log = root / "asked"
    program(
        root / "usr/bin/security", f'#!/bin/sh\necho "$*" >> {log}\ncase "$*" in\n{chr(10).join(arms)}\nesac\nexit 44\n'
    )
    return log


def asked(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


FOUND, MISSING = TOOLS["login is there"], TOOLS["login is not there"]
LOCKED, OPEN = TOOLS["keychain is locked over SSH"], TOOLS["keychain is open"]


def test_simulated_the_login_is_asked_for_and_never_read(mac: Callable[..., Machine], tmp_path: Path) -> None:
    log = security(tmp_path, found=FOUND)
    held, unseen = credentials.logins(mac(), thorough=True)
    assert [str(each) for each in held] == ["login, from the Keychain"]
    assert unseen == []
    assert asked(log) == ["find-generic-password -s Claude Code-credentials", "find-generic-password -s Claude Code"]
    assert not {"-w", "-g", "-d", "dump-keychain"} & {word for line in asked(log) for word in line.split()}


@pytest.mark.parametrize("env", [{}, SSH], ids=["at its screen", "over SSH"])
@pytest.mark.parametrize("answers", [{"a": FOUND}, {"a": MISSING}, {"a": LOCKED}, {"a": OPEN}, {}])
def test_simulated_a_diagnosis_starts_one_program_at_most(
    answers: dict[str, Any], env: dict[str, str], mac: Callable[..., Machine], tmp_path: Path
) -> None:
    log = security(tmp_path, **answers)
    found = registry.remedy("key-storage").diagnose(mac(**env))
    assert len(list(found)) == 1
    assert len(asked(log)) == 1


def test_simulated_where_something_else_lets_claude_in_the_keychain_is_not_asked(
    mac: Callable[..., Machine], tmp_path: Path
) -> None:
    log = security(tmp_path, found=FOUND)
    list(registry.remedy("key-storage").diagnose(mac(CLAUDE_CODE_OAUTH_TOKEN="x")))
    assert asked(log) == []


def test_simulated_whether_it_is_locked_is_not_asked_where_a_window_could_come_up(
    mac: Callable[..., Machine], tmp_path: Path
) -> None:
    log = security(tmp_path, found=FOUND, locked=LOCKED)
    credentials.logins(mac(), thorough=True)
    assert not [line for line in asked(log) if "show-keychain-info" in line]


@pytest.mark.parametrize(
    ("answers", "env"),
    [
        ({"locked": LOCKED}, SSH),
        ({"locked": LOCKED, "found": FOUND}, SSH),
        ({"a": TOOLS["login may not be asked for"]}, {}),
    ],
    ids=["over SSH", "over SSH, with a login", "also without SSH"],
)
def test_simulated_a_locked_keychain_is_said_with_the_way_out(
    answers: dict[str, Any], env: dict[str, str], mac: Callable[..., Machine], tmp_path: Path
) -> None:
    security(tmp_path, **answers)
    for thorough in (False, True):
        _, unseen = credentials.logins(mac(**env), thorough=thorough)
        assert len(unseen) == 1
        assert "locked" in unseen[0].note
        assert "security unlock-keychain" in unseen[0].todo
        assert "/login" in unseen[0].todo


def test_simulated_a_keychain_that_does_not_answer_is_not_waited_for(
    mac: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(tmp_path / "usr/bin/security", "#!/bin/sh\nexec sleep 60\n")
    found = mac()
    found.adapter.logins(found)  # the module is there now
    monkeypatch.setattr(import_module("ccremedy.platforms._keychain"), "_PATIENCE", 0.2)
    held, unseen = credentials.logins(found, thorough=True)
    assert (held, [each.note for each in unseen]) == ([], ["did not answer within 0.2 seconds"])


@pytest.mark.parametrize(
    ("env", "folder"),
    [({"CLAUDE_CONFIG_DIR": "/Users/me/other"}, "/Users/me/other"),
     ({"CLAUDE_CONFIG_DIR": "/Users/me/e\u0301"}, "/Users/me/\u00e9"),
     ({"CLAUDE_CONFIG_DIR": "/a", "CLAUDE_SECURESTORAGE_CONFIG_DIR": "/b"}, "/b")],
    ids=["another folder", "as Unicode composes it", "one for secrets alone"],
)  # fmt: skip
def test_simulated_a_configuration_elsewhere_has_entries_of_its_own(
    env: dict[str, str], folder: str, mac: Callable[..., Machine], tmp_path: Path
) -> None:
    log = security(tmp_path)
    credentials.logins(mac(**env), thorough=True)
    suffix = hashlib.sha256(folder.encode()).hexdigest()[:8]
    assert asked(log) == [f"find-generic-password -s Claude Code{part}-{suffix}" for part in ("-credentials", "")]


def test_simulated_key_status_tells_of_the_keychain(mac: Callable[..., Machine], tmp_path: Path) -> None:
    security(tmp_path, locked=LOCKED, found=FOUND)
    from ccremedy.cli import key

    options = SimpleNamespace(text=[])
    report = key._status(mac(**SSH), options)  # type: ignore[arg-type]
    assert options.text[1] == "  1. login, from the Keychain (locked in this SSH session)"
    assert "security unlock-keychain" in report.notes[0]


def test_simulated_authorities_of_the_keychains_are_trusted_too(
    mac: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    security(tmp_path, found={"words": "find-certificate -a -p", "out": pem, "err": "", "code": 0})
    seen: list[str] = []
    from ccremedy import network

    monkeypatch.setattr(network, "look", lambda url, proxy, roots, bundles, no_proxy: seen.append(roots))
    machines._look(mac(), "https://api.anthropic.com", None, "MINE\n", "")
    assert seen == [f"MINE\n{pem}"]
    assert mac().adapter.authorities(Facts("darwin", {}, str(tmp_path / "nowhere"))) == ""


# ---- ccremedy's own keys


@pytest.mark.parametrize("code", [-25308, -25293, -128])
@pytest.mark.parametrize("kind", ["KeyringError", "PasswordSetError", "PasswordDeleteError"])
def test_simulated_a_locked_keychain_is_one_clear_sentence(
    kind: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    error = type(kind, (Exception,), {})(f"Can't store password on keychain: ({code}, 'Unknown Error')")
    error.__cause__ = Exception(code, "Unknown Error")
    problem = vault._as_problem(error)
    assert (problem.what, problem.code) == ("is locked", UNSUPPORTED)
    assert "security unlock-keychain" in problem.todo
    assert "gnome" not in str(problem)


def test_simulated_another_error_of_the_keychain_is_not_taken_for_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    error = Exception("x")
    error.__cause__ = Exception(-25299, "Unknown Error")
    assert vault._as_problem(error).what == "failed (Exception)"


# ---- processes


class Denied(Exception):
    pass


class Process:
    """A process as psutil shows it; what is missing here is closed to us."""

    def __init__(self, pid: int, **facts: Any) -> None:
        self.pid, self._facts = pid, facts

    def oneshot(self) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def __getattr__(self, name: str) -> Callable[[], Any]:
        def answer() -> Any:
            found = self._facts.get(name, Denied())
            if isinstance(found, Exception):
                raise found
            return found

        if name == "terminal" and self._facts.get("terminal") == "none at all":
            raise AttributeError(name)
        return answer


@pytest.fixture
def psutil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def let_run(*listed: Process) -> None:
        by_pid = {each.pid: each for each in listed}
        me = Process(os.getpid(), username="me")

        def one(pid: int | None = None) -> Process:
            if pid is None:
                return me
            if pid not in by_pid:
                raise Denied
            return by_pid[pid]

        made = SimpleNamespace(Error=Denied, STATUS_ZOMBIE="zombie", process_iter=lambda: iter(listed), Process=one)
        monkeypatch.setitem(sys.modules, "psutil", made)

    return let_run


def seen(mac: Machine) -> dict[int, Running]:
    return {each.pid: each for each in mac.adapter.processes(mac.facts)}


def test_simulated_one_process_that_cannot_be_read_ends_no_scan(
    mac: Callable[..., Machine], psutil: Callable[..., None]
) -> None:
    begun = time.time() - 100
    whole: dict[str, Any] = {
        "create_time": begun, "status": "running", "name": "claude", "ppid": 900, "terminal": "/dev/ttys003",
        "cpu_times": SimpleNamespace(user=2.0, system=1.0),
    }  # fmt: skip
    wrong = OSError(errno.EINVAL, "WinError 87")
    psutil(
        Process(1, create_time=begun, status="running", name="launchd", ppid=0, terminal=None),
        Process(2),
        Process(3, **whole | {"create_time": wrong}),
        Process(4, **whole),
        Process(5, **whole | {"status": "zombie"}),
        Process(6, **whole | {"name": wrong, "ppid": Denied(), "cpu_times": SystemError(), "terminal": wrong}),
        Process(7, **whole | {"terminal": "none at all"}),
    )
    found = seen(mac())
    assert sorted(found) == [1, 4, 6, 7]
    assert (found[1].terminal, found[1].cpu) == ("", 0.0)
    assert found[4].start == f"{begun:.2f}"
    assert (found[4].parent, found[4].terminal, found[4].cpu) == (900, "ttys003", 3.0)
    assert found[4].age == pytest.approx(100, abs=5)
    assert (found[6].name, found[6].parent, found[6].terminal) == ("", 0, "unknown")
    assert found[7].terminal == "unknown", "what cannot be told is not taken for none"


def test_simulated_details_that_are_closed_to_us_are_empty(
    mac: Callable[..., Machine], psutil: Callable[..., None]
) -> None:
    psutil(
        Process(4, username="me", exe="/bin/zsh", cmdline=["-zsh"], environ={"HOME": "/Users/me"}, cwd="/Users/me"),
        Process(5, username="root"),
        Process(6, username="me", exe=None, cmdline=Denied()),
    )
    ask = mac().adapter.details
    where = mac().facts
    assert ask(where, 4) == machines.Details(True, "/bin/zsh", ("-zsh",), {"HOME": "/Users/me"}, "/Users/me", "")
    assert ask(where, 5) == machines.Details(False, "", (), {}, "", "")
    assert ask(where, 6) == machines.Details(True, "", (), {}, "", "")
    assert ask(where, 7) == machines.Details(False, "", (), {}, "", "")


def test_simulated_without_psutil_it_is_said_what_brings_it(
    mac: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(Problem, match="psutil is needed") as caught:
        seen(mac())
    assert caught.value.code == errors.UNSUPPORTED
    assert "python3 -m pip install psutil" in caught.value.todo


def test_simulated_the_real_psutil_has_what_is_asked_of_it(mac: Callable[..., Machine]) -> None:
    library = pytest.importorskip("psutil", reason="needs psutil, which macOS' adapter asks")
    here = mac()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd="/", env={"MARK": "1"})
    try:
        found = seen(here)[child.pid]
        details = here.adapter.details(here.facts, child.pid)
        assert found.parent == os.getpid()
        assert float(found.start) == pytest.approx(library.Process(child.pid).create_time())
        assert details.ours
        assert (details.env.get("MARK"), details.folder, details.arguments[1:]) == ("1", "/", ("-c", "input()"))
    finally:
        child.communicate(b"\n")
    assert here.adapter.details(here.facts, child.pid).ours is False


# ---- the register of sessions


def lstart(then: float) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(then))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"startedAt": 95}, True),
        ({"startedAt": 101}, True),
        ({"startedAt": 300}, False),
        ({"procStart": "100"}, True),
        ({"procStart": "5000", "startedAt": 95}, False),
        ({"procStart": "100", "startedAt": 5000}, False),
        ({"procStart": "20", "startedAt": 15}, None),
        ({}, None),
        ({"startedAt": 0}, None),
    ],
    ids=["registered", "within a second", "of an earlier process", "as ps tells it", "ps told of an earlier one",
         "registered before it was started", "told later than it was started", "nothing", "no time"],
)  # fmt: skip
def test_simulated_an_entry_is_believed_by_its_times(
    entry: dict[str, Any], told: bool | None, mac: Callable[..., Machine]
) -> None:
    """Times are seconds ago; the process was started 100 seconds ago."""
    now = time.time()
    spelled = {
        name: lstart(now - float(ago)) if name == "procStart" else (now - ago) * 1000 if ago else 0
        for name, ago in entry.items()
    }
    process = Running(42, "1.00", "claude", 1, "", 0.0, 100.0)
    assert sessions._started_with(spelled, process, mac().adapter, now) is told
    strange = spelled | {"procStart": "134093824012345678"} if "procStart" not in entry else spelled
    assert sessions._started_with(strange, process, mac().adapter, now) is told, "another form is no evidence"


def test_simulated_a_look_that_takes_a_minute_makes_no_entry_one_of_an_earlier_process(
    mac: Callable[..., Machine], psutil: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    begun = now[0] - 100
    program = "/usr/local/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe"
    session = Process(42, create_time=begun, status="running", name="claude", ppid=1, terminal="/dev/ttys003",
                      username="me", exe=program, cmdline=["claude"], environ={}, cwd="/")  # fmt: skip

    def slowly() -> Iterator[Process]:
        yield session
        now[0] += 60

    psutil(session)
    monkeypatch.setattr(sys.modules["psutil"], "process_iter", slowly)
    monkeypatch.setattr(time, "time", lambda: now[0])
    found = mac()
    register = Path(found.home, ".claude", "sessions")
    register.mkdir(parents=True)
    (register / "42.json").write_text(json.dumps({"pid": 42, "startedAt": (begun + 1) * 1000, "status": "idle"}))
    (seen,) = sessions.running(found)
    assert (seen.registered, seen.status) == (True, "idle")


# ---- shells: path_helper, and how the environment is read


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_simulated_the_environment_is_read_in_each_shell(
    shell: str, mac: Callable[..., Machine], needs: Callable[[str], None]
) -> None:
    needs(shell)
    where = shutil.which(shell, path="/bin:/usr/bin")
    found = mac({shell: str(where)}, LANG="C.UTF-8")
    (Path(found.home) / ".zshenv").write_text("export ODD='two\nlines = and é'\n")
    answers = shells.ask(found, [shell], 20)
    assert not [each for each in answers.values() if isinstance(each, str)], answers
    env = answers[shell, "plain"]
    assert isinstance(env, dict)
    assert env["HOME"] == found.home
    assert "/usr/bin" in env["PATH"].split(":")
    if shell == "zsh":
        assert env["ODD"] == "two\nlines = and é"


# As its manual and those who were bitten by it say: what /etc/paths lists comes first, then what was there before.
PATH_HELPER = """\
path_helper() {
  seen=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
  rest=$PATH:
  while [ -n "$rest" ]; do
    each=${rest%%:*}; rest=${rest#*:}
    case ":$seen:" in *":$each:"*) ;; *) seen=$seen:$each ;; esac
  done
  PATH=$seen; export PATH; unset seen rest each
}
path_helper; unset -f path_helper
"""
STARTS = {"bash": "/etc/profile", "zsh": "/etc/zsh/zprofile"}


@pytest.fixture
def like_apple(tmp_path: Path, needs: Callable[[str], None]) -> Callable[[str, str], list[str]]:
    """PATH of a login shell below a login shell, where the system's files run path_helper."""
    needs("mount namespaces")
    (tmp_path / "system").write_text(PATH_HELPER)

    def path(shell: str, home: str) -> list[str]:
        nested = f'exec {shell} -lc "printenv PATH"'
        mounts = f"mount --bind {tmp_path}/system {STARTS[shell]}"
        command = ["unshare", "-m", "/bin/sh", "-c", f"{mounts} && exec {shell} -lc {shlex.quote(nested)}"]
        env = {"HOME": home, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().split(":")

    return path


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_simulated_the_block_wins_over_path_helper_in_nested_login_shells(
    shell: str, mac: Callable[..., Machine], needs: Callable[[str], None], like_apple: Callable[[str, str], list[str]]
) -> None:
    needs(shell)
    found = mac({shell: str(shutil.which(shell, path="/bin:/usr/bin"))})
    folder = found.path(".npm-global", "bin")
    changes = list(found.persist_path("npm-prefix", folder, f"path {folder}"))
    assert [change.expects[1] for change in changes] == [f"ahead {folder}:/usr/local/bin:/usr/bin"] * 2
    for change in changes:
        change.resource.write(change.before, change.after, f"{change.resource.path}.new")
    path = like_apple(shell, found.home)
    assert path[0] == folder
    assert len(path) < 12, "each login shell adds it once at most"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_simulated_a_block_that_only_looks_whether_it_is_there_loses(
    shell: str, mac: Callable[..., Machine], needs: Callable[[str], None], like_apple: Callable[[str, str], list[str]]
) -> None:
    """The control: that path_helper does here what it does there."""
    needs(shell)
    found = mac()
    folder = found.path(".npm-global", "bin")
    name = ".zprofile" if shell == "zsh" else ".profile"
    Path(found.home, name).write_text(shells.prepend(shell, folder))
    path = like_apple(shell, found.home)
    assert path.index("/usr/bin") < path.index(folder)


# ---- the whole command

AS_A_MAC = """
import ctypes, errno, sys
sys.platform = "darwin"
from ccremedy.files import macos
class Library:  # of a file system that can do nothing but plain renames
    def renamex_np(self, *_):
        ctypes.set_errno(errno.ENOTSUP)
        return -1
    def fcopyfile(self, *_):
        return 0
macos._library = Library
from ccremedy.cli import main
sys.exit(main(sys.argv[1:]))
"""


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Run:
    """The command itself, taking itself to be on a Mac: its adapter, its files, its journal's folder."""
    (tmp_path / "home").mkdir()
    for name in ("npm", "node"):
        program(tmp_path / "bin" / name)
    (tmp_path / "home/.npmrc").write_text("prefix=/proc/1\n")
    (tmp_path / "home/.zshrc").write_text("# mine\n")
    env = {"HOME": str(tmp_path / "home"), "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SHELL": "/bin/zsh",
           "PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", AS_A_MAC, *words], env=env, cwd=tmp_path / "home", capture_output=True, text=True,
            timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


def test_simulated_apply_and_undo_on_a_file_system_of_others(
    command: Run, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("zsh")
    home = tmp_path / "home"
    done = command("apply", "npm-prefix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "npm-global" in (home / ".zshrc").read_text()
    assert (home / ".zprofile").exists()
    assert (home / "Library/Application Support/ccremedy").is_dir()
    assert not (home / ".local").exists()
    done = command("undo", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / ".zshrc").read_text() == "# mine\n"
    assert (home / ".npmrc").read_text() == "prefix=/proc/1\n"
    assert not (home / ".zprofile").exists()


def test_simulated_what_is_for_wsl_alone_says_so(command: Run) -> None:
    done = command("apply", "wsl-path", "--yes")
    assert done.returncode == UNSUPPORTED
    assert "this is not WSL" in done.stdout + done.stderr


def test_simulated_a_report_says_where_it_was_made(command: Run) -> None:
    report = json.loads(command("diagnose", "--json").stdout)
    assert report["platform"] == "macos"
    assert [each["remedy"] for each in report["findings"]] == ["npm-prefix"]
