"""proxy-ca and what it may be given, and may find: each time a clear sentence, the right exit code, nothing changed.

The API's stand-in is spoken to without TLS, so it can be a proxy as well; nothing leaves this machine. Every command is
a real one and has a time limit.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canary import Person, leaks
from cryptography.hazmat.primitives.serialization import PrivateFormat
from real.proxies import Api, api
from test_certificates import DAY, TODAY, party

from ccremedy.testing import snapshot

NOWHERE = "http://api.claude.test"  # a name that nobody has: only a proxy leads there
SOON = 16  # seconds; a look at the network has 8, and there is one
ROOT = party("Corp Root")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), secure=False) as made:
        yield made


@pytest.fixture
def person(stub: Api) -> Iterator[Person]:
    """Their API answers. Their home is not below /tmp: an authority there is refused."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ccremedy-") as top:
        os.chmod(top, 0o755)
        yield Person.make(Path(top), {"ANTHROPIC_BASE_URL": stub.url()})


@pytest.fixture
def stranded(person: Person) -> Person:
    """The same, with an API that only a proxy leads to."""
    person.env["ANTHROPIC_BASE_URL"] = NOWHERE
    return person


def settings(person: Person, content: str | bytes | dict[str, str]) -> Path:
    path = person.home / ".claude" / "settings.json"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"env": content}) if isinstance(content, dict) else content
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def says(person: Person, *words: str, code: int, **more: str) -> str:
    """What the command says, which must not be that it is a bug of ours."""
    began = time.monotonic()
    done = person(*words, **more)
    assert time.monotonic() - began < SOON
    assert done.returncode == code, done
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "→ \n" not in text, "an empty piece of advice"
    assert "password <redacted>" not in text, "a sentence of ours, taken for a secret"
    return text


def refuses(person: Person, *words: str, code: int, because: str, **more: str) -> str:
    """Asked to apply, it says why not, in one line, and has changed nothing and begun nothing."""
    before = snapshot(str(person.home))
    text = says(person, "apply", "proxy-ca", *words, "--yes", "--max-risk", "high", code=code, **more)
    assert because in text
    assert snapshot(str(person.home)) == before
    assert json.loads(person("history", "--json").stdout)["runs"] == []
    return text


def complains(person: Person, *words: str, code: int, because: str, about: str) -> None:
    """The same where nothing else is to be said: one sentence that names what it is about."""
    (line,) = refuses(person, *words, code=code, because=because).strip().splitlines()
    assert about in line
    assert line.endswith(".")


# ---- --ca

BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "an empty one": (lambda: b"", "empty"),
    "one that has expired": (lambda: party("Old", since=TODAY - 9 * DAY, until=TODAY - DAY).pem, "expired"),
    "one that is not valid yet": (lambda: party("New", since=TODAY + DAY).pem, "not valid yet"),
    "the certificate of a server": (lambda: party("api", ROOT, ca=False).pem, "none of a certificate authority"),
    "an intermediate without its root": (lambda: party("Issuing", ROOT).pem, "not the root above"),
    "one with its private key": (lambda: ROOT.pem + ROOT.private(PrivateFormat.PKCS8), "private key"),
    "one with a private key in UTF-16": (
        lambda: (ROOT.pem + ROOT.private(PrivateFormat.PKCS8)).decode().encode("utf-16"), "private key",
    ),
    "a web page": (lambda: b"<!doctype html><title>Sign in</title>", "web page"),
    "rubbish": (lambda: os.urandom(4096), "no certificate"),
}  # fmt: skip


@pytest.mark.parametrize("convert", [(), ("--convert",)], ids=["as it is", "with --convert"])
@pytest.mark.parametrize(("content", "because"), BAD_FILES.values(), ids=BAD_FILES)
def test_no_authority_is(content: Callable[[], bytes], because: str, convert: tuple[str, ...], person: Person) -> None:
    path = person.home / "corp.pem"
    path.write_bytes(content())
    complains(person, "--ca", str(path), *convert, code=6, because=because, about=str(path))


def test_no_authority_has_100_mb(person: Person) -> None:
    path = good(person)
    os.truncate(path, 100 << 20)
    complains(person, "--ca", str(path), code=6, because="100 MB", about=str(path))


