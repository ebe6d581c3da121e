"""The start-up files of real people, in the real shells.

A folder is put on PATH through the engine, on top of a zoo of awkward start-up files. Then the shells are asked here,
without any code of the product: "done" must mean that the folder is there in every start that reads the file and that
nothing else has changed, and anything else must mean that the file has the bytes that it had. Undo gives all back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccremedy import Block, Finding, Healthy, Machine, Problem, Remedy, registry, shells
from ccremedy.testing import Case, Rig, snapshot

if TYPE_CHECKING:
    from conftest import CommandLine

Needs = Callable[[str], None]
Files = dict[str, object]


class OnPath(Remedy):
    """What `npm-prefix` and `wsl-path` do to start-up files, and no more."""

    id = "on-path"
    title = "put ~/tools/bin on PATH"

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        folder = machine.path("tools", "bin")
        changes = tuple(machine.persist_path(self.id, folder, f"path {folder}"))
        yield Finding("missing", "it is not on PATH", changes=changes) if changes else Healthy("it is there")


# ---- the zoo


@dataclass(frozen=True)
class Animal:
    """Start-up files, and what must become of the block: it is "done", "failed", or "unproven": done, and said that
    the shell could not be asked."""

    name: str
    files: Files
    outcome: str = "done"
    shells: tuple[str, ...] = ()
    restless: tuple[str, ...] = ()  # variables that differ from one start to the next by themselves
    env: dict[str, str] = field(default_factory=dict)


def _bash() -> Iterator[Animal]:
    def both(name: str, content: object, **more: object) -> Animal:
        return Animal(name, {"~/.profile": content, "~/.bashrc": content}, **more)  # type: ignore[arg-type]

    nvm = 'nvm() { unset -f nvm; . "$HOME/.nvm/nvm.sh"; nvm "$@"; }\nnode() { nvm use default; node "$@"; }\n'
    yield both("files are empty", "")
    yield Animal("there are no files", {})
    yield Animal(".bash_profile is a link to nothing", {"~/.bash_profile": {"link": "gone"}, "~/.profile": "A=1\n"})
    yield both("no final newline", "export A=1")
    yield both("Windows line ends", "# mine\r\nexport A=1\r\n")
    yield both("a byte order mark", "\ufeff# mine\nexport A=1\n")
    yield both("a byte order mark and a setting in the first line", "\ufeffexport A=1\nexport B=2\n")
    yield both("bytes that are not UTF-8", _raw(b"export A='\xff\xfe\xe9'\n# caf\xe9"))
    yield both("a NUL byte", _raw(b"export A=1\0\nexport B=2\n"))
    yield both("a backslash at the very end", "export A=1 \\")
    yield both("an early return", "export A=1\nreturn\nexport B=2\n")
    yield both("an early exit", "export A=1\nexit 0\n", outcome="unproven")
    yield both("another shell takes over at the end", "export A=1\nexec /bin/cat\n", outcome="unproven")
    yield both("a guard for interactive shells", "case $- in *i*) ;; *) return;; esac\nexport A=1\n")
    yield both("set -e", "set -e\nexport A=1\n")
    yield both("set -u", "set -u\nexport A=1\n")
    yield both("noclobber", "set -o noclobber\n")
    yield both("posix mode", "set -o posix\n")
    yield both("every command is traced", "set -xv\nexport A=1\n")
    yield both("a quote that is never closed", "export A=1\nexport B='open\nexport C=3\n")
    yield both("a here-document that is never closed", "export A=1\ncat >/dev/null <<END\nexport B=2\n")
    yield both("an if that is never closed", "export A=1\nif true; then\nexport B=2\n")
    yield both("a syntax error", "export A=1\n) oops (\nexport B=2\n")
    yield both("aliases named case and export", "shopt -s expand_aliases\nalias case=echo export=echo esac=echo\n")
    yield both("functions named export and test", "export() { :; }\ntest() { return 1; }\n")
    yield both("PATH is set anew at the end", "export A=1\nPATH=/usr/local/bin:/usr/bin:/bin\n")
    yield both("PATH is unset at the end", "export A=1\nunset PATH\n")
    yield both("PATH is set anew at the end, without a newline", "export PATH=/usr/bin:/bin")
    yield both(
        "PATH is set anew, then it returns", "export PATH=/usr/bin:/bin\nreturn\n", outcome="failed"
    )  # neither the top nor the end will do
    yield both(
        "PATH is set anew below an open quote", "PATH=/usr/bin:/bin\nexport B='open\n", outcome="failed"
    )  # a block at the end would be swallowed
    yield both("a folder of Windows is put first at the end", "export PATH='/mnt/c/Program Files/nodejs':\"$PATH\"\n")
    yield both("nvm is loaded lazily", nvm)
    yield both("a version manager is loaded at the end", '[ -n "$NO" ] || export PATH="$HOME/.vm/bin:$PATH"\n')
    yield both("it prints", "echo hello; printf 'no line end'; echo trouble >&2\n")
    yield both("it prints NUL bytes", "printf 'a\\0b\\0'\n")
    yield both("its output goes elsewhere", "exec >/dev/null\n", outcome="unproven")
    yield both("it sleeps", "sleep 2\n", outcome="unproven")
    yield both("it waits for an answer", "read -r ANSWER\nexport A=1\n")
    yield both("a variable is random", "export SESSION=$RANDOM$RANDOM$$\n", restless=("SESSION",))
    yield both("a folder on PATH is random", 'export PATH="/run/multishell/$$-$RANDOM:$PATH"\n')
    yield both("PROMPT_COMMAND", "PROMPT_COMMAND='history -a; export A=1'\n")
    yield both("PATH is read-only", "readonly PATH\nexport A=1\n")
    yield both("an EXIT trap", "trap 'echo bye' EXIT\n")
    yield both("another directory", "cd /\n")
    yield both("colons separate fields", "IFS=:\n")
    yield both("16,000 lines", "export A=1\n" * 16000)
    yield both("a mode of its own", {"text": "export A=1\n", "mode": "640"})
    yield Animal("a .bash_profile hides .profile", {"~/.bash_profile": "export A=1\n", "~/.profile": "export B=1\n"})
    yield Animal(
        "a .bash_profile hides .profile from bash, not from sh",
        {"~/.bash_profile": "export A=1\n", "~/.profile": "export B=1\n"},
        shells=("bash", "sh"),
    )
    yield Animal("a .bash_login", {"~/.bash_login": "export A=1\n", "~/.profile": "export B=1\n"})
    yield Animal("a .bash_profile that reads .bashrc", {"~/.bash_profile": ". ~/.bashrc\n", "~/.bashrc": "A=1\n"})
    yield Animal(
        "Debian's own files",
        {
            "~/.profile": 'if [ -n "$BASH_VERSION" ]; then\n [ ! -f ~/.bashrc ] || . "$HOME/.bashrc"\nfi\n',
            "~/.bashrc": "case $- in\n    *i*) ;;\n      *) return;;\nesac\nHISTCONTROL=ignoreboth\n",
        },
        shells=("bash", "sh"),
    )
    yield Animal(
        "the files are links into a repository",
        {
            "~/dotfiles/bashrc": "export A=1\n",
            "~/.bashrc": {"link": "dotfiles/bashrc"},
            "~/dotfiles/profile": "export B=1\n",
            "~/.profile": {"link": "{home}/dotfiles/profile"},
        },
    )


def _zsh() -> Iterator[Animal]:
    def both(name: str, content: object, **more: object) -> Animal:
        return Animal(name, {"~/.zprofile": content, "~/.zshrc": content}, **more)  # type: ignore[arg-type]

    yield both("files are empty", "")
    yield Animal("there are no files", {})
    yield both("no final newline", "export A=1")
    yield both("Windows line ends", "# mine\r\nexport A=1\r\n")
    yield both("a byte order mark", "\ufeff# mine\nexport A=1\n")
    yield both("bytes that are not UTF-8", _raw(b"export A='\xff\xfe\xe9'\n# caf\xe9"))
    yield both("a NUL byte", _raw(b"export A=1\0\nexport B=2\n"))
    yield both("a backslash at the very end", "export A=1 \\")
    yield both("an early return", "export A=1\nreturn\nexport B=2\n")
    yield both("an early exit", "export A=1\nexit 0\n", outcome="unproven")
    yield both("another shell takes over at the end", "export A=1\nexec /bin/cat\n", outcome="unproven")
    yield both("a guard for interactive shells", "[[ -o interactive ]] || return\nexport A=1\n")
    yield both("set -e", "setopt err_return\nexport A=1\n")
    yield both("set -u", "setopt no_unset\nexport A=1\n")
    yield both("noclobber", "setopt noclobber\n")
    yield both("options of other shells", "setopt ksh_arrays sh_word_split glob_subst extended_glob\n")
    yield both("it acts as sh", "emulate sh\n")
    yield both("every command is traced", "setopt xtrace verbose\nexport A=1\n")
    yield both("a quote that is never closed", "export A=1\nexport B='open\nexport C=3\n")
    yield both("a here-document that is never closed", "export A=1\ncat >/dev/null <<END\nexport B=2\n")
    yield both("an if that is never closed", "export A=1\nif true; then\nexport B=2\n")
    yield both("a syntax error", "export A=1\n) oops (\nexport B=2\n")
    yield both("aliases named case and export", "alias case=echo export=echo esac=echo\n")
    yield Animal(
        "aliases named case and export, in the file before", {"~/.zshenv": "alias case=echo\n"}, outcome="failed"
    )  # zsh puts an alias before its own reserved words: no block of ours can work
    yield both("PATH is set anew at the end", "export A=1\nPATH=/usr/local/bin:/usr/bin:/bin\n")
    yield both("path is set anew at the end, as an array", "export A=1\npath=(/usr/local/bin /usr/bin /bin)\n")
    yield both("PATH is set anew, then it returns", "export PATH=/usr/bin:/bin\nreturn\n", outcome="failed")
    yield both("path holds each folder once", "typeset -U path PATH\npath+=(/usr/bin)\n")
    yield both("a folder of Windows is put first at the end", "export PATH='/mnt/c/Program Files/nodejs':\"$PATH\"\n")
    yield both("nvm is loaded lazily", 'nvm() { unset -f nvm; . "$HOME/.nvm/nvm.sh"; nvm "$@"; }\n')
    yield both("a version manager is loaded at the end", 'export PATH="$HOME/.vm/bin:$PATH"\n')
    yield both("it prints", "echo hello; printf 'no line end'; echo trouble >&2\n")
    yield both("its output goes elsewhere", "exec >/dev/null\n", outcome="unproven")
    yield both("it sleeps", "sleep 2\n", outcome="unproven")
    yield both("a variable is random", "export SESSION=$RANDOM$RANDOM$$\n", restless=("SESSION",))
    yield both("a hook before each prompt", "precmd() { export A=1; }\n")
    yield both("PATH is read-only", "typeset -r PATH\nexport A=1\n")
    yield both("another directory", "cd /\n")
    yield both("a mode of its own", {"text": "export A=1\n", "mode": "640"})
    yield Animal("ZDOTDIR is set in .zshenv", {"~/.zshenv": "export ZDOTDIR=$HOME/.zsh\n", "~/.zsh/.zshrc": "A=1\n"})
    yield Animal("ZDOTDIR with a default", {"~/.zshenv": 'ZDOTDIR="${XDG_CONFIG_HOME:-$HOME/.config}/zsh"\n'})
    for name, line in (
        ("ZDOTDIR with its quotes in the middle", 'ZDOTDIR="$HOME"/.config/zsh'),
        ("ZDOTDIR is only set where it is not", ': "${ZDOTDIR:=${XDG_CONFIG_HOME:-$HOME/.config}/zsh}"'),
        ("ZDOTDIR keeps what it is, if it is set", "export ZDOTDIR=${ZDOTDIR:-~/.config/zsh} # mine"),
    ):
        yield Animal(name, {"~/.zshenv": f"{line}\n"})
    yield Animal("a directory stands where .zshenv would", {"~/.zshenv/x": ""})
    yield Animal(
        "ZDOTDIR comes from the environment",
        {"~/.z/.zshrc": "export A=1\n", "~/.zshrc": "export B=1\n"},
        env={"ZDOTDIR": "{home}/.z"},
    )
    yield Animal(
        "the file is a link into a repository",
        {"~/dotfiles/zshrc": "export A=1\n", "~/.zshrc": {"link": "dotfiles/zshrc"}},
    )


def _fish() -> Iterator[Animal]:
    def one(name: str, content: object, **more: object) -> Animal:
        return Animal(name, {"~/.config/fish/config.fish": content}, **more)  # type: ignore[arg-type]

    yield one("the file is empty", "")
    yield Animal("there is no file", {})
    yield one("no final newline", "set -gx A 1")
    yield one("Windows line ends", "# mine\r\nset -gx A 1\r\n")
    yield one("a byte order mark", "\ufeff# mine\nset -gx A 1\n")
    yield one("bytes that are not UTF-8", _raw(b"set -gx A '\xff\xfe\xe9'\n# caf\xe9"))
    yield one("a NUL byte", _raw(b"set -gx A 1\0\nset -gx B 2\n"))
    yield one("an early return", "set -gx A 1\nreturn\nset -gx B 2\n")
    yield one("an early exit", "set -gx A 1\nexit 0\nset -gx B 2\n")  # leaves the file, not the shell
    yield one("another shell takes over at the end", "set -gx A 1\nexec /bin/cat\n", outcome="unproven")
    yield one("a guard for interactive shells", "status is-interactive; or return\nset -gx A 1\n")
    # fish reads a whole file before it runs any of it: what does not parse is not run at all.
    yield one("a backslash at the very end", "set -gx A 1 \\", outcome="failed")
    yield one("a quote that is never closed", "set -gx A 1\nset -gx B 'open\n", outcome="failed")
    yield one("an if that is never closed", "set -gx A 1\nif true\nset -gx B 2\n", outcome="failed")
    yield one("a syntax error", "set -gx A 1\n) oops (\n", outcome="failed")
    yield one("it is written for bash", "export A=1\nif [ -n $A ]; then\n  echo\nfi\n", outcome="failed")
    yield one("aliases named set and contains", "alias contains=true\nalias ls='ls -l'\n")
    yield Animal(
        "a function named contains, in the file before",
        {"~/.config/fish/conf.d/mine.fish": "function contains; return 0; end\n"},
        outcome="failed",
    )
    yield one("PATH is set anew at the end", "set -gx A 1\nset -gx PATH /usr/local/bin /usr/bin /bin\n")
    yield one("PATH is set anew, then it returns", "set -gx PATH /usr/bin /bin\nreturn\n", outcome="failed")
    yield one("a folder of Windows is put first at the end", "set -gx PATH '/mnt/c/Program Files/nodejs' $PATH\n")
    yield one("fish_add_path", "fish_add_path -gP ~/.vm/bin /usr/bin\n")
    yield one("nvm is loaded lazily", "function nvm; bass source ~/.nvm/nvm.sh --no-use ';' nvm $argv; end\n")
    yield one("it prints", "echo hello; printf 'no line end'; echo trouble >&2\n")
    yield one("it sleeps", "sleep 2\n", outcome="unproven")
    yield one("a variable is random", "set -gx SESSION (random)(random)\n", restless=("SESSION",))
    yield one("a hook before each prompt", "function hook --on-event fish_prompt; set -gx A 1; end\n")
    yield one("PATH is not exported", "set -gu PATH $PATH\n")
    yield one("PATH is universal", "set -Ux fish_user_paths ~/.vm/bin\n")
    yield one("another directory", "cd /\n")
    yield one("16,000 lines", "set -gx A 1\n" * 16000)
    yield one("a mode of its own", {"text": "set -gx A 1\n", "mode": "640"})
    yield Animal("a file in conf.d", {"~/.config/fish/conf.d/mine.fish": "set -gx A 1\n"})
    yield Animal(
        "another configuration folder",
        {"~/.cfg/fish/config.fish": "set -gx A 1\n", "~/.config/fish/config.fish": "set -gx B 1\n"},
        env={"XDG_CONFIG_HOME": "{home}/.cfg"},
    )
    yield Animal(
        "the file is a link into a repository",
        {
            "~/dotfiles/config.fish": "set -gx A 1\n",
            "~/.config/fish/config.fish": {"link": "../../dotfiles/config.fish"},
        },
    )


def _dash() -> Iterator[Animal]:
    """dash has .profile alone, and where there is bash, which owns the choice of files, only if that has one before."""

    def one(name: str, content: object, **more: object) -> Animal:
        files: Files = {"~/.bash_profile": "export OTHER=1\n", "~/.profile": content}
        return Animal(name, files, shells=("bash", "sh"), **more)  # type: ignore[arg-type]

    yield Animal("there is no other shell, as on Alpine", {"~/.profile": "export A=1\n"}, shells=("sh",))
    yield one("the file is empty", "")
    yield one("no final newline", "export A=1")
    yield one("Windows line ends", "# mine\r\nexport A=1\r\n")
    yield one("a byte order mark", "\ufeff# mine\nexport A=1\n")
    yield one("bytes that are not UTF-8", _raw(b"export A='\xff\xfe\xe9'\n"))
    yield one("a NUL byte", _raw(b"export A=1\0\nexport B=2\n"))
    yield one("a backslash at the very end", "export A=1 \\", outcome="unproven")  # dash gives up
    yield one("an early return", "export A=1\nreturn\nexport B=2\n")
    yield one("an early exit", "export A=1\nexit 0\n", outcome="unproven")
    yield one("set -u", "set -u\nexport A=1\n")
    yield one("a here-document that is never closed", "export A=1\ncat >/dev/null <<END\nexport B=2\n")
    yield one("aliases named case and export", "alias case=echo export=echo\n")
    yield one("PATH is set anew at the end", "export A=1\nPATH=/usr/local/bin:/usr/bin:/bin\n")
    yield one("PATH is set anew, then it returns", "export PATH=/usr/bin:/bin\nreturn\n", outcome="failed")
    yield one("PATH is read-only", "readonly PATH\nexport A=1\n")
    yield one("colons separate fields", "IFS=:\n")
    yield one("it prints", "echo hello; printf 'no line end'; echo trouble >&2\n")


def _raw(data: bytes) -> object:
    import base64

    return {"base64": base64.b64encode(data).decode()}


FAMILIES = {"bash": list(_bash()), "zsh": list(_zsh()), "fish": list(_fish()), "dash": list(_dash())}
ZOO = [
    pytest.param(family, each, id=f"{family}: {each.name}") for family, each_of in FAMILIES.items() for each in each_of
]

# By the manuals. ("sh" is dash on Debian, and `-l` is not in POSIX, but in dash.)
STARTS = {
    ("bash", "login"): ["-lc", "-lic"],
    ("bash", "interactive"): ["-ic"],
    ("sh", "login"): ["-lc", "-lic"],
    ("zsh", "login"): ["-lc", "-lic"],
    ("zsh", "interactive"): ["-ic", "-lic"],
    ("fish", "all"): ["-c", "-lc", "-ic", "-lic"],
}
OURS = {"_", "SHLVL", "PWD", "OLDPWD", "PATH"}


def test_the_zoo_is_large_enough() -> None:
    assert min(len(FAMILIES[name]) for name in ("bash", "zsh", "fish")) >= 25


@pytest.mark.parametrize(("family", "animal"), ZOO)
def test_done_means_that_it_is_there(family: str, animal: Animal, tmp_path: Path, needs: Needs) -> None:
    needs(family)
    installed = animal.shells or (family,)
    rig = _rig(animal, installed, tmp_path)
    home = Path(rig.machine.home)
    folder = str(home / "tools" / "bin")
    before, originals = rig.tree(), _ask_all(installed, rig, tmp_path)

    result = rig.apply()

    watched = "sh" if family == "dash" else family
    outcomes = {change.resource: outcome for (_, _, change), outcome in result.outcomes.items()}
    assert outcomes, "nothing was tried"
    concerned = {
        block: outcome for block, outcome in outcomes.items() if isinstance(block, Block) and block.shell == watched
    }
    assert set(concerned.values()) == {"failed" if animal.outcome == "failed" else "done"}, _said(result.problems)
    said = any("could not be asked" in note for note in result.notes)
    assert said == (animal.outcome == "unproven"), result.notes

    answers = _ask_all(installed, rig, tmp_path)
    after = rig.tree()
    for block, outcome in outcomes.items():
        assert isinstance(block, Block)
        where = os.path.relpath(os.path.realpath(block.path), rig.machine.facts.root)
        if outcome != "done":
            assert after.get(where) == before.get(where), f"{where} is not as it was, though the change {outcome}"
            continue
        assert after[where] != before.get(where)
        for flags in STARTS[block.shell, block.role]:
            answer = answers[block.shell, flags]
            if answer is None:
                assert said, f"{block.shell} {flags} says nothing, and nobody was told"
            else:
                assert folder in answer["PATH"].split(":"), f"{block.shell} {flags}: {answer['PATH']}"
    for start, original in originals.items():
        answer = answers[start]
        assert (answer is None) == (original is None), f"{start} answers otherwise than before"
        if answer is not None and original is not None:
            names = (answer.keys() | original.keys()) - OURS - set(animal.restless)
            assert {name: answer.get(name) for name in names} == {name: original.get(name) for name in names}
            mine = [
                each for each in original.get("PATH", "").split(":") if each and not each.startswith("/run/multishell")
            ]
            assert [each for each in mine if each not in answer["PATH"].split(":")] == [], "PATH lost a folder"

    if any(outcome == "done" for outcome in outcomes.values()):
        undone = rig.undo()
        assert not undone.problems, _said(undone.problems)
    assert rig.tree() == before, "undo has not given the original bytes and modes back"


def _rig(animal: Animal, installed: tuple[str, ...], scratch: Path) -> Rig:
    facts = {"platform": "linux", "files": animal.files, "shells": list(installed), "env": animal.env, "finds": []}

    def ask(machine: Machine, names: object, timeout: float) -> shells.Answers:
        return shells.ask(machine, names, 0.5 if animal.name == "it sleeps" else 10)  # type: ignore[arg-type]

    return Rig.make(Case(animal.name, OnPath(), facts), str(scratch / "machine"), ask)


def _ask_all(installed: tuple[str, ...], rig: Rig, scratch: Path) -> dict[tuple[str, str], dict[str, str] | None]:
    modes = dict.fromkeys((shell, flags) for (shell, _), each in STARTS.items() for flags in each if shell in installed)
    return {(shell, flags): _ask(shell, flags, rig, scratch) for shell, flags in modes}


def _ask(shell: str, flags: str, rig: Rig, scratch: Path) -> dict[str, str] | None:
    """What this start of the shell exports; None where it does not answer. In a copy: fish writes into its home."""
    copy = scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(rig.machine.home, copy, symlinks=True)
    timeout = 0.5 if rig.case.name == "it sleeps" else 10
    env = {"HOME": str(copy), "PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8", "USER": "me"}
    for name in ("ZDOTDIR", "XDG_CONFIG_HOME"):
        if name in rig.machine.env:
            env[name] = rig.machine.env[name].replace(rig.machine.home, str(copy))
    script = "printf '<<<<\\0'; exec /usr/bin/env -0"
    try:
        done = subprocess.run(
            [shell, flags, script], env=env, cwd=copy, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    _, found, listing = done.stdout.rpartition(b"<<<<\0")
    if not found:
        return None
    text = listing.decode("utf-8", "surrogateescape").rstrip("\0")
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _said(problems: list[Problem]) -> list[str]:
    return [str(problem) for problem in problems]


# ---- folders with names that mean something to a shell

HOSTILE = {
    "plain": "bin",
    "a space": "my programs",
    "two spaces": "my  programs",
    "a space at the end": "bin ",
    "a space at the beginning": " bin",
    "a tab": "a\tb",
    "a carriage return": "a\rb",
    "a carriage return at the end": "bin\r",
    "an escape": "a\x1b[31mb",
    "a bell": "a\x07b",
    "a delete": "a\x7fb",
    "a single quote": "it's",
    "two single quotes": "''",
    "a single quote at the end": "bin'",
    "a double quote": 'a"b',
    "both quotes": "a'\"'\"'b",
    "a quote and a command": "a'; touch CANARY; '",
    "a double quote and a command": 'a"; touch CANARY; "',
    "a dollar": "a$b",
    "a dollar at the end": "bin$",
    "a variable": "$HOME",
    "a variable in braces": "${HOME}",
    "a default": "${X-CANARY}",
    "the shell's number": "$$",
    "arguments": "$@$*$#",
    "PATH itself": "$PATH",
    "a list element of fish": "$PATH[1]",
    "a command substitution": "$(touch CANARY)",
    "a command substitution of fish": "(touch CANARY)",
    "backticks": "`touch CANARY`",
    "arithmetic": "$((1+1))",
    "a backslash": "a\\b",
    "two backslashes": "a\\\\b",
    "a backslash at the end": "bin\\",
    "a backslash and a quote": "a\\'b",
    "a backslash and an n": "a\\nb",
    "a backslash and a dollar": "a\\$HOME",
    "an octal escape": "\\101",
    "a star": "*",
    "a star in the middle": "a*b",
    "two stars": "**",
    "a question mark": "a?b",
    "brackets": "[abc]",
    "an open bracket": "a[b",
    "a negated class": "[!a]",
    "braces": "{a,b}",
    "a range in braces": "{1..3}",
    "an open brace": "a{b",
    "parentheses": "a(b)c",
    "a closing parenthesis, which ends a pattern": "a)b",
    "two semicolons, which end an arm": "a;;b",
    "esac": "esac",
    "a semicolon and a command": "a;touch CANARY;b",
    "an ampersand": "a&b",
    "an ampersand and a command": "a&touch CANARY&b",
    "a bar": "a|b",
    "a bar and a command": "a|touch CANARY|b",
    "less and greater": "a<b>CANARY",
    "a hash": "a#b",
    "a hash at the beginning": "#bin",
    "a hash after a space": "a #b",
    "a bang": "a!b",
    "two bangs": "!!",
    "a tilde": "~",
    "a tilde and root": "~root",
    "a caret": "a^b",
    "a percent": "a%b",
    "percent s": "%s%n",
    "an at": "a@b",
    "an equals sign": "a=b",
    "a comma": "a,b",
    "a plus": "+(a|b)",
    "a dash": "-n",
    "two dashes": "--",
    "two dots": "..bin",
    "a here-document": "<<END",
    "an umlaut": "Bücher",
    "a decomposed umlaut": "Bu\u0308cher",
    "Chinese": "程序",
    "Arabic": "برامج",
    "an emoji": "🦀",
    "a zero-width space": "a\u200bb",
    "a mark that turns the line": "a\u202eb",
    "a byte order mark": "\ufeffbin",
    "a line separator": "a\u2028b",
    "a byte that is not UTF-8": "a\udcffb",
    "only bytes that are not UTF-8": "\udcff\udcfe",
    "200 letters": "x" * 200,
    "all together": "a 'b\" $c `d` \\e *?[f] {g,h} (i) ;j &k |l <m> #n !o ~p é",
}
SYNTAX = {"bash": "bash", "zsh": "zsh", "dash": "sh", "fish": "fish"}
QUIET = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "dash": [], "fish": ["--no-config"]}
DRIVES = ("/mnt/c", "/mnt/dr've $x")


def test_enough_names_are_hostile() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("shell", SYNTAX)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_any_folder_can_stand_on_path(shell: str, name: str, tmp_path: Path, needs: Needs) -> None:
    """Exactly the folder, in front; nothing is run; shells started from each other do not add it again."""
    needs(shell)
    canary = tmp_path / "CANARY"
    folder = f"{tmp_path}/{name.replace('CANARY', str(canary).replace('/', '-'))}"
    assert (
        _nested(shell, shells.prepend(SYNTAX[shell], folder), tmp_path, "/usr/bin:/bin")
        == [f"{folder}:/usr/bin:/bin"] * 3
    )
    assert sorted(os.listdir(tmp_path)) == ["start"]


@pytest.mark.parametrize("shell", SYNTAX)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_any_folder_can_stand_before_those_of_windows(shell: str, name: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    folder = f"{tmp_path}/{name}"
    start = f"/usr/bin:{DRIVES[1]}/node:/bin:{folder}"
    assert _nested(shell, shells.prepend(SYNTAX[shell], folder, DRIVES), tmp_path, start) == [f"{folder}:{start}"] * 3
    assert sorted(os.listdir(tmp_path)) == ["start"]


@pytest.mark.parametrize("shell", SYNTAX)
def test_a_folder_that_stands_there_already_is_not_added(shell: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    start = "/usr/bin:/opt/my tools:/bin"
    assert _nested(shell, shells.prepend(SYNTAX[shell], "/opt/my tools"), tmp_path, start) == [start] * 3
    assert _nested(shell, shells.prepend(SYNTAX[shell], "/opt/my"), tmp_path, start) == [f"/opt/my:{start}"] * 3


@pytest.mark.parametrize("shell", SYNTAX)
def test_only_a_folder_of_windows_before_it_has_it_added_again(shell: str, tmp_path: Path, needs: Needs) -> None:
    """Behind Linux' own folders it may stand where it is: PATH grows only where that changes what is found."""
    needs(shell)
    lines = shells.prepend(SYNTAX[shell], "/opt/tools", DRIVES)
    assert _nested(shell, lines, tmp_path, "/mnt/c/node:/opt/tools:/bin:/usr/bin")[2].startswith("/opt/tools:/mnt/c")
    assert _nested(shell, lines, tmp_path, "/bin:/usr/bin:/mnt/c/node")[2] == "/opt/tools:/bin:/usr/bin:/mnt/c/node"
    assert (
        _nested(shell, lines, tmp_path, "/opt/tools:/bin:/usr/bin:/mnt/c/x")[2] == "/opt/tools:/bin:/usr/bin:/mnt/c/x"
    )


