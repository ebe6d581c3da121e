"""A value in a start-up file reaches what the shell starts byte for byte, and no part of it is ever a command.

Each shell reads, at an interactive start and from its own start-up file, the very lines that the product writes. Twins
that quote as people do (double quotes; a csh as if it were a sh) are caught. A NUL can stand in no environment: the
places that values come from refuse it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from ccremedy import Block, Problem, editors, registry
from ccremedy.network import read_proxy
from ccremedy.shells import quote
from ccremedy.testing import Case, Rig

Needs = Callable[[str], None]
Spell = Callable[[str, str], str]  # a shell and a text: the text as a word of that shell

# Where each shell looks at an interactive start, and how it is started.
STARTS = {
    "bash": (".bashrc", "-ic"),
    "dash": (".dashrc", "-ic"),  # $ENV
    "zsh": (".zshrc", "-ic"),
    "ksh": (".kshrc", "-ic"),  # $ENV
    "fish": (".config/fish/config.fish", "-ic"),
    "tcsh": (".tcshrc", "-c"),
}
_LINES = {"fish": "set -gx {} {}\n", "tcsh": "setenv {} {}\n"}  # elsewhere `export`
POINTS = 20_000  # for each shell
BATCH = 500

# ---- values that want out. `hit` is the file by which one would be seen.

COMMANDS = (
    "touch hit", "$(touch hit)", "`touch hit`", "${x:=`touch hit`}", "$((`touch hit`))", "$[`touch hit`]",
    "; touch hit", "&& touch hit", "|| touch hit", "| tee hit", "& touch hit", "\ntouch hit\n", "\r\ntouch hit\r\n",
    "'; touch hit; '", '"; touch hit; "', "\\'; touch hit; \\'", "'\ntouch hit\n'", "\\\ntouch hit\n", "(touch hit)",
    "{ touch hit; }", "<(touch hit)", ">(touch hit)", "=(touch hit)", "<<X\n$(touch hit)\nX\n", "<<<$(touch hit)",
    "$'\\x27; touch hit'", "; touch hit #", "\n# <<< ccremedy proxy-ca <<<\ntouch hit\n", "eval 'touch hit'",
    "exec >hit", ">hit", ">>hit", ">&hit", "'`touch hit`'", "'$(touch hit)'", "${(e):-`touch hit`}", "%{`touch hit`%}",
    "begin; touch hit; end", "and touch hit", "!!; touch hit", "!touch", "a b c$(touch hit)", "\\`touch hit\\`",
    "\\$(touch hit)",
)  # fmt: skip
MEANINGS = (
    "!", "!!", "!$", "!-1", "!?x?", "^a^b^", "\\!", "'!'", "~", "~root", "~+", "=ls", "*", "?", "[a-z]", "**", "/*",
    "{a,b}", "{1..9}", "$HOME", "${HOME}", "$?", "$$", "$#", "%1", "#", " # x", "-n", "-", "--", "-x", "\\", "\\\\",
    "a\\", "'", "''", "'''", '"', "'\"'", "\\'", "‘’“”", "´", "\u00a0", "\u2028", "\ufeff", "é", "日本", "😀", "\u202e",
    "\t", " ", "", "  a  ", "\n", "\n\n", "\\\n", "\r", "\r\n", "a\r", "\x01", "\x07", "\x1b[2J", "\x7f", "\x80",
    "\udcff", "\udc80", "\udcc3(", "\uf6ff", "\ue000", "\ufdd0", "a=b", "A=1 B=2", "a:b", ";", "&", "|", "<", ">", "()",
    "a;b", "if", "end", "fi", "}",
)  # fmt: skip
LONG = ("x" * 10_240, "é" * 5_120, "\udcff" * 10_240, "'" * 2_560, "!\n\\'" * 2_560, "$(touch hit)" * 788)


def _hostile(count: int) -> list[str]:
    """All of the above, alone and joined by chance; the same ones each time."""
    draw = random.Random(count)
    values = list(dict.fromkeys([*COMMANDS, *MEANINGS, *LONG]))
    seen = set(values)
    while len(values) < count:
        value = "".join(draw.choice(draw.choice((COMMANDS, MEANINGS))) for _ in range(draw.randint(2, 5)))
        if value not in seen:
            seen.add(value)
            values.append(value)
    return values


def _lines(shell: str, values: dict[str, str], spell: Spell) -> str:
    line = _LINES.get(shell, "export {}={}\n")
    return "".join(line.format(name, spell(shell, value)) for name, value in values.items())


# ---- a fresh shell that has read them


class Fresh:
    """A home, an empty working directory, and one shell; what a start of it leaves there is a command that ran."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell, self.home, self.here = shell, folder / "home", folder / "here"
        name, self.flags = STARTS[shell]
        self.file = self.home / name
        self.file.parent.mkdir(parents=True)
        self.here.mkdir()
        self.env = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "ENV": str(self.file),
        }
        self.quiet = self._start(b"")  # what it says and exports by itself

    def _start(self, lines: bytes) -> tuple[dict[bytes, bytes], bytes]:
        self.file.write_bytes(lines)
        with tempfile.TemporaryFile() as out:  # a pipe would be waited on by what escapes
            done = subprocess.run(
                [self.shell, self.flags, "/usr/bin/env -0"], cwd=self.here, env=self.env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.PIPE, timeout=60, start_new_session=True, check=False,
            )  # fmt: skip
            out.seek(0)
            listing = out.read()
        env = dict(entry.split(b"=", 1) for entry in listing.split(b"\0") if b"=" in entry)
        return env, done.stderr

    def faults(self, values: Sequence[str], spell: Spell) -> tuple[int, list[str]]:
        """How many values came to a start that has read them all, and what was wrong there."""
        named = {f"CCREMEDY_{number}": value for number, value in enumerate(values)}
        env, said = self._start(os.fsencode(_lines(self.shell, named, spell)))
        own, usually_said = self.quiet
        wrong = [
            f"{value!r} became {env.get(name.encode())!r}"
            for name, value in named.items()
            if env.get(name.encode()) != os.fsencode(value)
        ]
        more = env.keys() - own.keys() - {name.encode() for name in named}
        wrong += [f"{name!r} was set too" for name in more]
        wrong += [f"{name!r} changed" for name in own if env and env.get(name) != own[name] and name != b"_"]
        wrong += [f"it ran a command: there is a file {name!r}" for name in self._left()]
        if _without_numbers(said) != _without_numbers(usually_said):
            wrong.append(f"it says {said[:200]!r}")
        return sum(name.encode() in env for name in named), wrong

    def _left(self) -> Iterator[str]:
        for each in list(self.here.iterdir()):
            each.unlink()
            yield each.name


