"""How Sphinx makes the site; `make docs` calls it. Nothing is fetched from a network, then or by a reader."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from sphinx.errors import ExtensionError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tools"))
# A script of the gallery trains on one core as everybody's does.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from docsite import commands, examples, links, mathml, names, pictures, reference  # noqa: E402

import lossmith  # noqa: E402
from lossmith.cli import COMMANDS  # noqa: E402

project = "lossmith"
version = release = installed("lossmith")
root_doc = "index"
language = "en"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*HEADER.rst"]
suppress_warnings = ["config.cache"]
# Docstrings write code between single backticks, too.
default_role = "code"
# Two hyphens begin a flag.
smartquotes = False

html_theme = "furo"
html_title = f"lossmith {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# The explorer, which is a page of its own.
EXTRA = HERE / "_build" / "extra"
html_extra_path = [str(EXTRA)]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_math_renderer = "mathml"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_use_rtype = False
napoleon_use_ivar = True
# No other site is asked where its names are described; and what a package does not export is described nowhere.
nitpick_ignore_regex = [(r"py:.*", r"(?!lossmith).*"), (r"py:.*", r"lossmith(\.[a-z_]+){2,}.*|lossmith\.registry\..*")]

STAGED = HERE / "_build" / "examples"
sphinx_gallery_conf = {
    "examples_dirs": [str(HERE / "gallery"), str(STAGED)],
    "gallery_dirs": ["pictures", "examples"],
    # What is run: all but some of the examples.
    "filename_pattern": rf"/(?!({'|'.join(examples.SHOWN)})$)[^/]+\.py$",
    "image_scrapers": (pictures.Scraper(),),
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": (),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "copyfile_regex": r"never",
    "backreferences_dir": None,
    "abort_on_example_error": True,
}
EXTRA.mkdir(parents=True, exist_ok=True)
examples.write(ROOT / "examples", HERE / "gallery" / "EXAMPLES_HEADER.rst", STAGED)

repository = links.Repository(ROOT)
written = set(repository.written())
inline = names.Names(reference.all_described(), COMMANDS, ROOT / "tests")


def write_pages(app):
    """Write the pages that stand in no file of the repository."""
    linked = repository.pages(inline.linked)
    lossmith.explore(["gce:0.7", "focal:2", "cross-entropy"], EXTRA / "explorer.html")
    links.write(HERE, {**linked, **reference.pages(), **commands.pages()})


def read_page(app, docname, content):
    """Give the links of a page for the site."""
    page = f"docs/{docname}.md"
    if page in written:
        content[0] = repository.changed(page, inline.linked(page, content[0]))


def escape_bars(app, what, name, value, options, lines):
    """Let no docstring speak reStructuredText by a bar."""
    lines[:] = [reference.without_substitutions(line) for line in lines]


def visit_math(self, node):
    """Write an equation of a line."""
    self.body.append(f'<span class="math">{_markup(node, False)}</span>')
    raise nodes.SkipNode


def visit_displaymath(self, node):
    """Write an equation that stands alone."""
    self.body.append(f'<div class="math block">{_markup(node, True)}</div>\n')
    raise nodes.SkipNode


def _markup(node, block):
    try:
        return mathml.mathml(node.astext(), block)
    except MathError as error:
        raise ExtensionError(f"{node.source}:{node.line}: the equation {node.astext()!r}: {error}") from None


def setup(app):
    """Register all of it."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("builder-inited", write_pages, priority=100)
    app.connect("source-read", read_page)
    app.connect("autodoc-process-docstring", escape_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
