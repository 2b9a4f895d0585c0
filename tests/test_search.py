"""Spaces against the formulas of the theory, and CMA-ES by ask and tell: its replay, redraws and ranks."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from lossmith import Loss, PowerLoss, cross_entropy, mae, mse, taylor
from lossmith.losses import taylor_length
from lossmith.search import CMA, SearchSettings, VectorSpace, build_space, canonical, residual, smoothed_mae
from lossmith.search.engines.base import REDRAWS
from lossmith.search.spaces.terms import LARGEST_LOG_GAIN
from lossmith.theory import gain, is_trainable, margin

CLASSES = [2, 3, 10, 100]
Points = NDArray[np.float64]
Rule = Callable[[Tensor, Tensor, Sequence[Tensor], int], Tensor]


def points(count: int, dimensions: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def space_of(**settings: Any) -> VectorSpace:
    space = build_space(SearchSettings(**settings))
    assert isinstance(space, VectorSpace)
    return space


def outputs() -> tuple[Tensor, Tensor]:
    """A grid of h ∈ (0, 1] and y ∈ [0, 1]."""
    h = torch.linspace(0.02, 1, 25, dtype=torch.float64)
    h, y = torch.meshgrid(h, torch.linspace(0, 1, 11, dtype=torch.float64), indexing="ij")
    return h, y


def batch(n: int, soft: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    logits = 3 * torch.randn(40, n, dtype=torch.float64, generator=generator)
    labels = 2 * torch.randn(40, n, dtype=torch.float64, generator=generator)
    return logits, labels.softmax(1) if soft else torch.arange(40) % n


def assert_same_rule(first: Loss, second: Loss, n: int) -> None:
    for soft in (False, True):
        logits, targets = batch(n, soft)
        torch.testing.assert_close(
            first.logit_gradient(logits, targets), second.logit_gradient(logits, targets), rtol=1e-10, atol=1e-10
        )


RULES: dict[str, tuple[Callable[[Tensor, int], PowerLoss], int, Rule]] = {
    "residual": (
        residual,
        5,
        lambda h, y, x, n: y / h + x[0] / n / h + n / 2 * (x[1] * h + x[2] * h**2 + x[3] * h * y + x[4] * y),
    ),
    "canonical": (
        canonical,
        4,
        lambda h, y, x, n: n * x[0].exp() * (x[1] * h + x[2] * h**2 + x[3] * h * y + (1 - x[3] / n) * y),
    ),
    "canonical, gain fixed": (
        cast("Callable[[Tensor, int], PowerLoss]", space_of(space="canonical", gain="fixed").losses),
        3,
        lambda h, y, x, n: n * (x[0] * h + x[1] * h**2 + x[2] * h * y + (1 - x[2] / n) * y),
    ),
    "smoothed-mae": (
        smoothed_mae,
        2,
        lambda h, y, x, n: ((1 - x[0].sigmoid()) * y + x[0].sigmoid() / n) / h + x[1].exp() * y,
    ),
}


class TestFormulas:
    """γ of each space as theory §2 prints it."""

    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize("space", RULES)
    def test_gamma(self, space: str, n: int) -> None:
        build, dimensions, rule = RULES[space]
        theta = points(20, dimensions)
        losses = build(theta, n)
        assert losses.classes == n
        assert losses.shape == (20,)
        h, y = outputs()
        for member in range(20):
            expected = rule(h, y, theta[member].unbind(), n)
            torch.testing.assert_close(losses[member].gamma(h, y), expected, rtol=1e-11, atol=1e-11)
            assert build(theta[member], n) == losses[member]

    @pytest.mark.parametrize("space", RULES)
    def test_any_leading_dimensions_and_types(self, space: str) -> None:
        build, dimensions, _ = RULES[space]
        theta = points(6, dimensions).float()
        assert build(theta.reshape(2, 3, dimensions), 10).shape == (2, 3)
        assert build(theta, 10).coefficients.dtype == torch.float64
        assert torch.equal(
            build(theta.reshape(2, 3, dimensions), 10).coefficients.flatten(0, 1), build(theta, 10).coefficients
        )

    @pytest.mark.parametrize("order", [2, 3, 4])
    def test_taylor(self, order: int) -> None:
        space = space_of(space="taylor", order=order)
        theta = points(5, taylor_length(order))
        assert space.dimensions == taylor_length(order)
        assert space.losses(theta, 10) == space.build(theta.tolist(), 10) == taylor(theta, order)
        assert space.build(theta.tolist(), 10).classes is None


class TestResidual:
    @pytest.mark.parametrize("n", CLASSES)
    def test_origin_is_cross_entropy(self, n: int) -> None:
        origin = residual(torch.zeros(5), n)
        assert_same_rule(origin, cross_entropy(), n)
        logits, targets = batch(n, soft=False)
        expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        torch.testing.assert_close(origin.value(logits, targets), expected)

    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5, 0.9])
    def test_smoothing(self, alpha: float, n: int) -> None:
        loss = residual(torch.tensor([alpha / (1 - alpha), 0, 0, 0, 0], dtype=torch.float64), n)
        smoothed = cross_entropy().smoothed(alpha, n)
        assert_same_rule((1 - alpha) * loss, smoothed, n)
        logits, targets = batch(n, soft=False)
        torch.testing.assert_close((1 - alpha) * loss.value(logits, targets), smoothed.value(logits, targets))

    @pytest.mark.parametrize("n", CLASSES)
    def test_gain(self, n: int) -> None:
        theta = 3 * points(200, 5)
        expected = 1 + (theta[:, 4] + theta[:, 3] / n) / 2
        torch.testing.assert_close(gain(residual(theta, n), n), expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(is_trainable(residual(theta, n), n), expected > 0)
        assert not is_trainable(residual(theta, n), n).all()

    def test_linear(self) -> None:
        first, second = points(2, 5)
        middle = residual((first + second) / 2, 10)
        torch.testing.assert_close(
            middle.coefficients, (residual(first, 10).coefficients + residual(second, 10).coefficients) / 2
        )

    def test_mae_is_inside(self) -> None:
        """Cross-entropy + w·MAE has x4 = 2w/n."""
        assert_same_rule(
            residual(torch.tensor([0, 0, 0, 0, 2 * 0.7 / 10], dtype=torch.float64), 10),
            cross_entropy() + 0.7 * mae(),
            10,
        )


class TestCanonical:
    @pytest.mark.parametrize("n", CLASSES)
    def test_gain_and_shape(self, n: int) -> None:
        theta = points(100, 4)
        losses = canonical(theta, n)
        torch.testing.assert_close(gain(losses, n), theta[:, 0].exp(), rtol=1e-10, atol=0)
        known = dict(zip(losses.terms, losses.coefficients.unbind(-1), strict=True))
        m = margin(losses, n)
        for column, (term, factor) in enumerate([((2, 0, 0), 2), ((3, 0, 0), 3), ((2, 1, 0), 2)], start=1):
            shape = next(factor * c for found, c in known.items() if tuple(found) == term) / m
            torch.testing.assert_close(shape, theta[:, column], rtol=1e-9, atol=1e-9)

    @given(
        x0=st.floats(-1e6, 1e6),
        shape=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
        n=st.sampled_from(CLASSES),
    )
    def test_every_point_is_trainable(self, x0: float, shape: list[float], n: int) -> None:
        loss = canonical(torch.tensor([x0, *shape]), n)
        assert is_trainable(loss, n)
        limited = min(max(x0, -LARGEST_LOG_GAIN), LARGEST_LOG_GAIN)
        assert gain(loss, n).item() == pytest.approx(math.exp(limited), rel=1e-5)

    @pytest.mark.parametrize("n", CLASSES)
    def test_gain_fixed(self, n: int) -> None:
        space = space_of(space="canonical", gain="fixed")
        theta = points(50, 3)
        losses = space.losses(theta, n)
        torch.testing.assert_close(gain(losses, n), torch.ones(50, dtype=torch.float64), rtol=1e-12, atol=0)
        assert losses == canonical(torch.cat([torch.zeros(50, 1), theta], 1), n)

    @pytest.mark.parametrize("n", CLASSES)
    def test_mse_is_inside(self, n: int) -> None:
        """MSE: m = 2, ch = −2, the others 0."""
        theta = torch.tensor([math.log(2 / n), -1, 0, 0], dtype=torch.float64)
        assert_same_rule(canonical(theta, n), mse(), n)

    def test_published_mnist_loss_is_inside(self) -> None:
        """On hard labels a third-order Taylor loss is its point: theory §2, four numbers act."""
        lam = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513]
        m = margin(taylor(lam), 10).item()
        ch = 2 * lam[3] - 2 * lam[6] * lam[0] - 6 * lam[1] * lam[4]
        theta = torch.tensor([math.log(m / 10), ch / m, 3 * lam[4] / m, 2 * lam[6] / m], dtype=torch.float64)
        logits, targets = batch(10, soft=False)
        torch.testing.assert_close(
            canonical(theta, 10).logit_gradient(logits, targets),
            taylor(lam).logit_gradient(logits, targets),
            rtol=1e-9,
            atol=1e-9,
        )


class TestSmoothedMae:
    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize(("alpha", "weight"), [(0.1, 1.0), (0.5, 0.01), (0.9, 20.0)])
    def test_is_its_name(self, alpha: float, weight: float, n: int) -> None:
        theta = torch.tensor([math.log(alpha / (1 - alpha)), math.log(weight)], dtype=torch.float64)
        loss, expected = smoothed_mae(theta, n), cross_entropy().smoothed(alpha, n) + weight * mae()
        assert_same_rule(loss, expected, n)
        logits, targets = batch(n, soft=False)
        torch.testing.assert_close(loss.value(logits, targets), expected.value(logits, targets))
        assert gain(loss, n).item() == pytest.approx(1 - alpha + weight / n)

    def test_far_out(self) -> None:
        losses = smoothed_mae(torch.tensor([[1e6, 1e6], [-1e6, -1e6], [1e6, -1e6]]), 10)
        assert losses.coefficients.isfinite().all()
        assert losses.coefficients[1, :2].tolist() == [1.0, 0.0]


class TestBuildSpace:
    @pytest.mark.parametrize(
        ("settings", "start", "sigma"),
        [
            ({}, (0.0,) * 5, 0.5),
            ({"space": "residual"}, (0.0,) * 5, 0.5),
            ({"space": "canonical"}, (0.0, -1.0, 0.0, 0.0), 0.6),
            ({"space": "canonical", "gain": "fixed"}, (-1.0, 0.0, 0.0), 0.6),
            ({"space": "taylor"}, (0.0,) * 8, 1.2),
            ({"space": "taylor", "order": 2}, (0.0,) * 5, 1.2),
            ({"space": "smoothed-mae"}, (0.0, 1.0), 1.0),
        ],
    )
    def test_starts(self, settings: dict[str, Any], start: tuple[float, ...], sigma: float) -> None:
        space = space_of(**settings)
        assert (space.start, space.sigma, space.dimensions) == (start, sigma, len(start))
        assert len(space.build([list(start), list(start)], 10)) == 2

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("population", "12"),
            ("population", True),
            ("population", 1),
            ("generations", 0),
            ("generations", 2.0),
            ("order", 1),
            ("order", 9),
            ("sigma", 0),
            ("sigma", "1"),
            ("sigma", math.inf),
            ("sigma", math.nan),
            ("lr_adapt", 1),
            ("lr_adapt", "true"),
            ("space", "polynomial"),
            ("space", None),
            ("engine", "optuna"),
            ("engine", 1),
            ("gain", "one"),
            ("invariant", "both"),
            ("untrainable", "skip"),
            ("seed", "0"),
            ("seed", 0.0),
            ("populations", 20),
        ],
    )
    def test_refused_by_name(self, key: str, value: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            SearchSettings(**{key: value})
        assert {error["loc"][0] for error in caught.value.errors()} == {key}


def always(point: Points) -> bool:
    return True


def never(point: Points) -> bool:
    return False


def quadratic(asked: Points) -> list[float | None]:
    """Highest, 0, at (0.3, −0.7, 0.3, −0.7 …)."""
    target = np.resize([0.3, -0.7], asked.shape[1])
    return [-float(value) for value in ((asked - target) ** 2).sum(1)]


class Arrays:
    """CMA-ES whose genomes are rows of arrays."""

    def __init__(self, engine: CMA) -> None:
        self.engine = engine

    def ask(self, accept: Callable[[Points], bool]) -> tuple[Points, list[int]]:
        asked, redrawn = self.engine.ask(lambda genome: accept(np.array(genome)))
        return np.array(asked), redrawn

    def tell(self, asked: Points, fitness: Sequence[float | None]) -> None:
        self.engine.tell(asked.tolist(), fitness)

    @property
    def mean(self) -> Points:
        return np.array(self.engine.mean)

    @property
    def generation(self) -> int:
        return self.engine.generation


def optimizer(**settings: Any) -> Arrays:
    chosen = SearchSettings(**settings)
    return Arrays(CMA(build_space(chosen), chosen))


def advanced(search: Arrays, generations: int) -> list[Points]:
    told = []
    for _ in range(generations):
        asked, _ = search.ask(always)
        search.tell(asked, quadratic(asked))
        told.append(asked)
    return told


class TestCMA:
    @pytest.mark.parametrize("lr_adapt", [False, True])
    @pytest.mark.parametrize("space", ["residual", "canonical", "taylor", "smoothed-mae"])
    def test_maximizes(self, space: Any, lr_adapt: bool) -> None:
        search = optimizer(space=space, population=20, lr_adapt=lr_adapt)
        start = quadratic(search.mean[None])[0]
        advanced(search, 80)
        end = quadratic(search.mean[None])[0]
        assert start is not None
        assert end is not None
        assert start < -0.5
        assert end > -0.01
        assert search.generation == 80

    @pytest.mark.parametrize("lr_adapt", [False, True])
    @pytest.mark.parametrize("generations", [1, 2, 7, 20])
    def test_replay(self, generations: int, lr_adapt: bool) -> None:
        settings = {"population": 12, "seed": 5, "lr_adapt": lr_adapt}
        first, second = optimizer(**settings), optimizer(**settings)
        for asked in advanced(first, generations):
            second.tell(asked, quadratic(asked))
        assert np.array_equal(first.mean, second.mean)
        assert np.array_equal(first.ask(always)[0], second.ask(always)[0])
        for asked in advanced(first, 3):
            again, _ = second.ask(always)
            assert np.array_equal(again, asked)
            second.tell(again, quadratic(again))

    def test_learning_rate_adapts(self) -> None:
        plain, adapting = optimizer(), optimizer(lr_adapt=True)
        advanced(plain, 3)
        advanced(adapting, 3)
        assert not np.allclose(plain.mean, adapting.mean)

    def test_replay_with_redraws_and_failures(self) -> None:
        def accept(point: Points) -> bool:
            return bool(point[0] > -0.2)

        def score(asked: Points) -> list[float | None]:
            return [None if point[1] < 0 else -float(point @ point) for point in asked]

        first, second, third = (optimizer(population=10, seed=5) for _ in range(3))
        for _ in range(6):
            asked, redrawn = first.ask(accept)
            again, counts = second.ask(accept)
            assert np.array_equal(asked, again)
            assert redrawn == counts
            first.tell(asked, score(asked))
            second.tell(again, score(again))
            third.tell(asked, score(asked))
        assert np.array_equal(first.ask(accept)[0], second.ask(accept)[0])
        assert np.array_equal(first.ask(accept)[0], third.ask(accept)[0])

    def test_points_that_differ_in_the_last_place(self) -> None:
        """Another machine's points: what is told counts, not what was asked."""
        first, second = optimizer(population=10), optimizer(population=10)
        asked, _ = first.ask(always)
        near = asked * (1 + 1e-15)
        first.tell(near, quadratic(asked))
        second.tell(near, quadratic(asked))
        assert np.array_equal(first.ask(always)[0], second.ask(always)[0])

    def test_reseeded_before_each_generation(self) -> None:
        search = optimizer(population=6)
        once, twice = search.ask(always)[0], search.ask(always)[0]
        assert np.array_equal(once, twice)
        search.ask(never)
        assert np.array_equal(search.ask(always)[0], once)
        search.tell(once, [0.0] * 6)
        later = search.ask(always)[0]
        assert not np.allclose(later - search.mean, once - 0)
        assert np.array_equal(optimizer(population=6).ask(always)[0], once)
        assert not np.array_equal(optimizer(population=6, seed=1).ask(always)[0], once)

    def test_draws_of_generations_are_unrelated(self) -> None:
        """Without a step of the distribution the points of two generations still differ."""
        space = VectorSpace((0.0,) * 3, 1e-6, residual)
        search = Arrays(CMA(space, SearchSettings(population=6)))
        first = search.ask(always)[0]
        search.engine.generation = 1
        assert not np.array_equal(search.ask(always)[0], first)

    def test_global_generators_are_left_alone(self) -> None:
        before = repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002 - nothing may use it
        advanced(optimizer(population=6), 2)
        assert (repr(np.random.get_state()), torch.get_rng_state().tolist()) == before  # noqa: NPY002

    def test_shapes(self) -> None:
        for population in (2, 3, 4, 20):
            search = optimizer(population=population)
            asked, redrawn = search.ask(always)
            assert asked.shape == (population, 5)
            assert asked.dtype == np.float64
            assert redrawn == [0] * population
            assert search.mean.tolist() == [0.0] * 5
            advanced(search, 30)
            assert np.isfinite(search.mean).all()
            assert np.abs(search.mean).max() > 0

    def test_spread_of_the_first_generation(self) -> None:
        asked, _ = optimizer(population=2000, sigma=0.3).ask(always)
        assert asked.std(0).tolist() == pytest.approx([0.3] * 5, rel=0.1)
        assert asked.mean(0).tolist() == pytest.approx([0.0] * 5, abs=0.03)