def _without_numbers(said: bytes) -> bytes:
    """Process numbers differ."""
    return bytes(byte for byte in said if not chr(byte).isdigit())


@pytest.mark.parametrize("shell", STARTS)
def test_a_fresh_shell_exports_the_very_bytes_and_runs_nothing(
    shell: str, tmp_path: Path, needs: Needs, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(shell)
    fresh, values, landed, bad = Fresh(shell, tmp_path), _hostile(POINTS), 0, []
    for start in range(0, len(values), BATCH):
        came, wrong = fresh.faults(values[start : start + BATCH], quote)
        landed += came
        bad += wrong
    with capsys.disabled():
        print(f"\nshell-values shell={shell} points={len(values)} landed={landed} bad={len(bad)}", end=" ")
    assert not bad[:5]
    assert landed == len(values) >= POINTS


def _in_double_quotes(shell: str, text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _as_in_sh(shell: str, text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


TWINS: dict[str, Spell] = {"double quotes": _in_double_quotes, "no quotes": lambda shell, text: text}


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("shell", STARTS)
def test_quoting_as_people_do_is_caught(shell: str, twin: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    fresh = Fresh(shell, tmp_path)
    found = [wrong for value in COMMANDS for wrong in fresh.faults([value], TWINS[twin])[1]]
    assert any("became" in each for each in found)
    assert any("it ran a command" in each for each in found)


@pytest.mark.parametrize("value", ["a!b", "!!", "a\nb", "x'!\n'y"], ids=ascii)
def test_quoting_for_a_sh_is_caught_in_a_csh(value: str, tmp_path: Path, needs: Needs) -> None:
    needs("tcsh")
    assert Fresh("tcsh", tmp_path).faults([value], _as_in_sh)[1]


@pytest.mark.parametrize("value", ["a\\", "x\\'y", "\\\\"], ids=ascii)
def test_quoting_for_a_sh_is_caught_in_fish(value: str, tmp_path: Path, needs: Needs) -> None:
    needs("fish")
    assert Fresh("fish", tmp_path).faults([value], _as_in_sh)[1]


# ---- the product's own lines, and what comes to them


def _proxy_ca(files: dict[str, object], *options: str) -> Case:
    facts = {"platform": "linux", "files": files, "shells": ["bash", "zsh", "fish"], "options": list(options)}
    return Case("x", registry.remedy("proxy-ca"), facts)


def test_the_product_writes_just_these_lines(tmp_path: Path, needs: Needs) -> None:
    for shell in ("zsh", "fish"):
        needs(shell)
    machine = _proxy_ca({}, "profile").build(str(tmp_path / "root"))
    values = {"NO_PROXY": "it's\\", "NODE_EXTRA_CA_CERTS": "/$(touch hit)/`x`!"}
    changes = list(import_module("ccremedy.remedies._env").changes(machine, values, ""))
    written = {each.resource.shell: each.after for each in changes if isinstance(each.resource, Block)}
    assert written == {shell: _lines(shell, values, quote) for shell in ("bash", "zsh", "fish")}


@pytest.mark.parametrize("url", ["http://a\0b:80", "http://me:p\0@a:80", "http://a:80\0", "\0http://a:80"], ids=ascii)
def test_a_proxy_with_a_nul_is_refused(url: str) -> None:
    with pytest.raises(Problem):
        read_proxy(url)


@pytest.mark.parametrize("name", ["NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "NO_PROXY", "ANTHROPIC_BASE_URL"])
def test_a_nul_in_the_settings_neither_stops_us_nor_gets_into_a_start_up_file(name: str, tmp_path: Path) -> None:
    text = json.dumps({"env": {"HTTPS_PROXY": "http://proxy.corp:3128", name: "/a\0b"}})
    found = Rig.make(_proxy_ca({"~/.claude/settings.json": text}, "profile"), str(tmp_path)).diagnose()
    assert not found.failed
    assert all("\0" not in (change.after or "") for finding in found.findings for change in finding.changes)


def test_a_value_cannot_end_the_block_that_it_stands_in(tmp_path: Path) -> None:
    machine = _proxy_ca({}, "profile").build(str(tmp_path / "root"))
    values = {"NODE_EXTRA_CA_CERTS": "/x\n# <<< ccremedy proxy-ca <<<\ny.pem"}
    data = b"# mine\n"
    with contextlib.suppress(Problem):  # refused is as good: nothing is written that could not be taken back
        for change in import_module("ccremedy.remedies._env").changes(machine, values, ""):
            data = editors.put_block(data, "proxy-ca", change.after, at_end=False)
            assert editors.get_block(data, "proxy-ca") == change.after
    assert editors.put_block(data, "proxy-ca", None, at_end=False) == b"# mine\n"
