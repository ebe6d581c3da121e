"""The secret store, on a real GNOME Keyring: what it keeps, what it refuses, and that no secret gets anywhere else."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
import sweep
from real.keyring_session import Session, bus_session, keyring_session

from ccremedy import vault
from ccremedy.errors import FAILED, UNSUPPORTED, Problem
from ccremedy.processes import Conversation
from ccremedy.redact import Secret
from ccremedy.vault import SERVICE, Vault, fingerprint, print_secret, probe

ROOT = Path(__file__).resolve().parent.parent
CANARY = "sk-ant-api03-CaNaRy-7f3a91"
LIMIT = 1.0  # seconds for what does not answer
SOON = LIMIT + 20  # after which it has been given up, on a busy machine too; D-Bus itself gives up after 25
PATIENCE = 30.0  # for what does answer, on a busy machine


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with keyring_session(tmp_path_factory.mktemp("keyring-home")) as opened:
        yield opened


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[tuple[Session, Vault]]:
    """A vault that has been used, and whose store has stopped answering since."""
    with keyring_session(tmp_path / "home") as opened, Vault(opened.env, timeout=PATIENCE) as kept:
        kept.put("before", Secret("x"))
        opened.freeze()
        kept._timeout = LIMIT
        yield opened, kept


def children() -> set[int]:
    """The processes that this one has started and not yet seen the end of."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for each in lists for pid in each.read_text().split()}


def looked_up(session: Session, id: str) -> str:
    return session.run("secret-tool", "lookup", "service", SERVICE, "username", id).stdout


# ---- what it keeps


def test_a_secret_is_put_found_by_other_programs_and_dropped(session: Session) -> None:
    with Vault(session.env, PATIENCE) as kept:
        assert kept.get("one") is None
        kept.put("one", Secret(CANARY))
        assert kept.get("one") == Secret(CANARY)
        assert looked_up(session, "one") == CANARY
        kept.put("one", Secret("another"))
        assert kept.get("one") == Secret("another")
        kept.drop("one")
        kept.drop("one")
        assert kept.get("one") is None
    assert looked_up(session, "one") == ""


def test_one_child_serves_all_calls_and_starts_at_the_first(session: Session) -> None:
    before = children()
    with Vault(session.env, PATIENCE) as kept:
        assert children() == before
        assert kept.name() == "Secret Service (GNOME Keyring, KeePassXC)"
        started = children() - before
        kept.get("one")
        assert children() - before == started
        assert len(started) == 1
    assert children() == before


@pytest.mark.parametrize(
    "value",
    [
        pytest.param('it\'s "quoted" and `so` $(on)', id="quotes"),
        pytest.param("first\nsecond\r\n", id="line-ends"),
        pytest.param("ключ-€-🔑", id="not-ascii"),
        pytest.param("before\0after", id="a-nul"),
        pytest.param(" spaces around ", id="spaces-around"),
        pytest.param("k" * 10_240, id="ten-kilobytes"),
        pytest.param("k" * 65_536, id="as-long-as-it-may-be"),
        pytest.param("", id="empty"),
    ],
)
def test_an_odd_secret_comes_back_as_it_was(session: Session, value: str) -> None:
    with Vault(session.env, PATIENCE) as kept:
        kept.put("odd", Secret(value))
        assert kept.get("odd") == Secret(value)


@pytest.mark.parametrize("id", ["7/1", "with 'quotes'", "ключ", "../../etc"])
def test_any_name_will_do(session: Session, tmp_path: Path, id: str) -> None:
    for kept in (Vault(session.env, PATIENCE), Vault({}, owner_only=str(tmp_path / "keys"))):
        with kept:
            kept.put(id, Secret(CANARY))
            assert kept.get(id) == Secret(CANARY)
            kept.drop(id)
            assert kept.get(id) is None


def test_what_was_stored_is_there_in_the_next_session(tmp_path: Path) -> None:
    with keyring_session(tmp_path) as first, Vault(first.env, PATIENCE) as kept:
        kept.put("one", Secret(CANARY))
    assert CANARY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with keyring_session(tmp_path) as second, Vault(second.env, PATIENCE) as kept:
        assert kept.get("one") == Secret(CANARY)


