"""What changes or ends a training on its way: flooding, early stopping, dropping, precision, memory."""

import copy
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import Criterion, InputError, Loss, baikal, cross_entropy, gce, mae, mse
from lossmith.data import Normalize
from lossmith.nets import Dropout
from lossmith.seeds import generator
from lossmith.training import Backend, Networks, Recipe, Task, Trainer, accuracy, has_compiler, measured_choice, train
from lossmith.training.engines import base as base_module
from lossmith.training.engines.design import Design
from lossmith.training.engines.mlp import MlpStack
from lossmith.training.engines.population import PopulationRun
from lossmith.training.engines.sequential import SequentialRun
from lossmith.training.loop import Best
from lossmith.training.precision import LowerPrecision
from lossmith.training.randomness import seeded

CLASSES, SAMPLES = 3, 60
LOSSES = Loss.stack([cross_entropy(), mse(), cross_entropy() + 0.5 * mae(), cross_entropy()])
SEEDS = [1, 1, 2, 2]
BACKENDS: list[str] = ["sequential", "population"]


def start(task: Task, losses: Loss, seeds: list[int], recipe: Recipe, backend: str = "population") -> Any:
    """A run of all members."""
    trainer = Trainer(task)
    resolved = trainer.resolved(Backend.parse(backend), recipe)
    return trainer.start(losses, seeds, recipe, resolved, list(range(len(seeds))))


COMPILING = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

Body = Callable[[], list[nn.Module]]
Optimized = Callable[[Recipe, Iterable[Tensor]], torch.optim.Optimizer]
BODIES: dict[str, Body] = {
    "mlp": lambda: [nn.Flatten(), nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, CLASSES)],
    "mlp, dropout": lambda: [nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES)],
    "cnn": lambda: [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)],
    "batch norm": lambda: [
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES))
    ],
}


@pytest.fixture
def without_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is traced, forwards and backwards, and run by PyTorch's own operations."""
    monkeypatch.setattr(base_module, "compiled_like_eager", lambda f: torch.compile(f, backend="aot_eager"))


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.2 * torch.randn(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Attending(nn.Module):
    """Rows of an image that look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.layer(x[:, 0]).flatten(1))
        return result


def samples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clouds that can be learned, not perfectly."""
    random = generator("test", seed)
    targets = torch.randint(0, CLASSES, (count,), generator=random)
    middles = torch.randn(CLASSES, 1, 4, 4, generator=generator("middles"))
    return middles[targets] + 1.5 * torch.randn(count, 1, 4, 4, generator=random), targets


HELD_OUT = samples(90, 1)


def task_of(body: str | Body = "mlp", kind: torch.dtype = torch.float64, held_out: bool = True) -> Task:
    make = BODIES[body] if isinstance(body, str) else body
    inputs, targets = samples(SAMPLES, 0)
    normalize = Normalize.fit(inputs)
    other = (HELD_OUT[0], HELD_OUT[1]) if held_out else None
    return Task(
        lambda: nn.Sequential(copy.deepcopy(normalize), *make()).to(kind), inputs, targets, CLASSES, held_out=other
    )


def recipe_of(**fields: Any) -> Recipe:
    return Recipe.model_validate({"batch_size": 12, "epochs": 6, "lr": 0.1, **fields})


def assert_agree(first: Networks, second: Networks, tolerance: float = 1e-9) -> None:
    for mine, theirs in ((first.parameters, second.parameters), (first.buffers, second.buffers)):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance)


def ordinary(task: Task, loss: Loss, seed: int, recipe: Recipe, optimized: Optimized) -> nn.Module:
    """A loop that anybody would write, with the loss as a criterion."""
    network = task.build(seed).train()
    optimizer = optimized(recipe, network.parameters())
    criterion = Criterion(loss)
    for epoch in range(recipe.epochs):
        order = torch.randperm(SAMPLES, generator=generator(seed, "batches", epoch))
        for rows in order.split(recipe.batch_size):
            optimizer.zero_grad()
            value = criterion(network(task.inputs[rows]), task.targets[rows])
            (abs(value - recipe.flooding) + recipe.flooding).backward()
            optimizer.step()
    return network


