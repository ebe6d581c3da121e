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
        ours, theirs = (each.reveal().encode("utf-8", "surrogatepass") for each in (self, other))
        return hmac.compare_digest(ours, theirs)

    __hash__ = None  # type: ignore[assignment]  # a hash of a short secret is an oracle

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a Secret cannot be pickled or copied")


# What issuers document their tokens to look like.
_TOKEN = re.compile(
    r"\b(?:sk-[\w-]{12,}|sk_live_\w{8,}|npm_\w{10,}|gh[pousr]_\w{10,}|github_pat_\w{10,}|glpat-[\w-]{10,}"
    r"|xox[abprs]-[\w-]{10,}|A[KS]IA[A-Z0-9]{12,}|AIza[\w-]{20,}|hf_\w{10,}|pypi-[\w-]{10,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
)
_PRIVATE_KEY = re.compile(  # in PEM's, PGP's and SSH's spelling, or without its end
    r"(---- ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?----).*?(---- ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-----?|\Z)",
    re.S,
)
# A password may hold an @ or a /, so it goes up to the last @: the host goes with it rather than a piece of it stays.
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)(?:[^/\s'\":@]*:(?!\d+/)[^\s'\"]*|[^/\s'\"]+)@", re.I)
_HEADER = re.compile(r"(\bauthorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:[a-z]+[ \t]+)?)[^\s'\"]+", re.I)
# In prose the word is followed by a lower-case one; in a token there is a capital, a digit or a sign further on.
_SCHEME = re.compile(r"(\b(?:bearer|basic)[ \t]+)(?=[\w.~+/=#-]+(?-i:[A-Z\d=+_~]))[\w.~+/=#-]{8,}", re.I)
# A word as a shell reads it, quotes and all; a quote that does not end takes the rest of the line.
_WORD = r"""(?:'[^'\n]*'|"(?:\\.|[^"\\\n])*"|\\.|\$?["'][^\n]*|[^\s'"\\;&|<>()])+"""
_STRING = r"""(?:'[^'\n]*'|"(?:\\.|[^"\\\n])*"|[^\s'",;]+)"""
# Begun at the beginning of a name only, or a long line would take time by the square of its length.
_NAME = r"(?<![\w.-])(?P<name>-{0,2}[A-Za-z_][\w.-]*)"
_NAMED = (
    re.compile(rf"{_NAME}(?P<between>[\"']?[ \t]*=[ \t]*)(?P<value>{_WORD})"),
    re.compile(rf"{_NAME}(?P<between>[\"']?[ \t]*:[ \t]*)(?P<value>{_STRING})"),
    re.compile(rf"(?<![\w.-])(?P<name>--[A-Za-z][\w.-]*)(?P<between>[ \t]+)(?P<value>{_WORD})"),
    re.compile(  # netrc
        rf"(?P<name>^[ \t]*password(?=[ \t]+\S+$)|\b(?:machine|login|account)[ \t]+\S+[ \t]+password)"
        rf"(?P<between>[ \t]+)(?P<value>{_WORD})",
        re.M,
    ),
    re.compile(  # a list of names and values, as VS Code's extension has it
        rf"(?P<name>[\"']name[\"']\s*:\s*[\"'][A-Za-z_]\w*)(?P<between>[\"']\s*,\s*[\"']value[\"']\s*:\s*)"
        rf"(?P<value>{_STRING})"
    ),
    re.compile(rf"(?:(?<=\bset )|(?<=\bsetenv ))(?P<name>(?:-\S+ )*\w+)(?P<between>[ \t]+)(?P<value>{_WORD})"),
)
_SECRET_WORDS = {
    "key", "apikey", "token", "secret", "password", "passwd", "pass", "passphrase", "credential", "credentials", "auth",
    "pat",
}  # fmt: skip
_HARMLESS = re.compile(r"\d{1,7}|true|false|null|yes|no", re.I)
# C0 and C1 controls, and the bidirectional marks that can make a line read as another one.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def redact(text: str) -> str:
    """The text without what looks like a secret, and without characters that act on a terminal."""
    text = _PRIVATE_KEY.sub(rf"\1{MASK}\2", text)
    text = _USER.sub(rf"\1{MASK}@", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _SCHEME.sub(rf"\1{MASK}", text)
    for pattern in _NAMED:
        text = pattern.sub(_hide_within, text)
    return visible(_TOKEN.sub(MASK, text))


def _hide_within(match: re.Match[str]) -> str:
    """As `_hide`, and once more within a quoted value: an alias may hold a whole command."""
    hidden = _hide(match)
    if hidden == match[0] and match["value"][0] in "\"'":
        inside = match["value"]
        for pattern in _NAMED:
            inside = pattern.sub(_hide, inside)
        return f"{match['name']}{match['between']}{inside}"
    return hidden


def _hide(match: re.Match[str]) -> str:
    """The value goes where the name ends in a word for a secret, as in API_KEY, accessToken and TOKEN_2."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", match["name"].rpartition(" ")[2])]
    if not words or words[-1] not in _SECRET_WORDS or _HARMLESS.fullmatch(match["value"].strip("\"'")):
        return match[0]
    return f"{match['name']}{match['between']}{MASK}"


def visible(text: str) -> str:
    """Controls, bidirectional marks and undecodable bytes spelled out (`\\x1b`, `\\u202e`); \\n and \\t stay."""
    return _UNSAFE.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, carried by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
