"""Which pictures belong to a study, a comparison, a trace or an explanation, and where they are written."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lossmith.analysis import Comparison, Distillation, Trace
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy, find, load
from lossmith.report.attacks import plot_pareto
from lossmith.report.curves import attraction_curve, loss_shape, rule_curve, search_history
from lossmith.report.distillation import plot_distillation
from lossmith.report.figures import (
    checked_kind,
    plot_comparison,
    plot_formulas,
    plot_history,
    plot_losses,
    save_figure,
    save_figures,
)
from lossmith.report.formulas import formulas_of
from lossmith.report.theory import plot_explanation, plot_figure3, plot_trace

LOG = logging.getLogger("lossmith")
LARGEST_FIGURE = 1e100
SEVERAL = (2, 3, 10, 100)
PAPER = (("cross-entropy", SEVERAL), ("paper/allcnnc", (10,)), ("mse", SEVERAL), ("baikal", (10,)))


def draw_search(directory: Path, kinds: Sequence[str] = ("png",)) -> list[Path]:
    """Draw the history of an ended search, the winner beside cross-entropy, and the front where there is one.

    Args:
        directory: The study's directory; the pictures go to figures/ in it.
        kinds: "png", "svg", "pdf".

    Raises:
        InputError: if there is no study that has ended, or a picture cannot be written.
    """
    # Explaining losses draws, too, and must not wait for what reads studies.
    from lossmith.study import Store, has_pareto, judged_by, read_pareto, rejected_by_generation

    with Store(directory, readonly=True) as store:
        candidates = store.candidates()
        history = search_history(candidates, store.finalists("final"))
        data, by = store.setting("data"), judged_by(store)
        formulas = formulas_of(store.setting("settings"), candidates, rejected_by_generation(store))
    if data is None or not (directory / "best.json").exists():
        raise InputError(
            f"{directory} holds no study that has ended; run lossmith evolve --out {quote(str(directory))} first"
        )
    # Of one that changes during the training, its beginning and its end.
    winner = load(directory / "best.json").moments()
    shapes = [loss_shape(loss, data["classes"]) for loss in (cross_entropy(), *winner[:1], *winner[1:][-1:])]
    drawn: dict[str, Figure] = {}
    if _fit_in_a_picture("history", history.best, history.mean, history.low, [value for _, value in history.lines]):
        drawn["history"] = plot_history(history, by)
    drawn["loss"] = plot_losses(shapes)
    if formulas is not None:
        drawn["formulas"] = plot_formulas(formulas, by)
    if has_pareto(directory):
        found = read_pareto(directory)
        best = [tuple(row["figures"][name] for name in found["figures"]) for row in found["front"]]
        finalists = found["finalists"]
        if _fit_in_a_picture("front", found["candidates"], best, list(finalists.values())):
            drawn["pareto"] = plot_pareto(found["candidates"], best, finalists, found["figures"], by)
    paths = [directory / "figures" / f"{name}.{kind}" for name in drawn for kind in kinds]
    for path in paths:
        save_figure(drawn[path.stem], path)
    return paths


def _fit_in_a_picture(what: str, *figures: ArrayLike) -> bool:
    """Whether matplotlib can draw some figures, some of which may be unknown; if not, that is told."""
    fits = all(not np.any(np.abs(np.asarray(some, float)) > LARGEST_FIGURE) for some in figures)
    if not fits:
        LOG.warning("the %s is not drawn: a figure of it is beyond %g", what, LARGEST_FIGURE)
    return fits


def draw_comparison(comparison: Comparison, directory: Path, kinds: Sequence[str] = ("png",)) -> list[Path]:
    """Draw a comparison to figures/ in a directory.

    Raises:
        InputError: if the picture cannot be written.
    """
    return _drawn(partial(plot_comparison, comparison), directory, "comparison", kinds)


def draw_distillation(found: Distillation, directory: Path, kinds: Sequence[str] = ("png",)) -> list[Path]:
    """Draw a distillation to figures/ in a directory.

    Raises:
        InputError: if the picture cannot be written.
    """
    return _drawn(partial(plot_distillation, found), directory, "distillation", kinds)


def _drawn(plot: Callable[[], Figure], directory: Path, name: str, kinds: Sequence[str]) -> list[Path]:
    paths = [directory / "figures" / f"{name}.{kind}" for kind in kinds]
    for path in paths:
        save_figure(plot(), path)
    return paths


def draw_trace(trace: Trace, names: Sequence[str], paths: Sequence[Path]) -> None:
    """Draw a trace of some losses to files.

    Raises:
        InputError: if a picture cannot be written.
    """
    save_figures({path: plot_trace(trace, names) for path in paths})


def draw_explained(
    losses: Sequence[tuple[Loss, int]], count: int, page: Path | None, figure3: Path | None, classes: Sequence[int] = ()
) -> list[Path]:
    """Draw losses to two files, both or none: attraction, learning rule, loss and gradient, and figure 3.

    Args:
        losses: Losses with their numbers of classes, all losses for one number after the other.
        count: How many losses there are for each number; without any, figure 3 has those of the paper.
        page: Where attraction, learning rule, loss and gradient go.
        figure3: Where figure 3 goes: attraction as published and exact, a panel for each loss.
        classes: Numbers of classes for the losses of the paper, if not its own.

    Returns:
        The files.

    Raises:
        InputError: if a file has another ending than pictures have, or cannot be written.
    """
    wanted = [path for path in (page, figure3) if path is not None]
    for path in wanted:
        checked_kind(path)
    drawn: dict[Path, Figure] = {}
    if page is not None:
        curves = [attraction_curve(loss, n) for loss, n in losses]
        rules = [rule_curve(loss, n) for loss, n in losses]
        drawn[page] = plot_explanation(curves, rules, [loss_shape(loss, n) for loss, n in losses])
    if figure3 is not None:
        if count:
            panels = [[attraction_curve(loss, n) for loss, n in losses[number::count]] for number in range(count)]
        else:
            panels = [[attraction_curve(find(name, n), n) for n in classes or several] for name, several in PAPER]
        drawn[figure3] = plot_figure3(panels)
    save_figures(drawn)
    return wanted
