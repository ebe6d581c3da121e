"""A key that nobody else has, in twelve disguises, and where it can be found: in bytes, in trees, in traces.

Nothing here knows of the product: it is handed bytes.
"""

from __future__ import annotations

import base64
import codecs
import functools
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CANARY = "sk-ant-api03-CaNaRy_7f3a91+Q/q=z%C3:w-AA"  # as keys begin; and with what base64 and URLs must spell otherwise
SECOND = "sk-ant-api03-SeCoNd_5b2d40+R/r=y%D4:v-BB"
PLAIN_WORD = "Zq7CaNaRy+gateway/4f1c=%20:of-no-known-form"  # as a company's own gateway may hand out


# ---- disguises


def _base64(secret: str) -> list[bytes]:
    """What of it is the same whatever stands before and after it, at each of the three places in a group of bytes."""
    parts = [base64.b64encode(b"\0" * offset + secret.encode())[4:-4] for offset in range(3)]
    return parts + [part.replace(b"+", b"-").replace(b"/", b"_") for part in parts]


def _compressed(data: bytes) -> Iterator[bytes]:
    """What each stream in it, of gzip or zlib, or raw at its very beginning, unpacks to, as far as it goes."""
    places = [found.start() for found in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data)]
    for place, bits in [(0, -15), *((place, 47) for place in places[:50])]:
        try:
            yield zlib.decompressobj(bits).decompress(data[place:], 1 << 20)
        except zlib.error:
            continue


@functools.cache
def disguises(secret: str) -> dict[str, list[bytes]]:
    """By name, the byte strings any of which gives it away; “compressed” is looked for in another way."""
    raw = secret.encode()
    return {
        "plain": [raw],
        "base64": _base64(secret),
        "url": ["".join(f"%{byte:{case}}" for byte in raw).encode() for case in ("02x", "02X")]
        + [re.sub(rb"[^\w.~-]", lambda found: b"%%%02X" % found[0][0], raw)],
        "hex": [raw.hex().encode()],
        "HEX": [raw.hex().upper().encode()],
        "utf-16-le": [secret.encode("utf-16-le")],
        "utf-16-be": [secret.encode("utf-16-be")],
        "json": ["".join(f"\\u{ord(each):04x}" for each in secret).encode(), secret.replace("/", "\\/").encode()],
        "reversed": [raw[::-1]],
        "rot13": [codecs.encode(secret, "rot13").encode()],
        "quoted-printable": [re.sub(rb"=", b"=3D", raw), "".join(f"={byte:02X}" for byte in raw).encode()],
        "compressed": [],
    }


def leaks(data: bytes, *secrets: str) -> list[str]:
    """The disguises in which one of them is in the data."""
    unwrapped = data.replace(b"=\r\n", b"").replace(b"=\n", b"")  # as quoted-printable breaks its lines
    found = set()
    for secret in secrets or (CANARY,):
        for name, forms in disguises(secret).items():
            if any(form in data or form in unwrapped for form in forms):
                found.add(name)
        if any(secret.encode() in each for each in _compressed(data)):
            found.add("compressed")
    return sorted(found)


def scan(*tops: Path, secrets: Sequence[str] = (CANARY,)) -> dict[str, list[str]]:
    """Every file, link and name below these folders that gives one of them away, and how."""
    found = {}
    for top in tops:
        for folder, folders, names in os.walk(top):
            for name in (*folders, *names):
                path = Path(folder, name)
                data = os.fsencode(os.readlink(path)) if path.is_symlink() else b""
                if path.is_file() and not path.is_symlink():
                    data = path.read_bytes()
                if how := leaks(data + b"\n" + os.fsencode(name), *secrets):
                    found[str(path)] = how
    return found


# ---- whoever has it


@dataclass(frozen=True)
class Person:
    """Somebody at the command line of this checkout (or of a copy), whose environment holds nothing of ours."""

    home: Path
    env: dict[str, str]
    source: Path = ROOT

    @classmethod
    def make(cls, top: Path, env: dict[str, str], source: Path = ROOT) -> Person:
        """With a home, a state folder and a folder for scratch files below `top`, unless `env` says otherwise."""
        own = {"HOME": str(top / "home"), "XDG_STATE_HOME": str(top / "state"), "TMPDIR": str(top / "tmp")}
        own |= {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(source)}
        own |= env
        for name in ("HOME", "XDG_STATE_HOME", "TMPDIR"):
            Path(own[name]).mkdir(parents=True, exist_ok=True)
        return cls(Path(own["HOME"]), own, source)

    @property
    def state(self) -> Path:
        return Path(self.env["XDG_STATE_HOME"], "ccremedy")

    def __call__(
        self, *words: str, stdin: str = "", before: Sequence[str] = (), **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; `before` are words that stand before the command, `more` is added to the environment."""
        argv = [*before, sys.executable, "-m", "ccremedy", *words]
        return subprocess.run(
            argv, env=self.env | more, cwd=self.home, input=stdin, capture_output=True, text=True, timeout=300
        )
