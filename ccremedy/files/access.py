"""Access lists of Windows in their text form (SDDL): who owns a file, and who else may do something to it."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def parse(text: str) -> tuple[str, str]:
    """The owner's SID and the list; '' where there is none."""
    owner = re.match(r"O:(.*?)(?=G:|D:|S:|$)", text)
    access = re.search(r"D:(.*?)(?=S:[A-Z(]|$)", text)
    return owner[1] if owner else "", access[1] if access else ""


# SYSTEM, administrators, the owner and creator of something, the installer of Windows, and whoever logs on right now.
_TRUSTED = {"SY", "BA", "OW", "CO", "S-1-5-18", "S-1-5-32-544", "S-1-3-0", "S-1-3-4", "LA",
            "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"}  # fmt: skip
_RIGHTS = {"FA": 0x1F01FF, "GA": 0x1F01FF, "FR": 0x120089, "GR": 0x120089, "FW": 0x120116, "GW": 0x120116,
           "FX": 0x1200A0, "GX": 0x1200A0, "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000, "CC": 0x1,
           "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100}  # fmt: skip


def others(access: str, rights: int, known: set[str]) -> Iterator[str]:
    """The SIDs that an access list (as SDDL has it) allows one of these rights, but for `known` and the trusted."""
    if "NO_ACCESS_CONTROL" in access:
        yield "everybody"
    for kind, flags, given, who in re.findall(r"\((\w+);(\w*);(\w*);[^;]*;[^;]*;([^;)]+)", access):
        pairs = [given] if given.lower().startswith("0x") else re.findall("..", given)
        mask = sum({int(each, 16) if each[:2].lower() == "0x" else _RIGHTS.get(each, 0x100000) for each in pairs})
        inherit_only = "IO" in re.findall("..", flags)
        if kind in ("A", "XA") and mask & rights and not inherit_only and who not in known | _TRUSTED:
            yield who
