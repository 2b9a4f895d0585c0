"""Metrics in closed form, against scikit-learn, in their limits, and costs that cannot be used."""

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor

from lossmith.errors import InputError
from lossmith.metrics import METRICS, Costs, check_classes, checked_costs
from lossmith.metrics.ranking import log_odds

COSTS = ((0.0, 1.0, 4.0), (2.0, 0.0, 1.0), (9.0, 3.0, 0.5))


def drawn(seed: int, classes: int, samples: int = 40, levels: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of two networks, of a few levels if asked, so that many are tied, and targets."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, samples, classes, generator=random, dtype=torch.float64)
    if levels:
        logits = (logits * levels / 2).round()
    return logits, torch.randint(classes, (samples,), generator=random)


def probabilities(logits: Tensor) -> Any:
    return logits.double().softmax(-1).numpy()


class TestAgainstAnotherLibrary:
    @pytest.mark.parametrize("levels", [0, 3])
    @pytest.mark.parametrize("classes", [2, 3, 6])
    @pytest.mark.parametrize("seed", range(3))
    def test_macro_f1(self, seed: int, classes: int, levels: int) -> None:
        logits, targets = drawn(seed, classes, levels=levels)
        targets[targets == classes - 1] = 0
        wanted = [sk.f1_score(targets, row.argmax(-1), average="macro", zero_division=0.0) for row in logits]
        assert METRICS["macro-f1"](logits, targets).tolist() == pytest.approx(wanted, rel=1e-14)

    @pytest.mark.parametrize("levels", [0, 3])
    @pytest.mark.parametrize("seed", range(3))
    def test_of_two_classes(self, seed: int, levels: int) -> None:
        logits, targets = drawn(seed, 2, levels=levels)
        scores = [(row[:, 1] - row[:, 0]).numpy() for row in logits]
        for name, function in (("auc", sk.roc_auc_score), ("average-precision", sk.average_precision_score)):
            wanted = [function(targets, score) for score in scores]
            assert METRICS[name](logits, targets).tolist() == pytest.approx(wanted, rel=1e-14)
            assert METRICS[name](logits.float(), targets).tolist() == pytest.approx(wanted, rel=1e-14)

    @pytest.mark.parametrize("levels", [0, 3])
    @pytest.mark.parametrize("classes", [3, 6])
    @pytest.mark.parametrize("seed", range(3))
    def test_of_more_one_against_the_rest(self, seed: int, classes: int, levels: int) -> None:
        logits, targets = drawn(seed, classes, samples=60, levels=levels)
        assert len(targets.unique()) == classes
        # Rounding makes no ties of odds where it makes none of sums that are rounded alike.
        outputs = [np.round(row, 12) for row in probabilities(logits)]
        areas = [sk.roc_auc_score(targets, row, multi_class="ovr") for row in outputs]
        assert METRICS["auc"](logits, targets).tolist() == pytest.approx(areas, rel=1e-12)
        members = np.eye(classes)[targets]
        precisions = [sk.average_precision_score(members, row, average="macro") for row in outputs]
        assert METRICS["average-precision"](logits, targets).tolist() == pytest.approx(precisions, rel=1e-12)

    def test_classes_without_samples_are_left_out(self) -> None:
        logits, targets = drawn(0, 5)
        targets = targets % 3
        outputs, members = probabilities(logits), np.eye(5)[targets]
        areas = [np.mean([sk.roc_auc_score(members[:, k], row[:, k]) for k in range(3)]) for row in outputs]
        assert METRICS["auc"](logits, targets).tolist() == pytest.approx(areas, rel=1e-12)
        found = [np.mean([sk.average_precision_score(members[:, k], row[:, k]) for k in range(3)]) for row in outputs]
        assert METRICS["average-precision"](logits, targets).tolist() == pytest.approx(found, rel=1e-12)

    @given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 12))
    def test_few_samples_with_many_ties(self, seed: int, classes: int, samples: int) -> None:
        logits, targets = drawn(seed, classes, samples, levels=2)
        with warnings.catch_warnings(action="ignore"):
            wanted = [sk.f1_score(targets, row.argmax(-1), average="macro", zero_division=0.0) for row in logits]
        assert METRICS["macro-f1"](logits, targets).tolist() == pytest.approx(wanted, rel=1e-14)
        if classes == 2 and len(targets.unique()) == 2:
            scores = [(row[:, 1] - row[:, 0]).numpy() for row in logits]
            areas = [sk.roc_auc_score(targets, score) for score in scores]
            assert METRICS["auc"](logits, targets).tolist() == pytest.approx(areas, rel=1e-14)
            found = [sk.average_precision_score(targets, score) for score in scores]
            assert METRICS["average-precision"](logits, targets).tolist() == pytest.approx(found, rel=1e-14)


