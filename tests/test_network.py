"""How far the way to the API goes, against real servers on loopback that go wrong in every way we know of.

Node is asked about the same servers: where it has a name for what is wrong with a certificate, ours is the same.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from real import fetch, proxies

from ccremedy import network
from ccremedy.certificates import chain_roots
from ccremedy.errors import USAGE, Problem
from ccremedy.network import Proxy, bypasses, look, read_proxy, system_bundles
from ccremedy.redact import Secret

# ---- how a proxy is written

PASSWORD = "hunter-2-secret"

GOOD = {
    "http://proxy:3128": ("http", "proxy", 3128, "", ""),
    "http://proxy.corp.example:8080/": ("http", "proxy.corp.example", 8080, "", ""),
    "http://proxy": ("http", "proxy", 80, "", ""),
    "https://proxy": ("https", "proxy", 443, "", ""),
    "HTTP://Proxy.Corp:3128": ("http", "proxy.corp", 3128, "", ""),
    "http://proxy.corp.:3128": ("http", "proxy.corp", 3128, "", ""),
    "http://10.1.2.3:3128": ("http", "10.1.2.3", 3128, "", ""),
    "http://[::1]:3128": ("http", "::1", 3128, "", ""),
    "http://[fe80::1]": ("http", "fe80::1", 80, "", ""),
    "http://my_proxy-1:1": ("http", "my_proxy-1", 1, "", ""),
    "http://proxy:65535": ("http", "proxy", 65535, "", ""),
    "http://proxy:": ("http", "proxy", 80, "", ""),
    "http://me@proxy:3128": ("http", "proxy", 3128, "me", ""),
    "http://me:@proxy:3128": ("http", "proxy", 3128, "me", ""),
    "http://me:pw@proxy:3128": ("http", "proxy", 3128, "me", "pw"),
    "http://:pw@proxy:3128": ("http", "proxy", 3128, "", "pw"),
    "http://corp%5Cme:p%40ss@proxy:3128": ("http", "proxy", 3128, "corp\\me", "p@ss"),
    "http://me:a%25b%2Fc%23d@proxy:3128": ("http", "proxy", 3128, "me", "a%b/c#d"),
    "http://me:a:b@proxy:3128": ("http", "proxy", 3128, "me", "a:b"),
    "http://me:%20%22%27%24%28x%29@proxy": ("http", "proxy", 80, "me", " \"'$(x)"),
    "http://me:p%C3%A4ss@proxy": ("http", "proxy", 80, "me", "päss"),
    "http://me:a!b*c~d@proxy": ("http", "proxy", 80, "me", "a!b*c~d"),
    "http://xn--mnchen-3ya.example:80": ("http", "xn--mnchen-3ya.example", 80, "", ""),
}

BAD = {
    "": "is empty",
    "  ": "is empty",
    '""': "is empty",
    "proxy:3128": "Write it as http://proxy:3128",
    "proxy.corp": "Write it as http://proxy.corp:80",
    "me:hunter-2-secret@proxy:3128": "Write it as http://me:<redacted>@proxy:3128",
    "//proxy:3128": "Write it as http://proxy:3128",
    "http:/proxy:3128": "Write it as http://proxy:3128",
    "http:proxy:3128": "Write it as http://proxy:3128",
    "http:\\\\proxy:3128": "Write it as http://proxy:3128",
    "://proxy:3128": "Put http:// before it",
    "socks5://proxy:1080": "SOCKS",
    "socks5h://me:hunter-2-secret@proxy:1080": "UnsupportedProxyProtocol",
    "SOCKS4://proxy": "SOCKS",
    "socks://proxy": "SOCKS",
    "ftp://proxy": "ftp://",
    "http://me:hunter-2-secret@x@proxy:3128": "Write @ as %40",
    "http://me:hunter-2-secret/x@proxy:3128": "Write / as %2F",
    "http://me:hunter-2-secret#x?@proxy": "Write # as %23, ? as %3F",
    "http://me:hunter-2-secret%@proxy": "Write % as %25",
    "http://me:100%zz-hunter-2-secret@proxy": "Write % as %25",
    "http://me:hunter-2-secret x@proxy": "Write a blank as %20",
    "http://me:hunter-2-secret\"'@proxy": "Write \" as %22, ' as %27",
    "http://me:hunter-2-secret$x@proxy": "Write $ as %24",
    "http://corp\\me:hunter-2-secret@proxy": "Write \\ as %5C",
    "http://me:hünter-2-secret@proxy": "Write ü as %C3%BC",
    "http://me:hunter-2-secret%FF@proxy": "not as UTF-8",
    "http://me:hunter-2-secret%0a@proxy": "control character",
    "http://me:hunter-2-secret%00@proxy": "control character",
    "http://proxy:3128\n": "line break",
    "http://proxy\r\nX-Evil: 1": "line break",
    "http://pro\x1bxy": "control character",
    "\thttp://proxy": "control character",
    " http://proxy:3128": "blank",
    "http://proxy:3128 ": "blank",
    '"http://proxy:3128"': "quotes",
    "'http://proxy:3128'": "quotes",
    "http://$(id):3128": "placeholder",
    "http://${PROXY}:3128": "placeholder",
    "http://`id`:3128": "placeholder",
    "$PROXY": "placeholder",
    "%PROXY%": "placeholder",
    "http://": "no host name",
    "http://:3128": "no host name",
    "http://me:hunter-2-secret@": "no host name",
    "http://me:hunter-2-secret@:3128": "no host name",
    "http://pro xy:3128": "host name that cannot be",
    "http://-.-..:3128": "host name that cannot be",
    "http://münchen.example:3128": "xn--",
    "http://::1:3128": "in brackets",
    "http://[::1:3128": "in brackets",
    "http://proxy:0": "1 to 65535",
    "http://proxy:65536": "1 to 65535",
    "http://proxy:-1": "1 to 65535",
    "http://proxy:٣": "1 to 65535",
    "http://me:hunter-2-secret": "1 to 65535",
    "http://proxy:3128/path": "more behind the port",
    "http://proxy:3128?x": "more behind the port",
    "http://wpad.corp/proxy.pac": "PAC",
    "http://wpad/wpad.dat": "PAC",
}


@pytest.mark.parametrize(("url", "parts"), GOOD.items(), ids=GOOD)
def test_a_proxy_may_be_written_as(url: str, parts: tuple[str, str, int, str, str]) -> None:
    proxy = read_proxy(url)
    assert (proxy.scheme, proxy.host, proxy.port, proxy.user, proxy.password.reveal()) == parts
    assert read_proxy(proxy.spelled()) == proxy


@pytest.mark.parametrize(("url", "reason"), BAD.items(), ids=[ascii(url) for url in BAD])
def test_a_proxy_may_not_be_written_as(url: str, reason: str) -> None:
    with pytest.raises(Problem) as caught:
        read_proxy(url)
    assert reason in str(caught.value)
    assert caught.value.code == USAGE
    assert "hunter" not in f"{caught.value} {caught.value!r}"


LOGIN = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=20)


@given(LOGIN, LOGIN)
def test_any_login_can_be_spelled(user: str, password: str) -> None:
    proxy = Proxy("http", "proxy", 3128, user, Secret(password))
    assert proxy.spelled().isascii()
    assert read_proxy(proxy.spelled()) == proxy


def test_the_password_is_seen_in_the_url_only() -> None:
    proxy = read_proxy(f"http://me:{PASSWORD}@proxy:3128")
    assert PASSWORD in proxy.spelled()
    assert proxy.shown() == "http://me:<redacted>@proxy:3128"
    assert PASSWORD not in f"{proxy} {proxy!r} {proxy.shown()} {proxy.login()}"


@pytest.mark.parametrize(
    ("no_proxy", "url", "bypassed"),
    [
        ("", "https://api.example", False),
        ("*", "https://api.example", True),
        ("*, other", "https://api.example", False),
        ("api.example", "https://api.example", True),
        ("API.Example", "https://api.example/v1", True),
        ("example", "https://api.example", False),
        (".example", "https://api.example", True),
        (".example", "https://example", True),
        (".ample", "https://api.example", False),
        ("a.b,api.example", "https://api.example", True),
        ("a.b  api.example", "https://api.example", True),
        ("a.b, ,api.example,", "https://api.example", True),
        ("*.example", "https://api.example", False),
        ("api.example:443", "https://api.example", True),
        ("api.example:443", "https://api.example:8443", False),
        ("api.example:80", "http://api.example", True),
        (".example:443", "https://api.example", False),
        ("127.0.0.1", "http://127.0.0.1:4000", True),
        ("[::1]:4000", "http://[::1]:4000", True),
    ],
)
def test_no_proxy_is_read_as_claude_code_reads_it(no_proxy: str, url: str, bypassed: bool) -> None:
    assert bypasses(url, no_proxy) is bypassed


@pytest.mark.parametrize(
    ("challenges", "schemes"),
    [
        ([], ()),
        (["Basic realm=corp"], ("Basic",)),
        (["NTLM"], ("NTLM",)),
        (["Negotiate", "NTLM", 'Basic realm="a, Digest b"'], ("Negotiate", "NTLM", "Basic")),
        (["Negotiate, NTLM"], ("Negotiate", "NTLM")),
        (['Digest realm="x", nonce="y, z", qop=auth, Basic realm="x\\", NTLM"'], ("Digest", "Basic")),
        (["Negotiate YIIabc==, Basic realm = corp"], ("Negotiate", "Basic")),
        (["basic realm=x", "basic realm=y"], ("basic",)),
        (['Basic realm="unfinished'], ("Basic",)),
    ],
)
def test_the_schemes_of_a_challenge(challenges: list[str], schemes: tuple[str, ...]) -> None:
    assert network._schemes(challenges) == schemes


# ---- trust stores


def test_the_store_is_the_systems_own(tmp_path: Path) -> None:
    def under(path: str) -> str:
        return f"{tmp_path}{path}"

    assert system_bundles(under, {}) == ()
    for name in ("etc/ssl/cert.pem", "etc/pki/tls/certs/ca-bundle.crt", "mine.pem"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert system_bundles(under, {}) == (under("/etc/pki/tls/certs/ca-bundle.crt"),)
    mine = under("/mine.pem")
    assert system_bundles(under, {"SSL_CERT_FILE": mine}) == (mine,)
    given = {"SSL_CERT_FILE": mine, "SSL_CERT_DIR": os.pathsep.join((f"{tmp_path}/etc", f"{tmp_path}/gone", ""))}
    assert system_bundles(under, given) == (mine, under("/etc"))
    assert system_bundles(under, {"SSL_CERT_FILE": under("/gone")}) == ()
    assert system_bundles(under, {}, known=False) == ()  # such as on Windows, where anybody may make a folder /etc
    assert system_bundles(under, {"SSL_CERT_FILE": mine}, known=False) == (mine,)


# ---- servers


Handler = Callable[[socket.socket], None]
SERVED = 60  # seconds for which a server waits for who does not go on


@dataclass
class Net:
    """Servers on loopback, each a function that is given a connection; what they were sent, in `heard`."""

    folder: Path
    stack: contextlib.ExitStack
    ca: trustme.CA = field(default_factory=lambda: trustme.CA(organization_name="Corp"))
    heard: list[bytes] = field(default_factory=list)

    @property
    def root(self) -> str:
        return self.ca.cert_pem.bytes().decode()

    def serve(self, handler: Handler, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = self.stack.enter_context(socket.create_server((host, 0), family=family))

        def answer(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(SERVED)
                if context:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        handler(secured)
                else:
                    handler(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listening.getsockname()[1])

    def says(self, answer: bytes) -> Handler:
        def handler(connection: socket.socket) -> None:
            self.hear(connection)
            connection.sendall(answer)

        return handler

    def hear(self, connection: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head and (part := connection.recv(1 << 16)):
            head += part
        if head:
            self.heard.append(head)
        return head

    def tls(self, *names: str, until: datetime.datetime | None = None, send: slice = slice(None)) -> ssl.SSLContext:
        """For a server with a certificate of our CA for these names; `send`: which of its chain it presents."""
        made = self.ca.issue_cert(*(names or ("localhost", "127.0.0.1", "::1")), not_after=until)
        return self.presenting(made.private_key_pem, made.cert_chain_pems[send])

    def presenting(self, key: trustme.Blob, chain: Sequence[trustme.Blob]) -> ssl.SSLContext:
        path = self.folder / "presented.pem"
        path.write_bytes(b"".join(blob.bytes() for blob in (key, *chain)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def proxy(self, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n", context: ssl.SSLContext | None = None) -> int:
        """Connects to whatever port is asked for, on loopback, once it has answered."""

        def handler(connection: socket.socket) -> None:
            head = self.hear(connection)
            connection.sendall(answer)
            if b" 200 " in answer and head.startswith(b"CONNECT "):
                port = int(head.split()[1].rpartition(b":")[2])
                with socket.create_connection(("127.0.0.1", port)) as other:
                    _pass_on(connection, other)

        return self.serve(handler, context)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    while True:
        for source in select.select([one, other], [], [], 10)[0]:
            data = source.recv(1 << 16)
            if not data:
                return
            (other if source is one else one).sendall(data)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with contextlib.ExitStack() as stack:
        yield Net(tmp_path, stack)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"


def _page(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><title>Blocked".encode()


# ---- what comes of it


def test_an_api_that_answers(net: Net) -> None:
    port = net.serve(net.says(OK), net.tls())
    found = look(f"https://localhost:{port}/base/", roots=net.root)
    assert found.ok
    assert (found.phase, found.status, found.error, found.code) == ("http", 200, "", "")
    assert found.server_date == 784111777
    assert len(found.chain) == 1
    assert net.heard[0].startswith(b"HEAD /base/api/hello HTTP/1.1\r\nHost: localhost:")


@pytest.mark.parametrize("status", [204, 302, 401, 404, 429, 500, 529])
def test_any_status_is_an_answer(net: Net, status: int) -> None:
    port = net.serve(net.says(f"HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\n\r\n".encode()), net.tls())
    found = look(f"https://localhost:{port}", roots=net.root)
    assert (found.ok, found.status) == (True, status)


def test_an_api_without_tls(net: Net) -> None:
    assert look(f"http://127.0.0.1:{net.serve(net.says(OK))}").ok


def test_an_api_on_ipv6(net: Net) -> None:
    try:
        port = net.serve(net.says(OK), net.tls(), host="::1")
    except OSError:
        pytest.skip("needs IPv6 on loopback")
    assert look(f"https://[::1]:{port}", roots=net.root).ok


def test_a_system_store_is_trusted(net: Net) -> None:
    port, store = net.serve(net.says(OK), net.tls()), net.folder / "store.pem"
    store.write_text(net.root)
    assert look(f"https://localhost:{port}", system=(str(net.folder / "gone"), str(store))).ok
    assert not look(f"https://localhost:{port}", system=(str(net.folder / "gone"),)).ok


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "511 Network Authentication Required"])
def test_a_web_page_is_not_the_api(net: Net, status: str) -> None:
    found = look(f"https://localhost:{net.serve(net.says(_page(status)), net.tls())}", roots=net.root)
    assert (found.ok, found.phase, found.status) == (False, "http", int(status[:3]))
    assert "web page" in found.error


def test_a_redirect_to_a_portal_is_told_and_not_followed(net: Net) -> None:
    portal = net.serve(net.says(OK))
    answer = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{portal}/login?token=abc\r\n\r\n".encode()
    found = look(f"https://localhost:{net.serve(net.says(answer), net.tls())}", roots=net.root)
    assert (found.ok, found.redirect) == (False, f"http://127.0.0.1:{portal}/login")
    assert len(net.heard) == 1


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_nobody_listens() -> None:
    found = look(f"https://127.0.0.1:{_free_port()}")
    assert (found.phase, found.code) == ("connect", "ECONNREFUSED")


@pytest.mark.parametrize("host", ["nobody.invalid", f"{'a' * 63}.invalid"])
def test_a_name_that_nobody_knows(host: str) -> None:
    found = look(f"https://{host}")
    assert (found.phase, found.ok) == ("resolve", False)
    assert found.code in ("ENOTFOUND", "EAI_AGAIN")
    assert host in found.error


@pytest.mark.parametrize("secure", [True, False], ids=["in the TLS handshake", "instead of an answer"])
def test_a_peer_that_resets(net: Net, secure: bool) -> None:
    found = look(f"http{'s' * secure}://127.0.0.1:{net.serve(_reset)}")
    assert (found.phase, found.code) == ("tls" if secure else "http", "ECONNRESET")


def test_a_peer_that_closes_after_the_request(net: Net) -> None:
    found = look(f"https://localhost:{net.serve(net.says(b'HTTP/1.1 200 OK'), net.tls())}", roots=net.root)
    assert (found.phase, found.code) == ("http", "ECONNRESET")


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/2 what\r\n\r\n", b"\0" * 100, b"HTTP/1.1 wrong\r\n\r\n"]
)
def test_an_answer_that_is_not_http(net: Net, answer: bytes) -> None:
    found = look(f"http://127.0.0.1:{net.serve(net.says(answer))}")
    assert found.phase == "http"
    assert found.error.endswith("answers with something that is not HTTP")


def test_http_on_the_port_of_tls(net: Net) -> None:
    found = look(f"https://127.0.0.1:{net.serve(lambda c: c.sendall(OK))}")
    assert (found.phase, found.code) == ("tls", "ERR_SSL_WRONG_VERSION_NUMBER")
    assert "does not speak TLS" in found.error


# ---- time

DRIPS: dict[str, tuple[str, str, bytes]] = {
    "in the TLS handshake": ("https", "tls", b"\x16\x03\x03\x3f\xff"),
    "in the head of an answer": ("http", "http", b"HTTP/1.1 200 OK\r\nX: "),
}
PATIENCE = 0.5


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Before the peer itself gives up, or else never: a busy machine may take its time."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SERVED / 2


def _drip(start: bytes) -> Handler:
    def handler(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            time.sleep(0.05)
            connection.sendall(b"\x20")

    return handler


def _silent(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


@pytest.mark.parametrize("where", DRIPS)
@pytest.mark.parametrize("dripping", [True, False], ids=["drips", "is silent"])
def test_a_peer_takes_no_more_than_our_time(net: Net, where: str, dripping: bool) -> None:
    scheme, phase, start = DRIPS[where]
    port = net.serve(_drip(start) if dripping else _silent)
    with in_time():
        found = look(f"{scheme}://127.0.0.1:{port}", timeout=PATIENCE)
    assert (found.phase, found.code) == (phase, "ETIMEDOUT")


@pytest.mark.parametrize("dripping", [True, False], ids=["drips", "is silent"])
def test_a_proxy_takes_no_more_than_our_time(net: Net, dripping: bool) -> None:
    port = net.serve(_drip(b"HTTP/1.1 200 OK\r\nX: ") if dripping else _silent)
    with in_time():
        found = look("https://api.example", read_proxy(f"http://127.0.0.1:{port}"), timeout=PATIENCE)
    assert (found.phase, found.code) == ("tunnel", "ETIMEDOUT")


def test_an_endless_head_is_cut_off(net: Net) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Y: z\r\n" * 1000)

    found = look(f"http://127.0.0.1:{net.serve(endless)}")
    assert found.error.endswith("answers with something that is not HTTP")


def test_a_resolver_takes_no_more_than_our_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        left.wait(SERVED)
        raise socket.gaierror

    left = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with in_time():
        found = look("https://api.example", timeout=PATIENCE)
    left.set()
    assert (found.phase, found.code) == ("resolve", "ETIMEDOUT")


def test_a_dead_first_address_leaves_time_for_the_second(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    full = net.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    waiting = [net.stack.enter_context(socket.socket()) for _ in range(4)]
    for each in waiting:  # its queue is full now: it answers nobody
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    live = ("127.0.0.1", net.serve(net.says(OK)))
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    both = [(*entry, full.getsockname()), (*entry, live)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    assert look("http://api.example", timeout=2).ok


# ---- certificates


def _self_signed(net: Net) -> ssl.SSLContext:
    alone = trustme.CA()
    return net.presenting(alone.private_key_pem, [alone.cert_pem])


def _of_another(net: Net, *, with_root: bool) -> ssl.SSLContext:
    other = trustme.CA()
    made = other.issue_cert("localhost")
    return net.presenting(made.private_key_pem, [*made.cert_chain_pems, other.cert_pem][: 1 + with_root])


def _below(net: Net, *, complete: bool) -> ssl.SSLContext:
    made = net.ca.create_child_ca().issue_cert("localhost")
    return net.presenting(made.private_key_pem, made.cert_chain_pems[: 1 + complete])


def _below_another(net: Net) -> ssl.SSLContext:
    made = trustme.CA().create_child_ca().issue_cert("localhost")
    return net.presenting(made.private_key_pem, made.cert_chain_pems)


YESTERDAY = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)

CERTIFICATES: dict[str, tuple[Callable[[Net], ssl.SSLContext], str, int]] = {
    "one of ours": (lambda net: net.tls("localhost"), "", 1),
    "one below an intermediate": (lambda net: _below(net, complete=True), "", 2),
    "one that lacks its intermediate": (lambda net: _below(net, complete=False), "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 1),
    "one of another CA": (lambda net: _of_another(net, with_root=False), "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 1),
    "one of another CA, with its root": (lambda net: _of_another(net, with_root=True), "SELF_SIGNED_CERT_IN_CHAIN", 2),
    "one of another CA, with an intermediate": (_below_another, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", 2),
    "a self-signed one": (_self_signed, "DEPTH_ZERO_SELF_SIGNED_CERT", 1),
    "one for another name": (lambda net: net.tls("elsewhere.example"), "ERR_TLS_CERT_ALTNAME_INVALID", 1),
    "one that has expired": (lambda net: net.tls("localhost", until=YESTERDAY), "CERT_HAS_EXPIRED", 1),
}

ASK = """
const req = require("https").request({host: "localhost", family: 4, port: process.argv[1], method: "HEAD"});
req.on("response", () => { console.log(""); process.exit(); });
req.on("error", (e) => { console.log(e.code); process.exit(); });
req.end();
"""


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate(net: Net, name: str) -> None:
    make, code, length = CERTIFICATES[name]
    found = look(f"https://localhost:{net.serve(net.says(OK), make(net))}", roots=net.root)
    assert (found.ok, found.code) == (not code, code)
    assert found.phase == ("tls" if code else "http")
    assert len(found.chain) == length
    assert found.server_date == 784111777, "the server's clock tells whose is wrong"


@pytest.mark.parametrize("name", CERTIFICATES)
def test_node_says_the_same_of(net: Net, name: str) -> None:
    (program,) = fetch.needed("node", "20.20.2")
    make, code, _ = CERTIFICATES[name]
    store = net.folder / "root.pem"
    store.write_text(net.root)
    argv = [str(program), "-e", ASK, str(net.serve(net.says(OK), make(net)))]
    env = {"NODE_EXTRA_CA_CERTS": str(store), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == code, done.stderr


def test_without_verification_any_certificate_will_do(net: Net) -> None:
    found = look(f"https://localhost:{net.serve(net.says(OK), _self_signed(net))}", verify=False)
    assert found.ok
    assert len(found.chain) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
def test_a_server_of_long_ago(net: Net) -> None:
    context = net.tls("localhost")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    found = look(f"https://localhost:{net.serve(net.says(OK), context)}", roots=net.root)
    assert (found.phase, found.ok) == ("tls", False)
    assert "no longer in use" in found.error


# ---- proxies


@pytest.mark.parametrize("secure", [False, True], ids=["spoken to in the clear", "spoken to by TLS"])
def test_through_a_proxy(net: Net, secure: bool) -> None:
    api = net.serve(net.says(OK), net.tls())
    port = net.proxy(context=net.tls() if secure else None)
    proxy = Proxy("https" if secure else "http", "localhost", port, "me", Secret(PASSWORD))
    found = look(f"https://localhost:{api}", proxy, roots=net.root)
    assert (found.ok, found.status, found.error) == (True, 200, "")
    told, asked = net.heard
    assert told.startswith(f"CONNECT localhost:{api} HTTP/1.1\r\nHost: localhost:{api}\r\n".encode())
    assert b"Proxy-Authorization: Basic " in told
    assert b"uthorization" not in asked


def test_a_proxy_gets_a_plain_request_whole(net: Net) -> None:
    port = net.serve(net.says(OK))
    assert look("http://api.example", read_proxy(f"http://127.0.0.1:{port}")).ok
    assert net.heard[0].startswith(b"HEAD http://api.example/api/hello HTTP/1.1\r\nHost: api.example\r\n")


def test_no_proxy_goes_around_it(net: Net) -> None:
    api = net.serve(net.says(OK), net.tls())
    dead = read_proxy(f"http://127.0.0.1:{_free_port()}")
    assert look(f"https://localhost:{api}", dead, roots=net.root, no_proxy="localhost").ok
    found = look(f"https://localhost:{api}", dead, roots=net.root, no_proxy="other")
    assert (found.phase, found.code) == ("connect", "ECONNREFUSED")
    assert found.error.startswith("The proxy ")


REFUSALS: dict[str, tuple[bytes, str, int, tuple[str, ...], str]] = {
    "407, Basic": (
        b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=corp\r\n\r\n",
        "ERR_PROXY_TUNNEL", 407, ("Basic",), "wants a user name and a password",
    ),
    "407, NTLM and Negotiate": (
        b"HTTP/1.1 407 X\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n",
        "ERR_PROXY_TUNNEL", 407, ("Negotiate", "NTLM"), "can only do Basic",
    ),
    "407, and no more": (b"HTTP/1.1 407 X\r\n\r\n", "ERR_PROXY_TUNNEL", 407, (), "wants a user name and a password"),
    "403": (_page("403 Forbidden"), "ERR_PROXY_TUNNEL", 403, (), "does not let this connection pass"),
    "502": (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "ERR_PROXY_TUNNEL", 502, (), "502"),
    "garbage": (b"\x05\x00" * 30, "", 0, (), "something that is not HTTP"),
    "nothing": (b"", "ECONNRESET", 0, (), "broke the connection off"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_proxy_that_answers(net: Net, name: str) -> None:
    answer, code, status, schemes, why = REFUSALS[name]
    found = look("https://api.example", read_proxy(f"http://127.0.0.1:{net.proxy(answer)}"))
    assert (found.phase, found.ok) == ("tunnel", False)
    assert (found.code, found.status, found.schemes) == (code, status, schemes)
    assert why in found.error


def test_a_login_that_the_proxy_does_not_know(net: Net) -> None:
    answer, *_ = REFUSALS["407, Basic"]
    proxy = Proxy("http", "127.0.0.1", net.proxy(answer), "me", Secret(PASSWORD))
    found = look("https://api.example", proxy)
    assert "does not accept this user name and password" in found.error
    assert PASSWORD not in f"{found!r}"


def test_a_password_with_every_special_character_arrives(net: Net) -> None:
    password = "".join(map(chr, range(32, 127))) + "äß€😀"
    spelled = Proxy("http", "127.0.0.1", net.proxy(b"HTTP/1.1 502 X\r\n\r\n"), "corp\\me", Secret(password)).spelled()
    look("https://api.example", read_proxy(spelled))
    token = net.heard[0].partition(b"Basic ")[2].partition(b"\r\n")[0]
    assert base64.b64decode(token).decode() == f"corp\\me:{password}"


def test_a_proxy_that_is_not_trusted_does_not_get_our_password(net: Net) -> None:
    port = net.proxy(context=_self_signed(net))
    found = look("https://api.example", Proxy("https", "localhost", port, "me", Secret(PASSWORD)), roots=net.root)
    assert (found.phase, found.code, len(found.chain)) == ("tunnel", "DEPTH_ZERO_SELF_SIGNED_CERT", 1)
    assert found.error.startswith("The proxy localhost:")
    assert not net.heard


@pytest.mark.parametrize(
    "url", ["ftp://api.example", "api.example", "https://", "https://me:pw@api.example", "https://a/?x"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Problem) as caught:
        look(url)
    assert caught.value.code == USAGE
    assert "pw" not in str(caught.value)


# ---- the real ones


@pytest.fixture
def api(tmp_path: Path) -> Iterator[proxies.Api]:
    with proxies.api(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("sends_root", "code", "roots"),
    [(False, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", 0), (True, "SELF_SIGNED_CERT_IN_CHAIN", 1)],
    ids=["leaves its root out", "sends its root"],
)
def test_a_real_mitmproxy_that(api: proxies.Api, tmp_path: Path, sends_root: bool, code: str, roots: int) -> None:
    with proxies.mitmdump(tmp_path, api, sends_root) as running:
        proxy = read_proxy(running.url)
        before = look("https://api.anthropic.com", proxy)
        assert running.ca is not None
        after = look("https://api.anthropic.com", proxy, roots=running.ca.read_text())
    assert (before.phase, before.code) == ("tls", code)
    assert len(chain_roots(before.chain, time.time()).certificates) == roots
    assert after.ok
    assert {request.path for request in api.log} == {"/api/hello"}


def test_a_real_squid_wants_the_password(api: proxies.Api) -> None:
    assert api.ca is not None
    with proxies.squid() as running:
        proxy = read_proxy(running.url)
        without = look(api.url(), Proxy(proxy.scheme, proxy.host, proxy.port))
        found = look(api.url(), proxy, roots=api.ca.read_text())
    assert (without.phase, without.status, without.schemes) == ("tunnel", 407, ("Basic",))
    assert found.ok
