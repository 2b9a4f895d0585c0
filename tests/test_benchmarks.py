"""The benchmarks run at a tiny size, and their figures fit together."""

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import lossmith
from lossmith.data import Normalize
from lossmith.losses import Criterion
from lossmith.search import residual
from lossmith.training import Recipe, Task, has_compiler, train
from lossmith.training.randomness import batch_order

FOLDER = Path(__file__).parents[1] / "benchmarks"
POINT = (0.4, -0.3, 0.2, 0.3, -0.2)


class Clock:
    """Stands for the module ``time``: its time passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        """The time."""
        return self.now

    def work(self, *durations: float) -> Callable[..., None]:
        """Work that takes these times one call after another, and the last of them from then on."""
        left = list(durations)

        def run(*_: object, **__: object) -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


@pytest.fixture
def clock(benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the benchmarks measure by."""
    fake = Clock()
    monkeypatch.setattr(benchmark("machine"), "time", fake)
    return fake


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
    def test_it_trains_to_the_weights_of_the_sequential_backend(
        self, benchmark: Callable[[str], ModuleType], steps: int | None
    ) -> None:
        program = benchmark("ordinary")
        random = torch.Generator().manual_seed(2)
        inputs, targets = torch.randint(17, (40, 1, 4, 4), generator=random, dtype=torch.uint8), torch.arange(40) % 4
        normalize = Normalize.fit(inputs)

        def factory() -> nn.Module:
            body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
            return nn.Sequential(Normalize(normalize.mean, normalize.std), body).double()

        task = Task(factory, inputs, targets, 4)
        recipe = Recipe(batch_size=10, epochs=3, steps=steps, lr=0.1)
        theirs = train(
            task, residual(torch.tensor([POINT], dtype=torch.float64), 4), [5], recipe, "sequential"
        ).networks.member(0)
        network = task.build(5)
        normalized = network.get_submodule("0")(inputs)
        batches = [
            (normalized[rows], targets[rows]) for epoch in range(3) for rows in batch_order(5, epoch, 40).split(10)
        ]
        program.fit(network.get_submodule("1"), batches, program.ResidualLoss(*POINT), 0.1, 0.9, epochs=1, steps=steps)
        start, ends = task.build(5).state_dict(), network.state_dict()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ends[name], value, rtol=1e-10, atol=1e-12)
        assert not torch.equal(start["1.0.weight"], ends["1.0.weight"])

    @pytest.mark.parametrize("indexed", [False, True])
    def test_its_batches_hold_each_sample_once_and_leave_out_an_incomplete_one(
        self, benchmark: Callable[[str], ModuleType], indexed: bool
    ) -> None:
        inputs = torch.arange(23.0)[:, None]
        samples = benchmark("ordinary").Samples.of(inputs, torch.arange(23), indexed)
        batches = samples.batches(5, seed=3, pinned=False)
        epochs = [[x for x, y in batches if torch.equal(x[:, 0].long(), y)] for _ in range(2)]
        for epoch in epochs:
            assert [len(x) for x in epoch] == [5, 5, 5, 5]
            assert len(torch.cat(epoch).unique()) == 20
        assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))

    def test_the_batches_of_whole_epochs_come_without_one_more(self, benchmark: Callable[[str], ModuleType]) -> None:
        batches = benchmark("ordinary").Indexed(torch.arange(10.0), torch.arange(10), 5, seed=0)
        assert [len(x) for x, _ in batches] == [5, 5]

    def test_in_bfloat16_it_computes_in_bfloat16_and_its_loss_in_float32(
        self, benchmark: Callable[[str], ModuleType]
    ) -> None:
        seen: list[torch.dtype] = []

        class Watched(nn.Module):
            def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
                seen.append(logits.dtype)
                return functional.cross_entropy(logits, targets)

        network = nn.Linear(3, 2)
        network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        batches = [(torch.ones(4, 3), torch.arange(4) % 2)]
        for precision in ("bfloat16", "float32"):
            benchmark("ordinary").fit(network, batches, Watched(), 0.1, 0.9, 1, precision=precision)
        assert seen == [torch.bfloat16, torch.float32, torch.float32, torch.float32]

    def test_its_accuracy_is_the_share_of_right_answers(self, benchmark: Callable[[str], ModuleType]) -> None:
        logits = torch.eye(4)[[0, 1, 2, 3, 3]]
        network = nn.Sequential(nn.Identity(), nn.Dropout(0.9))
        assert benchmark("ordinary").accuracy(network, logits, torch.tensor([0, 1, 2, 0, 1]), batch=2) == 0.6


