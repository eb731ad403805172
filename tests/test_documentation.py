"""What the documentation shows is Python that runs, with names that exist."""

import re
from pathlib import Path
from typing import Any, Final

import pytest

import up42_async as up42
from up42_async import processing_templates
from up42_async.sandbox import REFERENCE_ASSET, Sandbox

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")], key=lambda page: page.name)


def snippets(page: Path) -> list[str]:
    """Return the Python of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def function(snippet: str, *names: str) -> Any:
    """Make a function of a snippet, which may await, of the names that it takes as given."""
    body = "".join(f"    {line}\n" for line in snippet.splitlines())
    made: dict[str, Any] = {}
    exec(compile(f"async def shown({', '.join(names)}):\n{body}", "<documentation>", "exec"), made)  # noqa: S102 - ours
    return made["shown"]


async def finished_job(title: str = "Trees") -> up42.Job:
    """Run a process on the item of the reference's asset."""
    (item,) = await (await up42.initialize_asset(REFERENCE_ASSET)).stac_items()
    job = await processing_templates.DetectionTreesSpacept(title=title, item=item).execute()
    return await job.track(wait=0.01)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_is_python_and_every_name_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for snippet in snippets(page):
        function(snippet)
    for name in re.findall(r"\bup42\.([A-Za-z]\w*)", re.sub(r"\S*up42\.com\S*|`up42\.authenticate[^`]*`", "", text)):
        assert hasattr(up42, name), name
    for name in re.findall(r"\bprocessing_templates\.(\w+)", text):
        assert hasattr(processing_templates, name), name


@pytest.mark.parametrize("page", ["results.md", "jobs.md"])
async def test_the_snippets_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = [one for one in snippets(ROOT / "docs" / page) if "import odc" not in one]
    with Sandbox(speed=36_000, failure_rate=0.0) as sandbox:
        async with up42.Client(**sandbox.credentials, endpoints=sandbox.endpoints):
            job = await finished_job()
            example_id = "d290f1ee-6c54-4b01-90e6-d701748f0851"
            for snippet in shown:
                await function(snippet.replace(example_id, job.id), "job", "jobs", "up42")(job, [job], up42)
    assert len(shown) == 2
