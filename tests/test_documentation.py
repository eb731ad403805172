"""The documentation: its snippets run, its names and links exist, and it covers every public name and error."""

import ast
import inspect
import logging
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

import up42_async as up42
from up42_async import processing_templates, sandbox
from up42_async.sandbox import REFERENCE_ASSET, Sandbox, faults

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")], key=lambda page: page.name)
EXAMPLE_JOB: Final = "d290f1ee-6c54-4b01-90e6-d701748f0851"

NOT_RUN: Final[dict[str, str]] = {
    "from opentelemetry": "tests/interop/test_documented.py runs it, where it is installed",
    "import sentry_sdk": "the same",
    "import respx": "the same",
    "httpx_mock": "the same",
    "import vcr": "the same",
    "import httpx2": "the same",
    "http2=True": "the same",
    "load_cert_chain": "the same, with a certificate that is there",
    "import odc": "reads pixels; tests/test_consumers.py does it where odc-stac is installed",
}
"""Text that identifies each snippet that is only compiled, and the reason."""


def snippets(page: Path) -> list[str]:
    """Return the Python code blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def compiled(snippet: str, page: str = "page") -> types.CodeType:
    """Compile a snippet, which may use `await` at the top level."""
    code: types.CodeType = compile(snippet, f"<{page}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


def is_program(snippet: str) -> bool:
    """Return whether a snippet starts an event loop itself."""
    return bool(re.search(r"^(anyio|asyncio|trio)\.run\(", snippet, re.MULTILINE))


def public(module: types.ModuleType) -> Iterator[str]:
    """Yield the public names of a module; of `processing_templates` only the classes that it defines."""
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if module is not processing_templates or (inspect.isclass(value) and value.__module__ == module.__name__):
            yield name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_is_python_and_every_name_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for snippet in snippets(page):
        compiled(snippet, page.name)
    ours = re.sub(r"\S*up42\.com\S*|up42\.authenticate", "", text)  # addresses, and a function of up42-py
    for name in re.findall(r"(?<!\.)\bup42\.([A-Za-z]\w*)", ours):
        assert hasattr(up42, name), name
    for name in re.findall(r"\bprocessing_templates\.(\w+)", text):
        assert hasattr(processing_templates, name), name


async def finished_job(title: str = "Trees") -> up42.Job:
    """Run a process on the item of the reference's asset."""
    (item,) = await (await up42.initialize_asset(REFERENCE_ASSET)).stac_items()
    job = await processing_templates.DetectionTreesSpacept(title=title, item=item).execute()
    return await job.track(wait=0.01)


class Reader:
    """Runs the snippets of a page in order, with the same names, as a reader with an account would."""

    def __init__(self, page: Path, sandbox: Sandbox) -> None:
        self.page = page
        self.sandbox = sandbox
        self.names: dict[str, Any] = {"__name__": page.stem, "up42": up42, "processing_templates": processing_templates}

    async def read(self) -> None:
        async with up42.Client(**self.sandbox.settings) as client:
            await self.prepare(client)
            for snippet in snippets(self.page):
                if not is_program(snippet) and not any(words in snippet for words in NOT_RUN):
                    await self.run(snippet)

    async def prepare(self, client: up42.Client) -> None:
        """Define the names that pages use without defining them: an item, templates and finished jobs."""
        (item,) = await (await up42.initialize_asset(REFERENCE_ASSET)).stac_items()
        kind = processing_templates.DetectionTreesSpacept
        templates = [kind(title=f"Trees {number}", item=item) for number in range(3)]
        job = await finished_job()
        given = {"client": client, "item": item, "items": [item], "templates": templates, "job": job, "jobs": [job]}
        self.names["sandbox"] = self.sandbox
        self.names.update(given)

    async def run(self, snippet: str) -> None:
        """Run a snippet, with the sandbox's account in place of the reader's."""
        settings = dict(self.sandbox.settings)
        if "polling=" in snippet:
            del settings["polling"]
        self.names["settings"] = settings
        text = snippet.replace(EXAMPLE_JOB, self.names["job"].id) if "job" in self.names else snippet
        account = r'username="\.\.\.",\s*password="\.\.\."(,\s*region="eu")?'
        text = re.sub(account, "**settings", text)
        ended = eval(compiled(text, self.page.name), self.names)  # noqa: S307 - our own documentation
        if inspect.iscoroutine(ended):
            await ended


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore the levels and handlers of loggers, which belong to the whole process."""
    loggers = [logging.getLogger(name) for name in ("", "up42_async", "httpx")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_every_snippet_runs(page: Path, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox(speed=36_000, failure_rate=0.0) as here:
        anyio.run(Reader(page, here).read, backend=loop)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(map(is_program, snippets(page)))], ids=lambda page: page.name
)
def test_every_program_runs_when_pasted(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for program in filter(is_program, snippets(page)):
        hurried = program.replace("speed=600", "speed=6000")
        exec(compiled(hurried, page.name), {"__name__": "__main__"})  # noqa: S102 - our own documentation
    assert list((tmp_path / "results").iterdir())


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(
        (ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("reference.md", "reference_sandbox.md")
    )
    entries = set(re.findall(r"^\.\. auto(?:class|exception|function|data):: (\w+)$", pages, re.MULTILINE))
    offered = {name for module in (up42, processing_templates, sandbox, faults) for name in public(module)}
    assert offered - entries == set()


def all_errors(error: type[up42.Up42Error] = up42.Up42Error) -> set[str]:
    """Return the names of an error class and of all its subclasses."""
    return {error.__name__}.union(
        *(all_errors(one) for one in error.__subclasses__() if one.__module__ == "up42_async")
    )


def test_every_error_has_a_row_on_the_page_of_errors() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    tree = set(re.findall(r"^[│├└─ ]*(\w+Error\w*|UnfinishedJob)", text, re.MULTILINE))
    rows = set(re.findall(r"`(\w+)`", "".join(line for line in text.splitlines() if line.startswith("| `"))))
    assert all_errors() - tree == set()
    assert all_errors() - rows - {"Up42Error", "APIError", "TransportError", "StatusError"} == set()


def test_every_page_is_listed_in_the_contents_and_in_llms_txt() -> None:
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    listed = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.stem != "index":
            assert page.stem in contents, page.name
            assert f"({page.stem}.html)" in listed, page.name


def test_all_links_of_the_readme_are_absolute() -> None:
    links = re.findall(r"\]\(([^)]*)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://")] == []


def test_every_relative_link_leads_to_a_file() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_entry_of_not_run_matches_a_snippet() -> None:
    everything = "".join(snippet for page in PAGES for snippet in snippets(page))
    assert [words for words in NOT_RUN if words not in everything] == []
