"""What README and docs claim stands in the kept results."""

import importlib
import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lossmith
import lossmith.theory
from lossmith.analysis import Comparison, Grid
from lossmith.theory import symbolic

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
USE, EVIDENCE = (ROOT / "docs" / name for name in ("label-noise.md", "label-noise-evidence.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORTH = (ROOT / "docs" / "worth.md").read_text(encoding="utf-8")
FAQ = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
CHOICE = (ROOT / "docs" / "which-loss.md").read_text(encoding="utf-8")
SPEED = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
THEORY = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
ROBUSTNESS = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
TABLE1 = {"MNIST": "mnist", "CIFAR-10": "cifar10"}
REGULARIZERS = {"Digits": "digits", "MNIST": "mnist"}
PAPER = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
CELLS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAPER.splitlines()]
EQUATIONS = [row for row in CELLS if len(row) == 6 and row[0][:1].isdigit()]
Almost = Callable[[Any, Any], bool]
KEPT = sorted(path.parent for path in (ROOT / "results").glob("*/*/comparison.json"))


def test_nothing_is_left_to_be_filled_in() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert "@@" not in page.read_text(encoding="utf-8"), page


def test_the_table_of_the_demo_is_that_of_the_results(experiment: Callable[[str], ModuleType]) -> None:
    document = json.loads((ROOT / "results/noisy-digits/0/comparison.json").read_text(encoding="utf-8"))
    assert experiment("table").table(document) in WORTH


def test_what_the_pages_say_of_the_searches(experiment: Callable[[str], ModuleType], almost: Almost) -> None:
    document = json.loads((ROOT / "results/noisy-digits/summary.json").read_text(encoding="utf-8"))
    rows, over = document["searches"], document["over_searches"]
    program = experiment("searches_page")
    assert program.overview(rows, "../results/noisy-digits") in WORTH
    # The last digits are SciPy's.
    assert almost(over, program.over_searches(rows))
    for name in ("best baseline on validation", "best earlier baseline on validation", "cross-entropy"):
        gap = over[name]
        low, mean, high = (f"{100 * gap[key]:+.2f}" for key in ("low", "mean", "high"))
        text = f"by {mean} points [{low}, {high}], p = {gap['p']:.2g}"
        assert f"{text}, in {gap['ahead']} of 5" in WORTH
        assert name != "best baseline on validation" or text in CHANGELOG
    for name, words in (
        ("cross-entropy", "{:+.1f} points of test accuracy over tuned cross-entropy, 95 % interval [{:+.1f}, {:+.1f}]"),
        (
            "best earlier baseline on validation",
            "{:+.1f} points [{:+.1f}, {:+.1f}] over the best loss that was listed before",
        ),
        (
            "best baseline on validation",
            "{:+.1f} points [{:+.1f}, {:+.1f}] over the best loss that was written by hand",
        ),
    ):
        assert words.format(*(100 * over[name][key] for key in ("mean", "low", "high"))) in README
    gains = [100 * row["gain"]["mean"] for row in rows]
    assert f"between {min(gains):.2f} and {max(gains):+.2f} points" in CHOICE
    tuned, listed = (100 * over[name]["mean"] for name in ("cross-entropy", "best earlier baseline on validation"))
    assert f"{tuned:.1f} points above tuned cross-entropy, and {listed:.1f} above the best loss" in CHOICE
    assert f"gained {tuned:.1f} points over tuned cross-entropy" in FAQ
    assert {row["gain"]["over"] for row in rows} == {row["best_baseline"] for row in rows} == {"label smoothing + Σh²"}
    assert over["best baseline on validation"]["p"] > 0.05
    assert {"label smoothing + Σh²", "label smoothing + soft bootstrapping"} < set(rows[0]["baselines"])


def test_what_the_page_says_of_distilled_losses() -> None:
    rows = json.loads((ROOT / "results/noisy-digits/summary.json").read_text(encoding="utf-8"))["searches"]
    found = [row["distilled"] for row in rows]
    left = [one["left"] for one in found]
    assert {one["terms"] for one in found} == {6}
    assert f"of six terms {min(left)} to {max(left)} are left" in WORTH
    assert all("y log h" in one["dropped"] and "log h" not in one["dropped"] for one in found)
    lost = sorted(100 * (one["whole"] - one["smallest"]) for one in found)
    assert max(lost[:2]) < 0.2
    assert f"{lost[2]:.1f} to {lost[4]:.1f} points behind in three" in WORTH
    for row in rows:
        kept = json.loads(
            (ROOT / f"results/noisy-digits/{row['search']}/distillation.json").read_text(encoding="utf-8")
        )
        assert len(kept["tested"][-1]["runs"]) == row["networks"]


def test_what_the_pages_say_of_clean_labels() -> None:
    (row,) = json.loads((ROOT / "results/clean-digits/summary.json").read_text(encoding="utf-8"))["searches"]
    figures = {name: 100 * row["baselines"][name]["test"] for name in row["baselines"]}
    assert (
        f"{100 * row['evolved']:.1f} % for it, {figures['label smoothing + MAE']:.1f} % for label smoothing + MAE, "
        f"{figures['label smoothing']:.1f} % for label smoothing, {figures['cross-entropy']:.1f} % for cross-entropy, "
        f"rank {row['rank']} of {row['losses']} (one search, {row['networks']} networks of each; gain on "
        f"{row['gain']['over']} {100 * row['gain']['mean']:+.2f} points [{100 * row['gain']['low']:+.2f}, "
        f"{100 * row['gain']['high']:+.2f}], p = {row['gain']['p']:.2g})"
    ) in WORTH
    assert (
        f"the evolved loss reached {100 * row['evolved']:.1f} %, label smoothing + MAE "
        f"{figures['label smoothing + MAE']:.1f} % and label smoothing {figures['label smoothing']:.1f} %, "
        f"cross-entropy {figures['cross-entropy']:.1f} %"
    ) in CHOICE


def split(table: str) -> list[list[str]]:
    """The rows of a Markdown table, in cells."""
    return [line.split("|") for line in table.splitlines()]


def test_which_loss_quotes_the_pages_it_links_to() -> None:
    """Figures that other pages hold, which other tests compare with the kept runs."""
    imbalance = (ROOT / "docs" / "imbalance.md").read_text(encoding="utf-8")
    rows = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in split(imbalance) if len(row) == 6}
    plain, focal, smoothing = (rows[name] for name in ("cross-entropy", "focal:2", "label-smoothing:0.2"))
    assert plain[1] == plain[2]
    assert (
        f"cross-entropy went from {plain[0]} to {plain[1]} balanced accuracy with either, focal loss from {focal[0]} "
        f"to {focal[1]}, label smoothing from {smoothing[0]} to {smoothing[1]}"
    ) in CHOICE
    use = USE.read_text(encoding="utf-8")
    for words in (
        r"removes \d+ % of cross-entropy's errors",
        r"\d+ to \d+ points",
        r"less than \d+ % wrong labels",
    ):
        found = set(re.findall(words, CHOICE))
        assert found
        assert found <= set(re.findall(words, use)), words
    assert "ANL, LogitClip and label smoothing + Σh² are about 5 points" in CHOICE
    assert "ANL, LogitClip and label smoothing + Σh² are about 5 points" in use


