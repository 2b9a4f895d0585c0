"""Tables of experiments/glo.py: Baikal's behavior, what filters saved, what moved, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evidence import LEVEL, markdown, percent
from glo_scores import BEST, CLEAN, CROSS_ENTROPY, FROM, GLO, METHODS, NOISY, TARGETS, Scores

# The systems of the paper that find or are a loss for clean accuracy, as tables here call them.
SYSTEMS = {"MSE": "MSE", "cross-entropy": CROSS_ENTROPY, "Baikal": "Baikal", "TaylorGLO": "taylor", "GLO": GLO}


def systems_table(scores: Scores) -> list[str]:
    """Test accuracy of the systems of the paper in each job."""
    rows = [(system, *(percent(scores.tests(job, name)) for job in scores.jobs)) for system, name in SYSTEMS.items()]
    return [
        "## The systems of the paper",
        "",
        *markdown(["system", *scores.jobs], rows),
        "",
        "Test accuracy, %: mean over the searches (sample standard deviation); every rate tuned alike. TaylorGLO and",
        "GLO search with the exact form of the invariant.",
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
            f"{sum(end >= 0.5 for end in winners)} of {len(winners)}",
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
                "up to ε = 0.5",
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
    controls = [run["control"] for run in scores.runs.values()]
    passed = sum(len(one["fitness"]) for one in controls)
    children = sum(one["children"] for one in controls)
    rows.append(
        ("none: trained candidates", "", "", passed, f"{children} ({100 * children / passed:.1f} %)", "the control")
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
        "candidate whose gradient it has. The control: candidates that passed, drawn at random and trained again with",
        "the seeds of the first generation, as the rejected ones were; counted is who would have had children.",
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
