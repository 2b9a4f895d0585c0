"""What the experiments about noisy labels count and train."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import stats

from lossmith.analysis import BASELINES, WrongLabels
from lossmith.losses import Loss, cross_entropy, mae, noise_robust
from lossmith.study import EvolveSettings, Problem, told_share
from lossmith.study.config import validated

Experiment = Callable[[str], ModuleType]


class TestStratified:
    def test_one_group_is_a_t_test(self, experiment: Experiment) -> None:
        values = [0.3, 0.1, -0.05, 0.2]
        found = experiment("evidence").stratified([values], [1])
        expected = stats.ttest_1samp(values, 0, alternative="greater")
        assert (found.difference, found.p) == pytest.approx((np.mean(values), expected.pvalue))
        ends = stats.ttest_1samp(values, 0).confidence_interval()
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high))

    def test_two_groups_of_equal_weight_are_welchs(self, experiment: Experiment) -> None:
        first, second = [0.3, 0.1, 0.25], [0.05, -0.2, 0.1, 0.0]
        found = experiment("evidence").stratified([first, [-one for one in second]], [2, 2])
        expected = stats.ttest_ind(first, second, equal_var=False, alternative="greater")
        assert found.p == pytest.approx(expected.pvalue)
        assert found.difference == pytest.approx((np.mean(first) - np.mean(second)) / 2)

    def test_weights_are_shares(self, experiment: Experiment) -> None:
        groups = [[1.0, 2.0], [5.0, 6.0]]
        assert experiment("evidence").stratified(groups, [4, 2]).difference == pytest.approx((4 * 1.5 + 2 * 5.5) / 6)

    @pytest.mark.parametrize(("value", "p"), [(0.1, 0.0), (0.0, 0.5), (-0.1, 1.0)])
    def test_without_any_spread(self, experiment: Experiment, value: float, p: float) -> None:
        found = experiment("evidence").stratified([[value] * 3, [value] * 3], [1, 1])
        assert (found.difference, found.low, found.high, found.p) == pytest.approx((value, value, value, p))


class TestRacing:
    @pytest.mark.parametrize("name", ["cross-entropy", "label smoothing", "label smoothing + Σh²", "NCE + RCE"])
    def test_no_more_trainings_than_said(self, experiment: Experiment, name: str) -> None:
        runs = experiment("noisy_runs")
        document = {
            "data": {"train_size": 60, "validation_size": 60},
            "model": {"hidden": [4]},
            "recipe": {"epochs": 1},
            "run": {"training": "population"},
        }
        settings = validated(EvolveSettings, document, "the test")
        problem = Problem.open(settings)
        found = runs.raced(BASELINES[name], settings, problem, [1, 2, 3])
        assert found["trainings"] <= 20
        assert found == runs.raced(BASELINES[name], settings, problem, [1, 2, 3])
        again = [one["validation"] for one in found["tried"] if len(one["validation"]) == runs.SEEDS]
        assert len(again) == runs.KEPT
        assert len(found["tried"]) <= runs.TRIED
        assert found["trainings"] == sum(len(one["validation"]) for one in found["tried"])

    def test_steepness(self, experiment: Experiment) -> None:
        steepness = experiment("noisy_runs").steepness
        assert steepness(cross_entropy(), 10) == pytest.approx(1)
        assert steepness(3 * cross_entropy(), 10) == pytest.approx(3)
        # At equal outputs MAE's gradient is 1/n of cross-entropy's.
        assert steepness(mae(), 10) == pytest.approx(0.1, rel=0.05)


class TestPage:
    def test_the_best_rival_is_chosen_by_its_tuning(self, experiment: Experiment) -> None:
        """The networks that are tested have no say."""
        page = experiment("noisy_page")

        def row(name: str, tuned: float, test: float) -> dict[str, object]:
            tried = [{"place": [0], "validation": [tuned] * 3}, {"place": [1], "validation": [0.99]}]
            return {"setting": "a", "number": 1, "row": name, "tried": tried, "validation": [1 - tuned], "test": [test]}

        scores = page.Scores([row("x", 0.6, 0.1), row("y", 0.7, 0.2)], {"a": "data"}, ("x", "y"))
        assert scores.row("a", 1, page.BEST)["row"] == "y"
        assert scores.mean("a", 1, page.BEST) == 0.2


def test_what_was_found_is_what_ships(experiment: Experiment) -> None:
    shipped, versions = experiment("shipped"), experiment("versions")
    logits, targets = torch.randn(9, 7, dtype=torch.float64), torch.arange(9) % 7

    def value(loss: Loss) -> torch.Tensor:
        return loss.value(logits, targets)

    first, second = (versions.version(numbers, 0.3, 7) for numbers in (versions.FIRST, versions.SECOND))
    torch.testing.assert_close(value(shipped.loss_at(shipped.TWO_NUMBERS, 0.3, 7)), value(first))
    torch.testing.assert_close(value(noise_robust(0.3, 7)), value(second))


def test_a_version_is_its_formula(experiment: Experiment) -> None:
    versions = experiment("versions")
    logits, targets = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 5
    h, y = logits.softmax(-1), torch.nn.functional.one_hot(targets, 5).double()
    s = (0.2 / 0.4) ** 2
    phi = y * h.log() + s * (3 / 5 * h.log() + 4 * y * h + 6 * (1 - y) * h.square())
    found = versions.version((3, 4, 6, 2, 0.5), 0.2, 5).value(logits, targets)
    torch.testing.assert_close(found, -phi.sum(-1) / (1 + 0.5 * s))


@pytest.mark.parametrize(("share", "agreement", "told"), [(0.123, 0.9, 0.12), (0.97, 0.6, 0.9), (0.73, 0.3, 0.4)])
def test_what_the_shipped_loss_is_told(share: float, agreement: float, told: float) -> None:
    assert told_share(WrongLabels(share, share, agreement)) == told
