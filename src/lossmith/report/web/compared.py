"""The comparison: every network of every loss, the tests, and how well the networks know what they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lossmith.analysis import Comparison, Pair, Row
from lossmith.losses import Loss
from lossmith.markup import Child, Html, element, joined
from lossmith.metrics import known
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Findings
from lossmith.report.web.parts import (
    Scale,
    difference_text,
    digits_of,
    figure_text,
    folded,
    number,
    short,
    signed,
    strip,
    table,
)

# Dots of one row are moved apart by the golden ratio, so that no two neighbors lie on each other.
GOLDEN, LARGEST_DOTS = 0.6180339887, 200
# A calibration error is told of where it is this many times that of cross-entropy, and at least that large.
FAR_TIMES, FAR_ERROR = 2.0, 0.05


def comparison_section(found: Findings) -> Section | None:
    """Every loss tuned alike; a line where nothing is compared yet."""
    comparison = found.comparison
    if comparison is None:
        if found.winner is None:
            return None
        words = joined(
            [
                "Not compared yet. This tunes the evolved loss and known ones alike, and tests them on test data: ",
                element("code", f"lossmith compare {found.best}"),
            ]
        )
        return Section("comparison", "Comparison", element("p", words))
    deciding = comparison.deciding
    # A training function knows the length of its training itself, and may take no learning rate.
    has_rate = any(row.lr is not None for row in comparison.rows)
    has_length = any(row.stop is not None for row in comparison.rows)
    tuned = ["learning rate"] * has_rate + ["number of epochs"] * has_length + ["and the numbers of known losses"]
    text = (
        f"Every loss is tuned alike on validation data: {', '.join(tuned)}. Each dot is a network, the line their "
        f"mean. The best {deciding.name} on validation data stands first."
    )
    content: list[Child] = [element("p", text), _strips(comparison)]
    if comparison.guess is not None:
        content.append(element("p", comparison.without_learning, class_="note"))
    content += [folded("Figures of each loss", _worth(comparison)), folded("Tests", *_tests(comparison))]
    content.append(folded("Formulas of the losses", _formulas(comparison)))
    return Section("comparison", "Comparison", joined(content))


def _strips(comparison: Comparison) -> Html:
    deciding, column = comparison.deciding, comparison.deciding.column("test")
    unit = 100 if deciding.share else 1
    measured = {row.name: unit * known(np.array(row.column(column), float)) for row in comparison.rows}
    shown = [values for values in measured.values() if len(values)]
    if not shown:
        return element("p", "No network has a finite figure.", class_="note")
    scale = _scale(shown, deciding.higher_is_better, deciding.share)
    best = measured[comparison.best_baseline]
    guide = [] if not len(best) else [_upright(scale, float(best.mean()), "best", "0%", "100%")]
    rows = []
    for row in comparison.rows:
        values = measured[row.name]
        mean = float(values.mean()) if len(values) else None
        label = _spoken(row, values, deciding.unit)
        marks = [*scale.guides(), *guide, *_dots(row, values, scale, digits_of(deciding), deciding.unit)]
        what = [short(row.name), element("small", row.setting)]
        text = number(mean, digits_of(deciding)) + ("" if mean is None else deciding.unit)
        rows.append(strip(what, marks, text, ours=not row.baseline, label=label))
    title = f"{comparison.tested_on} {deciding.name}" + (" in %" if deciding.share else "")
    legend = element(
        "p",
        f"Dashed: the mean of {short(comparison.best_baseline)}, the known loss that was best on validation data."
        + _beyond(measured, scale),
        class_="note",
    )
    return joined([element("div", rows, scale.axis("", title), class_="strips"), legend])


def _beyond(measured: Mapping[str, np.ndarray], scale: Scale) -> str:
    """Which losses have networks that stand on the edge, since they are beyond the scale."""
    counts = {short(name): int(((one < scale.low) | (one > scale.high)).sum()) for name, one in measured.items()}
    said = [f"{count} of {name}" for name, count in counts.items() if count]
    return f" On the edge, since they lie beyond the scale: {', '.join(said)}." if said else ""


def _scale(shown: Sequence[np.ndarray], higher_is_better: bool, share: bool) -> Scale:
    """From the worst mean but for outliers to the best network; what lies beyond stands on the edge."""
    means = np.array([values.mean() for values in shown])
    spread = max(float(np.median([values.std() for values in shown])), 1e-9)
    low, high = min(float(values.min()) for values in shown), max(float(values.max()) for values in shown)
    middle = float(np.median(means))
    if higher_is_better:
        low = max(low, min(float(np.quantile(means, 0.1)), middle) - 6 * spread - 0.5 * (high - middle))
    else:
        high = min(high, max(float(np.quantile(means, 0.9)), middle) + 6 * spread + 0.5 * (middle - low))
    room = 0.04 * (high - low)
    return Scale(low - room, min(high + room, 100.0) if share and high <= 100 else high + room)


def _dots(row: Row, values: np.ndarray, scale: Scale, digits: int, unit: str) -> list[Html]:
    """The networks of a loss, with mean and standard deviation."""
    found = [
        element(
            "circle",
            cx=scale.at(float(value)),
            cy=f"{50 + 56 * ((place * GOLDEN) % 1 - 0.5):.0f}%",
            r=3,
            data_tip=f"{short(row.name)}\nnetwork {place + 1}: {number(float(value), digits)}{unit}",
        )
        for place, value in enumerate(values[:LARGEST_DOTS].tolist())
    ]
    if len(values):
        found.append(_upright(scale, float(values.mean()), "mean", "8%", "92%"))
    return found


def _upright(scale: Scale, value: float, kind: str, top: str, bottom: str) -> Html:
    return element("line", x1=scale.at(value), x2=scale.at(value), y1=top, y2=bottom, class_=kind)


def _spoken(row: Row, values: np.ndarray, unit: str) -> str:
    if not len(values):
        return f"{row.name}: no network has a finite figure"
    return (
        f"{row.name}: mean {values.mean():.4g}{unit}, {values.min():.4g} to {values.max():.4g}, {len(values)} networks"
    )


def _worth(comparison: Comparison) -> Html:
    deciding = comparison.deciding
    validation, test = deciding.column("validation"), deciding.column("test")
    has_accuracy = deciding.name != "accuracy" and all("test" in run for row in comparison.rows for run in row.runs)
    # What matters first: on a narrow page the rest is out of sight.
    head = ["loss", f"#{comparison.tested_on}", *["#test accuracy"] * has_accuracy]
    head += ["#validation", "tuned to", "#settings tried"]
    rows: list[list[Child]] = []
    for row in comparison.rows:
        cells: list[Child] = [
            short(row.name),
            _with_spread(row, test, comparison),
            *([figure_text(row.mean("test"), deciding)] if has_accuracy else []),
            figure_text(row.mean(validation), deciding),
            row.setting or "–",
            str(row.tried),
        ]
        rows.append(cells)
    count = len(comparison.rows[0].runs)
    caption = (
        f"{deciding.name}, mean ± standard deviation of {count} networks with fresh seeds. More settings of a known "
        "loss are tried, since its own numbers are tuned, too"
    )
    ours = [place for place, row in enumerate(comparison.rows) if not row.baseline]
    return table(caption, head, rows, ours)


def _formulas(comparison: Comparison) -> Html:
    """What each loss is, with the numbers that it was tuned to."""
    rows: list[list[Child]] = [
        [short(row.name), element("code", Loss.from_json(row.loss).formula())] for row in comparison.rows
    ]
    caption = "L is the loss of a sample. A formula without L is φ(h, y): then L is the sum of −φ over all classes"
    if any("Σh²" in row.name for row in comparison.rows):
        caption += ". Σh² is the sum of the squared outputs h of all classes"
    return table(caption, ["loss", "formula"], rows)


def _with_spread(row: Row, column: str, comparison: Comparison) -> str:
    deciding = comparison.deciding
    mean = figure_text(row.mean(column), deciding)
    if len(row.runs) < 2 or mean == "–":
        return mean
    bare = mean.removesuffix("\u00a0%")
    return f"{bare} ± {number(row.std(column) * (100 if deciding.share else 1), digits_of(deciding))}"


def _tests(comparison: Comparison) -> list[Child]:
    deciding, points = comparison.deciding, " in points" if comparison.deciding.share else ""
    if not comparison.pairs:
        return [element("p", "There are none: a figure is not finite.", class_="note")]

    def cells(pair: Pair) -> list[Child]:
        result = pair.result
        size = signed(result.difference * (100 if deciding.share else 1), digits_of(deciding))
        return [
            f"{short(pair.first)} minus {short(pair.second)}",
            size,
            f"{pair.holm:.2g}",
            difference_text(result.low, result.high, deciding),
        ]

    given = {row.name for row in comparison.rows if not row.baseline}
    ordered = sorted(comparison.pairs, key=lambda pair: pair.first not in given)
    caption = (
        f"Differences of mean {comparison.tested_on} {deciding.name}{points}. p: how probable so large a difference is "
        f"by chance if the first is no better (one-tailed Welch test, Holm-corrected over all {len(ordered)} tests; "
        "the unit is a network). It asks only whether the first is better: where that is worse, p is near 1, even if "
        "the interval leaves out 0"
    )
    head = ["first minus second", "#mean", "#p", "#95 % interval"]
    return [
        table(
            caption, head, [cells(pair) for pair in ordered], [k for k, one in enumerate(ordered) if one.first in given]
        )
    ]


def calibration_section(found: Findings) -> Section | None:
    """Calibration error before and after scaling by a temperature; None where it was not measured."""
    comparison = found.comparison
    if comparison is None or not all("ece" in run for row in comparison.rows for run in row.runs):
        return None
    names = ("ece", "ece_scaled", "nll", "nll_scaled", "temperature")
    means = {row.name: {name: _mean(row, name) for name in names} for row in comparison.rows}
    errors = [100 * value for row in means.values() for value in (row["ece"], row["ece_scaled"]) if value is not None]
    if not errors:
        return None
    scale = Scale(0.0, 1.04 * max(errors))
    rows = []
    for row in sorted(comparison.rows, key=lambda row: (means[row.name]["ece"] is None, means[row.name]["ece"] or 0.0)):
        before, after = means[row.name]["ece"], means[row.name]["ece_scaled"]
        marks = scale.guides()
        if before is not None and after is not None:
            marks += _before_and_after(scale, 100 * before, 100 * after, short(row.name))
        text = "–" if before is None else f"{number(100 * before, 1)}\u00a0%"
        label = f"{row.name}: calibration error {text}, scaled {number(None if after is None else 100 * after, 1)} %"
        rows.append(strip(short(row.name), marks, text, ours=not row.baseline, label=label))
    wrong = comparison.wrong_labels
    told = (
        "How far the confidence of the networks is from their accuracy on test data (expected calibration error, ECE; "
        "less is better). Filled: as trained. Open: with all logits divided by one number, the temperature, that is "
        "best on validation data."
    )
    if wrong:
        told += f" Of these labels {100 * wrong:.0f} % are wrong, so here the temperature may do harm."
    warned = calibration_warning(found)
    cells: list[list[Child]] = [
        [short(row.name), *(number(means[row.name][name], 4 if name != "temperature" else 2) for name in names)]
        for row in comparison.rows
    ]
    head = ["loss", "#ECE", "#ECE, scaled", "#NLL", "#NLL, scaled", "#temperature"]
    ours = [place for place, row in enumerate(comparison.rows) if not row.baseline]
    values = table("Means over the networks that have a finite figure; NLL: negative log likelihood", head, cells, ours)
    chart = element("div", rows, scale.axis("", "calibration error in %"), class_="strips")
    content: list[Child] = [element("p", told), *([element("p", warned)] if warned else [])]
    return Section("calibration", "Calibration", joined([*content, chart, folded("The values as a table", values)]))


def calibration_warning(found: Findings) -> str:
    """What to do before the winner's outputs are read as probabilities; nothing where cross-entropy's are no better."""
    comparison, name = found.comparison, found.leading
    rows = {} if comparison is None else {row.name: row for row in comparison.rows}
    if comparison is None or name not in rows or "cross-entropy" not in rows:
        return ""
    measured = [all("ece" in run for run in rows[one].runs) for one in (name, "cross-entropy")]
    error, plain = (_mean(rows[one], "ece") for one in (name, "cross-entropy")) if all(measured) else (None, None)
    if error is None or plain is None or error <= max(FAR_TIMES * plain, FAR_ERROR):
        return ""
    whose = "the evolved loss" if found.winner is not None and found.evolved else short(name)
    right = " with right labels" if comparison.wrong_labels else ""
    return (
        f"Do not read the outputs of networks trained by {whose} as probabilities: their expected calibration error is "
        f"{number(100 * error, 1)}\u00a0%, with cross-entropy {number(100 * plain, 1)}\u00a0%. First divide their "
        f"logits by the temperature that lossmith.metrics.temperature(logits, targets) fits on validation data{right}."
    )


def _before_and_after(scale: Scale, before: float, after: float, name: str) -> list[Html]:
    line = element("line", x1=scale.at(before), x2=scale.at(after), y1="50%", y2="50%", class_="spread")
    tips = (f"{name}\nas trained: {number(before, 1)} %", f"{name}\nscaled: {number(after, 1)} %")
    return [
        line,
        element("circle", cx=scale.at(after), cy="50%", r=4, class_="open", data_tip=tips[1]),
        element("circle", cx=scale.at(before), cy="50%", r=4.5, class_="full", data_tip=tips[0]),
    ]


def _mean(row: Row, name: str) -> float | None:
    values = known(np.array(row.column(name), float))
    return float(values.mean()) if len(values) else None