@pytest.mark.parametrize(
    ("value", "platform", "why"),
    [
        ("k" * 1280, "win32", ""),
        ("k" * 1281, "win32", "is too long for Windows Credential Manager (1281 characters; it takes 1280)"),
        ("🔑" * 640, "win32", ""),
        ("🔑" * 641, "win32", "is too long for Windows Credential Manager (1282 characters; it takes 1280)"),
        ("k" * 65_537, "linux", "is too long to be stored (65537 bytes; the limit is 65536)"),
        ("caf\udce9", "linux", "is not text: it holds bytes that are not UTF-8"),
    ],
)
def test_what_a_store_cannot_hold_is_known_before(value: str, platform: str, why: str) -> None:
    assert vault.unfit(Secret(value), platform) == why
    assert platform != "win32" or not vault.unfit(Secret(value), platform, owner_only=True)


def test_what_a_store_cannot_hold_is_not_tried() -> None:
    with pytest.raises(Problem, match="the limit is 65536") as caught:
        Vault({}).put("one", Secret("k" * 65_537))
    assert caught.value.code == UNSUPPORTED


LIBSECRET = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ccremedy.redact import Secret
from ccremedy.vault import Vault
with Vault(os.environ) as kept:
    kept.put("one", Secret(sys.argv[2]))
    print(kept.name(), kept.get("one") == Secret(sys.argv[2]), kept.get("none"))
    kept.drop("one")
    kept.drop("one")
    print(kept.get("one"))
    try:
        kept.put("one", Secret("before\\0after"))
    except Exception as error:
        print(error)
"""


def test_without_secretstorage_it_works_by_way_of_libsecret(session: Session, tmp_path: Path) -> None:
    ask = "import gi, sys; gi.require_version('Secret', '1'); print(sys.version_info[:2])"
    found = session.run("/usr/bin/python3", "-c", ask)
    if found.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("needs libsecret for this version of Python (python3-gi and gir1.2-secret-1)")
    packages = installed(tmp_path / "installed", without="secretstorage")
    done = session.run("/usr/bin/python3", "-I", "-B", "-c", LIBSECRET, str(packages), CANARY)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "Secret Service (GNOME Keyring, KeePassXC) True None",
        "None",
        "Secret Service (GNOME Keyring, KeePassXC): did not give back what was stored in it. Use another store.",
    ]


LIAR = vault._CHILD.replace("serve()", "import ccremedy.vault as v; v._answer = lambda *_: 'something else'; serve()")


def test_a_store_that_gives_back_something_else_is_not_trusted(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "_CHILD", LIAR)
    with Vault(session.env, PATIENCE) as kept, pytest.raises(Problem, match="did not give back what was stored"):
        kept.put("one", Secret(CANARY))


# ---- what does not answer


@pytest.mark.parametrize("on_a_display", [False, True], ids=["without-a-display", "with-a-display"])
def test_a_store_with_another_password_is_locked(tmp_path: Path, on_a_display: bool) -> None:
    with keyring_session(tmp_path) as first, Vault(first.env, PATIENCE) as kept:
        kept.put("one", Secret(CANARY))
    with keyring_session(tmp_path, password="not this one") as second:
        env = second.env | ({"DISPLAY": ":no-such-display"} if on_a_display else {})
        with Vault(env, PATIENCE) as kept, pytest.raises(Problem, match="the secret store: is locked") as caught:
            kept.get("one")
    assert caught.value.code == UNSUPPORTED
    assert "gnome-keyring-daemon --unlock" in caught.value.todo


@pytest.mark.parametrize(
    "address",
    [None, "", "unix:path=/nonexistent", "nonsense", "tcp:host=127.0.0.1,port=1"],
    ids=["no-bus", "an-empty-address", "a-bus-that-is-gone", "an-address-that-is-none", "a-bus-that-is-elsewhere"],
)
def test_without_a_bus_there_is_no_store(tmp_path: Path, address: str | None) -> None:
    env = {"HOME": str(tmp_path)} | ({} if address is None else {"DBUS_SESSION_BUS_ADDRESS": address})
    with Vault(env, PATIENCE) as kept, pytest.raises(Problem, match="the secret store: is not there") as caught:
        kept.get("one")
    assert caught.value.code == UNSUPPORTED
    assert "gnome-keyring" in probe(env, PATIENCE)


def test_a_bus_without_a_keyring_has_no_store(tmp_path: Path) -> None:
    with bus_session(tmp_path, services=False) as env:
        assert "is not there" in probe(env, PATIENCE)


def test_a_keyring_that_was_never_set_up_has_nothing_to_store_in(tmp_path: Path) -> None:
    with bus_session(tmp_path) as env:
        assert "has no default keyring" in probe(env, PATIENCE)


def test_a_session_without_a_runtime_folder_is_refused_in_time(tmp_path: Path) -> None:
    before = children()
    with bus_session(tmp_path, runtime_folder=False) as env:
        start = time.monotonic()
        with Vault(env, timeout=LIMIT) as kept, pytest.raises(Problem, match="the secret store: ") as caught:
            kept.get("one")
        assert time.monotonic() - start < SOON
    assert caught.value.code == UNSUPPORTED
    assert children() == before


def test_a_store_is_there_only_if_it_can_be_used(session: Session) -> None:
    assert probe(session.env, PATIENCE) == ""


def test_a_store_that_never_answers_is_given_no_more_than_the_limit(frozen: tuple[Session, Vault]) -> None:
    before = children()
    start = time.monotonic()
    with pytest.raises(Problem, match=r"did not answer within 1 seconds.* a prompt that nobody sees") as caught:
        frozen[1].get("before")
    assert LIMIT <= time.monotonic() - start < SOON
    assert caught.value.code == UNSUPPORTED
    assert len(before - children()) == 1  # it was there, and is not any more


def test_after_a_time_out_the_next_call_is_answered(frozen: tuple[Session, Vault]) -> None:
    opened, kept = frozen
    with pytest.raises(Problem):
        kept.get("before")
    os.kill(opened.daemon, signal.SIGCONT)
    kept._timeout = PATIENCE
    assert kept.get("before") == Secret("x")


def test_after_an_interruption_the_next_call_is_answered(
    frozen: tuple[Session, Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, kept = frozen
    before, ask = children(), Conversation.ask

    def interrupted(told: Conversation, line: bytes, timeout: float) -> bytes:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return ask(told, line, timeout)

    kept._timeout = PATIENCE  # whenever it comes
    with monkeypatch.context() as patch:
        patch.setattr(Conversation, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept.get("before")
    assert len(before - children()) == 1
    os.kill(opened.daemon, signal.SIGCONT)
    assert kept.get("before") == Secret("x")


WAITS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from ccremedy.vault import Vault
kept = Vault(os.environ, timeout=30)
kept.name()
kept._timeout = 0.5
print(json.dumps([int(each) for each in open("/proc/self/task/%d/children" % os.getpid()).read().split()]), flush=True)
sys.stdin.readline()
kept.get("one")
"""


