"""The only module that opens a connection, and what it needs to say of one: proxies, their exceptions, trust stores.

`look` walks to the API as Claude Code does and says how far it came: resolve, connect, tunnel, tls, http. What it
promises: one time limit for all of it, whatever the other side does; no redirect is followed; what it sends holds no
credential, but for the proxy's own to the proxy, and over TLS only to one whose certificate is trusted.
"""

from __future__ import annotations

import os
import re
from contextlib import closing, suppress

from ccremedy import files, knowledge
from ccremedy.errors import USAGE, Problem, explain
from ccremedy.record import dataclass, field, replace
from ccremedy.redact import MASK, Secret, redact, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from _ssl import Certificate
    from collections.abc import Callable, Generator, Mapping
    from typing import Any, NoReturn, Protocol, TypeVar

    T = TypeVar("T")
    _Address = tuple[int, int, int, str, Any]  # as getaddrinfo has it

    class Stream(Protocol):
        def send(self, data: bytes) -> None: ...
        def receive(self) -> bytes: ...


# ---- proxies


@dataclass(frozen=True)
class Proxy:
    scheme: str  # "http" or "https": how the proxy itself is spoken to
    host: str  # IPv6 without brackets
    port: int
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))

    def spelled(self) -> str:
        """The URL in its normal form. It holds the password."""
        password = self.password.reveal()
        return self._spell(_encoded(self.user) + (f":{_encoded(password)}" if password else ""))

    def shown(self) -> str:
        """The URL for a person to see."""
        return self._spell(visible(self.user) + (f":{MASK}" if self.password.reveal() else ""))

    def login(self) -> Secret:
        """As Basic wants it, before base64; empty where there is none."""
        password = self.password.reveal()
        return Secret(f"{self.user}:{password}" if self.user or password else "")

    def _spell(self, user: str) -> str:
        return f"{self.scheme}://{user}{'@' * bool(user)}{_place(self.host, self.port)}"


_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.I)
_PLACE = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]*))(?::([^:]*))?", re.I)
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.I)
_USER_BYTE = re.compile(r"%[0-9a-f]{2}|[a-z0-9._~!&()*+,;=:-]", re.I)


def read_proxy(url: str) -> Proxy:
    """The proxy that this URL names. Problem (2) with the reason where Claude Code would not understand it so.

    No message holds the password, nor what could be a part of it.
    """
    _refuse_stray_characters(url)
    match = _SCHEME.fullmatch(url)
    if match is None:
        _refuse_without_scheme(url)
    scheme, rest = match[1].lower(), match[2]
    if scheme.startswith("socks"):
        todo = "Ask for the address of an HTTP proxy, or put one in front of it"
        raise _unfit("is a SOCKS proxy, which Claude Code refuses (UnsupportedProxyProtocol)", todo)
    if scheme not in ("http", "https"):
        raise _unfit(f"begins with {scheme}://, and a proxy is spoken to by http:// or https://")
    userinfo, _, place = rest.rpartition("@")
    user, password = (_decoded(part) for part in userinfo.partition(":")[::2])
    if place.endswith((".pac", ".dat")):
        raise _unfit("is a configuration script (PAC), which Claude Code does not read", "Give the proxy that it names")
    host, port = _read_place(place[:-1] if place.endswith("/") else place, {"http": 80, "https": 443}[scheme])
    return Proxy(scheme, host, port, user, Secret(password))


def bypasses(url: str, no_proxy: str) -> bool:
    """Whether NO_PROXY takes this URL off the proxy, by the rules of Claude Code 2.1.330.

    `*` counts only alone; `.corp` is corp and all below it; `corp` is that host only; what has a colon is host:port.
    """
    target = _read_target(url)
    host = f"[{target.host}]" if ":" in target.host else target.host
    return no_proxy == "*" or any(
        entry == f"{host}:{target.port}"
        if ":" in entry
        else entry in (host, f".{host}") or (entry[0] == "." and host.endswith(entry))
        for entry in re.split(r"[,\s]+", no_proxy.lower())
        if entry
    )


def _refuse_stray_characters(url: str) -> None:
    bare = url.strip().strip("\"'")
    if not bare:
        raise _unfit("is empty", "Remove it, or give the URL of a proxy")
    for found, what in (
        (re.search(r"[\r\n]", url), "holds a line break"),
        (re.search(r"[\x00-\x1f\x7f-\x9f]", url), "holds a control character"),
        (re.search(r"\$[({]|`|^\$\w|^%\w+%$", url), "holds a placeholder, which nothing fills in here"),
        (url[0] in "\"'" or url[-1] in "\"'", "has quotes around it"),
        (url != url.strip(), "has a blank before or behind it"),
    ):
        if found:
            raise _unfit(what, "Write it without")


