"""The benchmarks run at a tiny size, and their figures fit together."""

import importlib
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import lossmith
from lossmith.losses import Criterion
from lossmith.nets import Normalise
from lossmith.search import residual
from lossmith.training import Recipe, Task, train
from lossmith.training.randomness import batch_order

FOLDER = Path(__file__).parents[1] / "benchmarks"
POINT = (0.4, -0.3, 0.2, 0.3, -0.2)


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Callable[[str], ModuleType]]:
    """Loads a program of `benchmarks/`, which finds its neighbours as it does when it is run."""
    sys.path.insert(0, str(FOLDER))
    names = {path.stem for path in FOLDER.glob("*.py")}
    yield importlib.import_module
    sys.path.remove(str(FOLDER))
    for name in names & sys.modules.keys():
        del sys.modules[name]


def consistent(pair: dict[str, Any]) -> None:
    """A comparison is what its parts say."""
    quotients = [first / second for first, second in zip(pair["first"], pair["second"], strict=True)]
    assert pair["quotients"] == pytest.approx(quotients)
    assert pair["ratio"] == pytest.approx(statistics.median(quotients))
    assert (pair["lowest"], pair["highest"]) == pytest.approx((min(quotients), max(quotients)))
    assert min(*pair["first"], *pair["second"]) > 0


def written(path: Path) -> dict[str, Any]:
    """What a benchmark wrote, with the machine named."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    machine = document["machine"]
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert (machine["threads"], machine["device"]) == (torch.get_num_threads(), "cpu")
    assert machine["torch"] == torch.__version__
    return document


class TestOrdinaryLoop:
    """The loop that lossmith is measured against."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_its_loss_is_the_residual_one(self, benchmark: Callable[[str], ModuleType], dtype: torch.dtype) -> None:
        logits = torch.randn(7, 5, dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()
        targets = torch.arange(7) % 5
        by_hand = benchmark("ordinary").ResidualLoss(*POINT)(logits, targets)
        value = Criterion(residual(torch.tensor(POINT), 5))(logits, targets)
        torch.testing.assert_close(by_hand, value)
        torch.testing.assert_close(*(torch.autograd.grad(one, logits)[0] for one in (by_hand, value)))

    def test_at_the_origin_its_loss_is_cross_entropy(self, benchmark: Callable[[str], ModuleType]) -> None:
        logits, targets = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 1, 1])
        value = benchmark("ordinary").ResidualLoss(0.0, 0.0, 0.0, 0.0, 0.0)(logits, targets)
        torch.testing.assert_close(value, functional.cross_entropy(logits, targets))

    @pytest.mark.parametrize("steps", [None, 7])
    def test_it_trains_to_the_weights_of_the_plain_way(
        self, benchmark: Callable[[str], ModuleType], steps: int | None
    ) -> None:
        program = benchmark("ordinary")
        random = torch.Generator().manual_seed(2)
        inputs, targets = torch.randint(17, (40, 1, 4, 4), generator=random, dtype=torch.uint8), torch.arange(40) % 4
        normalise = Normalise.fit(inputs)

        def factory() -> nn.Module:
            body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
            return nn.Sequential(Normalise(normalise.mean, normalise.std), body).double()

        task = Task(factory, inputs, targets, 4)
        recipe = Recipe(batch_size=10, epochs=3, steps=steps, lr=0.1)
        theirs = train(
            task, residual(torch.tensor([POINT], dtype=torch.float64), 4), [5], recipe, "plain"
        ).networks.member(0)
        network = task.build(5)
        normalised = network.get_submodule("0")(inputs)
        batches = [
            (normalised[rows], targets[rows]) for epoch in range(3) for rows in batch_order(5, epoch, 40).split(10)
        ]
        program.fit(network.get_submodule("1"), batches, program.ResidualLoss(*POINT), 0.1, 0.9, epochs=1, steps=steps)
        start, ends = task.build(5).state_dict(), network.state_dict()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ends[name], value, rtol=1e-10, atol=1e-12)
        assert not torch.equal(start["1.0.weight"], ends["1.0.weight"])

    def test_its_batches_hold_each_sample_once_and_leave_out_an_incomplete_one(
        self, benchmark: Callable[[str], ModuleType]
    ) -> None:
        inputs = torch.arange(23.0)[:, None]
        batches = benchmark("ordinary").loader(inputs, torch.arange(23), 5, seed=3)
        epochs = [[x for x, y in batches if torch.equal(x[:, 0].long(), y)] for _ in range(2)]
        for epoch in epochs:
            assert [len(x) for x in epoch] == [5, 5, 5, 5]
            assert len(torch.cat(epoch).unique()) == 20
        assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))

    def test_its_accuracy_is_the_share_of_right_answers(self, benchmark: Callable[[str], ModuleType]) -> None:
        logits = torch.eye(4)[[0, 1, 2, 3, 3]]
        network = nn.Sequential(nn.Identity(), nn.Dropout(0.9))
        assert benchmark("ordinary").accuracy(network, logits, torch.tensor([0, 1, 2, 0, 1]), batch=2) == 0.6


