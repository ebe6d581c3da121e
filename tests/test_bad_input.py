"""Bad input, through the real command line: one clear sentence, the right exit code, nothing changed, never a bug.

Files of the user's, the environment, the disk, the journal, plan files and the words of the command line itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ccremedy import cli as command_line
from ccremedy import files
from ccremedy.journal import Journal
from ccremedy.testing import snapshot

if TYPE_CHECKING:
    from conftest import Answer, CommandLine

Needs = Callable[[str], None]
STRANGER = 54321  # a user that nobody is


def is_clean(answer: Answer) -> None:
    for text in (answer.out, answer.err):
        assert "Traceback" not in text, text
        assert "this is a bug" not in text, text
    assert answer.code != 70


def says_one_sentence(answer: Answer, code: int, *words: str) -> None:
    """On standard error, one line; nothing on standard output."""
    is_clean(answer)
    assert answer.code == code, answer
    assert answer.err.startswith("ccremedy: "), answer
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.rstrip("\n")[-1] in ".?", answer.err
    for word in words:
        assert word in answer.err


def is_one_problem(answer: Answer, code: int, *words: str) -> None:
    """With --json: one document with one problem in it; nothing on standard error."""
    is_clean(answer)
    assert answer.err == ""
    document = json.loads(answer.out)
    assert (document["schema"], document["exit"], answer.code) == (1, code, code)
    assert [problem["code"] for problem in document["problems"]] == [code]
    for word in words:
        assert word in json.dumps(document["problems"], ensure_ascii=False)


def both_ways(cli: CommandLine, code: int, *line: str, says: tuple[str, ...] = (), **more: Any) -> None:
    says_one_sentence(cli(*line, **more), code, *says)
    is_one_problem(cli(*line, "--json", **more), code, *says)


# ---- start-up files

EDITABLE = {
    "Windows line ends": b"# mine\r\nexport A=1\r\n",
    "a byte order mark": b"\xef\xbb\xbf# mine\nexport A=1\n",
    "bytes that are not UTF-8": b"export A='\xff\xfe\xe9'\n",
    "a NUL byte": b"export A=1\0\nexport B=2\n",
    "only NUL bytes": b"\0" * 100,
    "no final newline": b"export A=1",
    "nothing in it": b"",
    "an unclosed quote": b"export A=1\nexport B='open\n",
    "an unclosed here-document": b"export A=1\ncat >/dev/null <<END\nexport B=2\n",
    "an early return": b"return\nexport A=1\n",
    "an early exec": b"exec /bin/cat\nexport A=1\n",
    "an early exit": b"exit 3\n",
    "escape sequences": b"# \x1b]0;owned\x07\x1b[2J\nexport A=1\n",
    "a line of 1 MB": b"#" + b"x" * 2**20 + b"\n",
}


@pytest.mark.parametrize("content", EDITABLE.values(), ids=EDITABLE)
def test_a_start_up_file_with(content: bytes, cli: CommandLine) -> None:
    (cli.home / ".bashrc").write_bytes(content)
    before = snapshot(str(cli.home))
    for line, code in (
        (("diagnose",), 1),
        (("apply", "npm-prefix", "--dry-run"), 0),
        (("apply", "npm-prefix", "--dry-run", "--json"), 0),
        (("plan", "npm-prefix", "-o", "-"), 0),
    ):
        answer = cli(*line)
        is_clean(answer)
        assert (answer.code, answer.err) == (code, "")
        assert "\x1b" not in answer.out, "a control character of the user's file acts on the terminal"
        assert snapshot(str(cli.home)) == before
        assert not list(cli.state.iterdir()), "looking has written something"
    answer = cli("apply", "npm-prefix", "--yes")
    is_clean(answer)
    assert answer.code == 0, answer
    edited = (cli.home / ".bashrc").read_bytes()
    assert b">>> ccremedy npm-prefix >>>" in edited
    assert len(edited) > len(content)
    assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


def _directory(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to("dotfiles/bashrc")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _huge(path: Path) -> None:
    with open(path, "wb") as out:
        out.truncate(50 * 2**20)


def _utf_16(path: Path) -> None:
    path.write_bytes("# mine\n".encode("utf-16"))


def _hard_link(path: Path) -> None:
    path.write_text("# mine\n")
    os.link(path, path.with_name("other"))


def _read_only(path: Path) -> None:
    path.write_text("# mine\n")
    path.chmod(0o444)


def _socket(path: Path) -> None:
    import socket

    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket may have 107 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


UNTOUCHABLE = {
    "a directory": (_directory, "is a directory"),
    "a dangling link": (_dangling, "which does not exist"),
    "a link to itself": (_loop, "symbolic links"),
    "a FIFO": (_pipe, "pipe, not a file"),
    "a socket": (_socket, "not a file"),
    "50 MB long": (_huge, "too large"),
    "UTF-16": (_utf_16, "is UTF-16"),
    "a hard link": (_hard_link, "2 hard links"),
    "read-only": (_read_only, "read-only"),
}


@pytest.mark.parametrize("name", [".bashrc", ".npmrc"])
@pytest.mark.parametrize(("make", "reason"), UNTOUCHABLE.values(), ids=UNTOUCHABLE)
def test_a_file_of_the_users_that_is(make: Callable[[Path], None], reason: str, name: str, cli: CommandLine) -> None:
    """Refused with its reason; a start-up file takes none of the others down with it."""
    path = cli.home / name
    path.unlink()
    make(path)
    elsewhere = cli.home.parent / "global-npmrc"  # so that there is something to mend whatever the npmrc is
    elsewhere.write_text("prefix=/proc/1\n")
    cli.more["npm_config_globalconfig"] = str(elsewhere)
    before = _cheap_snapshot(cli.home)
    for line in (("diagnose",), ("apply", "npm-prefix", "--dry-run"), ("apply", "npm-prefix", "--dry-run", "--json")):
        answer = cli(*line)
        is_clean(answer)
        assert answer.code in (1, 3, 6), answer
        assert reason in answer.out + answer.err
        assert _cheap_snapshot(cli.home) == before
    answer = cli("apply", "npm-prefix", "--yes", "--timeout", "1")
    is_clean(answer)
    assert answer.code in (3, 6), answer
    after = _cheap_snapshot(cli.home)
    assert {entry: after.get(entry) for entry in before} | {".": ()} == before | {".": ()}, "what was there has changed"
    if answer.code == 3 and name == ".bashrc":
        assert b"ccremedy" in (cli.home / ".profile").read_bytes()
        assert cli("undo", "--yes").code == 0
    assert _cheap_snapshot(cli.home) == before


def _cheap_snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """Without reading 50 MB. The npmrc's own bytes are in it; it is edited where a start-up file is refused."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(top):
        for name in [*folders, *names]:
            path = Path(folder, name)
            entry = path.lstat()
            if name == ".npmrc" and stat.S_ISREG(entry.st_mode) and entry.st_size < 2**16:
                continue
            link = os.readlink(path) if path.is_symlink() else ""
            small = path.read_bytes() if stat.S_ISREG(entry.st_mode) and entry.st_size < 2**16 else b""
            found[str(path.relative_to(top))] = (entry.st_mode, entry.st_size, entry.st_uid, link, small)
    return found