class TestRanks:
    @pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf, -1e300])
    @pytest.mark.parametrize("lr_adapt", [False, True])
    def test_missing_fitness_ranks_last(self, missing: float | None, lr_adapt: bool) -> None:
        first, second = optimizer(population=10, lr_adapt=lr_adapt), optimizer(population=10, lr_adapt=lr_adapt)
        for _ in range(4):
            asked, _ = first.ask(always)
            scores = quadratic(asked)
            first.tell(asked, [missing if k in (2, 5, 9) else score for k, score in enumerate(scores)])
            second.tell(asked, [-1e9 if k in (2, 5, 9) else score for k, score in enumerate(scores)])
        assert np.array_equal(first.ask(always)[0], second.ask(always)[0])

    def test_it_is_the_last_and_not_the_first(self) -> None:
        search = optimizer(population=10)
        asked, _ = search.ask(always)
        search.tell(asked, [None if point[0] > 0 else 0.0 for point in asked])
        assert search.mean[0] < 0

    def test_only_ranks_count(self) -> None:
        first, second = optimizer(population=10), optimizer(population=10)
        asked, _ = first.ask(always)
        scores = quadratic(asked)
        first.tell(asked, scores)
        second.tell(asked, [math.exp(score) + 7 for score in scores if score is not None])
        assert np.array_equal(first.mean, second.mean)

    @pytest.mark.parametrize("scores", [[None] * 8, [0.5] * 8], ids=["none", "equal"])
    def test_nothing_to_choose_from(self, scores: list[float | None]) -> None:
        search = optimizer(population=8)
        for _ in range(50):
            asked, _ = search.ask(always)
            assert np.isfinite(asked).all()
            search.tell(asked, scores)
        assert np.isfinite(search.mean).all()


