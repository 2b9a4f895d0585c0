"""What a study tunes: the rate of its search, known losses, and the rates of its finalists."""

import json
import math
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith.analysis import Family, baselines, fixed
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy, label_smoothing, load, mae
from lossmith.report import summarize
from lossmith.report.curves import search_history
from lossmith.search import build_space
from lossmith.study import EvolveSettings, Store, candidate_name, check_effect, evolve
from lossmith.study import runner as runner_module
from lossmith.study.chunks import Chunk, Measured
from lossmith.study.finalists import Entry, Gain, best_row, winner
from lossmith.study.schema import seal
from lossmith.study.tuning import AGAIN, FitnessTuning
from lossmith.training import Local, Trained

evolve_module = sys.modules["lossmith.study.evolve"]
CLASSES = 10
NAMES = [family.name for family in baselines()]
FEW = ("cross-entropy", "label smoothing", "label smoothing + MAE")


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("candidate 0.4", "candidate", "generation 1, candidate 5"),
        ("candidate 12.0", "candidate", "generation 13, candidate 1"),
        ("candidate 0.4", "baseline", "candidate 0.4"),
        ("candidate 0.4", None, "candidate 0.4"),
        ("candidate 0.4.1", "candidate", "candidate 0.4.1"),
        ("mean of the search", "mean", "mean of the search"),
    ],
)
def test_candidates_are_told_of_as_charts_count_them(name: str, kind: str | None, told: str) -> None:
    assert candidate_name(name, kind) == told


def key_of(loss: Loss) -> str:
    """A loss as text."""
    return json.dumps(loss.key())


class Bench:
    """Trains nothing: the fitness of a loss at a rate is a formula, and what is asked for is kept."""

    def __init__(self, directory: Path, worth: Callable[[Loss, float], float | None]) -> None:
        directory.mkdir(exist_ok=True)
        self.store, self.worth = Store(directory), worth
        self.asked: list[tuple[str, Chunk, tuple[int, ...]]] = []
        self.shown: list[float] = []
        self.stop_at = math.inf

    def train(
        self, phase: str, chunks: Sequence[Chunk], seeds: Sequence[int], shown: Callable[[float], float]
    ) -> Iterator[tuple[int, list[Measured]]]:
        for number, chunk in enumerate(chunks):
            if not chunk.missing:
                continue
            if len(self.asked) >= self.stop_at:
                raise KeyboardInterrupt
            assert chunk.lr is not None
            self.asked.append((phase, chunk, tuple(seeds)))
            self.shown.append(shown((number + 1) / len(chunks)))
            found = []
            for loss in chunk.losses:
                value = self.worth(loss, chunk.lr)
                scores: list[float | None] = [value] * len(seeds)
                found.append(Measured({"fitness": scores}, value is None, 0.0))
            yield number, found

    def tuning(self, size: int = 4, first: int = 2, fresh: int = 3) -> FitnessTuning:
        return FitnessTuning(self.store, CLASSES, self.train, lambda _: size, self.seeds, first, fresh)

    def seeds(self, purpose: str, count: int) -> list[int]:
        return [1000 * len(purpose) + number for number in range(count)]


def best_at(rate: float) -> Callable[[Loss, float], float]:
    """Fitness that is highest at a rate, whatever the loss."""
    return lambda _, lr: -abs(math.log(lr / rate))


