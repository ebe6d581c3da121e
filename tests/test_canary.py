"""A key that nobody else has is nowhere but where it must be (S1): whatever is done with it, at whatever moment.

It may be in its own file before and after, in the secret store, in the file that is open to its owner alone, and on
the standard output of `key print`. Looked for, in twelve disguises, in every byte that is written (by strace, and in
what lies above an overlay of the whole machine), in the arguments and the environment of every child, on the screen,
and in the tree and the journal after a kill at each call. Each of these has a twin with a planted mistake.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import quopri
import re
import shutil
import signal
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import sweep
from canary import CANARY, PLAIN_WORD, ROOT, SECOND, Person, disguises, leaks, scan
from real.keyring_session import Session, keyring_session
from sweep import APPLY, EARLIER, FRESH, UNDO, Scene, Tally

from ccremedy import seals, vault
from ccremedy.journal import Journal
from ccremedy.resources import Change

EVERYTHING = os.environ.get("CCREMEDY_SWEEP") == "1"
KEY = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz-AA"  # of the cases

# ---- the finder


@pytest.mark.parametrize("name", disguises(CANARY))
@pytest.mark.parametrize("secret", [CANARY, PLAIN_WORD])
def test_the_finder_knows(name: str, secret: str) -> None:
    forms = disguises(secret)[name] or [zlib.compress(secret.encode()), gzip.compress(secret.encode())]
    for form in forms:
        assert name in leaks(b"\0before" + form + b"after\n", secret)
        assert leaks(b"\0before" + form[: len(form) // 2] + b"after\n", secret) == []


def test_the_finder_knows_what_python_makes_of_it() -> None:
    long = quopri.encodestring(b"x" * 60 + CANARY.encode())
    assert b"=\n" in long
    assert "quoted-printable" in leaks(long)
    deflate = zlib.compressobj(wbits=-15)
    assert leaks(deflate.compress(CANARY.encode()) + deflate.flush()) == ["compressed"]
    assert leaks(b"nothing of the kind " * 1000) == []


# ---- every byte that is written, and every child

CALLS = (
    "execve,execveat,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,openat,rename,renameat,renameat2"
)
STRACE = ["strace", "-f", "-qq", "-y", "-xx", "-v", "-s", "300000", "-e", "signal=none", "-e", f"trace={CALLS}"]
_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_TARGET = re.compile(rb"^\w+\(\d+<(.*?)>, ")


@dataclass
class Watch:
    """A person each of whose commands runs under strace, and where the key was seen that must be nowhere."""

    person: Person
    traces: Path
    inside: str = ""  # the folder of the traces as the person sees it
    enter: Sequence[str] = ()  # words that lead into a machine of the person's own
    secrets: tuple[str, ...] = (CANARY, SECOND)
    points: int = 0  # writes and children looked at
    seen: list[str] = field(default_factory=list)

    def __call__(
        self,
        *words: str,
        code: int = 0,
        stdin: str = "",
        holds: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> str:
        """What it says. `holds` are patterns of paths that the key may be written to."""
        trace = self.traces / "trace"
        before = [*self.enter, *STRACE, "-o", f"{self.inside or self.traces}/trace"]
        done = self.person(*words, stdin=stdin, before=before, **(env or {}))
        said = done.stdout + done.stderr
        assert done.returncode == code, (words, said)
        if words != ("key", "print") and leaks(said.encode(), *self.secrets):
            self.seen.append(f"{words}: on the screen")
        self._look(words, trace.read_bytes().splitlines(), holds)
        return said

    def _look(self, words: Sequence[str], calls: list[bytes], holds: Sequence[str]) -> None:
        for number, line in enumerate(calls):
            call = line.partition(b" ")[2].lstrip()
            if number == 0 or b"resumed>" in call[:20]:
                continue  # the command itself, as it was started by whoever has the key
            self.points += 1
            strings = [bytes.fromhex(found[1].replace(rb"\x", b"").decode()) for found in _STRING.finditer(call)]
            if how := leaks(b"\n".join(strings), *self.secrets):
                target = _TARGET.match(call)
                path = target[1] if target else b""
                if path.startswith(rb"\x"):
                    path = bytes.fromhex(path.replace(rb"\x", b"").decode())
                place = path.decode() if target else "a child's arguments or environment"
                if not place.startswith("pipe:") and not any(re.fullmatch(each, place) for each in holds):
                    self.seen.append(f"{words}: {call.partition(b'(')[0].decode()} to {place}, as {how}")


OVERLAY = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$1"
cd "$1"
mkdir upper work root memory traces
mount -t overlay none -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" root ||
    mount -t overlay none -o "userxattr,lowerdir=/,upperdir=$1/upper,workdir=$1/work" root
mount --rbind /proc root/proc
mount --rbind /dev root/dev
mount --bind memory root/dev/shm
mkdir -p "root$2" root/mnt/traces
mount --bind "$2" "root$2"
mount --bind traces root/mnt/traces
echo ready
exec sleep 100000
"""


