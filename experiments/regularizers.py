"""How evolved losses and the regularisers of the paper's §2.2 interact: one table for clean and for noisy labels.

    python experiments/regularizers.py experiments/small/regularizers-digits.toml results/regularizers/digits

Each search K has a split and label noise of its own, once clean and once with 40 % of the training and validation
labels replaced at random; test labels are clean. In each of these conditions a loss is evolved by the study file,
without any regulariser (the best candidate by its mean over fresh seeds; never cross-entropy or label smoothing). Then
cross-entropy and the evolved loss are trained with none and with each of: flooding, early stopping, dropout, weight
decay, label smoothing, mixup, and on images Cutout and CutMix.

- For every row, learning rate and strength are tuned on the validation split, by mean accuracy over a few seeds. Both
  losses are given the same grid: where the best place of one is at the edge, the next place is tried with both, so that
  they have equal budgets. Their best settings are trained again with fresh seeds, and the highest mean is taken.
- Then fresh networks of each are judged once on test data, after the last epoch (with early stopping: the best one).
- Flooding needs a level that means the same for every loss: a share of the way from the loss's lowest value to its
  value at equal outputs, over outputs that leave the same to each wrong class. For cross-entropy that is share · log n.
- Label smoothing of the evolved loss is its value at smoothed labels; with other strengths all is as usual.

Written down before the run. Each is told for clean and for noisy labels:

1. The evolved loss has a higher test accuracy than cross-entropy, both without a regulariser.
2. A regulariser helps cross-entropy; it helps the evolved loss.
3. The evolved loss, with the regulariser that is best for it on validation data (or none), has a higher test accuracy
   than cross-entropy with the one best for that (or none). Early stopping is left out of this choice, since its
   validation accuracy is the highest of many epochs on the samples that choose, the others' that of the last epoch;
   the first judgement of these runs had it in.
4. The interaction: what a regulariser adds to the evolved loss less what it adds to cross-entropy. Below 0 the two are
   in each other's place, above 0 they add to more than each alone. The paper only says that regularisers "often
   interact".

1 to 3 hold if the mean difference is above 0 in every search and one-tailed Welch p < 0.05 in two thirds of the
searches or more, corrected by Holm over all such tests of the program. An interaction is shown if two-tailed p < 0.05
(Welch's test of a difference of differences, corrected by Holm over all interactions) with the same sign in two thirds
of the searches or more. The unit of every p is a network of one search. Networks that diverged count as wrong on every
image. A row with a strength has more settings tried than a row without; that is what it means to tune a strength.

What is said of a claim that does not hold was changed after these runs were known: then "failed" was a mean difference
of 0 or below. Now the 95 % interval of the mean difference decides (t interval over the searches; of one search that of
its networks), with a margin of half a point of accuracy (0.005) for every claim and interaction: "no difference larger
than 0.5 points" if it lies within ± the margin, "failed" if it lies below the margin, so that a gain that matters is
excluded, and anything else is "not shown". An interaction may have either sign and cannot fail.

Stopped and run again, it goes on: every training is kept in the databases in ``--work``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evidence import HALF_A_POINT, LEVEL, NOT_SHOWN, Claim, Verdict, judge, markdown, percent, spread
from matplotlib.figure import Figure
from networks import BASELINE
from program import Plan, arguments, each, keep, processes, raw, tell, versions_line
from regularizers_runs import BY_NAME, NOISES, NONE, OURS, condition
from scipy import stats

from lossmith.io import read_json
from lossmith.metrics import Difference, welch
from lossmith.report import EVOLVED, PLAIN, styled

STOPPED = "early stopping"
Verdicts = dict[tuple[str, str], Verdict]


def interaction(ours: Sequence[Sequence[float]], base: Sequence[Sequence[float]]) -> Difference:
    """``(mean with − mean without)`` of the evolved loss less that of cross-entropy: Welch's interval, two-tailed p.

    The variance is the sum of the four of the means; degrees of freedom by Satterthwaite's formula.

    Args:
        ours: Figures of the evolved loss, with the regulariser and without.
        base: The same of cross-entropy.
    """
    samples = [np.asarray(values, dtype=float) for values in (*ours, *base)]
    means = [values.mean() for values in samples]
    difference = float(means[0] - means[1] - means[2] + means[3])
    parts = np.array([values.var(ddof=1) / len(values) for values in samples])
    error = float(np.sqrt(parts.sum()))
    if error == 0:
        return Difference(difference, difference, difference, float(difference == 0))
    freedom = parts.sum() ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, samples, strict=True))
    reach = float(stats.t.ppf(0.975, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Difference(difference, difference - reach, difference + reach, p)


def shown_of(differences: Sequence[float], corrected: Sequence[float]) -> str:
    """Of an interaction, by the rule of the head of this file."""
    pairs = list(zip(differences, corrected, strict=True))
    for sign, word in ((-1, "less together"), (1, "more together")):
        if 3 * sum(p < LEVEL and sign * value > 0 for value, p in pairs) >= 2 * len(pairs):
            return word
    return NOT_SHOWN


def figures(condition: str, row: str | None, loss: str) -> Callable[[Any], list[float]]:
    """Test accuracies of a loss in a row of the table, or in the row that is best for it on validation data."""

    def found(search: dict[str, Any]) -> list[float]:
        table = search[condition]["table"]
        scores: list[float] = table[best_of(table, loss) if row is None else row][loss]["test"]
        return scores

    return found


def best_of(table: dict[str, Any], loss: str) -> str:
    """The regulariser (or none) with the highest validation accuracy of a loss, over the fresh seeds of tuning.

    Early stopping is left out: its figure is the highest of many epochs, the others' that of the last one.
    """
    rows = [one for one in table if one != STOPPED]
    return max(rows, key=lambda one: max(float(np.mean(scores)) for *_, scores in table[one][loss]["again"]))


def helps(condition: str, loss: str, row: str) -> Claim:
    """That a regulariser helps a loss."""
    name, sentence = f"{loss} with {row} > {loss}", f"{row} helps {loss}, {condition} labels"
    with_it, without = (figures(condition, one, loss) for one in (row, NONE))
    return Claim(name, sentence, with_it, without, margin=HALF_A_POINT)


def crossed(condition: str, row: str) -> Claim:
    """What a regulariser adds to the evolved loss less what it adds to cross-entropy."""

    def pair(loss: str) -> Callable[[Any], list[list[float]]]:
        return lambda search: [figures(condition, one, loss)(search) for one in (row, NONE)]

    sentence = f"{row} adds something else to {OURS} than to {BASELINE}, {condition} labels"
    return Claim(row, sentence, pair(OURS), pair(BASELINE), shown_of, interaction, HALF_A_POINT, two_sided=True)


def ahead(condition: str, row: str | None) -> Claim:
    """That the evolved loss is better than cross-entropy, both in one row, or each in its best."""
    name, sentence = f"{OURS} > {BASELINE}", f"{OURS} is better than {BASELINE}"
    if row is None:
        name += ", each with its best"
        sentence += f", each with what is best for it on validation data ({STOPPED} left out)"
    ours, base = (figures(condition, row, loss) for loss in (OURS, BASELINE))
    return Claim(name, f"{sentence}, {condition} labels", ours, base, margin=HALF_A_POINT)


def claims(runs: Sequence[dict[str, Any]]) -> tuple[Verdicts, Verdicts]:
    """Claims 1 to 3 of the head of this file, and the interactions, by condition and name."""
    searches: dict[int, dict[str, Any]] = {}
    for run in runs:
        searches.setdefault(run["search"], {})[run["condition"]] = run
    rows = [row for row in runs[0]["table"] if row != NONE]
    tests: list[tuple[str, Claim]] = []
    for name in NOISES:
        helped = [helps(name, loss, row) for row in rows for loss in (BASELINE, OURS)]
        tests += [(name, claim) for claim in (ahead(name, NONE), *helped, ahead(name, None))]
    crossings = [(name, crossed(name, row)) for name in NOISES for row in rows]

    def judged(family: list[tuple[str, Claim]]) -> Verdicts:
        verdicts = judge([claim for _, claim in family], list(searches.values()))
        return {(name, one.claim.name): one for (name, _), one in zip(family, verdicts, strict=True)}

    return judged(tests), judged(crossings)


def table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Test accuracy of every row and column: of the networks of one search, or of the searches' means."""
    columns = [(name, loss) for name in NOISES for loss in (BASELINE, OURS)]

    def cell(row: str, name: str, loss: str) -> str:
        scores = [run["table"][row][loss]["test"] for run in runs if run["condition"] == name]
        return percent(scores[0] if len(scores) == 1 else np.mean(scores, axis=1))

    head = ["regulariser", *(f"{name}, {loss}" for name, loss in columns)]
    return markdown(head, ([row, *(cell(row, *column) for column in columns)] for row in runs[0]["table"]))


