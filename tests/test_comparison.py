"""Comparisons on the data of a study: what is taken from where, what is refused, what is kept."""

import importlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmith.analysis import Comparison, Family, MetricObjective, Plan, RunOff, figures, fixed
from lossmith.data import Source, open_source, search_parts
from lossmith.data import test_part as part_for_tests
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy, load, mae, mse, save, taylor
from lossmith.nets import ModelSettings
from lossmith.study import CompareSettings, EvolveSettings, compare_losses, evolve
from lossmith.study.config import validated, with_data
from lossmith.study.efforts import EFFORTS
from lossmith.study.origins import Origin, conflicts, origin_of, provenance
from lossmith.study.rival import RIVAL
from lossmith.study.schema import seal
from lossmith.study.store import Store
from lossmith.training import Backend, Trainer

comparison: Any = importlib.import_module("lossmith.study.comparison")
problems: Any = importlib.import_module("lossmith.study.problem")
judging: Any = importlib.import_module("lossmith.analysis.judging")

CLASSES = 3
OPTIONS = CompareSettings(
    seeds=2, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=1, rival=False
)
RIVALRY = OPTIONS.model_copy(update={"rival": True, "effort": "thorough"})
BASELINES = [Family("cross-entropy", (), lambda *_: cross_entropy()), fixed("MSE", mse(), baseline=True)]


def write_npz(path: Path, seed: int = 0, test_seed: int = 1, **changed: Any) -> Path:
    """Clouds of three classes, 120 samples of 5 features; every sample occurs once."""
    arrays: dict[str, Any] = {}
    for part, count, number in (("train", 120, seed), ("test", 45, test_seed)):
        rng, labels = np.random.default_rng(number), np.arange(count) % CLASSES
        arrays[f"x_{part}"] = (rng.normal(0, 1, (count, 5)) + 2 * np.eye(CLASSES, 5)[labels]).astype(np.float32)
        arrays[f"y_{part}"] = labels
    np.savez(path, **{name: value for name, value in (arrays | changed).items() if value is not None})
    return path


def tiny(place: str | Path, /, **parts: Mapping[str, Any]) -> EvolveSettings:
    """A search of four candidates, each trained for an epoch of two batches."""
    document: dict[str, Any] = {
        "data": {"source": str(place), "train_size": 60},
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1, "batch_size": 30},
        "search": {"population": 4, "generations": 1, "sigma": 0.5},
        "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
    }
    for name, values in parts.items():
        document[name] = {**document[name], **values}
    return validated(EvolveSettings, document, "the test")


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "clouds.npz")


@pytest.fixture
def study(tmp_path: Path, npz: Path) -> Path:
    """A study that has ended."""
    evolve(tmp_path / "study", tiny(npz))
    return tmp_path / "study"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two baselines instead of all, since a test trains them all."""
    monkeypatch.setattr("lossmith.study.estimates.baselines", lambda: list(BASELINES))


class Spy:
    """Counts the calls of a function and can stop one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.inner: Callable[..., Any] = getattr(module, name)
        self.calls = 0
        self.stop_at: int | None = None
        monkeypatch.setattr(module, name, lambda *arguments, **named: self(*arguments, **named))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        return self.inner(*arguments, **named)


