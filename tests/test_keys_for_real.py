"""A key in a start-up file, a real GNOME Keyring, the real Claude Code: the key goes, and comes back as it was.

Everything goes through the command line, as whoever has the key would do it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sweep
from canary import CANARY, Person, leaks, scan
from real import fetch
from real.keyring_session import Session, bus_session, keyring_session
from real.proxies import ANSWER, Api, api
from sweep import Tally

from ccremedy import editors, files, registry, seals
from ccremedy.cli import main
from ccremedy.journal import Journal, Run, Step
from ccremedy.testing import Case, snapshot
from ccremedy.vault import SERVICE, Vault

pytestmark = pytest.mark.cell("key-storage", "linux", "real")

QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",
}
BASHRC = f"# mine, café\r\nexport ANTHROPIC_API_KEY={CANARY}\nalias ll='ls -l'"
LIMIT = 10  # seconds that one call of the store is given


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with keyring_session(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def person(session: Session, tmp_path: Path) -> Person:
    """With a key in .bashrc, which is closed to others and was last written long ago."""
    made = Person.make(tmp_path, session.env)
    bashrc(made, BASHRC)
    return made


def bashrc(person: Person, text: str) -> Path:
    path = person.home / ".bashrc"
    path.write_bytes(text.encode())
    path.chmod(0o640)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def stored(session: Session) -> str:
    """All that the secret store holds for us, and its secrets."""
    done = session.run("secret-tool", "search", "--all", "service", SERVICE)
    return done.stdout + done.stderr


def files_of(person: Person) -> dict[str, Any]:
    """The home, but for the keyring's own files and what Claude Code writes about itself, with times."""
    found = snapshot(str(person.home))
    ours = {name: entry for name, entry in found.items() if not name.startswith((".local", ".cache"))}
    return {name: (*entry, os.lstat(person.home / name).st_mtime_ns if entry[5] else 0) for name, entry in ours.items()}


def changed(person: Person) -> dict[str, Any]:
    """The same without times: for a file that was edited and edited back."""
    return {name: entry[:-1] for name, entry in files_of(person).items()}


# ---- the whole way, with the real Claude Code


