"""What came of a search: its finalists, and the front of two figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmith.markup import Child, element
from lossmith.report.web.findings import Findings
from lossmith.report.web.parts import chart, figure_text, folded, known_only, number, short, table
from lossmith.study import candidate_name, has_pareto, read_pareto

Array = NDArray[np.float64]


def finalists_of(found: Findings) -> list[Child]:
    """Every finalist with its figure, the best first; nothing where there is none yet."""
    finalists = found.summary["finalists"]
    if not finalists:
        return []
    by, unit = found.by, 100 if found.by.share else 1
    origins = {row["name"]: row["origin"] for row in found.finalists}
    rows: list[list[Child]] = []
    for row in sorted(finalists, key=lambda row: (row["mean"] is None, -(row["mean"] or 0.0))):
        mean = None if row["mean"] is None else by.sign * row["mean"]
        spread = "" if row["std"] is None else f" ± {number(unit * row['std'], 1 if by.share else 4)}"
        rate = "–" if row["lr"] is None else f"{row['lr']:.3g}"
        figure = figure_text(mean, by) + spread if row["status"] == "ok" else row["status"]
        called = short(candidate_name(row["name"], row["kind"]))
        rows.append([called, figure, rate, str(row["n"])])
    caption = f"{by.called}, mean ± standard deviation of n networks with fresh seeds"
    if any(origin.get("kind") == "mean" for origin in origins.values()):
        caption += (
            ". The mean of the search: the loss at the center of the region from which the search last drew candidates"
        )
    return [
        folded(
            "Finalists, trained again with fresh seeds",
            table(caption, ["loss", "#figure", "#learning rate", "#n"], rows),
        )
    ]


def front_of(found: Findings, specs: dict[str, Any]) -> list[Child]:
    """Two figures of each candidate, and those that no other one beats in both."""
    if not has_pareto(found.directory):
        return []
    document, by = read_pareto(found.directory), found.by
    names, unit = document["figures"], [100.0 if by.is_share(name) else 1.0 for name in document["figures"]]
    every = np.array(document["candidates"], float).reshape(-1, 2) * unit
    best = [
        [row["figures"][name] * scale for name, scale in zip(names, unit, strict=True)] for row in document["front"]
    ]
    finalists = {
        name: [value * scale for value, scale in zip(pair, unit, strict=True)]
        for name, pair in document["finalists"].items()
    }
    labels = [f"{short(name)}" + (", %" if by.is_share(name) else "") for name in names]
    places = [f"generation {row['generation'] + 1}, candidate {row['member'] + 1}" for row in document["front"]]

    def tips(heads: Sequence[str], points: Sequence[Sequence[float]]) -> list[str]:
        return [
            f"{head}\n{labels[0]}: {number(x, 2)}\n{labels[1]}: {number(y, 2)}"
            for head, (x, y) in zip(heads, points, strict=True)
        ]

    drawn, beyond = _within(every, np.array([*best, *finalists.values()], float).reshape(-1, 2))
    groups = [
        ("candidates", drawn.tolist(), ["candidate"] * len(drawn), "muted", 2.2, 0.35),
        ("the front", best, places, "accent", 4.0, 1.0),
        ("finalists", list(finalists.values()), [short(name) for name in finalists], "accent-2", 4.0, 1.0),
    ]
    specs["front"] = {
        "label": f"{names[0]} and {names[1]} of the candidates",
        "height": 340,
        "x": {"label": f"{labels[0]} on validation data", "values": known_only([point[0] for point in best])},
        "y": {"label": f"{labels[1]} on validation data", "digits": 2},
        "dots": [
            {
                "name": name,
                "x": [point[0] for point in points],
                "y": [point[1] for point in points],
                "tips": tips(heads, points),
                "color": color,
                "radius": radius,
                "alpha": alpha,
            }
            for name, points, heads, color, radius, alpha in groups
            if len(points)
        ],
    }
    rows = [[place, number(x, 2), number(y, 2)] for place, (x, y) in zip(places, best, strict=True)]
    caption = "The front: no other candidate is as good in both figures and better in one. Finalists: means over fresh "
    caption += f"seeds. Candidates beyond the scale: {beyond}." if beyond else "seeds."
    values = table("Candidates of the front", ["candidate", *(f"#{label}" for label in labels)], rows)
    return [element("h3", f"The front of {short(names[0])} and {short(names[1])}"), chart("front", caption, values)]


def _within(every: Array, shown: Array) -> tuple[Array, int]:
    """The candidates near those that must be seen, and how many are not: failures would press all others together.

    Args:
        every: Two figures of each candidate, ``[N, 2]``.
        shown: The same of the front and the finalists.
    """
    usual = every[np.isfinite(every).all(1)]
    if not len(usual):
        return usual, len(every)
    bounds = np.concatenate([np.quantile(usual, (0.1, 0.9), axis=0), shown[np.isfinite(shown).all(1)]])
    low, high = bounds.min(0), bounds.max(0)
    room = 0.25 * (high - low)
    inside = ((every >= low - room) & (every <= high + room)).all(1)
    return every[inside], int((~inside).sum())