class TestMachine:
    """What all of them share."""

    def test_a_ratio_is_the_median_of_quotients(self, benchmark: Callable[[str], ModuleType]) -> None:
        pair = benchmark("machine").compared([4.0, 9.0, 10.0], [2.0, 3.0, 1.0])
        assert (pair["quotients"], pair["ratio"], pair["lowest"], pair["highest"]) == ([2, 3, 10], 3, 2, 10)
        assert benchmark("machine").ranged(pair) == "3.00 × (2.00–10.00)"

    def test_pairs_of_different_lengths_are_refused(self, benchmark: Callable[[str], ModuleType]) -> None:
        with pytest.raises(ValueError, match="shorter"):
            benchmark("machine").compared([1.0, 2.0], [1.0])

    def test_the_processor_is_named_or_else_its_architecture(
        self, benchmark: Callable[[str], ModuleType], tmp_path: Path
    ) -> None:
        program, file = benchmark("machine"), tmp_path / "cpuinfo"
        file.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n", encoding="utf-8")
        assert program.processor(file) == "Some CPU @ 2 GHz"
        file.write_text("processor\t: 0\n", encoding="utf-8")
        assert program.processor(file) == program.processor(tmp_path / "absent") != ""

    def test_the_number_of_threads_comes_back(self, benchmark: Callable[[str], ModuleType]) -> None:
        before, program = torch.get_num_threads(), benchmark("machine")
        assert program.with_threads([1, 2], lambda: float(torch.get_num_threads())) == {1: 1.0, 2: 2.0}
        with pytest.raises(ZeroDivisionError):
            program.with_threads([2], lambda: 1 / 0)
        assert torch.get_num_threads() == before


