"""Entries of PATH in the registry: put and taken back, every value has the bytes and the type that it had.

On Windows against the real registry, in a scratch key; elsewhere against its stand-in, which tests/test_hive.py holds
to the same behaviour. Each mistake that could be made with a PATH must be caught by the same sweep.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ccremedy import editors, hive, testing
from ccremedy.errors import Drift
from ccremedy.finding import want
from ccremedy.resources import DONE, DRIFTED, Segment

# Each write of the real registry waits for the disk.
POINTS = 20_000 if sys.platform != "win32" or os.environ.get("CCREMEDY_SWEEP") == "1" else 2_000
ENTRY = r"C:\Users\me\.local\bin"
PIECES = (
    "", "", " ", r"C:\Windows\system32", r"%SystemRoot%", r"%USERPROFILE%\AppData\Local\Microsoft\WindowsApps",
    r'"C:\Program Files\Git\cmd"', r'"C:\semi', r'colon"', r"C:\Program Files (x86)\x", "C:\\ends\\", r"\\server\share",
    r"C:\Grüße\日本語", "C:\\\U0001f600", "C:\\\ud800", "\udc00", r"C:\a%", "%", "%%", r"%NOT_SET%\x", "relative", ".",
    r"c:/forward/slashes", r"C:\Windows\system32", "C:\\tab\t", "C:\\line\n", r"C:\Users\me\.local",
    r"C:\Users\me\.local\binary", f" {ENTRY}", f"{ENTRY} ",
)  # fmt: skip
SPELLINGS = (ENTRY, ENTRY.upper(), f"{ENTRY}\\", f'"{ENTRY}"', ENTRY.replace("\\", "/"))


@dataclass
class Sweep:
    points: int = 0
    landed: dict[str, int] = field(default_factory=dict)  # by what was to be done with the value
    bad: list[str] = field(default_factory=list)

    def at(self, what: str) -> None:
        self.points += 1
        self.landed[what] = self.landed.get(what, 0) + 1


def generated(rng: random.Random) -> tuple[int, bytes] | None:
    """A value that somebody may have; None for none."""
    if rng.random() < 0.02:
        return None
    parts = rng.choices(PIECES, k=rng.randint(0, 12))
    if rng.random() < 0.1:
        parts *= rng.randint(1, 200)
    if rng.random() < 0.1:
        parts.insert(rng.randint(0, len(parts)), rng.choice(SPELLINGS))
    if rng.random() < 0.02:
        parts.append("x" * (hive.LONGEST - len(";".join(parts)) - rng.randint(0, 60)))
    data = hive.as_data(";".join(parts) + rng.choice(("", ";", ";;")))
    odd = rng.random()
    if odd < 0.02:
        data = data[:-2]  # no end
    elif odd < 0.04:
        data += b"\0\0"
    elif odd < 0.06:
        data += b"\0"  # half a character
    elif odd < 0.08:
        data = hive.as_data("C:\\a\0C:\\b")
    kind = rng.choice((0, 3, 4, 7, 11)) if rng.random() < 0.05 else rng.choice((1, 2, 2))
    return kind, data


def sweep(key: str, points: int, plant: Callable[[pytest.MonkeyPatch], None] = lambda patch: None) -> Sweep:
    rng, found = random.Random(20261126), Sweep()
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        for number in range(points):
            value = generated(rng)
            hive_write(key, value)
            if why := one(Segment(key, "Path", ENTRY), value, found):
                found.bad.append(f"value {number} ({value}): {why}")
    return found


def hive_write(key: str, value: tuple[int, bytes] | None) -> None:
    """Without what is under test."""
    assert hive.api is not None
    if value is not None:
        hive.api.set(key, "Path", *value)
    elif "Path" in hive.api.names(key)[1]:
        hive.api.delete(key, "Path")


def one(segment: Segment, value: tuple[int, bytes] | None, found: Sweep) -> str:
    """Put the entry into this value and take it back; what is wrong then ('': nothing)."""
    text = "" if value is None else proper(value)
    if text is None:
        found.at("improper")
        (change,) = want(segment, ENTRY)
        try:
            segment.write("", ENTRY, "")
            return "an improper value was written"
        except Drift:
            return unlike(segment, value) or ("" if change.refused else "an improper value is not refused")
    if any(same(part) for part in text.split(";")):
        found.at("there")
        segment.write(segment.read(), ENTRY, "")
        return unlike(segment, value)
    (change,) = want(segment, ENTRY)
    if len(text) + len(ENTRY) + 1 >= hive.LONGEST:
        found.at("too long")
        return unlike(segment, value) or ("" if change.refused else "what is too long is not refused")
    found.at("put")
    segment.write(change.before, ENTRY, "")
    after = ENTRY + (f";{text}" if text else "")
    if why := unlike(segment, (2 if value is None else value[0], (after + "\0").encode("utf-16-le", "surrogatepass"))):
        return f"put: {why}"
    if change.status() != DONE:
        return f"put, it is {change.status()}"
    segment.write(ENTRY, change.before, "")
    return unlike(segment, value)


def proper(value: tuple[int, bytes]) -> str | None:
    """The text of a value that is one, found out in another way than the product's."""
    kind, data = value
    if kind not in (1, 2) or len(data) % 2 or data[-2:] != b"\0\0":
        return None
    units = [data[place : place + 2] for place in range(0, len(data) - 2, 2)]
    return None if b"\0\0" in units else b"".join(units).decode("utf-16-le", "surrogatepass")


