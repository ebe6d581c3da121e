"""Marks that stand for secrets, so that a journal, a plan, a diff and an error can be about one without holding it.

A mark holds a fingerprint: a slow hash, salted with a constant because a diagnosis may write nothing, not even a salt.
For an API key that gives nothing away; a password of a few letters could be guessed at a hundred tries a second by
whoever can read a journal that is open to its owner alone. (research: reliability-security B.10)

What is behind a mark is known to this process if it has seen the secret, and to the store if it was put there.
"""

from __future__ import annotations

import os
import re

from ccremedy.errors import Problem
from ccremedy.redact import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccremedy.vault import Vault

OS_STORE = "os"  # the store that is not a folder
_MARK = re.compile("‹secret:([0-9a-f]{20})›")
_seen: dict[str, Secret] = {}
_stores: dict[str, Vault] = {}


def mark(secret: Secret) -> str:
    """The mark of a secret, which this process knows from now on."""
    from ccremedy.vault import fingerprint

    for name, known in _seen.items():
        if known == secret:
            return f"‹secret:{name}›"
    name = fingerprint(secret, "ccremedy")
    _seen[name] = secret
    return f"‹secret:{name}›"


def seal(text: str, raw: str, value: str) -> str:
    """`text` with a mark instead of the secret that it spells `raw` and means `value`."""
    if not value:
        return text
    if _MARK.search(text):
        raise Problem("holds what looks like a mark of ccremedy's where a secret should be")
    secret = value if value and value in raw else raw
    return text.replace(secret, mark(Secret(secret)))


def unseal(text: str, vault: str) -> str:
    """The text with its secrets. Problem where neither this process nor the store knows one."""
    return _MARK.sub(lambda found: reveal(found[1], vault).reveal(), text)


def reveal(name: str, vault: str) -> Secret:
    found = _seen.get(name) or store(vault).get(name)
    if found is None:
        raise Problem(
            f"does not hold the secret with fingerprint {name[:8]}",
            where=store(vault).name(),
            todo="Set it again by hand",
        )
    return found


def is_sealed(text: str) -> bool:
    return bool(_MARK.search(text))


def names(text: str) -> list[str]:
    """The fingerprints of the secrets in it."""
    return _MARK.findall(text)


def store(vault: str) -> Vault:
    """The store of this name: the operating system's ("os"), or a folder that only its owner can open."""
    from ccremedy.vault import Vault  # brings its own child process, at the first call

    if vault not in _stores:
        _stores[vault] = Vault(os.environ, owner_only="" if vault == OS_STORE else vault)
    return _stores[vault]
