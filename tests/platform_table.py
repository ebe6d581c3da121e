"""`python3 -m tests.platform_table`: what docs/platforms.md must say; with `--write` it does. Needs nothing installed.

A cell of the table is a remedy on a platform, and says by what it is held: the best of

- each `@pytest.mark.cell(remedy, platform, level)` in tests/, read from the source, so that it is the same table
  wherever it is made, also where those tests are skipped. `level` is "real", "wine" or "simulated". "real" anywhere
  but on Linux needs `where="…"`, three or four words that say on what: this project has no such machine at hand.
- each case in tests/cases/: the suite is run on Linux, so a case of Linux is real, and one of another platform is
  simulated. One that shows that the remedy has no meaning there counts for nothing.

A mark where the remedy says that it has no meaning is a mistake, and so is a mark that cannot be read.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ccremedy import Facts, Remedy, registry

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "platforms.md"
COMMAND = "python3 -m tests.platform_table --write"
BEGIN, END = f"<!-- made by {COMMAND} -->\n", "<!-- until here -->\n"

PLATFORMS = {"linux": "linux", "wsl": "linux", "macos": "darwin", "windows": "win32"}  # and what Python calls it
HERE = "linux"  # where the suite is run, wherever this table is made
LEVELS = {"simulated": "simulated", "wine": "under Wine", "real": "for real"}  # the worst first


class Mistake(Exception):
    """A mark or a case that the table cannot take, and where it is."""


@dataclass(frozen=True)
class Evidence:
    remedy: str
    platform: str
    level: str
    where: str  # on what, if that is not plain from the platform
    source: str  # a file or folder below the root

    @property
    def rank(self) -> tuple[int, bool]:
        return list(LEVELS).index(self.level), not self.where


def marks(path: Path) -> Iterator[Evidence]:
    """What the cell marks in this file say: on functions, classes, parameters, or as pytestmark."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or ast.unparse(node) != "pytest.mark.cell":
            continue
        place = f"{path.name}:{node.lineno}"
        try:
            call = calls[id(node)]
            remedy, platform, level = (ast.literal_eval(word) for word in call.args)
            more = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            where = more.pop("where", "")
        except (KeyError, ValueError):
            raise Mistake(
                f'{place}: it reads cell("a-remedy", "a platform", "a level"), maybe with where="…"'
            ) from None
        if more or level not in LEVELS:
            raise Mistake(f"{place}: {level!r} {more or ''} is none of {', '.join(LEVELS)}")
        if level == "real" and platform != HERE and not where:
            raise Mistake(f"{place}: for real on {platform}? Say where")
        if platform not in (found := _remedy(remedy, platform, place)).platforms:
            raise Mistake(f"{place}: {remedy} on {platform}: {found.unsupported}")
        yield Evidence(remedy, platform, level, where, f"tests/{path.name}")


def cases(folder: Path) -> Iterator[Evidence]:
    """What the contract is kept on."""
    for path in sorted(folder.glob("*/*/case.json")):
        name, platform = path.parts[-3], json.loads(path.read_text(encoding="utf-8"))["platform"]
        if platform in _remedy(name, platform, str(path)).platforms:
            level = "real" if platform == HERE else "simulated"
            yield Evidence(name, platform, level, "", f"tests/cases/{name}/")


def _remedy(name: str, platform: str, place: str) -> Remedy:
    found = registry.remedies().get(name)
    if found is None or platform not in PLATFORMS:
        raise Mistake(f"{place}: there is no {name} on {platform}")
    return found


def everything() -> list[Evidence]:
    found = [each for path in sorted((ROOT / "tests").glob("test_*.py")) for each in marks(path)]
    return [*found, *cases(ROOT / "tests" / "cases")]


def table(found: list[Evidence]) -> str:
    """The table, and below it where the claims that are more than a simulation come from."""
    best: dict[tuple[str, str], Evidence] = {}
    for each in found:
        cell = each.remedy, each.platform
        best[cell] = max(best.get(cell, each), each, key=lambda evidence: evidence.rank)
    rows = [f"| remedy | {' | '.join(PLATFORMS)} |", f"| --- |{' --- |' * len(PLATFORMS)}"]
    rows += [
        f"| `{name}` | {' | '.join(_cell(name, platform, best.get((name, platform))) for platform in PLATFORMS)} |"
        for name in registry.remedies()
    ]
    rows += ["", "What stands behind each cell that is more than simulated:", ""]
    for cell, top in sorted(best.items()):
        if top.level != "simulated":
            same = {each.source for each in found if (each.remedy, each.platform, each.level) == (*cell, top.level)}
            rows.append(f"- `{cell[0]}` on {cell[1]}: {', '.join(f'`{source}`' for source in sorted(same))}")
    return "\n".join(rows) + "\n"


def _cell(name: str, platform: str, top: Evidence | None) -> str:
    if top is not None:
        return LEVELS[top.level] + (f" ({top.where})" if top.where else "")
    remedy = registry.remedies()[name]
    if platform in remedy.platforms:
        return "not run"
    if remedy.unsupported != Remedy.unsupported:
        return f"no meaning: {re.split('[:;,.]', remedy.unsupported)[0]}"
    return "no meaning" if _works(platform) else "not yet there"


def _works(platform: str) -> bool:
    """Whether ccremedy as a whole does."""
    return platform == "wsl" or not registry.adapter(Facts(PLATFORMS[platform], {}, "/")).unsupported


def page(text: str) -> str:
    """The page with the table as it must be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Mistake(f"{PAGE}: between which lines? {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{table(everything())}\n{END}{after}"


def main(words: list[str]) -> int:
    wanted = page(PAGE.read_text(encoding="utf-8"))
    if words == ["--write"]:
        PAGE.write_text(wanted, encoding="utf-8", newline="\n")
    elif words:
        print(__doc__, file=sys.stderr)
        return 2
    else:
        print(wanted.partition(BEGIN)[2].partition(END)[0].strip())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
