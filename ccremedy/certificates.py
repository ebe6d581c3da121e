"""What a file of CA certificates is worth: bytes in, a verdict out. No file, no network, nothing trusted.

Node and Claude Code say little when they find less in the file of NODE_EXTRA_CA_CERTS than was meant: DER, UTF-16 and
indented lines look like an empty file to them, and node loses all that stands behind a damaged block. So the file is
read twice: as strictly as the stricter of the two, by the calls of OpenSSL that node makes; and generously, to tell
what it was meant to hold, and to give that in the form that both read.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise

from ccremedy.record import dataclass
from ccremedy.redact import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Sequence

LIMIT = 2 * 2**20  # bytes; the bundles of operating systems have 0.2 MB
_MOST = 10_000  # DER values in a row; 2 MB could hold a million empty ones, and each takes OpenSSL a moment


@dataclass(frozen=True)
class Certificate:
    subject: str
    issuer: str
    sha256: str  # of the DER, in lower-case hexadecimal
    not_before: float  # both in seconds since 1970
    not_after: float
    is_ca: bool  # as OpenSSL has it: also version 1, where it is self-signed
    self_signed: bool  # by its names and key identifiers
    version: int
    weak: bool  # newer versions of node refuse its key or its signature
    der: bytes

    def in_date(self, now: float) -> bool:
        return self.not_before <= now <= self.not_after


@dataclass(frozen=True)
class Fault:
    """`fatal`: node would trust nothing in this file as it is, or it is not safe to have it trusted."""

    id: str
    sentence: str
    fatal: bool


@dataclass(frozen=True)
class Bundle:
    """`pem` holds the CA certificates and nothing else; '' where there is none, or a private key beside them.

    `form` is "pem" where node and Claude Code read all of them from the file as it is, and "untidy" where one of the
    two misses some; the others are "der", "pkcs7", "utf-16", "junk" and "empty".
    """

    pem: str
    form: str
    certificates: tuple[Certificate, ...]
    faults: tuple[Fault, ...]

    @property
    def fatal(self) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.faults if fault.fatal)


def judge(data: bytes, now: float) -> Bundle:
    """What this file holds, and what speaks against trusting it at the time `now`."""
    if len(data) > LIMIT:
        what = f"It has {len(data) >> 20} MB, far more than any file of CA certificates"
        return Bundle("", "junk", (), (Fault("too-large", what, True),))
    form, blocks = _blocks(data)
    certificates = _certificates(blocks)
    authorities = [each for each in certificates if each.is_ca]
    seen = _read_by_all(data)
    if form == "pem" and any(each.der not in seen for each in authorities):
        form = "untidy"
    works = any(each.der in seen and each.self_signed and each.in_date(now) for each in authorities)
    faults = [
        *_faults_of_the_file(data, form, blocks, len(authorities), len(seen), works),
        *_faults_of_the_contents(blocks, certificates, now),
    ]
    safe = not any(fault.id == "private-key" for fault in faults)
    return Bundle(_pem(authorities) if safe else "", form, certificates, tuple(faults))


def chain_roots(chain: Sequence[bytes], now: float) -> Bundle:
    """Of a chain as a server presents it (DER, its own first), what can be trusted: its root, or else its CAs.

    Never the server's own certificate. Without a root the bundle says so, as the fault "no-root".
    """
    authorities = [each for each in _certificates([_Block(body=der) for der in chain[1:]]) if each.is_ca]
    roots = [each for each in authorities if each.self_signed]
    return judge(_pem(roots or authorities).encode(), now)


def describe(certificate: Certificate) -> str:
    """One line: whose it is, who says so, when it is valid, and the fingerprint to compare."""
    from time import gmtime, strftime

    since, until = (strftime("%Y-%m-%d", gmtime(at)) for at in (certificate.not_before, certificate.not_after))
    by = "itself" if certificate.self_signed else certificate.issuer
    digits = certificate.sha256.upper()
    fingerprint = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
    return f"{certificate.subject}, issued by {by}, valid {since} to {until}, SHA-256 {fingerprint}"


# ---- faults

_FOREIGN = {
    "der": "It is in binary form (DER), which node does not read",
    "pkcs7": "It is a PKCS#7 collection, which node does not read",
    "utf-16": "It is text in UTF-16, which node does not read",
}
_KEY = re.compile(
    r"BEGIN [A-Z0-9 ]*PRIVATE KEY|^PuTTY-User-Key-File|^[ \t]*(?:Private-Key|privateExponent|priv):", re.M
)
_PAGE = re.compile(rb"<(?:!doctype|html|head|\?xml)", re.I)
_MARKS = b"\xef\xbb\xbf\xfe\xff"  # the bytes of byte order marks
_BLANKS = b" \t\r\n"


def _faults_of_the_file(
    data: bytes, form: str, blocks: list[_Block], authorities: int, seen: int, works: bool
) -> Iterator[Fault]:
    if any(_is_key(block.body) for block in blocks) or _KEY.search(data.replace(b"\0", b"").decode("latin-1")):
        what = "It holds a private key, which belongs on its owner's machine alone: ask for the certificate without it"
        yield Fault("private-key", what, True)
    if form == "empty":
        yield Fault("empty", "It is empty", True)
    elif form == "junk" and _PAGE.match(data.lstrip(_MARKS + _BLANKS)):
        yield Fault("web-page", "It is a web page, not a certificate: a download went wrong, or was blocked", True)
    elif form == "junk":
        yield Fault("not-pem", "It holds no certificate in any form that is known here", True)
    elif form in _FOREIGN:
        yield Fault(form, _FOREIGN[form], True)
    broken = [block for block in blocks if not block.ended or block.damaged]
    if blocks and not blocks[-1].ended:
        yield Fault("truncated", "Its end is missing: the last block has no END line", not works)
        broken = [block for block in broken if block is not blocks[-1]]
    if broken:
        what = f"{_count(len(broken), 'block')} in it cannot be read, and node may leave out all that comes after"
        yield Fault("damaged-block", what, not works)
    if form == "untidy":
        what = f"Of its {_count(authorities, 'CA certificate')}, node or Claude Code misses {authorities - seen}"
        yield Fault(
            "untidy", f"{what}: BEGIN must stand at the start of a line, with no mark or damage before", not works
        )


def _faults_of_the_contents(blocks: list[_Block], certificates: Sequence[Certificate], now: float) -> Iterator[Fault]:
    labels = sorted({block.label for block in blocks if block.label and not block.damaged and block.ended})
    if not certificates:
        if labels == ["X509 CRL"]:
            yield Fault("crl-only", "It holds a list of revoked certificates, and no certificate", True)
        elif labels:
            yield Fault("no-certificate", f"It holds {', '.join(labels)}, and no certificate that node reads", True)
        return
    authorities = [each for each in certificates if each.is_ca]
    roots = [each for each in authorities if each.self_signed]
    usable = any(each.in_date(now) for each in roots)
    if not authorities:
        name = certificates[0].subject
        what = f"It holds the certificate of a server or person ({name}), and none of a certificate authority"
        yield Fault("leaf-only", what, True)
    elif not roots:
        name = authorities[-1].issuer
        yield Fault("no-root", f"It holds intermediate certificates, and not the root above them ({name})", True)
    for id, group, how in (
        ("expired", [each for each in authorities if each.not_after < now], "expired"),
        ("not-yet-valid", [each for each in authorities if each.not_before > now], "not valid yet"),
    ):
        if group:
            what = f"{_of(group, authorities)} {how} ({group[0].subject}): ask for a new one, and look at the clock"
            yield Fault(id, what, not usable)
    yield from _oddities(blocks, authorities)


def _oddities(blocks: list[_Block], authorities: Sequence[Certificate]) -> Iterator[Fault]:
    """What works, and is worth knowing where something does not."""
    old = [each for each in authorities if each.version == 1]
    if old:
        what = f"{old[0].subject} is a version 1 certificate, which cannot say whether it is an authority"
        yield Fault("v1", what, False)
    weak = [each for each in authorities if each.weak]
    if weak:
        what = f"{weak[0].subject} has a key or a signature that newer versions of node refuse as weak"
        yield Fault("weak", what, False)
    names = sorted(each.subject for each in authorities)
    twins = [one for one, other in pairwise(names) if one == other]
    if twins:
        what = f"Two different certificates in it have the name {twins[0]}: one may be out of use"
        yield Fault("same-name", what, False)
    bodies = [block.body for block in blocks if block.body]
    if len(bodies) > len(set(bodies)):
        yield Fault("duplicate", "It holds a certificate twice", False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _of(some: Sequence[Certificate], all_: Sequence[Certificate]) -> str:
    if len(all_) == 1:
        return "Its CA certificate is"
    return f"{len(some)} of its {len(all_)} CA certificates {'is' if len(some) == 1 else 'are'}"


# ---- reading, generously


@dataclass
class _Block:
    """What stands between BEGIN and END, or one DER value of its own."""

    label: str = ""
    body: bytes = b""  # DER
    ended: bool = True
    damaged: bool = False


def _blocks(data: bytes) -> tuple[str, list[_Block]]:
    """The form of the file, and its blocks; each certificate of a PKCS#7 collection is a block of its own."""
    form, text = "pem", data.decode("latin-1")
    if not data.strip(_MARKS + _BLANKS + b"\0"):
        return "empty", []
    for encoding in "utf-16-le", "utf-16-be":
        if data.find("-----BEGIN".encode(encoding)) % 2 == 0:  # at an odd place it is the other one
            form, text = "utf-16", data.decode(encoding, "replace")
    if data[0] == 0x30:
        try:
            blocks = [_Block(body=whole) for _, _, whole in _values(data)]
        except ValueError:
            return "junk", []
        form = "der"
    elif "-----BEGIN " in text:
        blocks = list(_pem_blocks(text))
    else:
        return "junk", []
    unpacked = [each for block in blocks for each in _unpacked(block)]
    if unpacked != blocks and form != "utf-16":
        form = "pkcs7"
    return form, unpacked


