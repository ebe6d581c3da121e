"""wsl-path on machines that look like WSL: kernel name, drives, PATH and Windows' npm, beside a real Linux node.

What Windows' programs do there needs no Windows: its npm is a shell script that looks for a Linux `node`, and node.exe
is a file that only Windows can run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from real import managers
from real.world import SYSTEM_PATH, Outcome, World, node_and_npm, world

pytestmark = pytest.mark.cell("wsl-path", "wsl", "real", where="in a look-alike")

MZ = "MZ\x90\0\3\0"
PROFILE = 'if [ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ]; then . "$HOME/.bashrc"; fi\n'
BASHRC = "case $- in *i*) ;; *) return;; esac\nalias ll='ls -l'\n"
LOAD_NVM = 'export NVM_DIR="$HOME/.nvm"\n[ -s "$NVM_DIR/nvm.sh" ] && . "$NVM_DIR/nvm.sh"\n'
LOAD_NVM_LAZILY = (
    'for name in nvm node npm; do eval "$name() { unset -f nvm node npm; . ~/.nvm/nvm.sh; $name \\"\\$@\\"; }"; done\n'
)
PROFILE_OF_UBUNTU = "for i in /etc/profile.d/*.sh; do [ -r $i ] && . $i; done\nunset i\n"  # sets no PATH
STARTS = (
    "bash -lc",
    "bash -ic",
    "bash -lic",
    "zsh -lc",
    "zsh -ic",
    "zsh -lic",
    "fish -lc",
    "fish -ic",
    "fish -c",
    "sh -lc",
)
NPM_OF_WINDOWS = """#!/bin/sh
basedir=$(dirname "$(echo "$0" | sed -e 's,\\\\\\\\,/,g')")
case $(uname) in
    *CYGWIN* | *MINGW* | *MSYS*) basedir=$(cygpath -w "$basedir") ;;
esac
if [ -x "$basedir/node" ]; then
    exec "$basedir/node" "$basedir/node_modules/npm/bin/npm-cli.js" "$@"
