"""What we know about Claude Code, as data: each file says where it is from and as of when."""

from __future__ import annotations

import json
import os

from ccremedy import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(name: str) -> Any:
    """The JSON of `knowledge/NAME.json`."""
    data = files.read(os.path.join(os.path.dirname(__file__), f"{name}.json"))
    return json.loads(data or b"null")
