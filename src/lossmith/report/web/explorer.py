"""A page on which losses can be changed by sliders while their curves follow, computed in the browser."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossmith.errors import InputError, printable
from lossmith.io import write_whole
from lossmith.losses import CATALOG, KINDS, Loss, Named
from lossmith.report.web.document import Section, asset, document
from lossmith.report.words import plain_words
from lossmith.theory import Form, attraction, explain, logit_steps, margin, symmetric_values

# The kinds and operators that losses.js computes; a test asks it for them.
COMPUTED = frozenset(
    {
        *("power", "shifted-power", "flipped-power", "fractional-focal", "jensen-shannon", "expression", "sum"),
        *("normalized", "sharpened", "normalized-negative", "clipped"),
    }
)
OPERATORS = frozenset({"+", "-", "*", "/", "neg", "log", "square", "sqrt", "exp", "tanh"})
SCRIPTS = ("losses.js", "documents.js", "smoothing.js", "words.js", "explorer.js")
# Where the page draws curves: as in explorer.js.
POINTS, FIRST, LAST = 250, 0.002, 0.998
LARGEST = 1e100
LONGEST_TITLE = 70
# Of a page that is the explorer alone.
WIDEST = "79rem"
TITLE = "What a loss does"
SUMMARY = (
    "<p>The curves show what the loss does to a sample whose label has the output "
    "<i>h<sub>T</sub></i>, and whose other classes share the rest. Everything is computed on this page.</p>"
)


def explorer(losses: Sequence[Loss] = (), classes: int = 10) -> Section:
    """The explorer: sliders for the numbers of a loss, and what it does with them.

    The losses of the catalog can be chosen besides, and loss files be opened. A loss of a kind that the page cannot
    compute is shown as it is, by curves that are computed here.

    Args:
        losses: What is shown at first, and can be chosen; one that changes during the training is shown at each of its
            moments.
        classes: n at first.

    Raises:
        InputError: for a population, or a loss that is made for another number of classes.
    """
    given = [_given(moment, classes) for loss in losses for moment in loss.moments()]
    named = []
    for name, entry in CATALOG.items():
        loss = entry.build(None, classes)
        if not _is_computed(loss.to_json()):
            given.append(_given(loss.named(name), classes))
            continue
        parameters = [{"symbol": one.symbol, "default": one.default} for one in entry.parameters]
        words = {"name": name, "title": _title(entry), "formula": entry.formula, "source": entry.source}
        named.append({**words, "parameters": parameters, "document": loss.to_json()})
    return Section(
        name="explorer",
        title="Explorer",
        html=asset("explorer.html"),
        styles=asset("explorer.css"),
        script="\n".join(map(asset, SCRIPTS)),
        data={"classes": classes, "given": given, "named": named},
    )


def write_explorer(losses: Sequence[Loss], path: str | os.PathLike[str], classes: int = 10) -> Path:
    """Write a page that is the explorer alone: one file that loads nothing.

    Args:
        losses: As in :func:`explorer`.
        path: The file, which ends in .html; an existing one is replaced.
        classes: n at first.

    Returns:
        The file.

    Raises:
        InputError: as :func:`explorer`, or if the file cannot be written or has another ending.
    """
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{place} is to be a page of HTML; give it a name that ends in .html")
    section = explorer(losses, classes)
    alone = replace(section, styles=f"{section.styles}\nbody {{ max-width: {WIDEST}; }}\n")
    page = document(TITLE, [alone], summary=SUMMARY)
    write_whole(page.encode(), place)
    return place


def _given(loss: Loss, classes: int) -> dict[str, Any]:
    """A loss of the user: its document where the page can compute it, and its curves where it cannot."""
    if loss.shape:
        raise InputError(f"{loss.name!r} is a population, and the explorer shows one loss at a time; index a member")
    loss.check_classes(classes)
    loss = loss.simplest()
    known = loss.kind in KINDS and KINDS[loss.kind] is type(loss)
    kept = loss.to_json() if known else None
    given: dict[str, Any] = {"name": printable(loss.name), "formula": printable(loss.formula())}
    curves = _curves(loss, classes)
    if kept is not None and _is_computed(kept):
        # A file of it would be read with the same limits.
        Loss.from_json(kept)
        return {**given, "document": kept}
    code = "" if kept is None else f"import lossmith\n\nloss = lossmith.Loss.from_json({kept!a})\n"
    return {**given, "document": None, "python": code, "samples": {**curves, **_told(loss, classes)}}


def _is_computed(part: Any) -> bool:
    """Whether the page can compute a loss, by its document: every kind and every operator in it."""
    if isinstance(part, list):
        return all(map(_is_computed, part))
    if not isinstance(part, dict):
        return True
    # Version 1 of documents, of sums of powers, does not name the kind.
    if part.get("format") and part.get("kind", "power") not in COMPUTED:
        return False
    if part.get("kind") == "expression" and not _operators(part["tree"]) <= OPERATORS:
        return False
    return all(map(_is_computed, part.values()))


def _operators(tree: Any) -> set[str]:
    """The operators of a formula."""
    return {tree[0]}.union(*map(_operators, tree[1:])) if isinstance(tree, list) else set()


def _curves(loss: Loss, classes: int) -> dict[str, Any]:
    """The curves of a loss as explorer.js computes them.

    Raises:
        InputError: if they are so large that nobody can draw them.
    """
    output = torch.linspace(FIRST, LAST, POINTS, dtype=torch.float64)
    start = torch.tensor([1 / classes], dtype=torch.float64)
    value = symmetric_values(loss, 1 - torch.cat([start, output]), classes)
    pull = logit_steps(loss, 1 - output, classes)[1]
    curves: dict[str, Tensor] = {
        **{form: attraction(loss, 1 - output, classes, form) for form in _forms(loss)},
        "value": value[1:] - value[0],
        "pull": pull,
        "rule": pull / (output * (1 - output)),
        "margin": margin(loss, classes),
    }
    if not all(bool((curve.abs() < LARGEST).all()) for curve in curves.values()):
        raise InputError(f"the loss {loss.name!r} cannot be drawn, since its numbers are too large; divide it")
    return {"published": None, "output": output.tolist(), **{name: curve.tolist() for name, curve in curves.items()}}


def _told(loss: Loss, classes: int) -> dict[str, Any]:
    """Where a loss pulls and where it pushes, and what it does in words."""
    page = explain(loss, classes)
    found = {form: [zone._asdict() for zone in zones] for form, zones in page.zones.items()}
    return {"classes": classes, "zones": found, "words": plain_words(loss, page)}


def _title(entry: Named) -> str:
    """The full name of a loss, with which the docstring of its function begins; nothing where it has none."""
    first = (entry.function.__doc__ or "").partition("\n")[0]
    title = re.split(r", ``|, by |[;(]| about |\.$", first)[0].strip()
    return printable(title) if len(title) <= LONGEST_TITLE else ""


def _forms(loss: Loss) -> tuple[Form, ...]:
    return ("exact", "published") if loss.sums_over_classes else ("exact",)
