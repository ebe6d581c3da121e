"""Keep secrets out of everything that a person or a file gets to see.

Two lines of defence. `Secret` holds a value so that no ordinary way of turning it into text shows it.
`redact` removes what looks like a secret from foreign text (a profile's lines in a diff, a tool's
output), and makes terminal escapes visible instead of letting them act.
"""

from __future__ import annotations

import re

MASK = "<redacted>"


class Secret:
    """An opaque value. `reveal()` is the only way in; everything else shows the mask or refuses."""

    __slots__ = ("_held",)

    def __init__(self, value: str) -> None:
        # In a closure rather than an attribute: vars(), __dict__ and dataclass walkers find a function.
        def held() -> str:
            return value

        self._held = held

    def reveal(self) -> str:
        return self._held()

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        import hmac

        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a short secret is an oracle

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a Secret cannot be pickled or copied")


_NAMED = r"[A-Za-z0-9_.-]*(?:key|token|secret|passw(?:or)?d|passphrase|credential|_auth)[A-Za-z0-9_.-]*"
_PATTERNS = [
    # -----BEGIN … PRIVATE KEY----- with or without its end
    (re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), rf"\1{MASK}\2"),
    # anything@ between scheme and host: user names are often the secret's other half
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s'\"]+@", re.I), rf"\1{MASK}@"),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{12,}"), MASK),
    (re.compile(r"\b(?:npm_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA)[A-Za-z0-9_-]{10,}"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"), MASK),
    (re.compile(r"(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.I), rf"\1{MASK}"),
    # NAME_KEY=value, "apiKey": "value", set -gx X_TOKEN value, //host/:_authToken=value
    (
        re.compile(rf"({_NAMED}[\"']?\s*[:=]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s'\"#;]+)", re.I),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(\bset\s+(?:-\w+\s+|--\w+\s+)*{_NAMED}\s+)(\"[^\"\n]*\"|'[^'\n]*'|\S+)", re.I), rf"\1{MASK}"),
]
# C0 and C1 controls, and the bidirectional marks that can make a line read as another one.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\udc80-\udcff]")


def redact(text: str) -> str:
    """The text without what looks like a secret, and without characters that act on a terminal."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return visible(text)


def visible(text: str) -> str:
    """Controls, bidirectional marks and undecodable bytes spelled out (`\\x1b`, `\\u202e`); \\n and \\t stay."""
    return _UNSAFE.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, carried by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