OTHER_FORMS: dict[str, bytes] = {
    "DER": ROOT.der,
    "UTF-16, the little end first": b"\xff\xfe" + ROOT.pem.decode().encode("utf-16-le"),
    "UTF-16, the big end first": b"\xfe\xff" + ROOT.pem.decode().encode("utf-16-be"),
    "PEM that is indented": ROOT.pem.replace(b"\n", b"\n  ").replace(b"-----BEGIN", b"  -----BEGIN", 1),
}


@pytest.mark.parametrize("content", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_another_form_than_pem_is_converted_on_request(content: bytes, person: Person) -> None:
    path = person.home / "corp.cer"
    path.write_bytes(content)
    before = snapshot(str(person.home))
    complains(person, "--ca", str(path), code=6, because="--convert", about=str(path))

    says(person, "apply", "proxy-ca", "--ca", str(path), "--convert", "--yes", code=0)
    own = Path(json.loads((person.home / ".claude" / "settings.json").read_text())["env"]["NODE_EXTRA_CA_CERTS"])
    assert own != path
    assert own.read_bytes() == ROOT.pem
    says(person, "undo", "--yes", code=0)
    assert snapshot(str(person.home)) == before


def at_no_place(person: Person) -> tuple[Path, str]:
    return person.home / "none.pem", "not there"


def below_a_file(person: Person) -> tuple[Path, str]:
    return good(person) / "corp.pem", "not there"


def a_directory(person: Person) -> tuple[Path, str]:
    (person.home / "certificates").mkdir()
    return person.home / "certificates", "is a directory"


def a_pipe(person: Person) -> tuple[Path, str]:
    os.mkfifo(person.home / "pipe")
    return person.home / "pipe", "pipe"


def a_link_to_nothing(person: Person) -> tuple[Path, str]:
    (person.home / "link.pem").symlink_to("none.pem")
    return person.home / "link.pem", "not there"


def open_to_all(person: Person) -> tuple[Path, str]:
    path = good(person)
    path.chmod(0o646)
    return path, "mode 0646"


def open_to_its_group(person: Person) -> tuple[Path, str]:
    path = good(person)
    path.chmod(0o664)
    return path, "mode 0664"


def in_a_folder_open_to_all(person: Person) -> tuple[Path, str]:
    folder = person.home / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    return good(person, folder), "mode 0777"


def linked_from_a_folder_open_to_all(person: Person) -> tuple[Path, str]:
    path, says = in_a_folder_open_to_all(person)
    (person.home / "link.pem").symlink_to(path)
    return person.home / "link.pem", says


def of_another_user(person: Person) -> tuple[Path, str]:
    path = good(person)
    os.chown(path, 12345, 12345)
    return path, "another user"


def in_a_folder_of_another_user(person: Person) -> tuple[Path, str]:
    folder = person.home / "theirs"
    folder.mkdir()
    path = good(person, folder)
    os.chown(folder, 12345, 12345)
    return path, "another user"


def good(person: Person, folder: Path | None = None) -> Path:
    path = (folder or person.home) / "corp.pem"
    path.write_bytes(ROOT.pem)
    path.chmod(0o644)
    return path


PLACES = (
    at_no_place, below_a_file, a_directory, a_pipe, a_link_to_nothing, open_to_all, open_to_its_group,
    in_a_folder_open_to_all, linked_from_a_folder_open_to_all, of_another_user, in_a_folder_of_another_user,
)  # fmt: skip


@pytest.mark.parametrize("where", PLACES, ids=lambda where: where.__name__.replace("_", " "))
def test_an_authority_is_not_taken(
    where: Callable[[Person], tuple[Path, str]], person: Person, needs: Callable[[str], None]
) -> None:
    if "another_user" in where.__name__:
        needs("root")
    path, because = where(person)
    complains(person, "--ca", str(path), code=6, because=because, about=str(path))


def test_an_authority_is_not_taken_from_the_folder_for_temporary_files(person: Person, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = good(person, Path(folder))
        complains(person, "--ca", str(path), code=6, because="temporary files", about=str(path))


def test_a_relative_path_is_made_absolute(person: Person) -> None:
    good(person)
    says(person, "apply", "proxy-ca", "--ca", "corp.pem", "--yes", code=0)
    text = (person.home / ".claude" / "settings.json").read_text()
    assert json.loads(text)["env"]["NODE_EXTRA_CA_CERTS"] == str(person.home / "corp.pem")


@pytest.mark.parametrize("option", ["--ca", "--proxy", "--no-proxy"])
def test_a_variable_that_somebody_forgot_to_set(option: str, person: Person) -> None:
    complains(person, option, "", code=2, because="--help", about=option)


# ---- --proxy

BAD_PROXIES = {
    "without a scheme": ("proxy.corp:3128", "http://proxy.corp:3128"),
    "SOCKS": ("socks5://127.0.0.1:1080", "SOCKS"),
    "SOCKS with names": ("socks5h://127.0.0.1:1080", "SOCKS"),
    "of another scheme": ("ftp://127.0.0.1:21", "ftp://"),
    "a command to be run": ("http://$(touch ran):3128", "placeholder"),
    "a command in backquotes": ("http://`touch ran`:3128", "placeholder"),
    "a variable": ("http://${PROXY}:3128", "placeholder"),
    "quotes around it": ('"http://proxy.corp:3128"', "quotes"),
    "a quote in it": ("http://pro'xy.corp:3128", "host name"),
    "a second line": ("http://proxy.corp:3128\nscript-shell=/bin/ran", "line break"),
    "a carriage return": ("http://proxy.corp:3128\r", "line break"),
    "an escape": ("\x1b[31mhttp://proxy.corp:3128", "control character"),
    "a blank before it": (" http://proxy.corp:3128", "blank"),
    "a blank in it": ("http://proxy corp:3128", "host name"),
    "port 0": ("http://127.0.0.1:0", "port"),
    "port 99999": ("http://127.0.0.1:99999", "port"),
    "a port with a sign": ("http://127.0.0.1:+80", "port"),
    "a port in Arabic digits": ("http://127.0.0.1:\u0661\u0662", "port"),
    "no host": ("http://", "host name"),
    "IPv6 without brackets": ("http://::1:3128", "[::1]"),
    "a path": ("http://127.0.0.1:3128/path", "behind the port"),
    "a script": ("http://proxy.corp/proxy.pac", "PAC"),
    "a name of 5,000 letters": (f"http://{'a' * 5000}:3128", "host name"),
    "a password that is not encoded": ("http://user:S3cr%tpw@127.0.0.1:3128", "%25"),
    "a password with an @": ("http://user:S3cr@tpw@127.0.0.1:3128", "%40"),
    "a password that is not UTF-8": ("http://user:S3cr%FFtpw@127.0.0.1:3128", "UTF-8"),
    "a password with a line break": ("http://user:S3cr%0Atpw@127.0.0.1:3128", "control character"),
}


@pytest.mark.parametrize(("url", "because"), BAD_PROXIES.values(), ids=BAD_PROXIES)
def test_no_proxy_is(url: str, because: str, person: Person) -> None:
    complains(person, "--proxy", url, code=2, because=because, about="--proxy")
    assert not (person.home / "ran").exists()
    assert "S3cr" not in says(person, "apply", "proxy-ca", "--proxy", url, "--yes", code=2)


@pytest.mark.parametrize(("url", "because"), BAD_PROXIES.values(), ids=BAD_PROXIES)
def test_a_proxy_that_is_set_and_none(url: str, because: str, person: Person) -> None:
    """Found, said, and not mended: nobody knows what was meant."""
    path = settings(person, {"HTTPS_PROXY": url})
    before = path.read_bytes()
    text = says(person, "apply", "proxy-ca", "--yes", code=6)
    assert str(path) in text
    assert because in text
    assert "S3cr" not in text
    assert path.read_bytes() == before


def test_a_proxy_that_is_set_and_none_can_be_replaced(stranded: Person, stub: Api) -> None:
    path = settings(stranded, {"HTTPS_PROXY": "socks5://127.0.0.1:1080", "A": "1"})
    before = path.read_bytes()
    says(stranded, "apply", "proxy-ca", "--proxy", stub.url(), "--yes", code=0)
    assert json.loads(path.read_bytes())["env"] == {"HTTPS_PROXY": stub.url(), "A": "1"}
    says(stranded, "undo", "--yes", code=0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "user@127.0.0.1", "user:S3cretpw@127.0.0.1"])
def test_a_proxy_where_nobody_listens(host: str, stranded: Person) -> None:
    text = refuses(stranded, "--proxy", f"http://{host}:9", code=6, because="nothing listens there")
    assert f"{host.rpartition('@')[2]}:9" in text
    assert not leaks(text.encode(), "S3cretpw")


def test_a_proxy_that_is_set_and_where_nobody_listens(stranded: Person) -> None:
    path = settings(stranded, {"HTTPS_PROXY": "http://127.0.0.1:9"})
    text = says(stranded, "diagnose", "proxy-ca", code=1)
    assert f"that proxy is set in {path}" in text
    assert "take it out there" in text


def test_a_proxy_whose_name_is_not_known(stranded: Person) -> None:
    refuses(stranded, "--proxy", "http://proxy.claude.test:3128", code=6, because="proxy.claude.test")


ANSWERS: dict[str, tuple[bytes, str]] = {
    "says nothing": (b"", "within 8 seconds"),
    "never ends its head": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000, "not HTTP"),
    "is no proxy": (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
    "wants NTLM": (
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n", "NTLM or Negotiate",
    ),
    "shows a page": (b"HTTP/1.1 502 No\r\nContent-Type: text/html\r\n\r\n<html>", "(502)"),
    "writes to the screen": (b"HTTP/1.1 407 No\r\nProxy-Authenticate: \x1b]0;x\x07 realm=x\r\n\r\n", "wants a user"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "because"), ANSWERS.values(), ids=ANSWERS)
def test_a_proxy_that(answer: bytes, because: str, stranded: Person) -> None:
    stranded.env["ANTHROPIC_BASE_URL"] = NOWHERE.replace("http:", "https:")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        text = refuses(stranded, "--proxy", url, code=6, because=because)
    assert "\x1b" not in text


def _answer(listener: socket.socket, answer: bytes) -> None:
    held = []  # open until the end
    while True:
        try:
            connection, _ = listener.accept()
            held.append(connection)
            connection.recv(1 << 16)
            connection.sendall(answer)
        except OSError:
            return


# ---- --no-proxy

BAD_LISTS = {
    "a line break": ("localhost\n.corp", "line break"),
    "an escape": ("localhost,\x1b[31m.corp", "control character"),
    "double quotes": ('"localhost,.corp"', '"localhost'),
    "single quotes": ("localhost,'.corp'", "'.corp'"),
    "a command": ("$(touch ran)", "$(touch"),
    "nothing but a blank": (" ", "--no-proxy"),
}


@pytest.mark.parametrize(("value", "because"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_no_list_of_exceptions_is(value: str, because: str, person: Person) -> None:
    complains(person, "--no-proxy", value, code=2, because=because, about="--no-proxy")
    assert not (person.home / "ran").exists()


# ---- the settings

BAD_SETTINGS = {
    "a comma too much": ('{\n  "env": {\n    "A": "1",,\n  }\n}', "line 3"),
    "a comment": ('{\n  // mine\n  "env": {}\n}', "line 2"),
    "no end": ('{\n  "env": {\n    "A": "1"', "line 3"),
    "no object": ("[1, 2]", "not an object"),
    "an env that is none": ('{"env": 7}', "not an object"),
}


@pytest.mark.parametrize(("content", "because"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_settings_with(content: str | bytes, because: str, person: Person) -> None:
    settings(person, content)
    text = refuses(person, "--ca", str(good(person)), code=6, because=because)
    assert "reset-config" in text


def test_settings_in_utf_16(person: Person) -> None:
    """Claude Code reads them; we do not edit them."""
    settings(person, '{"env": {}}'.encode("utf-16"))
    refuses(person, "--ca", str(good(person)), code=6, because="UTF-16")


def test_settings_with_a_byte_that_is_no_text(person: Person) -> None:
    """Claude Code reads those too; what we do not touch stays as it is."""
    path = settings(person, b'{"a": "\xff"}')
    says(person, "apply", "proxy-ca", "--ca", str(good(person)), "--yes", code=0)
    assert path.read_bytes().startswith(b'{"a": "\xff"')
    says(person, "undo", "--yes", code=0)
    assert path.read_bytes() == b'{"a": "\xff"}'


def test_settings_that_are_a_directory(person: Person) -> None:
    (person.home / ".claude" / "settings.json").mkdir(parents=True)
    refuses(person, "--ca", str(good(person)), code=6, because="is a directory")


def test_settings_that_are_a_link_to_nothing(person: Person) -> None:
    settings(person, "").unlink()
    (person.home / ".claude" / "settings.json").symlink_to("gone.json")
    refuses(person, "--ca", str(good(person)), code=6, because="does not exist")


def test_settings_that_are_a_link_stay_one(person: Person) -> None:
    """As dotfile managers have it."""
    path = settings(person, "")
    path.rename(person.home / "dotfile.json")
    path.symlink_to("../dotfile.json")
    before = snapshot(str(person.home))
    says(person, "apply", "proxy-ca", "--ca", str(good(person)), "--yes", code=0)
    assert os.readlink(path) == "../dotfile.json"
    assert "NODE_EXTRA_CA_CERTS" in (person.home / "dotfile.json").read_text()
    says(person, "undo", "--yes", code=0)
    (person.home / "corp.pem").unlink()
    assert snapshot(str(person.home)) == before


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_settings_that_are_closed_to_their_owner(closed: str, person: Person, needs: Callable[[str], None]) -> None:
    needs("root")
    path = settings(person, {"A": "1"})
    pem = good(person)
    for each in (person.home.parent, *person.home.parent.rglob("*")):
        os.chown(each, 12345, 12345)
    (path if closed == "file" else path.parent).chmod(0o000 if closed == "file" else 0o500)
    before = snapshot(str(person.home))
    user = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    done = person("apply", "proxy-ca", "--ca", str(pem), "--yes", before=user)
    assert done.returncode == 6, done
    assert str(path.parent) in done.stdout.replace("~", str(person.home))
    assert snapshot(str(person.home)) == before


# ---- what is set, and where


@pytest.mark.parametrize("value", ["/gone.pem", "corp.pem", "/gone\0.pem", "/gone\n.pem"], ids=repr)
def test_an_authority_that_is_not_there_while_the_api_answers(value: str, person: Person) -> None:
    path = settings(person, {"A": "1", "NODE_EXTRA_CA_CERTS": value})
    before = path.read_bytes()
    text = says(person, "diagnose", "proxy-ca", code=1)
    assert "does not come through" not in text, "it does"
    assert "NODE_EXTRA_CA_CERTS" in text
    says(person, "apply", "proxy-ca", "--yes", code=0)
    assert json.loads(path.read_bytes())["env"] == {"A": "1"}
    says(person, "diagnose", "proxy-ca", code=0)
    says(person, "undo", "--yes", code=0)
    assert path.read_bytes() == before


def test_an_authority_that_is_not_there_and_comes_from_the_shell(person: Person) -> None:
    """It is said where from, and not mended: nothing of ours set it."""
    text = says(person, "diagnose", "proxy-ca", code=1, NODE_EXTRA_CA_CERTS="/gone.pem")
    assert "/gone.pem" in text
    assert "the environment" in text


def test_a_lower_case_variable_of_the_shell_does_not_win(stranded: Person, stub: Api) -> None:
    """For Claude Code https_proxy of the shell comes before HTTPS_PROXY of the settings; so both are set there."""
    more = {"https_proxy": "http://127.0.0.1:9"}
    text = says(stranded, "diagnose", "proxy-ca", code=1, **more)
    assert "127.0.0.1:9" in text
    words = ("apply", "proxy-ca", "--proxy", stub.url(), "--yes")
    says(stranded, *words, code=0, **more)
    env = json.loads((stranded.home / ".claude" / "settings.json").read_text())["env"]
    assert env == {"HTTPS_PROXY": stub.url(), "https_proxy": stub.url()}
    says(stranded, "diagnose", "proxy-ca", code=0, **more)
    assert "nothing to do" in says(stranded, *words, "--verbose", code=0, **more)
    says(stranded, "undo", "--yes", code=0)
    assert not (stranded.home / ".claude").exists()


def test_a_password_that_could_not_be_given_back_is_not_replaced(stranded: Person, stub: Api) -> None:
    """Undo would need the old one, and there is no secret store here to keep it in."""
    settings(stranded, {"HTTPS_PROXY": "http://user:S3cretold@127.0.0.1:9"})
    url = f"http://user:S3cretnew@127.0.0.1:{stub.port}"
    text = refuses(stranded, "--proxy", url, code=6, because="secret store")
    assert not leaks(text.encode(), "S3cretold", "S3cretnew")


def test_settings_win_over_start_up_files(stranded: Person, stub: Api) -> None:
    """What the shells export reaches nobody while the settings say something else."""
    path = settings(stranded, {"HTTPS_PROXY": "http://127.0.0.1:9"})
    text = refuses(stranded, "--proxy", stub.url(), "--profile", code=6, because=str(path))
    assert "wins" in text


def test_vs_code_that_is_not_there(person: Person) -> None:
    refuses(person, "--ca", str(good(person)), "--vscode", code=6, because="VS Code")