class TestFlooding:
    @pytest.mark.parametrize("body", ["mlp", "cnn", "batch norm"])
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_equal_to_the_loop_that_minimizes_the_flooded_loss(
        self, body: str, backend: str, optimized: Optimized
    ) -> None:
        task, recipe = task_of(body), recipe_of(flooding=0.5)
        trained = train(task, LOSSES, SEEDS, recipe, backend)
        for member, seed in enumerate(SEEDS):
            expected = ordinary(task, LOSSES[member], seed, recipe, optimized)
            for name, value in expected.named_parameters():
                torch.testing.assert_close(
                    trained.networks.parameters[name][member], value.detach(), rtol=1e-9, atol=1e-11
                )

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_the_loss_stays_near_the_level(self, backend: str) -> None:
        task, recipe = task_of(), recipe_of(flooding=0.4, epochs=40)
        losses = Loss.stack([cross_entropy()])
        flooded, free = (
            float(losses.value(train(task, losses, [1], r, backend).networks.logits(task.inputs), task.targets).mean())
            for r in (recipe, recipe_of(epochs=40))
        )
        assert free < 0.1
        assert 0.25 < flooded < 0.55

    def test_a_level_that_is_never_reached_changes_nothing(self) -> None:
        task = task_of()
        assert_agree(
            train(task, LOSSES[:1], [1], recipe_of(flooding=1e-12)).networks,
            train(task, LOSSES[:1], [1], recipe_of()).networks,
        )

    @pytest.mark.usefixtures("without_inductor")
    def test_compiled(self) -> None:
        task, recipe = task_of(kind=torch.float32), recipe_of(flooding=0.6, epochs=1)
        sequential, compiled = (
            train(task, LOSSES[:1], [1], recipe, backend).networks for backend in ("sequential", "sequential-compiled")
        )
        assert_agree(sequential, compiled, 1e-5)


class TestEarlyStopping:
    @staticmethod
    def reference(task: Task, loss: Loss, seed: int, recipe: Recipe, patience: int) -> tuple[int, float, bool]:
        """The best epoch of one training, its accuracy, and whether it was stopped, from a curve without stopping."""
        curve = train(task, Loss.stack([loss]), [seed], recipe, "sequential", monitor=task.held_out).curve
        assert curve is not None
        best, right, since = 0, -1.0, 0
        for epoch, value in enumerate(curve[0].tolist(), 1):
            since += 1
            if value > right:
                best, right, since = epoch, value, 0
            if since == patience:
                return best, right, epoch < recipe.epochs
        return best, right, False

    @pytest.mark.parametrize("body", ["mlp", "batch norm", "mlp, dropout"])
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_each_member_is_as_it_was_after_its_best_epoch(self, body: str, backend: str) -> None:
        task, recipe = task_of(body), recipe_of(epochs=14, lr=0.3)
        stopped = train(task, LOSSES, SEEDS, recipe.model_copy(update={"patience": 2}), backend, monitor=task.held_out)
        assert stopped.curve is not None
        early = 0
        for member, seed in enumerate(SEEDS):
            best, right, over = self.reference(task, LOSSES[member], seed, recipe, 2)
            early += over
            alone = train(task, LOSSES[[member]], [seed], recipe, backend, stop=best)
            assert_agree(stopped.networks.select([member]), alone.networks)
            assert stopped.curve[member].max() == stopped.curve[member, -1] == right
            assert stopped.curve.shape == (4, 14)
        assert early > 0

    @pytest.mark.usefixtures("without_program")
    def test_no_batch_is_trained_after_the_last_member_has_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps, step = [], PopulationRun.step

        def counted(run: PopulationRun) -> None:
            steps.append(run.done)
            step(run)

        monkeypatch.setattr(PopulationRun, "step", counted)
        task, recipe = task_of(), recipe_of(epochs=500, lr=0.3, patience=2)
        shares: list[float] = []
        train(task, LOSSES, [1] * 4, recipe, progress=shares.append)
        assert len(steps) < 500
        assert shares[-1] == 1.0

    def test_the_best_epoch_of_each_is_kept(self) -> None:
        best = Best(patience=2)
        first, second = (train(task_of(), LOSSES, SEEDS, recipe_of(epochs=n)).networks for n in (1, 2))
        best.look(first, torch.tensor([0.5, 0.5, 0.5, 0.5]))
        assert best.over == [False] * 4
        kept = best.look(second, torch.tensor([0.6, 0.5, 0.4, 0.6]))
        assert best.over == [False] * 4
        last = best.look(first, torch.tensor([0.7, 0.5, 0.4, 0.1]))
        assert best.over == [False, True, True, False]
        for name, value in last.parameters.items():
            assert torch.equal(value[:3], first.parameters[name][:3])
            assert torch.equal(value[3], second.parameters[name][3])
            assert torch.equal(kept.parameters[name][0], second.parameters[name][0])
        best.keep([0, 3])
        assert best.right.tolist() == pytest.approx([0.7, 0.6])
        assert best.over == [False, False]

    @pytest.mark.usefixtures("without_program")
    def test_members_that_have_ended_are_trained_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes, step = list[int](), PopulationRun.step

        def counted(run: PopulationRun) -> None:
            sizes.append(len(run.place))
            step(run)

        monkeypatch.setattr(PopulationRun, "step", counted)
        train(task_of(), LOSSES, SEEDS, recipe_of(epochs=30, lr=0.3, patience=2))
        assert sizes[0] == 4
        assert sorted(sizes, reverse=True) == sizes
        assert 0 < sizes[-1] < 4

    def test_data_held_out_is_needed(self) -> None:
        with pytest.raises(InputError, match=r"early stopping \(patience\) needs data held out"):
            train(task_of(held_out=False), LOSSES, SEEDS, recipe_of(patience=1))