class TestSweep:
    @pytest.mark.parametrize("factor", [4.0**place for place in (-5, -2, 0, 1, 4)])
    def test_it_finds_the_rate_wherever_it_begins(self, tmp_path: Path, factor: float) -> None:
        bench = Bench(tmp_path, best_at(0.05))
        families = [family for family in baselines() if family.name in FEW]
        assert bench.tuning().sweep(families, 0.05 * factor) == pytest.approx(0.05)

    def test_the_better_loss_decides(self, tmp_path: Path) -> None:
        plain = key_of(cross_entropy())
        bench = Bench(
            tmp_path, lambda loss, lr: best_at(0.05)(loss, lr) if key_of(loss) == plain else 1 + best_at(0.2)(loss, lr)
        )
        families = [family for family in baselines() if family.name in FEW]
        assert bench.tuning().sweep(families, 0.05) == pytest.approx(0.2)

    @pytest.mark.parametrize("factor", [1e-318, 1e-9, 1e-4, 1.0, 1e3, 1e6, 1e300])
    @pytest.mark.parametrize("wrong", [0.1, None])
    def test_where_nothing_learns_it_looks_far_away(self, tmp_path: Path, factor: float, wrong: float | None) -> None:
        def worth(_: Loss, lr: float) -> float | None:
            return 0.9 if 0.005 < lr < 0.05 else wrong

        found = Bench(tmp_path, worth).tuning().sweep([fixed("cross-entropy", cross_entropy())], 0.05 * factor)
        assert 0.005 < found < 0.05

    def test_among_equals_it_stays(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, lambda *_: 0.5)
        assert bench.tuning().sweep([fixed("cross-entropy", cross_entropy())], 0.05) == 0.05

    def test_where_all_diverge_it_stays_and_says_so(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        bench = Bench(tmp_path, lambda *_: None)
        assert bench.tuning().sweep([fixed("cross-entropy", cross_entropy())], 0.05) == 0.05
        assert (
            "no known loss has a fitness at any learning rate from 1e-05 to 4: the rate of the recipe stays"
            in caplog.text
        )

    def test_beyond_its_bounds(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, best_at(0.05 * 4.0**6))
        assert bench.tuning().sweep([fixed("cross-entropy", cross_entropy())], 0.05) == pytest.approx(0.05 * 4.0**6)


class TestTuning:
    def test_known_losses_at_their_best_places(self, tmp_path: Path) -> None:
        wanted = label_smoothing(1 / (1 + math.exp(2.0)), CLASSES)

        def worth(loss: Loss, lr: float) -> float:
            return best_at(0.4)(loss, lr) + (1.0 if key_of(loss) == key_of(wanted) else 0.0) - _distance(loss)

        families = [family for family in baselines() if family.name == "label smoothing"]
        (found,) = Bench(tmp_path, worth).tuning().known(families, 0.05)
        assert found.loss == wanted
        assert found.lr == pytest.approx(0.4)
        assert found.name == "label smoothing, α = 0.119"
        assert found.origin == {"kind": "baseline", "baseline": "label smoothing"}
        assert found.fitness == pytest.approx(worth(found.loss, 0.4))

    def test_every_finalist_has_a_rate_of_its_own(self, tmp_path: Path) -> None:
        rates = {"a": 0.0125, "b": 0.05, "c": 0.8}
        losses = {name: (k + 1.0) * mae() for k, name in enumerate(rates)}
        keys = {key_of(loss): rates[name] for name, loss in losses.items()}
        bench = Bench(tmp_path, lambda loss, lr: best_at(keys[key_of(loss)])(loss, lr))
        entries = [Entry(name, {"kind": "candidate"}, loss) for name, loss in losses.items()]
        found = bench.tuning().rates(entries, 0.05)
        assert {entry.name: entry.lr for entry in found} == pytest.approx(rates)
        assert [entry.origin for entry in found] == [entry.origin for entry in entries]

    def test_the_best_two_places_are_measured_with_fresh_seeds(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, best_at(0.05))
        bench.tuning().rates([Entry("a", {}, mae())], 0.05)
        first, again = ({seeds for _, _, seeds in bench.asked if len(seeds) == count} for count in (2, 3))
        assert len(first) == len(again) == 1
        assert set(*first).isdisjoint(*again)
        assert sum(len(chunk.losses) for _, chunk, seeds in bench.asked if len(seeds) == 3) == AGAIN
        assert {phase for phase, *_ in bench.asked} == {"rates"}

    def test_those_of_one_rate_are_trained_together_in_chunks(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, best_at(0.05))
        bench.tuning(size=2).rates([Entry(name, {}, (k + 1.0) * mae()) for k, name in enumerate("abc")], 0.05)
        assert {len(chunk.losses) for _, chunk, _ in bench.asked} == {1, 2}

    def test_progress_goes_up(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, best_at(50.0))
        bench.tuning().sweep([fixed("a", mae())], 0.05)
        assert bench.shown == sorted(bench.shown)
        assert 0 < bench.shown[0] < bench.shown[-1] < 1

    def test_without_losses_nothing_is_trained(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, best_at(0.05))
        assert bench.tuning().known([], 0.05) == bench.tuning().rates([], 0.05) == []
        assert not bench.asked

    def test_a_loss_that_always_diverges_is_told_apart(self, tmp_path: Path) -> None:
        (found,) = Bench(tmp_path, lambda *_: None).tuning().rates([Entry("a", {}, mae())], 0.05)
        assert found.fitness is None

    @pytest.mark.parametrize("stop", range(0, 12, 3))
    def test_stopped_and_gone_on_with(self, tmp_path: Path, stop: int) -> None:
        families = [family for family in baselines() if family.name in FEW]
        expected = Bench(tmp_path / "whole", best_at(0.2))
        wanted = expected.tuning().known(families, 0.05)
        assert len(expected.asked) > 9
        first = Bench(tmp_path / "stopped", best_at(0.2))
        first.stop_at = stop
        with pytest.raises(KeyboardInterrupt):
            first.tuning().known(families, 0.05)
        first.store.close()
        second = Bench(tmp_path / "stopped", best_at(0.2))
        assert second.tuning().known(families, 0.05) == wanted
        second.store.close()
        assert len(first.asked) + len(second.asked) == len(expected.asked)
        third = Bench(tmp_path / "stopped", best_at(0.2))
        assert third.tuning().known(families, 0.05) == wanted
        assert not third.asked

    @pytest.mark.parametrize("value", [1, [], [[0.5]], [["a", "b"]], {"a": 1}, [[0.5, 0.5, 0.5]]])
    def test_what_is_kept_is_checked(self, tmp_path: Path, value: Any) -> None:
        bench = Bench(tmp_path, best_at(0.05))
        bench.tuning().rates([Entry("a", {}, mae())], 0.05)
        bench.store.close()
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute("UPDATE run SET result = ?", (json.dumps(value),))
            seal(connection)
        with pytest.raises(InputError, match=r"study\.db.*tuning.*(restore a copy|start in another)"):
            Bench(tmp_path, best_at(0.05)).tuning().rates([Entry("a", {}, mae())], 0.05)


def _distance(loss: Loss) -> float:
    """How far the smoothing of a loss is from the one that is wanted, in steps of the grid."""
    alphas = {key_of(label_smoothing(1 / (1 + math.exp(-k)), CLASSES)): k for k in range(-5, 6)}
    return 0.1 * abs(alphas[key_of(loss)] + 2)


def settings_of(**run: Any) -> EvolveSettings:
    return EvolveSettings.model_validate(
        {
            "data": {"train_size": 200, "validation_size": 200, "label_noise": 0.2},
            "model": {"hidden": [6]},
            "recipe": {"epochs": 1, "lr": 0.05},
            "search": {"population": 4, "generations": 2},
            "run": {"training": "population", "finalists": 2, "finalist_seeds": 2, **run},
        }
    )


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[Family]:
    """Three known losses instead of all."""
    found = [family for family in baselines() if family.name in FEW]
    monkeypatch.setattr(evolve_module, "baselines", lambda: list(found))
    return found


def whole(directory: Path) -> list[Any]:
    """What a study holds, less the seconds."""
    with Store(directory, readonly=True) as store:
        rows = store.candidates() + store.finalists("final") + store.rows("SELECT comparison, chunk, result FROM run")
        runs = sorted(json.dumps({k: v for k, v in row.items() if k != "seconds"}, sort_keys=True) for row in rows)
        return [runs, store.setting("rate"), load(directory / "best.json").to_json()]


class TestStudy:
    def test_every_known_loss_is_a_finalist_at_its_own_rate(self, tmp_path: Path) -> None:
        outcome = evolve(tmp_path, settings_of())
        finalists = outcome.provenance["finalists"]
        known = [row for row in finalists if row["kind"] == "baseline"]
        assert len(known) == len(NAMES)
        assert all(any(row["name"].startswith(name) for row in known) for name in NAMES)
        assert len(finalists) == len(NAMES) + 3
        with Store(tmp_path, readonly=True) as store:
            rows = store.finalists("final")
            assert [row["rank"] for row in rows] == list(range(len(rows)))
            assert all(row["origin"]["lr"] > 0 for row in rows)
            assert store.setting("rate")["lr"] > 0
        best = max(rows, key=lambda row: row["mean"] if row["mean"] is not None else -1)
        assert outcome.provenance["lr"] == best["origin"]["lr"]
        assert len({row["lr"] for row in finalists}) > 1

    @pytest.mark.usefixtures("few")
    @pytest.mark.parametrize("phase", ["sweep", "known", "search", "rates", "final"])
    @pytest.mark.parametrize("after", [0, 1])
    def test_killed_at_any_write_it_ends_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, after: int
    ) -> None:
        """At the first write after a phase has begun, and at the one after that."""
        evolve(tmp_path / "whole", settings_of(chunk=4))
        write, left, phases = Store.write, after, list[str]()
        inner = runner_module.Runner._trained

        def seen(self: Any, now: str, *rest: Any, **named: Any) -> Any:
            phases.append(now)
            return inner(self, now, *rest, **named)

        def dying(store: Store, statements: Any) -> None:
            nonlocal left
            if phases and phases[-1] == phase:
                left -= 1
            if left < 0:
                raise KeyboardInterrupt
            write(store, statements)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", dying)
            patch.setattr(runner_module.Runner, "_trained", seen)
            with pytest.raises(KeyboardInterrupt):
                evolve(tmp_path / "killed", settings_of(chunk=4))
        assert phases[-1] == phase
        evolve(tmp_path / "killed", settings_of(chunk=4))
        assert whole(tmp_path / "killed") == whole(tmp_path / "whole")

    @pytest.mark.parametrize("scale", [False, True])
    def test_the_search_begins_with_known_losses(self, tmp_path: Path, few: list[Family], scale: bool) -> None:
        settings = settings_of()
        search = settings.search.model_copy(update={"scale": scale, "known_first": True})
        evolve(tmp_path, settings.model_copy(update={"search": search}))
        with Store(tmp_path, readonly=True) as store:
            first, swept = store.setting("first candidates"), store.setting("rate")["lr"]
            candidates, finalists = store.candidates(), store.finalists("final")
        assert [row["genome"] for row in candidates[: len(first)]] == first
        assert len(first) == 2
        known = [row for row in finalists if row["origin"]["kind"] == "baseline"]
        assert len(known) == len(few)
        space = build_space(search)
        losses = [
            Loss.from_json(row["loss"]) if not scale else (row["origin"]["lr"] / swept) * Loss.from_json(row["loss"])
            for row in known
        ]
        places = [space.place(loss, 10) for loss in losses]
        assert all(any(place is not None and genome == place[0] for place in places) for genome in first)

    def test_known_losses_first_need_tuning(self) -> None:
        settings = settings_of(tune=False)
        search = settings.search.model_copy(update={"known_first": True})
        with pytest.raises(InputError, match="--known-first has no effect with --no-tune"):
            check_effect(settings.model_copy(update={"search": search}))

    def test_a_study_keeps_the_known_losses_that_it_began_with(
        self, tmp_path: Path, few: list[Family], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        evolve(tmp_path, settings_of())
        before = whole(tmp_path)
        for families in (few[:1], [*few, fixed("mine", mae(), baseline=True)], few[::-1]):
            monkeypatch.setattr(evolve_module, "baselines", lambda families=families: list(families))
            evolve(tmp_path, settings_of())
            assert whole(tmp_path) == before

    @pytest.mark.usefixtures("few")
    def test_whoever_trains_stores_the_same(self, tmp_path: Path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            evolve(tmp_path / "local", settings_of(chunk=8))
            evolve(tmp_path / "processes", settings_of(chunk=8), executor="processes")
        finally:
            torch.set_num_threads(threads)
        assert whole(tmp_path / "processes") == whole(tmp_path / "local")

    @pytest.mark.usefixtures("few")
    def test_a_finalist_of_another_name(self, tmp_path: Path) -> None:
        evolve(tmp_path, settings_of())
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute("UPDATE finalist SET name = 'MAE' WHERE rank = 2")
            seal(connection)
        with pytest.raises(InputError, match=r"study.db is damaged \(a finalist of rank 2 is none of this search"):
            evolve(tmp_path, settings_of())

    @pytest.mark.usefixtures("few")
    def test_what_tuning_cost_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO"):
            tuning = evolve(tmp_path, settings_of()).provenance["tuning"]
        with Store(tmp_path, readonly=True) as store:
            chunks = [json.loads(row["chunk"]) for row in store.rows("SELECT chunk FROM run")]
            assert tuning["lr"] == store.setting("rate")["lr"]
        assert tuning["trainings"] == sum(len(chunk["losses"]) * len(chunk["seeds"]) for chunk in chunks) > 50
        assert summarize(tmp_path)["tuning"] == tuning
        assert f"the search trains with lr = {tuning['lr']:g}; the recipe says 0.05" in caplog.text
        assert "the best known loss, tuned: " in caplog.text

    @pytest.mark.usefixtures("few")
    def test_a_tie_is_a_known_loss_and_said(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        outcome = evolve(tmp_path, settings_of(), objective=always_half)
        assert outcome.provenance["origin"]["kind"] == "baseline"
        assert outcome.provenance["gain"] == {"known": outcome.loss.name, "mean": 0.0, "error": 0.0, "clear": False}
        assert "the search found nothing better than a known loss" in caplog.text

    @pytest.mark.usefixtures("few")
    def test_where_nothing_has_a_fitness(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(InputError, match=r"every finalist diverged with lr = .*look at the objective"):
            evolve(tmp_path, settings_of(), objective=never)
        assert "no known loss has a fitness: all diverged, or the objective gave no number" in caplog.text

    @pytest.mark.usefixtures("few")
    def test_a_running_study_says_what_is_tuned(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        states: list[str] = []
        inner = runner_module.Runner._trained

        def seen(self: Any, *rest: Any, **named: Any) -> Any:
            states.append(summarize(tmp_path)["state"])
            return inner(self, *rest, **named)

        monkeypatch.setattr(runner_module.Runner, "_trained", seen)
        evolve(tmp_path, settings_of())
        found = list(dict.fromkeys(states))
        assert found[:3] == [
            "tuning the learning rate of the search, before the search",
            "tuning known losses, before the search",
            "in generation 1 of 2",
        ]

    @pytest.mark.parametrize(
        ("search", "recipe", "match"),
        [
            ({"scale": True}, {"optimizer": "adamw"}, "--scale has no effect with --optimizer adamw"),
            ({"scale": True, "space": "canonical"}, {}, "--scale has no effect in the canonical space"),
        ],
    )
    def test_a_scale_without_effect(self, search: dict[str, Any], recipe: dict[str, Any], match: str) -> None:
        settings = EvolveSettings.model_validate({"search": search, "recipe": recipe})
        with pytest.raises(InputError, match=match):
            check_effect(settings)

    @pytest.mark.usefixtures("few")
    @pytest.mark.parametrize(
        ("space", "said"), [("taylor", "nothing known, since taylor holds none"), ("residual", "")]
    )
    def test_what_it_begins_with_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, space: str, said: str
    ) -> None:
        settings = settings_of()
        search = settings.search.model_copy(update={"known_first": True, "space": space})
        with caplog.at_level("INFO"):
            evolve(tmp_path, settings.model_copy(update={"search": search}))
        assert f"the search begins with {said}" in caplog.text

    @pytest.mark.usefixtures("few")
    def test_a_longer_search_tunes_known_losses_no_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        evolve(tmp_path, settings_of())
        phases: list[str] = []
        inner = runner_module.Runner._trained

        def seen(self: Any, phase: str, chunks: Any, *rest: Any, **named: Any) -> Any:
            phases.extend(phase for chunk in chunks if chunk.missing)
            return inner(self, phase, chunks, *rest, **named)

        monkeypatch.setattr(runner_module.Runner, "_trained", seen)
        longer = settings_of()
        evolve(tmp_path, longer.model_copy(update={"search": longer.search.model_copy(update={"generations": 3})}))
        assert {"search", "final"} <= set(phases)
        assert not {"sweep", "known"} & set(phases)

    @pytest.mark.usefixtures("few")
    def test_the_search_trains_at_the_swept_rate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rates: dict[bool, set[float]] = {True: set(), False: set()}

        class Watching(Local):
            def run(self, jobs: Any, progress: Any = None) -> Any:
                for job in jobs:
                    rates[job.share < 1].add(job.recipe.lr)
                return super().run(jobs, progress)

        monkeypatch.setattr(FitnessTuning, "sweep", lambda *_: 0.003)
        evolve(tmp_path, settings_of(partial=0.5), executor=Watching())
        assert rates[True] == {0.003}
        assert len(rates[False]) > 1

    @pytest.mark.usefixtures("few")
    def test_a_known_loss_that_wins_is_handed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = settings_of()
        found = evolve(tmp_path / "first", settings).provenance["finalists"]
        known = [row for row in found if row["kind"] == "baseline"]
        # A search of losses that learn nothing.
        monkeypatch.setattr(runner_module, "evolved_entries", lambda *_: [Entry("candidate 0.0", ORIGIN, 1e-9 * mae())])
        outcome = evolve(tmp_path / "second", settings)
        best = max(known, key=lambda row: row["mean"])
        assert outcome.loss.name == best["name"]
        assert outcome.provenance["origin"]["kind"] == "baseline"
        assert outcome.provenance["lr"] == best["lr"]
        assert f"found nothing better than a known loss: {best['name']} (lr = {best['lr']:g}) has a" in caplog.text

    def test_without_tuning_all_train_at_the_recipes_rate(self, tmp_path: Path) -> None:
        outcome = evolve(tmp_path, settings_of(tune=False))
        assert {row["lr"] for row in outcome.provenance["finalists"]} == {0.05}
        assert {row["kind"] for row in outcome.provenance["finalists"]} == {
            *("candidate", "mean", "cross-entropy", "label smoothing")
        }
        with Store(tmp_path, readonly=True) as store:
            assert store.setting("rate") is None
            assert not store.rows("SELECT * FROM run")

    @pytest.mark.usefixtures("few")
    @pytest.mark.parametrize("rate", [{"lr": 0.0}, {"lr": -1.0}, {"lr": "a"}, {}, 5])
    def test_a_rate_that_is_none(self, tmp_path: Path, rate: Any) -> None:
        evolve(tmp_path, settings_of())
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute("UPDATE setting SET value = ? WHERE name = 'rate'", (json.dumps(rate),))
            seal(connection)
        with pytest.raises(InputError, match="what it holds as 'rate'"):
            evolve(tmp_path, settings_of())

    @pytest.mark.usefixtures("few")
    def test_a_study_begun_before_tunes_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, forget: Callable[[Path, str, str], None]
    ) -> None:
        settings = settings_of(tune=False)
        evolve(tmp_path, settings)
        forget(tmp_path, "run", "tune")
        before = whole(tmp_path)
        evolve(tmp_path, settings_of())
        assert "goes on with run.tune = False, as it was begun" in caplog.text
        assert whole(tmp_path) == before


def always_half(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
    return torch.full((len(trained.networks),), 0.5)


def never(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
    return torch.full((len(trained.networks),), math.nan)


ORIGIN: dict[str, Any] = {"kind": "candidate", "generation": 0, "member": 0, "genome": [0.0] * 5}


def finalist(kind: str, name: str, mean: float | None, lr: float | None = 0.1) -> dict[str, Any]:
    scores = [None] * 4 if mean is None else [mean - 0.01, mean + 0.01, mean - 0.01, mean + 0.01]
    return {"name": name, "mean": mean, "scores": scores, "origin": {"kind": kind, **({"lr": lr} if lr else {})}}


class TestGain:
    def test_how_far_ahead(self) -> None:
        gain = Gain.of([finalist("candidate", "candidate 0.1", 0.6), finalist("baseline", "MAE", 0.5)])
        assert gain is not None
        assert gain.mean == pytest.approx(0.1)
        assert gain.error == pytest.approx(statistics.stdev([-0.01, 0.01] * 2) / 2 * math.sqrt(2))
        assert gain.is_clear
        assert gain.sentence == (
            "the winner is ahead of the best known loss, MAE (lr = 0.1), by 0.1 (standard error 0.0082) on the "
            "validation data that both were chosen on"
        )

    def test_too_little(self) -> None:
        gain = Gain.of(
            [finalist("mean", "mean of the search", 0.51), finalist("cross-entropy", "cross-entropy", 0.5, None)]
        )
        assert gain is not None
        assert not gain.is_clear
        assert "best known loss, cross-entropy, by 0.01" in gain.sentence
        assert gain.sentence.endswith("too little to tell them apart, so the known loss may do as well")

    @pytest.mark.parametrize("mean", [0.5, 0.4])
    def test_nothing_better(self, mean: float) -> None:
        rows = [finalist("candidate", "candidate 0.1", mean), finalist("baseline", "MAE", 0.5)]
        gain = Gain.of(rows)
        assert gain is not None
        assert gain.sentence.startswith(
            "the search found nothing better than a known loss: MAE (lr = 0.1) has a fitness"
        )
        assert gain.sentence.endswith("; the known loss is the result")
        assert best_row(rows) == rows[1]

    def test_where_nothing_was_tuned_a_tie_is_told_and_the_candidate_stays(self) -> None:
        rows = [finalist(kind, kind, 0.5, None) for kind in ("candidate", "cross-entropy")]
        gain = Gain.of(rows)
        assert gain is not None
        assert best_row(rows) == rows[0]
        assert gain.sentence.startswith("the search found nothing better than a known loss: cross-entropy has a")
        assert gain.sentence.endswith("the known loss does as well")
        assert "is the result" not in gain.sentence

    def test_one_network_has_no_error(self) -> None:
        rows = [finalist("candidate", "candidate 0.1", 0.6), finalist("baseline", "MAE", 0.5)]
        gain = Gain.of([{**row, "scores": row["scores"][:1]} for row in rows])
        assert gain is not None
        assert (gain.error, gain.is_clear) == (None, False)

    @pytest.mark.parametrize(
        "rows",
        [
            [],
            [finalist("candidate", "candidate 0.1", 0.6)],
            [finalist("candidate", "candidate 0.1", None), finalist("baseline", "MAE", 0.5)],
            [finalist("candidate", "candidate 0.1", 0.6), finalist("baseline", "MAE", None)],
        ],
    )
    def test_nothing_to_say(self, rows: list[dict[str, Any]]) -> None:
        assert Gain.of(rows) is None

    @pytest.mark.parametrize(("lrs", "shown"), [((0.1, 0.4), "0.1 to 0.4"), ((0.1, 0.1), "0.1")])
    def test_all_diverged(self, lrs: tuple[float, float], shown: str) -> None:
        rows = [finalist("baseline", "MAE", None, lr) for lr in lrs]
        with pytest.raises(InputError, match=f"every finalist diverged with lr = {shown}, .*look at the objective"):
            winner(rows, 0.05)
        with pytest.raises(InputError, match=r"every finalist diverged with lr = 0.05, .*with a lower lr"):
            winner([finalist("mean", "mean of the search", None, None)], 0.05)


def test_the_picture_of_a_search_shows_the_best_known_loss() -> None:
    rows = [
        {
            "name": name,
            "mean": mean,
            "origin": {"kind": kind, **({"baseline": name.split(",")[0]} if kind == "baseline" else {})},
        }
        for name, mean, kind in (
            ("candidate 0.1", 0.7, "candidate"),
            ("label smoothing + MAE, α = 0.5, weight = 4", 0.6, "baseline"),
            ("cross-entropy", 0.5, "baseline"),
            ("MSE", None, "baseline"),
        )
    ]
    assert search_history([], rows).lines == [
        ("cross-entropy", 0.5),
        ("label smoothing + MAE", 0.6),
        ("best found, fresh seeds", 0.7),
    ]
