"""The judge of CA bundles: 100 files, each with a verdict written down by hand, and node's own opinion of each.

What the judge passes, a real node trusts by NODE_EXTRA_CA_CERTS; what it fails, node does not trust either, but for the
few that are refused because trusting them would not be safe. What it converts, node trusts after the conversion.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)  # fmt: skip
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from real import fetch

from ccremedy import certificates
from ccremedy.certificates import Bundle, chain_roots, describe, judge
from ccremedy.record import replace

DAY = datetime.timedelta(days=1)
TODAY = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


# ---- certificates to be judged


def elliptic() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def weak_key() -> Key:
    return rsa.generate_private_key(65537, 1024)


@dataclass
class Party:
    """A certificate and its key."""

    made: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.made.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.made.public_bytes(Encoding.DER)

    def private(self, form: PrivateFormat, encoding: Encoding = Encoding.PEM, password: bytes = b"") -> bytes:
        protection = BestAvailableEncryption(password) if password else NoEncryption()
        return self.key.private_bytes(encoding, form, protection)


def party(
    name: str,
    issuer: Party | None = None,
    *,
    key: Key | None = None,
    ca: bool | None = True,
    since: datetime.datetime = TODAY - DAY,
    until: datetime.datetime = TODAY + 300 * DAY,
    may_sign: bool = True,
    hosts: tuple[str, ...] = (),
) -> Party:
    key = key or elliptic()
    signer = issuer.key if issuer else key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signing = issuer.made.subject if issuer else subject
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(signing).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(authority, critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if ca:
        flags = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        flags |= {"encipher_only": False, "decipher_only": False, "digital_signature": True, "crl_sign": True}
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=may_sign, **flags), critical=True)
    if hosts:
        names = [x509.DNSName(host) for host in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Party(builder.sign(signer, algorithm), key)


def resigned(who: Party, signer: Party, oid: str, digest: hashes.HashAlgorithm, without: tuple[int, ...] = ()) -> Party:
    """The same with a signature of another kind, and without the parts of these tags."""
    algorithm = _wrapped(0x30, _wrapped(0x06, bytes.fromhex(oid)))
    parts = [(tag, value) for tag, _, value in _parts(who.made.tbs_certificate_bytes) if tag not in without]
    place = [tag for tag, _ in parts].index(0x30)
    body = _wrapped(0x30, b"".join([algorithm if at == place else value for at, (_, value) in enumerate(parts)]))
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = _wrapped(0x03, b"\0" + signer.key.sign(body, ec.ECDSA(digest)))
    return Party(x509.load_der_x509_certificate(_wrapped(0x30, body + algorithm + signature)), who.key)


def version_1(root: Party) -> Party:
    return resigned(root, root, "2a8648ce3d040302", hashes.SHA256(), without=(0xA0, 0xA3))


def by_sha1(who: Party, signer: Party) -> Party:
    return resigned(who, signer, "2a8648ce3d0401", hashes.SHA1())


def _parts(der: bytes) -> list[tuple[int, bytes, bytes]]:
    return certificates._values(certificates._values(der)[0][1])


def _wrapped(tag: int, content: bytes) -> bytes:
    size = len(content)
    return (
        bytes([tag, size] if size < 0x80 else [tag, 0x81, size] if size < 0x100 else [tag, 0x82, *divmod(size, 256)])
        + content
    )


ROOT = party("Corp Root")
OTHER = party("Other Root")
INTERMEDIATE = party("Corp Intermediate", ROOT)
LEAF = party("localhost", ROOT, ca=False, hosts=("localhost",))
ALONE = party("localhost", ca=False, hosts=("localhost",))
BARE = party("localhost", ca=None, hosts=("localhost",))
OLD = party("Corp Root", since=TODAY - 900 * DAY, until=TODAY - DAY)  # the same name, another key
COMING = party("Coming Root", since=TODAY + DAY)
VERSION_1 = version_1(party("Old Style Root"))
SMALL = party("Small Root", key=weak_key())
SIGNED = ROOT.private(PrivateFormat.PKCS8)
RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_ROOT = party("RSA Root", key=RSA_KEY)
ED_ROOT = party("Ed Root", key=ed25519.Ed25519PrivateKey.generate())
REVOKED = (
    x509.CertificateRevocationListBuilder()
    .issuer_name(ROOT.made.subject).last_update(TODAY - DAY).next_update(TODAY + DAY)
    .sign(elliptic(), hashes.SHA256())
)  # fmt: skip
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(ROOT.made.subject).sign(elliptic(), hashes.SHA256())
CRL, CSR = (each.public_bytes(Encoding.PEM) for each in (REVOKED, REQUEST))
PUBLIC = ROOT.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
BODY = base64.b64encode(ROOT.der)
STORE = b"\n".join(party(f"Public Root {number}").pem for number in range(120))


def armoured(body: bytes, label: bytes = b"CERTIFICATE", width: int = 64) -> bytes:
    lines = [body[at : at + width] for at in range(0, len(body), width)]
    return b"\n".join([b"-----BEGIN %s-----" % label, *lines, b"-----END %s-----" % label, b""])


def damaged(pem: bytes) -> bytes:
    return pem.replace(b"MI", b"!!", 1)


def without_end(pem: bytes) -> bytes:
    return pem[: pem.index(b"-----END")]


# ---- the corpus


@dataclass(frozen=True)
class Case:
    """A file and what is to be said of it. `server` names who presents a certificate to node, below.

    `unsafe`: why it is refused although node would trust it.
    """

    data: bytes
    form: str = "pem"
    fatal: frozenset[str] = frozenset()
    warnings: frozenset[str] = frozenset()
    server: str = "of the root"
    unsafe: str = ""
    mended: bool | None = None  # whether node trusts what it is converted to; None: nothing comes of it


def good(data: bytes, *warnings: str, server: str = "of the root") -> Case:
    return Case(data, warnings=frozenset(warnings), server=server)


def bad(data: bytes, *fatal: str, form: str = "pem", mended: bool | None = None, warn: tuple[str, ...] = ()) -> Case:
    return Case(data, form, frozenset(fatal), frozenset(warn), mended=mended)


def refused(data: bytes, *fatal: str, why: str, form: str = "pem", server: str = "of the root") -> Case:
    return Case(data, form, frozenset(fatal), unsafe=why, server=server)


KEY_INSIDE = "a private key lies beside the certificate"
ONE_SERVER = "it is a server's own certificate, and no authority's"

KEYS: dict[str, bytes] = {
    "an RSA key in the traditional form": Party(ROOT.made, RSA_KEY).private(PrivateFormat.TraditionalOpenSSL),
    "an EC key in the traditional form": ROOT.private(PrivateFormat.TraditionalOpenSSL),
    "a PKCS#8 key": SIGNED,
    "an encrypted PKCS#8 key": ROOT.private(PrivateFormat.PKCS8, password=b"pw"),
    "an RSA key encrypted in the traditional form": Party(ROOT.made, RSA_KEY).private(
        PrivateFormat.TraditionalOpenSSL, password=b"pw"
    ),
    "an OpenSSH key": ROOT.private(PrivateFormat.OpenSSH),
    "a DSA key": armoured(b"MIIBuwIBAAKBgQ==", b"DSA PRIVATE KEY"),
    "a PGP key": b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----\n",
    "EC parameters and their key": armoured(b"BggqhkjOPQMBBw==", b"EC PARAMETERS")
    + ROOT.private(PrivateFormat.TraditionalOpenSSL),
    "a key with Windows' line ends": SIGNED.replace(b"\n", b"\r\n"),
    "an indented key": b"  " + SIGNED.replace(b"\n", b"\n  "),
    "a key that OpenSSL printed as text": b"Private-Key: (256 bit)\npriv:\n    0a:1b:2c\n",
    "a PuTTY key": b"PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 1\nAAAA\n",
}

CORPUS: dict[str, Case] = {
    # ---- what is meant
    "a root": good(ROOT.pem),
    "a root and an intermediate": good(ROOT.pem + INTERMEDIATE.pem),
    "an intermediate, then its root": good(INTERMEDIATE.pem + ROOT.pem),
    "two roots": good(OTHER.pem + ROOT.pem),
    "a root with an RSA key": good(RSA_ROOT.pem, server="of the RSA root"),
    "a root among 120 others": good(STORE + ROOT.pem),
    "a whole chain with its leaf": good(LEAF.pem + INTERMEDIATE.pem + ROOT.pem),
    "a root, then a leaf": good(ROOT.pem + LEAF.pem),
    "a root twice": good(ROOT.pem + ROOT.pem, "duplicate"),
    "two keys of one name": good(party("Corp Root").pem + ROOT.pem, "same-name"),
    "a root until the year 9999": good(
        party("Long Root", key=ROOT.key, until=datetime.datetime(9999, 12, 31)).pem + ROOT.pem
    ),
    "a root since 1951": good(party("Early Root", since=datetime.datetime(1951, 1, 1)).pem + ROOT.pem),
    "a root of version 1": good(VERSION_1.pem, "v1", server="of the version 1 root"),
    "a root with an RSA key of 1024 bits": good(SMALL.pem, "weak", server="of the small root"),
    "a root that signs itself by SHA-1": good(by_sha1(ROOT, ROOT).pem),
    "a root, and an intermediate signed by SHA-1": good(
        by_sha1(party("Weak Intermediate", ROOT), ROOT).pem + ROOT.pem, "weak"
    ),
    "a root with an Ed25519 key": good(ED_ROOT.pem + ROOT.pem),
    "a root and a revocation list": good(ROOT.pem + CRL),
    "a root and a request": good(ROOT.pem + CSR),
    "a root and a public key": good(PUBLIC + ROOT.pem),
    # ---- how it is written
    "Windows' line ends": good(ROOT.pem.replace(b"\n", b"\r\n")),
    "old Macs' line ends": bad(ROOT.pem.replace(b"\n", b"\r"), "untidy", form="untidy", mended=True),
    "no line end at the end": good(ROOT.pem.rstrip()),
    "blanks behind each line": good(ROOT.pem.replace(b"\n", b"  \n")),
    "empty lines around": good(b"\n\n" + ROOT.pem + b"\n\n" + OTHER.pem + b"\n\n"),
    "an empty line within the block": bad(
        ROOT.pem.replace(b"\n", b"\n\n", 2), "untidy", form="untidy", mended=True
    ),
    "indented by blanks": bad(b"  " + ROOT.pem.replace(b"\n", b"\n  "), "untidy", form="untidy", mended=True),
    "indented by tabs": bad(b"\t" + ROOT.pem.replace(b"\n", b"\n\t"), "untidy", form="untidy", mended=True),
    "quoted as in a mail": bad(b"> " + ROOT.pem.replace(b"\n", b"\n> "), "damaged-block"),
    "line ends spelled out, as from a variable": bad(
        ROOT.pem.replace(b"\n", b"\\n"), "untidy", form="untidy", mended=True
    ),
    "two blocks on one line": bad(
        OTHER.pem.rstrip() + ROOT.pem, "untidy", form="untidy", mended=True
    ),
    "base64 in lines of 76": good(armoured(BODY, width=76)),
    "base64 in lines of 48": good(armoured(BODY, width=48)),
    "base64 in one line": good(armoured(BODY, width=10_000)),
    "OpenSSL's text before": good(b"Certificate:\n    Data:\n        Version: 3 (0x2)\n" + ROOT.pem),
    "attributes of a bag before": good(b"Bag Attributes\n    friendlyName: corp\nsubject=/CN=Corp\n" + ROOT.pem),
    "a comment with umlauts": good("# Zertifikat für Übertragung\n".encode() + ROOT.pem),
    "a comment in Latin-1": good("# Zertifikat für Übertragung\n".encode("latin-1") + ROOT.pem),
    "NULs before": bad(b"\0\0\0\0\n" + ROOT.pem, "untidy", form="untidy", mended=True),
    "NULs behind": good(ROOT.pem + b"\0" * 512),
    "the label X509 CERTIFICATE": good(armoured(BODY, b"X509 CERTIFICATE")),
    "the label TRUSTED CERTIFICATE": bad(armoured(BODY, b"TRUSTED CERTIFICATE"), "no-certificate"),
    "a label in lower case": bad(armoured(BODY).replace(b"CERTIFICATE", b"certificate"), "no-certificate"),
    "a BEGIN with four dashes": bad(ROOT.pem[1:], "not-pem", form="junk"),
    "an END with four dashes": bad(ROOT.pem.rstrip()[:-1], "truncated"),
    # ---- encodings
    "a UTF-8 mark": Case(
        b"\xef\xbb\xbf" + ROOT.pem, "untidy", frozenset({"untidy"}), unsafe="Claude Code 2.1.330 reads none of it",
        mended=True,
    ),
    "a UTF-8 mark before a comment": good(b"\xef\xbb\xbf# ours\n" + ROOT.pem),
    "a UTF-8 mark that costs the first of two": Case(
        b"\xef\xbb\xbf" + OTHER.pem + ROOT.pem, "untidy", warnings=frozenset({"untidy"})
    ),
    "UTF-16, little end first": bad(ROOT.pem.decode().encode("utf-16"), "utf-16", form="utf-16", mended=True),
    "UTF-16, little end first, no mark": bad(
        ROOT.pem.decode().encode("utf-16-le"), "utf-16", form="utf-16", mended=True
    ),
    "UTF-16, big end first": bad(
        b"\xfe\xff" + ROOT.pem.decode().encode("utf-16-be"), "utf-16", form="utf-16", mended=True
    ),
    "UTF-16, big end first, no mark": bad(
        ROOT.pem.decode().encode("utf-16-be"), "utf-16", form="utf-16", mended=True
    ),
    "UTF-16 of a leaf": bad(LEAF.pem.decode().encode("utf-16"), "utf-16", "leaf-only", form="utf-16"),
    "UTF-32": bad(ROOT.pem.decode().encode("utf-32"), "not-pem", form="junk"),
    "DER": bad(ROOT.der, "der", form="der", mended=True),
    "DER, two in a row": bad(OTHER.der + ROOT.der, "der", form="der", mended=True),
    "DER of a leaf": bad(LEAF.der, "der", "leaf-only", form="der"),
    "DER, cut off": bad(ROOT.der[:-9], "not-pem", form="junk"),
    "DER of a revocation list": bad(REVOKED.public_bytes(Encoding.DER), "der", "damaged-block", form="der"),
    "PKCS#7 in binary": bad(
        pkcs7.serialize_certificates([OTHER.made, ROOT.made], Encoding.DER), "pkcs7", form="pkcs7", mended=True
    ),
    "PKCS#7 in PEM": bad(
        pkcs7.serialize_certificates([INTERMEDIATE.made, ROOT.made], Encoding.PEM), "pkcs7", form="pkcs7", mended=True
    ),
    "PKCS#7 of a leaf": bad(
        pkcs7.serialize_certificates([LEAF.made], Encoding.DER), "pkcs7", "leaf-only", form="pkcs7"
    ),
    "base64 without BEGIN and END": bad(BODY, "not-pem", form="junk"),
    # ---- damage
    "cut off in the middle": bad(ROOT.pem[: len(ROOT.pem) // 2], "truncated"),
    "cut off in the second": good(ROOT.pem + OTHER.pem[:300], "truncated"),
    "without its last line": bad(without_end(ROOT.pem), "truncated"),
    "a second without its last line": good(ROOT.pem + without_end(OTHER.pem), "truncated"),
    "nothing but the first line": bad(b"-----BEGIN CERTIFICATE-----\n", "truncated"),
    "nothing between BEGIN and END": bad(armoured(b""), "damaged-block"),
    "damaged base64": bad(damaged(ROOT.pem), "damaged-block"),
    "a character too few": bad(ROOT.pem.replace(b"MI", b"M", 1), "damaged-block"),
    "base64 of something else": bad(armoured(base64.b64encode(b"hello, world")), "damaged-block"),
    "a damaged one behind": good(ROOT.pem + damaged(OTHER.pem), "damaged-block"),
    "a damaged one before": bad(
        damaged(OTHER.pem) + ROOT.pem, "damaged-block", "untidy", form="untidy", mended=True
    ),
    "a damaged one between": Case(
        ROOT.pem + damaged(LEAF.pem) + OTHER.pem, "untidy", warnings=frozenset({"damaged-block", "untidy"})
    ),
    "one without its end before": bad(
        without_end(OTHER.pem) + ROOT.pem, "damaged-block", "untidy", form="untidy", mended=True
    ),
    # ---- dates
    "expired": bad(OLD.pem, "expired", mended=False),
    "not yet valid": bad(COMING.pem, "not-yet-valid", mended=False),
    "all expired": bad(OLD.pem + party("Older", until=TODAY - DAY, since=TODAY - 9 * DAY).pem, "expired", mended=False),
    "one expired, one not yet valid": bad(OLD.pem + COMING.pem, "expired", "not-yet-valid", mended=False),
    "an expired root and an intermediate": bad(OLD.pem + INTERMEDIATE.pem, "expired", mended=False),
    "one of two expired": good(
        party("Gone", since=TODAY - 9 * DAY, until=TODAY - DAY).pem + ROOT.pem, "expired"
    ),
    "one of 121 expired": good(
        STORE + party("Gone", since=TODAY - 9 * DAY, until=TODAY - DAY).pem + ROOT.pem, "expired"
    ),
    "one of two not yet valid": good(COMING.pem + ROOT.pem, "not-yet-valid"),
    "a renewed root beside the expired one": good(ROOT.pem + OLD.pem, "expired", "same-name"),
    "an expired intermediate": good(
        ROOT.pem + party("Gone", ROOT, since=TODAY - 9 * DAY, until=TODAY - DAY).pem, "expired"
    ),
    # ---- not what it should be
    "a leaf": bad(LEAF.pem, "leaf-only"),
    "two leaves": bad(LEAF.pem + party("other", ROOT, ca=False).pem, "leaf-only"),
    "a server that signed itself": refused(ALONE.pem, "leaf-only", why=ONE_SERVER, server="that signed itself"),
    "a server that signed itself and says nothing of authority": refused(
        BARE.pem, "leaf-only", why=ONE_SERVER, server="that says nothing"
    ),
    "an authority that may not sign": bad(party("Corp Root", key=ROOT.key, may_sign=False).pem, "leaf-only"),
    "an intermediate": bad(INTERMEDIATE.pem, "no-root", mended=False),
    "two intermediates": bad(
        INTERMEDIATE.pem + party("Lower", INTERMEDIATE).pem, "no-root", mended=False
    ),
    "a leaf and its intermediate": bad(LEAF.pem + INTERMEDIATE.pem, "no-root", mended=False),
    "a renewed root that the old one signed": bad(party("Corp Root", ROOT).pem, "no-root", mended=False),
    "a revocation list": bad(CRL, "crl-only"),
    "a request": bad(CSR, "no-certificate"),
    "a public key": bad(PUBLIC, "no-certificate"),
    "a request and a revocation list": bad(CSR + CRL, "no-certificate"),
    "a public key for ssh": bad(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@here\n", "not-pem", form="junk"),
    "a block page": bad(b"<!DOCTYPE html><html><title>Blocked</title></html>", "web-page", form="junk"),
    "a block page with a mark": bad(b"\xef\xbb\xbf\r\n<html><head>", "web-page", form="junk"),
    "JSON": bad(b'{"error": "not found"}', "not-pem", form="junk"),
    "a line of text": bad(b"404: Not Found\n", "not-pem", form="junk"),
    "bytes of anything": bad(bytes(range(1, 256)) * 8, "not-pem", form="junk"),
    "nothing": bad(b"", "empty", form="empty"),
    "blanks": bad(b" \r\n\t\n", "empty", form="empty"),
    "NULs": bad(b"\0" * 4096, "empty", form="empty"),
    "a mark and nothing": bad(b"\xef\xbb\xbf", "empty", form="empty"),
    "100 MB of zeros": bad(bytes(100 * 2**20), "too-large", form="junk"),
    "a root and then 100 MB": refused(
        ROOT.pem + b"\n" * (100 * 2**20), "too-large", form="junk", why="it would be read whole at every start"
    ),
    # ---- with a private key
    **{f"a root, then {name}": refused(ROOT.pem + key, "private-key", why=KEY_INSIDE) for name, key in KEYS.items()},
    "a key, then its root": refused(SIGNED + ROOT.pem, "private-key", why=KEY_INSIDE),
    "a key that is cut off, behind a root": Case(
        ROOT.pem + without_end(SIGNED), "pem", frozenset({"private-key"}), frozenset({"truncated"}), unsafe=KEY_INSIDE
    ),
    "a key with the label of a certificate, behind a root": Case(
        ROOT.pem + armoured(base64.b64encode(ROOT.private(PrivateFormat.PKCS8, Encoding.DER))),
        "pem", frozenset({"private-key"}), frozenset({"damaged-block"}), unsafe=KEY_INSIDE,
    ),
    "a key": bad(SIGNED, "private-key", "no-certificate"),
    "a server's certificate and key": bad(LEAF.pem + LEAF.private(PrivateFormat.PKCS8), "private-key", "leaf-only"),
    "a key in DER": bad(
        ROOT.private(PrivateFormat.PKCS8, Encoding.DER), "private-key", "der", "damaged-block", form="der"
    ),
    "an encrypted key in DER": bad(
        ROOT.private(PrivateFormat.PKCS8, Encoding.DER, b"pw"), "private-key", "der", "damaged-block", form="der"
    ),
    "a PKCS#12 store": bad(
        pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.made, [ROOT.made], NoEncryption()),
        "private-key", "der", "damaged-block", form="der",
    ),
    "a key and its root in UTF-16": bad(
        (ROOT.pem + SIGNED).decode().encode("utf-16"), "private-key", "utf-16", form="utf-16"
    ),
}  # fmt: skip


def verdict(bundle: Bundle) -> tuple[str, set[str], set[str]]:
    fatal = {fault.id for fault in bundle.fatal}
    return bundle.form, fatal, {fault.id for fault in bundle.faults} - fatal


def misjudged(judged: Callable[[bytes, float], Bundle]) -> dict[str, tuple[str, set[str], set[str]]]:
    """The cases of which this judge says something else than is written down, and what it says."""
    said = {name: verdict(judged(case.data, time.time())) for name, case in CORPUS.items()}
    return {
        name: said[name]
        for name, case in CORPUS.items()
        if said[name] != (case.form, set(case.fatal), set(case.warnings))
    }


@pytest.mark.parametrize("name", CORPUS)
def test_the_verdict_on(name: str) -> None:
    case = CORPUS[name]
    bundle = judge(case.data, time.time())
    assert verdict(bundle) == (case.form, set(case.fatal), set(case.warnings))
    assert "PRIVATE" not in bundle.pem
    assert all(each.is_ca for each in judge(bundle.pem.encode(), time.time()).certificates)
    for fault in bundle.faults:
        assert "PRIVATE KEY-" not in fault.sentence


# ---- node's opinion

ASK = """
const s = require("tls").connect({host: "127.0.0.1", port: process.argv[1], servername: "localhost"});
s.on("secureConnect", () => { console.log("trusts"); process.exit(); });
s.on("error", (e) => { console.log(e.code); process.exit(); });
"""


def _server_of(root: Party) -> Party:
    return party("localhost", root, ca=False, hosts=("localhost",))


SERVERS: dict[str, Callable[[], Party]] = {
    "of the root": lambda: LEAF,
    "of the RSA root": lambda: _server_of(RSA_ROOT),
    "of the version 1 root": lambda: _server_of(VERSION_1),
    "of the small root": lambda: _server_of(SMALL),
    "that signed itself": lambda: ALONE,
    "that says nothing": lambda: BARE,
}


def serve(who: Party, folder: Path, stack: contextlib.ExitStack) -> int:
    """A TLS server on loopback that shakes hands and hangs up. Its port."""
    chain = folder / f"{who.made.serial_number}.pem"
    chain.write_bytes(who.private(PrivateFormat.PKCS8) + who.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(chain)
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.settimeout(20)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listening.getsockname()[1])


@dataclass
class Node:
    """Asks a node whether it trusts a server when it is given these extra certificates."""

    program: Path
    folder: Path
    ports: Mapping[str, int]
    _said: dict[tuple[bytes, str], str] = field(default_factory=dict)

    def says(self, data: bytes, server: str) -> str:
        if (data, server) not in self._said:
            self._said[data, server] = self._ask(data, server)
        return self._said[data, server]

    def _ask(self, data: bytes, server: str) -> str:
        path = self.folder / f"{threading.get_ident()}.pem"
        path.write_bytes(data)
        argv = [str(self.program), "-e", ASK, str(self.ports[server])]
        env = {"NODE_EXTRA_CA_CERTS": str(path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() or f"node ended with {done.returncode}: {done.stderr[-200:]}"


@pytest.fixture(params=["20.20.2"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    (program,) = fetch.needed("node", request.param)
    with contextlib.ExitStack() as stack:
        ports = {name: serve(make(), tmp_path, stack) for name, make in SERVERS.items()}
        yield Node(program, tmp_path, ports)


def disagreement(name: str, node: Node) -> list[str]:
    """Where node's opinion of a file, or of what we make of it, is another than the one that is written down."""
    case = CORPUS[name]
    found = []
    works = not case.fatal or bool(case.unsafe)
    said = node.says(case.data, case.server)
    if (said == "trusts") != works:
        found.append(f"{name}: node says {said}")
    made = judge(case.data, time.time()).pem
    if case.mended is None and bool(made) and case.fatal:
        found.append(f"{name}: gives certificates that nobody expects")
    if made:
        said = node.says(made.encode(), case.server)
        if (said == "trusts") != (case.mended is not False):
            found.append(f"{name}, converted: node says {said}")
    return found


