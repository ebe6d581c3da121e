r"""npm-prefix against the real npm of Windows: our reader gives its answers, and the remedy ends its failing.

Wine lets everybody write everywhere, so where an administrator's folder would stand in the way it is a file here, which
npm finds in its way just as well. npm.cmd is started as what it starts, `node npm-cli.js`: Wine's cmd cannot run it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator

import pytest
from real import npmrc_on_windows
from real.wine import HOME, Windows, windows

pytestmark = pytest.mark.cell("npm-prefix", "windows", "wine")

# ---- the reader

POINTS = npmrc_on_windows.points()
INSTALLED = npmrc_on_windows.INSTALLED
STARTED = [  # the installed npm itself is asked, too
    npmrc_on_windows.Point(),
    npmrc_on_windows.Point("is ours"),
    npmrc_on_windows.Point("has a backslash before every letter of an escape"),
    npmrc_on_windows.Point("has a backslash before a variable"),
    npmrc_on_windows.Point("is relative to another drive"),
    npmrc_on_windows.Point("is a share with slashes"),
    npmrc_on_windows.Point(environment="a tilde"),
    npmrc_on_windows.Point(environment="user npmrc in another home"),
    npmrc_on_windows.Point("+sets it to true"),
    npmrc_on_windows.Point("+sets it to null"),
]


@pytest.fixture(scope="module")
def asked() -> Iterator[Windows]:
    with windows("node") as made:
        yield made


@pytest.fixture(scope="module")
def answers(asked: Windows) -> dict[npmrc_on_windows.Point, dict[str, str]]:
    return npmrc_on_windows.answers(asked, POINTS)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_the_reader_agrees_with(
    point: npmrc_on_windows.Point, answers: dict[npmrc_on_windows.Point, dict[str, str]]
) -> None:
    found = answers[point]
    if "npm" in found:
        assert found["reader"] == found["npm"]
    else:  # this npm does not even start: then there is no prefix to name
        assert found["reader"].startswith("cannot tell"), found["complaint"]


@pytest.mark.parametrize("point", STARTED, ids=str)
def test_a_started_npm_says_what_its_reader_says(
    point: npmrc_on_windows.Point, asked: Windows, answers: dict[npmrc_on_windows.Point, dict[str, str]]
) -> None:
    assert npmrc_on_windows.started(asked, point) == answers[point].get("npm", "")


def test_the_matrix_is_large_and_has_many_outcomes(
    answers: dict[npmrc_on_windows.Point, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = sum(found["npm"] != found["reader"] for found in answers.values() if "npm" in found)
    outcomes = {found.get("npm") for found in answers.values()}
    with capsys.disabled():
        print(f"\nnpm-prefix-reader-windows points={len(answers)} outcomes={len(outcomes)} bad={bad}")
    assert len(answers) == len(POINTS) >= 250
    assert len(outcomes) >= 60
    assert bad == 0


# ---- the remedy

NODEJS = r"C:\Program Files\nodejs"
NPM = rf"{NODEJS}\node_modules\npm\bin\npm-cli.js"
NPMRC = rf"{HOME}\.npmrc"
SHIMS = rf"{HOME}\AppData\Roaming\npm"
TOKEN = "//registry.example/:_authToken=npm_0123456789abcdef\r\n"
PATH = r"%USERPROFILE%\bin;;C:\Tools (mine)\;"
PACKAGE = "@anthropic-ai/hello"


@pytest.fixture
def machine() -> Iterator[Windows]:
    """Node.js as its installer leaves it, but for the user's PATH, and a package to install."""
    with windows("node") as made:
        made.put(r"C:\hello.tgz", _package())
        made.set_value("Path", PATH)
        made.new_terminal()
        yield made


def _package() -> bytes:
    package = io.BytesIO()
    files = {
        "package/package.json": json.dumps({"name": PACKAGE, "version": "1.0.0", "bin": {"hello": "hello.js"}}),
        "package/hello.js": "#!/usr/bin/env node\nconsole.log('hello from ' + process.platform)\n",
    }
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return package.getvalue()


def install(machine: Windows) -> tuple[int, str]:
    words = ["install", "--global", "--offline", "--no-audit", "--no-fund", r"C:\hello.tgz"]
    done = machine.run(["node", NPM, *words])
    return done.code, done.both


def found_in_a_new_terminal(machine: Windows, program: str) -> str:
    path = machine.new_terminal()["PATH"]
    return str(machine.steps("import shutil; result = shutil.which(program, path=path)", program=program, path=path))


