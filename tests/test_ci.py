"""The workflow for a public forge runs the README's own command, on what pyproject.toml says that ccremedy is for.

It has never been run there; what can be held here is that it parses, and that it does not fall behind the project.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
STEPS = [(job, step) for job, body in JOBS.items() for step in body["steps"]]
SYSTEMS = {"POSIX :: Linux": "ubuntu-latest", "MacOS": "macos-latest", "Microsoft :: Windows": "windows-latest"}


def test_it_runs_every_python_that_the_project_names() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)
    assert JOBS["suite"]["strategy"]["matrix"]["python"] == named
    (floor,) = re.findall(r'^requires-python = ">=(3\.\d+)"$', PROJECT, re.M)
    assert named[0] == floor, "3.10 must be a text in YAML: as a number it is 3.1"


def test_it_runs_every_system_that_the_project_names() -> None:
    named = re.findall(r'"Operating System :: ([^"]+)"', PROJECT)
    assert sorted(JOBS["suite"]["strategy"]["matrix"]["os"]) == sorted(SYSTEMS[each] for each in named)
    assert {"exclude", "include"}.isdisjoint(JOBS["suite"]["strategy"]["matrix"])


def test_its_last_step_is_the_command_of_the_readme() -> None:
    """`python` is what the forge calls it on every system."""
    last = JOBS["suite"]["steps"][-1]
    assert last == {"run": "python -m tests"}
    assert "    python3 -m tests\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_whole_check_is_the_one_that_is_here() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert '[ "${1-}" != needs ] || exit 0\n\npython3 -m tests\n' in script
    called = [step["run"] for _, step in STEPS if ".ci/run" in step.get("run", "")]
    assert called == ["sudo .ci/run needs", "sudo --set-home CI=true .ci/run"]


def test_windows_gets_the_bytes_that_everybody_has() -> None:
    assert (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()[-1] == "* -text"


def test_it_may_do_as_little_as_it_can() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [job for job in JOBS.values() if "permissions" in job]
    assert "secrets." not in TEXT
    assert "pull_request_target" not in TEXT
    assert WORKFLOW["concurrency"]["group"]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends(job: str) -> None:
    assert 0 < JOBS[job]["timeout-minutes"] <= 90


@pytest.mark.parametrize(("job", "step"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_action_is_pinned_and_leaves_no_key_behind(job: str, step: dict[str, Any]) -> None:
    action = step.get("uses", "")
    assert not action or re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", action), (job, action)
    if action.startswith("actions/checkout@"):
        assert step["with"] == {"persist-credentials": False}
    assert step.get("with", {}).get("cache", "pip") == "pip", "an environment in the cache could be anybody's"
