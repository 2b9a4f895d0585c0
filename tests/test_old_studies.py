"""Studies of older versions: each opens, replays, is shown, and goes on as it would have gone on then.

Those of version 0.1 are whole; the one by ask and tell was stored by schema 2, when genomes were called theta.
"""

import importlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lossmith.analysis import BASELINES, baselines
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.io import read_toml
from lossmith.losses import Loss, load
from lossmith.search import CMA, SEARCH_ENGINES
from lossmith.seeds import derive
from lossmith.study import CompareSettings, EvolveSettings, Study, compare_losses, evolve
from lossmith.study.chunks import measured
from lossmith.study.config import validated
from lossmith.study.legacy import modernized
from lossmith.study.origins import origin_of
from lossmith.study.pareto import read_pareto
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import repeated, train

STUDIES = Path(__file__).parent / "data" / "version-0.1"
ASKED = Path(__file__).parent / "data" / "schema-2"
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
            np.testing.assert_allclose(candidate.genome, row["genome"], rtol=1e-9, atol=1e-9)
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
    assert Loss.from_json(best["loss"]) == loss


def test_its_pareto_front_is_read_and_exported(tmp_path: Path) -> None:
    study = copied("ended", tmp_path)
    document = read_pareto(study)
    main(["show", str(study), "--pareto", str(tmp_path / "front"), "--json"])
    paths = sorted((tmp_path / "front").glob("*.json"))
    assert len(paths) == len(document["front"]) > 0
    origins = [json.loads(path.read_text())["provenance"]["origin"] for path in paths]
    assert sorted(origin["theta"] for origin in origins) == sorted(row["theta"] for row in document["front"])


def test_it_is_not_trained_again(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(study)
    monkeypatch.setattr(importlib.import_module("lossmith.training.executors.base"), "run_job", None)
    outcome = evolve(study, settings_in(study))
    assert outcome.loss == load(STUDIES / study.name / "best.json")
    assert rows(study) == before
    document = json.loads((STUDIES / study.name / "best.json").read_text())["provenance"]
    assert outcome.provenance["data"].pop("wrong_labels").keys() == {"train", "validation"}
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
        np.testing.assert_allclose(row["genome"], then["theta"], rtol=1e-9, atol=1e-9)
        assert row["scores"] == pytest.approx(then["scores"], abs=SAMPLE)
    for row in finalists:
        (then,) = [old for old in expected["finalists"] if (old["stage"], old["rank"]) == (row["stage"], row["rank"])]
        assert (row["name"], row["status"]) == (then["name"], then["status"])
        assert row["scores"] == pytest.approx(then["scores"], abs=SAMPLE)
    assert len(finalists) == len(expected["finalists"])


def test_a_comparison_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the baselines that came later, and for longer trainings where the best epoch is near the end."""
    names = ("label smoothing + Σh²", "label smoothing + soft bootstrapping")
    later = [BASELINES[name] for name in names]
    monkeypatch.setattr("lossmith.study.estimates.baselines", lambda: [one for one in baselines() if one not in later])
    monkeypatch.setattr("lossmith.analysis.curves.LATE", 1.0)
    study = copied("ended", tmp_path)
    kept = json.loads((study / "comparison.json").read_text())
    known = origin_of([str(study / "best.json")])
    assert known is not None
    monkeypatch.setattr(importlib.import_module("lossmith.training.executors.base"), "run_job", None)
    losses, asked = {"evolved": load(study / "best.json")}, {**kept["options"], "effort": "thorough"}
    options = validated(CompareSettings, asked, "the options")
    compare_losses(losses, known.settings, study, options, digest=known.digest)
    document = json.loads((study / "comparison.json").read_text())
    assert kept["options"].items() <= document["options"].items()
    for name in ("digest", "best_baseline"):
        assert document[name] == kept[name]
    # The losses in today's format, and all else as it was.
    for found, before in zip(document["rows"], kept["rows"], strict=True):
        assert Loss.from_json(found["loss"]).key() == before["loss"]
        assert {**found, "loss": None} == {**before, "loss": None}
    # Tests are computed anew, and versions of SciPy differ in their last digits.
    for found, before in zip(document["pairs"], kept["pairs"], strict=True):
        assert (found["first"], found["second"]) == (before["first"], before["second"])
        assert found["result"] == pytest.approx(before["result"], rel=1e-6)
        assert found["holm"] == pytest.approx(before["holm"], rel=1e-6)
    settings = validated(EvolveSettings, modernized(kept["settings"], begun=True)[0], "the settings")
    assert document["settings"] == settings.model_dump(mode="json")


class TestAskTell:
    """A study that was told 8 candidates by a version without search engines, in its third generation."""

    SETTINGS: ClassVar[dict[str, Any]] = {"space": "taylor", "population": 6, "generations": 5, "seed": 3}

    @pytest.fixture
    def asked(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(ASKED / "asked", tmp_path / "asked"))

    def test_it_is_shown_and_left_as_it_is(self, asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with closing(sqlite3.connect(asked / "study.db")) as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(candidate)")]
        assert "theta" in columns
        before = {path.name: path.read_bytes() for path in asked.iterdir()}
        main(["show", str(asked), "--json"])
        summary = json.loads(capsys.readouterr().out)
        assert summary["candidates"] == {"ok": 8, "untrainable": 9}
        assert "engine" not in summary["settings"]["search"]
        expected = json.loads((ASKED / "asked-longer.json").read_text())["candidates"]
        known = {(row["generation"], row["member"]): row["theta"] for row in expected}
        assert all(row["genome"] == known[row["generation"], row["member"]] for row in rows(asked))
        assert {name: content for name, content in before.items() if (asked / name).read_bytes() != content} == {}

    def test_it_goes_on_to_the_same_end(self, asked: Path) -> None:
        expected = json.loads((ASKED / "asked-longer.json").read_text())
        text = (asked / "study.toml").read_bytes()
        for count in (5, None):
            with Study(asked, 10, **self.SETTINGS) as study:
                told = 0
                while told != count and (candidate := study.ask()) is not None:
                    study.tell(candidate, -sum((x - 0.3) ** 2 for x in candidate.genome))
                    told += 1
        with Study(asked, 10, **self.SETTINGS) as study:
            assert study.finished
            assert study.mean_genome == pytest.approx(expected["mean"], rel=1e-9, abs=1e-9)
            assert study.store.setting("settings")["search"]["engine"] == "cma"
        for row, then in zip(rows(asked), expected["candidates"], strict=True):
            np.testing.assert_allclose(row["genome"], then["theta"], rtol=1e-9, atol=1e-9)
            for name in ("generation", "member", "status", "redrawn"):
                assert row[name] == then[name]
            fitness = None if then["fitness"] is None else pytest.approx(then["fitness"], rel=1e-9)
            assert row["fitness"] == fitness
        assert (asked / "study.toml").read_bytes() == text

    def test_it_does_not_go_on_with_another_engine(self, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(SEARCH_ENGINES._entries, "other", CMA)
        with pytest.raises(InputError, match=r"has search\.engine = 'cma', not 'other'"):
            Study(asked, 10, engine="other", **self.SETTINGS)