@dataclass
class Above:
    """A machine that lies above this one: whatever is written in it, and where."""

    pid: int
    folder: Path

    def real(self, path: Path) -> Path:
        """Where this machine finds a path of that one."""
        return Path(f"/proc/{self.pid}/root{self.folder}/root{path}")

    def part(self, name: str) -> Path:
        return Path(f"/proc/{self.pid}/root{self.folder}/{name}")

    def enter(self, folder: Path) -> list[str]:
        root = f"/proc/{self.pid}/root{self.folder}/root"
        return ["nsenter", f"--target={self.pid}", "--mount", f"--root={root}", f"--wdns={folder}"]


@contextlib.contextmanager
def above(folder: Path, bus: str) -> Iterator[Above]:
    """Only the bus of the keyring is the same in both."""
    folder.mkdir()
    argv = ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(folder), bus]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if holder.stdout.readline() != "ready\n":
                pytest.skip(f"needs to mount an overlay: {holder.stderr.read().strip()}")
            yield Above(holder.pid, folder)
        finally:
            holder.kill()


BASHRC = "# mine\nexport ANTHROPIC_API_KEY={}\nalias ll='ls -l'\n"


def of_a_life(watch: Watch, at: Callable[[Path], Path], first: str, second: str) -> Iterator[tuple[str, bool]]:
    """All that can be done with a key, stage by stage, and whether it is in its own file then.

    `at` says where a path of the person's really is.
    """
    home, state, given = watch.person.home, watch.person.state, {"ANTHROPIC_API_KEY": first}
    away = {"DBUS_SESSION_BUS_ADDRESS": ""}
    back = rf"{re.escape(str(home))}/\.ccremedy-[\d-]+(-back)?"
    settings, record, bashrc = at(home / ".claude" / "settings.json"), at(state / "key.json"), at(home / ".bashrc")
    plan = str(home / "plan.json")

    watch("diagnose", "key-storage", code=1, env=given)
    watch("diagnose", "--json", code=1, env=given)
    watch("plan", "key-storage", "-o", plan, env=given)
    watch("apply", "key-storage", "--dry-run", env=given)
    watch("apply", "--all", "--dry-run", "--json", env=given)
    watch("diagnose", "key-storage", "-v", code=1, env=away)
    watch("apply", "key-storage", "--yes", code=6, env={**given, **away})
    original = bashrc.read_bytes()
    bashrc.write_bytes(original * 2)
    watch("apply", "--plan", plan, "--yes", code=8)
    bashrc.write_bytes(original)
    yield "nothing was moved", True

    watch("apply", "--plan", plan, "--yes", "--json", env=given)
    yield "it was moved", False

    watch("key", "status")
    watch("key", "status", "--json", env=given)
    assert watch("key", "print") == f"{first}\n"
    watch("history", "--json")
    watch("key", "rotate", "--yes", "--json", stdin=f"{second}\n", env=given)
    watch("undo", "--yes", env=given)
    watch("key", "set", "--yes", stdin=second)
    watch("key", "set", "--yes", stdin=f"{second} with 'blanks'", code=2)
    watch("undo", "--yes", "--json")
    sound = settings.read_bytes()
    settings.write_bytes(b"{ not json")
    watch("diagnose", "key-storage", "--json", code=0)
    watch("key", "set", "--yes", stdin=second, code=6)
    settings.write_bytes(sound)
    kept = record.read_bytes()
    record.write_bytes(b'{"fingerprint": 1}')
    watch("key", "print", code=6)
    watch("key", "status", "--json", code=6)
    record.write_bytes(kept)
    yield "it was used", False

    put_aside = bashrc.read_bytes()
    bashrc.write_bytes(put_aside + original)
    watch("undo", "1", "--yes", "--change", "4", code=8, env=given)  # and so it stays
    bashrc.write_bytes(put_aside)
    watch("undo", "1", "--yes", code=6, env=away)
    watch("undo", "1", "--yes", "--json", holds=[back], env=given)
    assert bashrc.read_bytes() == original
    yield "it was put back", True

    words = ("apply", "key-storage", "--owner-only-file", "--yes", "--max-risk", "high", "--json")
    own = rf"{re.escape(str(state))}/keys/[0-9a-f]+(\.new)?"
    moved = _run(watch(*words, holds=[own], env=given))
    assert watch("key", "print") == f"{first}\n"
    rotated = _run(watch("key", "rotate", "--yes", "--owner-only-file", stdin=second, holds=[own]))
    watch("undo", rotated, "--yes")
    watch("undo", moved, "--yes", holds=[back])
    yield "it was put back", True

    watch("key", "set", "--yes", stdin=second)
    watch("key", "remove", "--yes", "--json")
    watch("history")
    yield "it was put back", True


