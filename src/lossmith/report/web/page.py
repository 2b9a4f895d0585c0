"""A study as one page: ``report.html``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lossmith.code import described
from lossmith.errors import InputError, printable
from lossmith.io import write_whole
from lossmith.markup import element
from lossmith.report.web.attacked import robustness_section
from lossmith.report.web.compared import calibration_section, comparison_section
from lossmith.report.web.document import Section, document
from lossmith.report.web.evolved import loss_section, one_thread
from lossmith.report.web.explorer import explorer
from lossmith.report.web.findings import Findings, findings
from lossmith.report.web.searched import search_section
from lossmith.report.web.setup import downloads_section, setup_section
from lossmith.report.web.trained import training_section
from lossmith.report.web.verdict import verdict_section

LOG = logging.getLogger("lossmith")
FILE = "report.html"
WHAT = "lossmith searches for a loss function for a classifier, and tests it beside known ones."


def explorer_section(found: Findings) -> Section | None:
    """The explorer, which begins with the winner; None where nobody knows for how many classes."""
    if found.classes is None:
        return None
    try:
        return explorer([] if found.winner is None else [found.winner], found.classes)
    except InputError as error:
        # A page without it says more than none.
        LOG.warning("the explorer of the report begins without the winner: %s", error)
        return explorer([], found.classes)


# In the order of the page; each gives None where the study has nothing for it.
SECTIONS: Sequence[Callable[[Findings], Section | None]] = (
    verdict_section,
    loss_section,
    comparison_section,
    search_section,
    training_section,
    calibration_section,
    robustness_section,
    explorer_section,
    setup_section,
    downloads_section,
)


def report_page(directory: Path) -> str:
    """The page of a study, as far as it has come; it is read, and left as it is.

    Raises:
        InputError: if there is no study, or something in it is damaged.
    """
    return page_of(findings(directory))


def page_of(found: Findings) -> str:
    """The page of what was found."""
    # What is too large to be scaled is left out where it is shown.
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        sections = [section for make in SECTIONS if (section := make(found)) is not None]
    line = element("p", f"{WHAT} This study: {printable(found.summary['state'])}.")
    return document(f"lossmith report of {found.name}", sections, summary=line)


def write_report(directory: Path) -> Path:
    """Write the page of a study to ``report.html`` in its directory, whole or not at all.

    Raises:
        InputError: if there is no study, something in it is damaged, or the file cannot be written.
    """
    path = directory / FILE
    write_whole(report_page(directory).encode(), path)
    return path


def report_beside(directory: Path) -> Path | None:
    """The same after work that is done and stored: what the page lacks costs none of it, and is told."""
    try:
        return write_report(directory)
    except Exception as error:  # Whatever it is, the work is done, and must not end with an error of what shows it.
        why = error if isinstance(error, InputError) else described(error)
        LOG.warning("%s was not written: %s", directory / FILE, why)
        return None
