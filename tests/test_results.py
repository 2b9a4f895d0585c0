"""What the README claims stands in the kept results."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import lossmith

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
KEPT = sorted(path.parent for path in (ROOT / "results").glob("*/*/comparison.json"))


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "@@" not in README


def test_the_tables_of_the_readme_are_those_of_the_results(experiment: Callable[[str], ModuleType]) -> None:
    document = json.loads((ROOT / "results/noisy-digits/0/comparison.json").read_text(encoding="utf-8"))
    assert experiment("table").table(document) in README


def test_at_least_five_searches_of_the_demo_are_kept() -> None:
    assert len([folder for folder in KEPT if folder.parent.name == "noisy-digits"]) >= 5


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_kept_search_is_whole_and_its_summary_is_that_of_its_runs(folder: Path) -> None:
    document = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    rows = json.loads((folder.parent / "summary.json").read_text(encoding="utf-8"))
    row = next(row for row in rows if row["search"] == int(folder.name))
    ours = next(row for row in document["rows"] if row["name"] == "evolved")
    scores = {entry["name"]: statistics.mean(run["test"] for run in entry["runs"]) for entry in document["rows"]}
    assert row["evolved"] == pytest.approx(scores["evolved"])
    assert row["rank"] == 1 + sum(score > scores["evolved"] for score in scores.values())
    assert row["networks"] == len({run["seed"] for run in ours["runs"]}) >= 30
    assert lossmith.load(folder / "best.json").terms == lossmith.Loss.from_json(ours["loss"]).terms