def claims_table(found: Verdicts, title: str) -> list[str]:
    """What came of each claim."""
    head = ["labels", title, "difference, 95 % interval", "searches above 0", "largest p (Holm)", "verdict"]
    rows = []
    for (labels, name), one in found.items():
        difference = f"{100 * one.mean:+.2f} {spread(one.interval)}"
        rows.append([labels, name, difference, one.above, f"{max(one.counted):.2g}", f"**{one.word}**"])
    return markdown(head, rows)


def picture(runs: Sequence[dict[str, Any]]) -> Figure:
    """What each regulariser adds to each loss: mean difference to none, the interval of one search or all searches."""
    rows = [one for one in runs[0]["table"] if one != NONE]
    with styled():
        figure = Figure(figsize=(9.6, 0.45 * len(rows) + 1.6), layout="constrained")
        panels = figure.subplots(1, len(NOISES), sharey=True)
        for axes, name in zip(panels, NOISES, strict=True):
            tables = [run["table"] for run in runs if run["condition"] == name]
            for loss, color, shift in ((BASELINE, PLAIN, 0.13), (OURS, EVOLVED, -0.13)):
                for place, one in enumerate(reversed(rows)):
                    for found in tables:
                        result = welch(found[one][loss]["test"], found[NONE][loss]["test"])
                        middle, height = 100 * result.difference, place + shift
                        axes.plot([100 * result.low, 100 * result.high], [height] * 2, color=color, lw=1.4, alpha=0.6)
                        axes.plot(middle, height, "o", color=color, ms=5)
                axes.plot([], [], "o-", color=color, label=loss)
            axes.axvline(0, color="grey", lw=0.8)
            axes.set_yticks(range(len(rows)), list(reversed(rows)))
            axes.set(title=f"{name} labels", xlabel="points of test accuracy that it adds, 95 % interval")
        panels[0].legend(fontsize=9)
        return figure


