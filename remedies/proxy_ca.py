"""Lead Claude Code through a proxy, and let it trust the authority that signs for one that reads TLS.

What is set is tried first, phase by phase; what is to be set is tried before it is written, and proven with node and
Claude Code afterwards. It goes into the `env` of ~/.claude/settings.json, which reaches every session wherever it was
started from (`--profile`, `--vscode`: elsewhere instead). Switches that let every certificate pass are taken out.
"""

from __future__ import annotations

from ccremedy import Change, Finding, Healthy, Machine, Option, Remedy, settings
from ccremedy.record import replace

from . import _claude, _trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._way import Way

CA = "NODE_EXTRA_CA_CERTS"


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
        Option("proxy", "the proxy to go through; - asks for it, which keeps a login out of sight", "URL"),
        Option("ca", "a file with the certificate authority to trust", "FILE"),
        Option("no-proxy", "hosts to reach without the proxy, with commas", "LIST"),
        Option("capture", "trust the authority that the network presents; its fingerprint is shown first"),
        Option("convert", "make a PEM copy of a certificate file of another form"),
        Option(
            "profile", "set it in the start-up files of your shells (or in the registry), not in Claude Code's settings"
        ),
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
        yield from _claude.unread_settings(machine, b"PROXY", b"_CERT", b"proxy")
        asked = any(machine.options.get(option.name) for option in self.options)
        known = settings.variable(machine, *settings.PROXY_NAMES, CA).value or any(_trust.proxies(machine))
        if asked or known:
            yield from _look(machine, asked)
        elif not off:
            yield Healthy(
                "neither a proxy nor an authority of its own is set anywhere; what the network presents, "
                "`ccremedy apply proxy-ca --capture --dry-run` shows"
            )


def _look(machine: Machine, asked: bool) -> Iterator[Finding | Healthy]:
    from . import _bundle, _way  # which open connections

    now, misspelt = _way.as_it_is(machine)
    if misspelt and not machine.options.get("proxy"):
        yield misspelt
        return
    way, risk = _way.as_asked(machine, now).tried(machine), "medium"
    if way.proxy is None and way.seen.phase in ("resolve", "connect"):
        way = _way.through_another(machine, way)
    code = f" ({way.seen.code})" if way.seen.code else ""
    evidence = [f"{way.seen.error}{code}" if way.seen.error else f"{way.url} answers{_way.through(way)}"]
    if way.untrusted or machine.options.get("capture"):
        shown = _bundle.presented(machine, way.seen.chain)
        evidence += [f"the network presents {line}" for line in shown.describe()] or _way.leaf(way)
    if way.untrusted:
        way, risk = _way.trusting(machine, way)
    changes = list(_changes(machine, now, way))
    faults = now.authority.faults if now.authority and way.authority is now.authority else ()
    if faults and way.seen.ok and not changes:
        changes += _trust.useless(machine, CA)
    scripts = [] if way.seen.ok or way.proxy else _way.scripts(machine)
    if not changes and not faults and (way.seen.ok or (way.proxy is None and not way.untrusted and not scripts)):
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
    where = settings.variable(machine, CA).where
    evidence += [
        *way.because,
        *(f"{CA} in {where} names {now.authority.path}, which {why}" for why in faults if now.authority),
    ]
    title = "the way to the API is to be set" if asked else "Claude Code does not come through to the API"
    if way.seen.ok and faults and not asked:
        title = "an authority is named that cannot be used"
    kept = any(change.key()[0] == "Entry" for change in changes)  # nobody may decline just the keeping
    advice = (*scripts, *_way.advice(way, changes))
    if not way.seen.ok and way.proxy and way.proxy == now.proxy:
        evidence.append(f"that proxy is set in {settings.variable(machine, *settings.PROXY_NAMES).where}")
        if way.seen.phase in ("resolve", "connect"):
            advice = (*advice, "Name another one (--proxy URL), or where none is needed any more, take it out there")
    yield Finding("way", title, tuple(evidence), advice, tuple(changes), risk=risk, together=kept)


def _changes(machine: Machine, now: Way, way: Way) -> Iterator[Change]:
    from . import _env

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
    for change in _env.changes(machine, values, way.url):
        names = [name for name in values if change.key()[2].rpartition("/")[2] == name] or list(values)
        above = next(filter(None, (_above(machine, name, values[name], change) for name in names)), "")
        yield replace(change, refused=change.refused or above)


def _above(machine: Machine, name: str, value: str, change: Change) -> str:
    """What would win over the change ('': nothing): settings beat every shell, and one layer of them another."""
    now = settings.variable(machine, name)
    if now.where in ("", settings.SHELL, change.resource.path) or now.value == value:
        return ""
    layers = [layer.path for layer in settings.layers(machine)]
    if change.resource.path in layers and layers.index(change.resource.path) < layers.index(now.where):
        return ""
    return f"would change nothing: {now.where} sets {name} too, and wins"
