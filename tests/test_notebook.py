"""The example notebook runs from its first cell to its last, shows tables, and is the one on the documentation page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; `nox -s notebook` runs the notebook")
nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed; `nox -s notebook` renders it")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def code_of_page() -> list[str]:
    page = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    return [one.rstrip("\n") for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]


def test_the_page_shows_the_cells_of_the_notebook() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"] == code_of_page()
    assert len(code_of_page()) == 5
    assert not any(cell.get("outputs") for cell in cells)
    assert not any("client=" in code for code in code_of_page())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the notebook in a new kernel."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    return notebook


@pytest.mark.filterwarnings("default")  # the kernel's own packages give warnings
def test_every_cell_runs_and_its_page_has_tables_and_no_traceback(run: Any, tmp_path: Path) -> None:
    html, _ = nbconvert.HTMLExporter().from_notebook_node(run)
    (tmp_path / "notebook.html").write_text(html, encoding="utf-8")
    outputs = [output for cell in run.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    tables = [output for output in outputs if "<table" in str(output.get("data", {}).get("text/html", ""))]
    assert len(tables) >= 3  # a job, the board of the tracking, and the files
    assert html.count("<table") >= 3
    assert "Traceback" not in html
    assert "ResourceWarning" not in html
