"""The fair comparison: its statistics, its baselines, and its tuning against known landscapes of accuracy."""

import functools
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, special, stats
from torch import Tensor, nn

from lossmith.analysis import BASELINES, Axis, Comparison, Family, Plan, RunOff, compare, fixed, learning_rates
from lossmith.analysis.curves import LONGEST
from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss, Term, bootstrapping, cross_entropy, mae, mse
from lossmith.metrics.calibration import calibration_error, negative_log_likelihood, temperature, tempered
from lossmith.metrics.statistics import holm, welch
from lossmith.seeds import derive
from lossmith.training import Backend, Job, Local, Outcome, Recipe, Task, Trained, Work, accuracy, repeated, train

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=30)


class TestWelch:
    @pytest.mark.parametrize("sizes", [(2, 2), (10, 30), (5, 3)])
    def test_against_scipy(self, sizes: tuple[int, int]) -> None:
        rng = np.random.default_rng(sum(sizes))
        first, second = rng.normal(0.9, 0.01, sizes[0]).tolist(), rng.normal(0.89, 0.03, sizes[1]).tolist()
        found = welch(first, second)
        known = stats.ttest_ind(first, second, equal_var=False)
        assert found.p == pytest.approx(stats.ttest_ind(first, second, equal_var=False, alternative="greater").pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval(0.95)))

    def test_by_hand(self) -> None:
        """Means 4 and 2, variances 2.5 and 4, n 5 and 3, by Welch's own formulas."""
        first, second = [2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 2.0, 4.0]
        a, b = 2.5 / 5, 4 / 3
        freedom = (a + b) ** 2 / (a**2 / 4 + b**2 / 2)
        half = stats.t.ppf(0.975, freedom) * math.sqrt(a + b)
        found = welch(first, second)
        assert found.difference == pytest.approx(2)
        assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
        assert found.p == pytest.approx(stats.t.sf(2 / math.sqrt(a + b), freedom))

    def test_p_is_one_tailed(self) -> None:
        first, second = [0.9, 0.91, 0.92], [0.8, 0.82, 0.81]
        assert welch(first, second).p < 0.01
        assert welch(second, first).p > 0.99
        assert welch(first, first).p == pytest.approx(0.5)

    @pytest.mark.parametrize(("first", "second", "p"), [(0.9, 0.8, 0.0), (0.8, 0.8, 0.5), (0.7, 0.8, 1.0)])
    def test_without_spread(self, first: float, second: float, p: float) -> None:
        found = welch([first] * 4, [second] * 3)
        assert found.p == p
        assert found.low == found.difference == found.high == pytest.approx(first - second)

    def test_spread_in_one_sample_only(self) -> None:
        """As for a baseline of which every network diverged: its accuracy is 0 each time."""
        found = welch([0.9, 0.91, 0.89, 0.9], [0.0] * 4)
        assert found.p < 1e-6
        assert found.low < 0.9 < found.high
        assert welch([0.3] * 4, [0.9, 0.91, 0.89, 0.9]).p > 1 - 1e-6


class TestHolm:
    def test_by_hand(self) -> None:
        """0.01·4, 0.02·3, then 0.03·2 raised to what came before, then 0.5·1."""
        assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
        assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
        assert holm([0.7, 0.6]) == [1, 1]
        assert holm([0.2]) == [0.2]
        assert holm([]) == []

    @given(probabilities)
    def test_never_below_the_raw_value_and_never_above_one(self, values: list[float]) -> None:
        corrected = holm(values)
        assert all(raw <= value <= 1 for raw, value in zip(values, corrected, strict=True))

    @given(probabilities)
    def test_the_order_is_kept_and_equal_values_stay_equal(self, values: list[float]) -> None:
        pairs = sorted(zip(values, holm(values), strict=True))
        assert all(low <= high for (_, low), (_, high) in itertools.pairwise(pairs))
        assert len(set(pairs)) == len(set(values))

    @given(st.data(), probabilities)
    def test_positions_belong_to_the_values(self, data: st.DataObject, values: list[float]) -> None:
        order = data.draw(st.permutations(range(len(values))))
        corrected = holm(values)
        assert holm([values[place] for place in order]) == [corrected[place] for place in order]

    @given(probabilities, st.integers(0, 29), st.floats(0, 1))
    def test_monotone_in_each_value(self, values: list[float], place: int, other: float) -> None:
        place %= len(values)
        low, high = sorted((values[place], other))
        before = holm([*values[:place], low, *values[place + 1 :]])
        after = holm([*values[:place], high, *values[place + 1 :]])
        assert all(x <= y for x, y in zip(before, after, strict=True))


def logits_of(outputs: Sequence[float]) -> NDArray[np.float64]:
    """Logits of two classes whose softmax gives these outputs of class 0."""
    first = np.array(outputs)
    return np.stack([np.log(first), np.log1p(-first)], 1)


def calibrated(samples: int, classes: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits whose softmax is the distribution that the targets are drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (samples, classes))
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits + noise).argmax(1)