def _pem_blocks(text: str) -> Iterator[_Block]:
    from base64 import b64decode

    for part in text.split("-----BEGIN ")[1:]:
        label, _, rest = part.partition("-----")
        body, end, after = rest.partition("-----END ")
        block = _Block(label, ended=bool(end) and after.startswith(f"{label}-----"))
        if block.ended and "KEY" not in label:
            try:  # "\n" spelled out is how a file looks that went through a variable
                block.body = b64decode("".join(body.replace("\\n", "\n").split()), validate=True)
            except ValueError:
                block.damaged = True
            block.damaged |= not block.body
        yield block


def _unpacked(block: _Block) -> Iterator[_Block]:
    """The certificates of a PKCS#7 collection (RFC 2315, SignedData), or what was given."""
    try:
        ((_, content, _),) = _values(block.body)
        kind, *rest = _values(content)
        if kind[:2] != (0x06, _SIGNED_DATA):
            raise ValueError
        ((_, content, _),) = _values(rest[0][1])
        for tag, bag, _ in _values(content):
            if tag == 0xA0:
                yield from (_Block("PKCS7", whole) for _, _, whole in _values(bag))
    except (ValueError, IndexError):
        yield block


def _is_key(der: bytes) -> bool:
    """PKCS#1, PKCS#8, SEC 1 and PKCS#12 begin with a small version number; an encrypted PKCS#8 is a pair."""
    try:
        ((_, content, _),) = _values(der)
        inner = [(tag, value) for tag, value, _ in _values(content)]
    except ValueError:
        return False
    return inner[:1] in ([(2, b"\0")], [(2, b"\1")], [(2, b"\3")]) or [tag for tag, _ in inner] == [0x30, 0x04]