def files(directory: Path) -> dict[str, bytes]:
    """All files below a directory, with what is in them."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class TestSettingsOfLosses:
    def test_taken_from_the_file_and_the_place_of_the_data_from_the_study(self, study: Path, npz: Path) -> None:
        found = origin_of([str(study / "best.json")])
        assert found == Origin(study / "best.json", tiny(npz), open_source(str(npz)).digest)

    def test_without_the_study_only_the_name_of_the_data_is_known(self, study: Path, npz: Path, tmp_path: Path) -> None:
        moved = tmp_path / "moved.json"
        moved.write_bytes((study / "best.json").read_bytes())
        found = origin_of([str(moved)])
        assert found == Origin(moved, tiny("clouds.npz"), open_source(str(npz)).digest)

    def test_a_loss_from_nowhere(self, tmp_path: Path, study: Path) -> None:
        save(mse(), tmp_path / "mse.json")
        assert provenance(tmp_path / "mse.json") is None
        assert origin_of([str(tmp_path / "mse.json")]) is None
        assert origin_of([str(tmp_path / "mse.json"), str(study / "best.json")]) == origin_of(
            [str(study / "best.json")]
        )

    def test_two_studies_that_agree(self, study: Path, npz: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "other", tiny(npz, search={"seed": 7}))
        assert origin_of([str(study / "best.json"), str(tmp_path / "other" / "best.json")]) is not None

    @pytest.mark.parametrize(
        ("changed", "key"),
        [
            ({"recipe": {"lr": 0.1}}, "recipe.lr"),
            ({"data": {"split_seed": 1}}, "data.split_seed"),
            ({"model": {"hidden": [5]}}, "model.hidden"),
        ],
    )
    def test_two_studies_that_differ(
        self, study: Path, npz: Path, tmp_path: Path, changed: dict[str, Any], key: str
    ) -> None:
        evolve(tmp_path / "other", tiny(npz, **changed))
        with pytest.raises(InputError, match=key):
            origin_of([str(study / "best.json"), str(tmp_path / "other" / "best.json")])

    def test_two_studies_on_other_data(self, study: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "other", tiny(write_npz(tmp_path / "others.npz", seed=5)))
        with pytest.raises(InputError, match=r"\(data\)"):
            origin_of([str(study / "best.json"), str(tmp_path / "other" / "best.json")])

    @pytest.mark.parametrize(
        "change",
        [
            lambda known: [],
            lambda known: {**known, "digest": 3},
            lambda known: {name: value for name, value in known.items() if name != "digest"},
            lambda known: {name: value for name, value in known.items() if name != "settings"},
            lambda known: {**known, "settings": {"recipe": {"lr": "fast"}}},
            lambda known: {**known, "settings": 3},
        ],
    )
    def test_damaged_provenance(self, study: Path, change: Callable[[Any], Any]) -> None:
        document = json.loads((study / "best.json").read_text())
        (study / "best.json").write_text(json.dumps({**document, "provenance": change(document["provenance"])}))
        with pytest.raises(InputError, match=r"best\.json"):
            origin_of([str(study / "best.json")])

    @pytest.mark.parametrize("text", ['data = "digits"', "data.data = 3", ""])
    def test_a_study_file_that_does_not_say_where_the_data_is(self, study: Path, text: str) -> None:
        (study / "study.toml").write_text(text)
        found = origin_of([str(study / "best.json")])
        assert found is not None
        assert found.settings.data.source == "clouds.npz"

    def test_conflicts(self, npz: Path) -> None:
        kept = tiny(npz)
        allowed = tiny(
            "elsewhere.npz", search={"seed": 3}, run={"device": "cuda", "training": "sequential", "chunk": 3}
        )
        assert conflicts(allowed, kept) == []
        wanted = tiny(npz, data={"label_noise": 0.5}, recipe={"lr": 0.2})
        assert conflicts(wanted, kept) == [("data.label_noise", 0.5, 0.0), ("recipe.lr", 0.2, 0.05)]


class TestRefusals:
    """Nothing is trained and nothing is left behind."""

    @pytest.fixture(autouse=True)
    def untrained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def train(*_: Any, **__: Any) -> None:
            raise AssertionError("something was trained")

        monkeypatch.setattr(Trainer, "train", train)

    def refuse(self, tmp_path: Path, npz: Path, match: str, losses: dict[str, Loss], **named: Any) -> None:
        before = files(tmp_path)
        with pytest.raises(InputError, match=match):
            compare_losses(losses, tiny(npz), tmp_path / "out", RIVALRY, **named)
        assert files(tmp_path) == before
        assert not (tmp_path / "out").exists()

    def test_other_data_than_in_the_search(self, tmp_path: Path, npz: Path) -> None:
        self.refuse(tmp_path, npz, "not the data that the loss was evolved on", {"mine": mae()}, digest="0" * 64)

    def test_a_loss_for_another_number_of_classes(self, tmp_path: Path, npz: Path) -> None:
        self.refuse(tmp_path, npz, "made for 7 classes", {"mine": cross_entropy().smoothed(0.1, 7)})

    def test_a_population(self, tmp_path: Path, npz: Path) -> None:
        self.refuse(tmp_path, npz, "'mine' is a population", {"mine": Loss.stack([mae(), mse()])})

    @pytest.mark.parametrize("name", ["cross-entropy", "label smoothing + MAE", RIVAL])
    def test_the_name_of_a_baseline(self, tmp_path: Path, npz: Path, name: str) -> None:
        self.refuse(tmp_path, npz, "give your loss a name of its own", {name: mae()})

    def test_a_lambda_of_the_wrong_length(self) -> None:
        with pytest.raises(InputError, match="λ has 7 numbers, a Taylor loss of order 3 takes 8"):
            taylor([0.0] * 7)

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path, npz: Path) -> None:
        (tmp_path / "out").write_text("in the way")
        with pytest.raises(InputError, match="out cannot be made: File exists"):
            compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", RIVALRY)
        assert (tmp_path / "out").read_text() == "in the way"

    def test_a_study_that_another_process_works_on(self, tmp_path: Path, npz: Path) -> None:
        (tmp_path / "out").mkdir()
        with Store(tmp_path / "out"):
            before = set(files(tmp_path))
            with pytest.raises(InputError, match="another process"):
                compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", RIVALRY)
            assert set(files(tmp_path)) == before

    @pytest.mark.parametrize(
        "wrong",
        [
            {"seeds": 1},
            {"tuning_seeds": 0},
            {"tuning_finalists": 0},
            {"tuning_finalist_seeds": 0},
            {"tuning_epochs": 0},
            {"rival": "yes"},
            {"sede": 3},
        ],
    )
    def test_options_out_of_range(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=next(iter(wrong))):
            validated(CompareSettings, wrong, "the options")


@pytest.mark.usefixtures("few")
class TestCompareLosses:
    def test_what_is_kept(self, study: Path, npz: Path) -> None:
        loss = load(study / "best.json")
        digest = open_source(str(npz)).digest
        result = compare_losses({"evolved": loss}, tiny(npz), study, OPTIONS, digest=digest)
        document = json.loads((study / "comparison.json").read_text())
        assert document.pop("data")["wrong_labels"] == {"train": 0, "validation": 0}
        assert document == {
            "settings": tiny("clouds.npz").model_dump(mode="json"),
            "options": OPTIONS.model_dump(mode="json"),
            "digest": digest,
            **json.loads(json.dumps(result.to_json())),
        }
        assert {row.name for row in result.rows} == {"cross-entropy", "MSE", "evolved"}
        assert [row.name for row in result.rows if not row.baseline] == ["evolved"]
        assert all(len(row.runs) == 2 for row in result.rows)
        with sqlite3.connect(study / "study.db") as connection:
            rows = [json.loads(text) for (text,) in connection.execute("SELECT result FROM run")]
        connection.close()
        raw = {json.dumps(run) for row in rows for part in row for run in part if isinstance(run, dict)}
        assert {json.dumps(run) for row in document["rows"] for run in row["runs"]} == raw

    def test_a_second_run_trains_nothing_and_gives_the_same(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path
    ) -> None:
        first = compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", RIVALRY)
        before = (tmp_path / "out" / "comparison.json").read_bytes()
        spy = Spy(monkeypatch, Trainer, "train")
        second = compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", RIVALRY)
        assert spy.calls == 0
        assert second.to_json() == first.to_json()
        assert (tmp_path / "out" / "comparison.json").read_bytes() == before

    def test_a_run_that_was_stopped_goes_on(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path) -> None:
        settings = tiny(npz, run={"chunk": 2})
        spy = Spy(monkeypatch, Trainer, "train")
        whole = compare_losses({"mine": mae()}, settings, tmp_path / "whole", OPTIONS)
        trainings = spy.calls
        for stop in (0, trainings // 3, trainings - 1):
            directory = tmp_path / str(stop)
            spy.calls, spy.stop_at = 0, stop
            with pytest.raises(KeyboardInterrupt):
                compare_losses({"mine": mae()}, settings, directory, OPTIONS)
            assert not (directory / "comparison.json").exists()
            spy.stop_at = None
            again = compare_losses({"mine": mae()}, settings, directory, OPTIONS)
            assert spy.calls == trainings
            assert again.to_json() == whole.to_json()
            assert (directory / "comparison.json").read_bytes() == (tmp_path / "whole" / "comparison.json").read_bytes()

    def test_the_test_part_is_loaded_once_after_all_tuning(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path
    ) -> None:
        events: list[str] = []

        def part(*arguments: Any) -> Any:
            events.append("test part")
            return part_for_tests(*arguments)

        def train(trainer: Trainer, *arguments: Any, **named: Any) -> Any:
            events.append("final" if named["monitor"] is None else "tuning")
            return inner(trainer, *arguments, **named)

        inner = Trainer.train
        monkeypatch.setattr(problems, "test_part", part)
        monkeypatch.setattr(Trainer, "train", train)
        compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", OPTIONS)
        assert [name for place, name in enumerate(events) if [name] != events[place - 1 : place]] == [
            "tuning",
            "test part",
            "final",
        ]
        assert events.count("test part") == 1

    def test_labels_of_the_test_part_are_clean(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path
    ) -> None:
        seen: list[Tensor] = []

        def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
            seen.append(targets)
            return torch.as_tensor(inner(logits, targets))

        inner = judging.accuracy
        monkeypatch.setattr(judging, "accuracy", accuracy)
        compare_losses({"mine": mae()}, tiny(npz, data={"label_noise": 0.9}), tmp_path / "out", OPTIONS)
        clean = torch.arange(45) % CLASSES
        assert any(torch.equal(targets, clean) for targets in seen)
        assert {len(targets) for targets in seen} == {45, 60}

    @pytest.mark.parametrize(("tune", "scale"), [(False, False), (True, False), (True, True)])
    def test_the_rival_has_the_budget_of_the_search(self, tmp_path: Path, npz: Path, tune: bool, scale: bool) -> None:
        search = {"population": 3, "generations": 2, "sigma": 0.3, "seed": 5, "scale": scale}
        settings = tiny(npz, search=search, run={"replicates": 2, "tune": tune})
        reports: list[tuple[str, float]] = []
        result = compare_losses(
            {"mine": mae()}, settings, tmp_path / "out", RIVALRY, report=lambda *state: reports.append(state)
        )
        row = result.row(RIVAL)
        assert row.baseline
        with Store(tmp_path / "out" / "rival", readonly=True) as store:
            candidates, kept, finalists = store.candidates(), store.setting("settings"), store.finalists("final")
        assert len(candidates) == 6
        others = set() if tune else {"cross-entropy", "label smoothing"}
        assert {row["origin"]["kind"] for row in finalists} == {"candidate", "mean", *others}
        assert all(len(candidate["scores"]) == 2 for candidate in candidates)
        assert all(len(candidate["genome"]) == 2 + scale for candidate in candidates)
        assert (kept["search"]["space"], kept["search"]["sigma"], kept["search"]["seed"]) == ("smoothed-mae", None, 5)
        best = load(tmp_path / "out" / "rival" / "best.json")
        assert Loss.from_json(row.loss) == best
        alpha, weight = (float(part.split(" = ")[1]) for part in row.strengths.split(", "))
        expected = cross_entropy().smoothed(alpha, CLASSES) + weight * mae()
        logits, targets = torch.randn(20, CLASSES), torch.arange(20) % CLASSES
        found, wanted = (loss.logit_gradient(logits, targets) for loss in (best, expected))
        factor = float(found.norm() / wanted.norm())
        assert scale or factor == pytest.approx(1, abs=0.01)
        torch.testing.assert_close(found / factor, wanted, rtol=0.02, atol=0.02)
        assert reports[0][0] == "searching label smoothing + MAE"

    def test_a_rival_that_was_begun_before_tunes_nothing(
        self, tmp_path: Path, npz: Path, forget: Callable[[Path, str, str], None]
    ) -> None:
        settings = tiny(npz, search={"population": 3, "generations": 1}, run={"tune": False})
        before = compare_losses({"mine": mae()}, settings, tmp_path, RIVALRY)
        forget(tmp_path / "rival", "run", "tune")
        tuned = settings.model_copy(update={"run": settings.run.model_copy(update={"tune": True})})
        assert compare_losses({"mine": mae()}, tuned, tmp_path, RIVALRY).to_json() == before.to_json()

    @pytest.mark.usefixtures("few")
    @pytest.mark.parametrize(("lr", "middle"), [(None, 1e-6), (1e-6, 1e-6), (3e-6, 1e-6), (0.2, 0.2), (1e-8, 1e-8)])
    def test_rates_are_tried_around_that_of_the_search(
        self, tmp_path: Path, npz: Path, monkeypatch: pytest.MonkeyPatch, lr: float | None, middle: float
    ) -> None:
        plans: list[Plan] = []
        inner = comparison.compare

        def seen(*arguments: Any, **named: Any) -> Any:
            plans.append(arguments[4])
            return inner(*arguments, **named)

        monkeypatch.setattr(comparison, "compare", seen)
        settings = tiny(npz, recipe={"lr": 1e-6})
        compare_losses({"mine": mae()}, settings, tmp_path / "out", OPTIONS, lr=lr)
        assert [plan.recipe.lr for plan in plans] == [middle]

    def test_the_rate_of_the_search_stands_in_its_file(self, study: Path) -> None:
        loss, said = load(study / "best.json"), provenance(study / "best.json")
        assert said is not None
        for lr, value in ((0.003, {"lr": 0.003, "trainings": 5}), (None, None)):
            save(loss, study / "best.json", provenance={**said, "tuning": value})
            origin = origin_of([str(study / "best.json")])
            assert origin is not None
            assert origin.lr == lr
        save(loss, study / "best.json", provenance={**said, "tuning": {"lr": -1.0}})
        with pytest.raises(InputError, match=r"best\.json"):
            origin_of([str(study / "best.json")])

    def test_a_source_in_memory(self, tmp_path: Path, npz: Path) -> None:
        known = open_source(str(npz))
        source = Source.from_tensors(
            known.inputs, known.targets, known.test_inputs, known.test_targets, name="my clouds"
        )
        result = compare_losses({"mine": mae()}, tiny("nowhere"), tmp_path / "a", OPTIONS, source=source)
        other = compare_losses({"mine": mae()}, tiny(npz), tmp_path / "b", OPTIONS, digest=source.digest)
        assert result.to_json() == other.to_json()

    def test_other_data_settings_are_another_comparison(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path
    ) -> None:
        spy = Spy(monkeypatch, Trainer, "train")
        compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", OPTIONS)
        changes: list[dict[str, Any]] = [{"data": {"split_seed": 1}}, {"recipe": {"momentum": 0.5}}]
        for number, changed in enumerate(changes):
            calls = []
            for directory in ("out", f"fresh {number}"):
                spy.calls = 0
                compare_losses({"mine": mae()}, tiny(npz, **changed), tmp_path / directory, OPTIONS)
                calls.append(spy.calls)
            assert calls[0] == calls[1] > 0

    def test_other_fresh_seeds_leave_the_tuning(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path
    ) -> None:
        """More finalists and seeds are trained; the settings that were tried already are not tried again."""
        compare_losses({"mine": mae()}, tiny(npz), tmp_path / "out", OPTIONS)
        phases: list[str] = []
        spy = Spy(monkeypatch, Trainer, "train")
        more = OPTIONS.model_copy(update={"tuning_finalists": 2, "tuning_finalist_seeds": 2})
        result = compare_losses(
            {"mine": mae()}, tiny(npz), tmp_path / "out", more, report=lambda phase, _: phases.append(phase)
        )
        assert "the best settings, fresh seeds" in phases
        assert 0 < spy.calls <= 2 * len(result.rows) + len(result.rows)
        assert all(row.tried >= 5 for row in result.rows)
        whole = compare_losses({"mine": mae()}, tiny(npz), tmp_path / "whole", more)
        assert result.to_json() == whole.to_json()

    def test_damaged_results_are_told(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path) -> None:
        """A result of another kind or length, or with a number that is none; nothing is trained again for it."""
        compare_losses({"mine": mae()}, tiny(npz), tmp_path, OPTIONS)
        with Store(tmp_path) as store:
            kept = {row["chunk"]: json.loads(row["result"]) for row in store.rows("SELECT * FROM run")}
        tuning, final = (next(chunk for chunk in kept if name in json.loads(chunk)) for name in ("tuning", "final"))
        curves, runs = kept[tuning], kept[final]
        run, others = runs[0][0], runs[0][1:]
        without = [{key: value for key, value in run.items() if key != name} for name in run]
        kinds: list[Any] = [3, "text", {}, []]
        broken: list[tuple[str, Any]] = [(tuning, wrong) for wrong in (*kinds, curves[:-1], [[], *curves[1:]])]
        broken += [(tuning, [["text"], *curves[1:]]), (tuning, [[None], *curves[1:]])]
        broken += [(final, wrong) for wrong in (3, runs[:-1], [others, *runs[1:]], [3, *runs[1:]])]
        broken += [
            (final, [[one, *others], *runs[1:]]) for one in (3, *without, *({**run, name: "text"} for name in run))
        ]
        monkeypatch.setattr(Trainer, "train", None)
        for chunk, wrong in broken:
            change = "UPDATE run SET result = ? WHERE chunk = ?"
            with Store(tmp_path) as store:
                store.write([(change, (json.dumps(wrong), chunk))])
                seal(store._connection)
            with pytest.raises(
                InputError, match=r"study\.db is damaged \(what it holds of the comparison cannot be read"
            ):
                compare_losses({"mine": mae()}, tiny(npz), tmp_path, OPTIONS)
            with Store(tmp_path) as store:
                store.write([(change, (json.dumps(kept[chunk]), chunk))])
                seal(store._connection)
        assert compare_losses({"mine": mae()}, tiny(npz), tmp_path, OPTIONS).row("mine").runs

    def test_the_plan_is_that_of_the_options(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path) -> None:
        plans: list[Plan] = []

        def stopped(*arguments: Any, **_: Any) -> Comparison:
            plans.append(arguments[4])
            raise KeyboardInterrupt

        monkeypatch.setattr(comparison, "compare", stopped)
        options = CompareSettings(
            seeds=3,
            tuning_seeds=4,
            tuning_finalists=6,
            tuning_finalist_seeds=7,
            tuning_epochs=8,
            rival=False,
            comparison_seed=9,
        )
        efforts = [CompareSettings(rival=False).model_copy(update={"effort": effort}) for effort in EFFORTS]
        for wanted in (options, *efforts):
            with pytest.raises(KeyboardInterrupt):
                compare_losses({"mine": mae()}, tiny(npz, run={"chunk": 5}), tmp_path / "out", wanted)
        recipe = tiny(npz).recipe
        assert plans[0] == Plan(recipe, Backend("mlp"), 3, 4, 6, 7, epochs=8, seed=9, chunk=5)
        common: Any = {"seeds": 10, "chunk": 5}
        short: Any = {"tuning_seeds": 1, "finalist_seeds": 3, "epochs": 1, "stride": 2, **common}
        assert plans[1:] == [
            Plan(recipe, Backend("mlp"), finalists=3, **short),
            Plan(recipe, Backend("mlp"), finalists=5, run_off=RunOff(losses=4, finalists=3, seeds=7), **short),
            Plan(recipe, Backend("mlp"), epochs=2, **common),
        ]

    def test_baselines_by_name(self, tmp_path: Path, npz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        seen: list[list[str]] = []

        def stopped(*given: Any, **_: Any) -> None:
            seen.append([family.name for family in given[3]])
            raise KeyboardInterrupt

        monkeypatch.setattr(comparison, "compare", stopped)
        losses, out = {"mine": mae()}, tmp_path / "out"
        for options in (
            CompareSettings(rival=False, baselines=("label-smoothing", "gce", "label_smoothing + Σh²")),
            CompareSettings(effort="quick"),
        ):
            with pytest.raises(KeyboardInterrupt):
                compare_losses(losses, tiny(npz), out, options)
        first, second = seen
        assert first == [
            "cross-entropy",
            "label smoothing",
            "generalised cross-entropy",
            "label smoothing + Σh²",
            "mine",
        ]
        assert second == [
            "cross-entropy",
            "label smoothing",
            "focal",
            "generalised cross-entropy",
            "label smoothing + Σh²",
            "mine",
        ]
        with pytest.raises(InputError, match=r"there is no baseline 'focall'.*did you mean focal"):
            compare_losses(losses, tiny(npz), tmp_path / "new", CompareSettings(baselines=("focall",)))
        assert not (tmp_path / "new").exists()

    def test_the_measured_backend_is_kept(self, tmp_path: Path, npz: Path) -> None:
        settings = tiny(npz, run={"training": "auto"})
        compare_losses({"mine": mae()}, settings, tmp_path / "out", OPTIONS)
        with Store(tmp_path / "out") as store:
            (kept,) = store.setting("backend").values()
            assert kept["backend"] in ("sequential", "mlp")
            assert set(kept["seconds"]) == {"sequential", "mlp"}

    @pytest.mark.parametrize(
        ("recipe", "epochs"),
        [({"epochs": 3}, 6), ({"steps": 5, "epochs": 1}, 6), ({"steps": 1, "epochs": 9}, 2), ({"epochs": 1}, 2)],
    )
    def test_tuning_runs_are_twice_as_long_as_the_recipe(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path, recipe: dict[str, Any], epochs: int
    ) -> None:
        plans: list[Any] = []

        def stopped(*arguments: Any, **_: Any) -> Comparison:
            plans.append(arguments[4])
            raise KeyboardInterrupt

        monkeypatch.setattr(comparison, "compare", stopped)
        options = OPTIONS.model_copy(update={"tuning_epochs": None})
        with pytest.raises(KeyboardInterrupt):
            compare_losses({"mine": mae()}, tiny(npz, recipe=recipe), tmp_path / "out", options)
        assert plans[0].epochs == epochs


def test_runs_that_were_stored_before_a_setting_was_there_are_found_again() -> None:
    """The key is that of a version without adversaries, white pixels and dropout."""
    settings = EvolveSettings()
    key = comparison.comparison_digest("0" * 64, settings, Plan(recipe=settings.recipe, backend=Backend("population")))
    assert key == "c84aa2a893590d0b"
    for engine in ("mlp", "vmap"):
        assert (
            comparison.comparison_digest("0" * 64, settings, Plan(recipe=settings.recipe, backend=Backend(engine)))
            == key
        )
    attacked = settings.recipe.model_copy(update={"adversary": "fgsm"})
    assert comparison.comparison_digest("0" * 64, settings, Plan(recipe=attacked, backend=Backend("population"))) != key
    for rate in (0.0, 0.1):
        pruned = settings.model_copy(update={"model": ModelSettings(dropout=rate)})
        assert (
            comparison.comparison_digest("0" * 64, pruned, Plan(recipe=settings.recipe, backend=Backend("population")))
            != key
        )


class TestNoTestSampleInTheSearch:
    def test_other_test_samples_change_nothing_of_the_search(self, tmp_path: Path) -> None:
        documents = []
        for number in (1, 2):
            place = write_npz(tmp_path / "clouds.npz", test_seed=number)
            evolve(tmp_path / str(number), tiny(place))
            documents.append(json.loads((tmp_path / str(number) / "best.json").read_text()))
        digests = [document["provenance"].pop("digest") for document in documents]
        assert digests[0] != digests[1]
        assert documents[0] == documents[1]

    @pytest.mark.parametrize("own", [True, False])
    def test_what_is_trained_and_judged_is_disjoint_from_the_test_part(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: bool
    ) -> None:
        changed: dict[str, Any] = {} if own else {"x_test": None, "y_test": None}
        settings = tiny(write_npz(tmp_path / "clouds.npz", **changed), data={"train_size": 50})
        seen: list[Tensor] = []

        def train(trainer: Trainer, *arguments: Any, **named: Any) -> Any:
            seen.append(trainer.task.inputs)
            return inner(trainer, *arguments, **named)

        def objective(trained: Any, inputs: Tensor, targets: Tensor) -> Tensor:
            seen.append(inputs)
            return figures(MetricObjective("accuracy")(trained, inputs, targets))["fitness"]

        inner = Trainer.train
        monkeypatch.setattr(Trainer, "train", train)
        evolve(tmp_path / "study", settings, objective=objective)
        source = open_source(settings.data.source)
        held_out = {tuple(row.tolist()) for row in part_for_tests(source, settings.data).inputs}
        used = {tuple(row.tolist()) for inputs in seen for row in inputs}
        parts = search_parts(source, settings.data)
        assert len(held_out) == (45 if own else 30)
        assert len(used) == len(parts.train) + len(parts.validation)
        assert used.isdisjoint(held_out)

    def test_the_same_content_elsewhere_is_the_same_data(self, study: Path, tmp_path: Path, few: None) -> None:
        known = origin_of([str(study / "best.json")])
        assert known is not None
        copy = write_npz(tmp_path / "copy.npz")
        result = compare_losses(
            {"evolved": load(study / "best.json")},
            with_data(known.settings, str(copy)),
            study,
            OPTIONS,
            digest=known.digest,
        )
        assert result.row("evolved").runs
