"""macOS: recognised, so that ccremedy can say that it does not work there yet."""

from __future__ import annotations

from ccremedy import Adapter, Facts


class Macos(Adapter):
    name = "macos"
    unsupported = "not yet supported by this version of ccremedy"

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "darwin" else 0