class TestCalibration:
    def test_nll_is_torch_cross_entropy(self) -> None:
        logits = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 20
        targets = torch.arange(50) % 7
        expected = nn.functional.cross_entropy(logits, targets).item()
        assert negative_log_likelihood(logits.numpy(), targets.numpy()) == pytest.approx(expected, rel=1e-12)

    def test_nll_at_extreme_logits(self) -> None:
        logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
        assert negative_log_likelihood(logits, np.array([0, 1])) == 0
        assert negative_log_likelihood(logits, np.array([0, 0])) == 1e4

    def test_calibration_error_by_hand(self) -> None:
        """Outputs .95 (right), .85 (wrong), .65 (right) and .65 (wrong): gaps .05, .85 and |1 − 1.3| over 4."""
        logits, targets = logits_of([0.95, 0.85, 0.65, 0.65]), np.array([0, 1, 0, 1])
        assert calibration_error(logits, targets) == pytest.approx((0.05 + 0.85 + 0.3) / 4)

    def test_calibration_error_of_certain_outputs(self) -> None:
        logits = np.array([[1e4, -1e4]] * 4)
        assert calibration_error(logits, np.array([0, 0, 0, 0])) == 0
        assert calibration_error(logits, np.array([0, 0, 0, 1])) == pytest.approx(0.25)

    def test_calibrated_outputs_have_a_small_error(self) -> None:
        logits, targets = calibrated(20_000, 4, 1)
        assert calibration_error(logits, targets) < 0.015
        assert calibration_error(logits * 4, targets) > 0.1

    @pytest.mark.parametrize("known", [0.1, 0.5, 1.0, 3.0, 40.0])
    def test_temperature_that_was_put_in_is_found(self, known: float) -> None:
        logits, targets = calibrated(20_000, 5, 2)
        assert temperature(logits * known, targets) == pytest.approx(known, rel=0.05)

    def test_temperature_minimizes_the_likelihood(self) -> None:
        logits, targets = calibrated(300, 3, 3)
        found = temperature(logits * 2.5, targets)
        best = negative_log_likelihood(logits * 2.5 / found, targets)
        for other in np.exp(np.linspace(-4, 4, 81)):
            assert best <= negative_log_likelihood(logits * 2.5 / other, targets) + 1e-9

    @pytest.mark.parametrize("exponent", [-300, -8, -4, -2, 0, 2, 4, 8, 290])
    def test_temperature_follows_the_scale_of_the_logits(self, exponent: int) -> None:
        logits, targets = calibrated(500, 5, 2)
        right, scale = temperature(logits, targets), 10.0**exponent
        found = temperature(logits * scale, targets)
        assert found == pytest.approx(right * scale, rel=1e-4)
        best = negative_log_likelihood(logits / right, targets)
        assert negative_log_likelihood(logits * scale / found, targets) == pytest.approx(best, abs=1e-8)

    def test_temperature_of_usual_logits_is_that_of_older_versions(self) -> None:
        logits, targets = calibrated(200, 4, 7)
        search = optimize.minimize_scalar(
            lambda log: negative_log_likelihood(logits * np.exp(-log), targets), bounds=(-6, 6), method="bounded"
        )
        assert temperature(logits, targets) == np.exp(search.x)

    @pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
    def test_temperature_at_its_limits(self, scale: float) -> None:
        """All right: the surest outputs are best. Worse than nothing: equal outputs are. Equal ones stay."""
        logits = np.array([[2.0, -1.0, 0.0], [1.0, 3.0, 0.0]]) * scale
        assert temperature(logits, np.array([0, 1])) == 0
        assert temperature(logits, np.array([1, 0])) == math.inf
        assert temperature(np.full((2, 3), scale), np.array([0, 1])) == 1

    def test_logits_at_the_limits(self) -> None:
        logits, targets = np.array([[2.0, -1.0], [1.0, 3.0], [0.0, 1.0], [0.0, 4.0]]), np.array([0, 1, 1, 0])
        assert calibration_error(tempered(logits, 0.0), targets) == 0.25
        assert negative_log_likelihood(tempered(logits, 0.0), targets) == math.inf
        assert negative_log_likelihood(tempered(logits, 0.0)[:3], targets[:3]) == 0
        assert negative_log_likelihood(tempered(logits, math.inf), targets) == pytest.approx(math.log(2))

    @pytest.mark.parametrize("wrong", [math.nan, math.inf])
    def test_temperature_of_what_is_no_number(self, wrong: float) -> None:
        with pytest.raises(InputError, match="a logit is not a finite number"):
            temperature(np.array([[wrong, 0.0], [0.0, 1.0]]), np.array([0, 1]))

    def test_temperature_leaves_the_accuracy(self) -> None:
        logits, targets = calibrated(200, 3, 4)
        scaled = special.softmax(logits / temperature(logits, targets), axis=1)
        assert (scaled.argmax(1) == logits.argmax(1)).all()


def some_logits(samples: int, classes: int, seed: int = 5, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, dtype=torch.float64, generator=generator) * scale
    return logits, torch.arange(samples) % classes