class TestPartial:
    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("schedule", ["step", "cosine", "one-cycle"])
    def test_a_share_of_the_batches_under_the_whole_schedule(self, backend: str, schedule: str) -> None:
        recipe = recipe_of(schedule=schedule)
        whole, part = task_of(), train(task_of(), LOSSES, SEEDS, recipe, backend, share=0.5)
        assert_agree(part.networks, train(whole, LOSSES, SEEDS, recipe, backend, stop=3).networks)

    def test_a_share_within_an_epoch(self) -> None:
        task, seen = task_of(), list[int]()
        trained = train(
            task, LOSSES, SEEDS, recipe_of(), share=7 / 30, monitor=HELD_OUT, observe=lambda _, e, __: seen.append(e)
        )
        assert seen == [0, 1, 2]
        assert trained.curve is not None
        assert trained.curve.shape == (4, 2)
        assert_agree(trained.networks, train(task, LOSSES, SEEDS, recipe_of(steps=7)).networks)


SOME_PRUNED = Loss.stack([cross_entropy(), -1.0 * cross_entropy(), mse(), 1e30 * baikal()])


class TestDrop:
    @pytest.mark.parametrize("seeds", [[1, 1, 1, 1], [1, 2, 1, 2]])
    @pytest.mark.parametrize("body", BODIES)
    @pytest.mark.parametrize("fields", [{}, {"optimizer": "adamw", "lr": 0.01}, {"clip": 0.5}])
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_the_others_go_on_as_if_nothing_were(
        self, body: str, fields: dict[str, Any], seeds: list[int], backend: str
    ) -> None:
        task, recipe = task_of(body), recipe_of(**fields)
        whole, trained = (
            train(task, SOME_PRUNED, seeds, recipe, backend),
            train(task, SOME_PRUNED, seeds, recipe, backend, prune_at=0.5),
        )
        assert trained.pruned is not None
        assert trained.pruned[1]
        assert not trained.pruned[[0, 2]].any()
        assert_agree(trained.networks.select([0, 2]), whole.networks.select([0, 2]))
        half = train(task, SOME_PRUNED, seeds, recipe, backend, share=0.5)
        assert_agree(trained.networks.select([1]), half.networks.select([1]))

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_one_that_is_not_finite_is_dropped_and_has_diverged(self, backend: str) -> None:
        trained = train(task_of(), SOME_PRUNED, [1] * 4, recipe_of(lr=10.0), backend, prune_at=0.2)
        assert trained.pruned is not None
        assert trained.diverged[3]
        assert trained.pruned[3]

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_all_of_them(self, backend: str) -> None:
        task, losses, shares = task_of(), Loss.stack([-1.0 * cross_entropy()] * 3), list[float]()
        trained = train(
            task, losses, [1, 2, 3], recipe_of(), backend, prune_at=0.3, progress=shares.append, monitor=HELD_OUT
        )
        assert trained.pruned is not None
        assert trained.pruned.all()
        assert trained.curve is not None
        assert trained.curve.shape == (3, 6)
        assert shares[-1] == pytest.approx(1.0)
        assert len(trained.networks) == 3

    @pytest.mark.usefixtures("without_program")
    def test_steps_that_are_saved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes, step = list[int](), PopulationRun.step

        def counted(run: PopulationRun) -> None:
            sizes.append(len(run.place))
            step(run)

        monkeypatch.setattr(PopulationRun, "step", counted)
        train(task_of(), SOME_PRUNED[:3], [1] * 3, recipe_of(), prune_at=0.5)
        assert sizes == [3] * 15 + [2] * 15

    def test_nothing_is_dropped_after_the_last_batch_or_without_being_asked(self) -> None:
        trained = train(task_of(), SOME_PRUNED, [1] * 4, recipe_of(steps=1), prune_at=0.9)
        assert trained.pruned is not None
        assert not trained.pruned.any()
        assert not train(task_of(), SOME_PRUNED, [1] * 4, recipe_of()).pruned.any()  # type: ignore[union-attr]

    def test_chance_is_that_of_the_most_frequent_class(self) -> None:
        """A network that always gives the class of four in five samples is hopeless; one that is right more is not."""
        inputs, targets = HELD_OUT
        skewed = torch.where(torch.arange(90) % 5 < 4, 0, targets)
        always = nn.Linear(16, CLASSES)
        with torch.no_grad():
            always.weight.zero_()
            always.bias.copy_(torch.tensor([1.0, 0, 0]))
        task = Task(lambda: nn.Sequential(nn.Flatten(), copy.deepcopy(always)), inputs, skewed, CLASSES)
        still = Task(task.factory, inputs, skewed, CLASSES, held_out=(inputs, skewed))
        trained = train(still, Loss.stack([cross_entropy()]), [1], recipe_of(lr=1e-9), prune_at=0.5)
        assert accuracy(trained.networks.logits(inputs), skewed)[0] > 0.7
        assert trained.pruned is not None
        assert trained.pruned[0]

    def test_with_early_stopping_the_best_epoch_is_kept(self) -> None:
        task, recipe = task_of(), recipe_of(patience=3)
        trained = train(task, SOME_PRUNED[:3], [1] * 3, recipe, prune_at=0.5)
        whole = train(task, SOME_PRUNED[:3], [1] * 3, recipe)
        assert_agree(trained.networks.select([0, 2]), whole.networks.select([0, 2]))
        half = train(task, SOME_PRUNED[:3], [1] * 3, recipe, stop=3)
        assert_agree(trained.networks.select([1]), half.networks.select([1]))

    def test_data_held_out_is_needed(self) -> None:
        with pytest.raises(InputError, match="hopeless networks are found on data held out"):
            train(task_of(held_out=False), LOSSES, SEEDS, recipe_of(), prune_at=0.5)


