"""Where a study stands, as a document: read from its directory, which is left as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossmith.analysis import Deciding
from lossmith.errors import InputError
from lossmith.io import read_json
from lossmith.losses import Loss, load
from lossmith.study import Store, modernized, pruned_trainings, spread


def summarize(directory: Path) -> dict[str, Any]:
    """Settings, data, candidates, finalists, winner and comparison of a study; a running one can be read, too.

    Raises:
        InputError: if there is no study, or something in it is damaged.
    """
    with Store(directory, readonly=True) as store:
        settings, rows, finalists = store.setting("settings"), store.candidates(), store.finalists("final")
        settings = None if settings is None else modernized(settings)[0]
        data, function, broken = store.setting("data"), store.function, store.setting("breakdown")
    if settings is not None and function is not None:
        settings = {**settings, "objective": {"function": function}}
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    place, comparison = directory / "best.json", directory / "comparison.json"
    winner = load(place) if finalists and place.exists() else None
    begun = settings is not None or comparison.exists()
    state = "ended" if winner is not None else _state(settings, rows) if begun else "stopped in its first moments"
    if broken is not None:
        state += f"; its search engine broke down in generation {broken['generation']} ({broken['why']})"
    return {
        "state": state,
        "settings": settings,
        "data": data,
        "candidates": counts,
        "dropped": pruned_trainings(rows),
        "best": max((row["fitness"] for row in rows if row["fitness"] is not None), default=None),
        "finalists": [
            {
                "name": row["name"],
                "status": row["status"],
                **spread(row["scores"]),
                "figures": {name: spread(values) for name, values in row["figures"].items()},
            }
            for row in finalists
        ],
        "winner": None if winner is None else repr(winner),
        "comparison": _compared(comparison, winner) if comparison.exists() else None,
    }


def _state(settings: dict[str, Any] | None, rows: Sequence[dict[str, Any]]) -> str:
    if settings is None:
        return "no search, only comparisons"
    search = settings["search"]
    done = len(rows) // search["population"]
    if done == search["generations"]:
        return f"all {done} generations are done"
    return f"in generation {done + 1} of {search['generations']}"


def _compared(path: Path, winner: Loss | None) -> str:
    document = read_json(path)
    try:
        # Comparisons of older versions were of accuracy.
        deciding = Deciding(**document.get("objective", {}))
        test = deciding.column("test")
        means = {row["name"]: _mean([run[test] for run in row["runs"]]) for row in document["rows"]}
        given = [row["name"] for row in document["rows"] if not row["baseline"]]
        stale = winner is not None and winner.key() not in [
            Loss.from_json(row["loss"]).key() for row in document["rows"]
        ]
        best = document["best_baseline"]
        shown = [*(f"{name} {means[name]}" for name in given), f"best baseline ({best}) {means[best]}"]
    except (AttributeError, InputError, KeyError, TypeError, ZeroDivisionError):
        raise InputError(f"{path} is damaged; remove it and run lossmith compare again") from None
    return f"test {deciding.name}: " + ", ".join(shown) + (" (the winner is not in it)" if stale else "")


def _mean(figures: list[float | None]) -> str:
    known = [value for value in figures if value is not None]
    return f"{sum(known) / len(known):.4f}" if len(known) == len(figures) else "–"