class TestRanking:
    def test_in_closed_form(self) -> None:
        """Samples of class 1 at 3 and 1, of class 0 at 2 and 1: two pairs are won, one lost, one tied."""
        scores, targets = torch.tensor([3.0, 1.0, 2.0, 1.0]), torch.tensor([1, 1, 0, 0])
        logits = torch.stack([torch.zeros(4), scores], -1)[None]
        assert METRICS["auc"](logits, targets).tolist() == [2.5 / 4]
        assert METRICS["average-precision"](logits, targets).tolist() == [(1 / 1 + 2 / 4) / 2]

    def test_both_classes_of_two_have_one_area(self) -> None:
        logits, targets = drawn(0, 2, levels=2)
        turned = METRICS["auc"](logits.flip(-1), 1 - targets)
        torch.testing.assert_close(turned, METRICS["auc"](logits, targets), rtol=1e-14, atol=0)

    def test_where_nothing_can_be_ranked(self) -> None:
        for classes in (2, 4):
            logits = drawn(0, classes)[0]
            one, zero = (torch.full((40,), label) for label in (1, 0))
            assert METRICS["auc"](logits, one).tolist() == [0.5, 0.5]
            assert METRICS["average-precision"](logits, one).tolist() == [1.0, 1.0]
            none = METRICS["average-precision"](logits, zero).tolist()
            assert none == ([0.0, 0.0] if classes == 2 else [1.0, 1.0])

    @pytest.mark.parametrize("scale", [1.0, 1e3])
    def test_odds_in_closed_form(self, scale: float) -> None:
        logits = scale * drawn(0, 4)[0]
        for label in range(4):
            others = logits[..., [k for k in range(4) if k != label]].logsumexp(-1)
            torch.testing.assert_close(
                log_odds(logits)[..., label], logits[..., label] - others, rtol=1e-12, atol=1e-12
            )

    def test_equal_outputs_in_another_order_are_tied(self) -> None:
        row = drawn(3, 6, samples=1)[0][0, 0].double()
        row[4] = row[2]
        random = torch.Generator().manual_seed(0)
        orders = torch.stack([row[torch.randperm(6, generator=random)] for _ in range(200)])
        assert {len(set(log_odds(orders[None])[orders[None] == value].tolist())) for value in row} == {1}

    def test_equal_outputs_are_a_coin(self) -> None:
        targets = torch.tensor([0, 0, 0, 1, 2, 2])
        assert METRICS["auc"](torch.zeros(1, 6, 3), targets).tolist() == [0.5]
        found = METRICS["average-precision"](torch.zeros(1, 6, 3), targets).tolist()
        assert found == pytest.approx([1 / 3], rel=1e-15)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_outputs_near_1_are_not_tied(self, classes: int) -> None:
        """Softmax outputs of all of these logits are 1 in float64."""
        logits = torch.zeros(1, 4, classes, dtype=torch.float64)
        logits[0, :, 1] = torch.tensor([50.0, 60.0, 70.0, 80.0])
        targets = torch.tensor([0, 0, 1, 1])
        assert METRICS["auc"](logits, targets).item() == 1.0
        assert log_odds(logits)[0, :, 1].diff().gt(0).all()


