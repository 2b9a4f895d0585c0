"""Class weights and balanced batches: what a loop that anybody would write does, for every loss and engine alike."""

import importlib
import json
import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lossmith import Criterion, InputError, Loss, PowerLoss, cross_entropy, focal, mae, mse
from lossmith.analysis import Family, Plan, fixed
from lossmith.losses import Term, class_weights, logit_clip, normalized_cross_entropy, read_loss_document
from lossmith.seeds import generator
from lossmith.study import (
    CompareSettings,
    DistillSettings,
    EvolveSettings,
    compare_losses,
    distill_loss,
    evolve,
    export_pareto,
    validated,
)
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Backend, Recipe, Task, Trainer, check_balance, train
from lossmith.training.batches import Batches
from lossmith.training.imbalance import class_shares

comparison: Any = importlib.import_module("lossmith.study.comparison")

CLASSES, COUNTS = 3, (30, 14, 4)
SAMPLES = sum(COUNTS)
BALANCED = [SAMPLES / (CLASSES * count) for count in COUNTS]
# As searches find them: with terms that look at no label, and one that reaches no gradient.
EVOLVED = PowerLoss(
    (Term(0, 1, 1), Term(2, 0, 0), Term(3, 1, 0), Term(0, 0, 1), Term(1, 0, 0)),
    torch.tensor([1.0, 0.4, -0.7, 0.05, 9.0]),
)
LOSSES = {
    "cross-entropy": cross_entropy(),
    "label smoothing": cross_entropy().smoothed(0.2, CLASSES),
    "focal": focal(2),
    "mse": mse(),
    "evolved": EVOLVED,
    "normalized": normalized_cross_entropy(),
    "clipped": logit_clip(2.0),
}
Optimized = Callable[[Recipe, Iterable[Tensor]], torch.optim.Optimizer]
ENGINES = ["sequential", "vmap", "mlp"]
NUMBERS = (0.5, 1.5, 4.0)


def labels(counts: tuple[int, ...] = COUNTS) -> Tensor:
    of_class = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return of_class[torch.randperm(len(of_class), generator=generator("labels"))]


def task_of(targets: Tensor | None = None) -> Task:
    y = labels() if targets is None else targets
    middles = 2 * torch.eye(CLASSES, 6, dtype=torch.float64)
    hard = y.argmax(-1) if y.is_floating_point() else y
    inputs = middles[hard] + torch.randn(len(y), 6, generator=generator("inputs"), dtype=torch.float64)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES)).double()

    return Task(network, inputs, y, CLASSES)


def recipe_of(**changes: Any) -> Recipe:
    return Recipe.model_validate({"epochs": 2, "batch_size": 12, "lr": 0.1, **changes})


def ordinary(task: Task, loss: Loss, seed: int, recipe: Recipe, weight: list[float], optimized: Optimized) -> nn.Module:
    """A loop that anybody would write, with the loss as a criterion."""
    network, batches = task.build(seed).train(), Batches(task, [seed], recipe)
    optimizer = optimized(recipe, network.parameters())
    w = torch.tensor(weight, dtype=torch.float64)
    criterion, total = (Criterion(loss, w, reduction=reduction) for reduction in ("mean", "sum"))
    for step in range(recipe.total_steps(len(task.inputs))):
        inputs, targets = batches.batch(step)
        optimizer.zero_grad()
        logits = network(inputs)
        if targets.is_floating_point():
            # PyTorch's mean would divide by the number of samples, whatever weight they have.
            value = total(logits, targets) / (targets @ w).sum()
        else:
            value = criterion(logits, targets)
        (abs(value - recipe.flooding) if recipe.flooding else value).backward()
        optimizer.step()
    return network


def assert_trained_alike(networks: Any, member: int, network: nn.Module) -> None:
    for name, value in network.named_parameters():
        torch.testing.assert_close(networks.parameters[name][member], value.detach(), rtol=1e-9, atol=1e-11)