class TestMachine:
    """What all of them share."""

    def test_a_ratio_is_the_median_of_quotients(self, benchmark: Callable[[str], ModuleType]) -> None:
        pair = benchmark("machine").compared([4.0, 9.0, 10.0], [2.0, 3.0, 1.0])
        assert (pair["quotients"], pair["ratio"], pair["lowest"], pair["highest"]) == ([2, 3, 10], 3, 2, 10)
        swapped = benchmark("machine").compared([2.0, 3.0, 1.0], [4.0, 9.0, 10.0])
        assert swapped["ratio"] == pytest.approx(1 / 3)
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

    def test_work_is_timed_by_its_median(self, benchmark: Callable[[str], ModuleType], clock: Clock) -> None:
        program = benchmark("machine")
        assert program.seconds(clock.work(2.5)) == 2.5
        assert program.median_seconds(clock.work(50, 50, 1, 9, 2), 3, warm=2) == 2

    def test_the_device_is_awaited_before_and_after(
        self, benchmark: Callable[[str], ModuleType], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What is under way when the clock starts takes 5; the work itself takes 3 after it has been handed over.
        program, wait = benchmark("machine"), clock.work(5, 3)
        devices: list[torch.device] = []

        def synchronize(device: torch.device) -> None:
            devices.append(device)
            wait()

        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
        assert program.seconds(lambda: None, torch.device("cuda", 1)) == 3
        assert devices == [torch.device("cuda", 1)] * 2

    @pytest.mark.parametrize(
        "program",
        [
            "candidate_cost",
            pytest.param("against_optuna", marks=pytest.mark.integration),
            "loss_cost",
            "segmentation",
            "gpu",
            "growth",
            "partial_search",
        ],
    )
    @pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu"])
    def test_a_device_that_is_not_there_is_named(
        self, benchmark: Callable[[str], ModuleType], program: str, device: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            benchmark(program).main(["--device", device])
        assert f"the device '{device}' cannot be" in capsys.readouterr().err

    def test_the_other_programs_name_it_too(
        self, benchmark: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for program, job in (("population", []), ("sample_efficiency", ["digits"])):
            with pytest.raises(SystemExit):
                benchmark(program).main([*job, "--device", "gpu"])
            assert "take cpu, or a device that PyTorch finds" in capsys.readouterr().err

    def test_the_number_of_threads_comes_back(self, benchmark: Callable[[str], ModuleType]) -> None:
        before, program = torch.get_num_threads(), benchmark("machine")
        assert program.with_threads([1, 2], lambda: float(torch.get_num_threads())) == {1: 1.0, 2: 2.0}
        with pytest.raises(ZeroDivisionError):
            program.with_threads([2], lambda: 1 / 0)
        assert torch.get_num_threads() == before


class TestSchedules:
    """Losses that change in the training against constant ones."""

    def test_both_ways_are_measured(self, benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
        out = tmp_path / "schedules.json"
        benchmark("schedules").main(["--population", "2", "--epochs", "1", "2", "--pairs", "2", "--out", str(out)])
        found = written(out)["steps"]
        assert found.keys() == {"16", "32"}
        for pairs in found.values():
            assert pairs.keys() == {"population", "criterion"}
            assert all(len(pair["first"]) == 2 and pair["ratio"] > 0 for pair in pairs.values())


class TestCandidateCost:
    """The ordinary loops against lossmith's ways."""

    def test_all_sides_are_measured(self, benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
        out = tmp_path / "deep" / "cost.json"
        options = ["--models", "mlp", "cnn", "--threads", "1", "--pairs", "2", "--steps", "2", "--population", "3"]
        benchmark("candidate_cost").main([*options, "--precision", "bfloat16", "--out", str(out)])
        models = written(out)["models"]
        mlp = {"ordinary", "ordinary, float32", "ordinary, indexed"}
        assert models["mlp"]["against"].keys() == mlp
        assert models["cnn"]["against"].keys() == mlp | {"ordinary, channels last", "ordinary, indexed, channels last"}
        for name, backends in (
            ("mlp", ["sequential", "population"]),
            ("cnn", ["sequential", "population", "sequential-channels-last"]),
        ):
            assert models[name]["size"] == {"batch": 50, "steps": 2, "population": 3}
            assert all(list(pairs) == backends for pairs in models[name]["against"].values())
            assert all(len(pair["first"]) == 2 for pairs in models[name]["against"].values() for pair in pairs.values())
            assert all(taken > 0 for taken in models[name]["seconds"].values())

    def test_known_times_give_known_ratios(
        self, benchmark: Callable[[str], ModuleType], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = benchmark("candidate_cost")
        # Two runs with each of two numbers of threads, of which one counts; then three pairs.
        loops = {False: clock.work(50, 7, 50, 9, 8, 12, 9), True: clock.work(50, 7, 50, 9, 6, 6, 9)}
        backends = {"sequential": clock.work(50, 4, 50, 3, 4, 3, 9), "population": clock.work(50, 6, 50, 7, 3, 6, 9)}
        monkeypatch.setattr(program.Opponent, "candidate", lambda self, *_: loops[self.samples.indexed]())
        monkeypatch.setattr(
            program, "lossmith_candidates", lambda trainer, recipe, points, backend: backends[backend]()
        )
        task = program.task_of("mlp", 100)
        found = program.measured(task, Recipe(), 3, [1, 2], 3, ["sequential", "population"])
        assert found["seconds_by_threads"]["ordinary"] == {1: 7, 2: 9}
        assert found["seconds_by_threads"]["population"] == pytest.approx({1: 2, 2: 7 / 3})
        assert found["threads"] == {"ordinary": 1, "ordinary, indexed": 1, "sequential": 2, "population": 1}
        assert found["seconds"] == {"ordinary": 9, "ordinary, indexed": 6, "sequential": 4, "population": 2}
        assert found["fastest_way"] == "population"
        first, second = found["against"]["ordinary"], found["against"]["ordinary, indexed"]
        assert first["sequential"]["quotients"] == [2, 4, 1]
        assert first["population"]["quotients"] == [8, 6, 3]
        assert (first["population"]["ratio"], second["population"]["ratio"]) == (6, 3)
        assert (first["sequential"]["ratio"], second["sequential"]["ratio"]) == (2, 1.5)
        assert (second["sequential"]["lowest"], second["sequential"]["highest"]) == (1, 2)

    def test_the_target_of_a_gpu_is_told(self, benchmark: Callable[[str], ModuleType]) -> None:
        program = benchmark("candidate_cost")

        def lines(taken: float, device: str) -> str:
            found = {
                "size": {"steps": 10},
                "threads": {"ordinary": 1, "sequential": 2},
                "seconds": {"ordinary": 1.0, "sequential": taken},
                "fastest_way": "sequential",
                "against": {"ordinary": {"sequential": benchmark("machine").compared([1.0], [taken])}},
            }
            return "\n".join(program.report("allcnn-c", torch.device(device), found))

        assert "ordinary, 100.00 ms a batch, 1 threads" in lines(0.25, "cpu")
        assert "target, 5 × over the ordinary loop: not held (4.00 ×, sequential)" in lines(0.25, "cuda")
        assert "target, 5 × over the ordinary loop: held (8.00 ×, sequential)" in lines(0.125, "cuda")
        assert "target" not in lines(0.125, "cpu")

    def test_every_opponent_learns(self, benchmark: Callable[[str], ModuleType]) -> None:
        program = benchmark("candidate_cost")
        task = program.task_of("conv", 400)
        opponents = program.opponents_of(task)
        assert [opponent.samples.indexed for opponent in opponents.values()] == [False, True, False, True]
        assert [opponent.channels_last for opponent in opponents.values()] == [False, False, True, True]
        for precision in ("float32", "bfloat16"):
            recipe = Recipe(batch_size=50, lr=0.05, epochs=6, precision=precision)
            scores = [opponent.candidate(recipe, [0.0] * 5) for opponent in opponents.values()]
            assert min(scores) > 0.6


class TestPartialSearch:
    """A search at the authors' settings, extrapolated."""

    def test_the_settings_are_the_authors(self, benchmark: Callable[[str], ModuleType]) -> None:
        settings = benchmark("partial_search").SETTINGS
        batches = {name: (one.batches, one.population) for name, one in settings.items()}
        assert batches["mnist-cnn"] == (2000, 28)
        assert batches["allcnn-c"] == (35 * 351, 20)
        assert {one.recipe.batch_size for one in settings.values()} == {128}
        assert settings["allcnn-c"].recipe.weight_decay == 1e-3

    def test_known_times_give_a_known_search(
        self,
        benchmark: Callable[[str], ModuleType],
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        program = benchmark("partial_search")
        batch = {"sequential": 0.056, "population": 0.0216, "sequential-channels-last": 0.05}
        monkeypatch.setattr(
            program, "measure", lambda trainer, losses, seeds, recipe, backend, budget: batch[str(backend)]
        )
        monkeypatch.setattr(program, "accuracy", clock.work(50, 1.5, 1.6, 9.0))
        monkeypatch.setattr(program, "VALIDATION", 100)
        out = tmp_path / "partial.json"
        program.main(["--models", "mnist-cnn", "--candidates", "250", "--population", "2", "--out", str(out)])
        found = written(out)["models"]["mnist-cnn"]
        assert found["fastest_way"] == "population"
        assert found["seconds_of_judging_a_generation"] == pytest.approx(1.6)
        assert found["extrapolated_seconds"] == pytest.approx(125 * (2000 * 0.0216 + 1.6))
        report = capsys.readouterr().out
        assert "extrapolated, not run: 250 candidates of 2000 batches in 1.56 h" in report
        assert "10.800 ms a batch and candidate (population, 2 at once)" in report
        assert "under an hour: not held" in report
        assert "under an hour: held" in program.report("mnist-cnn", {**found, "extrapolated_seconds": 3599.0})


@pytest.mark.integration
def test_a_search_against_optuna(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    out, program = tmp_path / "optuna.json", benchmark("against_optuna")
    options = "--population 4 --generations 2 --replicates 2 --epochs 1 --train-size 100 --pairs 2 --networks 2"
    program.main([*options.split(), "--indexed", "--threads", "1", "--out", str(out)])
    found = written(out)
    assert found["networks"] == 4 * 2 * 2
    assert found["settings"]["search"]["invariant"] == "none"
    assert len(found["search"]["first"]) == len(found["search_indexed"]["first"]) == 2
    for alone, whole in zip(found["search"]["second"], found["with_finalists"]["second"], strict=True):
        assert whole > alone
    saving = found["invariant_exact"]
    assert saving["networks"] == found["networks"] - 2 * saving["rejected"]
    names = {"Optuna, best trial", "lossmith, best candidate", "lossmith, mean", "lossmith, after finalists"}
    assert found["test_accuracy"].keys() == names
    for scores in found["test_accuracy"].values():
        assert [len(one) for one in scores] == [2, 2]
        assert all(0 <= score <= 1 for one in scores for score in one)


@pytest.mark.integration
def test_known_times_of_searches_give_known_ratios(
    benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = benchmark("against_optuna")
    # Three short searches with each of two numbers of threads are none of the pairs.
    loader, indexed = iter([7.0, 5.0, 60.0, 90.0, 80.0]), iter([40.0, 50.0, 70.0])
    ours = iter([(2.0, None), (3.0, None), (10.0, 20.0), (30.0, 45.0), (16.0, 40.0), (6.0, None)])
    networks = iter([([3.0, 4.0, 9.0], [1.0, 2.0, 5.0]), ([5.0, 6.0, 9.0], [2.0, 4.0, 5.0]), ([4.0] * 3, [4.0] * 3)])

    def by_optuna(settings: Any, by_index: bool = False, **named: bool) -> Any:
        return program.Ended(next(indexed if by_index or named else loader), 12, {})

    def by_lossmith(settings: Any, finalists: bool = False) -> Any:
        taken, whole = next(ours)
        assert finalists == (whole is not None)
        return program.Ended(taken, 12, {}, whole)

    for name, fake in (("by_optuna", by_optuna), ("by_lossmith", by_lossmith)):
        monkeypatch.setattr(program, name, fake)
    monkeypatch.setattr(program, "network_seconds", lambda settings: next(networks))
    before = torch.get_num_threads()
    found = program.measured(program.EvolveSettings(), 3, [1, 2], 0, indexed=True)
    torch.set_num_threads(before)
    assert found["threads"] == {"optuna": 2, "lossmith": 1}
    assert (found["search"]["quotients"], found["search"]["ratio"]) == ([6, 3, 5], 5)
    assert (found["with_finalists"]["quotients"], found["with_finalists"]["ratio"]) == ([3, 2, 2], 2)
    assert found["network_by_loader_against_indexed"]["quotients"] == [2, 1.5, 1]
    assert found["search_indexed_scaled"]["first"] == [30, 60, 80]
    assert (found["search_indexed_scaled"]["quotients"], found["search_indexed_scaled"]["ratio"]) == ([3, 2, 5], 3)
    assert found["search_indexed"]["ratio"] == 4
    assert found["invariant_exact"]["seconds"] == 6


@pytest.mark.integration
def test_sides_that_train_different_numbers_of_networks_are_refused(
    benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = benchmark("against_optuna")
    monkeypatch.setattr(program, "by_optuna", lambda *_, **__: program.Ended(2.0, 12, {}))
    monkeypatch.setattr(program, "by_lossmith", lambda *_, **__: program.Ended(1.0, 11, {}, 2.0))
    monkeypatch.setattr(program, "network_seconds", lambda settings: ([1.0], [1.0]))
    with pytest.raises(SystemExit, match=r"different numbers of networks: \[11, 12\]"):
        program.measured(program.EvolveSettings(), 1, [torch.get_num_threads()], 0)


@pytest.mark.integration
def test_each_loop_is_timed_by_its_own_networks(
    benchmark: Callable[[str], ModuleType], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = benchmark("against_optuna")
    loops = {False: clock.work(50, 3, 5), True: clock.work(40, 2, 1)}
    monkeypatch.setattr(program.Prepared, "network", lambda self, loss, seed: loops[self.train.indexed]())
    monkeypatch.setattr(program, "accuracy", clock.work(0.5))
    assert program.network_seconds(program.EvolveSettings(), 2) == ([3.5, 5.5], [2.5, 1.5])


@pytest.mark.integration
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
    assert (found["classes"]["classes"], found["classes"]["batch"]) == (20, 16)
    assert (found["few"]["classes"], found["few"]["batch"]) == (10, 50)
    for name in ("residual", "cross-entropy"):
        for part in ("classes", "few"):
            pairs = found[part][name]
            assert pairs.keys() == {"eager", "no_gradient", "class_weights", "class_probabilities"}
            assert all(len(pair["first"]) == 3 and pair["ratio"] > 0 for pair in pairs.values())


def test_the_cost_of_a_class_for_each_pixel(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """With a tenth of the pixels ignored, in each kind of use."""
    logits, targets = benchmark("segmentation").batch((2, 3, 16, 16))
    assert (logits.shape, targets.shape) == ((2, 3, 16, 16), (2, 16, 16))
    assert 0.05 < (targets == 255).double().mean() < 0.15
    out = tmp_path / "pixels.json"
    options = ["--shape", "2", "3", "8", "8", "--pairs", "3", "--threads", "1"]
    benchmark("segmentation").main([*options, "--out", str(out)])
    found = written(out)["pixels"]
    assert found["shape"] == [2, 3, 8, 8]
    for name in ("residual", "taylor", "cross-entropy"):
        assert found[name].keys() == {"plain", "no_gradient", "class_weights", "channels_last"}
        assert all(len(pair["first"]) == 3 and pair["ratio"] > 0 for pair in found[name].values())


def test_known_times_of_losses_give_known_shares_and_ratios(
    benchmark: Callable[[str], ModuleType], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = benchmark("loss_cost")
    logits, targets = torch.zeros(2, 3), torch.arange(2)
    # Five runs to warm up; then three pairs of the median of 20.
    ours = clock.work(*[50.0] * 5, *[6.0] * 20, *[8.0] * 11, *[99.0] * 9, *[5.0] * 20)
    theirs = clock.work(*[50.0] * 5, *[2.0] * 20, *[4.0] * 20, *[1.0] * 20)
    found = program.contrasts(ours, theirs, logits, targets, 3, lambda value, x, y: lambda: value(x, y))
    assert (found["first"], found["second"]) == ([6, 8, 5], [2, 4, 1])
    assert (found["quotients"], found["ratio"]) == ([3, 2, 5], 3)
    run = SimpleNamespace(step=clock.work(50, 7, 8, 30))
    monkeypatch.setattr(program.Trainer, "start", lambda *_: run)
    monkeypatch.setattr(program, "backward", lambda value, x, y: clock.work(2.0 if y.is_floating_point() else 0.5))
    monkeypatch.setattr(program, "forward", lambda *_: clock.work(0.25))
    found = program.share("mlp", 10, 3)
    assert found["step"] == 8
    shares = {name: part["share"] for name, part in found["parts"].items()}
    assert shares.pop("gradient") == 0
    assert shares == {
        "criterion": 1 / 16,
        "criterion, no gradient": 1 / 32,
        "criterion, class probabilities": 1 / 4,
        "cross-entropy of PyTorch": 1 / 16,
    }


def test_the_kinds_of_use_are_what_they_are_called(benchmark: Callable[[str], ModuleType]) -> None:
    program = benchmark("loss_cost")
    logits, targets = (
        torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(),
        torch.arange(4) % 3,
    )
    value = program.forward(functional.cross_entropy, logits, targets)()
    assert not value.requires_grad
    torch.testing.assert_close(value, functional.cross_entropy(logits, targets).detach())
    probabilities = program.mixed(targets, 3)
    torch.testing.assert_close(probabilities[1], torch.tensor([0.3, 0.7, 0.0]))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4))


def test_what_the_loss_benchmark_calls_backward_is_the_gradient(benchmark: Callable[[str], ModuleType]) -> None:
    program = benchmark("loss_cost")
    logits, targets = torch.randn(6, 8, requires_grad=True), torch.arange(6)
    loss = program.loss_of(8)
    (gradient,) = program.backward(Criterion(loss), logits, targets)()
    torch.testing.assert_close(gradient, loss.gradient_rule(logits)(logits.detach(), targets) / 6)
    everything = [Criterion(lossmith.PowerLoss((term,), torch.tensor([1.0]), 8)) for term in loss.terms]
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
        options = "--populations 2 128 --classes --batches --candidates --workers --rounds 2"
        benchmark("growth").main([*options.split(), "--out", str(out)])
        found = written(out)
        small, large = found["population"]["points"]
        # 126 networks of 9610 weights, at least twice (weight, momentum), in float32.
        assert large["bytes"] - small["bytes"] > 126 * 9610 * 2 * 4
        assert large["bytes"] < 2**30
        assert found["least_bytes"] > 2**26
        assert "classes" not in found

    def test_known_points_give_known_exponents(
        self, benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program, asked = benchmark("growth"), list[dict[str, Any]]()

        def in_a_process(**arguments: Any) -> dict[str, float]:
            asked.append(arguments)
            size = arguments["classes"]
            return {"seconds": 3.0 * size**0.5 if size < 100 else 0.3 * size, "peak": 2**22 + 2**18 * size**2}

        monkeypatch.setattr(program, "in_a_process", in_a_process)
        found = program.grown("classes", [1, 4, 100, 400], 2**22, {"model": "mlp", "device": "cpu"})
        assert asked[1] == {"model": "mlp", "device": "cpu", "population": 16, "classes": 4, "batch": 50}
        assert found["seconds_exponent_at_the_end"] == pytest.approx(1)
        # The first point is below what is told of memory.
        assert found["bytes_exponent"] == pytest.approx(2)
        assert [point["bytes"] for point in found["points"]] == [2**18 * size**2 for size in (1, 4, 100, 400)]
        logs = [(0.0, math.log(3)), (math.log(4), math.log(6)), (math.log(100), math.log(30))]
        three = program.grown("classes", [1, 4, 100], 2**22, {})
        mean = sum(x for x, _ in logs) / 3
        slope = sum((x - mean) * y for x, y in logs) / sum((x - mean) ** 2 for x, _ in logs)
        assert three["seconds_exponent"] == pytest.approx(slope)

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_search_is_measured_here_and_in_worker_processes(
        self, benchmark: Callable[[str], ModuleType], workers: int
    ) -> None:
        program = benchmark("growth_search")
        found = program.search_point("mlp", 2 * program.POPULATION, workers, 1, torch.get_num_threads(), "cpu")
        assert found["processes"] == 1 + workers
        assert found["peak"] > 2**26 * (1 + workers)
        assert found["database_bytes"] > 2**12
        assert found["seconds"] > 0
        assert found["reopening_seconds"] > 0

    def test_candidates_and_workers_grow_from_a_search_in_one_process(
        self, benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program, asked = benchmark("growth"), list[dict[str, Any]]()

        def in_a_process(**arguments: Any) -> dict[str, float]:
            asked.append(arguments)
            processes = 1 + arguments["workers"]
            return {"seconds": arguments["candidates"] / processes, "peak": processes * 2**24, "processes": processes}

        monkeypatch.setattr(program, "in_a_process", in_a_process)
        options = "--populations --classes --batches --candidates 64 512 --workers 1 3 --epochs 7"
        program.main([*options.split(), "--out", str(tmp_path / "growth.json")])
        found = written(tmp_path / "growth.json")
        sizes = [(one["candidates"], one["workers"]) for one in asked]
        assert sizes == [(16, 0), (64, 0), (512, 0), (256, 1), (256, 3)]
        assert {one["epochs"] for one in asked} == {7}
        assert found["candidates"]["seconds_exponent"] == pytest.approx(1)
        assert found["workers"]["seconds_exponent"] == pytest.approx(math.log(0.5) / math.log(3))
        assert found["workers"]["points"][1] == {"size": 3, "bytes": 3 * 2**24, "seconds": 64, "processes": 4}
        assert benchmark("speed_table").growth(found)[2:] == [
            "| candidates, a search | 64, 512 | size^1.00; at the end ^1.00 | – | 512,000.00 ms, 0 MiB |",
            "| worker processes, a search | 1, 3 | size^-0.63; at the end ^-0.63 | size^1.00; at the end ^1.00 | "
            "64,000.00 ms, 48 MiB |",
        ]

    def test_a_point_of_a_search_is_known_by_what_grows(
        self,
        benchmark: Callable[[str], ModuleType],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        program = benchmark("growth")
        monkeypatch.setattr(program, "search_point", lambda **arguments: {"search": arguments["workers"]})
        monkeypatch.setattr(program, "point", lambda **arguments: {"step": arguments["batch"]})
        program.main(["--point", json.dumps({**program.SEARCH, "workers": 3})])
        program.main(["--point", json.dumps(program.BASE)])
        assert capsys.readouterr().out == '{"search": 3}\n{"step": 50}\n'

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
        cost = benchmark("efficiency").cost
        assert cost(steps(0.1, 0.7, 0.6, 0.7, 0.8), 0.65) == 15
        assert cost(steps(0.7, 0.7, 0.1), 0.65) == 0
        assert cost(steps(0.1, 0.1, 0.9), 0.65) == math.inf
        assert cost(steps(0.1, 0.65, 0.65), 0.65) == 5

    def test_the_interval_of_ten_leaves_out_the_extremes(self, benchmark: Callable[[str], ModuleType]) -> None:
        found = benchmark("efficiency").median_interval([float(k) for k in range(10, 0, -1)])
        assert (found["median"], found["low"], found["high"]) == (5.5, 2, 9)
        assert found["confidence"] == pytest.approx(1 - 2 * 11 / 1024)

    def test_a_search_that_never_gets_there_counts(self, benchmark: Callable[[str], ModuleType]) -> None:
        found = benchmark("efficiency").median_interval([3.0, math.inf, math.inf])
        assert (found["low"], found["median"], found["high"]) == (3, math.inf, math.inf)
        assert (found["reached"], found["of"], found["confidence"]) == (1, 3, 0.75)

    def test_pairs_are_counted_and_ties_have_no_say(self, benchmark: Callable[[str], ModuleType]) -> None:
        inf = math.inf
        test = benchmark("efficiency").sign_test([1, 2, inf, inf, 0], [2, inf, 5, inf, 3])
        assert (test["fewer"], test["more"], test["equal"]) == (3, 1, 1)
        assert test["p"] == pytest.approx(2 * (1 + 4) / 16)
        assert benchmark("efficiency").sign_test([inf], [inf])["p"] == 1

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
            one = benchmark("efficiency").counted(cost)
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
    program = benchmark("efficiency")
    folder = FOLDER.parent / benchmark("sample_efficiency").ROOT
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


def test_the_parts_of_a_drivers_cost_are_measured(
    benchmark: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = benchmark("driver_cost")
    options = f"--populations 4 --chunks 1 3 --candidates 8 --json --folder {tmp_path} --out {tmp_path / 'cost.json'}"
    program.main(options.split())
    found = written(tmp_path / "cost.json")
    assert json.loads(capsys.readouterr().out) == {name: found[name] for name in ("engine", "messages", "driver")}
    assert [row["candidates"] for row in found["driver"]] == [8, 8]
    assert all(row["writing"] > 0 and row["bytes"] > 100 for row in found["driver"])
    one, three = found["messages"]
    assert one["job_bytes"] > three["job_bytes"] > 0
    # What workers read once is not sent: neither the images of the task nor those of the validation.
    assert one["job_bytes"] < 800 * 64


def test_the_stages_of_a_search_add_up(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    program, file, before = benchmark("shares"), tmp_path / "small.toml", torch.get_num_threads()
    file.write_text(
        "[data]\ntrain_size = 100\n[model]\nhidden = [4]\n[recipe]\nepochs = 1\n[search]\npopulation = 2\n"
        'generations = 1\n[run]\ntune = false\nfinalists = 1\nfinalist_seeds = 2\ntraining = "sequential"\n'
    )
    try:
        found = program.stages("evolve", file, 2, tmp_path / "study")
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "study" / "report.html").exists()
    assert all(found[stage] > 0 for stage in program.STAGES)
    assert sum(found[stage] for stage in program.STAGES) == pytest.approx(found["all"])
    assert found["measuring"] > 0


class TestWorkers:
    def test_a_search_in_chunks_of_two_workers_on_idle_cores_and_on_busy_ones(
        self,
        benchmark: Callable[[str], ModuleType],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        program = benchmark("workers")
        settings = program.settings_of(1, 24)
        assert settings.search.population * settings.run.replicates == 2 * settings.run.chunk
        short = settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"epochs": 1})})
        monkeypatch.setattr(program, "settings_of", lambda *_: short)
        before = torch.get_num_threads()
        try:
            program.main(["--rounds", "1", "--busy", "1", "--out", str(tmp_path / "workers.json")])
            found = written(tmp_path / "workers.json")
        finally:
            torch.set_num_threads(before)
        assert len(found["ratios"]) == 5
        for pair in found["ratios"].values():
            assert pair["ratio"] == pytest.approx(pair["first"][0] / pair["second"][0])
        assert "busy, a worker for each core: " in capsys.readouterr().out
        assert len(benchmark("speed_table").workers(found)) == 7


def test_a_large_study_is_measured(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """At a small size."""
    benchmark("large_study").main(["--candidates", "12", "--population", "4", "--out", str(tmp_path / "large.json")])
    found = written(tmp_path / "large.json")
    assert found["bytes_held"]["generations"] == 3
    assert 0 < found["bytes_held"]["early"] <= found["bytes_held"]["end"] * 1.5
    assert found["show"].keys() == {"two generations", "all"}
    assert found["report"].keys() == {"all", "formulas"}
    taken = [value for name in ("show", "report", "again") for value in found[name].values()]
    assert all(0 < value < 60 for value in taken)
    assert len(benchmark("speed_table").large(found)) == 12


def test_the_docs_tell_the_kept_figures(benchmark: Callable[[str], ModuleType]) -> None:
    program, folder = benchmark("speed_table"), Path(__file__).parents[1] / "results" / "benchmarks"
    docs = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
    tables = {"driver_cost": program.driver, "workers": program.workers, "growth": program.growth}
    for name, table in {**tables, "large-study": program.large}.items():
        document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert "\n".join(table(document)) in docs


class TestAgainstJax:
    """The population of perceptrons against the same in JAX."""

    def test_without_jax_it_says_what_to_do(self, benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
        for python in (str(tmp_path / "none"), "/bin/false"):
            with pytest.raises(SystemExit, match="give --jax-python DIR/bin/python"):
                benchmark("against_jax").main(["--jax-python", python, "--steps", "2", "--population", "2"])

    @pytest.mark.integration
    def test_both_sides_are_measured(self, benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
        out = tmp_path / "jax.json"
        benchmark("against_jax").main(["--steps", "20", "--population", "3", "--pairs", "2", "--out", str(out)])
        for name in ("CPU time, one core", "wall time, two cores"):
            found = written(out)[name]
            assert found["seconds"].keys() == {"lossmith", "vmap", "map"}
            assert all(len(pair["quotients"]) == 2 for pair in found["against"].values())

    def test_what_engines_reach(
        self, benchmark: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = torch.get_num_threads()
        benchmark("roofline").main(["--population", "2", "--steps", "2", "--json"])
        torch.set_num_threads(before)
        found = json.loads(capsys.readouterr().out)
        assert found["operations"] == 2 * 50 * (2 * 64 * 128 + 3 * 128 * 10)
        assert found["engines"].keys() == {"sequential", "vmap", "mlp"}
        benchmark("roofline").main(["--network", "conv", "--population", "2", "--steps", "2", "--json"])
        torch.set_num_threads(before)
        convolutional = json.loads(capsys.readouterr().out)["engines"]
        assert convolutional.keys() >= {"sequential", "sequential-channels-last", "vmap"}
        assert ("cnn" in convolutional) == has_compiler(torch.device("cpu"))
        assert all(row["rate"] > 0 for row in found["engines"].values())