def test_the_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    with keyring_session(tmp_path) as opened:
        command = [sys.executable, "-c", WAITS, str(ROOT)]
        with subprocess.Popen(command, env=opened.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdin is not None
            assert parent.stdout is not None
            (child,) = json.loads(parent.stdout.readline())
            opened.freeze()
            parent.stdin.write(b"go\n")
            parent.stdin.flush()
            time.sleep(0.3)
            parent.kill()
        assert ends(child)


def ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def ends(pid: int) -> bool:
    """Whether it does, which on a busy machine may take a while after it was killed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not ended(pid):
        time.sleep(0.02)
    return ended(pid)


# ---- a child that one talks to


def talk(script: str) -> Conversation:
    return Conversation(["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"})


def test_a_conversation_goes_on_line_by_line() -> None:
    told = talk('while read -r line; do echo "<$line>"; done')
    assert [told.ask(line, PATIENCE) for line in (b"one", b"two")] == [b"<one>", b"<two>"]
    told.close()
    told.close()


def test_a_child_that_hangs_is_killed_with_its_own_children() -> None:
    before = children()
    told = talk("sleep 600 & echo $!; read -r line; sleep 600")
    grandchild = int(told.ask(b"", PATIENCE))
    assert not ended(grandchild)
    with pytest.raises(TimeoutError):
        told.ask(b"more", 0.3)
    assert children() == before
    assert ends(grandchild)


@pytest.mark.parametrize("script", ["exec sleep 600", "tr '\\0' x < /dev/zero"], ids=["is-deaf", "talks-without-end"])
def test_a_child_that_goes_on_without_us_does_not_make_us_wait(script: str) -> None:
    told = talk(script)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        told.ask(b"x" * 1_000_000, 0.3)
    assert time.monotonic() - start < SOON


@pytest.mark.parametrize("script", ["exit 0", "read -r line", "exec <&-; sleep 0.2", "printf half"])
def test_a_child_that_ends_is_told_from_one_that_hangs(script: str) -> None:
    told = talk(script)
    with pytest.raises(EOFError):
        told.ask(b"x" * 1_000_000, PATIENCE)


# ---- that no secret gets anywhere else


def disguises(secret: str) -> dict[str, bytes]:
    """What the secret could look like to whoever reads a process's arguments or an error."""
    raw = secret.encode()
    return {
        "plain": raw,
        "hexadecimal": raw.hex().encode(),
        "base64": base64.b64encode(raw).rstrip(b"="),
        "url": urllib.parse.quote(secret, safe="").encode(),
        "json": json.dumps(secret)[1:-1].encode(),
        "repr": repr(secret)[1:-1].encode(),
        "utf-16": secret.encode("utf-16-le"),
        "reversed": raw[::-1],
        "half of it": raw[: len(raw) // 2],
    }


def leaks(data: bytes) -> list[str]:
    return [name for name, form in disguises(CANARY).items() if form in data]


def visible_of(pid: int) -> bytes:
    """What any program of the same user may read of a process."""
    return b"\n".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm"))


def test_no_secret_is_in_the_arguments_or_the_environment_of_a_child(
    frozen: tuple[Session, Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, kept = frozen
    kept._env = dict(opened.env) | {"ANTHROPIC_API_KEY": CANARY, "SOME_TOKEN": CANARY}
    kept.close()
    kept._timeout = PATIENCE
    os.kill(opened.daemon, signal.SIGCONT)
    before = children()
    kept.name()
    opened.freeze()
    ask, close = Conversation.ask, Conversation.close
    seen: list[bytes] = []

    def look(told: Conversation) -> None:
        """Before it is killed because it does not answer, which is the last moment at which it can be seen."""
        seen.extend(visible_of(pid) for pid in children() - before)
        seen.append(b"\n".join(Path(f"/proc/{pid}/limits").read_bytes() for pid in children() - before))
        close(told)

    with monkeypatch.context() as patch:
        patch.setattr(Conversation, "ask", lambda told, line, timeout: ask(told, line, LIMIT))
        patch.setattr(Conversation, "close", look)
        with pytest.raises(Problem):
            kept.put("one", Secret(CANARY))
    assert len(seen) == 2
    assert b"ccremedy.vault" in seen[0]
    assert leaks(seen[0]) == []
    (core,) = [line.split() for line in seen[1].splitlines() if line.startswith(b"Max core file size")]
    assert core[4:6] == [b"0", b"0"]


@pytest.mark.parametrize(("more", "env"), [([CANARY], {}), ([], {"KEY": CANARY})], ids=["arguments", "environment"])
def test_a_secret_in_the_arguments_or_the_environment_would_be_seen(more: list[str], env: dict[str, str]) -> None:
    command = ["/bin/sh", "-c", "echo ready; read -r line", "sh", *more]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "plain" in leaks(visible_of(process.pid))


def everything_in(error: BaseException) -> bytes:
    """Its words, its traceback, all variables of all frames that it came through, and what led to it."""
    texts = []
    at: BaseException | None = error
    while at is not None:
        texts += [str(at), repr(at), repr(vars(at)), *traceback.format_exception(at)]
        step = at.__traceback__
        while step is not None:
            if "/ccremedy/" in step.tb_frame.f_code.co_filename:
                texts.append(repr(step.tb_frame.f_locals))
            step = step.tb_next
        at = at.__cause__ or at.__context__
    return "\n".join(texts).encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("way", ["it-does-not-answer", "it-has-ended", "it-talks-nonsense", "it-cannot-hold-it"])
def test_no_secret_is_in_what_is_raised(
    frozen: tuple[Session, Vault], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    kept = frozen[1]
    secret = CANARY
    if way == "it-has-ended":
        monkeypatch.setattr(vault, "_CHILD", "input()")
        kept.close()
    elif way == "it-talks-nonsense":
        monkeypatch.setattr(vault, "_CHILD", "import sys; print(repr(input()), flush=True); input()")
        kept.close()
    elif way == "it-cannot-hold-it":
        secret += "\udce9"
    with pytest.raises(Problem) as caught:
        kept.put("one", Secret(secret))
    assert leaks(everything_in(caught.value)) == []


def test_a_secret_in_an_exception_would_be_seen() -> None:
    def fail(secret: str) -> None:
        raise ValueError("no word of it")

    with pytest.raises(ValueError, match="no word") as caught:
        exec(compile("fail(secret)", "/ccremedy/x", "exec"), {"fail": fail}, {"secret": CANARY})
    assert "plain" in leaks(everything_in(caught.value))


def test_the_words_of_a_foreign_exception_are_not_passed_on() -> None:
    problem = vault._as_problem(ValueError(f"cannot store {CANARY}"))
    assert (str(problem), problem.code) == (
        "the secret store: failed (ValueError). Try again, or use another store.",
        FAILED,
    )
    assert problem.__cause__ is None


# ---- unsafe back ends: each trap works on keyring itself, and not on us


CONTROL = """
import keyring
chosen = keyring.get_keyring()
print(type(chosen).__module__, sorted(vars(chosen)))
"""
OURS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ccremedy.redact import Secret
from ccremedy.vault import Vault
with Vault(os.environ) as kept:
    kept.put("trapped", Secret(sys.argv[2]))
"""
OURS_AT_ONCE = """
import os, sys
from ccremedy.vault import print_secret
sys.exit(print_secret("trapped", os.environ, sys.stdout))
"""
USUAL = "keyring.backends.SecretService []\n"
LEAVE_A_MARK = """
import os
with open({mark!r}, "a") as mark:
    mark.write(__name__)
"""
HOSTILE = """
import keyring.backend
from keyring.backends.SecretService import Keyring as Real
class Keyring({base}):
    priority = 99
    def get_password(self, service, username): mark()
    def set_password(self, service, username, password): mark()
    def delete_password(self, service, username): mark()
def mark():
    pass
"""


def installed(folder: Path, without: str = "nothing") -> Path:
    """A folder with ccremedy and the packages that it needs, for any interpreter of this version."""
    folder.mkdir(parents=True)
    for package in [ROOT / "ccremedy", *Path(keyring.__file__).parent.parent.iterdir()]:
        if not package.name.startswith(("__", "ccremedy-", "distutils", without)) and package.suffix != ".pth":
            (folder / package.name).symlink_to(package)
    return folder


class Trap:
    """A home, a current directory and a module path of somebody's who wants our secrets."""

    def __init__(self, top: Path, session: Session) -> None:
        self.mark = top / "mark"
        self.home, self.cwd, self.modules = top / "home", top / "cwd", top / "modules"
        for folder in (self.home, self.cwd, self.modules):
            folder.mkdir(parents=True)
        self.ours = installed(top / "installed")
        self.env = dict(session.env) | {"HOME": str(self.home)}
        # Not the environment's own, which would not look into the home.
        self.python = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"

    def hostile(self, folder: Path, name: str, base: str = "keyring.backend.KeyringBackend") -> None:
        """A module that tells when it is imported."""
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LEAVE_A_MARK.format(mark=str(self.mark)) + HOSTILE.format(base=base))

    def marking(self, folder: Path, name: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LEAVE_A_MARK.format(mark=str(self.mark)))

    def packages_of_the_user(self) -> Path:
        ask = "import site; print(site.getusersitepackages())"
        return Path(self.run("-c", ask, env={"HOME": str(self.home)}).stdout.strip())

    def run(self, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *words], env=env, cwd=self.cwd, capture_output=True, text=True, timeout=30, check=False
        )


TRAPS: dict[str, Callable[[Trap], None]] = {}


def trap(make: Callable[[Trap], None]) -> Callable[[Trap], None]:
    TRAPS[make.__name__.replace("_", "-")] = make
    return make


def _config(made: Trap, folder: Path) -> None:
    made.hostile(made.modules, "evil_backend.py")
    folder.mkdir(parents=True)
    (folder / "keyringrc.cfg").write_text(
        f"[backend]\ndefault-keyring=evil_backend.Keyring\nkeyring-path={made.modules}\n"
    )


def _entry_point(made: Trap, folder: Path, target: str) -> None:
    (folder / "evil-1.0.dist-info").mkdir(parents=True)
    (folder / "evil-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (folder / "evil-1.0.dist-info" / "entry_points.txt").write_text(f"[keyring.backends]\nevil = {target}\n")


@trap
def a_configuration_in_the_home_names_a_class(made: Trap) -> None:
    _config(made, made.home / ".config" / "python_keyring")


@trap
def a_configuration_elsewhere_names_a_class(made: Trap) -> None:
    _config(made, made.cwd / "python_keyring")
    made.env["XDG_CONFIG_HOME"] = str(made.cwd)


@trap
def a_configuration_turns_keyring_off(made: Trap) -> None:
    folder = made.home / ".config" / "python_keyring"
    folder.mkdir(parents=True)
    (folder / "keyringrc.cfg").write_text("[backend]\ndefault-keyring=keyring.backends.null.Keyring\n")


@trap
def the_environment_names_the_null_backend(made: Trap) -> None:
    made.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"


@trap
def the_environment_names_the_failing_backend(made: Trap) -> None:
    made.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"


@trap
def the_environment_names_the_chainer(made: Trap) -> None:
    made.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.chainer.ChainerBackend"


@trap
def the_environment_names_a_class_of_its_own(made: Trap) -> None:
    made.hostile(made.modules, "evil_backend.py")
    made.env |= {"PYTHON_KEYRING_BACKEND": "evil_backend.Keyring", "PYTHONPATH": str(made.modules)}


@trap
def the_environment_names_a_plain_text_file(made: Trap) -> None:
    """As keyrings.alt has it."""
    made.hostile(made.modules, "keyrings/alt/file.py")
    made.env |= {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.Keyring", "PYTHONPATH": str(made.modules)}


@trap
def the_environment_chooses_the_collection(made: Trap) -> None:
    made.env["KEYRING_PROPERTY_PREFERRED_COLLECTION"] = "/org/freedesktop/secrets/collection/session"


@trap
def the_environment_chooses_other_attributes(made: Trap) -> None:
    made.env["KEYRING_PROPERTY_SCHEME"] = "KeePassXC"


@trap
def a_keyring_lies_in_the_current_directory(made: Trap) -> None:
    made.hostile(made.cwd, "keyring.py")


@trap
def a_secretstorage_lies_in_the_current_directory(made: Trap) -> None:
    made.marking(made.cwd, "secretstorage.py")


@trap
def a_keyring_lies_on_the_module_path(made: Trap) -> None:
    made.hostile(made.modules, "keyring/__init__.py")
    made.env["PYTHONPATH"] = str(made.modules)


@trap
def a_sitecustomize_lies_on_the_module_path(made: Trap) -> None:
    made.marking(made.modules, "sitecustomize.py")
    made.env["PYTHONPATH"] = str(made.modules)


@trap
def a_usercustomize_lies_in_the_home(made: Trap) -> None:
    made.marking(made.packages_of_the_user(), "usercustomize.py")


@trap
def a_path_file_lies_in_the_home(made: Trap) -> None:
    folder = made.packages_of_the_user()
    made.marking(folder, "evil_start.py")
    (folder / "evil.pth").write_text("import evil_start\n")


@trap
def the_home_of_packages_is_another_one(made: Trap) -> None:
    folder = made.packages_of_the_user()
    made.marking(made.cwd / folder.relative_to(made.home / ".local"), "usercustomize.py")
    made.env["PYTHONUSERBASE"] = str(made.cwd)


@trap
def a_package_on_the_module_path_registers_a_subclass(made: Trap) -> None:
    made.hostile(made.modules, "evil_backend.py", base="Real")
    _entry_point(made, made.modules, "evil_backend")
    made.env["PYTHONPATH"] = str(made.modules)


@trap
def a_package_in_the_home_registers_a_backend(made: Trap) -> None:
    folder = made.packages_of_the_user()
    made.hostile(folder, "evil_backend.py")
    _entry_point(made, folder, "evil_backend")


@pytest.fixture
def made(tmp_path: Path, session: Session, request: pytest.FixtureRequest) -> Trap:
    set_up = Trap(tmp_path, session)
    TRAPS[request.param](set_up)
    return set_up


def test_there_are_enough_traps() -> None:
    assert len(TRAPS) >= 12


@pytest.mark.parametrize("made", TRAPS, indirect=True)
def test_this_trap_works_on_keyring_itself(made: Trap) -> None:
    path = os.pathsep.join(filter(None, ("", made.env.get("PYTHONPATH"), str(made.ours))))
    done = made.run("-c", CONTROL, env=made.env | {"PYTHONPATH": path})
    assert done.stdout != USUAL or made.mark.exists(), done


@pytest.mark.parametrize("made", TRAPS, indirect=True)
def test_this_trap_does_not_work_on_us(made: Trap, session: Session) -> None:
    value = f"{CANARY} {made.mark}"
    done = made.run("-I", "-c", OURS, str(made.ours), value, env=made.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert not made.mark.exists()
    assert looked_up(session, "trapped") == value


FOR_KEY_PRINT = [  # which is in a process that was started by somebody else, and looks where that one does
    "the-environment-names-a-class-of-its-own",
    "the-environment-chooses-the-collection",
    "the-environment-chooses-other-attributes",
    "a-keyring-lies-in-the-current-directory",
    "a-secretstorage-lies-in-the-current-directory",
    "a-keyring-lies-on-the-module-path",
    "a-package-on-the-module-path-registers-a-subclass",
]


@pytest.mark.parametrize("made", FOR_KEY_PRINT, indirect=True)
def test_this_trap_does_not_work_on_key_print(made: Trap, session: Session) -> None:
    with Vault(session.env, PATIENCE) as kept:
        kept.put("trapped", Secret(CANARY))
    path = os.pathsep.join(filter(None, ("", made.env.get("PYTHONPATH"), str(made.ours))))
    done = made.run("-c", OURS_AT_ONCE, env=made.env | {"PYTHONPATH": path})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{CANARY}\n", "")
    assert not made.mark.exists()


def test_a_collection_that_lives_in_memory_only_is_refused(tmp_path: Path) -> None:
    with keyring_session(tmp_path) as opened:
        opened.set_default("/org/freedesktop/secrets/collection/session")
        with Vault(opened.env, PATIENCE) as kept, pytest.raises(Problem, match="in memory only") as caught:
            kept.put("one", Secret(CANARY))
        assert caught.value.code == UNSUPPORTED
        assert looked_up(opened, "one") == ""


WITHOUT = vault._CHILD.replace("import sys;", "import sys; sys.modules['keyring'] = None;")


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "_CHILD", WITHOUT)
    with Vault({}) as kept, pytest.raises(Problem, match="the package “keyring” is not installed") as caught:
        kept.get("one")
    assert caught.value.code == UNSUPPORTED
    assert "README" in caught.value.todo


# ---- key print


PRINT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ccremedy.vault import print_secret
sys.exit(print_secret(sys.argv[2], os.environ, sys.stdout, timeout=float(sys.argv[3])))
"""


def printed(env: dict[str, str], id: str = "printed", timeout: float = PATIENCE) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PRINT, str(ROOT), id, str(timeout)]
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)


def test_it_prints_the_secret_and_a_line_end(session: Session) -> None:
    with Vault(session.env, PATIENCE) as kept:
        kept.put("printed", Secret(CANARY))
    done = printed(session.env)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{CANARY}\n".encode(), b"")


def one_sentence(done: subprocess.CompletedProcess[bytes]) -> str:
    assert done.stdout == b""
    assert leaks(done.stderr) == []
    text = done.stderr.decode()
    assert text.startswith("ccremedy: ")
    assert text.count("\n") == 1
    return text


def test_it_says_that_there_is_no_such_secret(session: Session) -> None:
    done = printed(session.env, "no such")
    assert "holds nothing of the name “no such”" in one_sentence(done)
    assert done.returncode == FAILED


def test_it_says_that_there_is_no_store() -> None:
    done = printed({})
    assert "is not there" in one_sentence(done)
    assert done.returncode == UNSUPPORTED


def test_it_says_that_the_store_does_not_answer(tmp_path: Path) -> None:
    with keyring_session(tmp_path) as opened:
        opened.freeze()
        start = time.monotonic()
        done = printed(opened.env, timeout=LIMIT)
        assert time.monotonic() - start < SOON
    assert "did not answer within 1 seconds" in one_sentence(done)
    assert done.returncode == UNSUPPORTED


def test_it_does_not_quote_what_cannot_be_printed(session: Session) -> None:
    with Vault(session.env, PATIENCE) as kept:
        kept.put("printed", Secret(f"{CANARY}é"))
    done = printed(session.env | {"PYTHONIOENCODING": "ascii"})
    assert "UnicodeEncodeError" in one_sentence(done)
    assert done.returncode == FAILED


def test_it_leaves_no_core_and_starts_no_child(session: Session, needs: Callable[[str], None], tmp_path: Path) -> None:
    needs("strace")
    trace = ["strace", "-f", "-qq", "-e", "trace=execve,clone3,clone,fork,vfork,prlimit64", "-e", "signal=none"]
    command = [*trace, "-o", str(tmp_path / "trace"), sys.executable, "-c", PRINT, str(ROOT), "printed", "30"]
    assert subprocess.run(command, env=session.env, capture_output=True, timeout=30).returncode == 0
    calls = (tmp_path / "trace").read_text().splitlines()
    assert [line for line in calls if "RLIMIT_CORE, {rlim_cur=0, rlim_max=0}" in line]
    assert len([line for line in calls if "execve" in line]) == 1
    assert not [line for line in calls if re.search(r"\b(clone3?|v?fork)\(", line) and "CLONE_THREAD" not in line]


IMPORTED = """
import sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "ours":
    import io, os
    from ccremedy.vault import print_secret
    assert print_secret("printed", os.environ, io.StringIO()) == 0
else:
    import keyring.backends.SecretService
print(" ".join(sys.modules))
"""


def test_it_imports_little_more_than_the_one_backend(session: Session) -> None:
    with Vault(session.env, PATIENCE) as kept:
        kept.put("printed", Secret(CANARY))
    command = [sys.executable, "-c", IMPORTED, str(ROOT)]
    ours, theirs = (
        set(subprocess.run([*command, which], env=session.env, capture_output=True, text=True).stdout.split())
        for which in ("ours", "theirs")
    )
    assert "keyring.backends.SecretService" in theirs
    assert "ccremedy.vault" in ours
    assert not {name for name in ours if name.startswith("keyring.backends.")} - theirs
    of_the_call = ("cryptography", "jeepney", "secretstorage")
    more = {name for name in ours - theirs if not name.startswith(of_the_call)}
    assert len(more) <= 12, sorted(more)


# ---- the owner-only folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_an_owner_only_file_is_open_to_nobody_else(folder: Path, mask: int) -> None:
    with Vault({}, owner_only=str(folder)) as kept:
        assert kept.name() == "an owner-only file"
        old = os.umask(mask)
        try:
            assert kept.get("one") is None
            assert not folder.exists()
            kept.put("one", Secret("first"))
            kept.put("one", Secret(CANARY))
        finally:
            os.umask(old)
        assert kept.get("one") == Secret(CANARY)
        (path,) = folder.iterdir()
        assert [oct(each.stat().st_mode & 0o7777) for each in (folder, path)] == ["0o700", "0o600"]
        kept.drop("one")
        kept.drop("one")
        assert kept.get("one") is None
        assert list(folder.iterdir()) == []


def test_an_owner_only_file_is_printed_too(folder: Path) -> None:
    Vault({}, owner_only=str(folder)).put("one", Secret(CANARY))
    out = io.StringIO()
    assert print_secret("one", {}, out, owner_only=str(folder)) == 0
    assert out.getvalue() == f"{CANARY}\n"


def _open_to_the_group(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o750)


def _a_link(folder: Path) -> None:
    folder.parent.mkdir()
    (folder.parent / "real").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "real")


def _a_file(folder: Path) -> None:
    folder.parent.mkdir()
    folder.touch(0o600)


def _of_somebody_else(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to act as two users")
    folder.mkdir(parents=True, mode=0o700)
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        pytest.param(_open_to_the_group, "is open to other users", id="open-to-the-group"),
        pytest.param(_a_link, "is not a directory itself", id="a-link"),
        pytest.param(_a_file, "is not a directory itself", id="a-file"),
        pytest.param(_of_somebody_else, "belongs to another user", id="of-somebody-else"),
    ],
)
def test_a_folder_that_is_not_ours_alone_is_refused(folder: Path, prepare: Callable[[Path], None], why: str) -> None:
    prepare(folder)
    kept = Vault({}, owner_only=str(folder))
    calls: list[Callable[[], object]] = [
        lambda: kept.put("one", Secret(CANARY)),
        lambda: kept.get("one"),
        lambda: kept.drop("one"),
    ]
    for call in calls:
        with pytest.raises(Problem, match=why) as caught:
            call()
        assert (caught.value.code, caught.value.where) == (UNSUPPORTED, str(folder))
    assert leaks(b"".join(path.read_bytes() for path in folder.parent.rglob("*") if path.is_file())) == []


def test_a_damaged_owner_only_file_is_not_taken_for_a_secret(folder: Path) -> None:
    kept = Vault({}, owner_only=str(folder))
    kept.put("one", Secret(CANARY))
    (path,) = folder.iterdir()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Problem, match="is damaged"):
        kept.get("one")


def test_whatever_fails_while_it_is_written_the_old_or_the_new_secret_is_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Vault({}, owner_only=str(folder))
    points, landed, bad = 0, 0, []
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        kept.put("one", Secret("old"))
        failer = sweep.Failer(at=points + 1)
        try:
            with sweep.seam(failer):
                kept.put("one", Secret(CANARY))
        except Problem:
            pass
        except OSError as error:
            bad.append(f"call {failer.names[-1]}: {error!r}")
        if not failer.landed:
            break
        points, landed = points + 1, landed + 1
        if kept.get("one") not in (Secret("old"), Secret(CANARY)):
            bad.append(f"call {failer.names[-1]}: neither")
        bad += [f"{path} is {path.stat().st_mode:o}" for path in folder.iterdir() if path.stat().st_mode & 0o077]
    with capsys.disabled():
        print(f"\nowner-only-file points={points} landed={landed} bad={len(bad)}", end=" ")
    assert points >= 8
    assert not bad


# ---- fingerprints


def test_a_fingerprint_says_whether_two_secrets_are_one() -> None:
    assert fingerprint(Secret(CANARY), "salt") == fingerprint(CANARY, "salt") == "d2c154e11cfcb3e8f31f"
    assert fingerprint(CANARY, "other salt") != fingerprint(CANARY, "salt")
    assert fingerprint("caf\udce9", "") != fingerprint("café", "")