def page(document: dict[str, Any], found: tuple[Verdicts, Verdicts], name: str) -> list[str]:
    """The outcome as a Markdown page."""
    runs = document["runs"]
    count, networks = len({run["search"] for run in runs}), len(runs[0]["seeds"])
    deviation = "sd of the networks of the search" if count == 1 else "sd of the searches' means"
    unit = "Welch's, unit: a network" if count == 1 else "t interval, unit: a search"
    tuned = ["search", "labels", "regulariser", "loss", "strength", "learning rate", "settings tried"]
    return [
        f"# Regularisers and losses: {name}",
        "",
        f"Made by `{document['command']}`, {versions_line(document)}. What is done, and what was",
        "written down before the run, stands at the head of",
        "[`experiments/regularizers.py`](../../../experiments/regularizers.py); settings: [`study.toml`](study.toml);",
        f"raw figures: [`runs.json`](runs.json). Searches: {count}; {networks} networks of each row in each;",
        f"{runs[0]['train']} training samples.",
        "",
        *table(runs),
        "",
        f"Test accuracy, %: mean ({deviation}).",
        "",
        *claims_table(found[0], "claim"),
        "",
        *claims_table(found[1], "interaction with"),
        "",
        "Differences of test accuracy in points. Interaction: what the regulariser adds to the evolved loss less what",
        f"it adds to cross-entropy. Interval of the mean difference: {unit}. The unit of each p is a network of",
        "one search.",
        "Each with its best: by validation accuracy, with early stopping left out, since its figure is the highest of",
        "many epochs and the others' that of the last one.",
        "",
        "## What was tuned",
        "",
        *markdown(
            tuned, (setting(run, row, loss) for run in runs for row, both in run["table"].items() for loss in both)
        ),
        "",
        "## The evolved losses",
        "",
        *markdown(["search", "labels", "φ"], ([run["search"], run["condition"], run["formula"]] for run in runs)),
        "",
        "![What each regulariser adds](regularizers.png)",
    ]


