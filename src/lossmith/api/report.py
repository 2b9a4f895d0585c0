"""``lossmith.api.report``: a study as one page."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from lossmith.errors import InputError, brief
from lossmith.report import report_beside, write_report

LOG = logging.getLogger("lossmith")


def report(directory: str | os.PathLike[str]) -> Path:
    """Write a study to ``report.html`` in its directory: one file that opens in a browser, without any network.

    It holds what the study holds so far; :func:`lossmith.evolve` and ``Result.compare`` write it, too. The module
    ``lossmith.report`` has that name already, so this is ``lossmith.api.report``.

    Args:
        directory: The study's.

    Returns:
        The file.

    Raises:
        InputError: if there is no study, something in it is damaged, or the file cannot be written.
    """
    try:
        place = Path(directory).expanduser()
    except (TypeError, RuntimeError):
        raise InputError(f"the directory is {brief(directory)}; give the path of a study") from None
    return write_report(place)


def tell_report(directory: Path) -> None:
    """Write the page after work that is done, and say where it is."""
    path = report_beside(directory)
    if path is not None:
        LOG.info("the report is %s", path)
