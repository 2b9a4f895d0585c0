"""What a search has given: the loss, as a criterion, and its comparison with known losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from lossmith.analysis import Comparison
from lossmith.api.report import report, tell_report
from lossmith.cli import CompareProgress
from lossmith.errors import InputError
from lossmith.losses import Criterion, Loss
from lossmith.markup import Child, element, named_rows
from lossmith.metrics import higher_is_better
from lossmith.study import EVOLVED
from lossmith.training import Executor

Effort = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class Wanted:
    """What a comparison is asked for; None stands for what is usual.

    Args:
        losses: What is compared with the baselines, by the names that tables give them.
        baselines: Names of known losses.
        seeds: Fresh networks of each loss.
        effort: How much is trained for tuning.
        time_limit: How long it may take.
        executor: Runs the trainings.
        report: Called with the phase and the share of it that is done.
    """

    losses: Mapping[str, Loss]
    baselines: Sequence[str] | None
    seeds: int | None
    effort: Effort | None
    time_limit: float | str | None
    executor: Executor | str | None
    report: Callable[[str, float], None]


@dataclass(frozen=True, repr=False)
class Result:
    """The outcome of :func:`lossmith.evolve`.

    Attributes:
        directory: The study's directory, whose ``best.json`` holds the loss.
        loss: The winner.
        provenance: Where it comes from, as in ``best.json``.
        metric: What was maximized (or minimized).
    """

    directory: Path
    loss: Loss
    provenance: dict[str, Any]
    metric: str
    _compare: Callable[[Wanted], Comparison] = field(compare=False)
    _quiet: bool = field(default=False, compare=False)

    def criterion(self, **options: Any) -> Criterion:
        """The loss as a drop-in for ``torch.nn.CrossEntropyLoss``, with the class weights of the search.

        Args:
            options: Of :class:`lossmith.Criterion`: ``weight``, ``ignore_index``, ``reduction``, ``label_smoothing``.
        """
        weights = self.provenance.get("class_weight")
        given = {} if weights is None else {"weight": torch.tensor(weights)}
        return Criterion(self.loss, **{**given, **options})

    def compare(
        self,
        baselines: Sequence[str] | str | None = None,
        seeds: int | None = None,
        effort: Effort | None = None,
        *,
        time_limit: float | str | None = None,
        executor: Executor | str | None = None,
        quiet: bool | None = None,
    ) -> Comparison:
        """Compare the loss with known ones, all tuned alike on validation data, on test data; printed, it is a table.

        The raw runs are kept in the study's directory: called again, it trains nothing. A study of a training function
        is compared with that.

        Args:
            baselines: The known losses by name, ``["cross-entropy", "label-smoothing"]``; without it all, those of the
                effort ``"quick"``, or those that a study of a training function had to beat.
            seeds: Fresh networks of each loss: 10, or 5 by a training function.
            effort: How much is trained for tuning, ``"thorough"`` without it; a training function has one effort.
            time_limit: How long it may take, in seconds or as ``"30m"``: the largest effort up to that is made which is
                estimated to fit; by a training function, what does not fit is not begun.
            executor: Runs the trainings; this process without it.
            quiet: Whether nothing is told meanwhile; without it, as the search was.

        Raises:
            InputError: if an input cannot be used.
        """
        named = [baselines] if isinstance(baselines, str) else baselines
        if named is not None and not len(named):
            raise InputError("baselines is empty; name one, such as label-smoothing, or leave it out")
        hushed = self._quiet if quiet is None else quiet
        # A known loss that has won stands among the baselines under its own name.
        evolved = self.provenance["origin"]["kind"] in EVOLVED
        name = self.loss.name if evolved else f"the winner, {self.loss.name}"
        with CompareProgress(hushed) as bar:
            wanted = Wanted({name: self.loss}, named, seeds, effort, time_limit, executor, bar.report)
            comparison = self._compare(wanted)
            tell_report(self.directory)
        return comparison

    def report(self) -> Path:
        """Write the study to ``report.html`` in its directory, one page that needs no network; the file.

        Raises:
            InputError: if something in the study is damaged, or the file cannot be written.
        """
        return report(self.directory)

    def _repr_latex_(self) -> str | None:
        """The formula of the loss, where LaTeX can be written of it."""
        return self.loss._repr_latex_()

    def _repr_html_(self) -> str:
        """What was found, for a notebook."""
        rows: list[tuple[str, Child]] = [
            ("loss", self.loss.name),
            ("formula", element("code", self.loss.formula())),
            (f"validation {self.metric}", self._worth),
            ("directory", str(self.directory)),
        ]
        return named_rows("Result of a search", rows)

    @property
    def _worth(self) -> str:
        """Mean and standard deviation on validation data."""
        found = self.provenance["validation"]
        spread = "" if found["std"] is None else f" ± {found['std']:.4f}"
        # A search maximizes, so a metric of which less is better is turned round there.
        sign = 1 if higher_is_better(self.metric) else -1
        return ("" if found["mean"] is None else f"{sign * found['mean']:.4f}{spread}, ") + f"n = {found['n']}"

    def __repr__(self) -> str:
        """Directory, formula, and what it is worth on validation data."""
        known = self.provenance["validation"]["mean"] is not None
        figure = f"validation {self.metric} " if known else ""
        return f"Result({str(self.directory)!r}, {self.loss!r}, {figure}{self._worth})"