def test_node_agrees_with_each_verdict(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert "trusts" not in (node.says(b"", server) for server in SERVERS)
    wrong = misjudged(judge)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: disagreement(name, node), CORPUS))
    bad = [f"{name}: judged {said}" for name, said in wrong.items()] + [each for some in answers for each in some]
    with capsys.disabled():
        print(f"\nca-corpus points={len(CORPUS)} landed={len(answers)} bad={len(bad)}", end=" ")
    assert not bad, "\n".join(bad)
    assert len(answers) == len(CORPUS) >= 80


def _blind_to_keys(data: bytes, now: float) -> Bundle:
    bundle = judge(data, now)
    return replace(bundle, faults=tuple(fault for fault in bundle.faults if fault.id != "private-key"))


def test_a_judge_that_does_not_look_for_private_keys_is_caught() -> None:
    assert len(misjudged(_blind_to_keys)) >= len(KEYS)


# ---- whatever comes


@given(st.sampled_from([case.data for case in CORPUS.values() if len(case.data) < 10_000]), st.data())
def test_damage_of_any_kind_gets_a_verdict(whole: bytes, data: st.DataObject) -> None:
    at, size = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, 20))
    bundle = judge(whole[:at] + data.draw(st.binary(max_size=20)) + whole[at + size :], time.time())
    assert bundle.pem or bundle.fatal
    assert len({fault.id for fault in bundle.faults}) == len(bundle.faults)


