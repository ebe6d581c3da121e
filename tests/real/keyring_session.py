"""A real, headless GNOME Keyring: its own D-Bus, home and runtime directory, and nothing of the person who runs it.

    with keyring_session(home) as session:
        Vault(session.env)...

What is stored lies in `home`, encrypted with the password, and is there again in the next session on the same home.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PATH = "/usr/bin:/bin"
_PROGRAMS = ("dbus-daemon", "gnome-keyring-daemon", "secret-tool")
_SET_DEFAULT = """
import sys
import secretstorage
from secretstorage.util import DBusAddressWrapper
service = "/org/freedesktop/secrets", "org.freedesktop.Secret.Service"
DBusAddressWrapper(*service, secretstorage.dbus_init()).call("SetAlias", "so", "default", sys.argv[1])
"""


@dataclass(frozen=True)
class Session:
    """`env` is all that a program in it needs; `daemon` is the keyring's process."""

    env: dict[str, str]
    daemon: int

    def has_died(self) -> bool:
        """Whether the keyring's process has ended by itself."""
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{self.daemon}/stat") as told:
            return told.read().rpartition(")")[2].split()[0] == "Z"
        return True

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.env, input=stdin, capture_output=True, text=True, timeout=30, check=False)

    def freeze(self) -> None:
        """From now on it takes calls and answers none, as a store does that waits for a prompt nobody sees."""
        os.kill(self.daemon, signal.SIGSTOP)

    def set_default(self, collection: str) -> None:
        """Make the collection with this D-Bus path the one that everything is stored in."""
        done = self.run(sys.executable, "-c", _SET_DEFAULT, collection)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def bus_session(home: Path, services: bool = True, runtime_folder: bool = True) -> Iterator[dict[str, str]]:
    """The environment of a session that has a D-Bus but no keyring yet. With `services`, the bus starts one if asked.

    Without `runtime_folder`, there is no XDG_RUNTIME_DIR in it.
    """
    for program in _PROGRAMS:
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"needs {program}, which is not installed")
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ccremedy-bus-", ignore_cleanup_errors=True) as runtime:
        env = {"HOME": str(home), "PATH": PATH, "LANG": "C.UTF-8"}
        if runtime_folder:
            env["XDG_RUNTIME_DIR"] = runtime  # not below `home`: a socket's path has 107 bytes at most
        config = Path(runtime, "bus.conf")
        config.write_text(
            f"<busconfig><type>session</type><listen>unix:path={runtime}/bus</listen>"
            f"{'<standard_session_servicedirs/>' if services else ''}"
            '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
            '<allow own="*"/></policy></busconfig>'
        )
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
        with _running(command, env) as bus:
            assert bus.stdout is not None
            address = bus.stdout.readline().decode().strip()
            yield env | {"DBUS_SESSION_BUS_ADDRESS": address}


@contextlib.contextmanager
def keyring_session(home: Path, password: str = "open sesame") -> Iterator[Session]:
    """A session whose login keyring is open, if the password is that of the first session on this home."""
    with bus_session(home, services=False) as env:  # or a call that comes too soon would start another one
        command = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        with _running(command, env) as daemon:
            assert daemon.stdin is not None
            daemon.stdin.write(password.encode())
            daemon.stdin.close()
            session = Session(env, daemon.pid)
            deadline = time.monotonic() + 60
            while session.run("secret-tool", "lookup", "nothing", "like it").stderr:
                assert time.monotonic() < deadline, "gnome-keyring-daemon does not come up"
                time.sleep(0.02)
            yield session


@contextlib.contextmanager
def _running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()
