"""The way to the API: as it is set, as it was asked for, as other programs go it; and how far one comes on it."""

from __future__ import annotations

import os
import re
import time

from ccremedy import Change, Finding, Machine, Problem, certificates, network, settings
from ccremedy.errors import UNSUPPORTED, USAGE
from ccremedy.record import dataclass, replace
from ccremedy.redact import visible

from . import _bundle, _trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

API = "https://api.anthropic.com"
CA = "NODE_EXTRA_CA_CERTS"
RESTART = (
    "Running sessions keep what they started with: start them anew (those in the background: claude daemon stop --any)"
)


@dataclass(frozen=True)
class Way:
    """How the API is to be reached, and what became of trying it."""

    url: str
    proxy: network.Proxy | None = None
    authority: _bundle.Authority | None = None
    no_proxy: str = ""
    seen: network.Look = network.Look("resolve")
    because: tuple[str, ...] = ()  # where we have it from, if nobody asked for it

    def tried(self, machine: Machine) -> Way:
        sound = self.authority is not None and not self.authority.faults
        roots = self.authority.bundle.pem if self.authority and sound else ""
        return replace(self, seen=machine.look(self.url, self.proxy, roots, self.no_proxy))

    @property
    def untrusted(self) -> bool:
        return self.seen.phase == "tls" and bool(self.seen.chain)


def as_it_is(machine: Machine) -> tuple[Way, Finding | None]:
    """What Claude Code is told today, and what of it cannot be read."""
    proxy, misspelt = None, None
    set_to, ca = settings.variable(machine, *settings.PROXY_NAMES), settings.variable(machine, CA)
    try:
        proxy = network.read_proxy(set_to.value) if set_to.value else None
    except Problem as problem:
        title = "the proxy is written in a way that Claude Code cannot use"
        misspelt = Finding(
            "proxy", title, (f"{set_to.where}: it {problem.what}",), tuple(filter(None, (problem.todo,)))
        )
    authority = _bundle.read(machine, ca.value, bool(machine.options.get("convert"))) if ca.value else None
    url = settings.variable(machine, "ANTHROPIC_BASE_URL").value or API
    exceptions = (settings.variable(machine, name).value for name in ("no_proxy", "NO_PROXY"))
    no_proxy = ",".join(filter(None, exceptions))  # Claude Code takes both
    return Way(url, proxy, authority, no_proxy), misspelt


def as_asked(machine: Machine, now: Way) -> Way:
    """With what the command line says. Problem where that cannot be used."""
    url, path, no_proxy = (str(machine.options.get(name) or "") for name in ("proxy", "ca", "no-proxy"))
    way = replace(now, no_proxy=no_proxy or now.no_proxy)
    _check_exceptions(no_proxy)
    if machine.options.get("profile") and machine.options.get("vscode"):
        raise Problem("one of the two, please", where="--profile, --vscode", code=USAGE)
    if url:
        try:
            way = replace(way, proxy=network.read_proxy(url))
        except Problem as problem:
            raise Problem(problem.what, where="--proxy", todo=problem.todo, code=USAGE) from None
        if network.bypasses(way.url, no_proxy):
            raise Problem("takes the API off the proxy", where="--no-proxy", todo="Leave its host out", code=USAGE)
    if path:
        authority = _bundle.read(machine, os.path.abspath(path), bool(machine.options.get("convert")))
        if authority.faults:
            raise Problem(authority.faults[0], where=visible(path), todo=authority.todo, code=UNSUPPORTED)
        way = replace(way, authority=authority)
    return way


def _check_exceptions(no_proxy: str) -> None:
    """Problem (2) where a list of hosts holds what no host's name does."""
    entries = no_proxy.replace(",", " ").split()
    odd = "" if no_proxy.isprintable() else "a line break or another control character"
    odd = odd or next((f"“{each}”" for each in entries if not re.fullmatch(r"[\w.*:/\[\]-]+", each)), "")
    odd = odd or ("* beside others, which counts only alone" if "*" in entries and len(entries) > 1 else "")
    if odd or (no_proxy and not entries):
        what = f"holds {odd or 'nothing'}"
        raise Problem(what, where="--no-proxy", todo="Give names of hosts, with commas", code=USAGE)


def through_another(machine: Machine, way: Way) -> Way:
    """The same through a proxy that other programs use, if that leads further."""
    for source in {each.value: each for each in _trust.proxies(machine)}.values():
        try:
            proxy = network.read_proxy(source.value)
        except Problem:
            continue
        other = replace(way, proxy=proxy, because=(f"{source.where} goes through {proxy.shown()}",)).tried(machine)
        if other.seen.ok or other.untrusted:
            return other
    return way


def scripts(machine: Machine) -> list[str]:
    """What to do about scripts that choose a proxy."""
    found = [where for value, where in machine.adapter.proxies(machine) if not value]
    return [f"{each} (PAC), which Claude Code does not run: --proxy with the URL of the one it names" for each in found]


def trusting(machine: Machine, way: Way) -> tuple[Way, str]:
    """The same with an authority that makes it work, if there is one; and the risk of trusting it."""
    if machine.options.get("capture"):
        captured = replace(way, authority=_bundle.presented(machine, way.seen.chain)).tried(machine)
        return (captured if captured.seen.ok else way), "high"
    for source in () if machine.options.get("ca") else _trust.authorities(machine):
        authority = _bundle.read(machine, source.value, bool(machine.options.get("convert")))
        if not authority.faults:
            because = (*way.because, f"{source.where} is {source.value}, and with it the certificate is trusted")
            other = replace(way, authority=authority, because=because).tried(machine)
            if other.seen.ok:
                return other, "medium"
    return way, "medium"


def leaf(way: Way) -> list[str]:
    """Who signed what the network presents, where it does not present that authority itself."""
    for each in certificates.judge(way.seen.chain[0], 0).certificates if way.seen.chain else ():
        return [
            f"the network presents the certificate of {each.subject}, signed by {each.issuer}, without that authority"
        ]
    return []


def through(way: Way) -> str:
    return f" through {way.proxy.shown()}" if way.proxy else ""


def advice(way: Way, changes: list[Change]) -> Iterator[str]:
    if way.seen.status == 407 and "Basic" in way.seen.schemes:
        yield "Give its login in the URL, percent-encoded, at a prompt that does not show it: --proxy -"
    elif way.seen.status == 407:
        yield (
            f"The proxy takes {' or '.join(way.seen.schemes) or 'no login that it names'}, Claude Code only Basic: "
            "run a small proxy of your own that logs in for it, such as px or cntlm"
        )
    if way.untrusted:
        yield "Get the certificate authority from whoever runs your network: ccremedy apply proxy-ca --ca FILE"
        if certificates.chain_roots(way.seen.chain, time.time()).fatal:
            yield "What the network presents (--capture) does not help: it keeps the authority to itself"
        else:
            yield "Or look at what the network presents, compare its fingerprint, and trust that: --capture"
    if not all(change.refused for change in changes):
        yield RESTART
