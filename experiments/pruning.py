"""Does giving up hopeless networks early change the winner of a search, and what does it save?

    python experiments/pruning.py results/pruning [--studies 5] [--share 0.2]

Studies on digits with 40 % of the labels replaced (those of ``noisy-digits.toml``, with another seed, split and noise
each), in the spaces ``residual`` with the exact invariant and ``taylor`` without one, each once without and once with
``prune_at``. Both train one after the other in this process, in turn, so that the seconds can be compared.

Written down before the run. The winner is unchanged if both studies choose the same candidate, or both cross-entropy or
the same label smoothing. A candidate that is given up keeps the low fitness of that moment, which can order the worst
of a generation anew and so move the search; so besides, the winners' validation accuracies over the finalists' fresh
seeds are compared: the difference with against without, and its mean and interval over the studies.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import markdown
from program import changed, study_file
from scipy import stats

from lossmith.io import write_json, write_whole
from lossmith.study import EvolveSettings, evolve

SPACES = (("residual", "exact"), ("taylor", "none"))
HEAD = (
    "space, invariant",
    "studies",
    "winner unchanged",
    "networks given up",
    "seconds of all trainings, finalists too, with / without",
    "validation accuracy, with − without (95 % interval)",
)


def settings_of(number: int, space: str, invariant: str, share: float | None, generations: int) -> EvolveSettings:
    """One study."""
    return changed(
        study_file(Path(__file__).with_name("noisy-digits.toml")),
        data={"split_seed": number, "noise_seed": number},
        search={"seed": number, "space": space, "invariant": invariant, "generations": generations},
        run={"prune_at": share, "training": "population", "tune": False},
    )


def run(number: int, space: str, invariant: str, share: float | None, generations: int) -> dict[str, Any]:
    """The winner of one study, and what it took."""
    with tempfile.TemporaryDirectory() as place:
        outcome = evolve(place, settings_of(number, space, invariant, share, generations))
    origin, candidates = outcome.provenance["origin"], outcome.provenance["candidates"]
    return {
        "origin": {key: value for key, value in origin.items() if key != "genome"},
        "theta": origin.get("genome"),
        "loss": outcome.loss.to_json(),
        "validation": outcome.provenance["validation"],
        "candidates": candidates,
        "seconds": outcome.seconds,
    }


def unchanged(pair: dict[str, Any]) -> bool:
    """Whether both studies of a pair choose the same loss."""
    first, second = pair["without"], pair["with"]
    if first["origin"] != second["origin"]:
        return False
    thetas = first["theta"], second["theta"]
    return thetas[0] is thetas[1] is None or bool(np.allclose(*thetas, rtol=1e-6, atol=1e-9))


def table(document: dict[str, Any]) -> list[str]:
    """The outcome as a table."""
    rows = []
    for space, invariant in SPACES:
        pairs = [pair for pair in document["pairs"] if pair["space"] == space]
        gone = sum(pair["with"]["candidates"]["dropped trainings"] for pair in pairs)
        trained = sum(pair["with"]["candidates"]["trainings"] for pair in pairs)
        ratios = [pair["with"]["seconds"]["training"] / pair["without"]["seconds"]["training"] for pair in pairs]
        differences = [pair["with"]["validation"]["mean"] - pair["without"]["validation"]["mean"] for pair in pairs]
        half = float(stats.sem(differences) * stats.t.ppf(0.975, len(pairs) - 1)) if len(pairs) > 1 else float("nan")
        rows.append(
            [
                f"{space}, {invariant}",
                len(pairs),
                sum(map(unchanged, pairs)),
                f"{gone} of {trained} ({gone / trained:.0%})",
                f"{np.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
                f"{100 * np.mean(differences):+.2f} ± {100 * half:.2f} points",
            ]
        )
    return markdown(HEAD, rows)


def page(document: dict[str, Any]) -> list[str]:
    """The outcome as a page."""
    return [
        "# Giving up hopeless networks early",
        "",
        f"`python experiments/pruning.py results/pruning --studies {document['studies']} "
        f"--share {document['share']:g} --generations {document['generations']}`, torch {document['torch']}, "
        f"{document['threads']} thread(s).",
        "",
        *table(document),
    ]


def compared(number: int, space: str, invariant: str, share: float, generations: int) -> dict[str, Any]:
    """A pair of studies; which of them is first changes from number to number, so that the seconds can be compared."""
    pair: dict[str, Any] = {"study": number, "space": space, "invariant": invariant}
    for name in ("without", "with") if number % 2 else ("with", "without"):
        pair[name] = run(number, space, invariant, share if name == "with" else None, generations)
    print(json.dumps({"study": number, "space": space, "unchanged": unchanged(pair)}), flush=True)
    return pair


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--generations", type=int, default=20)
    given = parser.parse_args()
    sizes = given.share, given.generations
    document = {
        "studies": given.studies,
        "share": given.share,
        "generations": given.generations,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "pairs": [compared(number, *space, *sizes) for number in range(given.studies) for space in SPACES],
    }
    given.target.mkdir(parents=True, exist_ok=True)
    write_json(document, given.target / "runs.json")
    write_whole(("\n".join(page(document)) + "\n").encode(), given.target / "summary.md")
    print("\n".join(table(document)))


if __name__ == "__main__":
    main()
