"""Give npm a global folder that the user may write to: no sudo, no chown (which has destroyed systems before)."""

from __future__ import annotations

import os

from ccremedy import Finding, Healthy, Line, Machine, Remedy, files, want

from . import _installs, _node, _npm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NATIVE = (
    "If npm is only there for Claude Code, its native installer is the better way: it needs no npm, no prefix and no "
    "Node.js, and it updates itself (https://code.claude.com/docs/en/setup)"
)
AFTERWARDS = "Then, in a new terminal: npm install -g @anthropic-ai/claude-code@latest"


class NpmPrefix(Remedy):
    title = "Let npm install global packages into your home directory"
    symptoms = (
        "npm error code EACCES",
        "npm ERR! code EACCES",
        "npm error code EPERM",
        "npm global folder isn't writable",
    )

    def diagnose(self, machine: Machine) -> Iterator[Finding | Healthy]:
        npm = machine.which("npm")
        if not npm or machine.is_windows(npm):
            yield Healthy(
                "there is no npm of this system on PATH" if not npm else f"{npm} belongs to Windows: see wsl-path"
            )
            return
        for manager in _node.managers(machine):
            if manager.shims and files.same(manager.programs, os.path.dirname(npm)):
                yield Healthy(f"{manager.name} runs this npm ({npm}), and decides where its packages go")
                return
        here, prefix = _npm.layout(machine), _npm.prefix(machine, npm)
        name, title, why = _amiss(here, prefix)
        folder = os.path.join(here.ours if why else prefix.folder, *here.programs)
        if not why and not _is_ours_to_put_on_path(machine, prefix, here.ours):
            yield Healthy(f"you may write to npm's global folder, {prefix.folder}")
            return
        evidence = [f"npm's global prefix is {prefix.folder}, set by {prefix.where}"]
        if why:
            evidence.append(why)
            if whose := _hands_off(machine, prefix, here):
                yield Finding(name, title, tuple(evidence), (whose, NATIVE), risk="manual")
                return
        setting = list(want(Line(_npm.user_npmrc(machine), "prefix"), here.line)) if why else []
        blocked = any(change.refused for change in setting)  # then the folder would stay empty: no use on PATH
        on_path = _installs.holds(_installs.terminal_path(machine), folder)
        skipped = blocked or (on_path and machine.adapter.environment_keys(machine.facts))  # which say it all
        changes = [*setting, *(() if skipped else machine.persist_path(self.id, folder, f"path {folder}"))]
        if not changes or (not why and on_path):
            yield Healthy(f"npm installs into {prefix.folder}, which is yours and on PATH in new terminals")
        elif why:
            yield Finding(name, title, tuple(evidence), (AFTERWARDS, NATIVE), tuple(changes))
        else:
            title = "programs that npm installs are not found"
            yield Finding("not-on-path", title, tuple(evidence), (), tuple(changes), severity="warning")


def _amiss(here: _npm.Layout, prefix: _npm.Prefix) -> tuple[str, str, str]:
    """Why the folder is not to stay npm's, behind the id and title of the finding; '' where it may."""
    if literal := here.literal(prefix):
        why = f"npm fills in ${{NAME}} only: it takes {literal} for the name of a folder, wherever it is started"
        return "not-filled-in", "npm installs into a folder that is named after a variable", why
    locked = _npm.locked(here, prefix.folder)
    why = f"you may not write to {locked}" if locked else ""
    return "not-writable", "npm cannot install global packages", why


def _is_ours_to_put_on_path(machine: Machine, prefix: _npm.Prefix, ours: str) -> bool:
    """The folder that we choose; and any that an npmrc names, where the registry tells what a new terminal finds."""
    named = prefix.source in ("user", "global", "builtin") and not _node.owner(machine, prefix.folder)
    return files.same(prefix.folder, ours) or (named and bool(machine.adapter.environment_keys(machine.facts)))


def _hands_off(machine: Machine, prefix: _npm.Prefix, here: _npm.Layout) -> str:
    """Why the prefix is somebody else's to set, and what to do instead; '' where it is ours."""
    owner = _node.owner(machine, prefix.folder)
    if name := owner or next((each.name for each in _node.managers(machine)), ""):
        whose = f"owns {prefix.folder}" if owner else "is installed, and a prefix in an npmrc would be in its way"
        return (
            f"{name} {whose}: install a Node.js with it and use that one "
            f"(if its folder is not yours, have its owner give it back)"
        )
    if prefix.source == "environment":
        return f"{prefix.where} in the environment outranks every npmrc: unset it where it is set, then try again"
    if project := _npm.project_npmrc(machine):
        return f"the project file {project} sets a prefix of its own: take it out, or try again outside of the project"
    if blocked := _npm.locked(here, here.ours):
        return f"you may not write to {blocked} either, which is where packages would go: have its owner give it back"
    return ""
