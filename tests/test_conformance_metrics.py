"""What every registered metric must do; a metric of one's own passes the same suite."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from lossmith.analysis import MetricObjective, figures
from lossmith.errors import InputError
from lossmith.metrics import METRICS, Metric, accuracy, correct, finite, from_lists, known, mean_of, or_worst, to_lists
from lossmith.metrics.calibration import calibration_error, negative_log_likelihood


def largest_class_error(logits: Tensor, targets: Tensor) -> Tensor:
    """A metric of one's own: share of wrong answers on the most frequent class."""
    mine = targets == targets.bincount().argmax()
    return (logits[:, mine].argmax(-1) != targets[mine]).double().mean(-1)


POPULATION, CLASSES, SAMPLES = 4, 5, 60
every = pytest.mark.parametrize("name", [*METRICS.names, "largest-class-error"])


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """One more metric, for the time of this module."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(METRICS, "_entries", dict(METRICS.items()))
        METRICS.register("largest-class-error", Metric(largest_class_error, higher_is_better=False, worst=1.0))
        yield


def test_the_worst_is_the_worst_in_either_direction() -> None:
    logits, targets = some()
    logits[1, 0, 0] = torch.nan
    for metric in (Metric(accuracy), Metric(largest_class_error, higher_is_better=False)):
        fitness = metric.fitness(metric(logits, targets))
        assert (fitness[1] < fitness[[0, 2, 3]]).all()


def some(classes: int = CLASSES, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(POPULATION, SAMPLES, classes, generator=generator)
    return logits, torch.randint(classes, (SAMPLES,), generator=generator)


@every
class TestEveryMetric:
    def test_a_number_for_each_network(self, name: str) -> None:
        logits, targets = some()
        found = METRICS[name](logits, targets)
        assert (found.shape, found.dtype) == ((POPULATION,), torch.float64)
        assert len(set(found.tolist())) > 1

    def test_networks_do_not_see_each_other(self, name: str) -> None:
        logits, targets = some()
        found, order = METRICS[name](logits, targets), [2, 0, 3, 1]
        assert torch.equal(METRICS[name](logits[order], targets), found[order])
        assert torch.equal(torch.cat([METRICS[name](row[None], targets) for row in logits]), found)

    def test_the_order_of_the_samples_does_not_count(self, name: str) -> None:
        logits, targets = some()
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(METRICS[name](logits[:, order], targets[order]), METRICS[name](logits, targets))

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    def test_a_network_that_is_not_finite_has_the_worst_there_is(self, name: str, bad: float) -> None:
        logits, targets = some()
        metric, whole = METRICS[name], METRICS[name](logits, targets)
        logits[1, 7, 2] = bad
        found = metric(logits, targets)
        assert found[1].item() == metric.worst
        assert torch.equal(found[[0, 2, 3]], whole[[0, 2, 3]])
        assert (metric.fitness(found)[1] <= metric.fitness(whole)).all()
        assert metric(torch.full_like(logits, bad), targets).tolist() == [metric.worst] * POPULATION

    def test_nothing_is_better_than_being_right(self, name: str) -> None:
        metric = METRICS[name]
        logits, targets = some()
        perfect = metric.fitness(metric(1e4 * one_hot(targets, CLASSES)[None].float(), targets))
        assert (perfect > metric.fitness(metric(logits, targets))).all()

    @pytest.mark.parametrize("classes", [2, CLASSES])
    @pytest.mark.parametrize("scale", [1e4, 1e-30])
    def test_extreme_logits_and_a_single_class(self, name: str, classes: int, scale: float) -> None:
        logits, targets = some(classes, scale)
        for labels in (targets, torch.ones_like(targets)):
            found = METRICS[name](logits, labels)
            assert found.isfinite().all()
            assert (METRICS[name].fitness(found) >= METRICS[name].fitness(torch.tensor(METRICS[name].worst))).all()

    def test_it_is_an_objective(self, name: str) -> None:
        class Fixed:
            def logits(self, inputs: Tensor) -> Tensor:
                return inputs

        trained: Any = type("Made", (), {"networks": Fixed()})
        logits, targets = some()
        objective = pickle.loads(pickle.dumps(MetricObjective(name)))  # noqa: S301
        assert objective == MetricObjective(name)
        found = figures(objective(trained, logits, targets))
        value = METRICS[name](logits, targets)
        assert torch.equal(found[name], value)
        assert torch.equal(found["fitness"], value if METRICS[name].higher_is_better else -value)


def test_likelihood_and_calibration_against_other_libraries() -> None:
    logits, targets = some()
    wanted = [cross_entropy(row.double(), targets).item() for row in logits]
    assert METRICS["nll"](logits, targets).tolist() == pytest.approx(wanted, rel=1e-12)
    arrays = [(row.double().numpy(), targets.numpy()) for row in logits]
    assert [negative_log_likelihood(*one) for one in arrays] == pytest.approx(wanted, rel=1e-12)
    assert METRICS["calibration-error"](logits, targets).tolist() == [calibration_error(*one) for one in arrays]


def test_a_name_that_is_none() -> None:
    with pytest.raises(InputError, match=r"there is no metric 'acuracy' \(did you mean accuracy"):
        MetricObjective("acuracy")
    with pytest.raises(
        InputError, match="there is no metric 'q'; give one of accuracy, balanced-accuracy, macro-f1, auc"
    ):
        METRICS["q"]
    with pytest.raises(InputError, match="there is a metric 'nll' already"):
        METRICS.register("nll", METRICS["nll"])
    assert "nll" in METRICS
    assert list(METRICS) == list(METRICS.names)


class TestWhatIsNotFinite:
    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_one_logit_that_is_not_finite_is_enough(self, bad: float, dtype: torch.dtype) -> None:
        logits = torch.full((3, 7, 5), torch.finfo(dtype).min, dtype=dtype)
        logits[1, 3, 2] = bad
        logits[1, 3, 1] = torch.finfo(dtype).max
        assert finite(logits).tolist() == [True, False, True]
        assert finite(logits[..., :2]).tolist() == [True] * 3
        assert finite(logits[:, :0]).tolist() == [True] * 3
        assert finite(logits[:0]).tolist() == []

    def test_of_samples_and_of_networks(self) -> None:
        logits = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [torch.nan, 1.0]]])
        assert correct(logits, torch.tensor([0, 1])).tolist() == [[True, True], [True, False]]
        assert finite(logits).tolist() == [True, False]
        assert or_worst(torch.tensor([0.7, 0.5]), finite(logits), 0.0).tolist() == pytest.approx([0.7, 0])

    def test_of_figures(self) -> None:
        assert to_lists(torch.tensor([0.5, torch.nan, -torch.inf]).numpy()) == [0.5, None, None]
        assert (mean_of([0.5, 1.5]), mean_of([0.5, None])) == (1.0, None)

    def test_of_arrays(self) -> None:
        values = from_lists([[0.5, None], [None, 1]])
        assert known(values).tolist() == [0.5, 1]
        assert to_lists(values) == [[0.5, None], [None, 1.0]]
        assert to_lists(from_lists(float("inf"))) is None