@pytest.fixture(scope="module")
def claude(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the real program."""
    folder = fetch.unpack_claude(tmp_path_factory.mktemp("claude"))
    yield folder
    shutil.rmtree(folder)


def asked(person: Person, api: Api, shell: str, claude: Path) -> dict[str, str]:
    """The headers with which `claude -p`, typed in a new shell of this kind, comes to the API."""
    api.log.clear()
    env = person.env | QUIET | {"ANTHROPIC_BASE_URL": api.url(), "PATH": f"{claude}:{person.env['PATH']}"}
    del env["PYTHONPATH"]
    command = ["bash", shell, "timeout 60 claude -p hello </dev/null"]
    done = subprocess.run(command, env=env, cwd=person.home, capture_output=True, text=True, start_new_session=True)
    assert ANSWER in done.stdout, done
    (request,) = [each for each in api.log if each.method == "POST" and each.path.startswith("/v1/messages?")]
    return {name: value for name, value in request.headers.items() if leaks(value.encode())}


def test_a_key_is_moved_used_and_put_back(person: Person, session: Session, claude: Path, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with api(tmp_path / "api", secure=False) as stub:
        empty, before = stored(session), files_of(person)
        assert asked(person, stub, "-ic", claude) == {"x-api-key": CANARY}
        for path in person.home.glob(".claude*"):  # it has made a folder for itself
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert files_of(person) == before

        done = person("apply", "key-storage", "--yes", ANTHROPIC_API_KEY=CANARY)
        assert done.returncode == 0, done
        assert scan(tmp_path) == {}
        assert f"secret = {CANARY}" in stored(session)

        given = asked(person, stub, "-ic", claude)
        assert given == {"x-api-key": CANARY, "authorization": f"Bearer {CANARY}"}
        assert scan(tmp_path) == {}

    for path in person.home.glob(".claude*"):
        if path.name == ".claude":  # what the real one has written there since
            for each in path.iterdir():
                if each.name != "settings.json":
                    shutil.rmtree(each) if each.is_dir() else each.unlink()
        else:
            path.unlink()
    done = person("undo", "--yes")
    assert done.returncode == 0, done
    after = files_of(person)
    assert {name: entry[:-1] for name, entry in after.items()} == {name: each[:-1] for name, each in before.items()}
    assert stored(session) == empty


def test_what_is_not_edited_keeps_its_time(person: Person) -> None:
    (person.home / ".profile").write_text("# nothing of interest\n")
    (person.home / ".zshrc").write_text("# nor here\n")
    before = files_of(person)
    assert person("apply", "key-storage", "--yes").returncode == 0
    assert person("undo", "--yes").returncode == 0
    after = files_of(person)
    assert {name for name in before if after[name] != before[name]} <= {".bashrc"}
    assert {name: entry[:-1] for name, entry in after.items()} == {name: each[:-1] for name, each in before.items()}


# ---- S7: a hundred times there and back


def spellings(rng: random.Random) -> str:
    """A start-up file with a key in it, each time another one in another place and another quoting."""
    key = "sk-ant-" + "".join(rng.choice("abcXYZ019_-+/=%:.,@") for _ in range(rng.randrange(20, 120))) + "-AA"
    quote = rng.choice(("", "'", '"'))
    lead = rng.choice(("export ", "", "declare -x ", "  export ", "typeset -gx "))
    end = rng.choice(("", " # work", ";", "; export ANTHROPIC_API_KEY", "  "))
    line = f"{lead}ANTHROPIC_API_KEY={quote}{key}{quote}{end}"
    around = rng.choice(
        ("{}", "# mine\n{}\nalias ll='ls -l'\n", "if true; then\n{}\nfi\n", "a=1\r\n{}\r\n", "{}\n{}\n")
    )
    return around.replace("{}", line)


@pytest.fixture
def in_process(person: Person, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process becomes the person's, with nothing known of any secret, and what it starts ends with the test."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in person.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(person.home)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nobody cuts the power here
    monkeypatch.setattr(seals, "_seen", {})
    stores: dict[str, Vault] = {}
    monkeypatch.setattr(seals, "_stores", stores)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for store in stores.values():
        store.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def cycles(person: Person, count: int) -> Tally:
    """Apply and undo, most in this process to spare the start of Python: all that it knows is forgotten in between."""
    rng, tally = random.Random(7), Tally()
    settings, helper = person.home / ".claude" / "settings.json", b""
    for turn in range(count):
        text = spellings(rng)
        path = bashrc(person, text)
        if turn % 5:  # with the helper from before, which is then not proven again
            settings.parent.mkdir(exist_ok=True)
            settings.write_bytes(helper)
        tally.points += 1
        for words in (["apply", "key-storage", "--yes"], ["undo", "--yes"]):
            seals._seen.clear()
            code = person(*words).returncode if turn % 25 == 0 else main(words)
            if code:
                tally.bad.append(f"{text!r}: {words[0]} says {code}")
            if words[0] == "apply":
                tally.landed += b"sk-ant" not in path.read_bytes()
                helper = settings.read_bytes() if settings.exists() else helper
        if path.read_bytes() != text.encode() or path.stat().st_mode & 0o7777 != 0o640:
            tally.bad.append(f"{text!r} came back as {path.read_bytes()!r}, {path.stat().st_mode:o}")
        if (settings.read_bytes() if settings.exists() else b"") != (helper if turn % 5 else b""):
            tally.bad.append(f"turn {turn}: the settings are not as before")
        settings.unlink(missing_ok=True)
    return tally


@pytest.mark.usefixtures("in_process")
def test_a_hundred_times_there_and_back(person: Person, session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    empty = stored(session)
    tally = cycles(person, 100)
    capsys.readouterr()
    with capsys.disabled():
        print(f"\n{tally.line('keyring-cycles')}", end=" ")
    if session.has_died():  # seen once, for a reason not known; with its store gone there is nothing to compare
        pytest.skip(f"needs a gnome-keyring-daemon that lives on; this one has ended, after: {tally}")
    assert stored(session) == empty
    assert not tally.bad, tally.bad[:5]
    assert tally.landed == tally.points == 100


def _lose_the_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    real = editors.put_assignments
    monkeypatch.setattr(editors, "put_assignments", lambda *given: real(*given).replace(b"\r\n", b"\n"))


def _close_what_was_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(path: str, *rest: Any) -> None:
        real(path, *rest)
        if os.path.exists(path):
            os.chmod(path, 0o600)

    real = files.replace
    monkeypatch.setattr(files, "replace", replace)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("mistake", [_lose_the_line_ends, _close_what_was_open])
def test_the_cycles_catch(mistake: Callable[..., None], person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    assert cycles(person, 20).bad


# ---- killed, and recovered by a process that has never seen the key


def kills(act: str, step: int, plant: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Tally:
    """A kill at each `step`-th call of apply or undo: then the key must be in its file or in the store, not in both."""
    there = {"~/.bashrc": BASHRC, "~/.claude/settings.json": '{"model": "opus"}'}
    case = Case("real", registry.remedy("key-storage"), {"platform": "linux", "files": there})
    monkeypatch.setattr(sweep, "cases", lambda: {"real": case})
    tally = Tally()

    def planted() -> None:
        seals._stores.clear()  # a conversation cannot be shared
        plant()

    with sweep.scratch_folder("real") as top:
        scene = sweep.Scene.make("real", sweep.FRESH, act, f"{top}/machine")
        ((name, secret),) = known = list(seals._seen.items())
        for at, after in sweep.kills(scene, step):
            tally.points += 1
            scene.reset()
            store = seals.store(seals.OS_STORE)
            store.put(name, secret) if act == sweep.UNDO else store.drop(name)
            tally.landed += sweep.in_child(partial(sweep._killed, scene, at, after), planted) == signal.SIGKILL
            seals._seen.clear()
            scene.rig.recover()
            where = f"{scene}: killed {'after' if after else 'before'} call {at} ({scene.calls[at - 1]})"
            if why := scene.wrong():
                tally.bad.append(f"{where}: {why}")
            in_file = bool(scan(Path(scene.rig.machine.home)))
            if in_file == (store.get(name) is not None):
                tally.bad.append(f"{where}: the key is {'in both' if in_file else 'lost'}")
            seals._seen.update(known)
        store.drop(name)
    return tally


@pytest.mark.usefixtures("in_process")
def test_killed_at_any_call_the_key_is_in_its_file_or_in_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally()
    for act in (sweep.APPLY, sweep.UNDO):
        tally.add(kills(act, 11, lambda: None, monkeypatch))
    with capsys.disabled():
        print(f"\n{tally.line('keyring-kill')}", end=" ")
    assert not tally.bad, tally.bad[:5]
    assert tally.landed == tally.points >= 40


def _forget_what_is_being_done() -> None:
    def doing(journal: Journal, run: Run, step: Step, index: int) -> None:
        step.begun = index + 1

    Journal.doing = doing  # type: ignore[method-assign,assignment]


@pytest.mark.usefixtures("in_process")
def test_the_kills_catch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kills(sweep.APPLY, 17, _forget_what_is_being_done, monkeypatch).bad


# ---- no store, or none that answers


def refuses(person: Person, *words: str, says: str, within: float = 60.0) -> None:
    """It ends with 6 and these words, and has changed nothing: neither the home nor the state folder."""
    before = snapshot(str(person.home)), scan(person.home), person.state.exists()
    start = time.monotonic()
    done = person(*words)
    assert time.monotonic() - start < within
    assert done.returncode == 6, done
    assert says in done.stdout + done.stderr, done
    assert "\u2039secret" not in done.stdout + done.stderr, "that is no word for people"
    assert not leaks((done.stdout + done.stderr).encode())
    assert (snapshot(str(person.home)), scan(person.home), person.state.exists()) == before


@pytest.fixture
def headless(tmp_path: Path) -> Person:
    made = Person.make(tmp_path, {})
    bashrc(made, BASHRC)
    return made


def test_without_a_store_nothing_is_changed_and_it_says_how_to_get_one(headless: Person) -> None:
    refuses(headless, "apply", "key-storage", "--yes", says="gnome-keyring-daemon --unlock")


def test_on_a_bus_without_a_keyring_nothing_is_changed(tmp_path: Path) -> None:
    with bus_session(tmp_path / "home", services=False) as env:
        person = Person.make(tmp_path, env)
        bashrc(person, BASHRC)
        refuses(person, "apply", "key-storage", "--yes", says="install gnome-keyring")


def test_an_owner_only_file_needs_its_own_yes(headless: Person) -> None:
    before = snapshot(str(headless.home))
    words = ("apply", "key-storage", "--owner-only-file", "--yes")
    done = headless(*words)
    assert done.returncode == 5, done
    assert "--max-risk high" in done.stderr
    assert snapshot(str(headless.home)) == before

    done = headless(*words, "--max-risk", "high")
    assert done.returncode == 0, done
    (place,) = scan(headless.home, headless.state)
    assert Path(place).parent == headless.state / "keys"
    assert headless("key", "print").stdout == f"{CANARY}\n"
    assert headless("undo", "--yes").returncode == 0
    assert snapshot(str(headless.home)) == before
    assert scan(headless.state) == {}


def test_a_store_that_never_answers_is_given_its_time_and_no_more(person: Person, session: Session) -> None:
    """Once, that is, however long a busy machine takes for the rest."""
    session.freeze()
    refuses(person, "apply", "key-storage", "--yes", says="did not answer within 10 seconds", within=2 * LIMIT)


def test_a_store_that_dies_after_the_plan_changes_nothing(person: Person, session: Session, tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    assert person("plan", "key-storage", "-o", plan).returncode == 0
    os.kill(session.daemon, signal.SIGKILL)
    before = snapshot(str(person.home))
    done = person("apply", "--plan", plan, "--yes")
    assert done.returncode == 6, done
    assert "gnome-keyring-daemon --unlock" in done.stdout + done.stderr
    assert snapshot(str(person.home)) == before
    assert scan(person.state) == {}


def test_an_undo_that_finds_no_store_leaves_everything_and_works_later(person: Person, session: Session) -> None:
    assert person("apply", "key-storage", "--yes").returncode == 0
    before = snapshot(str(person.home))
    away = person("undo", "--yes", DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
    assert away.returncode == 6, away
    assert "the secret store" in away.stderr
    assert snapshot(str(person.home)) == before
    assert person("undo", "--yes").returncode == 0
    assert (person.home / ".bashrc").read_bytes() == BASHRC.encode()


# ---- what Claude Code waits for each time

IMPORTS = "import sys, keyring.backends.SecretService; print(' '.join(sys.modules))"
OF_THE_CALL = ("cryptography", "jeepney", "secretstorage")  # what the backend itself brings when it is asked


def test_key_print_imports_little_more_than_the_one_backend(person: Person) -> None:
    assert person("key", "set", "--yes", stdin=CANARY).returncode == 0
    theirs = subprocess.run([sys.executable, "-c", IMPORTS], env=person.env, capture_output=True, text=True)
    command = [sys.executable, "-X", "importtime", "-m", "ccremedy", "key", "print"]
    ours = subprocess.run(command, env=person.env, capture_output=True, text=True)
    assert ours.stdout == f"{CANARY}\n"
    imported = {line.rpartition("|")[2].strip() for line in ours.stderr.splitlines() if line.startswith("import time")}
    more = {each for each in imported - set(theirs.stdout.split()) if not each.startswith(OF_THE_CALL)}
    assert "ccremedy.vault" in more
    assert len(more) <= 48, sorted(more)


def test_the_helper_works_from_an_environment_with_nothing_but_the_session(person: Person) -> None:
    """Claude Code runs it by the system's shell, from any folder, without a terminal."""
    assert person("apply", "key-storage", "--yes").returncode == 0
    helper = json.loads((person.home / ".claude" / "settings.json").read_text())["apiKeyHelper"]
    env = {name: value for name, value in person.env.items() if name not in ("PYTHONPATH", "PATH", "TMPDIR")}
    done = subprocess.run(["/bin/sh", "-c", helper], env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{CANARY}\n".encode(), b"")