def test_at_least_five_searches_of_the_demo_are_kept() -> None:
    assert len([folder for folder in KEPT if folder.parent.name == "noisy-digits"]) >= 5


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_kept_search_is_whole_and_its_summary_is_that_of_its_runs(folder: Path) -> None:
    document = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    rows = json.loads((folder.parent / "summary.json").read_text(encoding="utf-8"))["searches"]
    row = next(row for row in rows if row["search"] == int(folder.name))
    ours = next(row for row in document["rows"] if row["name"] == "evolved")
    scores = {entry["name"]: statistics.mean(run["test"] for run in entry["runs"]) for entry in document["rows"]}
    assert row["evolved"] == pytest.approx(scores["evolved"])
    assert row["rank"] == 1 + sum(score > scores["evolved"] for score in scores.values())
    assert row["networks"] == len({run["seed"] for run in ours["runs"]}) >= 30
    ours_again, best = lossmith.Loss.from_json(ours["loss"]), lossmith.load(folder / "best.json")
    assert isinstance(ours_again, lossmith.PowerLoss)
    assert isinstance(best, lossmith.PowerLoss)
    assert best.terms == ours_again.terms


@pytest.mark.parametrize("name", ["clean-digits", "noisy-digits"])
def test_the_page_of_the_searches_is_that_of_their_rows(experiment: Callable[[str], ModuleType], name: str) -> None:
    target = Path("results") / name
    rows = json.loads((ROOT / target / "summary.json").read_text(encoding="utf-8"))["searches"]
    page = (ROOT / target / "summary.md").read_text(encoding="utf-8")
    assert page == experiment("searches").summary(rows, Path(f"experiments/{name}.toml"), target)
    assert {row["test_samples"] for row in rows} == {449}
    for text in ("449", f"{100 / 449:.2f} points", f"{100 * math.sqrt(0.98 * 0.02 / 449):.2f} points"):
        assert text in WORTH
        assert text in RESULTS


def test_the_page_of_the_measures_is_that_of_their_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder = ROOT / "results" / "measures"
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = experiment("measures_page").page(document["runs"], document["command"])
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    table = [line for line in lines if line.startswith("| ") and line.count("|") == 13]
    assert len(table) == 11
    for line in table:
        assert line in RESULTS