class TestMacroF1:
    def test_in_closed_form(self) -> None:
        """Class 0: 1 right of 2 samples and 1 answer; 1: 1 of 1 and 2; 2 has no sample and one answer; 3 nothing."""
        logits = torch.eye(4)[torch.tensor([0, 1, 1, 2])][None]
        found = METRICS["macro-f1"](logits, torch.tensor([0, 0, 1, 1]))
        assert found.tolist() == pytest.approx([(2 / 3 + 2 / 4 + 0) / 3], rel=1e-15)


class TestExpectedCost:
    def test_in_closed_form(self) -> None:
        metric = METRICS["expected-cost"].priced(COSTS)  # type: ignore[misc]
        logits, targets = drawn(0, 3)
        wanted = []
        for row in probabilities(logits):
            answers = (row @ np.array(COSTS)).argmin(-1)
            wanted.append(np.mean([COSTS[target][answer] for target, answer in zip(targets, answers, strict=True)]))
        assert metric(logits, targets).tolist() == pytest.approx(wanted, rel=1e-15)
        assert not metric.higher_is_better
        assert metric.worst == 9.0
        logits[0, 0, 0] = torch.nan
        assert metric(logits, targets).tolist() == pytest.approx([9.0, wanted[1]])

    def test_equal_costs_are_the_share_of_wrong_answers(self) -> None:
        logits, targets = drawn(1, 3)
        wrong = 1 - METRICS["accuracy"](logits, targets)
        equal = tuple(tuple(float(i != j) for j in range(3)) for i in range(3))
        for metric in (METRICS["expected-cost"], METRICS["expected-cost"].priced(equal)):  # type: ignore[misc]
            torch.testing.assert_close(metric(logits, targets), wrong)

    def test_a_rare_class_is_answered_where_missing_it_costs_much(self) -> None:
        logits, targets = torch.tensor([[[1.0, 0.0], [5.0, 0.0]]]), torch.tensor([1, 0])
        missing = METRICS["expected-cost"].priced(((0.0, 1.0), (10.0, 0.0)))  # type: ignore[misc]
        assert METRICS["accuracy"](logits, targets).tolist() == [0.5]
        assert missing(logits, targets).tolist() == [0.0]

    @pytest.mark.parametrize(
        ("rows", "sentence"),
        [
            ([], "costs of 0 classes cannot be used; give a row for each class, 2 to 1000"),
            ([[0]], "costs of 1 classes"),
            ([[0, 1], [1, 0, 2]], "row 1 of the costs has 3 numbers, but there are 2 rows; give a square matrix"),
            ([[0, 1, 2], [1, 0, 2]], "row 0 of the costs has 3 numbers, but there are 2 rows"),
            ([[0, -1], [1, 0]], "row 0 of the costs holds -1; give finite numbers from 0 up"),
            ([[0, 1], [math.nan, 0]], "row 1 of the costs holds nan"),
            ([[0, math.inf], [1, 0]], "row 0 of the costs holds inf"),
            ([[0, 0], [0, 0]], "all costs are 0"),
        ],
    )
    def test_costs_that_cannot_be_used(self, rows: Sequence[Sequence[float]], sentence: str) -> None:
        with pytest.raises(InputError, match=re.escape(sentence)):
            checked_costs(rows)

    def test_costs_of_other_classes(self) -> None:
        costs: Costs = checked_costs([[0, 1], [1, 0]])
        with pytest.raises(InputError, match="the costs are of 2 classes, but the data has 3"):
            check_classes(costs, 3)
        with pytest.raises(InputError, match="the costs are of 2 classes, but the data has 3"):
            METRICS["expected-cost"].priced(costs)(*drawn(0, 3))  # type: ignore[misc]