# ---- npmrc

NPMRC = {
    "a variable that is set": (b"prefix=${LOCKED}\n", {"LOCKED": "/proc/1"}, 0),
    "a variable that is not set": (b"prefix=${NO_SUCH_VARIABLE}/x\n", {}, None),
    "a variable that need not be set": (b"prefix=${NO_SUCH_VARIABLE?}/proc/1\n", {}, None),
    "an escaped variable": (b"prefix=\\${LOCKED}\n", {"LOCKED": "/proc/1"}, None),
    "a section below the prefix": (b"prefix=/proc/1\n[section]\nprefix=/x\n", {}, 0),
    "the prefix in a section": (b"[section]\nprefix=/x\n", {}, None),
    "a line of 1 MB": (b"x=" + b"y" * 2**20 + b"\nprefix=/proc/1\n", {}, 0),
    "a prefix of 1 MB": (b"prefix=/" + b"y" * 2**20 + b"\n", {}, None),
    "5,000 lines": (b"x=1\n" * 5_000 + b"prefix=/proc/1\n", {}, 0),
    "Windows line ends": (b"x=1\r\nprefix=/proc/1\r\n", {}, 0),
    "a byte order mark": (b"\xef\xbb\xbfprefix=/proc/1\n", {}, None),
    "bytes that are not UTF-8": (b"x=\xff\xfe\nprefix=/proc/1\n", {}, 0),
    "a NUL byte in the prefix": (b"prefix=/proc/1\0x\n", {}, None),
    "an empty prefix": (b"prefix=\n", {}, None),
    "a prefix that is no assignment": (b"prefix\n", {}, None),
    "no final newline": (b"prefix=/proc/1", {}, 0),
    "a prefix twice": (b"prefix=/x\nprefix=/proc/1\n", {}, 0),
}


@pytest.mark.parametrize(("content", "env", "code"), NPMRC.values(), ids=NPMRC)
def test_an_npmrc_with(content: bytes, env: dict[str, str], code: int | None, cli: CommandLine) -> None:
    """Where the prefix is the locked folder it is mended; where it is another one, at least nothing breaks."""
    (cli.home / ".npmrc").write_bytes(content)
    cli.more |= env
    before = snapshot(str(cli.home))
    for line in (("diagnose",), ("apply", "npm-prefix", "--dry-run"), ("plan", "npm-prefix", "-o", "-")):
        answer = cli(*line)
        is_clean(answer)
        assert answer.code in (0, 1, 3, 6), answer
        assert len(answer.out) < 100_000 or line[0] == "plan", "a megabyte of the user's file on the screen"
        assert snapshot(str(cli.home)) == before
    answer = cli("apply", "npm-prefix", "--yes")
    is_clean(answer)
    if code is not None:
        assert answer.code == code, answer
        assert b"prefix=~/.npm-global" in (cli.home / ".npmrc").read_bytes()
        assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before or cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


# ---- HOME and the rest of the environment

WRITING = (("apply", "npm-prefix", "--yes"), ("undo", "--yes"), ("recover",), ("apply", "npm-prefix", "--dry-run"))
COMMANDS = (*WRITING, ("diagnose",), ("history",), ("plan", "npm-prefix", "-o", "-"))
NO_HOME = {
    "unset": (None, "is not set"),
    "empty": ("", "is not set"),
    "relative": ("home", "not an absolute path"),
    "a tilde": ("~", "not an absolute path"),
    "not there": ("/nonexistent/home", "is not there"),
    "a file": ("/etc/passwd", ""),
}


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("home", "reason"), NO_HOME.values(), ids=[f"HOME is {name}" for name in NO_HOME])
def test_no_command_works_where(home: str | None, reason: str, line: tuple[str, ...], cli: CommandLine) -> None:
    both_ways(cli, 6, *line, says=(reason,), env={"HOME": home})
    assert not list(cli.state.iterdir())


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_no_command_touches_the_home_of_another_user(line: tuple[str, ...], cli: CommandLine, needs: Needs) -> None:
    needs("root")
    os.chown(cli.home, STRANGER, STRANGER)
    before = snapshot(str(cli.home))
    both_ways(cli, 6, *line, says=("another user", "without sudo"))
    assert snapshot(str(cli.home)) == before
    assert not list(cli.state.iterdir())


