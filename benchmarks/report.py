"""Write a page and its pictures from what was measured, which is kept as JSON in `build/`."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.findings import Findings, Table, Target
from benchmarks.pictures import PICTURES

_PACKAGES: Final = ("httpx", "httpcore", "anyio", "attrs", "up42-py", "requests")


def circumstances(scale: str) -> dict[str, Any]:
    """Return the versions and the machine that the figures depend on."""
    return {
        "scale": scale,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def keep(folder: Path, name: str, findings: Findings, scale: str) -> None:
    """Keep what one benchmark found."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"circumstances": circumstances(scale), **findings}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def render(folder: Path, page: Path, order: tuple[str, ...]) -> None:
    """Write the page, and the pictures beside it, from everything that is kept.

    Args:
        folder: Where the JSON files are.
        page: The page to write.
        order: The benchmarks in the order of the page.
    """
    kept = {
        name: json.loads((folder / f"{name}.json").read_text()) for name in order if (folder / f"{name}.json").exists()
    }
    if not kept:
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    targets = _targets([target for findings in kept.values() for target in findings["targets"]])
    sections = [_section(findings, _drawn(name, findings, page)) for name, findings in kept.items()]
    page.write_text("\n".join([_opening(kept), targets, *sections]), encoding="utf-8")


def _drawn(name: str, findings: Findings, page: Path) -> str:
    """Draw the pictures of one benchmark; return the lines that show them."""
    lines: list[str] = []
    for picture in PICTURES:
        if picture.benchmark == name:
            file = page.with_name(f"{page.stem}-{picture.name}.svg")
            picture.draw(findings, file)
            lines.append(f"![{picture.caption}]({file.name})\n\n")
    return "".join(lines)


def _opening(kept: Mapping[str, Any]) -> str:
    facts = next(iter(kept.values()))["circumstances"]
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    quick = "\nThis is a quick look: sizes are small and rounds few.\n" if facts["scale"] != "full" else ""
    return f"""# Benchmarks

Written by `nox -s bench`. To repeat them, or only some of them, or to have a quick look, which writes to `build/`:

```
python -m pip install nox && python -m nox -s bench
python -m nox -s bench -- listing tracking
python -m nox -s bench -- quick
```
{quick}
Python {facts["python"]} on {facts["system"]} with {facts["cores"]} cores; {packages}.

Every variant runs in a fresh process, in turn with the others, against one server in a process of its own. CPU is the
time the client's process spent, user and system together, on the measured part alone: imports, login and one request
to warm up come before (they are among the requests that the server counted). Figures are medians; ratios are taken
round by round, with the least and the most in parentheses. *Server busy* is the share of the wall time for which the
server computed: where it is far below 100 %, the client is what is measured. The floor client, which only reads
bytes, says the same.
"""


def _targets(targets: list[Target]) -> str:
    rows = [[one["what"], one["bound"], one["seen"], "yes" if one["met"] else "**no**"] for one in targets]
    table = _markdown(Table(caption="", columns=["what", "target", "seen", "met"], rows=rows))
    reasons = dict.fromkeys(one["why"] for one in targets if one["why"] and not one["met"])
    missed = "\nWhat was missed, and why:\n\n" + "".join(f"- {why}\n" for why in reasons) if reasons else ""
    return f"## Targets\n\n{table}{missed}"


def _section(findings: Findings, pictures: str) -> str:
    tables = "\n".join(f"**{one['caption']}**\n\n{_markdown(one)}" for one in findings["tables"])
    return f"## {findings['title']}\n\n{findings['how']}\n\n{pictures}{tables}"


def _markdown(table: Table) -> str:
    lines = [table["columns"], ["---", *["---:"] * (len(table["columns"]) - 1)], *table["rows"]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
