"""proxy-ca between real proxies, a real node and the real Claude Code: they fail, are mended, and fail as before.

mitmdump reads TLS, with and without sending its root; squid wants a password. All is in a network of its own, where the
API's stand-in is on loopback at its real port; only a proxy finds it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import string
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from canary import Person, leaks, scan
from real import fetch
from real.proxies import ANSWER, Api, Running, api, loopback_only, mitmdump, squid

from ccremedy import registry
from ccremedy.finding import Finding, Healthy, Remedy, want
from ccremedy.machine import Machine
from ccremedy.resources.texts import Line, Setting
from ccremedy.testing import Case, Rig, cases, no_shells, snapshot

pytestmark = pytest.mark.cell("proxy-ca", "linux", "real")

KEPT, SENT = "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN"  # node's words for the two kinds
QUIET = {
    "ANTHROPIC_API_KEY": "dummy",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",
}
GATEWAY = "https://claude.ai"  # for the API itself, Claude Code first spends 18 seconds on what is not asked for here
ASK = """
const url = process.env.ANTHROPIC_BASE_URL ?? 'https://api.anthropic.com';
fetch(url + '/api/hello').then(answer => answer.status, error => error.cause?.code ?? error.name).then(console.log);
"""
LOGIN = ("corp\\user@x", f"aZ9 {string.punctuation}")  # a blank, and everything that is neither letter nor digit


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    with loopback_only():
        yield


@pytest.fixture(scope="module")
def stub(network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), port=443) as made:
        yield made


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs with a node in it, the first that can go through a proxy by itself."""
    (program,) = fetch.needed("node", "22.23.3")
    folder = tmp_path_factory.mktemp("node")
    (folder / "node").symlink_to(program)
    return folder


@pytest.fixture(scope="module")
def claude(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of programs with the real one in it."""
    folder = fetch.unpack_claude(tmp_path_factory.mktemp("claude"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def person(node: Path) -> Iterator[Person]:
    """Their home is not below /tmp: an authority there is refused."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ccremedy-") as top:
        made = Person.make(Path(top), {"PATH": f"{node}:/usr/bin:/bin"})
        (made.home / ".bashrc").write_text("# mine\n")
        yield made


