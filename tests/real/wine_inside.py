"""Runs on the Windows inside, all the time: a request is a line of JSON on its input, and so is the answer.

Its first line is the environment that it was given.

Starting a program from here takes a tenth of what starting it from outside takes, and both pipes and files work for all
of them: started from outside, Python wants pipes, and Node.js wants anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

_OF_UNIX = ("LANG", "USER", "LOGNAME")
_started: dict[int, tuple[subprocess.Popen[bytes], str]] = {}


def run(argv: list[str], env: dict[str, str], cwd: str, stdin: str | None, seconds: float) -> dict[str, Any]:
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"stdin": subprocess.PIPE}
    program = subprocess.Popen(
        _found(argv, env), env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **given
    )
    late = False
    try:
        out, err = program.communicate(None if stdin is None else stdin.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        late = True
        _kill(program)
        try:
            out, err = program.communicate(timeout=5)
        except subprocess.TimeoutExpired as error:  # somebody else still holds the pipes
            out, err = error.stdout or b"", error.stderr or b""
    return {"code": program.returncode, "out": _text(out), "err": _text(err), "late": late}


def start(argv: list[str], env: dict[str, str], cwd: str, listens: bool) -> int:
    said = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115 - read while the program still writes to it
    given = subprocess.PIPE if listens else subprocess.DEVNULL
    program = subprocess.Popen(_found(argv, env), env=env, cwd=cwd, stdin=given, stdout=said, stderr=said)
    _started[program.pid] = program, said.name
    return program.pid


def say(pid: int, text: str) -> None:
    program, _ = _started[pid]
    assert program.stdin is not None, "this program was not started with listens=True"
    program.stdin.write(text.encode())
    program.stdin.flush()


def look(pid: int, wait: float) -> dict[str, Any]:
    """What a started program said so far, and its code if it has ended."""
    program, said = _started[pid]
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(wait)
    with open(said, "rb") as file:
        return {"code": program.poll(), "out": _text(file.read())}


def end(pid: int) -> dict[str, Any]:
    _kill(_started[pid][0])
    return look(pid, 5)


def steps(source: str, names: dict[str, Any]) -> Any:
    space: dict[str, Any] = {"__name__": "steps", "result": None, **names}
    exec(compile(source, "steps", "exec"), space)
    return space["result"]


def _found(argv: list[str], env: dict[str, str]) -> list[str]:
    """By the PATH that the program is given; Windows would take our own."""
    path = next((value for name, value in env.items() if name.upper() == "PATH"), "")
    return [shutil.which(argv[0], path=path) or argv[0], *argv[1:]]


def _kill(program: subprocess.Popen[bytes]) -> None:
    """It and all that it has started."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for child in psutil.Process(program.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                child.kill()
    program.kill()


def _text(data: bytes) -> str:
    return data.decode("latin-1")  # keeps every byte


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)  # what is printed here must not get in between
    sys.stdout = sys.stderr
    actions: dict[str, Callable[..., Any]] = {each.__name__: each for each in (run, start, say, look, end, steps)}
    hello = {name: value for name, value in os.environ.items() if name not in _OF_UNIX and name[:4] != "WINE"}
    answers.write(json.dumps({"result": hello}).encode() + b"\n")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = {"result": actions[request.pop("action")](**request)}
        except Exception:  # noqa: BLE001 - whatever it was, the test outside should read it
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
