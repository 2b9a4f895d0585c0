"""The training recipe: schedules against PyTorch's own, lengths, what it refuses, the optimisers that it stands for."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lossmith.training import Recipe
from lossmith.training.recipe import build_optimizer

LENGTHS = [1, 2, 3, 4, 7, 10, 64, 201]


def optimizer(lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)


def followed(scheduler: torch.optim.lr_scheduler.LRScheduler, total: int) -> list[float]:
    """Learning rates of the batches 0 … total−1 under one of PyTorch's schedulers."""
    rates = []
    for _ in range(total):
        rates.append(float(scheduler.get_last_lr()[0]))
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def rates(recipe: Recipe, total: int) -> list[float]:
    return [recipe.rate(step, total) for step in range(total)]


class TestRate:
    @pytest.mark.parametrize("total", LENGTHS)
    def test_constant(self, total: int) -> None:
        assert rates(Recipe(lr=0.3), total) == [0.3] * total

    @pytest.mark.parametrize("total", LENGTHS)
    @pytest.mark.parametrize(
        ("milestones", "decay"),
        [((0.5, 0.75), 0.1), ((0.3, 0.6, 0.9), 0.5), ((0.25,), 0.2), ((), 0.1), ((0.75, 0.5), 0.1), ((0.5, 0.5), 0.1)],
    )
    def test_step(self, milestones: tuple[float, ...], decay: float, total: int) -> None:
        recipe = Recipe(lr=0.3, schedule="step", milestones=milestones, decay=decay)
        places = sorted(round(share * total) for share in milestones)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer(0.3), [place for place in places if place], decay)
        # PyTorch's scheduler leaves out a milestone at 0.
        at_once = decay ** places.count(0)
        expected = [rate * at_once for rate in followed(scheduler, total)]
        assert rates(recipe, total) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("total", LENGTHS)
    def test_cosine(self, total: int) -> None:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(0.3), total)
        expected = followed(scheduler, total)
        assert rates(Recipe(lr=0.3, schedule="cosine"), total) == pytest.approx(expected, rel=1e-10, abs=1e-15)

    @pytest.mark.parametrize("total", LENGTHS)
    def test_one_cycle(self, total: int) -> None:
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer(0.3), 0.3, total, cycle_momentum=False)
        expected = followed(scheduler, total)
        assert rates(Recipe(lr=0.3, schedule="one-cycle"), total) == pytest.approx(expected, rel=1e-10, abs=1e-15)

    @given(
        schedule=st.sampled_from(["constant", "step", "cosine", "one-cycle"]),
        total=st.integers(1, 5000),
        share=st.floats(0, 1),
    )
    def test_between_nothing_and_the_highest(self, schedule: Any, total: int, share: float) -> None:
        rate = Recipe(lr=0.3, schedule=schedule).rate(round(share * (total - 1)), total)
        assert 0 < rate <= 0.3 * (1 + 1e-12)

    def test_shapes(self) -> None:
        total = 100
        step, cosine, cycle = (
            rates(Recipe(lr=0.3, schedule=schedule), total) for schedule in ("step", "cosine", "one-cycle")
        )
        assert [len(set(step)), step[49], step[50], step[75]] == pytest.approx([3, 0.3, 0.03, 0.003])
        assert cosine[0] == 0.3
        assert cosine == sorted(cosine, reverse=True)
        assert max(cycle) == cycle[29] == pytest.approx(0.3)
        assert cycle[:30] == sorted(cycle[:30])
        assert cycle[29:] == sorted(cycle[29:], reverse=True)
        assert [cycle[0], cycle[-1]] == pytest.approx([0.3 / 25, 0.3 / 25e4])


class TestLength:
    @pytest.mark.parametrize(
        ("samples", "batch_size", "expected"), [(100, 10, 10), (109, 10, 10), (110, 10, 11), (9, 10, 1), (10, 10, 1)]
    )
    def test_steps_per_epoch(self, samples: int, batch_size: int, expected: int) -> None:
        recipe = Recipe(epochs=3, batch_size=batch_size)
        assert recipe.steps_per_epoch(samples) == expected
        assert recipe.total_steps(samples) == 3 * expected

    def test_steps_stand_instead_of_epochs(self) -> None:
        assert Recipe(epochs=3, steps=7, batch_size=10).total_steps(100) == 7