def state(machine: Windows) -> dict[str, object]:
    """What the remedy may change, and must give back: bytes, type and text."""
    npmrc = machine.real(NPMRC)
    return {"npmrc": npmrc.read_bytes() if npmrc.exists() else None, "Path": machine.value("Path")}


def mends(machine: Windows, finding: str) -> None:
    """Found, mended, taken back to the byte, and mended again; then a new terminal finds what real npm installs."""
    before = state(machine)
    diagnosed = machine.ccremedy("diagnose", "npm-prefix", "--json")
    assert [each["id"] for each in diagnosed.json["findings"]] == [finding], diagnosed.both
    dry = machine.ccremedy("apply", "npm-prefix", "--dry-run")
    assert dry.code == 0, dry.both
    assert "npm_0123456789abcdef" not in dry.both
    assert state(machine) == before

    done = machine.ccremedy("apply", "npm-prefix", "--yes")
    assert done.code == 0, done.both
    after = state(machine)
    assert after != before
    again = machine.ccremedy("apply", "npm-prefix", "--yes")
    assert again.code == 0, again.both
    assert state(machine) == after

    undone = machine.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    assert state(machine) == before

    assert machine.ccremedy("apply", "npm-prefix", "--yes").code == 0
    assert state(machine) == after
    code, said = install(machine)
    assert code == 0, said
    assert {"hello", "hello.cmd", "hello.ps1", "node_modules"} <= {each.name for each in machine.real(SHIMS).iterdir()}
    assert found_in_a_new_terminal(machine, "hello").lower() == rf"{SHIMS}\hello.cmd".lower()
    assert machine.run(["node", rf"{SHIMS}\node_modules\@anthropic-ai\hello\hello.js"]).out == "hello from win32\n"
    assert machine.run(["node", NPM, "prefix", "-g"]).out.strip() == SHIMS


def test_a_prefix_that_leads_where_nobody_may_write_becomes_the_users_own(machine: Windows) -> None:
    machine.put(r"C:\locked", "")
    machine.put(NPMRC, f"{TOKEN}prefix = C:\\locked ; as the guide said\r\n")
    code, said = install(machine)
    assert code != 0
    assert "EEXIST" in said
    mends(machine, "not-writable")
    assert state(machine) == {
        "npmrc": f"{TOKEN}prefix=${{APPDATA}}\\npm\r\n".encode(),
        "Path": (rf"{SHIMS};{PATH}", "REG_EXPAND_SZ"),
    }


def test_a_node_whose_builtin_npmrc_is_gone_gets_a_folder_of_the_users(machine: Windows) -> None:
    machine.real(rf"{NODEJS}\node_modules\npm\npmrc").unlink()
    machine.put(rf"{NODEJS}\node_modules\@anthropic-ai", "")  # where a folder of the administrators' would refuse
    machine.set_value("Path", PATH, "REG_SZ")
    assert install(machine)[0] != 0
    mends(machine, "not-writable")
    assert state(machine) == {
        "npmrc": b"prefix=${APPDATA}\\npm\n",
        "Path": (rf"{SHIMS};{PATH}", "REG_SZ"),
    }


def test_a_folder_of_npms_that_no_new_terminal_finds_is_put_on_its_path(machine: Windows) -> None:
    assert install(machine)[0] == 0
    assert found_in_a_new_terminal(machine, "hello") == "None"
    mends(machine, "not-on-path")
    assert state(machine) == {"npmrc": None, "Path": (rf"{SHIMS};{PATH}", "REG_EXPAND_SZ")}


def test_what_the_installer_leaves_needs_nothing(machine: Windows) -> None:
    machine.set_value("Path", rf"{PATH}%APPDATA%\npm")
    machine.new_terminal()
    before = state(machine)
    done = machine.ccremedy("apply", "npm-prefix", "--yes", "--verbose")
    assert done.code == 0, done.both
    assert SHIMS in done.both
    assert state(machine) == before


def test_what_was_added_to_both_since_survives_undo(machine: Windows) -> None:
    machine.put(r"C:\locked", "")
    machine.put(NPMRC, f"prefix=C:\\locked\r\n{TOKEN}")
    assert machine.ccremedy("apply", "npm-prefix", "--yes").code == 0
    with machine.real(NPMRC).open("ab") as out:
        out.write(b"fund=false\r\n")
    machine.set_value("Path", rf"{machine.value('Path')[0]}C:\later")  # type: ignore[index]
    undone = machine.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    npmrc = f"prefix=C:\\locked\r\n{TOKEN}fund=false\r\n".encode()
    assert state(machine) == {"npmrc": npmrc, "Path": (rf"{PATH}C:\later", "REG_EXPAND_SZ")}
