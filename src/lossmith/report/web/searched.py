"""The search: its history, every candidate with its loss, which coordinates mattered, and the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss
from lossmith.markup import Child, Html, element, joined
from lossmith.report.curves import search_history
from lossmith.report.web.document import Section, asset
from lossmith.report.web.finalists import finalists_of, front_of
from lossmith.report.web.findings import Findings
from lossmith.report.web.glosses import ENGINES, SPACES
from lossmith.report.web.importance import Importance, importance
from lossmith.report.web.parts import (
    Scale,
    chart,
    column,
    figure_text,
    known_only,
    short,
    strip,
    table,
)
from lossmith.study import Study

# Losses of other kinds than sums of powers are written one by one, which takes long for many.
MOST_TEXTS, MOST_ROWS = 1000, 60
# What came of a candidate, as a sentence says it.
STATUSES = {
    "ok": "trained",
    "untrainable": "not trained, since by theory they cannot begin to learn",
    "diverged": "diverged",
    "failed": "failed",
    "pruned": "stopped early as hopeless",
}
COLORS = {"cross-entropy": "muted", "best found, fresh seeds": "accent-2"}


def search_section(found: Findings) -> Section | None:
    """The search; None where nothing was searched for."""
    rows = found.candidates
    if not rows:
        return None
    history = search_history(rows, found.finalists)
    by = found.by
    specs: dict[str, Any] = {"history": _history_spec(found, history)}
    losses = _losses(found)
    content: list[Child] = [
        element("p", _counts(found)),
        chart("history", _caption(found, losses, specs["history"]["y"]), _history_table(found, history)),
    ]
    candidates = {
        "generation": column([row["generation"] for row in rows], "u4"),
        "member": column([row["member"] for row in rows], "u4"),
        "fitness": column([np.nan if row["fitness"] is None else by.shown(row["fitness"]) for row in rows]),
        "status": column([list(STATUSES).index(row["status"]) for row in rows], "u1"),
        "statuses": list(STATUSES),
        "winner": _winner(found),
        "digits": 1 if by.share else 4,
        "unit": by.unit,
        "name": by.name,
        **losses,
    }
    content.append(
        element("p", element("button", "Save all candidates as CSV", type="button", data_save=True, hidden=True))
    )
    weights = importance(rows)
    if weights is not None:
        content += _importance(weights, _axes(found, len(weights.shares)))
    content += _records(found)
    content += finalists_of(found)
    content += front_of(found, specs)
    return Section(
        "search", "Search", joined(content), script=asset("search.js"), data={"charts": specs, "candidates": candidates}
    )


def _counts(found: Findings) -> str:
    counts = found.summary["candidates"]
    said = ", ".join(f"{number} {STATUSES[status]}" for status, number in counts.items() if status != "ok")
    generations = 1 + max(row["generation"] for row in found.candidates)
    settings = (found.summary["settings"] or {}).get("search", {})
    counted = f"{_counted(len(found.candidates), 'loss', 'es')} in {_counted(generations, 'generation')}"
    how = ENGINES.get(str(settings.get("engine")))
    words = [f"The search tried {counted}{f', {how}' if how else ''}{f' ({said})' if said else ''}."]
    kind = SPACES.get(str(settings.get("space")))
    words += [f"Each is {kind} (--space {settings['space']})."] if kind else []
    words.append("The best of so many noisy values owes part of its lead to luck, so finalists train with fresh seeds.")
    return " ".join(words)


def _counted(count: int, what: str, plural: str = "s") -> str:
    return f"{count} {what}" + plural * (count != 1)


def _caption(found: Findings, losses: Mapping[str, Any], upward: Mapping[str, Any]) -> str:
    text = "Each dot is a loss: point at it, or step through them by the arrow keys, for its formula."
    text += " Gray: the middle half of a generation."
    text += " Dashed: finalists, trained again with fresh seeds." if found.finalists else ""
    if not losses:
        text += " Formulas are not shown, since the search space cannot be built here."
    elif len(losses.get("texts", found.candidates)) < len(found.candidates):
        text += f" Of so many formulas, those of the {MOST_TEXTS} best are shown."
    if _winner(found) is not None:
        text += " Circled: the winner."
    figures = [np.nan if row["fitness"] is None else found.by.shown(row["fitness"]) for row in found.candidates]
    if not all(upward["min"] <= figure <= upward["max"] for figure in figures):
        text += " Ticks at the edge: losses that lie beyond the scale, or have no figure."
    return text


def _history_spec(found: Findings, history: Any) -> dict[str, Any]:
    by, unit = found.by, 100 if found.by.share else 1
    values = [unit * by.sign * row["fitness"] for row in found.candidates if row["fitness"] is not None]
    lines = [by.shown(value) for _, value in history.lines]
    known = [value for value in [*lines, *by.shown(history.mean), *by.shown(history.low)] if np.isfinite(value)]
    turned, lowest = by.sign * np.array([*values, 0.0][: len(values) or 1]), by.sign * np.array(known or [0.0])
    # Candidates near chance would press all others together.
    low, high = min(float(np.quantile(turned, 0.1)), float(lowest.min())), max(float(turned.max()), float(lowest.max()))
    low, high = low - 0.04 * (high - low) - 1e-9, high + 0.04 * (high - low) + 1e-9
    low, high = min(by.sign * low, by.sign * high), max(by.sign * low, by.sign * high)
    return {
        "label": f"{by.called} by generation",
        "height": 340,
        "x": {
            "label": "generation",
            "name": "generation",
            "values": history.generations.tolist(),
            "whole": True,
            "min": 0.4,
            "max": len(history.generations) + 0.6,
        },
        "y": {"label": by.called, "unit": by.unit, "digits": 1 if by.share else 4, "min": low, "max": high},
        "lines": [
            {
                "name": "best of the generation",
                "short": "best",
                "values": known_only(by.shown(history.best)),
                "color": "accent",
            },
            {
                "name": "mean of the generation",
                "short": "mean",
                "values": known_only(by.shown(history.mean)),
                "color": "ink",
            },
        ],
        "band": {"low": known_only(by.shown(history.low)), "high": known_only(by.shown(history.high))},
        "rules": [
            {"name": short(name), "value": float(by.shown(value)), "color": COLORS.get(name, "accent-3")}
            for name, value in history.lines
        ],
    }


def _history_table(found: Findings, history: Any) -> Html:
    by = found.by
    step = max(1, -(-len(history.generations) // MOST_ROWS))
    rows = [
        [f"{int(generation)}", *(figure_text(by.sign * value if np.isfinite(value) else None, by) for value in values)]
        for generation, *values in list(
            zip(history.generations, history.best, history.mean, history.low, history.high, strict=True)
        )[::step]
    ]
    every = "" if step == 1 else f", every {step}th generation"
    return table(f"{by.called}{every}", ["generation", "#best", "#mean", "#lower quarter", "#upper quarter"], rows)


def _winner(found: Findings) -> list[int] | None:
    """Generation and member of the candidate that won."""
    names = {row["name"]: row["origin"] for row in found.finalists}
    best = max((row for row in found.finalists if row["mean"] is not None), key=lambda row: row["mean"], default=None)
    origin: Mapping[str, Any] = {} if best is None or found.winner is None else names[best["name"]]
    generation, member = origin.get("generation"), origin.get("member")
    return [generation, member] if isinstance(generation, int) and isinstance(member, int) else None


def _losses(found: Findings) -> dict[str, Any]:
    """What the losses of candidates are: coefficients of the same terms, or texts of the best ones."""
    study, rows = found.study, found.candidates
    if study is None:
        return {}
    fitness = [-np.inf if row["fitness"] is None else row["fitness"] for row in rows]
    places = sorted(range(len(rows)), key=lambda place: -fitness[place])
    best = _built(study, rows, sorted(places[:MOST_TEXTS]))
    if isinstance(best, PowerLoss):
        losses = _built(study, rows, range(len(rows)))
        return _coefficients(losses) if isinstance(losses, PowerLoss) else {}
    # As with a space that is not known here: the caption says so.
    texts = {} if best is None else {place: best[k] for k, place in enumerate(sorted(places[:MOST_TEXTS]))}
    return {"texts": {str(place): loss.formula() for place, loss in texts.items()}} if texts else {}


def _built(study: Study, rows: Sequence[Mapping[str, Any]], places: Sequence[int]) -> Loss | None:
    """The losses of some candidates, a population; None where a genome gives none."""
    genomes = [rows[place]["genome"] for place in places]
    if not all(study.space.holds(genome) for genome in genomes):
        return None
    try:
        return study.space.build(genomes, study.classes)
    except InputError:
        return None


def _coefficients(losses: PowerLoss) -> dict[str, Any]:
    """The terms of φ in the order in which formulas have them, and ``[P, T]`` coefficients."""
    order = sorted(range(len(losses.terms)), key=lambda k: (-losses.terms[k].log, losses.terms[k].y, losses.terms[k].h))
    products = [_product(losses, k) for k in order]
    return {"terms": products, "coefficients": column(losses.coefficients[:, order].numpy())}


def _product(losses: PowerLoss, place: int) -> str:
    """A term as formulas write it; empty for a number alone."""
    one = PowerLoss((losses.terms[place],), losses.coefficients.new_ones(1), losses.classes).formula()
    return "" if one == "1" else one


def _axes(found: Findings, count: int) -> list[str]:
    """The terms that each coordinate changes, by trying; empty texts where that says nothing."""
    study = found.study
    origin = [0.0] * count
    points = [origin, *([0.5 * (k == place) for k in range(count)] for place in range(count))]
    if study is None or not all(study.space.holds(point) for point in points):
        return [""] * count
    try:
        losses = study.space.build(points, study.classes)
    except InputError:
        return [""] * count
    if not isinstance(losses, PowerLoss):
        return [""] * count
    changed = (losses.coefficients[1:] - losses.coefficients[0]).abs() > 1e-12
    texts = [[_product(losses, k) or "1" for k in row.nonzero().flatten().tolist()] for row in changed]
    return [", ".join(some) if len(some) <= 3 else "" for some in texts]


def _importance(weights: Importance, axes: Sequence[str]) -> list[Child]:
    scale = Scale(0.0, 100.0)
    rows = []
    for place in np.argsort(-weights.shares, kind="stable").tolist():
        share = float(weights.shares[place])
        bar = element(
            "rect",
            x="0%",
            y="28%",
            height="44%",
            width=scale.at(100 * share),
            class_="bar" + " idle" * (share <= weights.chance),
        )
        what = [f"coefficient of {axes[place]}", element("small", f"x{place}")] if axes[place] else f"x{place}"
        rows.append(strip(what, [bar], f"{100 * share:.0f}\u00a0%", label=f"x{place}: {100 * share:.0f} %"))
    text = (
        "How well each number of the loss, taken alone, tells which losses of a generation do better: at 0\u00a0% not "
        f"at all, at 100\u00a0% it decides alone. Up to {100 * weights.chance:.0f}\u00a0% can be chance (gray). What "
        "several do together is left out."
    )
    axis = scale.axis("", "share in %")
    return [
        element("h3", "What mattered"),
        element("p", text, class_="note"),
        element("div", rows, axis, class_="strips"),
    ]


def _records(found: Findings) -> list[Child]:
    """Formulas that were better than all before."""
    made = found.formulas
    if made is None or not made.records:
        return []
    rows = [
        [str(generation), figure_text(found.by.sign * fitness, found.by), element("code", text)]
        for generation, fitness, text in reversed(made.records)
    ]
    added = f" ({made.added_to.rstrip(', ')} is added)" if made.added_to else ""
    return [
        element("h3", "Formulas that were better than all before"),
        table(f"The last one first{added}", ["generation", "#fitness", "formula"], rows),
    ]