def test_the_page_of_few_trainings_is_that_of_their_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder = ROOT / "results" / "few"
    jobs = experiment("few").JOBS
    documents = {job: json.loads((folder / f"{job}.json").read_text(encoding="utf-8")) for job in jobs}
    pages = experiment("few_page")
    lines = pages.page(documents)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    # What is the default is what the rule chose, and what the page for users says of it was found.
    scores = pages.Scores(documents)
    chosen = pages.chosen(scores)
    assert chosen == "CMA-ES 8 from the known loss"
    own, told = (chosen, 48), (ROOT / "docs" / "few.md").read_text(encoding="utf-8")
    for gap in (
        pages.known_gap(scores, own, ("CMA-ES 16", 48)),
        pages.known_gap(scores, ("CMA-ES 8", 48), ("CMA-ES 16", 48)),
        pages.known_gap(scores, ("no search", 48), own),
        *pages.gains(scores, chosen),
        *(pages.known_gap(scores, own, ("CMA-ES 16", 320), [job]) for job in scores.jobs),
    ):
        assert str(gap) in told


def test_the_page_of_formulas_is_that_of_their_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program = ROOT / "results" / "glo", experiment("glo")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = program.page(document)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    assert {run["job"] for run in document["runs"]} == set(program.JOBS)
    numbers = {run["search"] for run in document["runs"]}
    assert len(numbers) >= 5
    assert len(document["runs"]) == len(numbers) * len(program.JOBS)
    for run in document["runs"]:
        assert [row["method"] for row in run["searches"]] == list(program.METHODS)
        # Equally many trainings, whichever way a search goes.
        assert len({row["trainings"] for row in run["searches"]}) == 1
        assert all(len(row["test"]) == program.NETWORKS for row in run["comparison"]["rows"].values())
    # The pages for users hold the tables, word for word.
    paper = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    systems = experiment("glo_tables").systems_table(experiment("glo_scores").Scores(document["runs"]))
    assert "\n".join(line for line in systems if line.startswith("|")) in paper
    claims = experiment("glo_page").claims_table(experiment("glo_scores").Scores(document["runs"]))
    assert "\n".join(line for line in claims if line.startswith("|")) in RESULTS


def test_the_page_of_other_data_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder = ROOT / "results" / "everywhere"
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = experiment("everywhere").page(document["runs"], document["command"])
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    assert "\n".join(line for line in lines if line.startswith("|")) in RESULTS
    ranks = [row["rank"] for row in document["runs"]]
    assert ranks.count(1) == 1
    assert "the evolved loss is first on one only, by 2 points" in WORTH
    assert "first on [one of four](docs/results.md#the-same-search-on-other-data)" in README
    assert len(ranks) == 4
    (first,) = [row for row in document["runs"] if row["rank"] == 1]
    assert round(100 * (first["evolved"] - first["strongest_on_test_test"])) == 2


def test_the_page_of_the_fitness_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program = ROOT / "results" / "fitness", experiment("fitness")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = program.page(document)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    # The page for users holds the table, word for word.
    docs = EVIDENCE.read_text(encoding="utf-8")
    table = [line for line in lines if line.startswith("|")]
    assert "\n".join(table[table.index(next(line for line in table if line.startswith("| figure"))) :]) in docs
    draws = {row["draw"] for row in document["runs"]}
    assert len(document["runs"]) == len(draws) * len(program.SETTINGS)
    for row in document["runs"]:
        assert {len(values) for values in (row["test"], *row["figures"].values())} == {program.CANDIDATES}


def test_the_page_of_noisy_labels_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, runs = ROOT / "results" / "noisy", experiment("noisy_runs")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = experiment("noisy_page").page(document)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    # The page for users holds the tables, word for word.
    docs = EVIDENCE.read_text(encoding="utf-8")
    claims, accuracies, _, published, _ = (table for table in "\n".join(lines).split("\n\n") if table.startswith("|"))
    assert all(table in docs for table in (claims, accuracies, published))
    short = re.search(r"(?s)\n## Which loss should I take\?\n.*?\n\n(\|.*?)\n\n", USE.read_text(encoding="utf-8"))
    assert short is not None
    assert set(short[1].split("\n")) < set(accuracies.split("\n"))
    rows, numbers = document["runs"], {row["number"] for row in document["runs"]}
    assert len(numbers) >= 3
    assert len(rows) == len(numbers) * len(runs.SETTINGS) * (len(runs.RIVALS) + 4)
    for row in rows:
        assert len(row["test"]) == len(row["validation"]) == runs.NETWORKS
        assert row["trainings"] <= (48 if row["row"] in runs.SPACES else 20)


def test_the_page_of_transfer_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program = ROOT / "results" / "transfer", experiment("transfer")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = program.page(document)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    docs = EVIDENCE.read_text(encoding="utf-8")
    assert all(table in docs for table in "\n".join(lines).split("\n\n") if table.startswith("|"))
    targets, numbers = len(program.SETTINGS) + len(program.LARGER), {row["number"] for row in document["runs"]}
    # Every loss of its own number, cross-entropy and the shipped one.
    assert len(document["runs"]) == targets * len(numbers) * (len(program.SETTINGS) + 2)
    assert all(len(row["test"]) == program.NETWORKS for row in document["runs"])


