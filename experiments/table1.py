"""Table 1 of the paper, reduced: is a search better with the invariant, at an equal number of trained candidates?

    python experiments/table1.py experiments/small/table1-mnist.toml results/table1/mnist --data mnist.npz --workers 2

The study file gives data, network, recipe and a search of population P and G generations in the paper's space (λ, mean
0, σ = 1.2). Three ways to search:

- ``none``: P candidates a generation, all trained;
- ``published``, ``exact``: 2P candidates a generation, as in the paper. One that the form of the invariant rejects
  ranks last, is not trained, and costs nothing.

**Each search ends after P·G trained candidates**, in the middle of a generation if need be: the paper compares the
same number of generations, so up to twice the trainings with the invariant. Networks given up as hopeless count.

A search K has a split, initial weights and batches of its own, which its three ways share. The best candidates of a
search and its mean are trained again in full with fresh seeds on the validation split, and the highest mean is the
search's loss; never cross-entropy or label smoothing. Cross-entropy's learning rate is tuned on the same validation
split with as many seeds, on a grid that grows where the best rate is at its edge; the evolved losses keep the recipe's,
at which they were searched. When all of this is done, 10 networks of each loss are judged once on test data.

Written down before the run. The claims:

1. published > none (the paper's: "significantly better performance in many cases and never a detrimental effect");
2. exact > none;
3. none > cross-entropy, published > cross-entropy, exact > cross-entropy.

A claim holds if its mean difference of test accuracy is above 0 in every search and one-tailed Welch p < 0.05 in two
thirds of the searches or more, corrected by Holm over all tests of all searches. The unit of those p is a network of
one search. A second p, by a paired t-test over the searches, has the search as its unit; splits of one data set
overlap, so it is too small if anything. Networks that diverged count as wrong on every image.

What is said of a claim that does not hold was changed after these runs were known: then "failed" was a mean difference
of 0 or below. Now the 95 % interval of the mean difference decides (t interval over the searches; of one search that of
its networks), with a margin of half a point of accuracy (0.005) for every claim: "no difference larger than 0.5 points"
if it lies within ± the margin, "failed" if it lies below the margin, so that a gain that matters is excluded, and
anything else is "not shown".

Stopped and run again, it goes on: the databases of the searches lie in ``--work``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evidence import HALF_A_POINT, Claim, Figures, Verdict, judge, markdown, percent, spread
from matplotlib.figure import Figure
from networks import BASELINE
from program import arguments, each, keep, processes, raw, tell, versions_line
from table1_runs import ARMS, FACTOR, Budget, final, part

from lossmith.io import read_json
from lossmith.report import EVOLVED, OTHER, PLAIN, styled

SENTENCES = {
    ("published", "none"): "A search with the published form of the invariant ends with a better loss than one without",
    ("exact", "none"): "A search with the exact form of the invariant ends with a better loss than one without",
    ("none", BASELINE): "A search without the invariant ends with a better loss than cross-entropy",
    ("published", BASELINE): "A search with the published form ends with a better loss than cross-entropy",
    ("exact", BASELINE): "A search with the exact form ends with a better loss than cross-entropy",
}


def claim(better: str, worse: str, sentence: str) -> Claim:
    """That the networks of one loss have a higher test accuracy than those of another."""

    def of(arm: str) -> Figures:
        return lambda run: run["losses"][arm]["test"]

    return Claim(f"{better} > {worse}", sentence, of(better), of(worse), margin=HALF_A_POINT)


CLAIMS = [claim(*pair, sentence) for pair, sentence in SENTENCES.items()]


def claims(runs: Sequence[dict[str, Any]]) -> list[Verdict]:
    """What came of every claim of the head of this file."""
    return judge(CLAIMS, runs)


def progress(part: dict[str, Any]) -> list[float]:
    """Highest fitness after each trained candidate."""
    trained = [
        fitness for fitness, status in zip(part["fitness"], part["status"], strict=True) if status != "untrainable"
    ]
    values = [0.0 if fitness is None else fitness for fitness in trained]
    return [float(value) for value in np.maximum.accumulate(values)]


def picture(runs: Sequence[dict[str, Any]]) -> Figure:
    """Test accuracy of every network, and the best fitness against the number of trained candidates."""
    colors = dict(zip(ARMS, (PLAIN, "#8a97a5", OTHER, EVOLVED), strict=True))
    with styled():
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, run in enumerate(runs):
            for shift, arm in zip((-0.27, -0.09, 0.09, 0.27), ARMS, strict=True):
                values = 100 * np.array(run["losses"][arm]["test"])
                x = np.full(len(values), place + shift)
                left.scatter(x, values, s=10, color=colors[arm], alpha=0.5, lw=0, label=arm if place == 0 else None)
                left.plot([place + shift - 0.07, place + shift + 0.07], [values.mean()] * 2, color=colors[arm], lw=2)
        left.set_xticks(range(len(runs)), [str(run["search"]) for run in runs])
        left.set(xlabel="search", ylabel="test accuracy, %", title="Networks")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(ARMS), fontsize=9)
        means = {arm: 100 * np.mean([progress(run["losses"][arm]) for run in runs], axis=0) for arm in FACTOR}
        for arm, mean in means.items():
            right.plot(range(1, len(mean) + 1), mean, color=colors[arm], lw=1.8)
        right.set(xlabel="trained candidates", ylabel="best validation accuracy so far, %", title="Searches, mean")
        # The first candidates hardly learn; what is worth seeing begins after a twentieth of them.
        low = min(mean[len(mean) // 20] for mean in means.values())
        high = max(mean[-1] for mean in means.values())
        right.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        return figure


def page(document: dict[str, Any], found: Sequence[Verdict], name: str) -> list[str]:
    """The outcome as a Markdown page."""
    runs, settings = document["runs"], document["settings"]
    budget = settings["search"]["population"] * settings["search"]["generations"]
    rates = ", ".join(f"{run['losses'][BASELINE]['lr']:.3g}" for run in runs)
    head = "search, invariant, asked, rejected, trained, of these given up, of these diverged, generations, chosen, φ"
    return [
        f"# Table 1, reduced: {name}",
        "",
        f"Made by `{document['command']}`, {versions_line(document)}. What is done, and what was",
        "claimed before the run, stands at the head of [`experiments/table1.py`](../../../experiments/table1.py);",
        f"settings: [`study.toml`](study.toml); raw figures: [`runs.json`](runs.json). {len(runs)} searches, each of",
        f"{budget} trained candidates; {runs[0]['train']} training and {runs[0]['test']} test images.",
        "",
        *table(runs),
        "",
        "Test accuracy, %: mean (sample standard deviation) of the networks of a search; last row: mean (standard",
        "deviation) of the searches' means.",
        "",
        *claims_table(found),
        "",
        "Mean difference of test accuracy in percentage points, its 95 % interval (t interval, unit: a search; of one",
        "search that of its networks), and one-tailed p of a paired t-test (unit: a search); searches whose difference",
        "is above 0, and whose Welch p is below 0.05 after Holm's correction over all of these tests (unit: a network",
        "of one search).",
        "",
        *details(found),
        "",
        "Each test: difference in points, Welch's 95 % interval, corrected p.",
        "",
        "## The searches",
        "",
        *markdown(head.split(", "), (searched(run, arm) for run in runs for arm in FACTOR)),
        "",
        f"Cross-entropy's tuned learning rates: {rates}; the evolved losses' {settings['recipe']['lr']:.3g}.",
        "",
        "![Networks and searches](table1.png)",
    ]


def searched(run: dict[str, Any], arm: str) -> list[object]:
    """How many candidates a search asked for, and what became of them."""
    row = run["losses"][arm]
    asked, rejected, diverged = len(row["status"]), row["status"].count("untrainable"), row["status"].count("diverged")
    counts = [asked, rejected, row["trained"], row["dropped"], diverged, row["generations"]]
    return [run["search"], arm, *counts, row["chosen"], row["formula"]]


def table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Mean (sd) of each search and over searches."""
    scores = {arm: [run["losses"][arm]["test"] for run in runs] for arm in ARMS}
    rows = [
        [run["search"], *(f"{percent(scores[arm][k])}, n = {len(scores[arm][k])}" for arm in ARMS)]
        for k, run in enumerate(runs)
    ]
    if len(runs) > 1:
        whole = (percent([float(np.mean(row)) for row in scores[arm]]).split() for arm in ARMS)
        rows.append(["all", *(f"**{mean}** {spread}" for mean, spread in whole)])
    return markdown(["search", *ARMS], rows)


