"""Comparisons of less effort on the kept searches: do they find the verdicts of thorough ones, and at which cost?

    python experiments/efforts.py results/noisy-digits results/efforts --searches 5

Written down before the run, after the effort ``standard`` had been chosen on runs with other seeds (100 and above).
A verdict: the best baseline on validation data, and what is said of the evolved loss against it on test data: ahead,
behind, or not told apart (95 % interval of the mean gain, paired by network). (1) With the seeds of the kept thorough
comparisons, ``standard`` gives their verdicts on all five searches. (2) With two sets of other seeds, it gives them at
least as often as a thorough comparison with one such set does: that one shows what is luck. (3) It takes at most a
quarter of the cost of a thorough comparison. Cost: epochs of networks, of tuning and final networks together; the
search of the rival, which only a thorough one has, is left out of that, which is against ``standard``. ``quick`` is
told beside it, without a claim. Seconds of one run beside others are told, too; they depend on what else the machine
did.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import markdown, paired
from program import digest_of, kept
from scipy import stats

from lossmith.analysis import Comparison
from lossmith.io import read_json, write_json
from lossmith.losses import load
from lossmith.study import CompareSettings, Store, compare_losses, read_settings

EFFORTS = ("quick", "standard", "thorough")
# Seeds of the comparisons, less the number of the search, and the efforts that have runs with them.
RUNS = {0: EFFORTS[:2], 200: EFFORTS, 300: EFFORTS[:2]}
QUARTER = 0.25
RIVAL = "label smoothing + MAE, searched"


def run(folder: Path, number: int, effort: str, base: int, work: Path) -> dict[str, Any]:
    """One comparison of the winner of a kept search."""
    settings, loss = read_settings(folder / "study.toml"), load(folder / "best.json")
    asked = {"seeds": 30, "comparison_seed": base + number, "effort": effort, "rival": False}
    options = CompareSettings.model_validate(asked)
    work_of = asdict(options.work)
    key = digest_of(json.dumps([settings.model_dump(mode="json"), loss.key(), asked, work_of, torch.__version__]))
    place = work / f"{number}-{effort}-{base}"

    def made() -> dict[str, Any]:
        started = time.perf_counter()
        found = compare_losses({"evolved": loss}, settings, place, options)
        seconds = time.perf_counter() - started
        about = {"search": number, "effort": effort, "seeds": base + number}
        return {**about, "cost": cost_of(place, options.seeds), "seconds": seconds, **verdict(found)}

    found: dict[str, Any] = kept(place.with_suffix(".json"), key, made)
    return found


def cost_of(directory: Path, seeds: int) -> int:
    """Epochs of all networks that a comparison trained."""
    with Store(directory) as store:
        chunks = [json.loads(row["chunk"]) for row in store.rows("SELECT chunk FROM run")]
    tuned = sum(len(one["tuning"]) * len(one["seeds"]) * one["stop"] for one in chunks if "tuning" in one)
    return int(tuned + seeds * sum(row["stop"] for one in chunks if "final" in one for row in one["final"]))


def verdict(found: Comparison) -> dict[str, Any]:
    """The best baseline on validation data, and the gain of the evolved loss on it, paired by network."""
    rows = [row for row in found.rows if row.baseline and row.name != RIVAL]
    best = max(rows, key=lambda row: row.mean("validation"))
    gains = np.subtract(found.row("evolved").column("test"), best.column("test"))
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    mean = float(gains.mean())
    says = "ahead" if mean > half else "behind" if mean < -half else "not told apart"
    return {
        "best": best.name,
        "gain": mean,
        "half": float(half),
        "says": says,
        "evolved": found.row("evolved").mean("test"),
        "p": paired(gains.tolist()),
    }


def page(document: dict[str, Any], command: str) -> list[str]:
    """The page of the runs."""
    rows, lines = document["runs"], list[tuple[str, ...]]()
    for row in sorted(rows, key=lambda row: (row["search"], ("kept", *EFFORTS).index(row["effort"]), row["seeds"])):
        gain = f"{100 * row['gain']:+.2f} ± {100 * row['half']:.2f}"
        known = row["cost"] is not None
        cost, seconds = (f"{row['cost']:,}", f"{row['seconds']:.0f}") if known else ("", "")
        same = "" if row["effort"] == "kept" else "yes" if row in agreeing(rows, row["effort"]) else "no"
        about = (str(row["search"]), row["effort"], str(row["seeds"]))
        lines.append((*about, row["best"], gain, row["says"], same, cost, seconds))
    head = (
        *("search", "effort", "seeds", "best baseline on validation data", "gain on it, points", "evolved is"),
        *("as kept", "epochs of networks", "seconds"),
    )
    found = {
        effort: "; ".join(
            f"{len(agreeing(rows, effort, others))} of {len(of(rows, effort, others))} with {what} seeds"
            for others, what in ((False, "the kept"), (True, "other"))
            if of(rows, effort, others)
        )
        for effort in EFFORTS
    }
    ratios = ratios_of(rows)
    return [
        "# Comparisons of less effort",
        "",
        f"`{command}`; the claims stand at the head of `experiments/efforts.py`. Gain: mean test accuracy of the "
        "evolved loss less that of the baseline, 30 networks each, paired by network, with half of its 95 % "
        "interval. Kept: the thorough comparison of [the five searches](../noisy-digits/summary.md), less the search "
        "of the rival.",
        "",
        *markdown(head, lines),
        "",
        *(f"- `{effort}` gives the verdict of the kept comparison in {found[effort]}." for effort in EFFORTS),
        *(
            f"- `{effort}` takes **{cost:.2f}** of the epochs of `thorough`, and {seconds:.2f} of its seconds."
            for effort, (cost, seconds) in ratios.items()
        ),
        f"- A thorough comparison also searches the rival: {document['rival']:,} epochs of networks, if no candidate "
        f"is refused, and its tuning besides. With that, `standard` takes {with_rival(document):.2f} of its epochs.",
        "- The machine had other work meanwhile, so the seconds are rough.",
        f"- {claims(document)}",
        "",
    ]


def command_of(document: dict[str, Any]) -> str:
    """What makes the runs again."""
    return f"python experiments/efforts.py results/noisy-digits results/efforts --searches {document['searches']}"


def of(rows: list[dict[str, Any]], effort: str, others: bool | None = None) -> list[dict[str, Any]]:
    """The runs of an effort, with the kept seeds or with others."""
    mine = [row for row in rows if row["effort"] == effort]
    return [row for row in mine if others is None or others == (row["seeds"] != row["search"])]


def agreeing(rows: list[dict[str, Any]], effort: str, others: bool | None = None) -> list[dict[str, Any]]:
    """The runs of an effort that give the verdict of the kept comparison."""
    by = {row["search"]: row for row in of(rows, "kept")}
    return [
        row
        for row in of(rows, effort, others)
        if all(row[name] == by[row["search"]][name] for name in ("best", "says"))
    ]


def ratios_of(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """The mean cost of the smaller efforts through that of thorough, in epochs and in seconds."""

    def mean(effort: str, name: str) -> float:
        return float(np.mean([row[name] for row in of(rows, effort)]))

    return {
        effort: (mean(effort, "cost") / mean("thorough", "cost"), mean(effort, "seconds") / mean("thorough", "seconds"))
        for effort in EFFORTS[:2]
    }


def claims(document: dict[str, Any]) -> str:
    """Which of the claims hold."""
    rows = document["runs"]

    def share(effort: str, others: bool) -> float:
        return len(agreeing(rows, effort, others)) / len(of(rows, effort, others))

    held = (
        share("standard", others=False) == 1,
        share("standard", others=True) >= share("thorough", others=True),
        ratios_of(rows)["standard"][0] <= QUARTER,
    )
    told = " ".join(f"Claim ({number + 1}) {'holds' if one else 'is missed'}." for number, one in enumerate(held))
    return f"{told} With the search of the rival, (3) {'holds' if with_rival(document) <= QUARTER else 'is missed'}."


def rival_cost(folder: Path) -> int:
    """Epochs of networks of the search of a rival, as many candidates as the evolved loss had."""
    settings = read_settings(folder / "study.toml")
    assert settings.recipe.epochs is not None
    candidates = settings.search.population * settings.search.generations
    return int(candidates * settings.run.replicates * settings.run.partial * settings.recipe.epochs)


def with_rival(document: dict[str, Any]) -> float:
    """The mean cost of standard through that of thorough, with the search of the rival."""
    means = {
        effort: float(np.mean([row["cost"] for row in of(document["runs"], effort)]))
        for effort in ("standard", "thorough")
    }
    return means["standard"] / (means["thorough"] + float(document["rival"]))


def main() -> None:
    """Run all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, help="results of experiments/searches.py")
    parser.add_argument("target", type=Path, help="where results are written")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("efforts-work"))
    parser.add_argument("--again", action="store_true", help="write the page anew; nothing is trained")
    given = parser.parse_args()
    file = given.target / "runs.json"
    if given.again:
        document = read_json(file)
    else:
        given.work.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        for number in range(given.searches):
            folder = given.kept / str(number)
            before = verdict(Comparison.from_json(read_json(folder / "comparison.json")))
            about = {"search": number, "effort": "kept", "seeds": number, "cost": None, "seconds": None}
            rows.append({**about, **before})
            for base, efforts in RUNS.items():
                rows += [run(folder, number, effort, base, given.work) for effort in efforts]
        made = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        document = {"runs": rows, "searches": given.searches, "rival": rival_cost(given.kept / "0"), **made}
        given.target.mkdir(parents=True, exist_ok=True)
        write_json(document, file)
    (given.target / "summary.md").write_text("\n".join(page(document, command_of(document))), encoding="utf-8")


if __name__ == "__main__":
    main()