def test_the_page_of_the_second_chance_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program, runs = ROOT / "results" / "second", experiment("second"), experiment("noisy_runs")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = program.page(document)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    claims, accuracies, *_ = (table for table in "\n".join(lines).split("\n\n") if table.startswith("|"))
    assert claims in RESULTS
    assert accuracies in RESULTS
    cells = {row[1].strip(): [cell.split()[0] for cell in row[2:-1] if cell.split()] for row in split(accuracies)}
    baikal, smoothing, plain = (float(cells[name][1]) for name in ("Baikal", "label smoothing", "cross-entropy"))
    assert (
        f"Baikal was best ({baikal:.1f} %), label smoothing had {smoothing:.1f} % and cross-entropy {plain:.1f} %"
    ) in CHOICE
    (versus,) = (row for row in split(claims) if "> label smoothing" in row[1])
    assert f"not better than label smoothing: {versus[2].strip()} points {versus[3].strip()}" in CHOICE
    numbers = {row["number"] for row in document["runs"]}
    assert len(numbers) >= 5
    assert len(document["runs"]) == len(numbers) * len(runs.CLEAN) * (len(program.RIVALS) + len(runs.SPACES))
    for row in document["runs"]:
        assert len(row["test"]) == runs.NETWORKS
        assert row["trainings"] <= (48 if row["row"] in runs.SPACES else 20)


def test_the_page_of_the_loss_that_ships_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program, pages = ROOT / "results" / "shipped", experiment("shipped"), experiment("shipped_page")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = pages.page(document, {name: job.wrong for name, job in program.JOBS.items()})
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    # What shipped first is what the rule said, and the page for users holds a table, word for word.
    assert "By the rule **two numbers** ships." in lines
    assert document["two_numbers"] == program.TWO_NUMBERS
    docs = EVIDENCE.read_text(encoding="utf-8")
    tables = "\n".join(lines).split("\n\n")
    (table,) = (table for table in tables if table.startswith("| wrong labels |"))
    assert table in docs
    assert len(document["runs"]) == program.DRAWS
    for draw in document["runs"]:
        assert list(draw) == list(program.JOBS)


def test_the_page_of_the_gentler_loss_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program, pages = ROOT / "results" / "gentler", experiment("gentler"), experiment("gentler_page")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    groups = {"the 17 jobs": list(program.JOBS), "the nine": list(program.SLOW)}
    lines = pages.page(document, groups, program.AGAIN_FROM)
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    # What ships is what the rule says, with the numbers that were tested.
    assert "By the new rule the second **replaces** the first." in lines
    assert document["numbers"] == pytest.approx(experiment("versions").SECOND)
    docs = EVIDENCE.read_text(encoding="utf-8")
    assert all(table in docs for table in "\n".join(lines).split("\n\n") if table.startswith("|"))
    assert len(document["draws"]) == program.DRAWS
    numbers = {row["number"] for row in document["runs"]}
    assert sum(number >= program.AGAIN_FROM for number in numbers) == program.ASKED_AGAIN


def test_the_page_of_the_suspects_is_that_of_their_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program = ROOT / "results" / "suspects", experiment("suspects_page")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    assert "\n".join(program.page(document)) + "\n" == (folder / "summary.md").read_text(encoding="utf-8")
    docs = EVIDENCE.read_text(encoding="utf-8")
    assert "\n".join(program.table(document["runs"], program.SHORT)) in docs
    for run in document["runs"]:
        if run["cleanlab"]:
            assert run["cleanlab"]["self_confidence"] == pytest.approx(run["mean"]["self-confidence"], abs=1e-4)
            assert run["cleanlab"]["normalized_margin"] == pytest.approx(run["mean"]["margin"], abs=1e-4)
    verdicts = [line for line in program.page(document) if line.startswith("**(")]
    assert len(verdicts) == 5
    assert all("Held" in line for line in verdicts)
    sentences = (
        "0.920 against 0.911 and 0.912",
        "0.914 after the last epoch",
        "0.851 with cross-entropy",
        "0.600 against 0.597",
    )
    assert all(sentence in docs for sentence in sentences)
    for sentence, line in zip(sentences, (*verdicts[:3], verdicts[2]), strict=True):
        assert all(number in line for number in re.findall(r"\d\.\d{3}", sentence))


def test_the_page_of_the_probe_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program = ROOT / "results" / "probe", experiment("probe")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    assert "\n".join(program.page(document)) + "\n" == (folder / "summary.md").read_text(encoding="utf-8")
    docs = EVIDENCE.read_text(encoding="utf-8")
    assert "\n".join(program.settings_table(document["runs"])) in docs
    assert len([line for line in program.verdicts(document["runs"]) if line.startswith("**(")]) == 4
    for run in document["runs"]:
        assert run["estimate"] == pytest.approx((run["low"] + run["high"]) / 2)