@pytest.mark.parametrize("piece", [b"0\0", b"-----BEGIN CERTIFICATE-----\n", b"\n", b"\n\0", b" "], ids=ascii)
def test_a_file_full_of_nothing_takes_little_time(piece: bytes) -> None:
    begun = time.process_time()
    assert judge(piece * (certificates.LIMIT // len(piece)), time.time()).fatal
    assert time.process_time() - begun < 6


def test_a_certificate_is_described_in_one_line_that_acts_on_no_terminal() -> None:
    name = "Corp\x1b[2J\nRoot\u202e"
    since = datetime.datetime(2020, 2, 29, tzinfo=datetime.timezone.utc)
    made = party(name, since=since, until=datetime.datetime(2050, 1, 1, tzinfo=datetime.timezone.utc))
    (found,) = judge(made.pem, time.time()).certificates
    fingerprint = made.made.fingerprint(hashes.SHA256()).hex(":").upper()
    start = "CN=Corp\\x1b[2J Root\\u202e, issued by itself, valid 2020-02-29 to 2050-01-01"
    assert describe(found) == f"{start}, SHA-256 {fingerprint}"


def test_what_is_told_of_a_certificate_is_what_it_says() -> None:
    for certificate in judge(LEAF.pem + INTERMEDIATE.pem + ROOT.pem, time.time()).certificates:
        made = x509.load_der_x509_certificate(certificate.der)
        assert certificate.subject == made.subject.rfc4514_string()
        assert certificate.not_before == made.not_valid_before_utc.timestamp()
        assert certificate.not_after == made.not_valid_after_utc.timestamp()
        assert certificate.sha256 == made.fingerprint(hashes.SHA256()).hex()
        assert certificate.self_signed == (made.issuer == made.subject)


# ---- what a server presents

CHAINS: dict[str, tuple[list[Party], list[Party], list[str]]] = {
    "its root": ([LEAF, INTERMEDIATE, ROOT], [ROOT], []),
    "no root": ([LEAF, INTERMEDIATE], [INTERMEDIATE], ["no-root"]),
    "nothing but itself": ([LEAF], [], ["empty"]),
    "itself, signed by itself": ([ALONE], [], ["empty"]),
    "itself, which is an authority": ([ROOT], [], ["empty"]),
    "another leaf": ([LEAF, ALONE], [], ["empty"]),
    "nothing": ([], [], ["empty"]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_of_a_chain_with(name: str) -> None:
    chain, roots, faults = CHAINS[name]
    bundle = chain_roots([each.der for each in chain], time.time())
    assert [each.der for each in bundle.certificates] == [each.der for each in roots]
    assert [fault.id for fault in bundle.faults] == faults