@pytest.fixture
def stranger(cli: CommandLine, needs: Needs) -> Iterator[CommandLine]:
    """The command line as an ordinary user, with a home of its own; needs an interpreter that such a user may run."""
    needs("root")
    top = Path(tempfile.mkdtemp(prefix="ccremedy-test-"))
    try:
        top.chmod(0o755)
        python = next(filter(_anybody_may_run, (sys.executable, "/usr/bin/python3")), None)
        if python is None:
            pytest.skip("needs a Python that another user may run")
        import filelock

        shutil.copytree(os.path.dirname(filelock.__file__), top / "source" / "filelock")
        for package in ("ccremedy", "remedies", "platforms"):
            shutil.copytree(Path(command_line.__file__).parents[2] / package, top / "source" / package)
        subprocess.run(["chmod", "-R", "a+rX", top / "source"], check=True)
        for name in ("home", "state", "bin"):
            (top / name).mkdir()
            os.chown(top / name, STRANGER, STRANGER)
        (top / "bin" / "npm").write_text("#!/bin/sh\n")
        (top / "bin" / "npm").chmod(0o755)
        (top / "global-npmrc").write_text("prefix=/usr\n")
        line = type(cli)(top / "home", top / "state", f"{top / 'bin'}:/usr/bin:/bin", (python,), top / "source")
        line.more["npm_config_globalconfig"] = str(top / "global-npmrc")
        line.user = STRANGER
        yield line
    finally:
        shutil.rmtree(top)


def _anybody_may_run(python: str) -> bool:
    try:
        command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
        return subprocess.run(command, user=STRANGER, group=STRANGER, cwd="/", capture_output=True).returncode == 0
    except OSError:
        return False


def test_an_ordinary_user_is_mended(stranger: CommandLine) -> None:
    """The same set-up as below with a home that is sound, so that the refusals below mean something."""
    before = snapshot(str(stranger.home))
    answer = stranger("apply", "npm-prefix", "--yes")
    assert answer.code == 0, answer
    assert stranger("undo", "--yes").code == 0
    assert snapshot(str(stranger.home)) == before


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["that can be read", "that cannot be read"])
def test_a_folder_that_an_installer_run_by_sudo_has_taken(mode: int, stranger: CommandLine) -> None:
    """The command that gives it back is said."""
    local = stranger.home / ".local"
    local.mkdir(mode)
    answer = stranger("apply", "npm-prefix", "--yes", env={"XDG_STATE_HOME": str(local / "state")})
    is_clean(answer)
    assert answer.code == 6, answer
    assert f"{local} belongs to root. Run: sudo chown -R {STRANGER} {local}." in answer.err
    assert snapshot(str(stranger.home)).keys() == {".local"}


def test_a_path_that_leads_through_a_closed_folder(stranger: CommandLine) -> None:
    """As after `su` from root, or in a container: a shell passes over it, and so must a diagnosis."""
    closed = stranger.home.parent / "closed"
    closed.mkdir(0o700)
    (closed / "claude").write_text("#!/bin/sh\n")
    (stranger.home.parent / "bin" / "claude").symlink_to(closed / "claude")
    answer = stranger("diagnose", env={"PATH": f"{closed}:{stranger.path}", "NVM_DIR": f"{closed}/.nvm"})
    is_clean(answer)
    assert answer.code == 1, answer
    assert f"leads to {closed}/claude, which is closed to you" in answer.out


def test_root_is_never_told_to_take_what_is_a_users(stranger: CommandLine) -> None:
    assert os.geteuid() == 0
    assert files.give_back(str(stranger.home)) == ""


def test_a_home_that_cannot_be_written(stranger: CommandLine) -> None:
    stranger.home.chmod(0o555)
    for line in (("apply", "npm-prefix", "--dry-run"), ("apply", "npm-prefix", "--yes")):
        answer = stranger(*line)
        is_clean(answer)
        assert answer.code == 6, answer
        assert "does not let you create files" in answer.out or "may not write" in answer.out
    assert list(stranger.home.iterdir()) == []
    assert list(stranger.state.iterdir()) == []


def test_a_home_that_cannot_be_read(stranger: CommandLine) -> None:
    stranger.home.chmod(0o000)
    for line in COMMANDS:
        answer = stranger(*line)
        is_clean(answer)
        assert answer.code != 0 or line[0] in ("history", "recover"), (line, answer)
    assert list(stranger.state.iterdir()) == []


def test_a_state_directory_that_cannot_be_made(stranger: CommandLine) -> None:
    os.chown(stranger.state, 0, 0)
    assert stranger("diagnose").code == 1
    says_one_sentence(stranger("apply", "npm-prefix", "--yes", "--quiet"), 6, "cannot be written", str(stranger.state))
    assert list(stranger.home.iterdir()) == []


@pytest.mark.parametrize("name", ["my home", "it's", "$HOME", "Ünï cödé 程序", "a\\b", "*", "-rf", 'q"q', "a\u202eb"])
def test_a_home_with_any_name(name: str, cli: CommandLine) -> None:
    cli.home = cli.home.rename(cli.home.parent / name)
    before = snapshot(str(cli.home))
    assert cli("apply", "npm-prefix", "--dry-run").code == 0
    answer = cli("apply", "npm-prefix", "--yes")
    assert (answer.code, answer.err) == (0, "")
    assert cli("diagnose", "npm-prefix", "-v").code in (0, 1)
    assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