def test_what_the_rule_of_the_probe_rests_on() -> None:
    """Searches on noisy labels in which the evolved loss came first, as the probe's sentence counts them."""
    noisy = (ROOT / "results" / "noisy-digits" / "summary.md").read_text(encoding="utf-8")
    ranks = re.findall(r"^\| \[\d\]\([^|]*\|[^|]*\| (\d+) of 14 \|", noisy, re.MULTILINE)
    other = json.loads((ROOT / "results" / "everywhere" / "runs.json").read_text(encoding="utf-8"))["runs"]
    first, searches = ranks.count("1") + [row["rank"] for row in other].count(1), len(ranks) + len(other)
    source = (ROOT / "src" / "lossmith" / "study" / "probed.py").read_text(encoding="utf-8")
    assert f"came first in {first} of {searches} searches" in source
    docs = USE.read_text(encoding="utf-8")
    assert f"[{ranks.count('1')} of {len(ranks)}](../results/noisy-digits/summary.md)" in docs


def test_the_page_of_the_efforts_is_that_of_their_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, program = ROOT / "results" / "efforts", experiment("efforts")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    assert "\n".join(program.page(document, program.command_of(document))) == (folder / "summary.md").read_text("utf-8")
    numbers = {row["search"] for row in document["runs"]}
    for number in numbers:
        kept = json.loads((ROOT / f"results/noisy-digits/{number}/comparison.json").read_text(encoding="utf-8"))
        (row,) = [one for one in document["runs"] if (one["search"], one["effort"]) == (number, "kept")]
        again = program.verdict(Comparison.from_json(kept))
        assert {name: row[name] for name in ("best", "says")} == {name: again[name] for name in ("best", "says")}


def test_the_page_of_the_rates_is_that_of_their_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder = ROOT / "results" / "rates"
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    lines = experiment("rates").page(document["runs"], document["command"])
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    table = [line for line in lines if line.startswith("|")][:20]
    assert len({tuple(line.split("|")[1:4]) for line in table}) == 20
    assert "\n".join(table) in RESULTS
    means = {(row["job"], row["tuned"], row["factor"]): 100 * statistics.mean(row["test"]) for row in document["runs"]}
    lost = [means[name, False, 1.0] - means[name, False, 16.0] for name in ("digits", "mnist", "table-12")]
    assert f"loses {min(lost):.0f} to {max(lost):.0f} points" in RESULTS
    commands = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert f"a rate that is too high cost {min(lost):.0f} to {max(lost):.0f} points" in commands
    for place in (("mnist", False, 1.0), ("mnist", True, 1.0), ("mnist", False, 1 / 16)):
        assert f"{means[place]:.1f} %" in RESULTS
    assert all(means[name, True, factor] == means[name, True, 1.0] for name, _, factor in means)


def test_the_theory_page_says_what_the_results_say() -> None:
    lines = (ROOT / "results/invariant/summary.md").read_text(encoding="utf-8").splitlines()
    shown = [
        line for line in lines if re.match(r"\| (passes|rejects|up to 0|0 to 0.5|0.5 to 1|1 to 2|above 2) \|", line)
    ]
    assert len(shown) == 9
    for line in shown:
        assert line in THEORY
    judged = json.loads((ROOT / "results/invariant/summary.json").read_text())
    settings = ("image", "features", "five")
    areas = {name: {row["name"]: row["auc"] for row in judged[name]["decides"]} for name in settings}
    first, second, third = (f"{areas[name]['bias growth']:.3f}" for name in settings)
    assert f"{first}, {second} and {third} in the three settings" in THEORY
    assert "({})".format(", ".join(f"{areas[name]['ch/m']:.3f}" for name in settings)) in THEORY
    ends = [f"{judged[name]['one_class_above_2']:.0%}" for name in settings]
    assert f"{ends[0]} of them with images, {ends[1]} with features, {ends[2]} with five classes" in THEORY
    assert f"the nearest reaches {judged['image']['rejected_best']:.1%}" in THEORY
    cells = {(row["exact"], row["published"]): row for row in judged["image"]["cells"]}
    lost, kept = cells[True, False]["left"], cells[True, True]["left"]
    assert f"{lost} of {lost + kept} with images" in THEORY
    example = json.loads((ROOT / "results/invariant/counterexample.json").read_text())
    best = max(example["rates"], key=lambda row: row["mean"])
    assert f"{best['mean']:.1%} ± {best['std']:.1%} (10 seeds, learning rate {best['lr']:g})" in THEORY