def test_the_cost_of_a_candidate(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "cost.json"
    options = ["--models", "mlp", "cnn", "--threads", "1", "--pairs", "2", "--steps", "2", "--population", "3"]
    benchmark("candidate_cost").main([*options, "--out", str(out)])
    models = written(out)["models"]
    assert list(models["mlp"]["ordinary_against"]) == ["plain", "population"]
    assert {"plain", "population", "ordinary, channels last"} <= models["cnn"]["ordinary_against"].keys()
    for found in models.values():
        assert found["size"] == {"batch": 50, "steps": 2, "population": 3}
        for name, pair in found["ordinary_against"].items():
            consistent(pair)
            assert statistics.median(pair["second"]) == pytest.approx(found["seconds"][name])
            assert statistics.median(pair["first"]) == pytest.approx(found["seconds"]["ordinary"])
        ours = {name: taken for name, taken in found["seconds"].items() if not name.startswith("ordinary")}
        assert ours[found["fastest_way"]] == min(ours.values())


def test_a_search_against_optuna(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    out, program = tmp_path / "optuna.json", benchmark("against_optuna")
    options = "--population 4 --generations 2 --replicates 2 --epochs 1 --train-size 100 --pairs 2 --networks 2"
    program.main([*options.split(), "--threads", "1", "--out", str(out)])
    found = written(out)
    assert found["networks"] == 4 * 2 * 2
    assert found["settings"]["search"]["invariant"] == "none"
    consistent(found["search"])
    consistent(found["with_finalists"])
    for alone, whole in zip(found["search"]["second"], found["with_finalists"]["second"], strict=True):
        assert whole > alone
    saving = found["invariant_exact"]
    assert saving["networks"] == found["networks"] - 2 * saving["rejected"]
    names = {"Optuna, best trial", "lossmith, best candidate", "lossmith, mean", "lossmith, after finalists"}
    assert found["test_accuracy"].keys() == names
    for scores in found["test_accuracy"].values():
        assert [len(one) for one in scores] == [2, 2]
        assert all(0 <= score <= 1 for one in scores for score in one)


def test_optuna_begins_at_cross_entropy_and_takes_the_steps_of_lossmith(
    benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = benchmark("against_optuna")
    points: list[tuple[float, ...]] = []

    class Watched(program.ResidualLoss):  # type: ignore[misc, name-defined]
        def __init__(self, *point: float) -> None:
            points.append(point)
            super().__init__(*point)

    class Untrained(program.Prepared):  # type: ignore[misc, name-defined]
        def network(self, loss: nn.Module, seed: int) -> nn.Module:
            untrained: nn.Module = self.job.task.build(seed).get_submodule("1")
            return untrained

    monkeypatch.setattr(program, "ResidualLoss", Watched)
    monkeypatch.setattr(program, "Prepared", Untrained)
    settings = program.EvolveSettings(search=program.SearchSettings(population=200, generations=1))
    assert program.by_optuna(settings).networks == 200 == len(points)
    assert points[0] == (0.0,) * 5
    drawn = torch.tensor(points[1:], dtype=torch.float64)
    # Of 199 draws the error of a mean is 0.035, of a deviation 0.025.
    assert drawn.mean(0).abs().max() < 0.15
    assert (drawn.std(0) - program.STEP).abs().max() < 0.12
    assert drawn.abs().max() < program.BOUND


def test_the_cost_of_the_loss(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    out = tmp_path / "loss.json"
    options = ["--model", "cnn", "--batch", "16", "--classes", "20", "--quick", "--threads", "1"]
    benchmark("loss_cost").main([*options, "--out", str(out)])
    found = written(out)
    for part in found["step"]["parts"].values():
        assert part["share"] == pytest.approx(part["seconds"] / found["step"]["step"])
    assert (found["classes"]["classes"], found["classes"]["batch"]) == (20, 16)
    for name in ("residual", "cross-entropy"):
        consistent(found["classes"][name]["eager"])


def test_what_the_loss_benchmark_calls_backward_is_the_gradient(benchmark: Callable[[str], ModuleType]) -> None:
    program = benchmark("loss_cost")
    logits, targets = torch.randn(6, 8, requires_grad=True), torch.arange(6)
    loss = program.loss_of(8)
    (gradient,) = program.backward(Criterion(loss), logits, targets)()
    torch.testing.assert_close(gradient, loss.gradient_rule(logits)(logits.detach(), targets) / 6)
    everything = [Criterion(lossmith.Loss((term,), torch.tensor([1.0]), 8)) for term in loss.terms]
    assert all(program.backward(one, logits, targets)()[0].abs().max() > 0 for one in everything)


class TestGrowth:
    """Time and memory by size."""

    def test_the_exponent_of_a_power_is_its_exponent(self, benchmark: Callable[[str], ModuleType]) -> None:
        sizes = [1, 4, 16, 64]
        assert benchmark("growth").exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
        assert benchmark("growth").exponent([4], [2.0]) is None

    def test_points_are_measured_in_processes_of_their_own(
        self, benchmark: Callable[[str], ModuleType], tmp_path: Path
    ) -> None:
        out = tmp_path / "growth.json"
        options = "--populations 2 128 --classes --batches --rounds 2"
        benchmark("growth").main([*options.split(), "--out", str(out)])
        found = written(out)
        small, large = found["population"]["points"]
        # 126 networks of 9610 weights, three times (weight, gradient, momentum), in float32.
        assert large["bytes"] - small["bytes"] > 126 * 9610 * 3 * 4
        assert large["bytes"] < 2**30
        slope = math.log(large["seconds"] / small["seconds"]) / math.log(64)
        assert found["population"]["seconds_exponent"] == pytest.approx(slope)
        assert found["least_bytes"] > 2**26
        assert "classes" not in found

    def test_a_system_that_does_not_tell_its_peak_is_named(
        self, benchmark: Callable[[str], ModuleType], tmp_path: Path
    ) -> None:
        (tmp_path / "status").write_text("Name: python\nVmHWM:\t  2048 kB\n", encoding="utf-8")
        assert benchmark("growth").peak_bytes(tmp_path / "status") == 2**21
        (tmp_path / "status").write_text("Name: python\n", encoding="utf-8")
        with pytest.raises(SystemExit, match="measure on Linux"):
            benchmark("growth").peak_bytes(tmp_path / "status")


def steps(*accuracies: float) -> list[dict[str, Any]]:
    """A search whose mean has these accuracies, 5 candidates trained in each generation."""
    return [{"trained": 5 * number, "accuracy": [value]} for number, value in enumerate(accuracies)]


class TestSampleEfficiency:
    """How many candidates a search needs."""

    def test_a_target_is_reached_where_it_is_reached_twice(self, benchmark: Callable[[str], ModuleType]) -> None:
        cost = benchmark("sample_efficiency").cost
        assert cost(steps(0.1, 0.7, 0.6, 0.7, 0.8), 0.65) == 15
        assert cost(steps(0.7, 0.7, 0.1), 0.65) == 0
        assert cost(steps(0.1, 0.1, 0.9), 0.65) == math.inf
        assert cost(steps(0.1, 0.65, 0.65), 0.65) == 5

    def test_the_interval_of_ten_leaves_out_the_extremes(self, benchmark: Callable[[str], ModuleType]) -> None:
        found = benchmark("sample_efficiency").median_interval([float(k) for k in range(10, 0, -1)])
        assert (found["median"], found["low"], found["high"]) == (5.5, 2, 9)
        assert found["confidence"] == pytest.approx(1 - 2 * 11 / 1024)

    def test_a_search_that_never_gets_there_counts(self, benchmark: Callable[[str], ModuleType]) -> None:
        found = benchmark("sample_efficiency").median_interval([3.0, math.inf, math.inf])
        assert (found["low"], found["median"], found["high"]) == (3, math.inf, math.inf)
        assert (found["reached"], found["of"], found["confidence"]) == (1, 3, 0.75)

    def test_pairs_are_counted_and_ties_have_no_say(self, benchmark: Callable[[str], ModuleType]) -> None:
        inf = math.inf
        test = benchmark("sample_efficiency").sign_test([1, 2, inf, inf, 0], [2, inf, 5, inf, 3])
        assert (test["fewer"], test["more"], test["equal"]) == (3, 1, 1)
        assert test["p"] == pytest.approx(2 * (1 + 4) / 16)
        assert benchmark("sample_efficiency").sign_test([inf], [inf])["p"] == 1

    def test_two_jobs_are_run_and_summed_up(
        self, benchmark: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        program = benchmark("sample_efficiency")
        size = "--seeds 1 --population 4 --generations 2 --replicates 1 --networks 2"
        options = ["digits", "--folder", str(tmp_path), *size.split()]
        program.main(options)
        files = sorted((tmp_path / "digits").glob("*.json"))
        assert len(files) == len(program.SEARCHES)
        for file in files:
            run = written(file)
            assert run["targets"] == written(files[0])["targets"]
            for step in run["steps"]:
                assert step["trained"] + step["rejected"] == 4 * step["generation"]
                assert len(step["accuracy"]) == 2
            assert run["settings"]["search"]["invariant"] != "none" or run["steps"][-1]["rejected"] == 0
        begun = written(tmp_path / "digits" / "residual-exact-0.json")
        assert begun["steps"][0]["theta"] == [0.0] * 5
        # The same networks, of a population of another size: equal up to rounding.
        assert statistics.mean(begun["steps"][0]["accuracy"]) == pytest.approx(
            begun["targets"]["cross-entropy"], abs=0.02
        )
        before = [file.stat().st_mtime_ns for file in files]
        program.main(options)
        assert [file.stat().st_mtime_ns for file in files] == before
        capsys.readouterr()
        program.main(["summary", "--folder", str(tmp_path)])
        page = (tmp_path / "summary.md").read_text(encoding="utf-8")
        assert page in capsys.readouterr().out
        for target in program.TARGETS:
            cost = program.cost(begun["steps"], begun["targets"][target])
            one = program.counted(cost)
            row = f"| residual, exact | {int(math.isfinite(cost))} of 1 | {one} | {one} to {one} |"
            assert row in page.partition(f"as good as {target}")[2]
        assert (tmp_path / "reached.png").stat().st_size > 0
        with pytest.raises(SystemExit, match="another search"):
            program.main([*options, "--generations", "3"])
        files[0].unlink()
        with pytest.raises(SystemExit, match="lacks searches"):
            program.main(["summary", "--folder", str(tmp_path)])

    def test_mnist_needs_its_file(self, benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match="--mnist"):
            benchmark("sample_efficiency").main(["mnist", "--folder", str(tmp_path)])


def test_the_kept_summary_of_sample_efficiency_is_that_of_its_searches(benchmark: Callable[[str], ModuleType]) -> None:
    program = benchmark("sample_efficiency")
    folder = FOLDER.parent / program.ROOT
    found = {job: program.summed_up(folder / job) for job in ("digits", "mnist")}
    assert (len(found["digits"]["seeds"]), len(found["mnist"]["seeds"])) == (10, 3)
    assert program.page(found) == (folder / "summary.md").read_text(encoding="utf-8")
    kept = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for job, part in found.items():
        for target, one in part["targets"].items():
            assert kept[job]["targets"][target]["costs"] == program.finite(one["costs"])
        for runs in program.read(folder / job).values():
            assert all(len(step["accuracy"]) == 10 for run in runs.values() for step in run["steps"])
            assert all(run["steps"][-1]["generation"] == 15 for run in runs.values())


def test_names_do_not_meet_those_of_the_experiments() -> None:
    programs = [path.stem for folder in ("benchmarks", "experiments") for path in (FOLDER.parent / folder).glob("*.py")]
    assert len(set(programs)) == len(programs)