def _certificates(blocks: Iterable[_Block]) -> tuple[Certificate, ...]:
    """Those that OpenSSL takes for one, each once. A block that says it is one and is not, is marked as damaged."""
    context = _context()
    found: dict[bytes, Certificate] = {}
    for block in blocks:
        if not block.body or block.label not in ("", "CERTIFICATE", "X509 CERTIFICATE", "PKCS7") or block.body in found:
            continue
        before = context.cert_store_stats()
        try:
            context.load_verify_locations(cadata=block.body)
            is_ca = context.cert_store_stats()["x509_ca"] > before["x509_ca"]
            found[block.body] = _certificate(block.body, is_ca)
        except (OSError, ValueError, LookupError):  # of OpenSSL, and of our own reader
            block.damaged = True
    return tuple(found.values())


def _read_by_all(data: bytes) -> set[bytes]:
    """The CA certificates (DER) that both node and Claude Code find in the file as it is.

    Node's OpenSSL stops at the first fault, and at a line that begins with a NUL. Claude Code's BoringSSL misses a
    block right behind a byte order mark; so does OpenSSL, once the mark is question marks.
    """
    context = _context()
    text = re.split(rb"^\0", data, maxsplit=1, flags=re.M)[0].decode("ascii", "replace")
    with suppress(OSError, ValueError):  # what came before the fault is kept
        context.load_verify_locations(cadata=text.replace("\ufffd", "?"))
    return set(context.get_ca_certs(binary_form=True))


def _context() -> ssl.SSLContext:
    import ssl  # 20 modules; a diagnosis without a bundle does without

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _pem(certificates: Iterable[Certificate]) -> str:
    from base64 import b64encode

    lines: list[str] = []
    for each in certificates:
        body = b64encode(each.der).decode()
        lines += ["-----BEGIN CERTIFICATE-----", *(body[at : at + 64] for at in range(0, len(body), 64))]
        lines += ["-----END CERTIFICATE-----", ""]
    return "\n".join(lines)