def test_the_errata_of_the_theory_page_are_the_derived_ones() -> None:
    rows = [line for line in THEORY.partition("## 8.")[2].splitlines() if re.match(r"\| \d", line)]
    errata = symbolic.errata()
    assert len(rows) == len(errata) == 8
    digits = (3, 1, 1, 4, 4, 2, 0, 0)
    for row, erratum, places in zip(rows, errata, digits, strict=True):
        assert row.startswith(f"| {erratum.equations}")
        for number in erratum.numbers:
            shown = f"{float(number):.{places}f}"
            assert (shown.rstrip("0").rstrip(".") if places in (1, 2) else shown).replace("-", "−") in row


def test_the_trace_is_what_the_pages_say() -> None:
    clean, noisy = (
        {row["name"]: row for row in json.loads((ROOT / f"results/trace/{name}/trace.json").read_text())["losses"]}
        for name in ("clean", "noisy")
    )
    evolved, mnist = noisy["evolved"]["repelled"], clean["TaylorGLO (MNIST)"]
    assert evolved["exact"][:2] == [0, 0]
    assert [round(100 * pick(evolved["exact"][2:])) for pick in (min, max)] == [8, 33]
    assert round(100 * evolved["published"][0]) == 38
    assert set(mnist["repelled"]["published"]) == {1.0}
    assert mnist["repelled"]["exact"][0] == 0
    assert [round(100 * pick(mnist["repelled"]["exact"][1:])) for pick in (min, max, statistics.mean)] == [28, 68, 48]
    assert mnist["accuracy"][-1] == 1
    assert all(share == 0 for rows in (clean, noisy) for share in rows["cross-entropy"]["repelled"]["exact"])


def test_the_robustness_page_says_what_the_results_say(experiment: Callable[[str], ModuleType]) -> None:
    program = experiment("robustness")
    folders = {job: ROOT / "results/robustness" / job for job in ("digits", "mnist")}
    assert program.overview(folders) in ROBUSTNESS
    kept = {job: json.loads((folder / "summary.json").read_text(encoding="utf-8")) for job, folder in folders.items()}

    def points(name: str) -> float:
        (one,) = [claim for claim in kept["digits"]["claims"] if claim["name"] == name]
        return 100 * float(statistics.mean(one["differences"]))

    digits, mnist = (kept[job]["means"] for job in ("digits", "mnist"))
    best = f"label smoothing, {program.NOTE}"
    for words in (
        f"at ε = 0.1 by {points('robust-objective'):.1f} points against the loss evolved for accuracy",
        f"by {points('robust-baseline (residual)'):.1f} points.",
        f"by {points('fgsm-own 0.1'):.1f} points at 0.1 and {points('fgsm-own 0.3'):.1f} at 0.3",
        f"{points('fgsm-worst 0.1'):.1f} points at 0.1, {points('fgsm-worst 0.15'):.1f} at 0.15",
        f"TaylorGLO keeps {100 * digits['TaylorGLO']['worst 0.1']:.1f} % at ε = 0.1, cross-entropy "
        f"{100 * digits['cross-entropy']['worst 0.1']:.1f} %",
        f"over {digits['TaylorGLO']['width90']:.2f} lengths of the filter, cross-entropy over "
        f"{digits['cross-entropy']['width90']:.2f}",
        f"({100 * mnist[best]['worst 0.1']:.1f} % at ε = 0.1; TaylorGLO evolved for robustness "
        f"{100 * mnist['TaylorGLO, robust']['worst 0.1']:.1f} %)",
    ):
        assert words in ROBUSTNESS, words
    for name in ("fgsm-own 0.1", "fgsm-worst 0.1", "robust-objective"):
        assert f"{points(name):+.1f} points" in CHOICE


@pytest.mark.integration
@pytest.mark.parametrize("job", ["digits", "mnist"])
def test_the_claims_of_robustness_are_those_of_their_networks(
    experiment: Callable[[str], ModuleType], almost: Almost, job: str
) -> None:
    program = experiment("robustness")
    folder = ROOT / "results/robustness" / job
    studies = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("study-*.json"))]
    assert len(studies) == program.plan_of(job, job).studies
    kept = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found = program.claims(studies)
    for one, again in zip(kept["claims"], found, strict=True):
        assert almost(one, program.finite(again.to_json(), 6))
    means = {name: program.means(studies, name) for name in studies[0]["losses"]}
    assert almost(kept["means"], program.finite(means, 6))
    page = (folder / "summary.md").read_text(encoding="utf-8").splitlines()
    assert page == program.page(job, studies, found, kept["command"])
    for study in studies:
        for row in study["losses"].values():
            assert len(row["clean"]) >= 10
            assert lossmith.Loss.from_json(row["loss"]).formula() == row["formula"]


def placed(kind: str, folders: dict[str, str]) -> dict[str, Path]:
    """The folders of the results of a program by the name that the page calls them."""
    return {name: ROOT / "results" / kind / folder for name, folder in folders.items()}


