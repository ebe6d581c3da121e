"""Windows: recognised, so that ccremedy can say that it does not work there yet."""

from __future__ import annotations

from ccremedy import Adapter, Facts


class Windows(Adapter):
    name = "windows"
    unsupported = "not yet supported by this version of ccremedy"

    def priority(self, facts: Facts) -> int:
        return 1 if facts.system == "win32" else 0