class TestRedraws:
    def test_counts_and_acceptance(self) -> None:
        seen: list[bool] = []

        def accept(point: Points) -> bool:
            seen.append(bool(point[0] > 0.3))
            return seen[-1]

        search = optimizer(population=15)
        for _ in range(4):
            seen.clear()
            asked, redrawn = search.ask(accept)
            assert (asked[:, 0] > 0.3).all()
            assert sum(redrawn) == seen.count(False) > 0
            assert seen.count(True) == 15
            counts, current = [], 0
            for good in seen:
                current += not good
                if good:
                    counts.append(current)
                    current = 0
            assert redrawn == counts
            search.tell(asked, [-float(point @ point) for point in asked])

    def test_accepted_points_are_not_moved_before_the_first_rejection(self) -> None:
        free = optimizer(population=6).ask(always)[0]
        rejected = [free[3].tolist()]

        def accept(point: Points) -> bool:
            return point.tolist() not in rejected

        asked, redrawn = optimizer(population=6).ask(accept)
        assert redrawn == [0, 0, 0, 1, 0, 0]
        assert np.array_equal(asked[:3], free[:3])
        assert np.array_equal(asked[3:5], free[4:])

    def test_no_end(self) -> None:
        calls: list[int] = []

        def accept(point: Points) -> bool:
            calls.append(1)
            return False

        asked, redrawn = optimizer(population=3).ask(accept)
        assert redrawn == [REDRAWS] * 3
        assert len(calls) == 3 * REDRAWS
        assert np.isfinite(asked).all()

    def test_the_invariant(self) -> None:
        """As the study draws: every point of the generation is trainable, where a half would not be."""
        space = build_space(SearchSettings(space="taylor"))

        def accept(point: Points) -> bool:
            return bool(is_trainable(space.build([point.tolist()], 10), 10))

        asked, redrawn = optimizer(space="taylor", population=12).ask(accept)
        assert is_trainable(space.build(asked.tolist(), 10), 10).all()
        assert sum(redrawn) > 0