@pytest.mark.parametrize(("kind", "folders"), [("table1", TABLE1), ("regularizers", REGULARIZERS)])
class TestResultsPage:
    """docs/results.md says what the raw runs say."""

    def test_its_tables_are_those_of_the_runs(
        self, experiment: Callable[[str], ModuleType], kind: str, folders: dict[str, str]
    ) -> None:
        assert experiment(kind).overview(placed(kind, folders)) in RESULTS

    def test_its_words_have_no_other_figures_than_its_tables(self, kind: str, folders: dict[str, str]) -> None:
        (section,) = (part for part in RESULTS.split("\n## ") if f"experiments/{kind}.py" in part)
        lines = section.splitlines()
        tables = "\n".join(line for line in lines if line.startswith("|"))
        words = "\n".join(re.sub(r"§[\d.]+", "", line) for line in lines if not line.startswith("|"))
        known = set(re.findall(r"\d+\.\d+", tables))
        assert known
        assert set(re.findall(r"\d+\.\d+", words)) <= known | {"0.05"}

    def test_its_summaries_are_those_of_the_runs(
        self, experiment: Callable[[str], ModuleType], kind: str, folders: dict[str, str]
    ) -> None:
        program = experiment(kind)
        for folder in placed(kind, folders).values():
            runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
            page = (folder / "summary.md").read_text(encoding="utf-8").splitlines()
            assert page == program.page(runs, program.claims(runs["runs"]), folder.name)
            assert set(program.table(runs["runs"])) <= set(page)
            program_file, study_file = runs["command"].split()[1:3]
            assert program_file == f"experiments/{kind}.py"
            assert (ROOT / study_file).is_file()


def test_the_pages_tell_the_measured_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    program = importlib.import_module("speed_table")
    folder = ROOT / "results" / "benchmarks"
    assert "\n".join(program.candidates(json.loads((folder / "candidate-cost.json").read_text()))) in SPEED
    times: dict[str, Any] = {}
    for path in folder.glob("against-optuna*.json"):
        document = json.loads(path.read_text())
        assert program.searches(document) in SPEED
        times[document["settings"]["model"].get("name") or document["settings"]["model"]["model"]] = document["search"]
    jax = {said: json.loads((folder / name).read_text()) for said, name in program.JAX.items()}
    assert (
        f"[{times['mlp']['ratio']:.0f} times as fast](docs/speed.md#a-whole-search-against-optuna) with a small MLP, "
        f"{times['conv']['ratio']:.1f} times with a small convolutional net"
    ) in README
    assert "\n".join(program.jax(jax)) in SPEED
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name, called in program.ROOFLINES.items():
        assert all(row in architecture for row in program.roofline(json.loads((folder / name).read_text()), called))
    cost = json.loads((folder / "loss-cost.json").read_text())
    share = cost["step"]["parts"]["criterion"]["share"]
    assert f"are {100 * share:.2f} % of a step of AllCNN-C" in SPEED
    assert "\n".join(program.losses(cost)) in SPEED
    models = json.loads((folder / "candidate-cost.json").read_text())["models"]
    large = [models[name] for name in ("mnist-cnn", "allcnn-c", "preresnet-20")]
    turned = [one["against"]["ordinary, indexed, channels last"][one["fastest_way"]]["ratio"] for one in large]
    assert "the three large networks stand at {:.2f}, {:.2f} and {:.2f}.".format(*turned) in SPEED


def test_the_page_says_what_giving_up_did(experiment: Callable[[str], ModuleType]) -> None:
    program = experiment("pruning")
    document = json.loads((ROOT / "results/pruning/runs.json").read_text(encoding="utf-8"))
    assert len(document["pairs"]) >= 10
    assert "\n".join(program.table(document)) in RESULTS
    page = (ROOT / "results/pruning/summary.md").read_text(encoding="utf-8").splitlines()
    assert page == program.page(document)


def test_the_page_says_how_many_candidates_are_needed() -> None:
    lines = (ROOT / "results/sample-efficiency/summary.md").read_text(encoding="utf-8")
    digits = lines.split("## mnist")[0].split("as good as label smoothing")[1]
    rows = {row.split("|")[1].strip(): row.split("|")[2:4] for row in digits.splitlines() if " of 10 |" in row}
    reached = {name: (cells[0].strip(), cells[1].strip()) for name, cells in rows.items()}
    assert reached["residual, exact"] == ("10 of 10", "40")
    assert reached["canonical, exact"] == ("9 of 10", "80")
    assert [reached[f"taylor, {form}"][0] for form in ("none", "published", "exact")] == [
        "2 of 10", "0 of 10", "1 of 10",
    ]  # fmt: skip
    assert "all ten searches, after 40 candidates in the median; `canonical` in nine of ten, after 80" in RESULTS


