"""The registry of Windows: what ccremedy counts on, asked of the real one there, and elsewhere of its stand-in.

The same assertions run on both, so that what passes on the simulated one is worth something.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccremedy import hive, testing
from ccremedy.errors import Problem

WHICH = "real" if sys.platform == "win32" else "simulated"
NESTED = r"one\two\three"


@pytest.fixture(params=[WHICH])
def key(tmp_path: Path) -> Iterator[str]:
    """An empty key."""
    (tmp_path / "root").mkdir()
    yield testing.scratch_key(str(tmp_path / "root"))
    testing.scratch_key(str(tmp_path / "root"))


def api() -> hive.Api:
    assert hive.api is not None
    return hive.api


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\0\0", b"a", "C:\\x\0".encode("utf-16-le"), "no end".encode("utf-16-le"),
        "a\0b\0".encode("utf-16-le"), "two ends\0\0".encode("utf-16-le"), "é✓\U0001f600\0".encode("utf-16-le"),
        "\ud800\0".encode("utf-16-le", "surrogatepass"), bytes(range(256)) * 256,
    ],
    ids=[
        "nothing", "one byte", "an empty text", "half a character", "a text", "a text without an end", "a NUL inside",
        "two ends", "beyond ASCII", "half a pair", "64 KB",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", range(len(hive.KINDS)), ids=hive.KINDS)
def test_a_value_is_the_bytes_and_the_type_that_were_written(key: str, kind: int, data: bytes) -> None:
    api().set(key, "value", kind, data)
    assert api().query(key, "value") == (kind, data)
    assert hive.unspelled(hive.spelled(kind, data)) == (kind, data)


def test_a_value_is_replaced_with_its_type(key: str) -> None:
    api().set(key, "value", 2, hive.as_data("a longer text"))
    api().set(key, "value", 4, b"\1\0\0\0")
    assert api().query(key, "value") == (4, b"\1\0\0\0")


@pytest.mark.parametrize("name", ["", "Path", "with a blank", "back\\slash", "grün ✓", "n" * 255])
def test_a_value_may_have_this_name(key: str, name: str) -> None:
    api().set(key, name, 1, hive.as_data("x"))
    assert api().names(key) == ([], [name])
    assert hive.text(key, name) == "x"
    api().delete(key, name)
    assert api().names(key) == ([], [])


def test_names_are_found_in_any_letter_case_and_keep_their_own(key: str) -> None:
    api().create(rf"{key}\Environment")
    api().set(rf"{key}\ENVIRONMENT", "Path", 1, hive.as_data("a"))
    api().set(rf"{key}\environment", "PATH", 1, hive.as_data("b"))
    assert api().names(key) == (["Environment"], [])
    assert api().names(rf"{key}\environment") == ([], ["Path"])
    assert hive.text(rf"{key}\Environment", "path") == "b"
    api().delete(rf"{key}\Environment", "pAtH")
    assert hive.values(rf"{key}\Environment") == []


def test_what_is_missing_is_a_file_not_found_error(key: str) -> None:
    missing = rf"{key}\missing"
    for call in (
        lambda: api().query(key, "missing"),
        lambda: api().query(missing, "value"),
        lambda: api().set(missing, "value", 1, b""),
        lambda: api().delete(key, "missing"),
        lambda: api().delete(missing, "value"),
        lambda: api().remove(missing),
        lambda: api().names(missing),
        lambda: api().writable(missing),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    assert api().names(key) == ([], [])


def test_what_is_missing_reads_as_nothing(key: str) -> None:
    missing = rf"{key}\missing"
    assert hive.read(key, "value") is None
    assert hive.read(missing, "value") is None
    assert not hive.exists(missing)
    assert (hive.keys(missing), hive.values(missing), hive.text(missing, "value")) == ([], [], "")
    hive.write(key, "value", None)


def test_a_key_is_made_with_those_above_it(key: str) -> None:
    api().create(rf"{key}\{NESTED}")
    api().create(rf"{key}\{NESTED}")
    assert api().names(key) == (["one"], [])
    assert api().names(rf"{key}\one\two") == (["three"], [])


def test_a_key_with_keys_in_it_is_not_removed_and_one_with_values_is(key: str) -> None:
    api().create(rf"{key}\{NESTED}")
    with pytest.raises(PermissionError):
        api().remove(rf"{key}\one")
    api().set(rf"{key}\{NESTED}", "value", 1, b"")
    api().remove(rf"{key}\{NESTED}")
    assert api().names(rf"{key}\one\two") == ([], [])


def test_keys_that_we_made_go_as_far_as_nothing_is_in_them(key: str) -> None:
    made = hive.missing_keys(rf"{key}\{NESTED}")
    assert made == (rf"{key}\one", rf"{key}\one\two", rf"{key}\{NESTED}")
    hive.make_keys(made)
    assert hive.missing_keys(rf"{key}\{NESTED}") == ()
    hive.write(rf"{key}\one", "of somebody else", (1, hive.as_data("x")))
    hive.remove_keys(made)
    assert hive.missing_keys(rf"{key}\{NESTED}") == made[1:]


def test_a_key_of_ours_may_be_written_also_where_it_is_missing(key: str) -> None:
    assert hive.obstacle(key) == ""
    assert hive.obstacle(rf"{key}\{NESTED}") == ""


def test_the_environment_is_what_the_two_keys_say(key: str) -> None:
    system, user = rf"{key}\system", rf"{key}\user"
    for each in (system, user):
        api().create(each)
    for where, name, kind, text in (
        (system, "Path", 2, r"%SystemRoot%\system32;"),
        (system, "TEMP", 1, r"C:\Temp"),
        (system, "PATHEXT", 1, ".EXE"),
        (user, "PATH", 2, r"%USERPROFILE%\bin;%tools%"),
        (user, "Temp", 1, r"%USERPROFILE%\Temp"),
        (user, "Tools", 1, r"D:\tools"),
    ):
        api().set(where, name, kind, hive.as_data(text))
    api().set(user, "number", 4, b"\1\0\0\0")
    env = {"USERPROFILE": r"C:\Users\me", "SystemRoot": r"C:\Windows", "PATH": "old", "Other": "of this program"}
    assert hive.environment(env, system, user) == {
        "USERPROFILE": r"C:\Users\me",
        "SYSTEMROOT": r"C:\Windows",
        "TEMP": r"%USERPROFILE%\Temp",
        "TOOLS": r"D:\tools",
        "PATHEXT": ".EXE",
        "PATH": r"C:\Windows\system32;C:\Users\me\bin;D:\tools",
    }


# ---- what only the stand-in has


@pytest.mark.skipif(sys.platform == "win32", reason="the real registry is there")
def test_two_machines_are_apart_and_what_stands_in_their_place_is_their_file(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        keys.append(testing.scratch_key(str(tmp_path / name)))
        hive.write(keys[-1], "name", (1, hive.as_data(name)))
    assert [hive.text(key, "name") for key in keys] == ["one", "two"]
    assert hive.missing_keys(rf"{testing.SCRATCH_KEY}\nobody") == (rf"{testing.SCRATCH_KEY}\nobody",)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["registry.json", "registry.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="the real registry is there")
def test_without_a_registry_everything_is_missing_and_nothing_can_be_written() -> None:
    hive.api = None
    assert hive.read(hive.ENVIRONMENT, "Path") is None
    assert hive.keys(hive.ENVIRONMENT) == hive.values(hive.ENVIRONMENT) == []
    assert "only Windows has" in hive.obstacle(hive.ENVIRONMENT)
    with pytest.raises(Problem):
        hive.write(hive.ENVIRONMENT, "Path", (1, b""))