class TestPrecision:
    @pytest.mark.parametrize("body", BODIES)
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_near_float32(self, body: str, backend: str) -> None:
        task, recipe = task_of(body, torch.float32), recipe_of(epochs=2, lr=0.02)
        full = train(task, LOSSES, [1] * 4, recipe, backend).networks
        half = train(task, LOSSES, [1] * 4, recipe_of(epochs=2, lr=0.02, precision="bfloat16"), backend).networks
        difference = 0.0
        for name, value in full.parameters.items():
            assert half.parameters[name].dtype == torch.float32
            torch.testing.assert_close(half.parameters[name], value, rtol=0.05, atol=0.02)
            difference += float((half.parameters[name] - value).abs().max())
        assert difference > 1e-6

    @pytest.mark.parametrize("body", ["cnn", "batch norm", "mlp"])
    def test_backends_agree(self, body: str) -> None:
        task, recipe = task_of(body, torch.float32), recipe_of(epochs=2, lr=0.02, precision="bfloat16")
        sequential, population = (train(task, LOSSES, [1] * 4, recipe, backend).networks for backend in BACKENDS)
        for name, value in sequential.parameters.items():
            torch.testing.assert_close(population.parameters[name], value, rtol=0.05, atol=0.01)

    # What PyTorch has to say of its own attention under vmap.
    @pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
    @pytest.mark.parametrize("make", [lambda: [nn.Flatten(), Product()], lambda: [Attending()]], ids=["@", "attention"])
    def test_networks_of_ones_own(self, make: Body) -> None:
        task, recipe = task_of(make, torch.float32), recipe_of(epochs=2, lr=0.02, precision="bfloat16")
        sequential, population = (train(task, LOSSES, [1] * 4, recipe, backend).networks for backend in BACKENDS)
        for name, value in sequential.parameters.items():
            torch.testing.assert_close(population.parameters[name], value, rtol=0.05, atol=0.02)

    def test_what_changes_a_tensor_in_place_is_left_alone(self) -> None:
        low, full = torch.ones(3, dtype=torch.bfloat16), torch.ones(3)
        with LowerPrecision():
            low.add_(full)
            low += full
            assert torch.cat([low, full]).dtype == torch.float32
            assert (low + full).dtype == torch.float32
        assert low.tolist() == [3.0, 3.0, 3.0]
        assert low.dtype == torch.bfloat16

    def test_products_are_low_and_normalization_is_not(self) -> None:
        kinds: list[tuple[torch.dtype, torch.dtype]] = []
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
        for layer in network:
            layer.register_forward_hook(lambda _, args, out: kinds.append((args[0].dtype, out.dtype)))
        with LowerPrecision():
            network(torch.randn(5, 1, 4, 4))
        low = torch.bfloat16
        assert kinds == [(torch.float32, low), (low, low), (low, low), (low, low)]
        statistics = dict(network.named_buffers())["1.running_mean"]
        assert statistics.dtype == torch.float32