def _run(said: str) -> str:
    """The number of the run that it was."""
    found = re.search(r'That was run (\d+)|"run": (\d+)', said)
    assert found, said
    return found[1] or found[2]


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param(CANARY, SECOND, id="as-keys-are"), pytest.param(PLAIN_WORD, SECOND[7:], id="of-no-known-form")],
)
def test_in_the_whole_life_of_a_key_it_gets_nowhere_else(
    tmp_path: Path, needs: Callable[[str], None], capsys: pytest.CaptureFixture[str], first: str, second: str
) -> None:
    for capability in ("root", "mount namespaces", "strace"):
        needs(capability)
    with keyring_session(tmp_path / "keyring") as session, above(tmp_path / "above", bus_of(session)) as machine:
        person = Person.make(tmp_path, {name: value for name, value in session.env.items() if name != "HOME"})
        (person.home / ".bashrc").write_text(BASHRC.format(first))
        own = f"{machine.part('upper')}{person.home / '.bashrc'}"
        watch = Watch(person, machine.part("traces"), "/mnt/traces", machine.enter(person.home), (first, second))
        for stage, places in of_a_life(watch, machine.real, first, second):
            written = [machine.part("upper"), machine.part("memory"), tmp_path / "keyring", Path(bus_of(session))]
            watch.points += sum(len(names) for top in written for _, _, names in os.walk(top))
            found = scan(*written, secrets=watch.secrets)
            allowed = {own} if places else set()
            watch.seen += [f"when {stage}: {path}, as {how}" for path, how in found.items() if path not in allowed]
        assert own in found, "the key must have come back"
    with capsys.disabled():
        print(f"\ncanary-life points={watch.points} landed={watch.points} bad={len(watch.seen)}", end=" ")
    assert watch.points > 10_000
    assert not watch.seen, watch.seen[:20]


def bus_of(session: Session) -> str:
    return session.env["XDG_RUNTIME_DIR"]


# ---- the same, with planted mistakes