@pytest.fixture(scope="module")
def reading(stub: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A proxy that reads TLS, and keeps its root to itself."""
    with mitmdump(tmp_path_factory.mktemp("reading"), stub) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def presenting(stub: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same, and it sends its root."""
    with mitmdump(tmp_path_factory.mktemp("presenting"), stub, sends_root=True) as proxy:
        yield proxy


def authority(person: Person, proxy: Running, name: str = "corp.pem") -> str:
    """The file that IT hands out."""
    assert proxy.ca is not None
    return str(shutil.copy(proxy.ca, person.home / name))


def settings(person: Person) -> dict[str, str]:
    path = person.home / ".claude" / "settings.json"
    return dict(json.loads(path.read_text())["env"]) if path.exists() else {}


def node_says(person: Person, **more: str) -> str:
    """What a session's node is answered: a status, or its error code."""
    env = person.env | settings(person) | {"NODE_USE_ENV_PROXY": "1", "NODE_NO_WARNINGS": "1"} | more
    done = subprocess.run(["node", "-e", ASK], env=env, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


def claude_says(person: Person, claude: Path, copy: Path) -> str:
    """What `claude -p` prints, in a copy of the home: it leaves files of its own."""
    shutil.copytree(person.home, copy)
    env = person.env | QUIET | {"HOME": str(copy)}
    command = [str(claude / "claude"), "-p", "hello"]
    done = subprocess.run(
        command,
        env=env,
        cwd=copy,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )
    return done.stdout.decode()


def finding(person: Person, *words: str, **more: str) -> dict[str, Any]:
    """The one finding."""
    done = person("diagnose", "proxy-ca", *words, "--json", **more)
    assert done.returncode == 1, done
    (found,) = json.loads(done.stdout)["findings"]
    return dict(found)


def applied(person: Person, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = person("apply", "proxy-ca", "--yes", *words, **more)
    assert done.returncode == 0, done
    return done


def changes_nothing_more(person: Person, *words: str, **more: str) -> None:
    before = snapshot(str(person.home)), times(person)
    done = applied(person, *words, "--verbose", **more)
    assert "nothing to do" in done.stdout
    assert (snapshot(str(person.home)), times(person)) == before


def times(person: Person) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in person.home.rglob("*")}


# ---- the whole way


def test_a_proxy_that_keeps_its_root_to_itself(
    person: Person, claude: Path, stub: Api, reading: Running, tmp_path: Path
) -> None:
    person.env.update({"HTTPS_PROXY": reading.url, "ANTHROPIC_BASE_URL": GATEWAY})
    pem = authority(person, reading)
    before = snapshot(str(person.home))
    assert node_says(person) == KEPT
    assert KEPT in claude_says(person, claude, tmp_path / "before")

    found = finding(person)
    assert found["id"] == "way"
    assert any("is not trusted" in line for line in found["evidence"])
    assert any("mitmproxy" in line for line in found["evidence"]), "nobody knows whose certificate it is"
    captured = person("apply", "proxy-ca", "--capture", "--max-risk", "high", "--yes")
    assert captured.returncode == 6, captured
    assert "whoever runs your network" in captured.stdout
    assert "trust that: --capture" not in captured.stdout, "that is what was just tried"
    assert snapshot(str(person.home)) == before

    stub.log.clear()
    words = ("--proxy", reading.url, "--ca", pem)
    applied(person, *words, PATH=f"{claude}:{person.env['PATH']}")
    assert "/v1/messages" in {each.path.partition("?")[0] for each in stub.log}, "the real Claude Code was not asked"
    assert settings(person) == {"HTTPS_PROXY": reading.url, "NODE_EXTRA_CA_CERTS": pem}
    assert node_says(person) == "200"
    assert ANSWER in claude_says(person, claude, tmp_path / "after")
    changes_nothing_more(person, *words)

    assert person("undo", "--yes").returncode == 0
    assert snapshot(str(person.home)) == before
    assert node_says(person) == KEPT
    assert KEPT in claude_says(person, claude, tmp_path / "undone")


def test_a_proxy_that_sends_its_root(
    person: Person, claude: Path, stub: Api, presenting: Running, tmp_path: Path
) -> None:
    person.env.update({"HTTPS_PROXY": presenting.url, "ANTHROPIC_BASE_URL": GATEWAY})
    before = snapshot(str(person.home))
    assert node_says(person) == SENT
    assert SENT in claude_says(person, claude, tmp_path / "before")
    assert presenting.ca is not None
    digits = hashlib.sha256(ssl.PEM_cert_to_DER_cert(presenting.ca.read_text())).hexdigest().upper()
    fingerprint = ":".join(re.findall("..", digits))

    shown = "\n".join(finding(person)["evidence"])
    assert "is not trusted" in shown
    assert "Proxy that sends its root" in shown
    assert fingerprint in shown
    unasked = person("apply", "proxy-ca", "--capture", "--yes")
    assert unasked.returncode == 5, "to trust what one has just met needs its own yes"
    assert fingerprint in unasked.stdout
    assert snapshot(str(person.home)) == before

    words = ("--capture", "--max-risk", "high")
    applied(person, *words, PATH=f"{claude}:{person.env['PATH']}")
    own = Path(settings(person)["NODE_EXTRA_CA_CERTS"])
    assert own.is_relative_to(person.home)
    assert own.stat().st_mode & 0o777 == 0o600
    assert ssl.PEM_cert_to_DER_cert(own.read_text()) == ssl.PEM_cert_to_DER_cert(presenting.ca.read_text())
    assert node_says(person) == "200"
    assert ANSWER in claude_says(person, claude, tmp_path / "after")
    changes_nothing_more(person, *words)

    assert person("undo", "--yes").returncode == 0
    assert snapshot(str(person.home)) == before
    assert node_says(person) == SENT
    assert SENT in claude_says(person, claude, tmp_path / "undone")


def test_a_proxy_that_wants_a_password(
    person: Person, claude: Path, stub: Api, tmp_path: Path, needs: Callable[[str], None]
) -> None:
    """It stands in the settings, with its own yes, and nowhere else."""
    needs("strace")
    person.env["PATH"] = f"{claude}:{person.env['PATH']}"
    assert stub.ca is not None
    with squid(LOGIN) as proxy:
        pem = authority(person, Running(proxy.url, stub.ca))
        before = snapshot(str(person.home))
        bare = f"http://{proxy.url.rpartition('@')[2]}"
        assert node_says(person) == "EAI_AGAIN", "there is a way out of here without a proxy"
        assert any("(Basic)" in line for line in finding(person, HTTPS_PROXY=bare)["evidence"])

        words = ("--proxy", proxy.url, "--ca", pem)
        plan = person("plan", "proxy-ca", *words, "-o", str(tmp_path / "plan.json"))
        assert plan.returncode == 2, plan
        assert not (tmp_path / "plan.json").exists()
        refused = person("apply", "proxy-ca", *words, "--yes")
        assert refused.returncode == 5, refused
        dry = person("apply", "proxy-ca", *words, "--dry-run")
        assert dry.returncode == 0, dry
        assert snapshot(str(person.home)) == before
        assert not scan(person.state, secrets=LOGIN[1:])

        trace = tmp_path / "trace"
        strace = ["strace", "-f", "-qq", "-s", "100000", "-e", "trace=execve", "-e", "signal=none", "-o", str(trace)]
        done = person("apply", "proxy-ca", *words, "--max-risk", "high", "--yes", "--verbose", before=strace)
        assert done.returncode == 0, done
        ours, *others = [line for line in trace.read_text().splitlines() if line.endswith("= 0")]
        assert proxy.url in ours, "the trace does not show what is on a command line"
        assert {"node", "claude"} <= {line.split('"')[1].rpartition("/")[2] for line in others}
        seen = [plan, refused, dry, done, person("history", "--json"), person("diagnose", "proxy-ca", "--verbose")]
        texts = ["\n".join(others), *(each.stdout + each.stderr for each in seen)]
        assert [leaks(text.encode(), LOGIN[1]) for text in texts] == [[]] * len(texts)
        place = person.home / ".claude" / "settings.json"
        assert list(scan(person.home.parent, secrets=LOGIN[1:])) == [str(place)]
        assert place.stat().st_mode & 0o777 == 0o600
        assert settings(person)["HTTPS_PROXY"] == proxy.url
        assert node_says(person) == "200"
        assert ANSWER in claude_says(person, claude, tmp_path / "after")
        changes_nothing_more(person, *words, "--max-risk", "high")

        undone = person("undo", "--yes")
        assert undone.returncode == 0, undone
        assert not leaks((undone.stdout + undone.stderr).encode(), LOGIN[1])
        assert snapshot(str(person.home)) == before
        assert scan(person.home.parent, secrets=LOGIN[1:]) == {}
        assert node_says(person) == "EAI_AGAIN"


def test_what_npm_knows_is_enough(person: Person, reading: Running) -> None:
    """Without a single option."""
    pem = authority(person, reading)
    (person.home / ".npmrc").write_text(f"proxy={reading.url}\ncafile={pem}\n")
    before = snapshot(str(person.home))
    assert node_says(person) == "EAI_AGAIN"
    applied(person)
    assert settings(person) == {"HTTPS_PROXY": reading.url, "NODE_EXTRA_CA_CERTS": pem}
    assert node_says(person) == "200"
    changes_nothing_more(person)
    assert person("undo", "--yes").returncode == 0
    assert snapshot(str(person.home)) == before


# ---- other places than Claude Code's settings

STARTS = ("bash -lc", "bash -ic", "zsh -lc", "zsh -ic", "fish -lc", "fish -c")
ODD = 'it\'s $HOME, “50%” `id` \\n "x" !! café.pem'


def test_new_shells_export_exactly_what_was_given(
    person: Person, reading: Running, needs: Callable[[str], None]
) -> None:
    needs("zsh")
    needs("fish")
    pem, exceptions = authority(person, reading, ODD), "localhost,.corp,[::1]:8080"
    before = snapshot(str(person.home))
    words = ("--proxy", reading.url, "--ca", pem, "--no-proxy", exceptions, "--profile")
    applied(person, *words)
    assert not (person.home / ".claude").exists()
    told = {start: told_by(person, start) for start in STARTS}
    wanted = {"HTTPS_PROXY": reading.url, "NODE_EXTRA_CA_CERTS": pem, "NO_PROXY": exceptions}
    assert told == dict.fromkeys(STARTS, wanted)
    assert node_says(person, **told["zsh -lc"]) == "200"
    changes_nothing_more(person, *words)
    assert person("undo", "--yes").returncode == 0
    assert snapshot(str(person.home)) == before
    assert told_by(person, "bash -ic") == {}


def told_by(person: Person, start: str) -> dict[str, str]:
    """The variables in question, as a new shell hands them on. fish writes into its home: it is given a copy's."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(person.home, copy, dirs_exist_ok=True)
        env = {"HOME": copy, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
        command = [*start.split(), "env -0"]
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True)
        pairs = (os.fsdecode(each).partition("=") for each in done.stdout.split(b"\0"))
        names = ("HTTPS_PROXY", "NODE_EXTRA_CA_CERTS", "NO_PROXY")
        return {name: value for name, _, value in pairs if name in names}


def test_a_password_is_not_for_start_up_files(person: Person, reading: Running) -> None:
    url = reading.url.replace("://", "://user:S3cret-word@")
    before = snapshot(str(person.home))
    words = ("--proxy", url, "--ca", authority(person, reading), "--profile", "--max-risk", "high", "--yes")
    done = person("apply", "proxy-ca", *words)
    assert done.returncode == 6, done
    assert "password" in done.stdout + done.stderr
    assert not leaks((done.stdout + done.stderr).encode(), "S3cret-word")
    (person.home / "corp.pem").unlink()
    assert snapshot(str(person.home)) == before


def test_the_terminal_of_vs_code(person: Person, reading: Running) -> None:
    place = person.home / ".config" / "Code" / "User" / "settings.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(b'{\r\n\t// mine\r\n\t"editor.fontSize": 12, /* a comma more */\r\n}')
    pem = authority(person, reading)
    before = snapshot(str(person.home))
    words = ("--proxy", reading.url, "--ca", pem, "--vscode")
    applied(person, *words)
    text = place.read_bytes().decode()
    assert text.startswith('{\r\n\t// mine\r\n\t"editor.fontSize": 12, /* a comma more */')
    given = json.loads(re.search(r'"terminal\.integrated\.env\.linux": (\{[^}]*\})', text)[1])  # type: ignore[index]
    assert given == {"HTTPS_PROXY": reading.url, "NODE_EXTRA_CA_CERTS": pem}
    assert node_says(person, **given) == "200"
    changes_nothing_more(person, *words)
    assert person("undo", "--yes").returncode == 0
    assert snapshot(str(person.home)) == before


# ---- what does not work is not left behind


def leaves_nothing(person: Person, *words: str, code: int, says: str, **more: str) -> None:
    before = snapshot(str(person.home)), times(person)
    done = person("apply", "proxy-ca", *words, "--yes", "--max-risk", "high", **more)
    assert done.returncode == code, done
    assert says in done.stdout + done.stderr, done
    assert (snapshot(str(person.home)), times(person)) == before
    history = person("history", "--json")
    assert [each["changes"] for each in json.loads(history.stdout)["runs"] if each["changes"]] == []


def test_the_wrong_authority(person: Person, reading: Running) -> None:
    other = person.home / "other.pem"
    trustme.CA(organization_name="Another company").cert_pem.write_to_path(str(other))
    leaves_nothing(person, "--proxy", reading.url, "--ca", str(other), code=6, says="is not trusted")


def test_a_proxy_that_lets_nobody_through(person: Person, reading: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_refuse, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        leaves_nothing(person, "--proxy", url, "--ca", authority(person, reading), code=6, says="(403)")


def _refuse(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


WRAPPER = '#!/bin/sh\nunset NODE_EXTRA_CA_CERTS\nexec {} "$@"\n'


def test_an_authority_that_python_takes_and_node_does_not(
    person: Person, node: Path, reading: Running, tmp_path: Path
) -> None:
    """As where node has file capabilities: then it does not look at the variable."""
    program(tmp_path / "bin" / "node", WRAPPER.format(node / "node"))
    words = ("--proxy", reading.url, "--ca", authority(person, reading))
    leaves_nothing(person, *words, code=1, says=KEPT, PATH=f"{tmp_path}/bin:{person.env['PATH']}")


def test_an_authority_that_node_takes_and_claude_code_does_not(
    person: Person, reading: Running, tmp_path: Path
) -> None:
    """One that says what the real one says."""
    said = f"API Error: Unable to connect to API: Self-signed certificate detected ({SENT}). The certificate comes from"
    program(tmp_path / "bin" / "claude", f"#!/bin/sh\necho '{said}'\nexit 1\n")
    words = ("--proxy", reading.url, "--ca", authority(person, reading))
    leaves_nothing(person, *words, code=1, says=SENT, PATH=f"{tmp_path}/bin:{person.env['PATH']}")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)


def test_settings_that_win_over_what_would_be_written(person: Person, reading: Running) -> None:
    """A project's settings beat the user's: what is written below them reaches nobody."""
    project = person.home / "project"
    (project / ".claude").mkdir(parents=True)
    (project / ".claude" / "settings.json").write_text('{"env": {"HTTPS_PROXY": "http://127.0.0.1:9"}}')
    before = snapshot(str(person.home))
    words = ("--proxy", reading.url, "--ca", authority(person, reading), "--yes")
    here = Person(project, person.env, person.source)  # who stands in it
    done = here("apply", "proxy-ca", *words)
    assert done.returncode in (1, 6), done
    assert str(project / ".claude" / "settings.json") in done.stdout + done.stderr
    (person.home / "corp.pem").unlink()
    assert snapshot(str(person.home)) == before


# ---- S11: the checks stay on

WEAK = re.compile(
    r"NODE_TLS_REJECT_UNAUTHORIZED\W+0|(?:strict[-_]ssl|sslverify|proxyStrictSSL|rejectUnauthorized)\W+(?:false|0|no|off)"
    r"|PYTHONHTTPSVERIFY\W+0|GIT_SSL_NO_VERIFY\W+(?:1|true|yes|on)|(?<!\w)(?:--insecure|--no-check-certificate)",
    re.I,
)
CASES = Path(__file__).with_name("cases")


def weakened(text: str) -> int:
    """How many settings in it let any certificate pass. What stands in a comment does nothing."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*(?::\s*)?(?:[#;]|//)", line)]
    return len(WEAK.findall("\n".join(lines)))