def claims_table(found: Sequence[Verdict]) -> list[str]:
    """What came of each claim over the searches."""
    head = ["claim", "mean difference, 95 % interval, p", "searches above 0", "searches with p < 0.05", "verdict"]
    rows = []
    for one in found:
        p = "" if one.over_searches is None else f", p = {one.over_searches:.2g}"
        rows.append(
            [
                one.claim.name,
                f"{100 * one.mean:+.2f} {spread(one.interval)}{p}",
                one.above,
                one.clear,
                f"**{one.word}**",
            ]
        )
    return markdown(head, rows)


def details(found: Sequence[Verdict]) -> list[str]:
    """Every test."""
    cells = [
        [f"{100 * d:+.2f} {spread((low, high))}, {p:.2g}" for d, low, high, p in tests]
        for tests in (zip(one.differences, one.low, one.high, one.counted, strict=True) for one in found)
    ]
    rows = ([k, *row] for k, row in enumerate(zip(*cells, strict=True)))
    return markdown(["search", *(one.claim.name for one in found)], rows)


def overview(folders: dict[str, Path]) -> str:
    """The tables of several data sets as ``docs/results.md`` tells them."""
    lines: list[str] = []
    for name, folder in folders.items():
        runs = read_json(folder / "runs.json")["runs"]
        lines += [f"**{name}**", "", *table(runs), "", *claims_table(claims(runs)), ""]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Run what is missing, then tell what came out."""
    counts = {"searches": (3, 1, "searches of each way"), "networks": (10, 2, "networks of each loss on test data")}
    given = arguments(__doc__, "table1", {"file": {"type": Path, "help": "study file"}}, counts)
    if not given.again:
        plan = Budget.asked(given)
        if plan.settings.run.replicates != 1:
            raise SystemExit(f"{given.file} asks for several replicates; a trained candidate is one network here")
        with processes(given.workers) as pool:
            calls = [(plan, number, arm, given.work) for number in range(given.searches) for arm in ARMS]
            parts = each(pool, part, calls)
            of = {number: parts[len(ARMS) * number :][: len(ARMS)] for number in range(given.searches)}
            runs = each(pool, final, [(plan, number, of[number], given.work) for number in of])
        keep(given.target, raw(given, plan, runs=runs))
    document = read_json(given.target / "runs.json")
    found = claims(document["runs"])
    summary = {"claims": [{**one.to_json(), "over_searches": one.over_searches} for one in found]}
    tell(given.target, summary, page(document, found, given.target.name), {"table1": picture(document["runs"])})
    print("\n".join(claims_table(found)), flush=True)


if __name__ == "__main__":
    main()
