"""npm-prefix against real npm: our reader gives npm's answer to every setting, and the remedy ends EACCES for good."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator

import pytest
from real import fetch, managers, npmrc_matrix
from real.world import UID, World, node_and_npm, world

pytestmark = pytest.mark.cell("npm-prefix", "linux", "real")

# ---- the reader

POINTS = npmrc_matrix.points()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[npmrc_matrix.Point, npmrc_matrix.Answers]:
    fetch.needed("node", *fetch.NODES)
    fetch.needed("npm", *fetch.NPMS)
    return npmrc_matrix.answers(tmp_path_factory.mktemp("npm"), POINTS)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_the_reader_agrees_with(
    point: npmrc_matrix.Point, answers: dict[npmrc_matrix.Point, npmrc_matrix.Answers]
) -> None:
    found = answers[point]
    if found.npm:
        assert found.reader == found.npm
    else:  # this npm does not even start: then there is no prefix to name
        assert found.reader.startswith("cannot tell"), found.complaint


def test_the_matrix_is_large_and_has_many_outcomes(
    answers: dict[npmrc_matrix.Point, npmrc_matrix.Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    landed = sum(bool(found.npm or found.complaint) for found in answers.values())
    bad = sum(found.npm != found.reader for found in answers.values() if found.npm)
    with capsys.disabled():
        print(f"\nnpm-prefix-reader points={len(POINTS)} landed={landed} bad={bad}")
    assert landed == len(POINTS) >= 120
    assert len({found.npm for found in answers.values()}) >= 30
    assert bad == 0


# ---- the remedy

PROFILE = 'if [ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ]; then . "$HOME/.bashrc"; fi\n'
BASHRC = "case $- in *i*) ;; *) return;; esac\nalias ll='ls -l'\n"
STARTS = ("bash -lc", "bash -ic", "bash -lic", "zsh -lc", "zsh -ic", "zsh -lic", "fish -lc", "fish -ic", "sh -lc")
STARTUP_FILES = (".npmrc", ".profile", ".bashrc", ".zprofile", ".zshrc", ".config/fish/config.fish")
NPMRC = "//registry.example/:_authToken=npm_0123456789abcdef\n"
PACKAGE = "/srv/hello.tgz"


@pytest.fixture
def machine() -> Iterator[World]:
    with world() as made:
        dress(made)
        node_and_npm(made, "20.20.2", "10.9.2")
        yield made


def dress(made: World) -> None:
    """Debian's start-up files, an npmrc with a token in it, a package to install, and what fish makes by itself."""
    made.write("/home/dev/.profile", PROFILE)
    made.write("/home/dev/.bashrc", BASHRC)
    made.write("/home/dev/.npmrc", NPMRC, 0o600)
    files = {
        "package/package.json": json.dumps({"name": "hello", "version": "1.0.0", "bin": {"hello": "hello.js"}}),
        "package/hello.js": "#!/usr/bin/env node\nconsole.log('hello from ' + process.version)\n",
    }
    with tarfile.open(made.real(PACKAGE), "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    made.shell("fish -c", "true")


def install(made: World, start: str = "") -> tuple[int, str]:
    words = ["npm", "install", "--global", "--offline", "--no-audit", "--no-fund", PACKAGE]
    done = made.shell(start, " ".join(words)) if start else made.run(words)
    return done.code, done.both


def times(made: World) -> dict[str, int]:
    home = made.real(made.home)
    return {path: (home / path).lstat().st_mtime_ns for path in made.tree()}


@pytest.mark.parametrize("pair", npmrc_matrix.PAIRS, ids=lambda pair: f"npm {pair[1]} on node {pair[0]}")
def test_from_eacces_to_a_program_that_runs_in_every_new_shell(pair: tuple[str, str]) -> None:
    with world() as made:
        dress(made)
        node_and_npm(made, *pair)
        code, said = install(made)
        assert code != 0
        assert "EACCES" in said
        assert "/usr/local/lib/node_modules" in said
        before = made.tree()

        found = made.ccremedy("diagnose", "npm-prefix", "--json")
        assert found.code == 1
        assert [each["id"] for each in found.json["findings"]] == ["not-writable"]
        assert "npm_0123456789abcdef" not in found.both

        dry = made.ccremedy("apply", "npm-prefix", "--dry-run")
        assert dry.code == 0, dry.both
        assert "+prefix=~/.npm-global" in dry.out
        assert "npm_0123456789abcdef" not in dry.both
        assert made.tree() == before

        done = made.ccremedy("apply", "npm-prefix", "--yes")
        assert done.code == 0, done.both
        after, stamps = made.tree(), times(made)
        assert after != before
        again = made.ccremedy("apply", "npm-prefix", "--yes")
        assert again.code == 0, again.both
        assert made.tree() == after
        assert times(made) == stamps

        undone = made.ccremedy("undo", "--yes")
        assert undone.code == 0, undone.both
        assert made.tree() == before
        assert install(made)[0] != 0

        assert made.ccremedy("apply", "npm-prefix", "--yes").code == 0
        code, said = install(made, "bash -lc")
        assert code == 0, said
        answers = {start: made.shell(start, "hello") for start in STARTS}
        assert {start: each.out.strip() for start, each in answers.items()} == dict.fromkeys(
            STARTS, f"hello from v{pair[0]}"
        )
        assert made.shell("bash -lc", "npm prefix -g").out.strip() == "/home/dev/.npm-global"
        assert made.ccremedy("undo", "--yes").code == 0
        untouched = made.tree()
        assert {name: untouched.get(name) for name in STARTUP_FILES} == {
            name: before.get(name) for name in STARTUP_FILES
        }


def test_what_the_user_has_written_since_survives_undo(machine: World) -> None:
    before = {name: machine.real(f"/home/dev/{name}").read_text() for name in (".npmrc", ".bashrc", ".profile")}
    assert machine.ccremedy("apply", "npm-prefix", "--yes").code == 0
    for name in before:
        with machine.real(f"/home/dev/{name}").open("a") as out:
            out.write("# mine, later\n")
    undone = machine.ccremedy("undo", "--yes")
    assert undone.code == 0, undone.both
    after = {name: machine.real(f"/home/dev/{name}").read_text() for name in before}
    assert after == {name: f"{text}# mine, later\n" for name, text in before.items()}


def test_a_prefix_that_was_set_to_a_locked_folder_comes_back_in_its_own_spelling(machine: World) -> None:
    machine.write("/home/dev/.npmrc", f"{NPMRC}prefix = /usr/local ; as the guide said\n", 0o600)
    before = machine.tree()
    assert install(machine)[0] != 0
    assert machine.ccremedy("apply", "npm-prefix", "--yes").code == 0
    code, said = install(machine, "bash -lc")
    assert code == 0, said
    assert machine.shell("zsh -lc", "hello").out == "hello from v20.20.2\n"
    assert machine.ccremedy("undo", "--yes").code == 0
    assert machine.tree()[".npmrc"] == before[".npmrc"]


def test_a_folder_that_is_the_users_own_needs_nothing(machine: World) -> None:
    machine.write("/home/dev/.npmrc", "prefix=${HOME}/mine\n")
    code, said = install(machine)
    assert code == 0, said
    before = machine.tree()
    done = machine.ccremedy("apply", "npm-prefix", "--yes", "--verbose")
    assert done.code == 0, done.both
    assert "/home/dev/mine" in done.both
    assert machine.tree() == before


def test_programs_of_a_set_prefix_that_is_not_on_path_are_found_afterwards(machine: World) -> None:
    machine.write("/home/dev/.npmrc", "prefix=~/.npm-global\n")
    assert install(machine)[0] == 0
    assert machine.shell("bash -lc", "hello").code == 127
    done = machine.ccremedy("apply", "npm-prefix", "--yes")
    assert done.code == 0, done.both
    assert {start: machine.shell(start, "hello").out for start in STARTS} == dict.fromkeys(
        STARTS, "hello from v20.20.2\n"
    )


def test_a_start_up_file_of_roots_is_left_and_its_line_told(machine: World) -> None:
    place = machine.real("/home/dev/.bashrc")
    os.chown(place, 0, 0)
    done = machine.ccremedy("apply", "npm-prefix", "--yes")
    assert done.code == 3, done.both
    assert ".bashrc" in done.both
    assert place.read_text() == BASHRC
    assert place.stat().st_uid == 0
    assert install(machine, "bash -lc")[0] == 0
    assert machine.shell("zsh -ic", "hello").out == "hello from v20.20.2\n"


# ---- what is somebody else's to set


def refuses(made: World, names: str, **more: str) -> None:
    before = made.tree()
    done = made.ccremedy("apply", "npm-prefix", "--yes", **more)
    assert done.code == 6, done.both
    assert names in done.both, done.both
    assert made.tree() == before
    assert not made.real("/home/dev/.npm-global").exists()


@pytest.mark.parametrize("manager", managers.PREFIX)
def test_beside_a_version_manager_the_system_prefix_is_left_alone(machine: World, manager: str) -> None:
    managers.add(machine, manager)
    assert install(machine)[0] != 0
    refuses(machine, manager)


@pytest.mark.parametrize("manager", managers.PREFIX)
def test_a_version_managers_own_folder_is_left_alone_although_root_has_it(machine: World, manager: str) -> None:
    programs = managers.add(machine, manager)
    top = machine.real(f"/home/dev/{managers.PREFIX[manager].format('20.20.2')}")
    for place in (top, top / "lib", top / "lib/node_modules", top / "bin"):
        os.chown(place, 0, 0)
    path = f"{programs}:/usr/bin:/bin"
    failed = machine.run(["npm", "install", "-g", "--offline", PACKAGE], env={"PATH": path})
    assert "EACCES" in failed.both
    before = machine.tree()
    done = machine.ccremedy("apply", "npm-prefix", "--yes", "--verbose", PATH=path)
    # Behind shims only the manager itself can tell which folder it is, so saying no more than that is right too.
    assert done.code == 6 or (done.code == 0 and manager in managers.SHIMS), done.both
    assert f"{manager} " in done.both
    assert "you may write" not in done.both
    assert machine.tree() == before


def test_a_prefix_in_the_environment_is_left_alone(machine: World) -> None:
    assert (
        machine.run(["npm", "install", "-g", "--offline", PACKAGE], env={"NPM_CONFIG_PREFIX": "/usr/local"}).code != 0
    )
    refuses(machine, "NPM_CONFIG_PREFIX", NPM_CONFIG_PREFIX="/usr/local")


def test_a_prefix_of_the_project_around_is_left_alone(machine: World) -> None:
    machine.write("/home/dev/project/package.json", "{}")
    machine.write("/home/dev/project/.npmrc", "prefix=./here\n")
    refuses(machine, "/home/dev/project/.npmrc", PWD="/home/dev/project")


def test_an_npmrc_that_may_not_be_read_is_left_alone(machine: World) -> None:
    place = machine.real("/home/dev/.npmrc")
    place.chmod(0o600)
    os.chown(place, 0, 0)
    assert install(machine)[0] != 0  # npm passes over it silently
    before = machine.tree()
    done = machine.ccremedy("apply", "npm-prefix", "--yes")
    assert done.code in (3, 6), done.both
    assert ".npmrc" in done.both
    assert machine.tree() == before


def test_a_folder_of_ours_that_root_has_is_left_alone(machine: World) -> None:
    machine.real("/home/dev/.npm-global").mkdir()
    before = machine.tree()
    done = machine.ccremedy("apply", "npm-prefix", "--yes")
    assert done.code == 6, done.both
    assert "/home/dev/.npm-global" in done.both
    assert machine.tree() == before


def test_the_test_user_is_no_root(machine: World) -> None:
    assert machine.run(["id", "-u"]).out == f"{UID}\n"