def weakened_below(top: str) -> dict[str, int]:
    found = {name: weakened(entry[5].decode("latin-1")) for name, entry in snapshot(top).items() if entry[5]
             and isinstance(entry[5], bytes)}  # fmt: skip
    return {name: count for name, count in found.items() if count}


def written_by(every: list[Case], scratch: Path) -> tuple[int, list[str]]:
    """The changes that were looked at, and those that let more pass than before: as proposed, and as they lie there."""
    points, bad = 0, []
    for case in every:
        rig = Rig.make(case, str(scratch), no_shells)
        changes = [change for each in rig.diagnose().findings for change in each.changes]
        points += len(changes)
        bad += [f"{case.name}: {each}" for each in changes if weakened(f"{each.after}\n{each.by_hand}")]
        if all(change.resource.REVERSIBLE for change in changes):
            before = weakened_below(rig.machine.facts.root)
            rig.apply()
            after = weakened_below(rig.machine.facts.root)
            bad += [f"{case.name}: {name}" for name, count in after.items() if count > before.get(name, 0)]
    return points, bad


def test_no_remedy_ever_lets_a_certificate_pass(tmp_path: Path) -> None:
    every = cases(str(CASES))
    points, bad = written_by(every, tmp_path)
    print(f"tls points={points} landed={points} bad={len(bad)}")
    assert points >= 200
    assert not bad


