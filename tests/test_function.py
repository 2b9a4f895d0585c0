"""Studies of the user's own training function: the same stages, resumed exactly, whatever it gives or raises."""

from __future__ import annotations

import functools
import importlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lossmith import Criterion, InputError, cross_entropy, load
from lossmith.cli import main
from lossmith.seeds import derive
from lossmith.study import (
    FunctionSettings,
    Store,
    TrainFunction,
    checked_settings,
    compare_by_function,
    evolve_function,
)
from lossmith.study.trials import MedianRule, Trial, Trials

MODULE = """
import os, signal, time
import torch

def train(criterion, seed, lr=0.1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 4, generator=generator)
    y = x[:, :3].argmax(1)
    w = torch.zeros(4, 3, requires_grad=True)
    for _ in range(4):
        (slope,) = torch.autograd.grad(criterion(x[:20] @ w, y[:20]), w)
        w = (w - lr * slope).detach().requires_grad_()
    right = ((x[20:] @ w).argmax(1) == y[20:]).double()
    return right[:20].mean(), right[20:].mean()

def killed(criterion, seed, lr=0.1):
    with open("calls", "a") as file:
        file.write("x")
    if os.path.getsize("calls") == int(os.environ["DIE_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return train(criterion, seed, lr)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_training.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("own_training")
    sys.path.remove(str(folder))
    del sys.modules["own_training"]


def settings_of(function: TrainFunction, **run: Any) -> FunctionSettings:
    search = {name: run.pop(name) for name in ("population", "generations", "seed") if name in run}
    small = {"finalists": 1, "finalist_seeds": 2, "tune": False, **run}
    return FunctionSettings.model_validate(
        {
            "classes": 3,
            "train": {"function": function.name, "lr": function.lr, "metric": function.metric},
            "search": {"population": 3, "generations": 2, "sigma": 0.5, **search},
            "run": small,
        }
    )


def evolved(directory: Path, function: Callable[..., Any], *, metric: str | None = None, **run: Any) -> Any:
    given = TrainFunction.of(function, metric=metric)
    executor = run.pop("executor", None)
    return evolve_function(directory, given, settings_of(given, **run), executor=executor)


def first_coefficient(criterion: Criterion, seed: int) -> float:
    """Any deterministic score of a loss and a seed."""
    value = criterion(torch.tensor([[1.0, 0.5, -1.0]]), torch.tensor([0]))
    return float(-value.abs()) + 1e-3 * (seed % 7)


def stored(directory: Path) -> Any:
    with Store(directory, readonly=True) as store:
        rows = [*store.candidates(), *store.finalists("final")]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class TestStages:
    def test_the_stages_of_any_study(self, own: Any, tmp_path: Path) -> None:
        outcome = evolved(tmp_path, own.train, tune=True)
        kinds = {one["kind"] for one in outcome.provenance["finalists"]}
        names = [one["name"].split(",")[0] for one in outcome.provenance["finalists"]]
        assert kinds == {"candidate", "mean", "baseline"}
        assert {"cross-entropy", "label smoothing"} <= set(names)
        assert all(one["lr"] > 0 and one["n"] == 2 for one in outcome.provenance["finalists"])
        assert load(tmp_path / "best.json").to_json() == outcome.loss.to_json()
        assert outcome.provenance["function"] == "train"
        assert outcome.provenance["candidates"]["candidates"] == 6

    def test_members_of_a_generation_share_seeds_and_finalists_have_fresh_ones(self, tmp_path: Path) -> None:
        seen: list[int] = []

        def train(criterion: Criterion, seed: int) -> float:
            seen.append(seed)
            return first_coefficient(criterion, seed)

        evolved(tmp_path, train, replicates=2, seed=5)
        searched = [derive(5, "search", generation, replicate) for generation in (0, 1) for replicate in (0, 1)]
        assert seen[:12] == searched[:2] * 3 + searched[2:] * 3
        assert not set(seen[:12]) & set(seen[12:])

    @pytest.mark.parametrize("executor", [None, "processes"])
    def test_ended_studies_call_nothing(self, own: Any, tmp_path: Path, executor: str | None) -> None:
        first = evolved(tmp_path, own.train, executor=executor)
        before = (tmp_path / "study.db").read_bytes()
        again = evolved(tmp_path, own.train, executor=executor)
        assert again.loss.to_json() == first.loss.to_json()
        assert (tmp_path / "study.db").read_bytes() == before

    def test_whoever_trains_stores_the_same(self, own: Any, tmp_path: Path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            evolved(tmp_path / "here", own.train, tune=True)
            evolved(tmp_path / "there", own.train, tune=True, executor="processes")
        finally:
            torch.set_num_threads(threads)
        assert stored(tmp_path / "here") == stored(tmp_path / "there")

    @pytest.mark.parametrize("moment", [2, 5, 9])
    def test_a_killed_study_goes_on(self, own: Any, tmp_path: Path, moment: int) -> None:
        program = (
            f"import sys; sys.path[:0] = [{str(Path(own.__file__).parent)!r}, {str(Path(__file__).parent)!r}]\n"
            "import own_training, test_function\n"
            "from pathlib import Path\n"
            "test_function.evolved(Path('study'), own_training.killed)\n"
        )
        environment = {**os.environ, "DIE_AT": str(moment), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", program]
        killed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
        whole = tmp_path / "whole"
        whole.mkdir()
        environment["DIE_AT"] = "1000"
        subprocess.run(command, cwd=whole, env=environment, capture_output=True, check=True)
        assert stored(tmp_path / "study") == stored(whole / "study")

    def test_another_function_or_setting_is_another_study(self, own: Any, tmp_path: Path) -> None:
        evolved(tmp_path, own.train)
        with pytest.raises(InputError, match=r"has train.function = 'train', not 'killed'"):
            evolved(tmp_path, own.killed)

    def test_other_code_of_the_same_name_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def train(criterion: Criterion, seed: int) -> float:
            return first_coefficient(criterion, seed)

        evolved(tmp_path, train, generations=1)
        evolved(tmp_path, train, generations=1)
        assert "has changed since" not in caplog.text
        one = train

        def train(criterion: Criterion, seed: int) -> float:  # type: ignore[no-redef]
            return 1 + first_coefficient(criterion, seed)

        train.__qualname__ = one.__qualname__
        evolved(tmp_path, train, generations=2)
        assert "the code of the training function has changed since the study in" in caplog.text

    @pytest.mark.parametrize("limit", ["1s", 1000])
    def test_a_time_limit(self, tmp_path: Path, caplog: pytest.LogCaptureFixture, limit: Any) -> None:
        def train(criterion: Criterion, seed: int) -> float:
            time.sleep(0.11)
            return first_coefficient(criterion, seed)

        given = TrainFunction.of(train)
        evolve_function(tmp_path, given, settings_of(given, generations=4), time_limit=limit)
        candidates = [row for row in stored(tmp_path) if "generation" in row]
        with Store(tmp_path, readonly=True) as store:
            assert store.setting("training seconds") > 0.1
        assert len(candidates) == (3 if limit == "1s" else 12)
        assert ("the time limit is too short: a generation" in caplog.text) is (limit == "1s")
        assert ("the time limit ends the search after generation 1 of 4" in caplog.text) is (limit == "1s")

    def test_more_generations(self, own: Any, tmp_path: Path) -> None:
        evolved(tmp_path / "a", own.train, generations=1)
        evolved(tmp_path / "a", own.train, generations=2)
        evolved(tmp_path / "b", own.train, generations=2)
        assert stored(tmp_path / "a") == stored(tmp_path / "b")

    def test_without_a_rate_strengths_alone_are_tuned(self, tmp_path: Path) -> None:
        outcome = evolved(tmp_path, first_coefficient, tune=True)
        assert all(one["lr"] is None for one in outcome.provenance["finalists"])
        assert outcome.provenance["tuning"]["trainings"] > 0


class TestFailures:
    def test_a_trial_that_raises_is_kept_and_ranks_last(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        calls = 0

        def train(criterion: Criterion, seed: int) -> float:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise ValueError("no\nluck \x1b[31m")
            return first_coefficient(criterion, seed)

        outcome = evolved(tmp_path, train)
        rows = stored(tmp_path)
        assert [row["status"] for row in rows[:6]].count("failed") == 1
        assert rows[1]["error"] == "ValueError: no luck \\x1b[31m"
        assert rows[1]["fitness"] is None
        assert outcome.provenance["candidates"]["failed"] == 1
        assert "ranks last" in caplog.text
        with Store(tmp_path, readonly=True) as store:
            kept = store.record("trials", "0.1")
        assert "Traceback" in kept["traces"][0]
        assert "in train" in kept["traces"][0]

    def test_three_generations_that_fail_alike_stop_it(self, tmp_path: Path) -> None:
        calls = 0

        def train(criterion: Criterion, seed: int) -> float:
            nonlocal calls
            calls += 1
            raise RuntimeError("out of memory")

        with pytest.raises(InputError, match=r"3 generations in a row have failed .*RuntimeError: out of memory"):
            evolved(tmp_path, train, generations=9)
        assert calls == 9

    def test_a_function_that_fails_with_every_loss_stops_the_tuning(self, tmp_path: Path) -> None:
        def train(criterion: Criterion, seed: int, lr: float = 0.1) -> float:
            raise KeyError("labels")

        with pytest.raises(InputError, match=r"fails with every loss \(KeyError: 'labels'\)") as caught:
            evolved(tmp_path, train, tune=True)
        assert "in train" in str(caught.value.__cause__)

    def test_what_is_not_finite_diverged(self, tmp_path: Path) -> None:
        def train(criterion: Criterion, seed: int) -> float:
            value = first_coefficient(criterion, seed)
            return math.nan if value > -0.5 else value

        evolved(tmp_path, train, generations=3)
        assert {row["status"] for row in stored(tmp_path)} == {"ok", "diverged"}

    def test_where_every_finalist_fails(self, tmp_path: Path) -> None:
        calls = 0

        def train(criterion: Criterion, seed: int) -> float:
            nonlocal calls
            calls += 1
            if calls > 6:
                raise OSError("gone")
            return first_coefficient(criterion, seed)

        with pytest.raises(InputError, match=r"every finalist failed \(OSError: gone\)"):
            evolved(tmp_path, train)
        assert not (tmp_path / "best.json").exists()

    def test_what_a_criterion_refuses_is_a_failure_like_any_other(self, tmp_path: Path) -> None:
        calls = 0

        def train(criterion: Criterion, seed: int) -> float:
            nonlocal calls
            calls += 1
            if calls == 1:
                criterion(torch.zeros(2, 3), torch.zeros(9).long())
            return first_coefficient(criterion, seed)

        evolved(tmp_path, train)
        assert stored(tmp_path)[0]["error"].startswith("InputError: targets of shape")

    def test_an_interruption_is_none_of_a_trial(self, tmp_path: Path) -> None:
        def train(criterion: Criterion, seed: int) -> float:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evolved(tmp_path, train)


class TestScores:
    @pytest.mark.parametrize(
        ("answer", "metric", "scores", "test"),
        [
            (0.5, None, {"fitness": 0.5}, {}),
            (torch.tensor(0.5), None, {"fitness": 0.5}, {}),
            ((0.5, 0.25), None, {"fitness": 0.5}, {"fitness": 0.25}),
            ({"validation": 0.5, "test": 0.25}, None, {"fitness": 0.5}, {"fitness": 0.25}),
            ({"validation": 0.5}, None, {"fitness": 0.5}, {}),
            ({"f1": 0.5}, None, {"f1": 0.5, "fitness": 0.5}, {}),
            ({"f1": 0.5, "fitness": 0.1}, None, {"f1": 0.5, "fitness": 0.1}, {}),
            ({"f1": 0.5, "recall": 0.1}, "recall", {"f1": 0.5, "recall": 0.1, "fitness": 0.1}, {}),
            ({"val_loss": 2.0}, "val_loss", {"val_loss": 2.0, "fitness": -2.0}, {}),
            ({"nll": 2.0, "f1": 0.5}, "nll", {"nll": 2.0, "f1": 0.5, "fitness": -2.0}, {}),
            (({"f1": 0.5}, {"f1": 0.25}), None, {"f1": 0.5, "fitness": 0.5}, {"f1": 0.25, "fitness": 0.25}),
            (2.0, "nll", {"fitness": -2.0}, {}),
        ],
    )
    def test_what_a_function_may_give(
        self, answer: Any, metric: str | None, scores: dict[str, float], test: dict[str, float]
    ) -> None:
        function = TrainFunction(lambda criterion, seed: answer, metric=metric)
        assert function.run(cross_entropy(), 0, None, None, lambda _: None) == Trial(scores, test)

    @pytest.mark.parametrize(
        ("answer", "metric", "words"),
        [
            (None, None, r"returned None, which is no number"),
            ("0.5", None, r"returned '0.5', which is no number"),
            (True, None, r"returned True, which is no number"),
            (torch.zeros(3), None, r"which is no number"),
            ({"f1": 0.5, "recall": 0.1}, None, r"returned the scores f1, recall; say which one decides: metric="),
            ({"f1": 0.5}, "recall", r"the metric is 'recall'; let it return that one, too"),
            ({}, None, r"returned the scores nothing"),
            ({"nll": 2.0}, None, r"returned nll, of which less is better: say that it decides, metric='nll'"),
            ({"val_loss": 2.0}, None, r"of which less is better"),
            ({1: 0.5}, None, r"let their names be texts"),
            ((1, 2, 3), None, r"returned 3 values"),
            ({"test": 1.0}, None, r"returned scores of test data alone"),
            ({"dropped": 1.0, "fitness": 1.0}, None, r"which a study keeps for itself"),
            ({"validation": None}, None, r"returned None"),
        ],
    )
    def test_what_it_may_not(self, answer: Any, metric: str | None, words: str) -> None:
        with pytest.raises(InputError, match=words):
            TrainFunction(lambda criterion, seed: answer, metric=metric).run(
                cross_entropy(), 0, None, None, lambda _: None
            )

    def test_names_are_recorded(self, tmp_path: Path) -> None:
        evolved(tmp_path, lambda criterion, seed: {"f1": first_coefficient(criterion, seed), "nll": 1.0}, metric="f1")
        assert all(row["figures"]["nll"] == [1.0] for row in stored(tmp_path)[:6])


class TestSignature:
    @pytest.mark.parametrize(
        ("function", "settings", "lr", "words"),
        [
            (3, {}, None, "give a function"),
            (lambda criterion: 1.0, {}, None, r"cannot be called with \(criterion, seed\)"),
            (lambda criterion, seed: 1.0, {"width": 3}, None, r"\(criterion, seed, width=…\)"),
            (lambda criterion, seed: 1.0, {}, 0.1, r"\(criterion, seed, lr=…\)"),
            (lambda criterion, seed, **more: 1.0, {"seed": 3}, None, "gets seed from the search"),
            (lambda criterion, seed, lr: 1.0, {}, None, "takes a learning rate, and none is known"),
        ],
    )
    def test_what_cannot_be_called(self, function: Any, settings: dict[str, Any], lr: float | None, words: str) -> None:
        with pytest.raises(InputError, match=words):
            TrainFunction.of(function, settings, lr)

    def test_names(self, own: Any) -> None:
        assert TrainFunction.of(functools.partial(own.train, lr=0.3)).name == "train"
        assert TrainFunction.of(functools.partial(own.train, lr=0.3)).lr == 0.3
        assert TrainFunction.of(own.train, lr=0.7).lr == 0.7

    def test_settings_are_handed_on(self) -> None:
        given: list[Any] = []

        def train(criterion: Criterion, seed: int, lr: float, width: int) -> float:
            given.append((seed, lr, width))
            return 1.0

        function = TrainFunction.of(train, {"width": 4}, 0.1)
        function.run(cross_entropy(), 7, 0.25, None, lambda _: None)
        function.run(cross_entropy(), 8, None, None, lambda _: None)
        assert given == [(7, 0.25, 4), (8, 0.1, 4)]

    @pytest.mark.parametrize("value", [object(), {1: 2}, math.nan, (1, 2)])
    def test_settings_that_a_study_cannot_keep(self, value: Any) -> None:
        with pytest.raises(InputError, match=r"bind what else the function needs by functools.partial"):
            checked_settings({"data": value})


class TestPruning:
    def test_the_rule(self) -> None:
        rule = MedianRule(tuple(((0.5, float(n)), (1.0, 10.0 * n)) for n in range(5)))
        assert rule.is_hopeless([(0.5, 1.9)])
        assert not rule.is_hopeless([(0.5, 2.0)])
        assert not rule.is_hopeless([(0.2, 3.0), (0.6, -1.0)])
        assert not rule.is_hopeless([(0.4, -5.0)])
        assert rule.is_hopeless([(1.0, 19.0)])
        assert not MedianRule(rule.curves[:4]).is_hopeless([(0.5, -1.0)])

    def test_hopeless_trials_are_stopped_in_a_resumed_study_as_in_any(self, tmp_path: Path) -> None:
        steps: list[int] = []

        def train(criterion: Criterion, seed: int, report: Callable[[float, float], None]) -> float:
            score = first_coefficient(criterion, seed)
            for step in range(1, 5):
                steps.append(step)
                report(score, step / 4)
            return score

        evolved(tmp_path / "a", train, population=6, generations=4, prune=True)
        assert 1 < steps.count(1) > steps.count(4)
        dropped = [row["figures"]["dropped"][0] for row in stored(tmp_path / "a")[:24]]
        assert dropped[:6] == [0.0] * 6
        assert 0 < sum(dropped) < 18
        pruned = [row for row in stored(tmp_path / "a")[:24] if row["figures"]["dropped"][0]]
        assert {(row["status"], row["fitness"]) for row in pruned} == {("pruned", None)}
        evolved(tmp_path / "b", train, population=6, generations=2, prune=True)
        evolved(tmp_path / "b", train, population=6, generations=4, prune=True)
        assert stored(tmp_path / "a") == stored(tmp_path / "b")
        steps.clear()
        evolved(tmp_path / "c", train, population=6, generations=2)
        assert steps.count(1) == steps.count(4)

    def test_a_stopped_trial_never_wins(self, tmp_path: Path) -> None:
        """What it reported is of a part of its training, and may be above what whole ones end with."""
        calls = 0

        def train(criterion: Criterion, seed: int, report: Callable[[float, float], None]) -> float:
            nonlocal calls
            calls += 1
            report(1.0 if calls <= 6 else 0.9, 0.5)
            return 0.1

        outcome = evolved(tmp_path, train, population=6, generations=2, prune=True)
        with Store(tmp_path, readonly=True) as store:
            assert store.best_fitness() == 0.1
        assert outcome.provenance["candidates"]["pruned"] == 6

    def test_reports_that_are_no_numbers_are_left_out(self, tmp_path: Path) -> None:
        def train(criterion: Criterion, seed: int, report: Callable[[float, float], None]) -> float:
            report(math.nan, 0.5)
            return first_coefficient(criterion, seed)

        evolved(tmp_path, train, prune=True)
        assert {row["status"] for row in stored(tmp_path)} == {"ok"}

    def test_a_hopeless_one_is_not_caught_by_the_function(self) -> None:
        def train(criterion: Criterion, seed: int, report: Callable[[float, float], None]) -> float:
            try:
                report(-1.0, 0.5)
            except Exception:
                return 1.0
            return 2.0

        rule = MedianRule((((0.5, 0.0),),) * 5)
        trial = TrainFunction(train).run(cross_entropy(), 0, None, rule, lambda _: None)
        assert trial.pruned
        assert trial.scores == {}

    @pytest.mark.parametrize(("given", "words"), [((0.5, 1.5), "from 0 to 1"), (("a", 0.5), "no number")])
    def test_bad_reports(self, given: tuple[Any, Any], words: str) -> None:
        def train(criterion: Criterion, seed: int, report: Callable[[Any, Any], None]) -> float:
            report(*given)
            return 1.0

        with pytest.raises(InputError, match=words):
            TrainFunction(train).run(cross_entropy(), 0, None, None, lambda _: None)

    def test_progress(self) -> None:
        shares: list[float] = []

        def train(criterion: Criterion, seed: int, report: Callable[[float, float], None]) -> float:
            report(0.0, 0.5)
            return 1.0

        Trials(TrainFunction(train), (cross_entropy(),), (1, 2), None)(shares.append)
        assert shares == [0.25, 0.5, 0.75, 1.0]


class TestComparison:
    def compared(self, directory: Path, function: Callable[..., Any], metric: str | None = None, **options: Any) -> Any:
        given = TrainFunction.of(function, metric=metric)
        loss = load(directory / "best.json")
        return compare_by_function({"evolved": loss}, given, settings_of(given), directory, seeds=3, **options)

    def test_nothing_is_trained_to_tell_how_long_it_takes(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The search has said it."""
        calls: list[int] = []

        def train(criterion: Criterion, seed: int) -> float:
            calls.append(seed)
            return first_coefficient(criterion, seed)

        evolved(tmp_path, train)
        caplog.set_level(logging.INFO)
        self.compared(tmp_path, train, baselines=["mae"])
        assert "the comparison takes about" in caplog.text
        with Store(tmp_path, readonly=True) as store:
            assert store.setting("training seconds") is None
        count = len(calls)
        self.compared(tmp_path, train, baselines=["mae"])
        assert len(calls) == count

    def test_test_scores_decide_and_runs_are_kept(self, own: Any, tmp_path: Path) -> None:
        evolved(tmp_path, own.train)
        result = self.compared(tmp_path, own.train, baselines=["label_smoothing", "gce"])
        assert {row.name for row in result.rows} == {
            "evolved",
            "cross-entropy",
            "label smoothing",
            "generalised cross-entropy",
        }
        assert result.tested_on == "test"
        row = result.row("evolved")
        assert len(row.runs) == 3
        run = row.runs[0]
        again = TrainFunction.of(own.train).run(load(tmp_path / "best.json"), run["seed"], row.lr, None, lambda _: None)
        assert run["validation objective"] == again.scores["fitness"]
        assert run["test objective"] == again.test["fitness"]
        assert len(result.pairs) == 3 + 2
        document = json.loads((tmp_path / "comparison.json").read_text())
        assert document["rows"][0]["name"] == result.rows[0].name
        calls = []
        again = self.compared(
            tmp_path,
            functools.partial(own.train),
            baselines=["gce", "label smoothing"],
            report=lambda *a: calls.append(a),
        )
        assert again.to_json() == result.to_json()
        assert calls == []
        main(["show", str(tmp_path)])

    def test_a_winner_that_is_a_known_loss_is_trained_once_more_for_nobody(self, tmp_path: Path) -> None:
        outcome = evolved(tmp_path, first_coefficient)
        given = TrainFunction.of(first_coefficient)
        losses = {"the winner": cross_entropy(), "evolved": outcome.loss}
        found = compare_by_function(losses, given, settings_of(given), tmp_path, seeds=2)
        assert found.row("the winner").runs == found.row("cross-entropy").runs

    def test_validation_scores_where_there_are_no_others(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        evolved(tmp_path, first_coefficient)
        result = self.compared(tmp_path, first_coefficient)
        assert result.tested_on == "validation"
        assert "gives no scores on test data" in caplog.text

    def test_less_of_a_metric_can_be_better(self, tmp_path: Path) -> None:
        def train(criterion: Criterion, seed: int) -> dict[str, float]:
            return {"nll": -first_coefficient(criterion, seed)}

        evolved(tmp_path, train, metric="nll")
        result = self.compared(tmp_path, train, metric="nll")
        means = [row.mean("test objective") for row in result.rows]
        assert means == sorted(means)
        assert not result.deciding.higher_is_better
        assert all(mean > 0 for mean in means)

    def test_failed_runs_are_counted_and_shown(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        evolved(tmp_path, first_coefficient)
        bad = derive(0, "comparison", "final", 1)

        def first_coefficient_(criterion: Criterion, seed: int) -> float:
            if seed == bad and "log h" in str(criterion.loss) and "α" not in str(criterion.loss):
                raise RuntimeError("once")
            return first_coefficient(criterion, seed)

        first_coefficient_.__qualname__ = "first_coefficient"
        result = self.compared(tmp_path, first_coefficient_)
        failed = [row for row in result.rows if row.failed]
        assert failed
        assert all(row.failed == 1 for row in failed)
        assert "1 of 3 trainings with" in caplog.text
        assert not [pair for pair in result.pairs if pair.first == failed[0].name]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"baselines": ["focall"]}, "there is no baseline 'focall'.*did you mean"),
            ({"baselines": "focall"}, "there is no baseline 'focall'"),
            ({"seeds": 1}, "2 or more"),
            ({"seeds": "2"}, "seeds is '2'"),
        ],
    )
    def test_bad_input(self, tmp_path: Path, options: dict[str, Any], words: str) -> None:
        function = TrainFunction.of(first_coefficient)
        with pytest.raises(InputError, match=words):
            compare_by_function({"mine": cross_entropy()}, function, settings_of(function), tmp_path / "new", **options)
        assert not (tmp_path / "new").exists()


class TestCommands:
    def test_what_the_command_line_says_of_such_a_study(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        evolved(tmp_path, first_coefficient)
        for words in (["compare", str(tmp_path / "best.json")], ["distill", str(tmp_path / "best.json")]):
            with pytest.raises(SystemExit) as caught:
                main(words)
            assert caught.value.code == 2
            said = capsys.readouterr().err
            assert "training function of your own" in said
            assert len(said.strip().splitlines()) == 1
        main(["show", str(tmp_path)])
        assert "function first_coefficient" in capsys.readouterr().out
        main(["explain", str(tmp_path / "best.json")])