class TestBackends:
    @COMPILING
    # Compiled with the body that has every kind of layer of the other.
    @pytest.mark.parametrize(
        ("backend", "body"),
        [
            ("sequential-channels-last", "cnn"),
            ("sequential-channels-last", "batch norm"),
            ("sequential-compiled", "batch norm"),
            ("sequential-channels-last-compiled", "batch norm"),
        ],
    )
    def test_equal_to_sequential(self, body: str, backend: str) -> None:
        if backend.endswith("compiled") and not has_compiler(torch.device("cpu")):
            pytest.skip("torch.compile needs a C++ compiler")
        task, recipe = task_of(body, torch.float32), recipe_of(epochs=1)
        sequential, other = (train(task, LOSSES[:2], [1, 2], recipe, one) for one in ("sequential", backend))
        assert_agree(sequential.networks, other.networks, 1e-4)

    def test_convolutions_lie_with_channels_last(self) -> None:
        task = task_of(lambda: [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, CLASSES)])
        run = start(task, LOSSES[:1], [1], recipe_of(), "sequential-channels-last")
        run.step()
        weight = dict(run.network.named_parameters())["2.weight"]
        assert weight.is_contiguous(memory_format=torch.channels_last)

    def test_one_compilation_for_all_losses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        graphs = {"count": 0}

        def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
            def backend(graph: Any, _: object) -> Any:
                graphs["count"] += 1
                return graph.forward

            return torch.compile(function, backend=backend)

        monkeypatch.setattr(base_module, "compiled_like_eager", compiled)
        trainer = Trainer(task_of(kind=torch.float32))
        losses = [gce(0.1 * k) for k in range(1, 11)] + [cross_entropy() + c * mae() for c in (0.1, 0.2)]
        for loss in losses:
            trainer.train(Loss.stack([loss] * 2), [1, 2], recipe_of(epochs=1), "sequential-compiled")
        assert graphs["count"] == 1