class _Planted(Remedy):
    """What many an answer on the web proposes."""

    id = "planted"

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        lazy = Setting(machine.path(".claude", "settings.json"), "/env/NODE_TLS_REJECT_UNAUTHORIZED")
        changes = [*want(Line(machine.path(".npmrc"), "strict-ssl"), "strict-ssl=false"), *want(lazy, '"0"')]
        yield Finding("way", "it does not work", changes=tuple(changes))


def test_a_remedy_that_does_is_caught(tmp_path: Path) -> None:
    case = Case("planted", _Planted(), {"platform": "linux", "finds": []})
    points, bad = written_by([case], tmp_path)
    assert points == 2
    assert {each.rpartition("/")[2] for each in bad} >= {".npmrc", "settings.json"}


OFF = "NODE_TLS_REJECT_UNAUTHORIZED"
SETTINGS = json.dumps({"model": "opus", "env": {OFF: "0"}})
LAYERS = {
    "the user's settings": ("~/.claude/settings.json", SETTINGS),
    "a project's settings": ("~/shop/.claude/settings.json", SETTINGS),
    "a project's own settings of this user": ("~/shop/.claude/settings.local.json", SETTINGS),
    "a start-up file of bash": ("~/.bashrc", f"# mine\nexport {OFF}=0 # it did not work\n"),
    "a start-up file of zsh": ("~/.zshrc", f"export {OFF}='0'"),
    "a start-up file of fish": ("~/.config/fish/config.fish", f"set -gx {OFF} 0\n"),
    "the user's npmrc": ("~/.npmrc", "registry=https://registry.example/\nstrict-ssl = false\n"),
    "a project's npmrc": ("~/shop/.npmrc", "strict-ssl=false\n"),
    "VS Code": ("~/.config/Code/User/settings.json", '{\n  // mine\n  "http.proxyStrictSSL": false,\n}\n'),
    "the terminal of VS Code": (
        "~/.config/Code/User/settings.json", f'{{"terminal.integrated.env.linux": {{"{OFF}": "0", "A": "b"}}}}'
    ),
}  # fmt: skip
ONLY_SAID = {
    "git's settings": ("~/.gitconfig", "[user]\n\tname = me\n[http]\n\tsslVerify = false\n"),
    "a project's .env": ("~/shop/.env", f"{OFF}=0\n"),
    "the system's environment": ("/etc/environment", f"{OFF}=0\n"),
    "the settings of an administrator": ("/etc/claude-code/managed-settings.json", SETTINGS),
}


