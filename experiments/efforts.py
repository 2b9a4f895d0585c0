"""Comparisons of less effort on the kept searches: do they find the verdicts of thorough ones, and in which time?

    python experiments/efforts.py results/noisy-digits results/efforts --searches 5 --timed 2

Written down before the run. (1) On each kept search, the effort ``standard`` names the same best baseline on validation
data as the kept thorough comparison, and says the same of the evolved loss against it on test data: ahead, behind, or
not told apart (95 % interval of the mean gain, paired by network). (2) It takes at most a quarter of the time.
``quick`` is told beside it, without a claim. Time: tuning and final networks with all baselines, without the search of
the rival, which is the same for all efforts; all efforts one after the other in this process, on the first ``--timed``
searches.
"""

import argparse
import json
import time
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
from lossmith.study import CompareSettings, compare_losses, read_settings

EFFORTS = ("quick", "standard", "thorough")
RIVAL = "label smoothing + MAE, searched"


def run(folder: Path, number: int, effort: str, work: Path) -> dict[str, Any]:
    """One comparison of the winner of a kept search."""
    settings, loss = read_settings(folder / "study.toml"), load(folder / "best.json")
    asked = {"seeds": 30, "comparison_seed": number, "effort": effort, "rival": False}
    options = CompareSettings.model_validate(asked)
    key = digest_of(json.dumps([settings.model_dump(mode="json"), loss.key(), asked, torch.__version__]))

    def made() -> dict[str, Any]:
        started = time.perf_counter()
        found = compare_losses({"evolved": loss}, settings, work / f"{number}-{effort}", options)
        return {"search": number, "effort": effort, "seconds": time.perf_counter() - started, **verdict(found)}

    found: dict[str, Any] = kept(work / f"{number}-{effort}.json", key, made)
    return found


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
    for number in sorted({row["search"] for row in rows}):
        for effort in ("kept", *EFFORTS):
            for row in (row for row in rows if (row["search"], row["effort"]) == (number, effort)):
                gain = f"{100 * row['gain']:+.2f} ± {100 * row['half']:.2f}"
                seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
                lines.append((str(number), effort, row["best"], gain, row["says"], seconds))
    head = ("search", "effort", "best baseline on validation data", "gain on it, points", "evolved is", "seconds")
    ratios = ratios_of(rows)
    same = agreeing(rows, "standard")
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
        f"- `standard` names the same best baseline and says the same in **{same} of {document['searches']}** "
        f"searches; `quick` in {agreeing(rows, 'quick')}.",
        *(
            f"- `{effort}` takes **{ratio:.2f}** of the time of `thorough` (searches: {document['timed']})."
            for effort, ratio in ratios.items()
        ),
        "- The machine had other work meanwhile, and not the same all the time, so the times are rough.",
        "- A first try of `standard`, with one seed for each setting and three fresh seeds, gave the verdict of none "
        "of the five: unstable losses were tuned to rates at which they diverge ([its runs](one-seed.json)).",
        "",
    ]


def command_of(document: dict[str, Any]) -> str:
    """What makes the runs again."""
    return (
        f"python experiments/efforts.py results/noisy-digits results/efforts --searches {document['searches']} "
        f"--timed {document['timed']}"
    )


def agreeing(rows: list[dict[str, Any]], effort: str) -> int:
    """In how many searches an effort gives the verdict of the kept comparison."""
    by = {(row["search"], row["effort"]): row for row in rows}
    numbers = [number for number, one in by if one == effort]
    return sum(
        all(by[number, effort][name] == by[number, "kept"][name] for name in ("best", "says")) for number in numbers
    )


def ratios_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The time of the smaller efforts through that of thorough, over the searches that have both."""
    seconds = {(row["search"], row["effort"]): row["seconds"] for row in rows}
    numbers = [number for number, effort in seconds if effort == "thorough"]
    whole = sum(seconds[number, "thorough"] for number in numbers)
    return {effort: sum(seconds[number, effort] for number in numbers) / whole for effort in EFFORTS[:2] if numbers}


def main() -> None:
    """Run all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, help="results of experiments/searches.py")
    parser.add_argument("target", type=Path, help="where results are written")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--timed", type=int, default=2, help="on how many searches thorough is run, too")
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
            rows.append({"search": number, "effort": "kept", "seconds": None, **before})
            efforts = EFFORTS if number < given.timed else EFFORTS[:2]
            rows += [run(folder, number, effort, given.work) for effort in efforts]
        made = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        document = {"runs": rows, "searches": given.searches, "timed": given.timed, **made}
        given.target.mkdir(parents=True, exist_ok=True)
        write_json(document, file)
    (given.target / "summary.md").write_text("\n".join(page(document, command_of(document))), encoding="utf-8")


if __name__ == "__main__":
    main()