# ---- DER: Python's ssl module tells nothing of a certificate that is no authority

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_SUBJECT_KEY, _AUTHORITY_KEY = bytes.fromhex("551d0e"), bytes.fromhex("551d23")
_RSA = bytes.fromhex("2a864886f70d010101")
_WEAK_SIGNATURES = {bytes.fromhex(oid) for oid in ("2a864886f70d010104", "2a864886f70d010105", "2a8648ce3d0401")}
_NAMES = {
    "550403": "CN", "55040a": "O", "55040b": "OU", "550407": "L", "550408": "ST", "550406": "C",
    "0992268993f22c640119": "DC", "2a864886f70d010901": "emailAddress",
}  # fmt: skip
_TEXTS = {0x0C: "utf-8", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}


def _values(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """(tag, content, all of it) of each value in a row. ValueError for anything else."""
    found: list[tuple[int, bytes, bytes]] = []
    at = 0
    while at < len(data):
        start, size = at + 2, data[at + 1] if at + 1 < len(data) else 0x80
        if size > 0x7F:
            start += size - 0x80
            if not 0x80 < size < 0x85:
                raise ValueError("not DER")
            size = int.from_bytes(data[at + 2 : start], "big")
        if start + size > len(data) or len(found) == _MOST:
            raise ValueError("cut off, or no end of it")
        found.append((data[at], data[start : start + size], data[at : start + size]))
        at = start + size
    return found


def _certificate(der: bytes, is_ca: bool) -> Certificate:
    from hashlib import sha256

    signed = _values(_values(_values(der)[0][1])[0][1])
    version = 1
    if signed[0][0] == 0xA0:
        version += signed.pop(0)[1][-1]
    _, algorithm, issuer, validity, subject, key = (content for _, content, _ in signed[:6])
    since, until = (_seconds(tag, content) for tag, content, _ in _values(validity))
    self_signed = subject == issuer and _own_key(signed[6:])
    weak = _is_short(key) or (not self_signed and _values(algorithm)[0][1] in _WEAK_SIGNATURES)
    fingerprint = sha256(der).hexdigest()
    return Certificate(
        _name(subject), _name(issuer), fingerprint, since, until, is_ca, self_signed, version, weak, der
    )  # fmt: skip


def _own_key(rest: list[tuple[int, bytes, bytes]]) -> bool:
    """Whether the extensions name one key, if two at all. A renewed root that the old one signed names two keys."""
    own = signer = b""
    for kind, content, _ in rest:
        for _, extension, _ in _values(_values(content)[0][1]) if kind == 0xA3 else ():
            (_, oid, _), *_, (_, value, _) = _values(extension)
            if oid == _SUBJECT_KEY:
                own = _values(value)[0][1]
            elif oid == _AUTHORITY_KEY:
                signer = next((key for tag, key, _ in _values(_values(value)[0][1]) if tag == 0x80), b"")
    return not own or not signer or own == signer


def _is_short(key: bytes) -> bool:
    """An RSA key of less than 2048 bits."""
    (_, algorithm, _), (_, bits, _) = _values(key)[:2]
    if _values(algorithm)[0][1] != _RSA:
        return False
    modulus = _values(_values(bits[1:])[0][1])[0][1]
    return int.from_bytes(modulus, "big").bit_length() < 2048


def _seconds(tag: int, content: bytes) -> float:
    """UTCTime (0x17: two digits, 50 and above is 19xx) or GeneralizedTime."""
    from calendar import timegm

    digits = content.decode("ascii").rstrip("Z")
    if tag == 0x17:
        digits = ("19" if digits >= "5" else "20") + digits
    return timegm((int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))))


def _name(name: bytes) -> str:
    """As in "CN=Corp Root, O=Corp", the most telling part first; controls spelled out, for anybody may write these."""
    parts: dict[str, list[str]] = {}
    for _, group, _ in _values(name):
        for _, pair, _ in _values(group):
            (_, oid, _), (tag, value, _) = _values(pair)
            text = value.decode(_TEXTS.get(tag, "latin-1"), "replace")
            parts.setdefault(_NAMES.get(oid.hex(), ""), []).append(visible(" ".join(text.split())))
    return ", ".join(f"{key}={text}" for key in _NAMES.values() for text in parts.get(key, [])) or "(no name)"