class TestTraining:
    @pytest.mark.parametrize("engine", ENGINES)
    @pytest.mark.parametrize(
        ("changes", "weight"),
        [
            ({"class_weight": NUMBERS}, list(NUMBERS)),
            ({"class_weight": "balanced", "optimizer": "adamw", "lr": 0.01}, BALANCED),
            ({"class_weight": NUMBERS, "flooding": 0.6}, list(NUMBERS)),
            ({"class_weight": NUMBERS, "mixup": 0.7, "flooding": 0.1}, list(NUMBERS)),
            ({"sampling": "balanced"}, [1.0, 1.0, 1.0]),
            ({"sampling": "balanced", "class_weight": NUMBERS}, list(NUMBERS)),
        ],
        ids=["numbers", "balanced", "flooded", "mixed", "sampled", "both"],
    )
    def test_it_is_a_loop_that_anybody_would_write(
        self, engine: str, changes: dict[str, Any], weight: list[float], optimized: Optimized
    ) -> None:
        task, recipe, seeds = task_of(), recipe_of(**changes), [3 + member % 2 for member in range(len(LOSSES))]
        found = train(task, Loss.stack(LOSSES.values()), seeds, recipe, engine).networks
        for member, loss in enumerate(LOSSES.values()):
            assert_trained_alike(found, member, ordinary(task, loss, seeds[member], recipe, weight, optimized))

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_population_of_powers_with_mixed_labels(self, engine: str, optimized: Optimized) -> None:
        losses = [loss for loss in LOSSES.values() if isinstance(loss, PowerLoss)]
        task, recipe = task_of(), recipe_of(class_weight=NUMBERS, mixup=0.7)
        assert isinstance(Loss.stack(losses), PowerLoss)
        found = train(task, Loss.stack(losses), [1] * len(losses), recipe, engine).networks
        for member, loss in enumerate(losses):
            assert_trained_alike(found, member, ordinary(task, loss, 1, recipe, list(NUMBERS), optimized))

    def test_cross_entropy_is_pytorchs(self) -> None:
        """With not a line of this package but the order of the samples."""
        task, recipe = task_of(), recipe_of(class_weight="balanced")
        network = task.build(5)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        criterion = nn.CrossEntropyLoss(torch.tensor(BALANCED, dtype=torch.float64))
        for epoch in range(2):
            for rows in torch.randperm(SAMPLES, generator=generator(5, "batches", epoch)).split(12):
                optimizer.zero_grad()
                criterion(network(task.inputs[rows]), task.targets[rows]).backward()
                optimizer.step()
        found = train(task, Loss.stack([cross_entropy()]), [5], recipe, "sequential").networks
        assert_trained_alike(found, 0, network)

    def test_class_probabilities_as_labels(self, optimized: Optimized) -> None:
        soft = torch.randn(SAMPLES, CLASSES, generator=generator("soft"), dtype=torch.float64).softmax(-1)
        weight = (SAMPLES / (CLASSES * soft.sum(0))).tolist()
        task, recipe = task_of(soft), recipe_of(class_weight="balanced", sampling="balanced")
        found = train(task, Loss.stack([EVOLVED, mse()]), [1, 1], recipe, "mlp").networks
        for member, loss in enumerate((EVOLVED, mse())):
            assert_trained_alike(found, member, ordinary(task, loss, 1, recipe, weight, optimized))

    @pytest.mark.parametrize("engine", ENGINES)
    def test_equal_weights_change_nothing(self, engine: str) -> None:
        losses = Loss.stack(LOSSES.values())
        plain, weighted = (
            train(task_of(), losses, [1] * len(losses), recipe_of(class_weight=weight), engine).networks
            for weight in ("none", (7.0, 7.0, 7.0))
        )
        for name, value in plain.parameters.items():
            torch.testing.assert_close(weighted.parameters[name], value, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("mixup", [0.0, 0.5])
    def test_the_scale_of_the_weights_does_not_matter(self, mixup: float) -> None:
        losses = Loss.stack([cross_entropy(), EVOLVED])
        one, other = (
            train(
                task_of(), losses, [1, 1], recipe_of(class_weight=tuple(by * w for w in NUMBERS), mixup=mixup)
            ).networks
            for by in (1, 50)
        )
        for name, value in one.parameters.items():
            torch.testing.assert_close(other.parameters[name], value, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("engine", ["sequential", "vmap"])
    def test_in_half_precision(self, engine: str, optimized: Optimized) -> None:
        """As a loop under autocast, to the rounding of its gradients."""

        def network() -> nn.Module:
            return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES))

        task, weight = Task(network, task_of().inputs.float(), labels(), CLASSES), torch.tensor(BALANCED)
        recipe = recipe_of(class_weight="balanced", precision="bfloat16")
        losses = Loss.stack([cross_entropy(), EVOLVED])
        found = train(task, losses, [1, 1], recipe, engine).networks
        for member, loss in enumerate((cross_entropy(), EVOLVED)):
            one, batches = task.build(1), Batches(task, [1], recipe)
            optimizer = optimized(recipe, one.parameters())
            for step in range(8):
                inputs, targets = batches.batch(step)
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16):
                    value = Criterion(loss, weight)(one(inputs), targets)
                value.backward()
                optimizer.step()
            for name, value in one.named_parameters():
                torch.testing.assert_close(found.parameters[name][member], value.detach(), rtol=0, atol=0.004)

    def test_the_adversary_follows_the_weighted_loss(self) -> None:
        """Of mixed labels: of others the sign of its gradient does not depend on the weight of the sample."""
        task = Task(task_of().factory, task_of().inputs.sigmoid(), labels(), CLASSES, 1.0)
        found = [
            train(
                task,
                Loss.stack([EVOLVED]),
                [1],
                recipe_of(class_weight=NUMBERS, mixup=0.7, adversary="pgd", adversary_steps=2),
                engine,
            ).networks
            for engine in ENGINES
        ]
        for other in found[1:]:
            for name, value in found[0].parameters.items():
                torch.testing.assert_close(other.parameters[name], value, rtol=1e-7, atol=1e-9)


