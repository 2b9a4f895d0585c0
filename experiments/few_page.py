"""The page of experiments/few.py: what each method finds, the claims, and the default by the rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from evidence import markdown, percent, spread
from scipy import stats

BUDGETS, MIDDLE, REFERENCE = (24, 48, 96), 48, 320
TODAY, VARIANTS = "CMA-ES 16", ("CMA-ES 8", "CMA-ES 8 from the known loss", "CMA-ES 8, known losses first")
HALF_A_POINT = 0.005
HELD, FAILED, NOT_SHOWN = "held", "failed", "not shown"


@dataclass(frozen=True)
class Gap:
    """A paired difference over searches.

    Args:
        values: Of each search.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean; open with fewer than two searches."""
        if len(self.values) < 2:
            return -np.inf, np.inf
        reach = float(stats.t.ppf(0.975, len(self.values) - 1) * stats.sem(self.values))
        return self.mean - reach, self.mean + reach

    def __str__(self) -> str:
        """Points and interval."""
        return f"{100 * self.mean:+.2f} {spread(self.interval)}"


class Scores:
    """Mean test accuracies of what the methods found.

    Args:
        documents: The kept runs of each job.
    """

    def __init__(self, documents: Mapping[str, dict[str, Any]]) -> None:
        self.jobs = list(documents)
        self.of: dict[tuple[str, str, int], dict[int, float]] = {}
        for job, document in documents.items():
            for row in document["runs"]:
                for found in row["found"]:
                    place = (job, found["method"], found["trainings"])
                    self.of.setdefault(place, {})[row["search"]] = float(np.mean(found["test"]))
        self.methods = list(dict.fromkeys(method for _, method, _ in self.of))

    def head(self, trainings: int) -> str:
        """A number of trainings, and in how many searches there is a look at it."""
        return f"{trainings} ({len(self.of[self.jobs[0], TODAY, trainings])} searches)"

    def gap(self, better: tuple[str, int], worse: tuple[str, int], jobs: Sequence[str] = ()) -> Gap | None:
        """Difference of two methods, the mean over jobs in each search that ran both; None where a job has none."""
        pairs = [(self.of.get((job, *better), {}), self.of.get((job, *worse), {})) for job in jobs or self.jobs]
        searches = sorted(set.intersection(*(set(one) for pair in pairs for one in pair)))
        gaps = [[better[search] - worse[search] for better, worse in pairs] for search in searches]
        return Gap(tuple(np.mean(gaps, axis=1).tolist())) if gaps else None


def known_gap(scores: Scores, better: tuple[str, int], worse: tuple[str, int], jobs: Sequence[str] = ()) -> Gap:
    """A difference that every job has run."""
    found = scores.gap(better, worse, jobs)
    assert found is not None
    return found


def gains(scores: Scores, method: str) -> list[Gap]:
    """Over today's search at 48 trainings in each job."""
    return [known_gap(scores, (method, MIDDLE), (TODAY, MIDDLE), [job]) for job in scores.jobs]


def strongest(scores: Scores) -> str:
    """The variant with the highest mean gain at 48 trainings."""
    return max(VARIANTS, key=lambda name: known_gap(scores, (name, MIDDLE), (TODAY, MIDDLE)).mean)


def chosen(scores: Scores) -> str | None:
    """The new default by the rule, or None where the default stays."""
    name = strongest(scores)
    passes = known_gap(scores, (name, MIDDLE), (TODAY, MIDDLE)).interval[0] > 0
    return name if passes and min(gap.mean for gap in gains(scores, name)) >= -HALF_A_POINT else None


def better(gap: Gap) -> str:
    """What is said of a claim that a difference is above 0."""
    low, high = gap.interval
    return HELD if low > 0 else FAILED if high < 0 else NOT_SHOWN


def no_better(gap: Gap) -> str:
    """What is said of a claim that a difference is not above 0: held where half a point is excluded."""
    low, high = gap.interval
    return FAILED if low > 0 else HELD if high < HALF_A_POINT else NOT_SHOWN