def setting(run: dict[str, Any], row: str, loss: str) -> list[object]:
    """What a loss was tuned to with a regulariser."""
    cell = run["table"][row][loss]
    strength = "" if cell["strength"] is None else f"{BY_NAME[row].axis.name} {cell['strength']:.3g}"
    return [run["search"], run["condition"], row, loss, strength, f"{cell['lr']:.3g}", len(cell["tried"])]


def compact(found: tuple[Verdicts, Verdicts]) -> list[str]:
    """What each regulariser adds to each loss, and the interaction, a row for each; bold is held or shown.

    Italic: no difference larger than the margin.
    """
    columns = [(name, what) for name in NOISES for what in (BASELINE, OURS, "interaction")]

    def cell(row: str, name: str, what: str) -> str:
        one = found[1][name, row] if what == "interaction" else found[0][name, f"{what} with {row} > {what}"]
        text = f"{100 * one.mean:+.2f}"
        return f"**{text}**" if one.shown else f"*{text}*" if one.equivalent else text

    head = ["it adds, points", *(f"{name}, {what}" for name, what in columns)]
    names = dict.fromkeys(row for _, row in found[1])
    return markdown(head, ([row, *(cell(row, *column) for column in columns)] for row in names))


def overview(folders: dict[str, Path]) -> str:
    """The tables of several data sets as ``docs/results.md`` tells them."""
    lines: list[str] = []
    for name, folder in folders.items():
        runs = read_json(folder / "runs.json")["runs"]
        found = claims(runs)
        losses = {key: one for key, one in found[0].items() if key[1].startswith(f"{OURS} > {BASELINE}")}
        lines += [f"**{name}**", "", *table(runs), "", *compact(found), "", *claims_table(losses, "claim"), ""]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Run what is missing, then tell what came out."""
    counts = {"searches": (1, 1, "searches of each noise"), "networks": (20, 2, "networks of each row on test data")}
    given = arguments(__doc__, "regularizers", {"file": {"type": Path, "help": "study file"}}, counts)
    if not given.again:
        plan = Plan.asked(given)
        with processes(given.workers) as pool:
            calls = [(plan, number, name, given.work) for number in range(given.searches) for name in NOISES]
            runs = each(pool, condition, calls)
        keep(given.target, raw(given, plan, runs=runs))
    document = read_json(given.target / "runs.json")
    runs = document["runs"]
    found = claims(runs)
    parts = zip(("claims", "interactions"), found, strict=True)
    summary = {part: [{"condition": key[0], **one.to_json()} for key, one in row.items()] for part, row in parts}
    tell(given.target, summary, page(document, found, given.target.name), {"regularizers": picture(runs)})
    print("\n".join(table(runs)), flush=True)


if __name__ == "__main__":
    main()