@pytest.mark.parametrize("shell", SYNTAX)
def test_an_unset_path_gets_no_empty_entry(shell: str, tmp_path: Path, needs: Needs) -> None:
    """An empty entry of PATH is the working directory: whoever can write there could have programs run."""
    needs(shell)
    unset = "set -e PATH\n" if shell == "fish" else "unset PATH\n"
    lines = unset + shells.prepend(SYNTAX[shell], "/opt/tools")
    assert _nested(shell, lines, tmp_path, "/usr/bin:/bin") == ["/opt/tools"] * 3


@pytest.mark.parametrize("shell", SYNTAX)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(name=st.text(st.characters(blacklist_characters=":\n\0/", blacklist_categories=["Cs"]), min_size=1, max_size=60))
def test_any_text_is_one_literal_word(shell: str, name: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    lines = shells.prepend(SYNTAX[shell], f"/x/{name}")
    assert _nested(shell, lines, tmp_path, "/usr/bin:/bin") == [f"/x/{name}:/usr/bin:/bin"] * 3


@pytest.mark.parametrize("name", ["a:b", ":", "a\nb", "bin\n"])
def test_what_cannot_stand_on_path_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    rig = _rig(Animal("empty", {}), ("bash",), tmp_path)
    with pytest.raises(Problem, match="cannot stand on PATH"):
        list(rig.machine.persist_path("x", f"/opt/{name}", ""))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("name", ["my home", "it's", "$HOME", "`touch x`", "a\\b", "*", "é 程序", 'q"q', "a\udcffb"])
def test_a_home_of_any_name_is_mended_and_given_back(shell: str, name: str, tmp_path: Path, needs: Needs) -> None:
    needs(shell)
    rig = _rig(Animal(name, {}), (shell,), tmp_path / name)
    before = rig.tree()
    result = rig.apply()
    assert set(result.outcomes.values()) == {"done"}, _said(result.problems)
    assert not result.notes
    assert not rig.diagnose().findings
    rig.undo()
    assert rig.tree() == before


def test_a_broken_claude_that_a_start_up_file_puts_first_does_not_win(tmp_path: Path, needs: Needs) -> None:
    needs("bash")
    files: Files = {
        "~/.local/bin/claude": {"text": "", "mode": "755"},
        "~/.npm-global/bin/claude": {"text": "#!/bin/sh\n", "mode": "755"},
        "~/.bashrc": 'export PATH="$HOME/.local/bin:$PATH"\n',
    }
    facts = {"platform": "linux", "files": files, "env": {"PATH": "{home}/.local/bin:{root}/usr/bin"}, "finds": []}
    rig = Rig.make(Case("broken", registry.remedy("install-path"), facts), str(tmp_path / "machine"), shells.ask)
    assert set(rig.apply().outcomes.values()) == {"done"}
    env = {"HOME": rig.machine.home, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-ic", "command -v claude"], env=env, capture_output=True, text=True)
    assert done.stdout == f"{rig.machine.home}/.npm-global/bin/claude\n"


def _nested(shell: str, lines: str, scratch: Path, path: str) -> list[str]:
    """PATH as three shells have it that are started from each other, each running `lines` first."""
    again = f'exec /usr/bin/env LEVEL="x$LEVEL" /usr/bin/{shell} {" ".join(QUIET[shell])} "$SELF"\n'
    end = {"fish": f'if test "$LEVEL" != xx\n{again}end\n'}.get(shell, f'if [ "$LEVEL" != xx ]; then\n{again}fi\n')
    show = "/usr/bin/env -0\n"
    start = scratch / "start"
    start.write_bytes((lines + show + end).encode("utf-8", "surrogateescape"))
    program = next(each for each in (f"/usr/bin/{shell}", f"/bin/{shell}") if os.path.exists(each))
    env = {"HOME": "/nonexistent", "LANG": "C.UTF-8", "LEVEL": "", "SELF": str(start)} | (
        {"PATH": path} if path else {}
    )
    done = subprocess.run(
        [program, *QUIET[shell], start], env=env, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, timeout=30
    )
    entries = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return [entry[5:] for entry in entries if entry.startswith("PATH=")]


# ---- the proof catches what is planted

PLANT = """
from ccremedy import Block, Finding, Healthy, Remedy, want

class Planted(Remedy):
    title = "a remedy with a bug"
    def diagnose(self, machine):
        block = Block(machine.path({file!r}), "planted", {shell!r}, {role!r})
        changes = tuple(want(block, {body!r}, expects=("path /opt/planted",)))
        yield Finding("planted", "something is planted", changes=changes) if changes else Healthy("it is there")
"""
GOOD = 'export PATH=/opt/planted:"$PATH"\n'
PLANTED = {
    "another variable": (GOOD + "export EDITOR=planted\n", "EDITOR changed too"),
    "a new random variable": (GOOD + "export NEW=$RANDOM$RANDOM$$\n", "NEW changed too"),
    "a variable is lost": (GOOD + "unset LANG\n", "LANG changed too"),
    "a folder is lost from PATH": ("export PATH=/opt/planted:/usr/bin\n", "PATH (it lost /"),
    "no effect": ("true\n", "/opt/planted is not on PATH"),
    "a folder that only begins like it": ("export PATH=/opt/planted-2:$PATH\n", "/opt/planted is not on PATH"),
    "not exported": ("unset PATH; PATH=/opt/planted:/usr/bin:/bin\n", "/opt/planted is not on PATH"),
    "a shell that ends": (GOOD + "exit 3\n", "does not come back from its start-up files"),
    "a shell that another program replaces": (GOOD + "exec /bin/cat\n", "does not come back from its start-up files"),
    "a shell that hangs": (GOOD + "sleep 600\n", "did not come back within 1 seconds"),
    "a shell whose child hangs": (GOOD + "sh -c 'sleep 600'\n", "did not come back within 1 seconds"),
    "a shell that is deaf and hangs": (GOOD + "trap '' TERM INT HUP; sleep 600\n", "did not come back within 1"),
}


@pytest.mark.parametrize(("body", "reason"), PLANTED.values(), ids=PLANTED)
def test_a_planted_bug_is_taken_back(body: str, reason: str, cli: CommandLine, tmp_path: Path, needs: Needs) -> None:
    needs("bash")
    _plant(cli, tmp_path, body, ".bashrc", "bash", "interactive")
    (cli.home / ".bashrc").write_text("# mine\nexport A=1\n")
    before = snapshot(str(cli.home))

    # At most four looks (before, at the top, at the end, and once more), at four starts, two at a time.
    answer = cli("apply", "planted", "--yes", "--timeout", "1" if "sleep" in body else "30")

    assert answer.code == 1, answer
    assert reason in answer.err
    assert answer.err.count("ccremedy: ") == 1, "one problem, said once"
    assert "undo" not in answer.out, "there is nothing left to take back"
    assert snapshot(str(cli.home)) == before


@pytest.mark.parametrize(
    ("shell", "file", "role", "body"),
    [
        ("zsh", ".zshrc", "interactive", "path=(/opt/planted $path); export EDITOR=planted\n"),
        ("zsh", ".zprofile", "login", "path=(/opt/planted $path); export EDITOR=planted\n"),
        ("fish", ".config/fish/config.fish", "all", "set -gx PATH /opt/planted $PATH; set -gx EDITOR planted\n"),
        ("bash", ".profile", "login", GOOD + "export EDITOR=planted\n"),
    ],
    ids=["zsh, interactive", "zsh, login", "fish", "bash, login"],
)
def test_another_variable_is_seen_in_every_shell(
    shell: str, file: str, role: str, body: str, cli: CommandLine, tmp_path: Path, needs: Needs
) -> None:
    needs(shell)
    _plant(cli, tmp_path, body, file, shell, role)
    before = snapshot(str(cli.home))
    answer = cli("apply", "planted", "--yes")
    assert (answer.code, "EDITOR changed too" in answer.err) == (1, True), answer
    assert snapshot(str(cli.home)) == before


def test_the_same_remedy_without_the_bug_is_kept(cli: CommandLine, tmp_path: Path, needs: Needs) -> None:
    needs("bash")
    _plant(cli, tmp_path, GOOD, ".bashrc", "bash", "interactive")
    assert cli("apply", "planted", "--yes").code == 0
    assert GOOD in (cli.home / ".bashrc").read_text()


def test_a_background_process_that_keeps_the_output_open_is_bounded_too(cli: CommandLine, needs: Needs) -> None:
    """`sleep 600 &` in a start-up file: the shell ends, and its output does not."""
    needs("bash")
    (cli.home / ".bashrc").write_text("sleep 600 &\n")
    answer = cli("apply", "npm-prefix", "--yes", "--timeout", "1")
    assert answer.code in (0, 3), answer
    end = time.monotonic() + 30
    while _left_running(cli) and time.monotonic() < end:
        time.sleep(0.05)  # who was killed may have to wait until it can die
    assert not _left_running(cli), "what the start-up files started in the background is left running"


def _left_running(cli: CommandLine) -> list[str]:
    done = subprocess.run(["pgrep", "-f", "sleep 600"], capture_output=True, text=True)
    return [pid for pid in done.stdout.split() if str(cli.home) in _cwd(pid)]


def _cwd(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _plant(cli: CommandLine, scratch: Path, body: str, file: str, shell: str, role: str) -> None:
    """A remedy of another package, found through its entry point as any third party's is."""
    package = scratch / "third-party"
    info = package / "planted-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "planted.py").write_text(PLANT.format(file=file, shell=shell, role=role, body=body))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ccremedy.remedies]\nplanted = planted:Planted\n")
    cli.more["PYTHONPATH"] = f"{cli.source}{os.pathsep}{package}"
