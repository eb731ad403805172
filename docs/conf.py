"""Build the documentation: `python -m nox -s docs`."""

import importlib
import os
import pkgutil
import tomllib
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import up42_async

HERE: Final = Path(__file__).parent
PROJECT: Final[dict[str, Any]] = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "up42-async"
author = "The up42-async authors"
project_copyright = author
version = release = up42_async.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"]
exclude_patterns = ["llms.txt"]
nitpicky = True
highlight_language = "none"  # a block without a language is text, such as what a shell is given
default_role = "py:obj"  # docstrings write `Job.get`, which becomes a link where it can

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Links into the documentation of other projects, where it can be reached. Without, their names are plain text.
if os.environ.get("DOCS_INVENTORIES"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "anyio": ("https://anyio.readthedocs.io/en/stable", None),
        "attrs": ("https://www.attrs.org/en/stable", None),
        "pystac": ("https://pystac.readthedocs.io/en/stable", None),
    }

html_theme = "furo"
html_title = f"up42-async {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_extra_path = ["llms.txt"]
# The one place for the address of the repository is [project.urls] of pyproject.toml.
_repository = PROJECT.get("urls", {}).get("Repository")
html_theme_options = (
    {"source_repository": _repository, "source_branch": "main", "source_directory": "docs/"} if _repository else {}
)

RETURNED: Final = {"DownloadBatch", "EvaluationBatch", "ExecutionBatch", "JobTracker", "PipelineBatch", "StatusUpdates"}
"""Classes whose objects are returned by calls, and not made by users."""


def know_private_sources() -> None:
    """Let autodoc find docstrings of fields and values: they belong to public modules, where their source is not."""
    for public in ("up42_async", "up42_async.sandbox", "up42_async.sandbox.faults"):
        analyzer = ModuleAnalyzer.for_module(public)
        analyzer.analyze()
        folder = "up42_async.sandbox" if "sandbox" in public else "up42_async"
        for module in pkgutil.walk_packages(importlib.import_module(folder).__path__, f"{folder}."):
            if module.name.startswith(f"{folder}._") and not module.name.endswith("__main__"):
                private = ModuleAnalyzer.for_module(module.name)
                private.analyze()
                analyzer.attr_docs.update(private.attr_docs)
                analyzer.annotations.update(private.annotations)
                analyzer.tagorder.update(private.tagorder)


def hide_constructor(_: Sphinx, what: str, name: str, *__: Any) -> tuple[str, str] | None:
    """Show no arguments for a class that only calls of this library make."""
    return ("", "") if what == "class" and name.rpartition(".")[2] in RETURNED else None


def keep_colons(_: Sphinx, what: str, *given: Any) -> None:
    """Begin the docstring of a field with an empty comment: napoleon takes words before a colon for a type."""
    if what in {"attribute", "data", "property"}:
        given[-1][:0] = ["..", ""]


def show_code(*given: Any) -> None:
    """Show as code what stands indented below a paragraph, with an empty line between."""
    lines: list[str] = given[-1]
    for number in reversed(range(len(lines) - 2)):
        line, empty, code = lines[number : number + 3]
        if line and not line.startswith(" ") and not empty and code.startswith("    "):
            lines[number : number + 1] = [f"{line}:"] if line.endswith(":") else [line, "", "::"]


def find_elsewhere(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Element | None:
    """Link private paths of public names; show as plain text what is private, of another project, or no name at all.

    A missing public name stays an error.
    """
    target = str(node.get("reftarget", ""))
    name = target.rpartition(".")[2]
    if target.startswith("up42_async._") and hasattr(up42_async, name):
        link = (env, str(node["refdoc"]), app.builder, str(node["reftype"]), f"up42_async.{name}", node, text)
        return env.domains.python_domain.resolve_xref(*link)
    ours = target.startswith("up42_async.") or hasattr(up42_async, target.partition(".")[0])
    private = "._" in target
    return None if ours and not private and node.get("reftype") != "obj" else text


def setup(app: Sphinx) -> None:
    """Prepare autodoc."""
    know_private_sources()
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", show_code, priority=300)
    app.connect("missing-reference", find_elsewhere)