class TestValidation:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *((key, value) for key in ("epochs", "batch_size", "steps") for value in ("12", True, 2.0, 0, -1, [3])),
            *((key, value) for key in ("lr", "clip") for value in ("0.1", True, 0, -0.1, math.nan, math.inf)),
            *(("weight_decay", value) for value in ("0.1", True, -0.1, math.nan, math.inf)),
            *(("momentum", value) for value in ("0.9", False, -0.1, 1, 1.5, math.nan)),
            *(("decay", value) for value in ("0.1", True, 0, 1, math.nan)),
            *(
                ("milestones", value)
                for value in ("0.5", 0.5, (True,), ("0.5",), (math.nan,), (math.inf,), (1.5,), (-0.5,))
            ),
            *(("optimizer", value) for value in ("SGD", "adam", "", None, 1)),
            *(("schedule", value) for value in ("linear", "one_cycle", None)),
            *((key, None) for key in ("lr", "epochs", "batch_size", "milestones")),
            *((key, 1) for key in ("learning_rate", "warmup", "lr ")),
        ],
    )
    def test_refused_by_name(self, key: str, value: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            Recipe(**{key: value})
        assert {error["loc"][0] for error in caught.value.errors()} == {key}

    def test_taken(self) -> None:
        recipe = Recipe.model_validate(
            {"optimizer": "adamw", "lr": 1, "milestones": [0, 0.5, 1], "clip": None, "steps": None, "momentum": 0}
        )
        assert recipe.lr == 1.0
        assert recipe.milestones == (0.0, 0.5, 1.0)
        assert Recipe.model_validate(recipe.model_dump()) == recipe
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe

    def test_frozen(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            Recipe().lr = 1.0  # type: ignore[misc]

    def test_every_setting_is_described(self) -> None:
        assert all(field.description for field in Recipe.model_fields.values())


class TestOptimizer:
    def test_kinds(self) -> None:
        leaves = [torch.zeros(2, requires_grad=True), torch.zeros((), requires_grad=True)]
        adamw = build_optimizer(Recipe(optimizer="adamw", lr=0.3, momentum=0.8, weight_decay=0.02), leaves)
        assert type(adamw) is torch.optim.AdamW
        wanted: dict[str, Any] = {
            "lr": 0.3,
            "betas": (0.8, 0.999),
            "weight_decay": 0.02,
            "amsgrad": False,
            "fused": True,
        }
        assert {name: adamw.defaults[name] for name in wanted} == wanted

    @pytest.mark.parametrize("momentum", [0.0, 0.8])
    @pytest.mark.parametrize("decay", [0.0, 0.02])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
    def test_sgd_is_that_of_pytorch_to_the_bit(self, momentum: float, decay: float, dtype: torch.dtype) -> None:
        """Weights and what is kept, with a leaf that has no gradient and a rate that changes."""
        generator = torch.Generator().manual_seed(0)
        ours, theirs = ([torch.ones(3, 2, dtype=dtype, requires_grad=True) for _ in range(3)] for _ in range(2))
        sgd = build_optimizer(Recipe(lr=0.3, momentum=momentum, weight_decay=decay), iter(ours))
        assert not isinstance(sgd, torch.optim.Optimizer)
        fused = dtype.is_floating_point or None
        reference = torch.optim.SGD(theirs, 0.3, momentum, weight_decay=decay, fused=fused)
        for step in range(6):
            for one in (sgd, reference):
                one.zero_grad()
                one.param_groups[0]["lr"] = 0.3 / (1 + step)
            for own, other in zip(ours[:2], theirs, strict=False):
                gradient = torch.randn(3, 2, generator=generator, dtype=dtype)
                own.grad, other.grad = gradient, gradient.clone()
            sgd.step()
            reference.step()
            for own, other in zip(ours, theirs, strict=True):
                assert own.equal(other)
                for name, kept in reference.state[other].items():
                    assert (kept is None and sgd.state[own][name] is None) or sgd.state[own][name].equal(kept)
        assert [bool((leaf == 1).all()) for leaf in ours] == [False, False, True]

    @pytest.mark.parametrize("name", ["sgd", "adamw"])
    def test_fused_steps_are_the_ordinary_ones(self, name: Any) -> None:
        recipe = Recipe(optimizer=name, lr=0.1, weight_decay=0.05)
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        fused, ordinary = (start.clone().requires_grad_() for _ in range(2))
        reference: torch.optim.Optimizer = (
            torch.optim.SGD([ordinary], 0.1, momentum=0.9, weight_decay=0.05, foreach=False)
            if name == "sgd"
            else torch.optim.AdamW([ordinary], 0.1, betas=(0.9, 0.999), weight_decay=0.05, foreach=False)
        )
        optimizer = build_optimizer(recipe, [fused])
        for _ in range(5):
            gradient = torch.randn(5, 3, generator=generator, dtype=torch.float64)
            fused.grad, ordinary.grad = gradient.clone(), gradient
            optimizer.step()
            reference.step()
        torch.testing.assert_close(fused, ordinary, rtol=1e-12, atol=1e-12)
        assert (fused - start).abs().min() > 0