fi
exec node "$basedir/node_modules/npm/bin/npm-cli.js" "$@"
"""


@contextlib.contextmanager
def wsl(kind: str = "wsl2", drives: str = "/mnt/", home: str = "/home/dev") -> Iterator[World]:
    """A WSL with Node.js installed on Windows, and none on Linux."""
    nodejs = f"{drives}c/Program Files/nodejs"
    path = f"{SYSTEM_PATH}:{nodejs}:{drives}c/Users/dev/AppData/Roaming/npm:{drives}c/Windows/System32"
    env = {"PATH": path, "WSL_DISTRO_NAME": "Debian"}
    if kind == "wsl2":
        env |= {"WSL_INTEROP": "/run/WSL/8_interop", "WSLENV": ""}
    with world(kind, home, env) as made:
        made.write(f"{nodejs}/npm", NPM_OF_WINDOWS, 0o755)
        made.write(f"{nodejs}/node.exe", MZ, 0o755)
        made.write(f"{drives}c/Windows/System32/cmd.exe", MZ, 0o755)
        if drives != "/mnt/":
            made.write("/etc/wsl.conf", f"[boot]\nsystemd=true\n[automount]\nroot = {drives}\n")
        made.write(f"{home}/.profile", PROFILE)
        made.write(f"{home}/.bashrc", BASHRC)
        made.shell("fish -c", "true")  # makes its own folders
        yield made


def npm_in(made: World, start: str) -> str:
    """Which npm a fresh shell finds on PATH, whatever functions it may have."""
    return made.shell(start, "/usr/bin/which npm").out.strip()


def is_sick(made: World, start: str = "bash -c") -> Outcome:
    done = made.shell(start, "npm --version")
    assert done.code == 127, done.both
    assert "node: not found" in done.err, done.both
    return done


def mended_everywhere(made: World, programs: str, version: str) -> None:
    """Symptom, diagnosis, dry run, apply, every start of every shell, again, undo."""
    is_sick(made)
    before = made.tree()

    found = made.ccremedy("diagnose", "wsl-path", "--json")
    assert found.code == 1, found.both
    assert found.json["platform"] == "wsl"
    assert [each["id"] for each in found.json["findings"]] == ["windows-first"]
    assert made.ccremedy("apply", "wsl-path", "--dry-run").code == 0
    assert made.tree() == before

    done = made.ccremedy("apply", "wsl-path", "--yes")
    assert done.code == 0, done.both
    assert {start: npm_in(made, start) for start in STARTS} == dict.fromkeys(STARTS, f"{programs}/npm")
    for start in ("bash -lic", "zsh -ic", "fish -lc"):
        assert made.shell(start, "node --version").out == f"{version}\n", start

    assert "bash -c" in done.out, "it must not claim what it cannot do"
    is_sick(made, "bash -c")

    after, home = made.tree(), made.real(made.home)
    stamps = {path: (home / path).lstat().st_mtime_ns for path in after}
    again = made.ccremedy("apply", "wsl-path", "--yes")
    assert again.code == 0, again.both
    assert made.tree() == after
    assert {path: (home / path).lstat().st_mtime_ns for path in after} == stamps

    undone = made.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    assert made.tree() == before


def left_alone(made: World, says: str, code: int = 6, **more: str) -> None:
    before = made.tree()
    done = made.ccremedy("apply", "wsl-path", "--yes", "--verbose", **more)
    assert done.code == code, done.both
    assert says in done.both, done.both
    assert made.tree() == before


# ---- where Linux' node is, and how it is loaded


@dataclass(frozen=True)
class Variant:
    says: str
    manager: str = "nvm"
    bashrc: str = BASHRC
    zshrc: str = ""
    kind: str = "wsl2"
    drives: str = "/mnt/"
    home: str = "/home/dev"
    profile_of_system: str = ""

    def __str__(self) -> str:
        return self.says


VARIANTS = [
    Variant("nothing loads nvm"),
    Variant("nothing loads nvm, on WSL 1", kind="wsl1"),
    Variant("nvm is loaded at the end of bashrc", bashrc=BASHRC + LOAD_NVM, zshrc=LOAD_NVM),
    Variant("nvm is loaded lazily", bashrc=BASHRC + LOAD_NVM_LAZILY, zshrc=LOAD_NVM_LAZILY),
    Variant("bashrc has no final line end", bashrc=BASHRC + "alias la='ls -A'"),
    Variant("fnm", "fnm"),
    Variant("volta", "volta"),
    Variant("asdf", "asdf"),
    Variant("mise", "mise"),
    Variant("drives below windir", drives="/windir/"),
    Variant("drives below the root", drives="/"),
    Variant("Ubuntu's profile keeps PATH", profile_of_system=PROFILE_OF_UBUNTU),
    Variant(
        "Ubuntu's profile keeps PATH and nvm is loaded at the end",
        bashrc=BASHRC + LOAD_NVM,
        zshrc=LOAD_NVM,
        profile_of_system=PROFILE_OF_UBUNTU,
    ),
    Variant("a home with a space and more", home="/home/de vélo's"),
    Variant(
        "the end of bashrc puts Windows first",
        bashrc=f'{BASHRC}export PATH="/mnt/c/Program Files/nodejs:$PATH"\n',
        zshrc='export PATH="/mnt/c/Program Files/nodejs:$PATH"\n',
    ),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_linux_wins_in_every_new_shell_where(variant: Variant) -> None:
    with wsl(variant.kind, variant.drives, variant.home) as made:
        if variant.manager == "nvm":
            managers.add(made, "nvm", "18.20.8")
        programs = managers.add(made, variant.manager, "20.20.2")
        made.write(f"{made.home}/.bashrc", variant.bashrc)
        if variant.zshrc:
            made.write(f"{made.home}/.zshrc", variant.zshrc)
        if variant.profile_of_system:
            made.write("/etc/profile", variant.profile_of_system)
        mended_everywhere(made, programs, "v20.20.2")


def test_a_node_that_is_nowhere_on_path_but_in_opt() -> None:
    with wsl() as made:
        node_and_npm(made, "20.20.2", managers.NPM, "/opt/node")
        mended_everywhere(made, "/opt/node/bin", "v20.20.2")


def test_the_default_of_nvm_is_taken_although_a_newer_one_is_there() -> None:
    with wsl() as made:
        managers.add(made, "nvm", "20.20.2")
        programs = managers.add(made, "nvm", "18.20.8")
        mended_everywhere(made, programs, "v18.20.8")


def test_npm_itself_answers_afterwards() -> None:
    with wsl() as made:
        managers.add(made, "nvm")
        for start in ("bash -ic", "zsh -ic", "fish -ic"):
            is_sick(made, start)
        assert made.ccremedy("apply", "wsl-path", "--yes").code == 0
        for start in ("bash -ic", "zsh -ic", "fish -ic", "bash -lc"):
            assert made.shell(start, "npm --version").out == f"{managers.NPM}\n"


def test_what_the_user_has_written_since_survives_undo() -> None:
    with wsl() as made:
        managers.add(made, "nvm")
        assert made.ccremedy("apply", "wsl-path", "--yes").code == 0
        with made.real("/home/dev/.bashrc").open("a") as out:
            out.write("alias mine=true\n")
        undone = made.ccremedy("undo", "--yes")
        assert undone.code == 0, undone.both
        assert made.real("/home/dev/.bashrc").read_text() == f"{BASHRC}alias mine=true\n"
        assert made.real("/home/dev/.profile").read_text() == PROFILE


def test_a_profile_that_is_no_more_than_ours_goes_with_undo() -> None:
    with wsl() as made:
        managers.add(made, "nvm")
        for name in (".profile", ".bashrc"):
            made.real(f"/home/dev/{name}").unlink()
        mended_everywhere(made, "/home/dev/.nvm/versions/node/v20.20.2/bin", "v20.20.2")


# ---- where there is nothing to put first


def test_a_node_of_the_system_wins_already() -> None:
    with wsl() as made:
        node_and_npm(made, "20.20.2", managers.NPM, "/usr/local")
        assert npm_in(made, "bash -c") == "/usr/local/bin/npm"
        left_alone(made, "belongs to Windows", code=0)


def test_without_any_linux_node_it_says_what_to_install() -> None:
    with wsl() as made:
        is_sick(made)
        left_alone(made, "Install a Node.js for Linux")


CLAUDE_OF_WINDOWS = "/mnt/c/Users/dev/AppData/Roaming/npm/claude"


def test_a_claude_of_windows_alone_is_told_about() -> None:
    with wsl() as made:
        node_and_npm(made, "20.20.2", managers.NPM, "/usr/local")
        made.write(CLAUDE_OF_WINDOWS, NPM_OF_WINDOWS, 0o755)
        left_alone(made, "Install Claude Code for Linux")


def test_a_claude_of_windows_is_told_about_while_node_is_mended() -> None:
    with wsl() as made:
        programs = managers.add(made, "nvm")
        made.write(CLAUDE_OF_WINDOWS, NPM_OF_WINDOWS, 0o755)
        done = made.ccremedy("apply", "wsl-path", "--yes")
        assert done.code == 0, done.both
        assert "Install Claude Code for Linux" in done.both
        assert npm_in(made, "bash -ic") == f"{programs}/npm"


def test_a_claude_of_linux_wins_over_that_of_windows() -> None:
    with wsl() as made:
        node_and_npm(made, "20.20.2", managers.NPM, "/usr/local")
        made.write(CLAUDE_OF_WINDOWS, NPM_OF_WINDOWS, 0o755)
        made.write("/home/dev/.local/bin/claude", "#!/bin/sh\necho linux claude\n", 0o755)
        made.give_home()
        before = made.tree()
        done = made.ccremedy("apply", "wsl-path", "--yes")
        assert done.code == 0, done.both
        answers = {start: made.shell(start, "claude --version").out for start in STARTS}
        assert answers == dict.fromkeys(STARTS, "linux claude\n")
        assert made.ccremedy("undo", "--yes").code == 0
        assert made.tree() == before


# ---- what is no WSL


@pytest.mark.parametrize("kind", ["linux", "container"])
def test_elsewhere_there_is_nothing_to_mend(kind: str) -> None:
    with world(kind) as made:
        managers.add(made, "nvm")
        assert made.ccremedy("diagnose", "--json").json["platform"] == "linux"
        left_alone(made, "not WSL")


def test_the_look_alike_looks_alike() -> None:
    with wsl() as made:
        assert "microsoft" in made.run(["cat", "/proc/sys/kernel/osrelease"]).out
        assert "WSL2" in made.run(["cat", "/proc/version"]).out
        started = made.shell("bash -c", '"/mnt/c/Program Files/nodejs/node.exe"')
        assert started.code == 126, started.both
        assert made.run(["sh", "-c", "command -v node"]).code == 127