@pytest.mark.parametrize("name", ["a:b", "a\nb"])
def test_a_home_that_cannot_stand_on_path(name: str, cli: CommandLine) -> None:
    cli.home = cli.home.rename(cli.home.parent / name)
    before = snapshot(str(cli.home))
    for line in (("diagnose", "npm-prefix"), ("apply", "npm-prefix", "--yes")):
        answer = cli(*line)
        is_clean(answer)
        assert answer.code in (3, 6), answer
        assert "cannot stand on PATH" in answer.out + answer.err
    assert snapshot(str(cli.home)) == before


@pytest.mark.parametrize(
    "env",
    [
        {"PATH": None},
        {"PATH": ""},
        {"PATH": ":::"},
        {"PATH": "/proc/1/root/x:\x01:/etc/passwd"},
        {"LANG": "C", "LC_ALL": "C"},
        {"LANG": "xx_YY.nonsense"},
        {"TERM": "nonsense"},
        {"PYTHONIOENCODING": "ascii"},
        {"XDG_CONFIG_HOME": "relative"},
        {"ZDOTDIR": "/nonexistent"},
        {"NVM_DIR": "\x01"},
        {"CLAUDE_CONFIG_DIR": "~/x"},
        {"COLUMNS": "nonsense"},
    ],
    ids=str,
)
def test_an_environment_with(env: dict[str, str | None], cli: CommandLine) -> None:
    before = snapshot(str(cli.home))
    for line in (("diagnose",), ("diagnose", "--json"), ("apply", "--all", "--dry-run")):
        answer = cli(*line, env=env)
        is_clean(answer)
        assert answer.code in (0, 1, 3, 6), answer
    assert snapshot(str(cli.home)) == before


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs paths in the terminal's encoding")
def test_a_home_whose_name_the_terminal_spells_in_another_way(cli: CommandLine) -> None:
    """Its start-up files would get a name that is not there; as those of a terminal in ISO-8859-1 did."""
    cli.home = cli.home / "Jürgen"
    cli.home.mkdir()
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    answer = cli("apply", "--all", "--yes", env=plain)
    is_clean(answer)
    assert (answer.code, "PYTHONUTF8=1" in answer.err) == (6, True), answer
    assert snapshot(str(cli.home)) == {}
    assert cli("diagnose", env=plain | {"PYTHONUTF8": "1"}).code in (0, 1)


@pytest.mark.parametrize("where", [">&-", "2>&-", "<&-", ">&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("line", ["diagnose", "diagnose --json", "apply npm-prefix --yes", "nonsense", "--help"])
def test_output_that_goes_nowhere(where: str, line: str, cli: CommandLine) -> None:
    """Closed or full: no traceback, and whatever was done can be undone."""
    before = snapshot(str(cli.home))
    script = f'exec "$@" {line} {where}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *cli.command()], env=cli.environment(), cwd=cli.home, capture_output=True, timeout=60
    )
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode()
    assert b"this is a bug" not in done.stdout + done.stderr, done.stderr.decode()
    assert b"Exception ignored" not in done.stderr, done.stderr.decode()
    assert done.returncode not in (70, 120, -6), done
    if line.startswith("apply"):
        assert cli("undo", "--yes").code == 0
    assert snapshot(str(cli.home)) == before


def test_a_working_directory_that_is_gone(cli: CommandLine, tmp_path: Path) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@" diagnose'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *cli.command()], env=cli.environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr


# ---- the state directory


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def _open_to_the_group(folder: Path) -> None:
    folder.chmod(0o770)


def _of_another(folder: Path) -> None:
    os.chown(folder, STRANGER, STRANGER)


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("mine\n")


STATES = {
    "may be written by anybody": (_open_to_all, "open to other users"),
    "may be written by the group": (_open_to_the_group, "open to other users"),
    "belongs to another user": (_of_another, "belongs to another user"),
    "is a file": (_a_file, "is not a directory"),
}


@pytest.mark.parametrize("line", [("apply", "npm-prefix", "--yes"), ("undo", "--yes"), ("recover",), ("history",)])
@pytest.mark.parametrize(("spoil", "reason"), STATES.values(), ids=[f"the state directory {name}" for name in STATES])
def test_nothing_is_done_where(
    spoil: Callable[[Path], None], reason: str, line: tuple[str, ...], cli: CommandLine, needs: Needs
) -> None:
    if spoil is _of_another:
        needs("root")
    folder = cli.state / "ccremedy"
    folder.mkdir(mode=0o700)
    spoil(folder)
    before = snapshot(str(cli.home)), snapshot(str(cli.state))
    both_ways(cli, 6, *line, says=(reason, str(folder)))
    assert (snapshot(str(cli.home)), snapshot(str(cli.state))) == before
    assert cli("apply", "npm-prefix", "--dry-run").code == 0, "to look, no journal is needed"
    assert reason in cli("diagnose").out


def test_a_link_in_place_of_the_lock_is_not_followed(cli: CommandLine) -> None:
    target = cli.home.parent / "precious"
    target.write_text("mine\n")
    (cli.state / "ccremedy").mkdir(mode=0o700)
    (cli.state / "ccremedy" / "lock").symlink_to(target)
    answer = cli("apply", "npm-prefix", "--yes")
    is_clean(answer)
    assert answer.code in (0, 6), answer
    assert target.read_text() == "mine\n"


# ---- a full disk


@pytest.mark.parametrize("options", ["size=8k", "nr_inodes=5"], ids=["no bytes left", "no inodes left"])
def test_a_full_disk_leaves_all_as_it_was(options: str, cli: CommandLine, needs: Needs) -> None:
    needs("mount namespaces")
    code, before, after, answer = _on_a_small_disk(cli, cli.home, options)
    assert before == after
    assert code == 1, answer
    assert answer.startswith("ccremedy: "), answer
    assert "no space left on device" in answer
    assert answer.count("\n") == 1, answer


@pytest.mark.parametrize("options", ["size=4k,nr_inodes=4", "nr_inodes=1", "nr_inodes=4"])
def test_a_full_disk_below_the_journal_leaves_all_as_it_was(options: str, cli: CommandLine, needs: Needs) -> None:
    needs("mount namespaces")
    cli.state.chmod(0o700)
    code, before, after, answer = _on_a_small_disk(cli, cli.state, options)
    assert before == after
    assert code in (1, 6), answer
    assert "no space left on device" in answer
    assert (answer.startswith("ccremedy: "), answer.count("\n")) == (True, 1), answer


def _on_a_small_disk(cli: CommandLine, where: Path, options: str) -> tuple[int, str, str, str]:
    """Apply with a tmpfs mounted there that holds what it has to hold and no more. (code, before, after, stderr)"""
    look = f"cd {cli.home}; find . -printf '%p %m %s %l\\n' | sort; find . -type f -exec sha256sum {{}} + | sort"
    script = f"""
        mkdir "$OUT"; cp -a {where}/. "$OUT/kept" && mount -t tmpfs -o {options} none {where} || exit 99
        cp -a "$OUT/kept/." {where} || exit 98
        ({look}) > "$OUT/before"
        "$@" apply npm-prefix --yes --quiet 2> "$OUT/err"; echo $? > "$OUT/code"
        ({look}) > "$OUT/after"
    """
    out = cli.home.parent / "out"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *cli.command()],
        env=cli.environment({"OUT": str(out)}), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done
    code, before, after, said = ((out / name).read_text() for name in ("code", "before", "after", "err"))
    return int(code), before, after, said