@pytest.mark.parametrize("folder", placed("table1", TABLE1).values(), ids=lambda folder: folder.name)
def test_table_1_compares_equal_numbers_of_trained_candidates(
    experiment: Callable[[str], ModuleType], almost: Almost, folder: Path
) -> None:
    program = experiment("table1")
    runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    kept = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    searches, budget = runs["runs"], math.prod(runs["settings"]["search"][key] for key in ("population", "generations"))
    assert len(searches) >= 3
    for one, again in zip(kept["claims"], program.claims(searches), strict=True):
        assert almost(one, {**again.to_json(), "over_searches": again.over_searches})
    for search in searches:
        assert list(search["losses"]) == [program.BASELINE, *program.FACTOR]
        for arm, row in search["losses"].items():
            assert len(row["test"]) == len(set(row["seeds"])) >= 10
            assert lossmith.Loss.from_json(row["loss"]).formula() == row["formula"]
            if arm == program.BASELINE:
                means = {one["lr"]: statistics.mean(one["scores"]) for one in row["tried"]}
                assert len(means) >= 5
                assert means[row["lr"]] == max(means.values())
                continue
            status = row["status"]
            assert row["trained"] == len(status) - status.count("untrainable") == budget
            assert ("untrainable" in status) == (arm != "none")
            scores = {one["name"]: statistics.mean(one["scores"]) for one in row["finalists"]}
            assert scores[row["chosen"]] == max(scores.values())


@pytest.mark.parametrize("folder", placed("regularizers", REGULARIZERS).values(), ids=lambda folder: folder.name)
def test_both_losses_were_tuned_alike_with_each_regularizer(
    experiment: Callable[[str], ModuleType], almost: Almost, folder: Path
) -> None:
    program, trained = experiment("regularizers"), experiment("regularizers_runs")
    runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))["runs"]
    kept = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for name, found in zip(("claims", "interactions"), program.claims(runs), strict=True):
        for one, (key, again) in zip(kept[name], found.items(), strict=True):
            assert almost(one, {"condition": key[0], **again.to_json()})
    assert {run["condition"]: run["label_noise"] for run in runs} == {"clean": 0, "noisy": 0.4}
    for run in runs:
        assert len(set(run["seeds"])) >= 10
        assert list(run["table"]) == [one.name for one in trained.REGULARIZERS]
        assert lossmith.Loss.from_json(run["loss"]).formula() == run["formula"]
        for name, both in run["table"].items():
            axis = program.BY_NAME[name].axis
            tried = [{(strength, rate) for strength, rate, _ in row["tried"]} for row in both.values()]
            assert tried[0] == tried[1]
            assert set(Grid(name, (axis, trained.RATES)).start()) <= tried[0]
            for row in both.values():
                assert len(row["test"]) == len(run["seeds"])
                means = [statistics.mean(scores) for _, _, scores in row["again"]]
                best = {one[0] for one, mean in zip(row["again"], means, strict=True) if mean > max(means) - 1e-12}
                assert row["strength"] in ({axis.value(strength) for strength in best} if axis.name else {None})


class TestPaperIndex:
    """docs/paper.md names every equation once, and nothing that is not there."""

    def test_every_equation_is_there(self) -> None:
        found: list[int] = []
        for row in EQUATIONS:
            for part in row[0].split(", "):
                first, _, last = part.partition("–")
                found += range(int(first), int(last or first) + 1)
        assert sorted(found) == list(range(1, 71))

    @pytest.mark.parametrize("row", EQUATIONS, ids=lambda row: row[0])
    def test_every_name_is_there(self, row: list[str]) -> None:
        functions, derivations, tests = (re.findall(r"`([^`]+)`", cell) for cell in row[2:5])
        assert functions
        for name in functions:
            assert resolved(re.sub(r"[(\[].*", "", name), lossmith.theory) is not None
        for name in derivations:
            assert resolved(name, symbolic) is not None
        assert tests
        file = ""
        for name in tests:
            path, *inside = name.split("::")
            if path.endswith(".py"):
                file = (ROOT / "tests" / path).read_text(encoding="utf-8")
            else:
                inside = [path]
            for part in inside:
                assert re.search(rf"(class|def) {part}\b", file), name


def resolved(name: str, default: ModuleType) -> object:
    """What a dotted name stands for; one without a module is taken from ``default``."""
    if not name.startswith("lossmith."):
        return getattr(default, name)
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def test_how_often_the_chosen_level_of_flooding_never_acts() -> None:
    """Where a network is the same to the digit as without flooding, the loss never fell to the level."""
    idle, tunings = 0, 0
    for folder in placed("regularizers", REGULARIZERS).values():
        for run in json.loads((folder / "runs.json").read_text(encoding="utf-8"))["runs"]:
            for loss, row in run["table"]["flooding"].items():
                tunings += 1
                idle += row["test"] == run["table"]["none"][loss]["test"]
    assert f"in {idle} of {tunings} tunings the level that was chosen never acts" in RESULTS