def made(path: str, text: str, scratch: Path) -> Rig:
    facts = {"platform": "linux", "files": {path: text, "~/shop": {"folder": True}}, "cwd": "{home}/shop", "finds": []}
    return Rig.make(Case("off", registry.remedy("proxy-ca"), facts), str(scratch))


def place(rig: Rig, path: str) -> str:
    return path.replace("~", rig.machine.home) if path[0] == "~" else rig.machine.system(path)


@pytest.mark.parametrize(("path", "text"), LAYERS.values(), ids=LAYERS)
def test_checks_that_are_off_are_found_and_put_on_again_in(path: str, text: str, tmp_path: Path) -> None:
    rig = made(path, text, tmp_path / "scratch")
    before = rig.tree()
    (found,) = rig.diagnose().findings
    assert found.id == "checks-off"
    assert [change.resource.path for change in found.changes] == [place(rig, path)]
    result = rig.apply()
    assert set(result.outcomes.values()) == {"done"}, result.problems
    assert weakened_below(rig.machine.facts.root) == {}
    assert rig.diagnose().findings == []
    rig.undo()
    assert rig.tree() == before


@pytest.mark.parametrize(("path", "text"), ONLY_SAID.values(), ids=ONLY_SAID)
def test_checks_that_are_off_are_said_in(path: str, text: str, tmp_path: Path) -> None:
    rig = made(path, text, tmp_path / "scratch")
    (found,) = rig.diagnose().findings
    assert found.id == "checks-off"
    assert any(place(rig, path) in line for line in found.evidence)
    assert found.changes == ()


def test_what_is_on_is_not_found(tmp_path: Path) -> None:
    text = f"# export {OFF}=0\nexport {OFF}=1\n"
    rig = made("~/.bashrc", text, tmp_path / "scratch")
    assert rig.diagnose().findings == []