class TestBalancedBatches:
    def test_every_class_is_equally_likely(self) -> None:
        task, recipe = task_of(), recipe_of(sampling="balanced", batch_size=SAMPLES, epochs=400)
        batches = Batches(task, [4], recipe)
        drawn = torch.cat([batches.batch(step)[1] for step in range(400)])
        share = drawn.bincount(minlength=CLASSES) / len(drawn)
        # Four standard deviations.
        assert (share - 1 / CLASSES).abs().max() < 4 * math.sqrt(2 / 9 / len(drawn))

    def test_every_sample_of_a_class_is_equally_likely(self) -> None:
        shares = class_shares(task_of(), recipe_of(sampling="balanced"))
        assert shares is not None
        each = shares.diff(prepend=torch.zeros(1))
        expected = torch.tensor([1 / (CLASSES * COUNTS[y]) for y in labels().tolist()], dtype=torch.float64)
        torch.testing.assert_close(each, expected, rtol=1e-12, atol=1e-14)
        assert shares[-1] == 1.0

    def test_it_is_on_average_what_balanced_weights_are(self) -> None:
        """The gradient of the whole data: by the weights of its samples, or by the chance to be drawn."""
        task, shares = task_of(), class_shares(task_of(), recipe_of(sampling="balanced"))
        assert shares is not None
        weights = torch.tensor(BALANCED, dtype=torch.float64)[task.targets]
        torch.testing.assert_close(shares.diff(prepend=torch.zeros(1)), weights / weights.sum())

    def test_a_seed_gives_the_same_batches_alone_and_with_others(self) -> None:
        recipe = recipe_of(sampling="balanced")
        together = Batches(task_of(), [7, 8], recipe)
        for place, seed in enumerate((7, 8)):
            alone = Batches(task_of(), [seed], recipe)
            for step in (0, 3, 4, 7):
                assert torch.equal(alone.batch(step)[0], together.batch(step)[0][place])
        epochs = [Batches(task_of(), [7], recipe).batch(step)[0] for step in (0, 4)]
        assert not torch.equal(*epochs)

    def test_uniform_batches_are_as_they_were(self) -> None:
        batches = Batches(task_of(), [7], recipe_of())
        order = torch.randperm(SAMPLES, generator=generator(7, "batches", 0))
        assert torch.equal(batches.batch(1)[1], task_of().targets[order[12:24]])


