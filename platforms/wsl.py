"""Linux inside Windows (WSL 1 and 2): the drives of Windows are mounted, and its PATH comes after ours."""

from __future__ import annotations

import os
import re

from ccremedy import Facts

from . import linux


class Wsl(linux.Linux):
    name = "wsl"

    def priority(self, facts: Facts) -> int:
        if facts.system != "linux":
            return 0
        # The kernel's name alone will not do: a container on WSL has the same kernel, and no Windows in reach;
        # and people build WSL kernels with names of their own.
        kernel = facts.text("/proc/sys/kernel/osrelease") + facts.text("/proc/version")
        marks = (
            "WSL_INTEROP" in facts.env or "WSL_DISTRO_NAME" in facts.env,
            os.path.exists(facts.under("/run/WSL")),
            os.path.exists(facts.under("/proc/sys/fs/binfmt_misc/WSLInterop")),
            bool(_mounted(facts)),
        )
        container = any(os.path.exists(facts.under(mark)) for mark in ("/.dockerenv", "/run/.containerenv"))
        return 2 if sum(marks) >= (1 if "microsoft" in kernel.lower() and not container else 2) else 0

    def windows_folders(self, facts: Facts) -> tuple[str, ...]:
        """The mounted drives: what the kernel says, and the drive letters below the root that wsl.conf names."""
        found = set(_mounted(facts))
        root = facts.under(_automount_root(facts))
        if os.path.isdir(root):
            found |= {os.path.join(root, name) for name in os.listdir(root) if re.fullmatch("[a-z]", name)}
        return tuple(sorted(found))


def _automount_root(facts: Facts) -> str:
    section, root = "", "/mnt/"
    for line in facts.text("/etc/wsl.conf").splitlines():
        line = line.split("#", 1)[0].strip()
        if line.startswith("["):
            section = line.strip("[]").strip().lower()
        name, equals, value = line.partition("=")
        if section == "automount" and equals and name.strip().lower() == "root":
            root = value.strip().strip("\"'")
    return root if root.startswith("/") else "/mnt/"


def _mounted(facts: Facts) -> list[str]:
    """Mount points of Windows drives: drvfs (WSL 1), or 9p and virtiofs with drvfs options (WSL 2)."""
    found: list[str] = []
    for line in facts.text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 4 and kind and (kind[0] == "drvfs" or (kind[0] in ("9p", "virtiofs") and "drvfs" in after)):
            found.append(facts.under(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])))
    return found
