"""Lead Claude Code through a proxy, and let it trust the authority that signs for one that reads TLS.

What is set is tried first, phase by phase; what is to be set is tried before it is written, and proven with node and
Claude Code afterwards. It goes into the `env` of ~/.claude/settings.json, which reaches every session wherever it was
started from (`--profile`, `--vscode`: elsewhere instead). Switches that let every certificate pass are taken out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from ccremedy import (
    Block,
    Change,
    Finding,
    Healthy,
    Machine,
    Option,
    Problem,
    Remedy,
    Setting,
    files,
    key,
    network,
    seals,
    settings,
    want,
)
from ccremedy.errors import UNSUPPORTED, USAGE
from ccremedy.record import dataclass, replace
from ccremedy.redact import redact
from ccremedy.shells import profiles, quote

from . import _bundle, _keys, _trust

API = "https://api.anthropic.com"
CA = "NODE_EXTRA_CA_CERTS"
RESTART = (
    "Running sessions keep what they started with: start them anew (those in the background: claude daemon stop --any)"
)


class ProxyCa(Remedy):
    title = "Lead Claude Code through a proxy, and let it trust the company's certificate authority"
    symptoms = (
        "SSL certificate verification failed (UNABLE_TO_VERIFY_LEAF_SIGNATURE)",
        "Self-signed certificate detected (SELF_SIGNED_CERT_IN_CHAIN)",
        "Couldn't connect through your proxy (ERR_PROXY_TUNNEL)",
        "Unable to connect to API",
        "Ignoring extra certs from …",
    )
    options = (
        Option("proxy", "the proxy to go through", "URL"),
        Option("ca", "a file with the certificate authority to trust", "FILE"),
        Option("no-proxy", "hosts to reach without the proxy, with commas", "LIST"),
        Option("capture", "trust the authority that the network presents; its fingerprint is shown first"),
        Option("convert", "make a PEM copy of a certificate file of another form"),
        Option("profile", "set it in the start-up files of your shells, not in Claude Code's settings"),
        Option("vscode", "set it for VS Code's terminal, not in Claude Code's settings"),
    )

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        off = list(_trust.switches(machine))
        if off:
            yield Finding(
                "checks-off",
                "certificates are not checked, so anybody on the way could read along, the key included",
                tuple(sentence for sentence, _ in off),
                changes=tuple(change for _, change in off if change),
            )
        asked = any(machine.options.get(option.name) for option in self.options)
        known = settings.variable(machine, *network.PROXY_NAMES, CA).value or any(_trust.proxies(machine))
        if asked or known:
            yield from _look(machine)
        elif not off:
            yield Healthy(
                "neither a proxy nor an authority of its own is set anywhere; what the network presents, "
                "`ccremedy apply proxy-ca --capture --dry-run` shows"
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


def _look(machine: Machine) -> Iterator[Finding | Healthy]:
    now, misspelt = _as_it_is(machine)
    if misspelt and not machine.options.get("proxy"):
        yield misspelt
        return
    way, risk = _as_asked(machine, now).tried(machine), "medium"
    if way.proxy is None and way.seen.phase in ("resolve", "connect"):
        way = _through_another(machine, way)
    evidence = [way.seen.error or f"{way.url} answers{_through(way)}"]
    if way.untrusted or machine.options.get("capture"):
        shown = _bundle.presented(machine, way.seen.chain)
        evidence += [f"the network presents {line}" for line in shown.describe()] or _leaf(way)
    if way.untrusted:
        way, risk = _trusting(machine, way)
    changes = list(_changes(machine, now, way))
    faults = now.authority.faults if now.authority and way.authority is now.authority else ()
    if faults and way.seen.ok and (useless := _trust.removal(settings.user_file(machine), f"/env/{CA}")):
        changes.append(useless)
    if not changes and not faults and (way.seen.ok or (way.proxy is None and not way.untrusted)):
        yield Healthy(". ".join(evidence) if way.seen.ok else f"what is set is in order; the API: {evidence[0]}")
        return
    if changes and way.proxy and way.proxy.password.reveal():
        risk = "high"
        evidence.append(
            "the login of the proxy will stand in that file in clear: Claude Code takes it from nowhere else"
        )
    if not way.seen.ok:
        changes = [replace(each, refused=each.refused or f"would not help: {way.seen.error}") for each in changes]
    if changes and way.authority:
        evidence += [f"to be trusted: {line}" for line in way.authority.describe()]
    evidence += [*way.because, *(f"{CA} names {now.authority.path}, which {why}" for why in faults if now.authority)]
    asked = any(machine.options.get(option.name) for option in ProxyCa.options)
    title = "the way to the API is to be set" if asked else "Claude Code does not come through to the API"
    yield Finding("way", title, tuple(evidence), tuple(_advice(way, changes)), tuple(changes), risk=risk)


def _as_it_is(machine: Machine) -> tuple[Way, Finding | None]:
    """What Claude Code is told today, and what of it cannot be read."""
    proxy, misspelt = None, None
    set_to, ca = settings.variable(machine, *network.PROXY_NAMES), settings.variable(machine, CA)
    try:
        proxy = network.read_proxy(set_to.value) if set_to.value else None
    except Problem as problem:
        title = "the proxy is written in a way that Claude Code cannot use"
        misspelt = Finding("proxy", title, (f"{set_to.where}: it {problem.what}",), (problem.todo,))
    authority = _bundle.read(machine, ca.value, bool(machine.options.get("convert"))) if ca.value else None
    url = settings.variable(machine, "ANTHROPIC_BASE_URL").value or API
    return Way(url, proxy, authority, settings.variable(machine, "no_proxy", "NO_PROXY").value), misspelt


def _as_asked(machine: Machine, now: Way) -> Way:
    """With what the command line says. Problem where that cannot be used."""
    url, path, no_proxy = (str(machine.options.get(name) or "") for name in ("proxy", "ca", "no-proxy"))
    way = replace(now, no_proxy=no_proxy or now.no_proxy)
    if not no_proxy.isprintable():
        raise Problem("holds a line break or another control character", where="--no-proxy", code=USAGE)
    if url:
        way = replace(way, proxy=network.read_proxy(url))
    if path:
        authority = _bundle.read(machine, os.path.abspath(path), bool(machine.options.get("convert")))
        if authority.faults:
            todo = "Ask whoever runs your network for the certificate authority as a PEM file"
            raise Problem(authority.faults[0], where=path, todo=todo, code=UNSUPPORTED)
        way = replace(way, authority=authority)
    return way


def _through_another(machine: Machine, way: Way) -> Way:
    """The same through a proxy that other programs use, if that leads further."""
    for source in _trust.proxies(machine):
        try:
            proxy = network.read_proxy(source.value)
        except Problem:
            continue
        other = replace(way, proxy=proxy, because=(f"{source.where} goes through {proxy.shown()}",)).tried(machine)
        if other.seen.ok or other.untrusted:
            return other
    return way


def _trusting(machine: Machine, way: Way) -> tuple[Way, str]:
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


def _changes(machine: Machine, now: Way, way: Way) -> Iterator[Change]:
    values: dict[str, str] = {}
    if way.proxy and (machine.options.get("proxy") or way.proxy != now.proxy):
        values["HTTPS_PROXY"] = way.proxy.spelled()
        if machine.env.get("https_proxy") not in (None, "", way.proxy.spelled()):
            values["https_proxy"] = way.proxy.spelled()  # this spelling of the shell's would win
    if way.authority and (machine.options.get("ca") or way.authority is not now.authority or way.authority.copied):
        values[CA] = way.authority.path
    if machine.options.get("no-proxy"):
        values["NO_PROXY"] = way.no_proxy
    if way.authority and CA in values:
        yield from way.authority.written()
    if machine.options.get("profile"):
        yield from _in_profiles(machine, values)
    elif machine.options.get("vscode"):
        path = next((each for each in _keys.editor_settings(machine) if files.status(each)), "")
        if not path:
            raise Problem("has no settings here", where="VS Code", todo="Leave --vscode out", code=UNSUPPORTED)
        yield from _members(machine, path, "/terminal.integrated.env.linux", values, strict=False)
    else:
        yield from _members(machine, settings.user_file(machine), "/env", values, expects=(f"reaches {way.url}",))


def _members(
    machine: Machine, path: str, inside: str, values: dict[str, str], strict: bool = True, expects: tuple[str, ...] = ()
) -> Iterator[Change]:
    """A password stays out of the journal; one that is replaced is kept for undo in the secret store."""
    for name, value in values.items():
        text, setting = json.dumps(value), Setting.at(path, f"{inside}/{name}", strict)
        by_hand = f"Put into {path}, below “{inside[1:]}”: {json.dumps(name)}: {redact(text)}"
        hide = any(redact(each) != each for each in (value, _now(setting)))
        if hide:
            setting = replace(setting, vault=seals.OS_STORE)
        last = name == list(values)[-1]
        for change in want(setting, seals.seal(text, text, value) if hide else text, by_hand=by_hand,
                           expects=expects if last else ()):  # fmt: skip
            for held in seals.names(change.before or ""):
                yield from want(key.entry(machine, held, seals.OS_STORE), f"‹secret:{held}›")
            yield change


def _now(setting: Setting) -> str:
    try:
        return setting.read() or ""
    except Problem:  # which `want` will say
        return ""


def _in_profiles(machine: Machine, values: dict[str, str]) -> Iterator[Change]:
    if any(redact(value) != value for value in values.values()):
        todo = "Leave --profile out: Claude Code's own settings can be closed to others"
        raise Problem("is no place for a password", where="a start-up file", todo=todo, code=UNSUPPORTED)
    for profile in profiles(machine) if values else []:
        lead = "set -gx {} {}\n" if profile.shell == "fish" else "export {}={}\n"
        body = "".join(lead.format(name, quote(profile.shell, value)) for name, value in values.items())
        expects = tuple(f"env {name}={value}" for name, value in values.items())
        yield from want(Block(profile.path, "proxy-ca", profile.shell, profile.role), body, expects=expects)


def _through(way: Way) -> str:
    return f" through {way.proxy.shown()}" if way.proxy else ""


def _leaf(way: Way) -> list[str]:
    return ["the network presents only its own certificate, not the authority that signed it"] if way.seen.chain else []


def _advice(way: Way, changes: list[Change]) -> Iterator[str]:
    if way.seen.status == 407 and "Basic" in way.seen.schemes:
        yield "Say user and password in the URL, percent-encoded: --proxy http://USER:PASSWORD@HOST:PORT"
    elif way.seen.status == 407:
        yield (
            f"The proxy takes {' or '.join(way.seen.schemes) or 'no login that it names'}, Claude Code only Basic: "
            "run a small proxy of your own that logs in for it, such as px or cntlm"
        )
    if way.untrusted:
        yield "Get the certificate authority from whoever runs your network: ccremedy apply proxy-ca --ca FILE"
        yield "Or look at what the network presents, compare its fingerprint, and trust that: --capture"
    if changes:
        yield RESTART