class TestBadInput:
    @pytest.mark.parametrize("weight", [(1.0, 2.0), (1.0, 2.0, 3.0, 4.0)])
    def test_a_weight_for_each_class(self, weight: tuple[float, ...]) -> None:
        with pytest.raises(InputError, match=f"class_weight has {len(weight)} numbers, but the data has 3 classes"):
            train(task_of(), Loss.stack([mse()]), [1], recipe_of(class_weight=weight))

    @pytest.mark.parametrize("name", ["class_weight", "sampling"])
    def test_a_class_without_samples(self, name: str) -> None:
        task = task_of(labels((40, 0, 8)))
        with pytest.raises(InputError, match=f"{name} is balanced, but none of the 48 training labels is of class 1"):
            train(task, Loss.stack([mse()]), [1], recipe_of(**{name: "balanced"}))

    @pytest.mark.parametrize(
        "value",
        [
            *("heavy", "", 2.0, None, {"a": 1}, [], [1.0], [1, 0], [1, -1]),
            *([1, math.nan], [1, math.inf], [1, True], [1, "x"], [1, None], [[1, 2]]),
        ],
    )
    def test_what_is_no_weight(self, value: object) -> None:
        with pytest.raises(ValidationError, match='give "none", "balanced", or a number above 0 for each class'):
            Recipe.model_validate({"class_weight": value})

    @pytest.mark.parametrize("value", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0]), ["1", "2.0"]])
    def test_what_is_one(self, value: object) -> None:
        recipe = Recipe.model_validate({"class_weight": value})
        assert recipe.class_weight == (1.0, 2.0)
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
        assert Recipe.model_validate(recipe.model_dump()) == recipe

    def test_weights_that_are_far_apart_are_told(self) -> None:
        task = task_of(labels((1003, 20, 1)))
        sentence = check_balance(task, recipe_of(class_weight="balanced"))
        assert sentence is not None
        assert (
            "a sample of class 2, of which there are 1 for training, counts 1003 times as much as one of class 0"
            in sentence
        )
        assert check_balance(task, recipe_of(sampling="balanced")) == sentence
        assert "counts 2000 times" in str(check_balance(task_of(), recipe_of(class_weight=(1.0, 2000.0, 5.0))))
        for recipe in (recipe_of(), recipe_of(class_weight=(1.0, 1000.0, 1.0))):
            assert check_balance(task, recipe) is None
        assert check_balance(task_of(), recipe_of(class_weight="balanced")) is None

    def test_both_ways_of_balancing_are_told(self) -> None:
        both = recipe_of(class_weight="balanced", sampling="balanced")
        assert "count twice over" in str(check_balance(task_of(), both))


def write_npz(path: Path) -> Path:
    """Clouds of three classes, of which two are rare."""
    arrays: dict[str, Any] = {}
    for part, counts, seed in (("train", (80, 28, 12), 0), ("test", (30, 10, 5), 1)):
        rng, y = np.random.default_rng(seed), np.repeat(np.arange(CLASSES), counts)
        arrays[f"x_{part}"] = (rng.normal(0, 1, (len(y), 5)) + 1.5 * np.eye(CLASSES, 5)[y]).astype(np.float32)
        arrays[f"y_{part}"] = y
    np.savez(path, **arrays)
    return path


def settings_of(place: Path, **parts: dict[str, Any]) -> EvolveSettings:
    document: dict[str, Any] = {
        "data": {"source": str(place), "train_size": 60},
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1, "batch_size": 10},
        "search": {"population": 4, "generations": 2},
        "objective": {},
        "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
    }
    return validated(EvolveSettings, {key: {**document[key], **parts.get(key, {})} for key in document}, "the test")


BALANCE = {"class_weight": "balanced"}


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "rare.npz")


def rows(directory: Path) -> list[dict[str, Any]]:
    with Store(directory, readonly=True) as store:
        return [{**row, "seconds": 0} for row in store.candidates()]