class TestBootstrapping:
    @given(st.floats(0, 1), st.integers(2, 6), st.integers(0, 100))
    def test_bootstrapping_is_its_formula(self, beta: float, classes: int, seed: int) -> None:
        """``−Σ (β y + (1−β) h) log h`` and what autograd and the derivation make of it."""
        logits, targets = some_logits(3 * classes, classes, seed)
        logits.requires_grad_(True)
        h, y = logits.softmax(1), nn.functional.one_hot(targets, classes)
        expected = -((beta * y + (1 - beta) * h) * h.log()).sum(1)
        (slope,) = torch.autograd.grad(expected.sum(), logits)
        logits, h, expected = logits.detach(), h.detach(), expected.detach()
        entropy = -(h * h.log()).sum(1, keepdim=True)
        loss = bootstrapping(beta)
        torch.testing.assert_close(loss.value(logits, targets), expected)
        torch.testing.assert_close(loss.value(logits, y.double()), expected)
        torch.testing.assert_close(loss.logit_gradient(logits, targets), slope)
        torch.testing.assert_close(slope, beta * (h - y) - (1 - beta) * h * (h.log() + entropy))

    def test_bootstrapping_rewards_confidence_in_a_wrong_label(self) -> None:
        """A network that is sure and contradicts the label is pushed towards it less than by cross-entropy."""
        logits, targets = torch.tensor([[3.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([1])
        label = bootstrapping(0.5).logit_gradient(logits, targets)[0, 1]
        assert 0 > label > cross_entropy().logit_gradient(logits, targets)[0, 1]
        torch.testing.assert_close(
            bootstrapping(1).logit_gradient(logits, targets), cross_entropy().logit_gradient(logits, targets)
        )
        assert bootstrapping(0).logit_gradient(logits, targets)[0, 0] < 0

    def test_soft_bootstrapping_is_in_the_grid(self) -> None:
        family = BASELINES["soft bootstrapping"]
        (axis,) = family.axes
        for place in range(axis.lowest, axis.highest + 1):
            assert family.build(family.strengths((place,)), 3) == bootstrapping(axis.value(place))
        assert axis.value(axis.first) == 0.5

    def test_learning_rates(self) -> None:
        axis = learning_rates(0.08)
        assert [axis.value(place) for place in range(axis.first, axis.last + 1)] == [0.01, 0.02, 0.04, 0.08, 0.16]
        assert (axis.value(axis.lowest), axis.value(axis.highest)) == (0.08 / 256, 0.08 * 64)

    def test_text_of_strengths(self) -> None:
        both = BASELINES["label smoothing + MAE"]
        assert both.describe((0, 3)) == "α = 0.5, weight = 8"
        assert fixed("mine", mse()).describe(()) == ""
        assert fixed("mine", mse(), text="w = 2").describe(()) == "w = 2"
        assert not fixed("mine", mse()).baseline


# Landscapes: the accuracy of a network is a known function of its loss, learning rate and epoch.

LR, EPOCHS, CLASSES = 0.1, 8, 2
VALIDATION = (torch.zeros(1000, 1), torch.arange(1000) % CLASSES)
TEST = (torch.ones(500, 1), torch.arange(500) % CLASSES)
KINDS = {Term(0, 1, 1): "first", Term(1, 1, 0): "second", Term(2, 0, 0): "given", Term(0, 0, 1): "third"}


def loss_of(kind: str, strength: float) -> Loss:
    """A loss of one term, the strength of which can be read off its coefficient."""
    term = next(term for term, name in KINDS.items() if name == kind)
    return PowerLoss((term,), torch.tensor([2.0**strength], dtype=torch.float64), None, f"{kind} {strength:g}")


def family_of(kind: str, axis: Axis | None = None, baseline: bool = True) -> Family:
    if axis is None:
        return fixed(kind, loss_of(kind, 0), baseline)
    return Family(kind, (axis,), lambda strengths, _: loss_of(kind, strengths[0]), baseline)


AXIS = Axis("s", float, 0, 4, -3, 8)


@dataclass(frozen=True)
class At:
    """A network: which loss of which strength, the place of its learning rate, its epoch and its seed."""

    kind: str
    strength: float
    rate: float
    epoch: int
    seed: int


Landscape = Callable[[At], float]


def peak(strength: float = 2, rate: float = 0, epoch: int = 5, height: float = 0.9) -> Landscape:
    """One smooth hill."""

    def landscape(at: At) -> float:
        return (
            height - 0.01 * (at.strength - strength) ** 2 - 0.01 * (at.rate - rate) ** 2 - 0.001 * abs(at.epoch - epoch)
        )

    return landscape


def hills(**by_kind: Landscape) -> Landscape:
    """A hill for each kind of loss; the others have a low one of their own."""
    low = peak(0, 0, 5, 0.5)
    return lambda at: by_kind.get(at.kind, low)(at)


@dataclass
class FakeNetworks:
    shares: list[float | None]
    test_shares: list[float | None]

    def __len__(self) -> int:
        return len(self.shares)

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits that are right on the first share of the samples; not numbers where there is no share."""
        seen = inputs is VALIDATION[0]
        targets = VALIDATION[1] if seen else TEST[1]
        rows = []
        for share in self.shares if seen else self.test_shares:
            right = torch.arange(len(targets)) < round((share or 0.0) * len(targets))
            row = nn.functional.one_hot(torch.where(right, targets, 1 - targets), CLASSES) * 2.0
            rows.append(torch.full_like(row, math.nan) if share is None else row)
        return torch.stack(rows)


@dataclass
class FakeTrained:
    networks: FakeNetworks
    curve: Tensor | None


Tried = tuple[str, float, float, int]
SEEDS = {derive(seed, "comparison", "tuning", number) for seed in range(2) for number in range(10)}


class FakeTraining:
    """Stands for ``train``: gives what the landscape says, and writes down what was asked of it."""

    def __init__(self, landscape: Landscape, on_test: Landscape | None = None) -> None:
        self.landscape, self.on_test = landscape, on_test or landscape
        self.events: list[str] = []
        self.settings: list[Tried] = []
        self.again: list[Tried] = []
        self.seeds: list[set[int]] = []
        self.diverging: set[str] = set()
        self.interrupt_at: int | None = None

    def __call__(
        self,
        task: Task,
        losses: Loss,
        seeds: Sequence[int],
        recipe: Recipe,
        backend: Backend,
        monitor: tuple[Tensor, Tensor] | None = None,
        stop: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> FakeTrained:
        if self.interrupt_at == len(self.events):
            raise KeyboardInterrupt
        assert recipe.steps is None
        assert len(losses) == len(seeds)
        self.events.append("final" if monitor is None else "tuning" if set(seeds) <= SEEDS else "again")
        self.seeds.append(set(seeds))
        networks = [self._network(row, recipe, seed) for row, seed in zip(_read(losses), seeds, strict=True)]
        if progress is not None:
            progress(0.5)
        if monitor is not None:
            assert monitor[0] is VALIDATION[0]
            assert stop is not None
            assert stop == recipe.epochs or self.events[-1] == "again"
            tried = self.settings if self.events[-1] == "tuning" else self.again
            tried += list(dict.fromkeys((a.kind, a.strength, a.rate, recipe.epochs) for a in networks))
            curves = [
                [0.0 if a.kind in self.diverging else self.landscape(replace(a, epoch=e + 1)) for e in range(stop)]
                for a in networks
            ]
            return FakeTrained(FakeNetworks([], []), torch.tensor(curves, dtype=torch.float64))
        assert stop is not None
        ended = [replace(network, epoch=stop) for network in networks]
        shares = [
            [None if network.kind in self.diverging else landscape(network) for network in ended]
            for landscape in (self.landscape, self.on_test)
        ]
        return FakeTrained(FakeNetworks(*shares), None)

    @staticmethod
    def _network(row: tuple[str, float], recipe: Recipe, seed: int) -> At:
        return At(*row, rate=round(math.log2(recipe.lr / LR)), epoch=recipe.epochs, seed=seed)


def _read(losses: Loss) -> list[tuple[str, float]]:
    assert isinstance(losses, PowerLoss)
    rows = []
    for coefficients in losses.coefficients:
        (place,) = coefficients.nonzero()[:, 0].tolist()
        rows.append((KINDS[losses.terms[place]], math.log2(coefficients[place].item())))
    return rows


PLAN = Plan(Recipe(lr=LR), Backend("population"), seeds=4, tuning_seeds=2, finalists=3, finalist_seeds=8, epochs=EPOCHS)
TASK = Task(lambda: nn.Linear(1, CLASSES), torch.zeros(10, 1), torch.arange(10) % CLASSES, CLASSES)
FIRST = family_of("first")


class FakeExecutor(Local):
    """Runs jobs by a stand-in for training."""

    def __init__(self, training: FakeTraining) -> None:
        super().__init__()
        self.training = training

    def run(self, jobs: Sequence[Work], progress: Callable[[int, float], None] | None = None) -> Iterator[Outcome]:
        for number, job in enumerate(jobs):
            assert isinstance(job, Job)
            within = None if progress is None else functools.partial(progress, number)
            trained = self.training(
                job.task, job.losses, job.seeds, job.recipe, job.backend, job.monitor, job.stop, within
            )
            yield Outcome(job.measure(cast(Trained, trained), lambda _: None), None, 0.0)


def compared(
    training: FakeTraining,
    families: Sequence[Family],
    plan: Plan = PLAN,
    **callbacks: Any,
) -> Comparison:
    def test() -> tuple[Tensor, Tensor]:
        training.events.append("test")
        return TEST

    return compare(TASK, VALIDATION, test, families, plan, executor=FakeExecutor(training), **callbacks)


def rugged(number: int) -> Landscape:
    """Any value anywhere, the same for all seeds; rising in the epochs in half of all places."""
    longest = float(EPOCHS * 2**LONGEST)

    def landscape(at: At) -> float:
        place = random.Random(f"{number} {at.kind} {at.strength} {at.rate}")
        height, slope = place.random(), place.uniform(-0.5, 0.5)
        return (height + slope * at.epoch / longest + 0.5) / 2

    return landscape


def coarse(landscape: Landscape, tried: Tried) -> tuple[float, int]:
    """The best of a setting's curve, and after how many epochs it comes first."""
    kind, strength, rate, epochs = tried
    curve = [landscape(At(kind, strength, rate, epoch, 0)) for epoch in range(1, epochs + 1)]
    return max(curve), curve.index(max(curve)) + 1


def neighbors(tried: Tried, axis: Axis | None, stop: int) -> set[Tried]:
    """Everything one step away that is in range, and twice the epochs where the best of the curve comes late."""
    kind, strength, rate, epochs = tried
    rates = learning_rates(LR)
    found = {(kind, strength, rate + step, epochs) for step in (-1, 1) if rates.lowest <= rate + step <= rates.highest}
    if axis is not None:
        moved = (strength - 1, strength + 1)
        found |= {(kind, other, rate, epochs) for other in moved if axis.lowest <= other <= axis.highest}
    if 5 * stop >= 4 * epochs and epochs < EPOCHS * 2**LONGEST:
        found.add((kind, strength, rate, 2 * epochs))
    return found


class TestTuning:
    def test_the_best_inner_setting_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(hills(second=peak(2, -1, 5, 0.9), first=peak(0, -2, 3, 0.8)))
        result = compared(training, [FIRST, family_of("second", AXIS)])
        row = result.row("second")
        assert (row.strengths, row.lr, row.epochs, row.stop, row.tried) == ("s = 2", LR / 2, 8, 5, 25)
        assert row.tuning == pytest.approx(0.9)
        assert row.mean("validation") == pytest.approx(0.9)
        assert row.loss == loss_of("second", 2).to_json()
        first = result.row("first")
        assert (first.strengths, first.lr, first.epochs, first.stop, first.tried) == ("", LR / 4, 8, 3, 5)

    @pytest.mark.parametrize(
        ("hill", "strength", "rate", "epochs", "stop"),
        [
            (peak(2, 4, 5), 2, 4, 8, 5),
            (peak(2, -4, 5), 2, -4, 8, 5),
            (peak(6, 0, 5), 6, 0, 8, 5),
            (peak(-2, 0, 5), -2, 0, 8, 5),
            (peak(5, 3, 5), 5, 3, 8, 5),
            (peak(-1, -3, 5), -1, -3, 8, 5),
            (peak(2, 0, 13), 2, 0, 16, 13),
            (peak(2, 0, 8), 2, 0, 8, 8),
            (peak(2, 0, 6), 2, 0, 8, 6),
            (peak(2, 0, 7), 2, 0, 8, 7),
            (peak(2, 0, 30), 2, 0, 32, 30),
            (peak(2, 0, 100), 2, 0, 32, 32),
            (peak(4, 3, 13), 4, 3, 16, 13),
        ],
    )
    def test_a_best_at_an_edge_extends_the_grid(
        self, monkeypatch: pytest.MonkeyPatch, hill: Landscape, strength: int, rate: int, epochs: int, stop: int
    ) -> None:
        result = compared(FakeTraining(hills(second=hill)), [FIRST, family_of("second", AXIS)])
        row = result.row("second")
        assert (row.strengths, row.lr, row.epochs, row.stop) == (f"s = {strength}", LR * 2.0**rate, epochs, stop)

    @given(st.integers())
    def test_no_neighbor_of_the_best_is_untried(self, number: int) -> None:
        """Whatever the landscape: the optimum is not merely that of where the search happened to look."""
        landscape, training = rugged(number), FakeTraining(rugged(number))
        families = {"first": None, "second": AXIS, "third": None, "given": None}
        result = compared(training, [family_of(kind, axis, kind != "given") for kind, axis in families.items()])
        for kind, axis in families.items():
            mine = [tried for tried in training.settings if tried[0] == kind]
            best = max(mine, key=lambda tried: coarse(landscape, tried)[0])
            value, stop = coarse(landscape, best)
            assert neighbors(best, axis, stop) <= set(mine)
            row = result.row(kind)
            assert row.tried == len(mine) >= result.row("given").tried
            # All seeds are alike here, so fresh ones confirm the best.
            assert row.tuning == pytest.approx(value)
            assert row.stop == stop

    @pytest.mark.parametrize(("toward", "strength", "rate"), [(1, 8, 6), (-1, -3, -8)])
    def test_the_limits_hold(self, monkeypatch: pytest.MonkeyPatch, toward: int, strength: int, rate: int) -> None:
        """A landscape that rises for ever is climbed to the end of each axis, and no further."""
        training = FakeTraining(hills(second=peak(100 * toward, 100 * toward, 1000, 221)))
        result = compared(training, [FIRST, family_of("second", AXIS, baseline=True)])
        mine = [setting for setting in training.settings if setting[0] == "second"]
        most = EPOCHS * 2**LONGEST
        assert max(mine, key=lambda s: (toward * (s[1] + s[2]), s[3])) == ("second", strength, rate, most)
        assert all(AXIS.lowest <= setting[1] <= AXIS.highest for setting in mine)
        assert all(-8 <= setting[2] <= 6 for setting in mine)
        row = result.row("second")
        assert (row.strengths, row.lr, row.epochs, row.stop) == (f"s = {strength}", LR * 2.0**rate, most, most)

    @pytest.mark.parametrize(("strength", "settings"), [(-5, 15), (9, 15), (1, 15)])
    def test_an_axis_that_cannot_be_extended(
        self, monkeypatch: pytest.MonkeyPatch, strength: int, settings: int
    ) -> None:
        training = FakeTraining(hills(second=peak(strength, -1, 5)))
        result = compared(training, [FIRST, family_of("second", Axis("s", float, 0, 2, 0, 2))])
        assert result.row("second").tried == settings
        assert result.row("second").strengths == f"s = {min(2, max(0, strength))}"

    def test_a_level_landscape_is_not_climbed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As where no network learns anything: the neighbours of the first of the best are tried, no more."""
        result = compared(FakeTraining(lambda _: 0.5), [FIRST, family_of("second", AXIS)])
        assert (result.row("first").tried, result.row("second").tried) == (6, 27)

    @pytest.mark.parametrize(
        ("rate", "found", "tried"),
        [(0, 0, 5), (1, 1, 6), (2, 2, 7), (5, 5, 10), (6, 6, 10), (9, 6, 10), (-3, -3, 6), (-7, -7, 10), (-8, -8, 10)],
    )
    def test_extension_goes_on_until_the_best_lies_inside(
        self, monkeypatch: pytest.MonkeyPatch, rate: int, found: int, tried: int
    ) -> None:
        training = FakeTraining(hills(second=peak(0, rate, 5, 3)))
        result = compared(training, [FIRST, family_of("second")])
        assert result.row("second").lr == LR * 2.0**found
        assert result.row("second").tried == tried

    def test_no_setting_is_trained_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(hills(second=peak(6, 4, 13), given=peak(0, -4, 30)))
        families = [FIRST, family_of("second", AXIS), family_of("given", baseline=False)]
        result = compared(training, families)
        assert len(training.settings) == len(set(training.settings)) == sum(row.tried for row in result.rows)
        assert len(training.again) == len(set(training.again)) == PLAN.finalists * len(families)
        assert set(training.again) <= set(training.settings)

    @pytest.mark.parametrize("hill", [peak(0, 0, 5), peak(0, 5, 5), peak(0, -5, 30), peak(0, 2, 100)])
    def test_no_baseline_gets_fewer_settings_than_a_given_loss(
        self, monkeypatch: pytest.MonkeyPatch, hill: Landscape
    ) -> None:
        training = FakeTraining(hills(given=hill, first=peak(0, 0, 5)))
        families = [FIRST, family_of("second", AXIS), family_of("third"), family_of("given", baseline=False)]
        result = compared(training, families)
        assert all(row.tried >= result.row("given").tried >= 5 for row in result.rows)

    def test_settings_that_make_the_budgets_equal_can_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second hill beyond the grid, which the extension at the edges does not see; it is explored in its turn."""

        def two_hills(at: At) -> float:
            return 0.9 if at.rate == 3 else peak(0, 0, 5, 0.6)(at)

        training = FakeTraining(hills(first=two_hills, given=peak(0, 6, 5)))
        result = compared(training, [FIRST, family_of("given", baseline=False)])
        assert result.row("first").lr == LR * 8
        assert result.row("given").tried == 10
        assert {rate for kind, _, rate, epochs in training.settings if (kind, epochs) == ("first", EPOCHS)} >= {2, 3, 4}
        assert result.row("first").tried == 11

    def test_figures_are_means_over_the_tuning_seeds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seeds = [derive(PLAN.seed, "comparison", "tuning", number) for number in range(2)]

        def lucky(at: At) -> float:
            spike = 0.3 if at.rate == 1 and at.seed == seeds[0] else -0.3 if at.rate == 1 else 0
            return peak(0, 0, 5, 0.6)(at) + spike

        training = FakeTraining(lucky)
        result = compared(training, [FIRST, family_of("second")], replace(PLAN, finalists=1))
        assert training.again == [("first", 0, 0, EPOCHS), ("second", 0, 0, EPOCHS)]
        assert result.row("second").lr == LR
        assert result.row("second").tuning == pytest.approx(0.6)

    def test_the_test_part_is_asked_for_once_after_all_tuning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(hills(second=peak(6, 4, 13), given=peak(0, 4, 30)))
        compared(training, [FIRST, family_of("second", AXIS), family_of("given", baseline=False)])
        kinds = [kind for kind, _ in itertools.groupby(training.events)]
        assert kinds == ["tuning", "again", "test", "final"]

    def test_the_three_stages_have_seeds_of_their_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(hills(second=peak(6, 4, 13)))
        result = compared(training, [FIRST, family_of("second", AXIS)])
        stages = [set(seeds) for seeds, _ in itertools.groupby(training.seeds)]
        assert [len(seeds) for seeds in stages] == [PLAN.tuning_seeds, PLAN.finalist_seeds, PLAN.seeds]
        assert all(first.isdisjoint(second) for first, second in itertools.combinations(stages, 2))
        assert {run["seed"] for row in result.rows for run in row.runs} == stages[2]
        assert all(row.column("seed") == result.rows[0].column("seed") for row in result.rows)

    def test_a_run_off_is_of_the_best_losses_of_cross_entropy_and_of_the_given(self) -> None:
        training = FakeTraining(hills(second=peak(0, 0, 5, 0.5), third=peak(0, 0, 5, 0.9), given=peak(0, 0, 5, 0.2)))
        families = [FIRST, family_of("second"), family_of("third"), family_of("given", baseline=False)]
        run_off = RunOff(losses=1, finalists=2, seeds=5)
        result = compared(training, families, replace(PLAN, run_off=run_off))
        fresh = {derive(PLAN.seed, "comparison", "tuning again", number) for number in range(8, 13)}
        phases = {frozenset(seeds) for seeds in training.seeds}
        assert fresh in phases
        assert sum(map(len, phases)) == PLAN.tuning_seeds + PLAN.finalist_seeds + 5 + PLAN.seeds
        more = training.again[PLAN.finalists * len(families) :]
        assert sorted(kind for kind, *_ in more) == ["first", "first", "given", "given", "third", "third"]
        assert set(more) <= set(training.again[: PLAN.finalists * len(families)])
        assert result.row("third").lr == LR

    def test_a_run_off_changes_what_three_seeds_found(self) -> None:
        fresh = [derive(PLAN.seed, "comparison", "tuning again", number) for number in range(10)]

        def lucky(at: At) -> float:
            """The rate next to the best one looks best, until a network diverges."""
            unstable = at.rate == 1
            return 0.7 + 0.05 * unstable - 0.5 * (unstable and at.seed in fresh[3:5]) - 0.1 * (at.rate not in (0, 1))

        families, plan = [FIRST, family_of("second")], replace(PLAN, finalists=2, finalist_seeds=3)
        assert compared(FakeTraining(lucky), families, plan).row("second").lr == 2 * LR
        found = compared(FakeTraining(lucky), families, replace(plan, run_off=RunOff(losses=2, finalists=2, seeds=7)))
        assert found.row("second").lr == LR
        assert found.row("second").tuning == pytest.approx(0.7)

    @pytest.mark.parametrize("finalist_seeds", [3, 7, 10])
    def test_the_first_of_equal_settings_is_taken(self, monkeypatch: pytest.MonkeyPatch, finalist_seeds: int) -> None:
        """The order of a sum in floating point does not decide, so the shorter schedule stays."""
        plan = replace(PLAN, finalist_seeds=finalist_seeds)
        for height in (0.1, 0.3, 0.7, 0.9):
            training = FakeTraining(hills(second=peak(2, 0, 8, height)))
            row = compared(training, [FIRST, family_of("second", AXIS)], plan).row("second")
            assert ("second", 2, 0, 2 * EPOCHS) in training.again
            assert (row.epochs, row.stop) == (EPOCHS, 8)

    @pytest.mark.parametrize("chunk", [1, 5, 24, 10_000])
    def test_the_size_of_a_chunk_changes_nothing(self, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
        families = [FIRST, family_of("second", AXIS), family_of("given", baseline=False)]
        results = [
            compared(FakeTraining(hills(second=peak(6, 1, 13))), families, replace(PLAN, chunk=size))
            for size in (chunk, 256)
        ]
        assert results[0].to_json() == results[1].to_json()

    def test_progress_rises_to_the_end_of_each_phase(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reports: list[tuple[str, float]] = []
        training = FakeTraining(hills(second=peak(6, 4, 13), given=peak(0, 5, 5)))
        families = [FIRST, family_of("second", AXIS), family_of("given", baseline=False)]
        compared(training, families, report=lambda *state: reports.append(state))
        phases = {phase: [share for name, share in reports if name == phase] for phase, _ in reports}
        assert next(iter(phases)) == "tuning"
        assert list(phases)[-2:] == ["the best settings, fresh seeds", "final networks"]
        for shares in phases.values():
            assert shares == sorted(shares)
            assert shares[-1] == pytest.approx(1)


class TestFreshSeeds:
    """The best settings by few seeds are trained again, and the mean over fresh seeds decides."""

    @staticmethod
    def lucky(at: At) -> float:
        """Rates −2, then 1, are the best by the seeds of tuning; in truth 0 is."""
        luck = {-2: 0.2, 1: 0.1}.get(round(at.rate), 0.0) if at.seed in SEEDS else 0.0
        return peak(0, 0, 5, 0.6)(at) + luck

    @pytest.mark.parametrize(("finalists", "rate", "mean"), [(1, -2, 0.56), (2, 1, 0.59), (3, 0, 0.6), (99, 0, 0.6)])
    def test_they_decide_among_the_finalists(
        self, monkeypatch: pytest.MonkeyPatch, finalists: int, rate: int, mean: float
    ) -> None:
        training = FakeTraining(self.lucky)
        result = compared(training, [FIRST, family_of("second")], replace(PLAN, finalists=finalists))
        row = result.row("second")
        assert row.lr == LR * 2.0**rate
        assert row.tuning == pytest.approx(mean)
        assert row.mean("validation") == pytest.approx(mean, abs=1e-3)
        mine = [tried[2] for tried in training.again if tried[0] == "second"]
        assert len(mine) == min(finalists, row.tried)
        assert set([-2, 1, 0][:finalists]) <= set(mine)

    @pytest.mark.parametrize("finalist_seeds", [1, 4, 10])
    def test_the_mean_of_all_of_them(self, monkeypatch: pytest.MonkeyPatch, finalist_seeds: int) -> None:
        fresh = [derive(PLAN.seed, "comparison", "tuning again", number) for number in range(finalist_seeds)]

        def landscape(at: At) -> float:
            if at.seed not in fresh or at.rate != -1:
                return peak(0, 0, 5, 0.6)(at)
            return 0.4 if at.seed == fresh[-1] and finalist_seeds > 1 else 0.61

        plan = replace(PLAN, finalist_seeds=finalist_seeds)
        result = compared(FakeTraining(landscape), [FIRST, family_of("second")], plan)
        mean = 0.61 if finalist_seeds == 1 else 0.61 - 0.21 / finalist_seeds
        assert result.row("second").lr == (LR / 2 if mean > 0.6 else LR)
        assert result.row("second").tuning == pytest.approx(max(mean, 0.6))

    def test_a_setting_is_judged_where_it_would_be_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A high value elsewhere on a fresh curve counts for nothing, as it would be the maximum of noise again."""

        def landscape(at: At) -> float:
            late = 0.3 if at.seed not in SEEDS and at.rate == 1 and at.epoch == 7 else 0.0
            return peak(0, 0, 5, 0.6)(at) + late

        result = compared(FakeTraining(landscape), [FIRST, family_of("second")])
        row = result.row("second")
        assert (row.lr, row.stop) == (LR, 5)
        assert row.tuning == pytest.approx(0.6)

    @pytest.mark.parametrize(("finalists", "epochs", "stop", "mean"), [(3, 16, 9, 0.599), (99, 8, 8, 0.6)])
    def test_the_number_of_epochs_is_that_of_the_chosen_setting(
        self, monkeypatch: pytest.MonkeyPatch, finalists: int, epochs: int, stop: int, mean: float
    ) -> None:
        """Longer schedules are the best by the seeds of tuning, a shorter one by fresh seeds, if it is a finalist."""

        def landscape(at: At) -> float:
            luck = 0.1 if at.seed in SEEDS and at.epoch > EPOCHS else 0.0
            return peak(0, 0, 8, 0.6)(at) + luck

        training = FakeTraining(landscape)
        result = compared(training, [FIRST, family_of("second")], replace(PLAN, finalists=finalists))
        row = result.row("second")
        assert ("second", 0, 0, 2 * EPOCHS) in training.again
        assert (row.epochs, row.stop) == (epochs, stop)
        assert row.tuning == pytest.approx(mean)

    def test_each_family_has_its_own_finalists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(hills(first=peak(0, 0, 5, 0.9), second=peak(1, -1, 5, 0.3)))
        compared(training, [FIRST, family_of("second", AXIS)], replace(PLAN, finalists=1))
        assert training.again == [("first", 0, 0, EPOCHS), ("second", 1, -1, EPOCHS)]

    def test_more_of_them_need_no_new_tuning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Kept()
        for number in (4, 6):
            training = FakeTraining(self.lucky)
            plan = replace(PLAN, finalist_seeds=number)
            compared(training, [FIRST, family_of("second")], plan, recall=kept.recall, keep=kept.keep)
        assert "tuning" not in training.events
        assert "again" in training.events


class TestConclusion:
    def test_rows_are_sorted_and_the_best_baseline_chosen_by_validation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = hills(first=peak(0, 0, 5, 0.7), second=peak(0, 0, 5, 0.8), third=peak(0, 0, 5, 0.6))
        test = hills(first=peak(0, 0, 5, 0.95), second=peak(0, 0, 5, 0.6), third=peak(0, 0, 5, 0.99))
        families = [FIRST, family_of("second"), family_of("third"), family_of("given", baseline=False)]
        result = compared(FakeTraining(seen, test), families)
        assert [row.name for row in result.rows] == ["second", "first", "third", "given"]
        assert result.best_baseline == "second"
        assert result.row("third").mean("test") == pytest.approx(0.99)

    def test_a_given_loss_is_never_the_best_baseline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(hills(given=peak(0, 0, 5, 0.99), first=peak(0, 0, 5, 0.6)))
        result = compared(training, [FIRST, family_of("second"), family_of("given", baseline=False)])
        assert result.rows[0].name == "given"
        assert result.best_baseline == "first"

    def test_pairs_and_their_correction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        spread = {seed: 0.01 * n for n, seed in enumerate(derive(0, "comparison", "final", k) for k in range(4))}
        heights = {"first": 0.70, "second": 0.715, "given": 0.74, "third": 0.72}

        def landscape(at: At) -> float:
            return peak(0, 0, 5, heights[at.kind])(at) + spread.get(at.seed, 0)

        families = [FIRST, family_of("second"), family_of("given", baseline=False), family_of("third", baseline=False)]
        result = compared(FakeTraining(landscape), families)
        assert {(pair.first, pair.second) for pair in result.pairs} == {
            ("second", "first"),
            ("given", "first"),
            ("third", "first"),
            ("given", "second"),
            ("third", "second"),
        }
        raw = [welch(result.row(p.first).column("test"), result.row(p.second).column("test")) for p in result.pairs]
        assert [pair.result for pair in result.pairs] == raw
        assert [pair.holm for pair in result.pairs] == holm([one.p for one in raw])
        pair = result.pair("given", "first")
        assert pair is not None
        assert pair.result.difference == pytest.approx(0.04)
        assert result.pair("first", "given") is None

    def test_each_run_has_its_figures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(peak(0, 0, 5, 0.8), peak(0, 0, 5, 0.75))
        result = compared(training, [FIRST, family_of("second")])
        for run in result.row("second").runs:
            assert (run["validation"], run["test"]) == pytest.approx((0.8, 0.75))
            sure = 1 / (1 + math.exp(-2))
            assert run["nll"] == pytest.approx(-0.75 * math.log(sure) - 0.25 * math.log(1 - sure))
            assert run["ece"] == pytest.approx(sure - 0.75)
            assert run["temperature"] == pytest.approx(2 / math.log(4), rel=1e-3)
            assert run["ece_scaled"] == pytest.approx(0.05, abs=1e-4)
            assert run["nll_scaled"] == pytest.approx(-0.75 * math.log(0.8) - 0.25 * math.log(0.2), rel=1e-4)
        assert result.row("second").std("test") == pytest.approx(0)

    def test_a_loss_whose_networks_diverge_has_no_calibration(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(peak(0, 0, 5, 0.8))
        training.diverging = {"given"}
        result = compared(training, [FIRST, family_of("second"), family_of("given", baseline=False)])
        row = result.row("given")
        assert result.rows[-1] is row
        assert row.column("test") == row.column("validation") == [0.0] * PLAN.seeds
        for name in ("nll", "ece", "temperature", "nll_scaled", "ece_scaled"):
            assert row.column(name) == [None] * PLAN.seeds
        pair = result.pair("given", "first")
        assert pair is not None
        assert pair.holm == 1
        json.dumps(result.to_json(), allow_nan=False)

    def test_two_losses_of_one_name_are_refused_before_any_training(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = FakeTraining(peak())
        with pytest.raises(InputError, match="'first'"):
            compared(training, [FIRST, family_of("second"), fixed("first", mse())])
        assert training.events == []


class Kept:
    """A store of results that goes through JSON, as the database does."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def recall(self, key: str) -> Any:
        return json.loads(self.texts[key]) if key in self.texts else None

    def keep(self, key: str, result: Any, seconds: float) -> None:
        assert key not in self.texts
        assert seconds >= 0
        self.texts[key] = json.dumps(result, allow_nan=False)


class TestGoingOn:
    families = (FIRST, family_of("second", AXIS), family_of("given", baseline=False))
    landscape = staticmethod(hills(second=peak(6, 4, 13), given=peak(0, 4, 30)))

    def run(self, monkeypatch: pytest.MonkeyPatch, training: FakeTraining, kept: Kept, plan: Plan = PLAN) -> Comparison:
        return compared(training, self.families, plan, recall=kept.recall, keep=kept.keep)

    def test_a_second_run_trains_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Kept()
        first = self.run(monkeypatch, FakeTraining(self.landscape), kept)
        again = FakeTraining(self.landscape)
        second = self.run(monkeypatch, again, kept)
        assert again.events == ["test"]
        assert second.to_json() == first.to_json()

    def test_what_was_stopped_goes_on_from_any_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = replace(PLAN, chunk=12)
        whole = FakeTraining(self.landscape)
        expected = self.run(monkeypatch, whole, Kept(), plan)
        trainings = len(whole.events) - 1
        for moment in (place for place, event in enumerate(whole.events) if event != "test"):
            kept = Kept()
            stopped, rest = FakeTraining(self.landscape), FakeTraining(self.landscape)
            stopped.interrupt_at = moment
            with pytest.raises(KeyboardInterrupt):
                self.run(monkeypatch, stopped, kept, plan)
            assert self.run(monkeypatch, rest, kept, plan).to_json() == expected.to_json()
            done = [event for event in (*stopped.events, *rest.events) if event != "test"]
            assert len(done) == trainings

    @pytest.mark.parametrize("changed", [{"seed": 1}, {"epochs": 9}, {"tuning_seeds": 3}, {"recipe": Recipe(lr=0.2)}])
    def test_another_plan_is_another_comparison(self, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
        kept = Kept()
        self.run(monkeypatch, FakeTraining(self.landscape), kept)
        again = FakeTraining(self.landscape)
        self.run(monkeypatch, again, kept, replace(PLAN, **changed))
        assert "tuning" in again.events

    def test_more_final_networks_need_no_new_tuning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Kept()
        self.run(monkeypatch, FakeTraining(self.landscape), kept)
        again = FakeTraining(self.landscape)
        self.run(monkeypatch, again, kept, replace(PLAN, seeds=7))
        assert set(again.events) == {"test", "final"}


def test_a_real_comparison() -> None:
    """Two blurred clouds and a linear network: every figure is that of the networks trained once more."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(240) % 3
    inputs = torch.randn(240, 4, generator=generator) + 1.5 * nn.functional.one_hot(targets, 4)
    task = Task(lambda: nn.Linear(4, 3), inputs[:60], targets[:60], 3)
    validation, test = (inputs[60:120], targets[60:120]), (inputs[120:], targets[120:])
    plan = Plan(
        Recipe(lr=0.05, batch_size=20),
        Backend("population"),
        seeds=3,
        tuning_seeds=1,
        epochs=2,
        finalists=1,
        finalist_seeds=2,
    )
    families = [
        Family("cross-entropy", (), lambda *_: cross_entropy()),
        fixed("MSE", mse(), baseline=True),
        fixed("mine", cross_entropy() + mae()),
    ]
    kept: dict[str, Any] = {}
    result = compare(
        task,
        validation,
        lambda: test,
        families,
        plan,
        recall=kept.get,
        keep=lambda key, value, _: kept.update({key: value}),
    )
    assert result.to_json() == compare(task, validation, lambda: test, families, plan, recall=kept.get).to_json()
    assert {row.name for row in result.rows} == {"cross-entropy", "MSE", "mine"}
    assert result.row("cross-entropy").tried >= result.row("mine").tried
    for row in result.rows:
        loss = repeated(Loss.stack([Loss.from_json(row.loss)]), 3)
        recipe = plan.recipe.model_copy(update={"lr": row.lr, "epochs": row.epochs})
        fresh = [derive(plan.seed, "comparison", "tuning again", number) for number in range(2)]
        tuned = train(task, loss[:2], fresh, recipe, stop=row.stop).networks.logits(validation[0])
        assert row.tuning == pytest.approx(accuracy(tuned, validation[1]).mean().item())
        again = train(task, loss, [run["seed"] for run in row.runs], recipe, stop=row.stop)
        logits = again.networks.logits(test[0])
        assert row.column("test") == accuracy(logits, test[1]).tolist()
        assert row.column("validation") == accuracy(again.networks.logits(validation[0]), validation[1]).tolist()
        for run, one in zip(row.runs, logits.double(), strict=True):
            assert run["nll"] == pytest.approx(nn.functional.cross_entropy(one, test[1]).item(), rel=1e-5)
            scaled = nn.functional.cross_entropy(one / run["temperature"], test[1]).item()
            assert run["nll_scaled"] == pytest.approx(scaled, rel=1e-5)
            assert 0 <= run["ece"] <= 1