def page(documents: Mapping[str, dict[str, Any]]) -> list[str]:
    """The outcome as Markdown."""
    scores = Scores(documents)
    first = next(iter(documents.values()))
    searches = len(first["runs"])
    return [
        f"# What few trainings find: {searches} searches on each of {len(scores.jobs)} data sets",
        "",
        f"Made by `{first['command']}`, PyTorch {first['versions']['torch']}.",
        "What is done, the claims and the rule, written down before the run, stand at the head of",
        "[`experiments/few.py`](../../experiments/few.py). Every run:",
        f"{', '.join(f'[`{job}.json`]({job}.json)' for job in scores.jobs)}.",
        "",
        *verdicts(scores),
        "",
        "## Gains over today's search at equal trainings",
        "",
        *gains_table(scores),
        "",
        f"Points of test accuracy over {TODAY} with the same number of trainings: mean over the data sets, paired by",
        f"search, [95 % interval]; at {MIDDLE} trainings also on each data set. Empty: not run on all data sets. The",
        "Gaussian process was run in the first three searches only.",
        *(table for job in scores.jobs for table in job_table(scores, job)),
        "",
        "Test accuracy, %: mean over the searches (sample standard deviation of the searches) of ten networks of what",
        "a method gives. Nine trainings more choose among its three best candidates, for every method alike.",
    ]


def verdicts(scores: Scores) -> list[str]:
    """The claims and the default."""
    best = strongest(scores)
    own, none = (best, MIDDLE), ("no search", MIDDLE)
    started = known_gap(scores, (VARIANTS[1], MIDDLE), (TODAY, MIDDLE))
    sampled = known_gap(scores, ("TPE", MIDDLE), (VARIANTS[0], MIDDLE))
    behind = {job: known_gap(scores, own, (TODAY, REFERENCE), [job]) for job in scores.jobs}
    searching = known_gap(scores, own, none)
    near = HELD if min(gap.mean for gap in behind.values()) >= -HALF_A_POINT else FAILED
    found, gap = chosen(scores), known_gap(scores, own, (TODAY, MIDDLE))
    least = min(gains(scores, best), key=lambda one: one.mean)
    told = f"{best}: {gap} over {TODAY}, at least {100 * least.mean:+.2f} on a data set"
    rivals = [
        f"{name} ({rival})"
        for name in scores.methods
        if name not in (TODAY, *VARIANTS)
        and (rival := scores.gap((name, MIDDLE), own)) is not None
        and rival.interval[0] > 0
    ]
    return [
        f"- **The default for small budgets**: {'it becomes' if found else 'it stays; the best variant is'} {told}.",
        f"- Better than that variant with an interval above 0: {', '.join(rivals) or 'no rival'}.",
        f"- (1) CMA-ES 8 from the known loss against {TODAY} at {MIDDLE}: **{better(started)}**, {started}.",
        f"- (2) TPE over the blind box no better than CMA-ES 8 at {MIDDLE}: **{no_better(sampled)}**, {sampled}.",
        f"- (3) {best} at {MIDDLE} within half a point of {REFERENCE} trainings of {TODAY}: **{near}**,",
        f"  {'; '.join(f'{job} {one}' for job, one in behind.items())}.",
        f"- (4) {best} against no search at {MIDDLE}: **{better(searching)}**, {searching}.",
    ]


def gains_table(scores: Scores) -> list[str]:
    """A line for each method."""
    rows = list[list[object]]()
    for name in scores.methods:
        if name == TODAY:
            continue
        over = [scores.gap((name, budget), (TODAY, budget)) or "" for budget in BUDGETS]
        single = [scores.gap((name, MIDDLE), (TODAY, MIDDLE), [job]) for job in scores.jobs]
        rows.append([name, *over, *("" if gap is None else f"{100 * gap.mean:+.2f}" for gap in single)])
    return markdown(["method", *map(scores.head, BUDGETS), *scores.jobs], rows)


def job_table(scores: Scores, job: str) -> list[str]:
    """What each method finds in a job."""
    looks = (*BUDGETS, REFERENCE)
    rows = [
        [
            name,
            *(
                percent(list(scores.of[job, name, look].values())) if (job, name, look) in scores.of else ""
                for look in looks
            ),
        ]
        for name in scores.methods
        if any((job, name, look) in scores.of for look in looks)
    ]
    return ["", f"## {job}", "", *markdown(["method", *(scores.head(look) for look in looks)], rows)]
