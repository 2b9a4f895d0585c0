"""What came out, in one sentence with its figure and interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossmith.analysis import QUICK, Comparison, Row
from lossmith.errors import printable
from lossmith.markup import Child, Html, element
from lossmith.report.web.compared import calibration_warning
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Findings
from lossmith.report.web.parts import (
    difference_text,
    digits_of,
    figure_text,
    number,
    short,
    signed,
)
from lossmith.study import data_line


@dataclass(frozen=True)
class Verdict:
    """A sentence with a figure in its middle.

    Args:
        before: What stands before the figure.
        figure: The figure; empty where there is none.
        after: What stands after it.
        grade: ``"good"``, ``"bad"``, or nothing.
    """

    before: str
    figure: str = ""
    after: str = ""
    grade: str = ""

    def __str__(self) -> str:
        """The whole sentence."""
        return f"{self.before}{self.figure}{self.after}"


def verdict(found: Findings) -> Verdict:
    """What a study has found, as far as it has come."""
    if found.comparison is not None and found.leading is not None:
        return _compared(found, found.comparison, found.leading)
    if found.comparison is not None:
        return _known_only(found.comparison)
    if found.winner is not None:
        return _searched(found)
    best = found.summary["best"]
    if best is None:
        return Verdict(f"The study has not ended: {printable(found.summary['state'])}.")
    return Verdict(
        f"The search has not ended ({printable(found.summary['state'])}); the {found.by.called} of its best "
        "candidate so far is ",
        figure_text(found.by.sign * best, found.by),
        ", the best of many noisy values.",
    )


def verdict_section(found: Findings) -> Section:
    """The verdict, its key figures, and what must be known of them."""
    one = verdict(found)
    lead = element(
        "p", one.before, element("b", one.figure, class_=one.grade or None) if one.figure else None, one.after
    )
    content: list[Child] = [Html(lead.replace("<p>", '<p class="lead">', 1))]
    content += [element("p", note, class_="note") for note in _notes(found)]
    if found.comparison is not None:
        content.append(_figures(found.comparison, found.leading if found.evolved else None, found.leading))
    return Section("verdict", "What came out", Html("".join(str(child) for child in content)))


def _searched(found: Findings) -> Verdict:
    """Of an ended search without a comparison: validation data only."""
    ahead = found.provenance.gain
    if not found.evolved:
        assert found.winner is not None
        return Verdict(f"The search found nothing better than a known loss; its result is {short(found.winner.name)}.")
    if ahead is None:
        return Verdict("The search has ended; no known loss was trained beside its winner.")
    scale, digits = (100 if found.by.share else 1), digits_of(found.by)
    unit = " points" if found.by.share else ""
    interval = ""
    if ahead.error is not None:
        bounds = difference_text(ahead.mean - 2 * ahead.error, ahead.mean + 2 * ahead.error, found.by)
        interval = f" ({bounds} within two standard errors)"
    what = found.by.name if found.by.name != "fitness" else "fitness"
    if ahead.mean <= 0:
        return Verdict(
            f"The search found nothing better than a known loss: the best of them, {short(ahead.known)}, does as well "
            "on validation data."
        )
    end = "." if ahead.clear else ": too little to tell them apart."
    return Verdict(
        "On the validation data that both were chosen on, the evolved loss is ",
        f"{signed(scale * ahead.mean, digits)}{unit}",
        f" ahead of the best known loss, {short(ahead.known)}, in {what}{interval}{end}",
        "good" if ahead.clear else "",
    )


def _compared(found: Findings, comparison: Comparison, name: str) -> Verdict:
    """Of a comparison: the winner beside the best baseline, or, if it is one, beside cross-entropy."""
    deciding, row = comparison.deciding, comparison.row(name)
    other = comparison.best_baseline
    if row.baseline or (found.winner is not None and not found.evolved):
        return Verdict(
            f"The search found nothing better than a known loss; its result is {short(_bare(name))}, whose "
            f"{comparison.tested_on} {deciding.name} is ",
            figure_text(_mean(row, comparison), deciding),
            f".{_tuned_further(comparison, row)}",
        )
    pair = comparison.pair(name, other)
    subject = "the evolved loss" if found.winner is not None else short(name)
    where = f"On {comparison.tested_on} data"
    if pair is None:
        return Verdict(
            f"{where}, the {deciding.name} of {subject} is ",
            figure_text(_mean(row, comparison), deciding),
            f"; there is no test against the best known loss, {short(other)}.",
        )
    test, sign = pair.result, deciding.sign
    better, worse = min(sign * test.low, sign * test.high) > 0, max(sign * test.low, sign * test.high) < 0
    scale, unit = (100, " points") if deciding.share else (1, "")
    size = number(abs(scale * test.difference), digits_of(deciding)) + unit
    bounds = f"95 % interval of the difference {difference_text(test.low, test.high, deciding)}"
    reach = f"{where}, the {deciding.name} of {subject} is {figure_text(_mean(row, comparison), deciding)}"
    than = f"the best known loss, {short(other)}, tuned alike ({bounds})"
    if better:
        return Verdict(f"{reach}, ", f"{size} better", f" than {than}.", "good")
    if worse:
        return Verdict(f"{reach}, ", f"{size} worse", f" than {than}: take that one.", "bad")
    return Verdict(
        f"{reach}: ",
        "no clear difference",
        f" from the best known loss, {short(other)}, tuned alike, with "
        f"{figure_text(_mean(comparison.row(other), comparison), deciding)} ({bounds}).{_plain(comparison, name)}",
    )


def _plain(comparison: Comparison, name: str) -> str:
    """What cross-entropy gets, where it is not the best known loss itself."""
    pair = comparison.pair(name, "cross-entropy")
    if pair is None or comparison.best_baseline == "cross-entropy":
        return ""
    figure = figure_text(_mean(comparison.row("cross-entropy"), comparison), comparison.deciding)
    bounds = difference_text(pair.result.low, pair.result.high, comparison.deciding)
    return f" Tuned cross-entropy gets {figure} (difference {bounds})."


def _tuned_further(comparison: Comparison, row: Row) -> str:
    """The known loss to take, where the comparison has tuned one better than the search did."""
    best, column = comparison.row(comparison.best_baseline), comparison.deciding.column("validation")
    if not comparison.deciding.sign * (best.mean(column) - row.mean(column)) > 0:
        return ""
    figure = figure_text(_mean(best, comparison), comparison.deciding)
    return (
        f" On validation data, {short(best.name)}, tuned further in the comparison, is better, and its "
        f"{comparison.tested_on} {comparison.deciding.name} is {figure}: take that one."
    )


def _bare(name: str) -> str:
    """A known loss that won stands in a comparison as the winner, beside itself with numbers that are tuned."""
    return name.removeprefix("the winner, ")


def _known_only(comparison: Comparison) -> Verdict:
    best = comparison.row(comparison.best_baseline)
    return Verdict(
        f"The best known loss on validation data is {short(best.name)}, whose {comparison.tested_on} "
        f"{comparison.deciding.name} is ",
        figure_text(_mean(best, comparison), comparison.deciding),
        "; the winner of the search is not in the comparison.",
    )


def _mean(row: Row, comparison: Comparison) -> float:
    return row.mean(comparison.deciding.column("test"))


def _notes(found: Findings) -> list[str]:
    notes = []
    data, comparison = found.summary["data"] or found.behind.get("data"), found.comparison
    if data:
        notes.append(data_line(data))
    if comparison is None:
        if found.winner is not None:
            notes.append(f"Not compared on test data yet: lossmith compare {found.best}")
        return notes
    pair = comparison.pair(found.leading, comparison.best_baseline) if found.leading is not None else None
    if found.winner is not None and found.evolved and pair is not None and pair.result.low <= 0 <= pair.result.high:
        notes.append("For all that this shows, the known loss is as good: take it, unless you have a reason not to.")
    warned = calibration_warning(found)
    if warned:
        notes.append(warned)
    if found.winner is not None and found.evolved:
        notes.append("This comes from one search; with another seed it may end at another loss.")
    if comparison.wrong_labels:
        notes.append("Wrong validation labels make validation figures low; the test labels are clean.")
    if comparison.tested_on != "test":
        notes.append(
            "There is no test data: losses were chosen by these same figures, which therefore flatter all of them."
        )
    if comparison.effort == "quick":
        notes.append(QUICK)
    if "(the winner is not in it)" in (found.summary["comparison"] or ""):
        notes.append("The comparison is older than the winner, which is not in it: run lossmith compare again.")
    return notes


def _figures(comparison: Comparison, evolved: str | None, leading: str | None) -> Html:
    """The losses that matter, with mean and standard deviation."""
    names = dict.fromkeys([*([leading] if leading else []), comparison.best_baseline, "cross-entropy"])
    deciding, column = comparison.deciding, comparison.deciding.column("test")
    scale = 100 if deciding.share else 1
    cells = []
    for name in names:
        row = next((row for row in comparison.rows if row.name == name), None)
        if row is None:
            continue
        spread = np.array(row.column(column), float).std(ddof=1) if len(row.runs) > 1 else np.nan
        role = "best known loss" if name == comparison.best_baseline and name != "cross-entropy" else ""
        role = "evolved" if name == evolved and not row.baseline else role
        label = short(name) if role in ("", short(name)) else f"{short(name)} ({role})"
        small = f"standard deviation {number(scale * float(spread), digits_of(deciding))}, {len(row.runs)} networks"
        cells.append(
            element(
                "div",
                element("dt", label),
                element("dd", figure_text(_mean(row, comparison), deciding), element("small", small)),
            )
        )
    return element("dl", cells, class_="figures", aria_label=f"{comparison.tested_on} {deciding.name}")