# ---- the journal


@pytest.fixture
def applied(cli: CommandLine) -> CommandLine:
    """One run in the journal, which stands."""
    assert cli("apply", "npm-prefix", "--yes").code == 0
    return cli


def _journal(cli: CommandLine) -> Path:
    return cli.state / "ccremedy" / "runs" / "000001.jsonl"


def _record(**parts: object) -> bytes:
    body = json.dumps(parts).encode()
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


def _change(**parts: object) -> dict[str, object]:
    change: dict[str, object] = {
        "kind": "line", "path": "/nonexistent/npmrc", "key": "prefix", "before": "", "after": "prefix=/x",
        "summary": "s", "expects": [], "folders": [],
    }  # fmt: skip
    return change | parts


def _step(changes: object, scratch: object = ("",), **more: object) -> bytes:
    return _record(
        type="step", **{"step": 1, "remedy": "x", "finding": "y", "changes": changes, "scratch": scratch} | more
    )


HEAD = {"type": "run", "run": 1, "v": 1, "command": "apply x", "time": "2026-01-01T00:00:00Z", "plan": ""}
START = _record(**HEAD)


def _nested_json(depth: int) -> bytes:
    body = b'{"type":' + b"[" * depth + b"]" * depth + b"}"
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


DAMAGED = {
    "text": b"hello\n",
    "binary": bytes(range(256)) * 10 + b"\n",
    "an empty line": START + b"\n",
    "only line ends": b"\n\n\n",
    "a checksum of another line": START.replace(b"apply x", b"apply y"),
    "a checksum that is no number": b"zzzzzzzz {}\n",
    "a checksum with a sign": b"+" + START[1:],
    "no checksum": json.dumps(HEAD).encode() + b"\n",
    "deep JSON": START + _nested_json(100_000),
    "a list": _record() and b"%08x []\n" % zlib.crc32(b"[]"),
    "a newer version": _record(**HEAD | {"v": 2}),
    "a version that is text": _record(**HEAD | {"v": "1"}),
    "no type": START + _record(step=1),
    "an unknown type": START + _record(type="surprise", step=1),
    "a type that is a list": START + _record(type=["step"]),
    "a change of an unknown kind": START + _step([_change(kind="program")]),
    "a kind that is a list": START + _step([_change(kind=["line"])]),
    "a change that is text": START + _step(["x"]),
    "changes that are text": START + _step("x"),
    "changes that are missing": START + _record(type="step", step=1, remedy="x", finding="y", scratch=[]),
    "a relative path": START + _step([_change(path="npmrc")]),
    "a path that is a number": START + _step([_change(path=7)]),
    "a path with a NUL byte": START + _step([_change(path="/x\0y")]),
    "a path that no file can have": START + _step([_change(path="/x\ud800")]),
    "a path that goes up": START + _step([_change(path="/nonexistent/../etc/npmrc")]),
    "an empty path": START + _step([_change(path="")]),
    "a value that is a number": START + _step([_change(before=1)]),
    "a value that is a list": START + _step([_change(after=["x"])]),
    "a key that is missing": START + _step([{k: v for k, v in _change().items() if k != "key"}]),
    "folders that are text": START + _step([_change(folders="/x")]),
    "a relative folder": START + _step([_change(folders=["x"])]),
    "a scratch file of another's": START + _step([_change()], ["/etc/passwd"]),
    "a scratch file that is relative": START + _step([_change()], [".ccremedy-1-1-0"]),
    "a scratch file that goes up": START + _step([_change()], ["/x/.ccremedy-1-1-0/../../etc/passwd"]),
    "a scratch file that is a number": START + _step([_change()], [7]),
    "too many scratch files": START + _step([_change()], ["", ""]),
    "a step out of order": START + _step([_change()], step=2),
    "a step that is text": START + _step([_change()], step="1"),
    "the record of a step that is not there": START + _record(type="kept", step=1),
    "step 0": START + _step([_change()]) + _record(type="kept", step=0),
    "a change that is not there": START + _step([_change()]) + _record(type="doing", step=1, change=1),
    "a change before the first": START + _step([_change()]) + _record(type="doing", step=1, change=-1),
    "a change that is true": START + _step([_change()]) + _record(type="doing", step=1, change=True),
    "an undo by nobody": START + _step([_change()]) + _record(type="undone", step=1, change=0, by=None),
    "a number of 5,000 digits": START + b"%08x %s\n" % (zlib.crc32(b"9" * 5000), b"9" * 5000),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_journal_with(content: bytes, applied: CommandLine) -> None:
    """Damaged or forged: whatever would write says so and stops, and whatever looks says so and goes on."""
    _journal(applied).write_bytes(content)
    before = snapshot(str(applied.home)), snapshot(str(applied.state / "ccremedy" / "runs"))
    for line in (("apply", "npm-prefix", "--yes"), ("undo", "--yes"), ("recover",)):
        says_one_sentence(applied(*line), 4, str(_journal(applied)), "damaged")
    is_one_problem(applied("undo", "1", "--yes", "--json"), 4, "damaged")
    is_one_problem(applied("history", "--json"), 4, "damaged")
    assert "damaged" in applied("diagnose").out
    assert (snapshot(str(applied.home)), snapshot(str(applied.state / "ccremedy" / "runs"))) == before


def test_a_journal_of_100_megabytes(applied: CommandLine) -> None:
    with open(_journal(applied), "r+b") as out:
        out.truncate(100 * 2**20)
    for line in (("apply", "npm-prefix", "--yes"), ("undo", "--yes"), ("recover",)):
        says_one_sentence(applied(*line), 4, "too large")
    assert applied("history").code == 4


@pytest.mark.parametrize("make", [_directory, _pipe, _loop], ids=["a directory", "a FIFO", "a loop"])
def test_a_journal_that_is(make: Callable[[Path], None], applied: CommandLine) -> None:
    before = snapshot(str(applied.home))
    _journal(applied).unlink()
    make(_journal(applied))
    for line in (("apply", "npm-prefix", "--yes"), ("undo", "--yes"), ("recover",), ("history", "-q")):
        says_one_sentence(applied(*line), 4, str(_journal(applied)))
    assert snapshot(str(applied.home)) == before


def test_an_empty_journal_is_a_run_that_never_began(applied: CommandLine) -> None:
    _journal(applied).write_bytes(b"")
    assert applied("recover").code == 0
    both_ways(applied, 2, "undo", "--yes", says=("no run to undo",))
    assert applied("history").code == 0


def test_files_in_the_journal_that_are_not_ours_are_left_alone(applied: CommandLine) -> None:
    for name in ("notes.txt", "000002.jsonl.bak", "x.jsonl", "00000².jsonl"):
        (_journal(applied).parent / name).write_text("mine\n")
    assert applied("history").code == 0
    assert applied("undo", "--yes").code == 0
    assert (_journal(applied).parent / "notes.txt").read_text() == "mine\n"


def test_a_bit_that_flipped_anywhere_is_noticed(applied: CommandLine, tmp_path: Path) -> None:
    """Three bits of each of the first 40 bytes of each line and of one in 60 of the rest, in process."""
    whole = _journal(applied).read_bytes()
    places, start = [], 0
    for line in whole.splitlines(keepends=True):
        places += [start + i for i in range(len(line)) if i < 40 or i % 60 == 0]
        start += len(line)
    sound = Journal(str(applied.state / "ccremedy")).runs()[0]
    landed = bad = 0
    for place in places:
        for bit in (0, 4, 7):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            _journal(applied).write_bytes(flipped)
            run = Journal(str(applied.state / "ccremedy")).runs()[0]
            landed += 1
            # A line end that is lost at the very end looks like a record that a crash has torn.
            torn = run.open and place == len(whole) - 1
            bad += not run.damage and not torn
    print(f"bit-flips points={3 * len(places)} landed={landed} bad={bad}")
    assert not sound.damage
    assert landed == 3 * len(places) > 1000
    assert bad == 0


def test_a_journal_that_was_cut_anywhere_is_damaged_or_older(applied: CommandLine) -> None:
    """Cut at every seventh byte: a crash leaves such files. Then the run is open, never wrongly finished."""
    whole = _journal(applied).read_bytes()
    points = range(0, len(whole), 7)
    landed = bad = 0
    for place in points:
        _journal(applied).write_bytes(whole[:place])
        run = Journal(str(applied.state / "ccremedy")).runs()[0]
        landed += 1
        bad += bool(run.damage) or run.kept() != []
    print(f"cuts points={len(points)} landed={landed} bad={bad}")
    assert landed == len(points) > 500
    assert bad == 0


def test_a_forged_scratch_name_does_not_have_a_file_removed(applied: CommandLine, tmp_path: Path) -> None:
    precious = tmp_path / "elsewhere" / ".ccremedy-1-1-0"
    precious.parent.mkdir()
    precious.write_text("mine\n")
    npmrc = str(applied.home / ".npmrc")
    forged = START + _step([_change(path=npmrc)], [str(precious)]) + _record(type="doing", step=1, change=0)
    _journal(applied).write_bytes(forged)
    is_clean(applied("recover"))
    assert precious.read_text() == "mine\n"


def test_forged_folders_are_not_removed(applied: CommandLine, tmp_path: Path) -> None:
    """Only the directories above the change's own target can have been made for it."""
    empty = tmp_path / "elsewhere" / "empty"
    empty.mkdir(parents=True)
    change = _change(path=str(applied.home / "no-such-npmrc"), before=None, after="prefix=/x", folders=[str(empty)])
    _journal(applied).write_bytes(START + _step([change], [""]) + _record(type="doing", step=1, change=0))
    is_clean(applied("recover"))
    assert empty.is_dir()


# ---- plan files


@pytest.fixture
def planned(cli: CommandLine, tmp_path: Path) -> tuple[CommandLine, Path]:
    path = tmp_path / "plan.json"
    assert cli("plan", "npm-prefix", "-o", str(path)).code == 0
    return cli, path


def test_a_plan_is_carried_out_once(planned: tuple[CommandLine, Path]) -> None:
    cli, path = planned
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli("apply", "--plan", str(path), "--yes").code == 0
    both_ways(cli, 8, "apply", "--plan", str(path), "--yes", says=("already carried out", "run 1"))
    assert cli("undo", "--yes").code == 0
    both_ways(cli, 8, "apply", "--plan", str(path), "--yes", says=("already carried out", "run 1"))


@pytest.mark.parametrize("name", [".npmrc", ".bashrc", ".profile"])
def test_a_plan_whose_target_changed_is_refused(name: str, planned: tuple[CommandLine, Path]) -> None:
    cli, path = planned
    with open(cli.home / name, "a") as out:
        out.write("# mine\n")
    before = snapshot(str(cli.home))
    both_ways(cli, 8, "apply", "--plan", str(path), "--yes", says=("changed since", str(cli.home / name)))
    both_ways(cli, 8, "apply", "--plan", str(path), "--dry-run", says=("changed since",))
    assert snapshot(str(cli.home)) == before


def test_a_plan_for_what_is_mended_already_is_refused(planned: tuple[CommandLine, Path]) -> None:
    cli, path = planned
    assert cli("apply", "npm-prefix", "--yes").code == 0
    both_ways(cli, 8, "apply", "--plan", str(path), "--yes")


def test_a_plan_of_another_home_is_refused(planned: tuple[CommandLine, Path], tmp_path: Path) -> None:
    cli, path = planned
    cli.home = Path(shutil.copytree(cli.home, tmp_path / "other"))
    both_ways(cli, 8, "apply", "--plan", str(path), "--yes", says=("another home",))


@pytest.mark.parametrize("option", ["yes", "dry_run", "json", "remedies", "act", "switches", "all", "timeout", "plan"])
def test_a_plan_cannot_answer_for_the_user(option: str, planned: tuple[CommandLine, Path]) -> None:
    """Its options are those of remedies; a forged one must not be a --yes."""
    cli, path = planned
    path.write_text(json.dumps(json.loads(path.read_text()) | {"options": [option]}))
    before = snapshot(str(cli.home))
    both_ways(cli, 2, "apply", "--plan", str(path), says=("plan",))
    assert snapshot(str(cli.home)) == before


def _world_writable(path: Path) -> None:
    path.chmod(0o666)


def _someone_elses(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


def _gone(path: Path) -> None:
    path.unlink()


def _replaced_by(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def _holding(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _with(**parts: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | parts))

    return change


PLANS: dict[str, tuple[Callable[[Path], None], int]] = {
    "may be written by anybody": (_world_writable, 6),
    "belongs to another user": (_someone_elses, 6),
    "is not there": (_gone, 2),
    "is a directory": (_replaced_by(_directory), 6),
    "is a FIFO": (_replaced_by(_pipe), 6),
    "is a dangling link": (_replaced_by(_dangling), 2),
    "is a link to itself": (_replaced_by(_loop), 2),
    "has 50 MB": (_replaced_by(_huge), 6),
    "is empty": (_holding(b""), 2),
    "is binary": (_holding(bytes(range(256))), 2),
    "is UTF-16": (_holding('{"schema": 1}'.encode("utf-16")), 2),
    "is nested too deeply": (_holding(b"[" * 200_000), 2),
    "is a number": (_holding(b"1"), 2),
    "is a number of 5,000 digits": (_holding(b"1" * 5000), 2),
    "is not a number": (_holding(b"NaN"), 2),
    "is a list": (_holding(b"[]"), 2),
    "is cut short": (_holding(b'{"schema": 1, "plan": "'), 2),
    "is of a newer version": (_with(schema=2), 2),
    "has a key too many": (_with(surprise=1), 2),
    "names a remedy that there is not": (_with(remedies=["no-such-remedy"]), 2),
    "names no remedy": (_with(remedies=[]), 2),
    "names a remedy by a number": (_with(remedies=[1]), 2),
    "names an option that there is not": (_with(options=["no-such-option"]), 2),
    "has other changes": (_with(changes=[]), 8),
    "has changes that are text": (_with(changes=["x"]), 2),
    "is for another platform": (_with(platform="wsl"), 8),
}


@pytest.mark.parametrize(("spoil", "code"), PLANS.values(), ids=[f"it {name}" for name in PLANS])
def test_a_plan_file_is_refused_if(
    spoil: Callable[[Path], None], code: int, planned: tuple[CommandLine, Path], needs: Needs
) -> None:
    if spoil is _someone_elses:
        needs("root")
    cli, path = planned
    spoil(path)
    before = snapshot(str(cli.home))
    both_ways(cli, code, "apply", "--plan", str(path), "--yes")
    both_ways(cli, code, "apply", "--plan", str(path), "--dry-run")
    assert snapshot(str(cli.home)) == before


HOSTILE_VALUES: list[Any] = [
    None, True, False, 0, -1, 1 << 70, 1.5, "", "x", "\0", "\ud800", "../x", "/", "/etc/passwd", "~", [], ["x"], [[]],
    [None], {}, {"x": 1}, "a" * 5000, [{"kind": "program"}], "yes", ["yes"], "npm-prefix", "\x1b[2J", {"kind": "line"},
]  # fmt: skip


def _hostile(plan: Any, chance: random.Random) -> Any:
    """The plan with one to three of its nodes replaced, removed, doubled or added."""
    plan = json.loads(json.dumps(plan))
    for _ in range(chance.randint(1, 3)):
        nodes = list(_containers(plan))
        node = chance.choice(nodes)
        value = json.loads(json.dumps(chance.choice(HOSTILE_VALUES)))
        if isinstance(node, dict) and node:
            key = chance.choice(list(node))
            action = chance.choice(["replace", "replace", "replace", "remove", "add"])
            if action == "remove":
                del node[key]
            else:
                node[key if action == "replace" else "surprise"] = value
        elif isinstance(node, list):
            if node and chance.random() < 0.5:
                node[chance.randrange(len(node))] = value
            else:
                node.append(value)
    return plan


def _containers(node: Any) -> Iterator[Any]:
    if isinstance(node, (dict, list)):
        yield node
        for each in node.values() if isinstance(node, dict) else node:
            yield from _containers(each)


def test_no_hostile_plan_does_anything(
    planned: tuple[CommandLine, Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """250 plans that are nearly right, each through the whole command in a forked child: refused in a sentence."""
    cli, path = planned
    sound = json.loads(path.read_text())
    before = snapshot(str(cli.home))
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in cli.environment().items():
        monkeypatch.setenv(name, value)
    points, landed, bad = 250, 0, []
    for seed in range(points):
        plan = _hostile(sound, random.Random(seed))
        path.write_text(json.dumps(plan))
        code = _in_a_child(["apply", "--plan", str(path)])
        said = capfd.readouterr()
        landed += 1
        # 5: what is left of it is what this machine proposes ("created" is another, say), and nobody has said yes.
        fine = code in (2, 8, 5) and said.err.count("\n") == 1 and "Traceback" not in said.err
        if not fine or snapshot(str(cli.home)) != before:
            bad.append((seed, code, said.err))
    with capfd.disabled():
        print(f"\nhostile-plans points={points} landed={landed} bad={len(bad)}")
    assert landed == points >= 200
    assert bad == []


def _in_a_child(words: list[str]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            sys.stdin = open(os.devnull)  # noqa: SIM115 - gone with the child
            code = command_line.main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_plan_is_not_written_over_anything(cli: CommandLine, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("precious", "folder", "dangling", "no/such/folder/plan"):
        both_ways(cli, 6, "plan", "npm-prefix", "-o", str(tmp_path / name), says=(str(tmp_path / name),))
    assert precious.read_text() == "mine\n"
    assert not (tmp_path / "no").exists()


# ---- words

WORDS: dict[str, tuple[str, str]] = {
    "an unknown command": ("frobnicate", "there is no command “frobnicate”"),
    "a command with a typo": ("diagnos", "Did you mean diagnose?"),
    "an unknown remedy": ("apply no-such-thing --yes", "there is no remedy “no-such-thing”"),
    "a remedy with a typo": ("apply npm-prefx --yes", "Did you mean npm-prefix?"),
    "a remedy with a typo, diagnosed": ("diagnose wsl-pth", "Did you mean wsl-path"),
    "a remedy with a typo, shown": ("show reset-confg", "Did you mean reset-config?"),
    "no remedy": ("apply --yes", "name a remedy, or say --all"),
    "no remedy to plan": ("plan -o -", "name a remedy, or say --all"),
    "no remedy to show": ("show", "REMEDY"),
    "a plan that goes nowhere": ("plan npm-prefix", "--output"),
    "an unknown run": ("undo 7 --yes", "there is no run 7"),
    "no run at all": ("undo --yes", "there is no run to undo"),
    "a run that is no number": ("undo x --yes", "invalid int value"),
    "an unknown option": ("diagnose --frobnicate", "--frobnicate"),
    "the beginning of an option": ("apply npm-prefix --dry", "--dry"),
    "an option of another command": ("history --yes", "--yes"),
    "an option of another remedy": ("apply npm-prefix --full --yes", "--full belongs to reset-config"),
    "an option without its value": ("diagnose --timeout", "--timeout"),
    "a time limit that is no number": ("diagnose --timeout soon", "number of seconds"),
    "a time limit of nothing": ("diagnose --timeout 0", "number of seconds"),
    "a time limit that is negative": ("diagnose --timeout=-1", "number of seconds"),
    "a time limit that is not a number": ("diagnose --timeout nan", "number of seconds"),
    "a time limit without end": ("diagnose --timeout inf", "number of seconds"),
    "an unknown risk": ("apply npm-prefix --max-risk huge --yes", "--max-risk"),
    "an unknown colour": ("diagnose --color mauve", "--color"),
    "a plan and a remedy": ("apply npm-prefix --plan PLAN --yes", "either --plan or remedies"),
    "a plan and everything": ("apply --all --plan PLAN --yes", "either --plan or remedies"),
    "two commands": ("history undo", "undo"),
    "control characters": ("diagnose \x1b[2Jx", "\\x1b[2Jx"),
}


@pytest.mark.parametrize(("words", "says"), WORDS.values(), ids=WORDS)
def test_the_command_line_says_what_is_wrong_with(words: str, says: str, planned: tuple[CommandLine, Path]) -> None:
    cli, path = planned
    before = snapshot(str(cli.home))
    line = words.replace("PLAN", str(path)).split(" ")
    says_one_sentence(cli(*line), 2, says)
    answer = cli("--json", *line)
    is_one_problem(answer, 2)
    assert snapshot(str(cli.home)) == before
    assert not list(cli.state.iterdir())


@pytest.mark.parametrize("number", ["0", "99", "-1"])
def test_a_change_that_the_run_has_not(number: str, applied: CommandLine) -> None:
    before = snapshot(str(applied.home))
    both_ways(applied, 2, "undo", "1", f"--change={number}", "--yes", says=("changes 1 to 6",))
    assert snapshot(str(applied.home)) == before
