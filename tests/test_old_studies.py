"""Studies that version 0.1 stored: each opens, replays, is shown, and goes on as it would have gone on then."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossmith.cli import main
from lossmith.io import read_toml
from lossmith.losses import Loss, load
from lossmith.seeds import derive
from lossmith.study import CompareSettings, EvolveSettings, Study, compare_losses, evolve
from lossmith.study.config import validated
from lossmith.study.legacy import modernized
from lossmith.study.origins import origin_of
from lossmith.study.pareto import read_pareto
from lossmith.study.problem import Problem
from lossmith.study.runner import measured
from lossmith.study.store import Store
from lossmith.training import repeated, train

STUDIES = Path(__file__).parent / "data" / "version-0.1"
NAMES = ("short", "plain", "ended")
SAMPLE = 0.0101  # of 100: where another processor rounds otherwise, a network may judge a sample otherwise


@pytest.fixture(params=NAMES)
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copied(request.param, tmp_path)


def copied(name: str, place: Path) -> Path:
    return Path(shutil.copytree(STUDIES / name, place / name))


def settings_in(directory: Path) -> EvolveSettings:
    document = modernized(read_toml(directory / "study.toml"))[0]
    del document["digest"]
    return validated(EvolveSettings, document, "study.toml")


def opened(directory: Path) -> Study:
    settings, stored = settings_in(directory), read_toml(directory / "study.toml")["digest"]
    document = {**settings.model_dump(mode="json"), "digest": stored}
    defaults = EvolveSettings().model_dump(mode="json")
    return Study(directory, 10, settings.search, document=document, defaults=defaults)


def rows(directory: Path) -> list[dict[str, Any]]:
    with Store(directory, readonly=True) as store:
        return store.candidates()


def test_the_settings_have_their_older_names(study: Path) -> None:
    with Store(study, readonly=True) as store:
        stored = store.setting("settings")
    assert {"data", "white"} < stored["data"].keys()
    assert {"model"} < stored["model"].keys()
    assert {"objective"} < stored["objective"].keys()
    assert {"hopeless"} < stored["run"].keys()


def test_it_opens_and_stays_as_it_is(study: Path) -> None:
    before, text = rows(study), (study / "study.toml").read_bytes()
    with opened(study) as again:
        assert again.finished
        assert again.candidates() == before
        assert again.best().loss.shape == ()
    assert (study / "study.toml").read_bytes() == text


def test_every_candidate_is_asked_for_again(study: Path, tmp_path: Path) -> None:
    stored = rows(study)
    with Study(tmp_path / "again", 10, settings_in(study).search) as again:
        for row in stored:
            candidate = again.ask()
            assert candidate is not None
            assert (candidate.generation, candidate.member) == (row["generation"], row["member"])
            np.testing.assert_allclose(candidate.theta, row["theta"], rtol=1e-9, atol=1e-9)
            assert (candidate.exact, candidate.published) == (bool(row["exact"]), bool(row["published"]))
            again.tell(candidate, row["fitness"])
        assert again.ask() is None


def test_every_candidate_trains_to_the_same_fitness(study: Path) -> None:
    settings, stored = settings_in(study), rows(study)
    problem, run = Problem.open(settings), settings.run
    assert run.training in ("sequential", "population")
    with opened(study) as again:
        losses = [again.loss_of(row) for row in stored]
    for generation in range(settings.search.generations):
        members = [number for number, row in enumerate(stored) if row["generation"] == generation]
        seeds = [derive(settings.search.seed, "search", generation, replicate) for replicate in range(run.replicates)]
        population = repeated(Loss.stack([losses[member] for member in members]), run.replicates)
        trained = train(
            problem.task,
            population,
            seeds * len(members),
            settings.recipe,
            run.training,
            prune_at=run.prune_at,
        )
        found, _ = measured(problem.objective, problem.validation, run.prune_at is not None, trained, lambda _: None)
        for place, member in enumerate(members):
            figures = {name: list(value.reshape(len(members), -1)[place]) for name, value in found.items()}
            row = stored[member]
            assert figures.pop("fitness") == pytest.approx(row["scores"], abs=SAMPLE)
            assert figures.keys() == row["figures"].keys()
            for name, values in figures.items():
                assert values == pytest.approx(row["figures"][name], abs=SAMPLE)
            assert row["status"] == "ok"
            assert row["fitness"] == pytest.approx(np.mean(row["scores"]), abs=1e-12)


def test_it_is_shown(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", str(study)])
    assert f"Study {study}: ended" in capsys.readouterr().out.replace("\n", "")
    main(["show", str(study), "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert summary["candidates"] == {"ok": len(rows(study))}
    assert summary["settings"]["data"]["source"] == "digits"
    assert len(summary["finalists"]) >= 4
    assert (summary["comparison"] is not None) == (study.name == "ended")


def test_its_loss_files_load(study: Path) -> None:
    loss = load(study / "best.json")
    assert loss.name == "evolved"
    found = origin_of([str(study / "best.json")])
    assert found is not None
    assert found.settings == settings_in(study)
    with Store(study, readonly=True) as store:
        finalists = store.finalists("final")
    best = max(finalists, key=lambda row: row["mean"])
    assert Loss.from_json(best["loss"]).coefficients.tolist() == loss.coefficients.tolist()


def test_its_pareto_front_is_read_and_exported(tmp_path: Path) -> None:
    study = copied("ended", tmp_path)
    document = read_pareto(study)
    main(["show", str(study), "--pareto", str(tmp_path / "front"), "--json"])
    assert len(list((tmp_path / "front").glob("*.json"))) == len(document["front"]) > 0


def test_it_is_not_trained_again(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(study)
    monkeypatch.setattr(importlib.import_module("lossmith.training.executors.local"), "run_job", None)
    outcome = evolve(study, settings_in(study))
    assert outcome.loss == load(STUDIES / study.name / "best.json")
    assert rows(study) == before
    document = json.loads((STUDIES / study.name / "best.json").read_text())["provenance"]
    for part in ("origin", "validation", "candidates", "invariant", "data", "digest", "versions"):
        assert json.loads(json.dumps(outcome.provenance[part])) == document[part]
    # The engine that a population is trained by has its own name now.
    assert outcome.provenance["training"] == {"population": "mlp", "plain": "sequential"}[document["training"]]


def test_a_short_one_goes_on_to_the_same_end(tmp_path: Path) -> None:
    study, expected = copied("short", tmp_path), json.loads((STUDIES / "longer.json").read_text())
    settings = settings_in(study)
    search = settings.search.model_copy(update={"generations": 3})
    evolve(study, settings.model_copy(update={"search": search}))
    with Store(study, readonly=True) as store:
        candidates, finalists = store.candidates(), store.finalists("smoothing") + store.finalists("final")
    assert len(candidates) == len(expected["candidates"]) == 15
    for row, then in zip(candidates, expected["candidates"], strict=True):
        assert (row["generation"], row["member"], row["status"]) == (then["generation"], then["member"], then["status"])
        np.testing.assert_allclose(row["theta"], then["theta"], rtol=1e-9, atol=1e-9)
        assert row["scores"] == pytest.approx(then["scores"], abs=SAMPLE)
    for row in finalists:
        (then,) = [old for old in expected["finalists"] if (old["stage"], old["rank"]) == (row["stage"], row["rank"])]
        assert (row["name"], row["status"]) == (then["name"], then["status"])
        assert row["scores"] == pytest.approx(then["scores"], abs=SAMPLE)
    assert len(finalists) == len(expected["finalists"])


def test_a_comparison_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = copied("ended", tmp_path)
    kept = json.loads((study / "comparison.json").read_text())
    known = origin_of([str(study / "best.json")])
    assert known is not None
    monkeypatch.setattr(importlib.import_module("lossmith.training.executors.local"), "run_job", None)
    losses, options = {"evolved": load(study / "best.json")}, validated(CompareSettings, kept["options"], "the options")
    compare_losses(losses, known.settings, study, options, digest=known.digest)
    document = json.loads((study / "comparison.json").read_text())
    for name in ("options", "digest", "rows", "best_baseline"):
        assert document[name] == kept[name]
    # Tests are computed anew, and versions of SciPy differ in their last digits.
    for found, before in zip(document["pairs"], kept["pairs"], strict=True):
        assert (found["first"], found["second"]) == (before["first"], before["second"])
        assert found["result"] == pytest.approx(before["result"], rel=1e-6)
        assert found["holm"] == pytest.approx(before["holm"], rel=1e-6)
    assert document["settings"] == modernized(kept["settings"])[0]
