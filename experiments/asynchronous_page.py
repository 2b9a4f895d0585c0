"""The page of experiments/asynchronous.py: how fast each way is, the claims, and what the rule says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from asynchronous_ways import HALF, LARGE, QUARTER, SYNCHRONOUS, WAYS
from evidence import FAILED, HELD, NOT_SHOWN, ends_of, markdown
from program import versions_line

Row = dict[str, Any]
STEADY_HALF = "steady, λ = W/2"
BUILT, SURE = 1.5, 1.25
BIG = (64, 512)


@dataclass(frozen=True)
class Claim:
    """A gain that is claimed.

    Args:
        times: With which times.
        way: Of which way.
        over: Over which other one.
        bound: How many times as fast.
        above: Whether at least so, or less.
    """

    times: str
    way: str
    over: str
    bound: float
    above: bool

    @property
    def sentence(self) -> str:
        """What it says."""
        which = "at least" if self.above else "less than"
        return f"{self.times}: {self.way} {which} {self.bound:g} times as fast as {self.over}"

    def word(self, interval: tuple[float, float]) -> str:
        """What came of it."""
        low, high = interval
        sides = (low > self.bound, high < self.bound)
        return (
            (HELD if sides[not self.above] else FAILED if sides[self.above] else NOT_SHOWN) if any(sides) else NOT_SHOWN
        )


CLAIMS = (
    Claim("shared", STEADY_HALF, LARGE, BUILT, above=True),
    Claim("shared", STEADY_HALF, QUARTER, SURE, above=False),
    Claim("even", STEADY_HALF, LARGE, BUILT, above=False),
    Claim("own", STEADY_HALF, LARGE, BUILT, above=True),
    Claim("shared", HALF, LARGE, SURE, above=False),
)


class Speeds:
    """How long each way takes to its target.

    Args:
        document: The kept runs.
    """

    def __init__(self, document: Row) -> None:
        self.rows = {(r["times"], r["landscape"], r["workers"], r["way"]): r for r in document["runs"]}
        self.kinds, self.landscapes, self.workers = (
            list(dict.fromkeys(key[place] for key in self.rows)) for place in range(3)
        )
        self.horizons = {int(workers): until for workers, until in document["horizons"].items()}

    def ways(self, workers: int) -> list[str]:
        """The ways that were run with so many workers."""
        return [way.name for way in WAYS if (self.kinds[0], self.landscapes[0], workers, way.name) in self.rows]

    def logs(self, kind: str, workers: int, way: str) -> np.ndarray:
        """The mean over the landscapes of the logarithms of the times, of each search number."""
        end = self.horizons[workers]
        found = [self.rows[kind, name, workers, way]["reached"] for name in self.landscapes]
        logs: np.ndarray = np.log([[end if one is None else one for one in row] for row in found]).mean(0)
        return logs

    def gain(self, kinds: Sequence[str], workers: int, way: str, over: str) -> tuple[float, float, float]:
        """How many times as fast a way is as another one, and the ends of the interval."""
        values = np.mean([self.logs(kind, workers, over) - self.logs(kind, workers, way) for kind in kinds], axis=0)
        low, high = ends_of(values.tolist())
        return float(np.exp(values.mean())), float(np.exp(low)), float(np.exp(high))

    def fastest(self, kinds: Sequence[str], workers: int, kind_of_way: str) -> str:
        """The fastest way whose name begins so: the least mean time."""
        asked = [way for way in self.ways(workers) if kind_of_way in (way, family(way))]
        return min(asked, key=lambda way: float(np.mean([self.logs(kind, workers, way).mean() for kind in kinds])))


def family(way: str) -> str:
    """Steady, lag, or synchronous, as many searches side by side are, too."""
    word = way.split()[0].rstrip(",")
    return word if word in ("steady", "lag") else "sync"


def told(gain: tuple[float, float, float]) -> str:
    """A gain and its interval."""
    middle, low, high = gain
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def decision(speeds: Speeds) -> list[str]:
    """What the rule says of steady state and of a fixed lag."""
    lines = []
    for name, word in (("Steady state", "steady"), ("A fixed lag", "lag")):
        gains, parts = [], []
        for workers in BIG:
            way, best = (speeds.fastest(speeds.kinds, workers, kind) for kind in (word, "sync"))
            gains.append(speeds.gain(speeds.kinds, workers, way, best))
            parts.append(f"{workers} workers: {way} against {best}, {told(gains[-1])}")
        built = all(middle >= BUILT and low > SURE for middle, low, _ in gains)
        lines.append(f"- **{name} is {'built' if built else 'not built'}** by the rule. {'; '.join(parts)}.")
    return lines


def copies(speeds: Speeds) -> list[str]:
    """What second tries gain: the fastest synchronous way with them over the fastest without."""
    parts = []
    for kind in speeds.kinds:
        for workers in BIG:
            ways = [way for way in speeds.ways(workers) if family(way) == "sync"]
            best = {
                tries: min(
                    (way for way in ways if way.endswith("copies") == tries),
                    key=lambda way: float(speeds.logs(kind, workers, way).mean()),
                )
                for tries in (True, False)
            }
            parts.append(f"{kind}, {workers} workers: {told(speeds.gain([kind], workers, best[True], best[False]))}")
    return [
        "- Copies, for which no claim and no rule was written: the fastest synchronous way with them over the fastest",
        f"  without. {'; '.join(parts)}.",
    ]


def claims(speeds: Speeds) -> list[str]:
    """What came of each claim."""
    lines = []
    for number, claim in enumerate(CLAIMS, 1):
        parts = []
        for workers in BIG:
            gain = speeds.gain([claim.times], workers, claim.way, claim.over)
            parts.append(f"{workers} workers **{claim.word(gain[1:])}**, {told(gain)}")
        lines.append(f"- ({number}) {claim.sentence}: {'; '.join(parts)}.")
    return lines


def fastest_table(speeds: Speeds) -> list[str]:
    """The fastest way of each family, and what it gains over the fastest synchronous one."""
    rows = []
    for kind in speeds.kinds:
        for workers in speeds.workers:
            best = speeds.fastest([kind], workers, "sync")
            row = [kind, workers, f"{best}: {told(speeds.gain([kind], workers, best, SYNCHRONOUS))}"]
            for word in ("lag", "steady"):
                way = speeds.fastest([kind], workers, word)
                row.append(f"{way}: {told(speeds.gain([kind], workers, way, best))}")
            rows.append(row)
    head = ("times", "workers", "fastest synchronous, gain over sync, λ = 20", "fastest lag, gain over that")
    return markdown((*head, "fastest steady, gain over that"), rows)


def ways_table(speeds: Speeds, kind: str, workers: int) -> list[str]:
    """Every way with one kind of times and one number of workers."""
    rows = []
    for way in speeds.ways(workers):
        of = [speeds.rows[kind, name, workers, way] for name in speeds.landscapes]
        end = speeds.horizons[workers]
        medians = [float(np.median([end if one is None else one for one in row["reached"]])) for row in of]
        there = sum(one is not None for row in of for one in row["reached"])
        shares = [mean([row[key] for row in of]) for key in ("quarter", "end", "used", "copied")]
        rows.append(
            [
                way,
                "" if way == SYNCHRONOUS else told(speeds.gain([kind], workers, way, SYNCHRONOUS)),
                *(f"{'≥ ' if value == end else ''}{value:g}" for value in medians),
                f"{there} of {sum(len(row['reached']) for row in of)}",
                *(f"{value:.2f}" for value in shares[:2]),
                f"{1 - shares[2] - shares[3]:.2f}",
                f"{shares[3]:.2f}",
            ]
        )
    head = ("way", "gain", *speeds.landscapes, "reached", f"at {end / 4:g}", f"at {end:g}", "idle", "copies")
    return markdown(head, rows)


def mean(values: Sequence[Sequence[float | None]]) -> float:
    """The mean of all that there are."""
    return float(np.mean([one for row in values for one in row if one is not None]))


def table_lines(table: Row) -> list[str]:
    """What was measured of real trainings."""
    noise = ", ".join(f"{100 * value:.1f} points between {low:g} and {high:g}" for low, high, value in table["noise"])
    tails = {name: " / ".join(f"{value:g}" for value in values) for name, values in table["tails"].items()}
    ends = ", ".join(f"{name} from {low:.3f} to {high:.3f}" for name, (low, high) in table["landscapes"].items())
    return [
        f"The table: {table['candidates']} candidates, {table['diverged']} diverged. Standard deviation of one",
        f"training about the mean of its candidate: {noise} (accuracy). Below 0.3 a share of {table['diverging']:g}",
        "diverged. Standard deviation of the logarithm of the seconds, and the 10 / 90 / 99 % points over the median:",
        f"{table['spread']['search']:g} and {tails['search']} in the search, {table['spread']['wide']:g} and",
        f"{tails['wide']} in the wide draw; this is other work on the machine, for the trainings are equal. What",
        f"diverged took {table['seconds']['diverged']:g} s, the others {table['seconds']['ok']:g} s (median, three",
        f"networks). True accuracy at the start and at best: {ends}.",
    ]


READ = [
    "Gain: how many times as fast as sync, λ = 20 to 0.8 of the way from the start to the best (geometric mean over",
    "the landscapes, [95 % t interval over search numbers]); then the median time on each landscape in units of a",
    "training, how many searches reached the target, the accuracy of the center at a quarter of the time and at the",
    "end as a share of the way, the share of the workers' time that is idle, and that of copies which another try",
    "was ahead of. Searches that never reach the target count as the end.",
]
ORDER = [
    "Steady state tells what came back first, so the next candidate depends on who was how fast. A study that is",
    "interrupted would go on otherwise, and two machines would store other rows, unless the order of arrival were",
    "stored and replayed. Generations in flight (lag 2) and copies keep the order: what is asked follows from the",
    "stored fitness alone. Copies change nothing that is stored, since a training is a pure function of its job.",
    "",
    "What is weak: tries are slow independently of each other, while a slow machine stays slow; where the times are",
    "`own`, no copy can help, and a way that tells the fast ones first prefers what trains fast. The best accuracy",
    "on `digits` lies where the Gaussian process goes beyond its table. The engine's update does not know that stale",
    "candidates come from an older distribution; one that did might do better in flight: with 512 workers lag 2 and",
    "steady, λ = W lose the accuracy that they had reached (below 0 at the end). No claim is about 8 workers, where",
    "the intervals are wide. The rule takes the mean over the three kinds of times; where they are `own`, steady state",
    "is faster than every synchronous way, and that is what trainings of unequal length would gain.",
]


def page(document: Row) -> list[str]:
    """The outcome as Markdown."""
    speeds = Speeds(document)
    tables = []
    for kind in speeds.kinds:
        for workers in speeds.workers:
            tables += ["", f"### {kind}, {workers} workers", "", *ways_table(speeds, kind, workers)]
    return [
        f"# Candidates in flight: {document['searches']} searches on a simulated cluster of 8, 64 and 512 workers",
        "",
        f"Made by `{document['command']}`, {versions_line(document)}.",
        "What is done, the claims and the rule, written down before the run, stand at the head of",
        "[`experiments/asynchronous.py`](../../experiments/asynchronous.py). Every run: [`runs.json`](runs.json); the",
        "measured table: [`table.json`](table.json).",
        "",
        *decision(speeds),
        *copies(speeds),
        *claims(speeds),
        "",
        "## The fastest of each kind",
        "",
        *fastest_table(speeds),
        "",
        "The fastest is chosen from the same searches, which flatters every column alike.",
        "",
        "## Order and repeatability",
        "",
        *ORDER,
        "",
        "## All ways",
        "",
        *READ,
        *tables,
        "",
        "## What it rests on",
        "",
        *table_lines(document["table"]),
    ]