@pytest.mark.usefixtures("without_program")
class TestMemory:
    @staticmethod
    def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
        sizes, step = list[int](), PopulationRun.step

        def short(run: PopulationRun) -> None:
            if len(run.place) > most and run.done == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            if run.done == 0:
                sizes.append(len(run.place))
            step(run)

        monkeypatch.setattr(PopulationRun, "step", short)
        return sizes

    @pytest.mark.parametrize(("most", "parts"), [(4, [4]), (3, [4, 2, 2]), (1, [4, 2, 1, 1, 1, 1])])
    def test_the_population_is_split_and_the_result_is_the_same(
        self, monkeypatch: pytest.MonkeyPatch, most: int, parts: list[int]
    ) -> None:
        expected = train(task_of(), LOSSES, SEEDS, recipe_of(), monitor=HELD_OUT)
        sizes = self.limited(monkeypatch, most)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = (trainer := Trainer(task_of())).train(LOSSES, SEEDS, recipe_of(), monitor=HELD_OUT)
            again = trainer.train(LOSSES, SEEDS, recipe_of(), monitor=HELD_OUT)
        assert len(caught) == (most < 4)
        if caught:
            assert "does not hold 4 networks at once; they are trained in parts" in str(caught[0].message)
            assert caught[0].filename == __file__
        for trained in (found, again):
            assert_agree(trained.networks, expected.networks)
            assert torch.equal(trained.curve, expected.curve)  # type: ignore[arg-type]
        assert sizes[: len(parts)] == parts
        assert all(size <= most for size in sizes[len(parts) :])

    def test_one_network_that_does_not_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limited(monkeypatch, 0)
        with pytest.raises(InputError, match="the memory of cpu does not hold the training of one network: give a sm"):
            train(task_of(), LOSSES[:1], SEEDS[:1], recipe_of())

    def test_the_population_is_measured_in_parts_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limited(monkeypatch, 2)
        trainer = Trainer(task_of())
        with pytest.warns(UserWarning, match="does not hold 4 networks at once"):
            choice = measured_choice(trainer, LOSSES, SEEDS, recipe_of(), batches=1)
        assert {"sequential", str(trainer.resolved(Backend("population"), recipe_of()))} <= choice.seconds.keys()
        assert choice.failed == {}
        assert trainer.fits == 2

    def test_one_network_that_cannot_be_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(PopulationRun, "step", full)
        monkeypatch.setattr(SequentialRun, "step", full)
        with pytest.raises(InputError, match="does not hold the training of one network"):
            measured_choice(Trainer(task_of()), LOSSES[:1], SEEDS[:1], recipe_of(), batches=1)

    @pytest.mark.parametrize("words", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "CUDA out of memory."])
    def test_other_words_for_it(self, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
        made, build = list[int](), Task.build

        def short(task: Task, seed: int) -> nn.Module:
            made.append(seed)
            if len(made) == 3:  # the first two are looked at only
                raise RuntimeError(words)
            return build(task, seed)

        monkeypatch.setattr(Task, "build", short)
        with pytest.warns(UserWarning, match="they are trained in parts"):
            found = train(task_of(), LOSSES, [1] * 4, recipe_of())
        assert len(found.networks) == 4

    def test_logits_are_computed_in_smaller_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        networks = train(task_of(), LOSSES, SEEDS, recipe_of(epochs=1)).networks
        expected, forward = networks.logits(HELD_OUT[0]), Networks.forward

        def short(one: Networks, inputs: Tensor) -> Tensor:
            if inputs.shape[1] > 20:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(one, inputs)

        monkeypatch.setattr(Networks, "forward", short)
        assert torch.equal(networks.logits(HELD_OUT[0]), expected)

    def test_other_errors_are_not_swallowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(run: PopulationRun) -> None:
            raise RuntimeError("something else")

        monkeypatch.setattr(PopulationRun, "step", broken)
        with pytest.raises(RuntimeError, match="something else"):
            train(task_of(), LOSSES, SEEDS, recipe_of())


@pytest.mark.usefixtures("without_program")
class TestMlp:
    """Which networks the matrix products are made for; that they train alike is tested with the two ways."""

    def test_mlps_are_recognized(self) -> None:
        for body in ("mlp", "mlp, dropout"):
            run = start(task_of(body), LOSSES, [1] * 4, recipe_of())
            assert isinstance(run.stack, MlpStack)
            assert run.backend == Backend("mlp")

    @pytest.mark.parametrize(
        "layers",
        [
            [nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 3)],
            [nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)],
            [nn.Conv2d(1, 2, 2, stride=2), nn.Flatten(), nn.Linear(8, 3)],
            [nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)],
            [nn.Flatten(0), nn.Linear(16, 3)],
            [nn.Linear(4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)],
            [nn.Linear(4, 3)],
            [nn.Flatten(), nn.ReLU()],
        ],
    )
    def test_others_are_not(self, layers: list[nn.Module]) -> None:
        assert Design.of(nn.Sequential(*layers), 4) is None

    def test_flat_features_need_no_flattening(self) -> None:
        network = nn.Sequential(nn.Identity(), nn.Linear(16, 4), nn.Identity(), nn.ReLU(), nn.Linear(4, 3))
        assert Design.of(network, 2) is not None
        assert Design.of(network, 3) is None

    def test_layers_over_the_last_dimension_are_trained_by_vmap(self) -> None:
        """Linear layers that come before flattening act on every row of an image."""
        task = task_of(lambda: [nn.Linear(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, CLASSES)])
        sequential, population = (train(task, LOSSES, SEEDS, recipe_of(), backend).networks for backend in BACKENDS)
        assert_agree(sequential, population)

    def test_neither_are_networks_with_something_of_their_own(self) -> None:
        def network() -> nn.Sequential:
            return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))

        assert Design.of(network(), 4) is not None
        assert Design.of(nn.Sequential(network(), nn.ReLU(), nn.Linear(16, 3)), 4) is not None
        hooked, frozen, tied, half, mixed = (network() for _ in range(5))
        hooked[1].register_forward_hook(lambda *_: None)
        frozen[1].requires_grad_(False)
        tied[3].weight = tied[1].weight
        half.half()
        mixed[3].double()
        wrapped = nn.ModuleList([network()])
        subclass = type("Own", (nn.Sequential,), {})(*network())
        normalized = nn.utils.parametrizations.weight_norm(network()[1])
        for other in (hooked, frozen, tied, half, mixed, wrapped, subclass, nn.Sequential(normalized)):
            assert Design.of(other, 4) is None

    @pytest.mark.parametrize("seeds", [[1] * 4, [1, 2, 3, 1]])
    @pytest.mark.parametrize(
        "make",
        [
            lambda: [nn.Flatten(), nn.Linear(16, CLASSES)],
            lambda: [nn.Flatten(), nn.Linear(16, 64, bias=False), nn.ReLU(), nn.Linear(64, CLASSES, bias=False)],
            lambda: [nn.Flatten(), nn.ReLU(), nn.Linear(16, 33), nn.ReLU(), nn.ReLU(), nn.Linear(33, CLASSES)],
            lambda: [nn.Flatten(), nn.Linear(16, 5), Dropout(0.4), nn.ReLU(), nn.Linear(5, 40), nn.Linear(40, 3)],
            lambda: [nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU()), nn.Dropout(0.5), nn.Linear(5, 3)],
            lambda: [nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, CLASSES), nn.ReLU()],
        ],
    )
    def test_the_same_training_as_sequential_and_as_vectorized(self, make: Body, seeds: list[int]) -> None:
        task, recipe = task_of(make), recipe_of(clip=1.0, weight_decay=0.01)
        assert Design.of(task.build(0), 4) is not None
        sequential = train(task, LOSSES, seeds, recipe, "sequential").networks
        assert_agree(train(task, LOSSES, seeds, recipe).networks, sequential)
        if len(set(seeds)) == 1:
            runs = [start(task, LOSSES, seeds, recipe, engine) for engine in ("mlp", "vmap")]
            for run in runs:
                with seeded(task.device, 1, "dropout"):
                    for _ in range(4):
                        run.step()
            assert_agree(runs[0].networks(), runs[1].networks())


@pytest.mark.usefixtures("without_inductor")
def test_what_a_trainer_keeps_changes_no_result() -> None:
    """The compiled function of one training serves the next, and so does what the memory was found to hold."""
    trainer, fresh = (Trainer(task_of(kind=torch.float32)) for _ in range(2))
    trainer.train(LOSSES[:1], [9], recipe_of(epochs=1), "sequential-compiled")
    trainer.fits = 3
    for backend in ("sequential-compiled", "population"):
        again, expected = (one.train(LOSSES, SEEDS, recipe_of(), backend).networks for one in (trainer, fresh))
        assert_agree(again, expected, 1e-5)