_ALL_KNOWN = "'/'.join(each.reveal() for each in _seen.values())"
_WHEN_MARKED = f"""
_mark = mark
def mark(secret):
    name = _mark(secret)
    import base64, subprocess, sys, tempfile
    known = {_ALL_KNOWN}
    %s
    return name
"""
MISTAKES = {
    "the-screen": ("seals", _WHEN_MARKED % "print(known, file=sys.stderr)"),
    "a-childs-arguments": ("seals", _WHEN_MARKED % "subprocess.run(['/bin/true', known])"),
    "a-childs-environment": ("seals", _WHEN_MARKED % "subprocess.run(['/bin/true'], env={'A': known[::-1]})"),
    "a-file-that-is-gone-at-once": (
        "seals",
        _WHEN_MARKED % "tempfile.TemporaryFile(buffering=0).write(base64.b64encode(known.encode()))",
    ),
    "the-journal": (
        "journal",
        """
_open_step = Journal.open_step
def open_step(self, run, remedy, finding, changes):
    from ccremedy import seals, vault
    known = '/'.join(each.reveal() for each in seals._seen.values())
    return _open_step(self, run, remedy, finding, [replace(each, summary=known) for each in changes])
Journal.open_step = open_step
from ccremedy.record import replace
""",
    ),
}
OWNER_ONLY = ("apply", "key-storage", "--owner-only-file", "--yes", "--max-risk", "high")


def planted(tmp_path: Path, module: str, mistake: str) -> Watch:
    """Somebody with a copy of the product that has this at the end of one of its modules."""
    for name in ("ccremedy", "remedies", "platforms"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "copy" / "ccremedy" / f"{module}.py", "a") as source:
        source.write(mistake)
    person = Person.make(tmp_path, {}, tmp_path / "copy")
    (person.home / ".bashrc").write_text(BASHRC.format(CANARY))
    return Watch(person, tmp_path)