def _refuse_without_scheme(url: str) -> NoReturn:
    bare = re.sub(r"^(?:https?:?)?[/\\]+|^https?:", "", url, flags=re.I)
    todo = "Put http:// before it"
    with suppress(Problem):
        todo = f"Write it as {read_proxy(f'http://{bare}').shown()}"
    raise _unfit("does not begin with http:// or https://", todo)


def _decoded(text: str) -> str:
    """Percent-decoded. Problem where it was not encoded to begin with."""
    wrong = sorted(set(_USER_BYTE.sub("", text)))
    if wrong:
        todo = "Write " + ", ".join(f"{'a blank' if one == ' ' else one} as {_encoded(one)}" for one in wrong)
        raise _unfit("has characters in its user name or password that must be percent-encoded there", todo)
    try:
        decoded = re.sub(rb"%(..)", lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode()
    except UnicodeDecodeError:
        raise _unfit("has a user name or password that is percent-encoded, and not as UTF-8") from None
    if re.search(r"[\x00-\x1f\x7f]", decoded):
        raise _unfit("has a control character in its user name or password")
    return decoded


def _encoded(text: str) -> str:
    return "".join(chr(byte) if re.match(rb"[\w.~-]", bytes([byte])) else f"%{byte:02X}" for byte in text.encode())


def _read_place(text: str, default_port: int) -> tuple[str, int]:
    if re.search(r"[/?#\\]", text):
        raise _unfit("has more behind the port, and a proxy is a host and a port")
    match = _PLACE.fullmatch(text)
    if match is None:
        raise _unfit("has more behind the host than a port", "Write an address of IPv6 in brackets, as in [::1]")
    name, given = match[2] or "", match[3] or str(default_port)
    if not match[1] and not _NAME.fullmatch(name):
        todo = "" if name.isascii() else "Write it as it is in DNS (xn--…)"
        raise _unfit("has a host name that cannot be" if name else "has no host name", todo)
    if not re.fullmatch("[0-9]{1,5}", given) or not 0 < int(given) < 65536:
        raise _unfit("has a port that is not a number from 1 to 65535")
    return (match[1] or name).lower().rstrip("."), int(given)


def _unfit(what: str, todo: str = "") -> Problem:
    return Problem(what, todo=todo, code=USAGE)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ---- trust stores


def system_bundles(under: Callable[[str], str], env: Mapping[str, str], known: bool = True) -> tuple[str, ...]:
    """The files and folders that make up the store of the operating system, as Claude Code finds it.

    SSL_CERT_FILE and SSL_CERT_DIR define it where they are set; `under` gives the real path of a system file. Without
    `known` no others are looked for: where there are none, anybody could make one.
    """
    given = [env.get("SSL_CERT_FILE", ""), *env.get("SSL_CERT_DIR", "").split(os.pathsep)]
    if any(given):
        return tuple(path for path in given if path and files.status(path))
    places = (under(path) for path in knowledge.load("system_bundles")["linux"] if known)
    return tuple(path for path in places if files.status(path))[:1]


# ---- looking


@dataclass(frozen=True)
class Look:
    """How far we came. Any answer of a server counts as reached, but for a web page that stands in its place."""

    phase: str  # the last one begun: resolve, connect, tunnel (to the proxy), tls, http
    ok: bool = False
    status: int = 0  # of the HTTP answer, which in the phase tunnel is the proxy's
    code: str = ""  # what node calls the error, '' where it has no name for it
    error: str = ""  # a sentence
    schemes: tuple[str, ...] = ()  # how a proxy that answered 407 wants to be logged in to, as in ("NTLM", "Basic")
    chain: tuple[bytes, ...] = ()  # certificates as presented, DER, the server's own first; also untrusted ones
    redirect: str = ""  # where the answer sends to, without the query
    server_date: float | None = None  # the server's clock, in seconds since 1970


def look(
    url: str,
    proxy: Proxy | None = None,
    roots: str = "",
    system: tuple[str, ...] = (),
    no_proxy: str = "",
    timeout: float = 8.0,
    verify: bool = True,
) -> Look:
    """Ask for `<url>/api/hello`, as Claude Code does before its first request, within `timeout` seconds in all.

    Trusted are the certificates of `roots` (PEM text) and `system` (files or folders), and no others. Problem (2) where
    `url` is not one of http or https. Where a certificate is not trusted, a second connection fetches the chain.
    """
    import ssl  # with socket, 25 modules that a diagnosis without the network saves
    from time import monotonic

    target = _read_target(url)
    proxy = None if bypasses(url, no_proxy) else proxy
    deadline = monotonic() + timeout
    trusting, blind = _trusting(roots, system), _blind()
    found = Look("resolve")
    steps = _steps(target, proxy, trusting, trusting if verify else blind, deadline)
    try:
        with closing(steps):
            for step in steps:
                found = step
    except ssl.SSLCertVerificationError as error:
        at_proxy = found.phase == "tunnel"
        steps = _steps(target, proxy, blind if at_proxy else trusting, blind, deadline)
        found = _unverified(found, steps)
        return replace(found, **_distrusted(error, len(found.chain), _who(found, target, proxy)))
    except _Refusal as refusal:
        return replace(found, error=f"{_who(found, target, proxy)} {refusal}", **refusal.fields)
    except (OSError, UnicodeError) as error:
        return replace(found, **_explained(error, _who(found, target, proxy), timeout))
    return found


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str


def _read_target(url: str) -> _Target:
    match = re.fullmatch(r"(https?)://([^/?#@\s\\]+)(/[!-~]*)?", url, re.I)
    if match is None or re.search(r"[?#]", match[3] or ""):
        raise Problem(
            "is not the address of an API: https://, a host, and perhaps a path", where=redact(url), code=USAGE
        )
    scheme = match[1].lower()
    host, port = _read_place(match[2], {"http": 80, "https": 443}[scheme])
    return _Target(scheme, host, port, (match[3] or "").rstrip("/"))


class _Refusal(Exception):
    """An answer that ends the way: what somebody did, and the fields of Look that it decides."""

    def __init__(self, what: str, **fields: Any) -> None:
        super().__init__(what)
        self.fields = fields


def _steps(
    target: _Target, proxy: Proxy | None, to_proxy: ssl.SSLContext, to_target: ssl.SSLContext, deadline: float
) -> Generator[Look, None, None]:
    """What is known at the beginning of each phase, and at the end. Raises where the way ends."""
    yield Look("resolve")
    first = proxy or target
    addresses = _resolve(first.host, first.port, deadline)
    yield Look("connect")
    with _connect(addresses, deadline) as connection:
        stream: Stream = _Plain(connection, deadline)
        if proxy:
            yield Look("tunnel")
        if proxy and proxy.scheme == "https":
            secured = _Secured(stream, to_proxy, proxy.host)
            stream = secured
            yield Look("tunnel", chain=secured.chain())
        if proxy and target.scheme == "https":
            place = _place(target.host, target.port)
            _pass(_ask(stream, f"CONNECT {place}", place, proxy), proxy)
        chain: tuple[bytes, ...] = ()
        if target.scheme == "https":
            yield Look("tls")
            secured = _Secured(stream, to_target, target.host)
            stream, chain = secured, secured.chain()
        yield Look("http", chain=chain)
        yield _answer(stream, target, proxy, chain)


def _unverified(found: Look, steps: Generator[Look, None, None]) -> Look:
    """What a second walk learns that does not verify: the chain, and the server's clock.

    At an https:// proxy it ends with the chain: our password is not for one that we do not trust.
    """
    with suppress(OSError, _Refusal):
        for step in steps:
            if (step.phase == "tunnel") == (found.phase == "tunnel"):
                found = replace(found, chain=step.chain or found.chain, server_date=step.server_date)
                if found.phase == "tunnel" and found.chain:
                    break
    steps.close()
    return found


# ---- what goes over a connection


def _resolve(host: str, port: int, deadline: float) -> list[_Address]:
    """The addresses of this name. The resolver knows no time limit, so it is left behind in a thread where it hangs."""
    import socket
    from threading import Thread

    answers: list[list[_Address] | Exception] = []

    def ask() -> None:
        try:
            answers.append([*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as error:
            answers.append(error)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if not answers:
        raise TimeoutError
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _connect(addresses: list[_Address], deadline: float) -> socket.socket:
    """The first that answers. Each may take its share of the time that is left, or a dead first one would take all."""
    import socket

    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(deadline) / (len(addresses) - number))
            connection.connect(address)
            return connection
        except BaseException as error:
            connection.close()
            if number + 1 == len(addresses) or not isinstance(error, OSError):
                raise
    raise AssertionError("getaddrinfo gives at least one address")


def _left(deadline: float) -> float:
    from time import monotonic

    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Plain:
    """A connection of which every call ends by the deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline

    def send(self, data: bytes) -> None:
        self._connection.settimeout(_left(self._deadline))
        self._connection.sendall(data)

    def receive(self) -> bytes:
        """What has come; empty at the end."""
        self._connection.settimeout(_left(self._deadline))
        return self._connection.recv(1 << 16)


class _Secured:
    """TLS over any stream, also over TLS, which the standard library's sockets cannot do."""

    def __init__(self, below: Stream, context: ssl.SSLContext, host: str) -> None:
        import ssl

        self._below, self._came, self._goes = below, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=host)
        self._pump(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._pump(lambda: self._tls.write(data))

    def receive(self) -> bytes:
        import ssl

        try:
            return self._pump(lambda: self._tls.read(1 << 16))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def chain(self) -> tuple[bytes, ...]:
        """DER, as presented. Python has it in public from 3.13 on; before, and where it is gone, at least the first."""
        try:
            held: list[Certificate] = vars(self._tls)["_sslobj"].get_unverified_chain()
            return tuple(each.public_bytes(2) for each in held)  # 2: DER
        except (AttributeError, KeyError, TypeError):
            return tuple(der for der in [self._tls.getpeercert(binary_form=True)] if der)

    def _pump(self, act: Callable[[], T]) -> T:
        import ssl

        while True:
            try:
                result = act()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                if data := self._below.receive():
                    self._came.write(data)
                else:
                    self._came.write_eof()
            except ssl.SSLError:
                with suppress(OSError):  # the alert that says why; the other side may be gone
                    self._flush()
                raise

    def _flush(self) -> None:
        if data := self._goes.read():
            self._below.send(data)


def _trusting(roots: str, system: tuple[str, ...]) -> ssl.SSLContext:
    """One that trusts these certificates only."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if roots:
        context.load_verify_locations(cadata=roots)
    for path in system:
        with suppress(OSError):  # a store that cannot be read makes nothing trusted, which will show
            kind = "capath" if files.is_folder(path) else "cafile"
            context.load_verify_locations(**{kind: path})
    return context


def _blind() -> ssl.SSLContext:
    """One that looks at any certificate. What goes over it is worth nothing to a stranger."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# ---- HTTP

_LARGEST_HEAD = 1 << 16  # bytes


@dataclass(frozen=True)
class _Head:
    status: int
    fields: tuple[tuple[str, str], ...]  # names in lower case

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name]

    def first(self, name: str) -> str:
        return (self.all(name) or [""])[0]


def _ask(stream: Stream, what: str, host: str, proxy: Proxy | None) -> _Head:
    """The head of the answer. `proxy` is who gets to see this request, and its credentials with it."""
    lines = [f"{what} HTTP/1.1", f"Host: {host}", "User-Agent: ccremedy", "Accept: */*"]
    if proxy and (login := proxy.login().reveal()):
        from base64 import b64encode

        lines.append(f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}")
    if not what.startswith("CONNECT"):
        lines.append("Connection: close")
    stream.send("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not (end := re.search(rb"\r?\n\r?\n", head)):
        if len(head) > _LARGEST_HEAD or not b"HTTP/1.".startswith(head[:7]):
            raise _Refusal("answers with something that is not HTTP")
        part = stream.receive()
        if not part:
            raise ConnectionResetError
        head += part
    first, *rest = head[: end.start()].decode("latin-1").splitlines()
    match = re.match(r"HTTP/1\.[01] ([1-5]\d\d)\b", first)
    if match is None:
        raise _Refusal("answers with something that is not HTTP")
    pairs = (line.partition(":") for line in rest)
    return _Head(int(match[1]), tuple((name.strip().lower(), value.strip()) for name, _, value in pairs))


def _pass(head: _Head, proxy: Proxy) -> None:
    """Through the proxy, or a _Refusal that says why not."""
    if 200 <= head.status < 300:
        return
    schemes: tuple[str, ...] = ()
    if head.status == 407:
        schemes = _schemes(head.all("proxy-authenticate"))
        offered = ", ".join(schemes) or "it does not say how"
        if schemes and "basic" not in map(str.lower, schemes):
            what = f"wants a login by {offered}, and Claude Code can only do Basic"
        elif proxy.login().reveal():
            what = "does not accept this user name and password"
        else:
            what = f"wants a user name and a password ({offered})"
    elif head.status == 403:
        what = "does not let this connection pass (403)"
    else:
        what = f"could not or would not make the connection ({head.status})"
    raise _Refusal(what, code="ERR_PROXY_TUNNEL", status=head.status, schemes=schemes)


def _schemes(challenges: list[str]) -> tuple[str, ...]:
    """The schemes of Proxy-Authenticate, each once: a list of schemes and parameters, both parted by commas."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"?', "", ",".join(challenges))
    found = re.findall(r"(?:^|,)\s*([A-Za-z][\w-]*)(?=\s+[^\s=]|\s*(?:,|$))", bare)
    return tuple(dict.fromkeys(found))


def _answer(stream: Stream, target: _Target, proxy: Proxy | None, chain: tuple[bytes, ...]) -> Look:
    """The API's answer, or that of something that stands before it. Over plain HTTP the proxy gets the request."""
    default = target.port == {"http": 80, "https": 443}[target.scheme]
    host = _place(target.host, target.port).rpartition(":")[0] if default else _place(target.host, target.port)
    path = f"{target.path}/api/hello"
    through = proxy if target.scheme == "http" else None
    head = _ask(stream, f"HEAD http://{host}{path}" if through else f"HEAD {path}", host, through)
    if through and head.status == 407:
        _pass(head, through)
    found = Look("http", True, head.status, chain=chain, server_date=_seconds(head.first("date")))
    location = re.match(r"(https?://)([^/?#@]+)[^?#@]*", head.first("location"), re.I)
    if 300 <= head.status < 400 and location and location[2].lower() not in (host, f"{host}:{target.port}"):
        where = visible(location[0])
        error = f"{host} sends us to {where}: something in between wants a person to sign in"
        return replace(found, ok=False, redirect=where, error=error)
    page = head.first("content-type").lower().startswith("text/html")
    if page and (through or head.status in (200, 403, 511)):
        error = f"{host} answers with a web page ({head.status}), so something in between blocks it or wants a sign-in"
        return replace(found, ok=False, error=error)
    return found


def _seconds(date: str) -> float | None:
    """Of an HTTP date such as "Sun, 06 Nov 1994 08:49:37 GMT"."""
    import ssl

    match = re.fullmatch(r"\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d:\d\d:\d\d) GMT", date)
    with suppress(ValueError):
        if match:
            return ssl.cert_time_to_seconds(f"{match[2]} {match[1]} {match[4]} {match[3]} GMT")
    return None


# ---- errors


def _who(found: Look, target: _Target, proxy: Proxy | None) -> str:
    if proxy and found.phase in ("resolve", "connect", "tunnel"):
        return f"The proxy {_place(proxy.host, proxy.port)}"
    return _place(target.host, target.port)


def _distrusted(error: ssl.SSLCertVerificationError, length: int, who: str) -> dict[str, Any]:
    """OpenSSL, as node runs it, goes on after its first error and tells the last; Python tells the first."""
    number = 21 if error.verify_code == 20 and length == 1 else error.verify_code
    code, what = knowledge.load("tls_errors")["certificate"].get(
        str(number), ("ERR_TLS", f"its certificate cannot be trusted ({error.verify_message})")
    )
    return {"code": code, "error": f"{who} is not trusted: {what}"}


def _explained(error: OSError | UnicodeError, who: str, timeout: float) -> dict[str, Any]:
    """What happened, and what node calls it."""
    import errno
    import socket
    import ssl

    if isinstance(error, (socket.gaierror, UnicodeError)):
        again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        name = who.rpartition(":")[0]
        what = "cannot be looked up: the name server does not answer" if again else "is not a name that is known here"
        return {"code": "EAI_AGAIN" if again else "ENOTFOUND", "error": f"{name} {what}"}
    if isinstance(error, TimeoutError):
        return {"code": "ETIMEDOUT", "error": f"{who} did not answer to its end within {timeout:g} seconds"}
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)):
        return {"code": "ECONNRESET", "error": f"{who} broke the connection off without an answer"}
    if isinstance(error, ConnectionRefusedError):
        what = "refuses the connection: nothing listens there, or a firewall forbids it"
        return {"code": "ECONNREFUSED", "error": f"{who} {what}"}
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "UNKNOWN"
        what = knowledge.load("tls_errors")["protocol"].get(reason, f"TLS fails ({reason.lower().replace('_', ' ')})")
        return {"code": f"ERR_SSL_{reason}", "error": f"{who}: {what}"}
    code = errno.errorcode.get(error.errno or 0, "").removeprefix("WSA")  # as Windows has them
    return {"code": code, "error": f"{who} cannot be reached: {explain(error)}"}
