"""A real mitmdump, a real squid and a stand-in for the API, all on loopback, each for the length of a `with`.

mitmdump reads what goes through it, with certificates of its own, and sends every host to the API's stand-in. squid
wants a password and passes what it is given unread; it finds the API's names on loopback, at the stand-in's port.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

HOSTS = ("api.anthropic.com", "platform.claude.com", "claude.ai", "downloads.claude.ai", "statsig.anthropic.com")
ANSWER = "STUB-OK"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


@dataclass(frozen=True)
class Request:
    host: str
    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True)
class Api:
    """Where the stand-in listens, whom to trust for it (None without TLS), and what it was asked."""

    port: int
    ca: Path | None
    log: list[Request] = field(default_factory=list)

    def url(self, host: str = HOSTS[0]) -> str:
        return f"https://{host}:{self.port}" if self.ca else f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Running:
    """A proxy: the URL to give to a client, and the root that the client must trust (None: it reads nothing)."""

    url: str
    ca: Path | None = None


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """This thread, and all that it starts, in a network of its own where nothing else is, and no name is known."""
    ip, kernel = _program("ip", Path("/usr/sbin")), ctypes.CDLL(None)
    with open("/proc/thread-self/ns/net") as ours:
        if kernel.unshare(_NEW_NETWORK):
            pytest.skip("needs root, for a network of its own")
        try:
            subprocess.run([ip, "link", "set", "lo", "up"], check=True)
            yield
        finally:
            kernel.setns(ours.fileno(), _NEW_NETWORK)


# ---- the API


@contextlib.contextmanager
def api(folder: Path, secure: bool = True, port: int = 0) -> Iterator[Api]:
    """The messages API as far as `claude -p` needs it: every answer is STUB-OK."""
    server = _Server(("127.0.0.1", port), _Handler)
    ca = None
    if secure:
        authority = trustme.CA(organization_name="Stand-in for the API")
        ca = folder / "api-ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS, "localhost", "127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made = Api(server.server_address[1], ca, server.log)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        super().__init__(address, handler)
        self.log: list[Request] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up; that is what half of the tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: object) -> None:
        """Nothing goes to the terminal; requests are in the log of Api."""

    def do_HEAD(self) -> None:
        self._answer({})

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "/v1/messages" not in self.path:
            return self._answer({})
        try:
            asked = json.loads(body)
        except ValueError:
            asked = {}
        if "count_tokens" in self.path:
            return self._answer({"input_tokens": 1})
        said = {"type": "text", "text": ANSWER}
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked.get("model", ""),
            "usage": usage,
        }
        if not asked.get("stream"):
            return self._answer({**message, "content": [said], "stop_reason": "end_turn", "stop_sequence": None})
        begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
        return self._stream(
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        )

    def _stream(self, *events: Mapping[str, object]) -> None:
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        self._send("".join(lines).encode(), "text/event-stream")

    def _answer(self, content: Mapping[str, object]) -> None:
        self._send(json.dumps(content).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(headers.get("host", ""), self.command, self.path, headers)
        assert isinstance(self.server, _Server)
        self.server.log.append(request)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


# ---- proxies

_TO_THE_API = """
def server_connect(data):
    data.server.address = ("127.0.0.1", {port})
"""


@contextlib.contextmanager
def mitmdump(
    folder: Path, to: Api, sends_root: bool = False, login: tuple[str, str] | None = None
) -> Iterator[Running]:
    """By default it leaves its root out of what it presents, as mitmproxy does, and as most such proxies do."""
    program = _program("mitmdump", Path(sys.executable).parent)
    work = folder / f"mitmdump-{sends_root}-{bool(login)}"
    work.mkdir()
    (work / "to_the_api.py").write_text(_TO_THE_API.format(port=to.port))
    port = _free_port()
    command = [program, "-q", "--listen-host", "127.0.0.1", "-p", str(port), "-s", str(work / "to_the_api.py")]
    command += ["--set", f"confdir={work}", "--set", f"ssl_verify_upstream_trusted_ca={to.ca}"]
    if login:
        command += ["--proxyauth", ":".join(login)]
    ca = work / "mitmproxy-ca-cert.pem"
    if sends_root:
        authority = trustme.CA(organization_name="Proxy that sends its root")
        ca = work / "root.pem"
        authority.cert_pem.write_to_path(str(ca))
        own = authority.issue_cert(*HOSTS)
        presented = [own.private_key_pem, *own.cert_chain_pems, authority.cert_pem]
        (work / "presented.pem").write_bytes(b"".join(pem.bytes() for pem in presented))
        command += ["--certs", f"*={work / 'presented.pem'}"]
    with _running(command, work, port):
        yield Running(_url(port, login), ca)


_SQUID = """
http_port 127.0.0.1:{port}
auth_param basic program {helper} {folder}/users
auth_param basic realm corp
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
hosts_file {folder}/hosts
pid_filename {folder}/pid
access_log none
cache_log {folder}/log
cache deny all
coredump_dir none
shutdown_lifetime 0 seconds
"""


@contextlib.contextmanager
def squid(login: tuple[str, str] = ("corp\\user", "p@ss:w%rd")) -> Iterator[Running]:
    """It wants this login by Basic, and lets any port through. It gives up being root, so its folder is open to all."""
    program = _program("squid", Path("/usr/sbin"))
    helper = next((each for each in Path("/usr").glob("lib*/squid/basic_ncsa_auth")), None)
    if helper is None:
        pytest.skip("needs basic_ncsa_auth, which is not installed")
    openssl = _program("openssl")
    with tempfile.TemporaryDirectory(prefix="squid-") as folder:
        work = Path(folder)
        work.chmod(0o777)
        argv = [openssl, "passwd", "-apr1", "-stdin"]
        hashed = subprocess.run(argv, input=login[1], capture_output=True, text=True, check=True).stdout.strip()
        (work / "users").write_text(f"{login[0]}:{hashed}\n")
        (work / "hosts").write_text("".join(f"127.0.0.1 {host}\n" for host in HOSTS))
        port = _free_port()
        settings = _SQUID.format(port=port, helper=helper, folder=folder)
        (work / "squid.conf").write_text(settings)
        with _running([program, "-N", "-f", str(work / "squid.conf")], work, port):
            yield Running(_url(port, login))


def _program(name: str, folder: Path | None = None) -> str:
    beside = folder / name if folder else None
    found = str(beside) if beside and beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"needs {name}, which is not installed")
    return found


def _url(port: int, login: tuple[str, str] | None) -> str:
    user = ":".join(quote(part, safe="") for part in login) + "@" if login else ""
    return f"http://{user}127.0.0.1:{port}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], folder: Path, port: int, patience: float = 120) -> Iterator[None]:
    """This program, from the moment that it listens."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + patience
            while not _listens(port):
                said = (folder / "output").read_text(errors="replace")[-500:]
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}: {said}"
                assert time.monotonic() < deadline, f"{command[0]} does not listen after {patience} seconds: {said}"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