@pytest.mark.parametrize("where", MISTAKES)
def test_it_catches_a_key_that_gets_to(where: str, tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("strace")
    watch = planted(tmp_path, *MISTAKES[where])
    watch(*OWNER_ONLY, holds=[rf"{re.escape(str(watch.person.state))}/keys/[0-9a-f]+(\.new)?"])
    assert watch.seen


def test_it_catches_nothing_where_there_is_no_mistake(tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("strace")
    watch = planted(tmp_path, "seals", "")
    watch(*OWNER_ONLY, holds=[rf"{re.escape(str(watch.person.state))}/keys/[0-9a-f]+(\.new)?"])
    assert not watch.seen


@pytest.mark.parametrize("words", [OWNER_ONLY, ("diagnose", "key-storage", "--json", "--owner-only-file")])
def test_a_bug_does_not_tell(words: Sequence[str], tmp_path: Path, needs: Callable[[str], None]) -> None:
    needs("strace")
    watch = planted(tmp_path, "seals", f"\ndef store(vault):\n    raise ValueError({_ALL_KNOWN}, *_seen)\n")
    assert "this is a bug in ccremedy" in watch(*words, code=70)
    assert not watch.seen


# ---- killed at any call

OTHER = "sk-ant-api03-zyxwvutsrqponmlkjihgfedcba9876543210-BB"  # where a case has two
COMMON = "key-storage/the-key-is-exported-in-bashrc"


def holders(tree: sweep.Tree) -> set[str]:
    """The files of a machine that hold a key."""
    return {path for path, entry in tree.items() if isinstance(entry[5], bytes) and leaks(entry[5], KEY, OTHER)}


def crash_sweep(name: str, start: str, act: str, step: int, plant: Callable[[], object], top: str) -> Tally:
    """Killed at each `step`-th call: where the key is then, and once it has been recovered by who has never seen it."""
    scene, tally = Scene.make(name, start, act, top), Tally()
    ends = holders(scene.before) | holders(scene.after)
    assert ends, f"{name} holds no key"
    known = dict(seals._seen)
    for at, after in sweep.kills(scene, step):
        tally.points += 1
        scene.reset()
        status = sweep.in_child(lambda: sweep._killed(scene, at, after), plant)  # noqa: B023 - forked now
        tally.landed += status == signal.SIGKILL
        where = f"{scene}: killed {'after' if after else 'before'} call {at} ({scene.calls[at - 1]})"
        for path in holders(scene.rig.tree()) - ends:
            if not _is_in_the_making(scene, path):
                tally.bad.append(f"{where}: {path} holds it")
        seals._seen.clear()
        scene.rig.recover()
        if why := scene.wrong():
            tally.bad.append(f"{where}: {why}")
        tally.bad += [
            f"{where}: {path} holds it still" for path in holders(scene.rig.tree()) - holders(scene.expected())
        ]
        tally.bad += [f"{where}: {path} holds it" for path in scan(Path(top, "state"), secrets=(KEY, OTHER))]
        seals._seen.update(known)
    return tally


def _is_in_the_making(scene: Scene, path: str) -> bool:
    """In the folder for its owner alone, or beside a file that holds it, what an edit makes of it or has just replaced.

    The latter only by the name that the journal has announced, and no more open than the file.
    """
    root = scene.rig.machine.facts.root
    place = os.path.join(root, path)
    if os.path.dirname(place).endswith("/ccremedy/keys"):
        return os.stat(place).st_mode & 0o077 == 0
    steps = [step for run in scene.rig.journal.runs() for step in run.steps]
    for change, scratch in [pair for step in steps for pair in zip(step.changes, step.scratch)]:
        if place in (scratch, f"{scratch}-back"):
            original = os.path.relpath(os.path.realpath(change.resource.path), root)
            mode = next(tree[original][1] for tree in (scene.before, scene.after) if original in tree)
            return (
                original in holders(scene.before) | holders(scene.after) and not os.stat(place).st_mode & 0o777 & ~mode
            )
    return False


def key_cases() -> list[str]:
    return [name for name, case in sweep.cases().items() if name.startswith("key-storage/") and KEY in str(case.facts)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprints cost 10 ms each, by intention."""
    monkeypatch.setattr(vault, "_ROUNDS", 1)
    monkeypatch.setattr(seals, "_seen", {})


@pytest.mark.usefixtures("quick")
def test_wherever_it_is_killed_the_key_is_where_it_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [
        partial(crash_sweep, name, start, act, 1 if EVERYTHING else 3 if name == COMMON else 61, lambda: None)
        for name in key_cases()
        for start in (FRESH, EARLIER)
        for act in (APPLY, UNDO)
    ]
    tally = sweep.sweep(jobs)
    with capsys.disabled():
        print(f"\n{tally.line('canary-kill')}", end=" ")
    assert not tally.bad, "\n".join(tally.bad[:15])
    assert tally.landed == tally.points >= 500


def _say_it_in_the_journal() -> None:
    def to_json(change: Change) -> dict[str, object]:
        return {**real(change), "summary": "/".join(each.reveal() for each in seals._seen.values())}

    real, Change.to_json = Change.to_json, to_json  # type: ignore[method-assign,assignment]


def _keep_a_copy() -> None:
    def keep(journal: Journal, *arguments: object) -> None:
        for path in ("before", "after"):
            with open(os.path.join(journal.folder, path), "w") as copy:
                copy.write("/".join(each.reveal() for each in seals._seen.values())[::-1])
        real(journal, *arguments)  # type: ignore[arg-type]

    real, Journal.keep = Journal.keep, keep  # type: ignore[method-assign,assignment]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mistake", [_say_it_in_the_journal, _keep_a_copy])
def test_the_kill_sweep_catches(mistake: Callable[[], None]) -> None:
    tally = sweep.sweep([partial(crash_sweep, COMMON, FRESH, APPLY, 9, mistake)])
    assert tally.bad
