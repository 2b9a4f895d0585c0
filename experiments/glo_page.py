"""The page of experiments/glo.py: the claims, every job, Baikal's behavior, what filters saved, and what moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from evidence import LEVEL, markdown, paired, percent, spread
from scipy import stats

from lossmith.metrics import holm

NOISY, CLEAN = ("digits-noisy", "mnist-noisy", "conv-noisy"), ("digits", "mnist")
TARGETS = ("mnist-noisy", "conv-noisy")
GLO, ADDED, FROM = "GLO", "GLO + cross-entropy", "of noisy digits"
CROSS_ENTROPY, BEST = "cross-entropy", "best baseline"
METHODS = ("taylor", "canonical", "residual", "residual-schedule", GLO, ADDED)
# Baselines that tables show: what a practitioner begins with, Baikal itself, and the one that is best on validation.
SHOWN = (BEST, CROSS_ENTROPY, "label smoothing", "Baikal")
CLAIMS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("`residual` finds better losses than GLO", "residual", GLO, (*CLEAN, *NOISY)),
    ("GLO added to cross-entropy finds better losses than GLO", ADDED, GLO, (*CLEAN, *NOISY)),
    ("GLO is better than tuned cross-entropy, noisy labels", GLO, CROSS_ENTROPY, NOISY),
    ("the best baseline on validation data is better than GLO", BEST, GLO, (*CLEAN, *NOISY)),
    ("`residual-schedule` is better than `residual`, noisy labels", "residual-schedule", "residual", NOISY),
    ("`residual-schedule` is better than `residual`, clean labels", "residual-schedule", "residual", CLEAN),
    ("`residual` finds better losses than `taylor`", "residual", "taylor", (*CLEAN, *NOISY)),
    ("GLO of noisy digits is better than tuned cross-entropy elsewhere", f"{GLO} {FROM}", CROSS_ENTROPY, TARGETS),
)


class Scores:
    """Mean test accuracy of the networks of each loss, by job and search.

    Args:
        runs: Of ``runs.json``.
    """

    def __init__(self, runs: Sequence[Mapping[str, Any]]) -> None:
        self.runs = {(run["job"], run["search"]): run for run in runs}
        self.jobs = list(dict.fromkeys(job for job, _ in self.runs))
        self.numbers = sorted({number for _, number in self.runs})

    def test(self, job: str, number: int, name: str) -> float:
        """Of one loss in one comparison."""
        comparison = self.runs[job, number]["comparison"]
        own = comparison["best_baseline"] if name == BEST else name
        return float(np.mean(comparison["rows"][own]["test"]))

    def tests(self, job: str, name: str) -> list[float]:
        """Of one loss in a job, for each search."""
        return [self.test(job, number, name) for number in self.numbers]

    def gaps(self, better: str, worse: str, jobs: Sequence[str]) -> list[float]:
        """Differences of two losses for each search, the mean over jobs."""
        return [
            float(np.mean([self.test(job, number, better) - self.test(job, number, worse) for job in jobs]))
            for number in self.numbers
        ]

    def searches(self, method: str, jobs: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The searches of a method."""
        return [
            row
            for (job, _), run in self.runs.items()
            for row in run["searches"]
            if row["method"] == method and (jobs is None or job in jobs)
        ]


