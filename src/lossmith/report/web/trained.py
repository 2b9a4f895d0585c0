"""How networks learned, epoch by epoch, and how they stand attacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossmith.analysis import Deciding, Masking, Robustness
from lossmith.markup import Child, Html, element, joined
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Curve, Findings
from lossmith.report.web.parts import chart, folded, known_only, number, short, table

Array = NDArray[np.float64]
COLORS = ("accent", "accent-2", "ink", "accent-3", "good", "muted")
# Of the attacks that are told in words, what each did.
NAMES = {
    "fgsm-loss": "FGSM, its own gradient",
    "fgsm": "FGSM, worst of three gradients",
    "pgd": "PGD, worst of three gradients",
    "worst": "all attacks",
}


def training_section(found: Findings) -> Section | None:
    """The curve by which each loss was tuned; None where there is none."""
    comparison, curves = found.comparison, found.curves
    if comparison is None or not curves:
        return None
    deciding = comparison.deciding
    length = max(len(curve.fitness) for curve in curves)
    heights = {curve.name: _heights(curve, length, deciding) for curve in curves}
    named = [name for name in (found.leading, comparison.best_baseline, "cross-entropy") if name is not None]
    colors = dict(zip(dict.fromkeys(named), COLORS, strict=False))
    # What stands out is drawn last.
    ordered = sorted(curves, key=lambda curve: curve.name in colors)
    low, high = _shown_heights(np.stack(list(heights.values())), deciding.higher_is_better)
    across = {"label": "epoch", "name": "epoch", "values": list(range(1, length + 1)), "whole": True}
    digits = 1 if deciding.share else 4
    upward = {"label": f"validation {deciding.name}", "unit": deciding.unit, "digits": digits, "min": low, "max": high}
    lines = [
        {
            "name": short(curve.name),
            "values": known_only(heights[curve.name]),
            "color": colors.get(curve.name, "faint"),
            "width": 2 if curve.name in colors else 1,
            "faint": curve.name not in colors,
        }
        for curve in ordered
    ]
    specs = {
        "curves": {
            "label": f"Validation {deciding.name} after each epoch of tuning",
            "height": 340,
            "x": {**across, "min": 1, "max": max(2, length)},
            "y": upward,
            "lines": lines,
        }
    }
    count = max(curve.networks for curve in curves)
    text = (
        f"The setting of each loss in tuning, mean of up to {count} networks; other losses are gray. The final "
        "networks stop after the number of epochs that was best here."
    )
    rows = [_row(curve, heights[curve.name], deciding) for curve in reversed(ordered)]
    values = table(f"Validation {deciding.name}", ["loss", "#epochs", "#stops after", "#best", "#last"], rows)
    body = joined([element("p", text), chart("curves", values=values)])
    return Section("training", "Training", body, script="lossmith.charts(root, data);", data=specs)


def _heights(curve: Curve, length: int, deciding: Deciding) -> Array:
    """A curve in the unit of its figure, NaN where it is unknown or over."""
    found = np.full(length, np.nan)
    found[: len(curve.fitness)] = [np.nan if value is None else value for value in curve.fitness]
    shown: Array = deciding.shown(found)
    return shown


def _shown_heights(heights: Array, higher_is_better: bool) -> tuple[float, float]:
    """What of some curves is shown: the first epochs would press together what matters."""
    late = heights[:, heights.shape[1] // 3 :]
    known, ends = heights[np.isfinite(heights)], late[np.isfinite(late)]
    if not len(known):
        return 0.0, 1.0
    ends = ends if len(ends) else known
    best = float(known.max() if higher_is_better else known.min())
    other = best - 1.6 * (best - float(np.quantile(ends, 0.02 if higher_is_better else 0.98)))
    room = 0.05 * abs(best - other) or 0.1
    return min(best, other) - room, max(best, other) + room


def _row(curve: Curve, heights: Array, deciding: Deciding) -> list[Child]:
    known = heights[np.isfinite(heights)]
    best = float(known.max() if deciding.higher_is_better else known.min()) if len(known) else None
    digits = 1 if deciding.share else 4
    figures = [number(value, digits) + deciding.unit * (value is not None) for value in (best, _last(heights, curve))]
    return [short(curve.name), str(len(curve.fitness)), "–" if curve.stop is None else str(curve.stop), *figures]


def _last(heights: Array, curve: Curve) -> float | None:
    last = float(heights[len(curve.fitness) - 1])
    return last if np.isfinite(last) else None


def robustness_section(found: Findings) -> Section | None:
    """Accuracy under attack, never without what speaks for gradient masking; None where no attack was kept."""
    results = found.attacks
    if not results:
        return None
    epsilons = results[0].epsilons
    results = [result for result in results if result.epsilons == epsilons]
    names = [name for name in NAMES if all(name in result.accuracy for result in results)]
    samples = results[0].samples
    text = (
        f"Test accuracy under attack, mean of {len(results[0].clean)} networks of each loss; an image counts where it "
        "is classified rightly before and after the attack."
    )
    content: list[Child] = [element("p", text)]
    specs = {}
    if len(epsilons) > 1 and "worst" in names:
        specs["attacks"] = {
            "label": "Accuracy under all attacks by strength",
            "height": 300,
            "x": {"label": "strength ε, as a share of the range of pixels", "name": "ε =", "values": list(epsilons)},
            "y": {"label": "test accuracy under all attacks", "unit": " %", "digits": 1, "min": 0, "max": 100},
            "lines": [
                {
                    "name": short(result.name),
                    "values": known_only(result.accuracy["worst"].mean(1), 100),
                    "color": COLORS[place % len(COLORS)],
                    "dash": any(one.signs() for one in result.masking),
                }
                for place, result in enumerate(_ordered(results, found))
            ],
        }
        content.append(chart("attacks", "Dashed: with signs of gradient masking, so the true figure may be far lower."))
    content += [element("h3", "Is it real?"), element("ul", [_signs(result) for result in results])]
    missing = sorted({name for result in results for one in result.masking for name in one.missing()})
    if missing:
        content.append(element("p", f"Not run, so masking can stay unseen: {', '.join(missing)}.", class_="note"))
    lost = sum(int(result.diverged.sum()) for result in results)
    if lost:
        content.append(element("p", f"{lost} networks diverged and count as wrong.", class_="note"))
    rows: list[list[Child]] = [
        [short(result.name), f"{epsilon:g}", *(f"{100 * result.accuracy[name][place].mean():.1f} %" for name in names)]
        for result in results
        for place, epsilon in enumerate(epsilons)
    ]
    counted = ", ".join(f"{NAMES[name]}: {samples[name]}" for name in names if name in samples)
    content.append(
        folded(
            "Figures of each attack",
            table(f"Images: {counted}", ["loss", "#ε", *(f"#{NAMES[name]}" for name in names)], rows),
        )
    )
    again = element("code", f"lossmith attack cross-entropy {found.best}")
    content.append(element("p", "More attacks: ", again, class_="note"))
    return Section(
        "robustness",
        "Robustness",
        joined(content),
        script="lossmith.charts(root, data);" * bool(specs),
        data=specs or None,
    )


def _ordered(results: Sequence[Robustness], found: Findings) -> list[Robustness]:
    """The winner first, which has the same color everywhere on the page; else the last one."""
    winner = None if found.winner is None else found.winner.name
    first = next((result for result in results if result.name == winner), results[-1])
    return [first, *(result for result in results if result is not first)]


def _signs(result: Robustness) -> Html:
    """The signs of masking of a loss, with the strengths at which there is one."""
    found: dict[str, list[str]] = {}
    for epsilon, masking in zip(result.epsilons, result.masking, strict=True):
        for sign in masking.signs() if epsilon else []:
            found.setdefault(sign, []).append(f"{epsilon:g}")
    if not found:
        looked = any(_looked(one) for one in result.masking)
        said = "no sign of gradient masking" if looked else "nothing was run that could show gradient masking"
        return element("li", f"{short(result.name)}: ", element("span", said, class_="fine" if looked else None))
    texts = [f"{sign} (ε = {', '.join(where)})" for sign, where in found.items()]
    return element(
        "li",
        f"{short(result.name)}: ",
        element("span", f"signs of gradient masking: {'; '.join(texts)}", class_="sign"),
    )


def _looked(masking: Masking) -> bool:
    return len(masking.missing()) < 3
