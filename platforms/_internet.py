r"""What Windows itself knows of the way out: the proxy of its internet settings, and the authorities in its stores.

The settings are what the control panel, Edge and group policies write (WinINET); a script that chooses proxies (PAC)
is said, not run. Windows fetches public roots when they are first needed, so a new one may not hold all of them.
"""

from __future__ import annotations

import re
import sys

from ccremedy import Machine, hive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = r"Microsoft\Windows\CurrentVersion\Internet Settings"
_SERVER_AUTH = "1.3.6.1.5.5.7.3.1"  # RFC 5280, id-kp-serverAuth


def proxies(machine: Machine) -> Iterator[tuple[str, str]]:
    """See `Adapter.proxies`."""
    key = machine.facts.key
    for_all = _number(key(rf"{hive.SYSTEM}\SOFTWARE\Policies\{_SETTINGS}"), "ProxySettingsPerUser") == 0
    where = key(rf"{hive.SYSTEM if for_all else hive.USER}\Software\{_SETTINGS}")
    server = _for_https(hive.text(where, "ProxyServer"))
    if server and _number(where, "ProxyEnable"):
        exceptions = hive.text(where, "ProxyOverride")
        yield server, rf"{where}\ProxyServer" + (f" (but for {exceptions})" if exceptions else "")
    if script := hive.text(where, "AutoConfigURL"):
        yield "", rf"{where}\AutoConfigURL names the script {script}"


def _for_https(servers: str) -> str:
    """`host:port`, or a list with one for each scheme: that for https, or else for http."""
    each = dict(part.lower().split("=", 1) for part in re.split(r"[;\s]+", servers) if "=" in part)
    server = each.get("https") or each.get("http", "") if each else servers.split(";")[0].strip()
    return server if "://" in server or not server else f"http://{server}"


def _number(key: str, name: str) -> int | None:
    found = hive.read(key, name)
    return int.from_bytes(found[1], "little") if found is not None and found[0] == 4 else None


def authorities() -> str:
    """The certificates that may vouch for a server, as PEM: not those that have expired, nor the disallowed."""
    if sys.platform != "win32":
        return ""
    import ssl
    from contextlib import suppress
    from time import time

    from ccremedy import certificates

    found: dict[bytes, None] = {}
    for store in ("ROOT", "CA"):
        with suppress(OSError):  # one that is not there
            for der, kind, trusted_for in ssl.enum_certificates(store):
                vouches = trusted_for if isinstance(trusted_for, bool) else _SERVER_AUTH in trusted_for
                if kind == "x509_asn" and vouches:
                    found[der] = None
    with suppress(OSError):
        for der, _, _ in ssl.enum_certificates("Disallowed"):
            found.pop(der, None)
    now = time()
    bundle = certificates.judge("".join(map(ssl.DER_cert_to_PEM_cert, found)).encode(), now)
    return "".join(ssl.DER_cert_to_PEM_cert(each.der) for each in bundle.certificates if each.in_date(now))
