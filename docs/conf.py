"""The site: ``sphinx-build -W docs docs/_build`` (extra ``docs``)."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import reference  # noqa: E402

import linpoison  # noqa: E402

project = "linpoison"
author = "the authors of linpoison"
release = version = linpoison.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "tutorials", "auto_*/*.ipynb", "auto_*/*.py"]
suppress_warnings = ["config.cache"]  # a sort key of sphinx-gallery is a function
html_theme = "pydata_sphinx_theme"
html_title = "linpoison"
html_theme_options = {
    "header_links_before_dropdown": 5,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_depth": 2,
}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_js_files = ["focus.js"]
html_show_sourcelink = False
smartquotes = False  # two hyphens begin an option

default_role = "py:obj"
autodoc_typehints = "none"
autosummary_generate = False
numpydoc_show_class_members = False
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "gallery"],
    "gallery_dirs": ["auto_tutorials", "auto_examples"],
    # those that end in _data read public data, and are shown without their output where there is none
    "filename_pattern": r"/plot_" if os.environ.get("LINPOISON_DATA") else r"/plot_(?!.*_data\.py)",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "plot_gallery": "True",
}


def setup(app: Sphinx) -> None:
    """Write what follows from the sources, before anything is read."""
    app.connect("builder-inited", write, priority=100)
    app.connect("autodoc-process-docstring", literal_bars)
    app.connect("autodoc-skip-member", of_scikit_learn)
    app.connect("missing-reference", reference.resolve)


def write(app: Sphinx) -> None:
    """The pages of the reference, the glossary and the changelog."""
    reference.write_pages(HERE / "api")
    reference.write_glossary(HERE / "glossary.md")


def literal_bars(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Norms as ``|x|`` are no substitutions of reStructuredText."""
    lines[:] = [reference.escaped(line) for line in lines]


def of_scikit_learn(app: Sphinx, what: str, name: str, item: Any, skip: bool, options: Any) -> bool | None:
    """Methods that scikit-learn makes for its routing of arguments are left out."""
    return True if re.fullmatch(r"set_\w+_request", name) else None