class TestStudy:
    @pytest.mark.parametrize("noise", [0.0, 0.3])
    def test_the_winner_carries_its_weights(self, npz: Path, tmp_path: Path, noise: float) -> None:
        """Those of the labels that training saw, as they are, so that the criterion of a file is what was searched."""
        settings = settings_of(npz, recipe=BALANCE, data={"label_noise": noise})
        outcome = evolve(tmp_path / "study", settings)
        targets = Problem.open(settings).task.targets
        expected = (60 / (CLASSES * targets.bincount(minlength=CLASSES).double())).tolist()
        found = class_weights(read_loss_document(tmp_path / "study/best.json"))
        assert found == outcome.provenance["class_weight"] == pytest.approx(expected, rel=1e-15)
        assert len(set(expected)) == CLASSES
        criterion = Criterion(tmp_path / "study/best.json")
        logits = torch.randn(4, CLASSES, generator=generator("logits"))
        y = torch.tensor([0, 1, 2, 2])
        values = torch.tensor(expected)[y] * outcome.loss.value(logits, y)
        torch.testing.assert_close(criterion(logits, y), values.sum() / torch.tensor(expected)[y].sum())

    def test_every_loss_of_the_front_carries_them(self, npz: Path, tmp_path: Path) -> None:
        settings = settings_of(npz, recipe=BALANCE, objective={"record": ["balanced-accuracy"]})
        evolve(tmp_path / "study", settings)
        found = class_weights(read_loss_document(tmp_path / "study/best.json"))
        files = export_pareto(tmp_path / "study", tmp_path / "front")
        assert found is not None
        assert [class_weights(read_loss_document(file)) for file in files] == [found] * len(files)

    def test_without_weights_there_are_none(self, npz: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "study", settings_of(npz))
        assert class_weights(read_loss_document(tmp_path / "study/best.json")) is None

    @pytest.mark.parametrize("change", [BALANCE, {"class_weight": [1, 2.5, 7]}, {"sampling": "balanced"}])
    def test_they_change_what_is_found(self, npz: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        for name, recipe in (("plain", {}), ("study", change)):
            evolve(tmp_path / name, settings_of(npz, recipe={"lr": 0.3, **recipe}))
        plain, changed = rows(tmp_path / "plain"), rows(tmp_path / "study")
        # The same candidates, other networks.
        assert [row["genome"] for row in plain[:4]] == [row["genome"] for row in changed[:4]]
        assert [row["scores"] for row in plain[:4]] != [row["scores"] for row in changed[:4]]

    @pytest.mark.parametrize("change", [BALANCE, {"sampling": "balanced"}])
    def test_a_study_goes_on_as_if_never_stopped(self, npz: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        whole = evolve(tmp_path / "whole", settings_of(npz, recipe=change))
        evolve(tmp_path / "study", settings_of(npz, recipe=change, search={"generations": 1}))
        resumed = evolve(tmp_path / "study", settings_of(npz, recipe=change))
        assert rows(tmp_path / "study") == rows(tmp_path / "whole")
        assert resumed.loss == whole.loss
        with pytest.raises(InputError, match=r"has recipe\.(class_weight|sampling) = 'balanced', not"):
            evolve(tmp_path / "study", settings_of(npz))

    def test_a_study_that_was_begun_before_there_were_weights_goes_on(self, npz: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "study", settings_of(npz, search={"generations": 1}))
        file = tmp_path / "study/study.toml"
        lines = file.read_text().splitlines(keepends=True)
        old = [line for line in lines if not line.startswith(("class_weight", "sampling"))]
        assert len(old) == len(lines) - 2
        with Store(tmp_path / "study") as store:
            document = store.setting("settings")
            del document["recipe"]["class_weight"], document["recipe"]["sampling"]
            store.set("settings", document)
        file.write_text("".join(old))
        evolve(tmp_path / "study", settings_of(npz))
        evolve(tmp_path / "whole", settings_of(npz))
        assert rows(tmp_path / "study") == rows(tmp_path / "whole")

    def test_what_the_user_should_know_is_said_once(
        self, npz: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "lossmith"):
            evolve(tmp_path / "study", settings_of(npz, recipe={**BALANCE, "sampling": "balanced"}))
        assert sum("count twice over" in record.message for record in caplog.records) == 1

    def test_nothing_is_begun_with_weights_that_do_not_fit(self, npz: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="class_weight has 2 numbers, but the data has 3 classes"):
            evolve(tmp_path / "study", settings_of(npz, recipe={"class_weight": [1, 2]}))
        assert not (tmp_path / "study").exists()


OPTIONS = CompareSettings(
    seeds=2, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=1, rival=False
)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two baselines instead of all, since a test trains them all."""
    families = [Family("cross-entropy", (), lambda *_: cross_entropy()), fixed("MSE", mse(), baseline=True)]
    monkeypatch.setattr("lossmith.study.estimates.baselines", lambda: list(families))


@pytest.mark.usefixtures("few")
class TestComparison:
    def test_every_loss_is_trained_with_the_weights(
        self, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained: list[tuple[Any, int]] = []
        whole: Callable[..., Any] = Trainer.train

        def spy(self: Trainer, losses: Loss, seeds: Any, recipe: Recipe, *rest: Any, **named: Any) -> Any:
            trained.append((recipe.class_weight, len(losses)))
            return whole(self, losses, seeds, recipe, *rest, **named)

        monkeypatch.setattr(Trainer, "train", spy)
        options = OPTIONS.model_copy(update={"rival": True, "effort": "thorough"})
        search = {"population": 2, "generations": 1}
        compare_losses({"evolved": EVOLVED}, settings_of(npz, recipe=BALANCE, search=search), tmp_path / "out", options)
        assert {weight for weight, _ in trained} == {"balanced"}

    def test_comparisons_with_and_without_weights_are_kept_apart(self, npz: Path, tmp_path: Path) -> None:
        runs = []
        for recipe in ({}, BALANCE, BALANCE):
            settings = settings_of(npz, recipe={"lr": 0.3, **recipe})
            runs.append(compare_losses({"mine": mae()}, settings, tmp_path / "out", OPTIONS).to_json())
        assert json.dumps(runs[0]) != json.dumps(runs[1]) == json.dumps(runs[2])

    def test_what_is_left_of_a_loss_carries_them(self, npz: Path, tmp_path: Path) -> None:
        options = DistillSettings(
            seeds=2, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=1, margin=1.0
        )
        made = distill_loss(cross_entropy() + mae(), settings_of(npz, recipe=BALANCE), tmp_path / "out", options)
        found = class_weights(read_loss_document(made.path))
        assert found is not None
        assert len(set(found)) == CLASSES

    def test_the_key_of_a_comparison_is_as_it_was(self) -> None:
        settings, backend = EvolveSettings(), Backend("population")
        keys = {
            comparison.comparison_digest("0" * 64, settings, Plan(recipe=recipe, backend=backend))
            for recipe in (
                settings.recipe,
                *(settings.recipe.model_copy(update=change) for change in (BALANCE, {"sampling": "balanced"})),
            )
        }
        assert len(keys) == 3
        assert "c84aa2a893590d0b" in keys


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the pictures, which take long to be drawn."""
    monkeypatch.setattr(importlib.import_module("lossmith.report.figures"), "_rendered", lambda *_: b"a picture")


@pytest.mark.usefixtures("undrawn")
class TestCommands:
    TINY = (
        *("--train-size", "60", "--hidden", "4", "--epochs", "1", "--batch-size", "10", "--population", "4"),
        *("--generations", "1", "--finalists", "1", "--finalist-seeds", "2", "--no-tune", "--training", "population"),
    )

    def test_evolve(self, command: Callable[..., tuple[str, str]], npz: Path, tmp_path: Path) -> None:
        study = str(tmp_path / "study")
        out, _ = command("evolve", "--out", study, "--data", str(npz), *self.TINY, "--class-weight", "balanced")
        found = class_weights(read_loss_document(f"{study}/best.json"))
        assert f'lossmith.Criterion("{study}/best.json")' in out
        weight = Criterion(f"{study}/best.json").weight
        assert weight is not None
        torch.testing.assert_close(weight.double(), torch.tensor(found, dtype=torch.float64))
        assert 'class_weight = "balanced"' in Path(study, "study.toml").read_text()
        command("evolve", "--out", study, "--generations", "2", "--quiet")

    def test_numbers(self, command: Callable[..., tuple[str, str]], npz: Path, tmp_path: Path) -> None:
        study = str(tmp_path / "study")
        numbers = ["--class-weight", "1", "2.5", "1e1", "--sampling", "balanced"]
        command("evolve", "--out", study, "--data", str(npz), *self.TINY, *numbers, "--quiet")
        command("evolve", "--out", study, *numbers[4:], "--quiet")
        assert class_weights(read_loss_document(f"{study}/best.json")) == [1.0, 2.5, 10.0]
        _, err = command("evolve", "--out", study, "--class-weight", "1", "2", "3", code=2)
        assert "has recipe.class_weight = [1.0, 2.5, 10.0], not [1.0, 2.0, 3.0]" in err

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["heavy"], "--class-weight is wrong (it is ['heavy']): give"),
            (["1", "2", "x"], "--class-weight is wrong"),
            (["1", "2", "0"], "--class-weight is wrong"),
            (["1", "2", "-3"], "--class-weight is wrong"),
            (["1", "2", "nan"], "--class-weight is wrong"),
            ([], "--class-weight is wrong (it is []): give"),
            (["1", "2"], "class_weight has 2 numbers, but the data has 3 classes: give one for each"),
        ],
    )
    def test_what_is_refused(
        self, command: Callable[..., tuple[str, str]], npz: Path, tmp_path: Path, words: list[str], sentence: str
    ) -> None:
        for name in ("evolve", "compare"):
            losses = ["mse"] if name == "compare" else self.TINY
            out, err = command(
                name, *losses, "--out", str(tmp_path / "made"), "--data", str(npz), "--class-weight", *words, code=2
            )
            assert out == ""
            assert err.startswith(f"lossmith: {sentence}")
            assert len(err.splitlines()) == 1
            assert not (tmp_path / "made").exists()