def same(part: str) -> bool:
    return part.strip('"').replace("/", "\\").rstrip("\\").lower() == ENTRY.lower()


def unlike(segment: Segment, wanted: tuple[int, bytes] | None) -> str:
    found = hive.read(segment.path, segment.name)
    return "" if found == wanted else f"{found} and not {wanted}"


@pytest.fixture
def key(tmp_path: Path) -> str:
    memory = Path("/dev/shm") / f"ccremedy-{os.getpid()}-{tmp_path.name}"
    root = memory if memory.parent.is_dir() and os.access(memory.parent, os.W_OK) else tmp_path / "root"
    root.mkdir(exist_ok=True)
    return testing.scratch_key(str(root))


@pytest.fixture(autouse=True)
def _clean() -> object:
    import shutil

    yield
    for folder in Path("/dev/shm").glob(f"ccremedy-{os.getpid()}-*") if os.path.isdir("/dev/shm") else ():
        shutil.rmtree(folder)


def test_every_value_gets_its_bytes_back(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = sweep(key, POINTS)
    landed = sum(found.landed.values())
    with capsys.disabled():
        print(f"\npath entries points={found.points} landed={landed} bad={len(found.bad)}", end=" ")
    assert not found.bad, found.bad[:3]
    assert landed == found.points == POINTS
    assert all(found.landed.get(what, 0) >= POINTS // 200 for what in ("put", "there", "improper", "too long")), (
        found.landed
    )


@pytest.mark.parametrize("theirs", [ENTRY, f"{ENTRY}\\", ENTRY.upper()], ids=["the same", "a backslash", "capitals"])
def test_an_entry_that_somebody_has_added_once_more_is_left_with_ours(theirs: str, key: str) -> None:
    """As an installer does that only looks at the PATH of its own process."""
    segment = Segment(key, "Path", ENTRY)
    hive_write(key, (2, hive.as_data(r"C:\a")))
    (change,) = want(segment, ENTRY)
    segment.write(change.before, ENTRY, "")
    both = (2, hive.as_data(rf"{ENTRY};C:\a;{theirs}"))
    hive_write(key, both)
    assert change.status() == DRIFTED
    with pytest.raises(Drift):
        segment.write(ENTRY, change.before, "")
    assert hive.read(key, "Path") == both


def _strip_the_end(patch: pytest.MonkeyPatch) -> None:
    real = editors.put_entry
    patch.setattr(editors, "put_entry", lambda text, entry, there: real(text.rstrip(";"), entry, there))


def _lose_empty_entries(patch: pytest.MonkeyPatch) -> None:
    real = editors.put_entry
    patch.setattr(
        editors, "put_entry", lambda text, entry, there: real(";".join(filter(None, text.split(";"))), entry, there)
    )


def _make_plain_text(patch: pytest.MonkeyPatch) -> None:
    real = hive.write
    patch.setattr(hive, "write", lambda key, name, value: real(key, name, value and (1, value[1])))


def _expand(patch: pytest.MonkeyPatch) -> None:
    real = editors.put_entry
    env = {"SystemRoot": r"C:\Windows"}
    patch.setattr(editors, "put_entry", lambda text, entry, there: real(hive.expanded(text, env), entry, there))


def _put_it_at_the_end(patch: pytest.MonkeyPatch) -> None:
    def put(text: str, entry: str, there: bool) -> str:
        return (
            f"{text.rstrip(';')};{entry}" if there and not editors.get_entry(text, entry) else real(text, entry, there)
        )

    real = editors.put_entry
    patch.setattr(editors, "put_entry", put)


def _cut_as_setx_does(patch: pytest.MonkeyPatch) -> None:
    real = hive.as_data
    patch.setattr(hive, "as_data", lambda text: real(text[:1024]))


def _read_what_is_no_text(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        hive, "as_text", lambda kind, data: data[: len(data) // 2 * 2].decode("utf-16-le", "replace").partition("\0")[0]
    )


@pytest.mark.parametrize(
    "mistake",
    [_strip_the_end, _lose_empty_entries, _make_plain_text, _expand, _put_it_at_the_end, _cut_as_setx_does,
     _read_what_is_no_text],
)  # fmt: skip
def test_it_catches(mistake: Callable[[pytest.MonkeyPatch], None], key: str) -> None:
    assert sweep(key, 500, mistake).bad