@dataclass(frozen=True)
class Verdict:
    """What came of a claim.

    Args:
        sentence: What it says.
        gaps: The difference of each search.
        p: One-tailed, the unit being a search.
        holm: The same, corrected over all claims.
    """

    sentence: str
    gaps: list[float]
    p: float
    holm: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean difference."""
        reach = float(stats.t.ppf(0.975, len(self.gaps) - 1) * stats.sem(self.gaps))
        mean = float(np.mean(self.gaps))
        return mean - reach, mean + reach

    @property
    def word(self) -> str:
        """Held by the corrected p; failed where the whole interval is below 0; not shown otherwise."""
        return "held" if self.holm < LEVEL else "failed" if self.interval[1] < 0 else "not shown"


def verdicts(scores: Scores) -> list[Verdict]:
    """What came of the claims (1) to (8)."""
    gaps = [scores.gaps(better, worse, jobs) for _, better, worse, jobs in CLAIMS]
    p = [paired(values) for values in gaps]
    known = [1.0 if one is None else one for one in p]
    each = zip(CLAIMS, gaps, known, holm(known), strict=True)
    return [Verdict(sentence, values, one, corrected) for (sentence, *_), values, one, corrected in each]


def page(document: Mapping[str, Any]) -> list[str]:
    """The outcome as Markdown."""
    scores = Scores(document["runs"])
    seconds = [row["seconds"] for run in document["runs"] for row in (*run["searches"], run["comparison"])]
    count = len(scores.numbers)
    return [
        f"# GLO, schedules and Baikal: {count} searches of each of six methods in each of {len(scores.jobs)} jobs",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}, {sum(seconds) / 3600:.1f} hours of",
        "CPU time. What is done and the claims, written down before the run, stand at the head of",
        "[`experiments/glo.py`](../../experiments/glo.py). Every run: [`runs.json`](runs.json).",
        "",
        *claims_table(scores),
        "",
        *(line for job in scores.jobs for line in job_table(scores, job)),
        *cost_table(scores),
        *behavior_table(scores),
        *filter_table(scores),
        *transfer_table(scores),
        *formula_table(scores),
    ]


def claims_table(scores: Scores) -> list[str]:
    """The claims (1) to (8)."""
    rows = [
        (
            f"({place}) {one.sentence}",
            f"{100 * float(np.mean(one.gaps)):+.2f}",
            spread(one.interval),
            f"{sum(gap > 0 for gap in one.gaps)} of {len(one.gaps)}",
            f"{one.p:.3g}",
            f"{one.holm:.3g}",
            f"**{one.word}**",
        )
        for place, one in enumerate(verdicts(scores), 1)
    ]
    return [
        *markdown(["claim", "points", "95 % interval", "above 0", "p", "Holm", "verdict"], rows),
        "",
        f"Points of test accuracy, n = {len(scores.numbers)}: the unit is a search number, whose value is the mean",
        "over the jobs. One-tailed paired t-tests; Holm over the eight. Held: Holm below 0.05. Failed: the interval is",
        "below 0.",
    ]


def job_table(scores: Scores, job: str) -> list[str]:
    """Test accuracy in one job."""
    comparisons = [scores.runs[job, number]["comparison"] for number in scores.numbers]
    names = [name for name in comparisons[0]["rows"] if not comparisons[0]["rows"][name]["baseline"]]
    networks = len(comparisons[0]["rows"][GLO]["test"])
    rows = sorted(
        ((name, scores.tests(job, name)) for name in (*names, *SHOWN)), key=lambda row: -float(np.mean(row[1]))
    )
    best = ", ".join(comparison["best_baseline"] for comparison in comparisons)
    table = [
        (
            name,
            percent(values),
            f"{100 * float(np.mean(scores.gaps(name, CROSS_ENTROPY, [job]))):+.2f}",
            ranks(scores, job, name),
        )
        for name, values in rows
    ]
    return [
        f"## {job}",
        "",
        *markdown(["loss", "test accuracy, %", "over cross-entropy", "rank in each search"], table),
        "",
        f"Mean over {len(scores.numbers)} searches (sample standard deviation of the searches), {networks} networks of",
        f"each loss; rank among all {len(comparisons[0]['rows'])} losses. Best on validation data: {best}.",
        "",
    ]


def ranks(scores: Scores, job: str, name: str) -> str:
    """The place of a loss among all of each comparison, by test accuracy."""
    found = []
    for number in scores.numbers:
        rows = scores.runs[job, number]["comparison"]["rows"]
        own = scores.test(job, number, name)
        found.append(1 + sum(float(np.mean(row["test"])) > own for row in rows.values()))
    return ", ".join(map(str, found))


def cost_table(scores: Scores) -> list[str]:
    """CPU time of a search of each method."""
    rows = [
        (method, *(f"{np.mean([row['seconds'] for row in scores.searches(method, [job])]):.0f}" for job in scores.jobs))
        for method in METHODS
    ]
    return [
        "## Cost",
        "",
        *markdown(["search", *scores.jobs], rows),
        "",
        "CPU seconds of a search with its finalists, the mean over the searches, one thread. All train the same",
        "number of candidates.",
        "",
    ]


def behavior_table(scores: Scores) -> list[str]:
    """Who repels samples that the network believes."""

    def row(method: str, jobs: Sequence[str]) -> tuple[str, ...]:
        found = scores.searches(method, jobs)
        trained = sum(one["candidates"] - one["untrainable"] - one["diverged"] - one["failed"] for one in found)
        winners = [one["winner_repels"] for one in found]
        return (
            f"{100 * sum(one['repelling'] for one in found) / trained:.0f} %",
            f"{100 * sum(one['repelling_half'] for one in found) / trained:.0f} %",
            f"{sum(end > 0 for end in winners)} of {len(winners)}",
            f"{sum(one['baikal_found'] > 0 for one in found)} of {len(found)}",
        )

    rows = [
        (method, "noisy" if jobs == NOISY else "clean", *row(method, jobs))
        for jobs in (NOISY, CLEAN)
        for method in METHODS
    ]
    glo = [one["winner_repels"] > 0 for one in scores.searches(GLO, NOISY)]
    found = sum(one["baikal_found"] > 0 for one in scores.searches(GLO))
    held = 2 * sum(glo) >= len(glo)
    return [
        "## Baikal's behavior",
        "",
        "A loss repels a sample where one step lowers the output of its label. Baikal does so wherever that output is",
        "above 1/√n: below ε = 0.68 with ten classes. Every loss with label smoothing does so near ε = 0.",
        "",
        *markdown(
            [
                "search",
                "labels",
                "candidates that repel as ε → 0",
                "up to ε = 0.5",
                "winners that repel",
                "Baikal's gradient",
            ],
            rows,
        ),
        "",
        f"- (9) In at least half of GLO's searches with noisy labels the winner repels: **{word(held)}**,",
        f"  {sum(glo)} of {len(glo)}. Baikal's own gradient is found in none: **{word(not found)}**, in {found} of",
        f"  {len(scores.searches(GLO))} searches of GLO a candidate has it, up to its scale.",
        "",
    ]


def filter_table(scores: Scores) -> list[str]:
    """What the filters of GLO rejected, and how often that was wrong."""
    searches = scores.searches(GLO)
    reasons = sorted({why for row in searches for why in row["filters"]["by"]})
    trained = sum(row["candidates"] for row in searches)
    rows, shares = list[tuple[object, ...]](), list[float]()
    for why in reasons:
        found = [(row["filters"], row["filters"]["by"][why]) for row in searches if why in row["filters"]["by"]]
        rejected = sum(one["rejected"] for _, one in found)
        sample = sum(len(one["fitness"]) for _, one in found)
        if why == "equivalent":
            gaps = [abs(a - b) for _, one in found for a, b in zip(one["fitness"], one["twins"], strict=True)]
            wrong, said = sum(gap > 0 for gap in gaps), f"largest difference to its twin {100 * max(gaps):.2g} points"
        else:
            wrong, said = sum(one["wrong"] for _, one in found), best_of(found)
            shares.append(wrong / sample)
        rows.append(
            (why, rejected, f"{rejected / trained:.2f}", sample, f"{wrong} ({100 * wrong / sample:.1f} %)", said)
        )
    worst, twins = max(shares), next((row[4] for row in rows if row[0] == "equivalent"), "0 (0.0 %)")
    alike = str(twins).startswith("0 ")
    return [
        "## What filters and the archive save",
        "",
        *markdown(["reason", "rejected", "for each trained", "of these trained here", "wrong", ""], rows),
        "",
        f"{len(searches)} searches of GLO, {trained} trained candidates. Wrong: as good as the 24th best candidate",
        "of its search, so that it would have had children; of an equivalent formula, another fitness than the",
        "candidate whose gradient it has.",
        "",
        f"- (10) At most 5 % of a filter's sample are wrong: **{word(worst <= LEVEL)}**, at most {100 * worst:.1f} %.",
        f"  A formula that equals one of before has its fitness: **{word(alike)}**.",
        "",
    ]


def word(held: bool) -> str:
    """What is said of a claim without a test."""
    return "held" if held else "failed"


def best_of(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """How near what a filter rejected came to the best of its search."""
    share = max(max(one["fitness"]) / filters["best"] for filters, one in found)
    return f"the best reaches {100 * share:.0f} % of the fitness of its search's best"


def transfer_table(scores: Scores) -> list[str]:
    """What was found on noisy digits, elsewhere."""
    names = (f"{GLO} {FROM}", f"residual {FROM}", GLO, "residual", CROSS_ENTROPY, BEST)
    rows = [(name, *(percent(scores.tests(job, name)) for job in TARGETS)) for name in names]
    return [
        "## Transfer",
        "",
        *markdown(["loss", *TARGETS], rows),
        "",
        "Test accuracy, %: mean over the searches (sample standard deviation). The rate of what moved is tuned",
        "again, as that of every loss.",
        "",
    ]


def formula_table(scores: Scores) -> list[str]:
    """The winners of GLO."""
    rows = [
        (row["job"], row["search"], f"`{row['formula']}`", f"{row['winner_repels']:.2f}")
        for row in scores.searches(GLO)
    ]
    return [
        "## What GLO found",
        "",
        *markdown(["job", "search", "φ", "repels below ε ="], rows),
    ]
