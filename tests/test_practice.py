"""Theory meets practice: what the theory says of a loss is what happens in a training."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from lossmith.analysis import trace
from lossmith.data import Normalize
from lossmith.losses import Loss, PowerLoss, cross_entropy, find, mae, mnist, mse, polynomial, taylor
from lossmith.nets import ModelSettings, network_factory
from lossmith.theory import acting, attraction, coefficients, from_acting, is_trainable, output_change, to_lambda, zones
from lossmith.training import Networks, Recipe, Task, repeated, train

KEPT = Path(__file__).parents[1] / "results" / "invariant"
BACKENDS: list[str] = ["sequential", "population"]
CLASSES = 4
RECIPE = Recipe(lr=0.05, epochs=6, batch_size=10)


def samples(count: int = 60) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % CLASSES
    inputs = torch.randn(count, 6, generator=random) + 2 * torch.eye(CLASSES, 6)[targets]
    return inputs, targets


def task(targets: Tensor | None = None) -> Task:
    """Float64 networks, so that two ways to the same weights differ by rounding alone."""
    inputs, labels = samples()
    factory = network_factory(ModelSettings(hidden=(8,)), Normalize.fit(inputs), inputs.shape[1:], CLASSES)
    return Task(lambda: factory().double(), inputs.double(), labels if targets is None else targets, CLASSES)


def distance(one: Networks, other: Networks) -> float:
    return max((value - other.parameters[name]).abs().max().item() for name, value in one.parameters.items())


def size_of_training(job: Task, losses: PowerLoss, seeds: list[int], networks: Networks) -> float:
    """How far the weights have come from where they began."""
    return distance(networks, train(job, 0 * losses, seeds, RECIPE).networks)


@pytest.mark.parametrize("backend", BACKENDS)
class TestEqualActingNumbers:
    """(b) Two λ with equal acting numbers train to the same weights from the same start."""

    def test_other_centers_c1_and_share_of_cy(self, backend: str) -> None:
        lam = 0.5 * torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        lam[0] = to_lambda(coefficients(mse()), 0, 0)
        c = coefficients(lam)
        moved = c._replace(c1=c.c1 + 3, cy=c.cy - 1.5, cyy=c.cyy + 1.5)
        others = taylor(to_lambda(moved, 0.7, -1.2))
        assert (others.coefficients - taylor(lam).coefficients).abs().max() > 1
        seeds = [1] * 5
        one, other = (train(task(), losses, seeds, RECIPE, backend).networks for losses in (taylor(lam), others))
        assert size_of_training(task(), others, seeds, one) > 0.1
        assert distance(one, other) < 1e-11

    def test_the_published_loss_of_mnist_without_what_is_idle(self, backend: str) -> None:
        bare = polynomial(*from_acting(acting(coefficients(mnist()))))
        recipe = RECIPE.model_copy(update={"lr": 0.002})
        one, other = (train(task(), Loss.stack([loss]), [1], recipe, backend).networks for loss in (mnist(), bare))
        assert distance(one, other) < 1e-11

    def test_other_numbers_lead_elsewhere(self, backend: str) -> None:
        numbers = acting(coefficients(mse()))
        one, other = (
            train(task(), Loss.stack([polynomial(*from_acting(a))]), [1], RECIPE, backend).networks
            for a in (numbers, numbers._replace(chy=numbers.chy + 0.1))
        )
        assert distance(one, other) > 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name", ["cross-entropy", "mse", "paper/mnist", "focal:2", "gce:0.7", "0.5,0.1,1,-1,0.4,2,-1,0.6"]
)
class TestSmoothedEmbedding:
    """(c) A loss with smoothed labels and its smoothed embedding with hard ones train to the same weights."""

    def test_same_weights(self, name: str, backend: str) -> None:
        alpha, loss = 0.2, find(name, CLASSES)
        assert isinstance(loss, PowerLoss)
        recipe = RECIPE.model_copy(update={"lr": 0.002 if name == "paper/mnist" else 0.05})
        _, labels = samples()
        soft = (1 - alpha) * nn.functional.one_hot(labels, CLASSES).double() + alpha / CLASSES
        hard = train(task(), Loss.stack([loss.smoothed(alpha, CLASSES)]), [1], recipe, backend).networks
        smooth = train(task(soft), Loss.stack([loss]), [1], recipe, backend).networks
        unsmoothed = train(task(), Loss.stack([loss]), [1], recipe, backend).networks
        assert distance(hard, smooth) < 1e-11
        assert distance(hard, unsmoothed) > 1e-4


class FreeLogits(nn.Module):
    """Logits that are free parameters: a row of weights for each sample, whose input is its number."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(2 * torch.randn(count, CLASSES, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the samples whose numbers are given."""
        chosen = nn.functional.one_hot(inputs[:, 0].long(), len(self.rows)).to(self.rows.dtype)
        return chosen @ self.rows


def free_task(count: int) -> Task:
    return Task(
        lambda: nn.Sequential(Normalize(torch.zeros(1), torch.ones(1)), FreeLogits(count)),
        torch.arange(count)[:, None].double(),
        torch.arange(count) % CLASSES,
        CLASSES,
    )


@pytest.mark.parametrize("backend", BACKENDS)
class TestOneStep:
    """(d) In a trace, predicted strength and measured change agree where the logits are free parameters."""

    NAMES = ("cross-entropy", "mse", "baikal", "paper/allcnnc", "label-smoothing:0.3", "mae")

    def test_change_of_a_step_is_the_strength(self, backend: str) -> None:
        """One batch of all samples at lr N is a step of length 1 on each, so the prediction is exact."""
        count = 40
        losses = Loss.stack([find(name, CLASSES) for name in self.NAMES])
        recipe = Recipe(lr=count, momentum=0.0, steps=1, batch_size=count)
        found = trace(free_task(count), losses, 5, recipe, backend, samples=None)
        measured = found.output[:, 1].astype(float) - found.output[:, 0].astype(float)
        # The outputs are kept in float32.
        assert np.abs(measured - found.vector[:, 0]).max() < 3e-7
        assert (found.vector[:, 0] < -0.01).any()
        assert (found.vector[:, 0] > 0.01).any()

    def test_sign_and_first_order_of_a_small_step(self, backend: str) -> None:
        count, rate = 40, 1e-3
        job = free_task(count)
        losses = Loss.stack([find(name, CLASSES) for name in self.NAMES])
        recipe = Recipe(lr=rate * count, momentum=0.0, steps=1, batch_size=count)
        before: dict[int, Tensor] = {}

        def observe(members: list[int], epoch: int, networks: Networks) -> None:
            if epoch == 0:
                before.update(zip(members, networks.logits(job.inputs), strict=True))

        networks = train(job, losses, [5] * len(losses), recipe, backend, observe=observe).networks
        after = networks.logits(job.inputs).softmax(-1)
        targets = job.targets
        for row in range(len(losses)):
            outputs = before[row].softmax(-1)
            measured = (after[row] - outputs).gather(-1, targets[:, None]).squeeze(-1)
            first_order = rate * derivative(losses[row], outputs, targets)
            one = losses[row]
            assert isinstance(one, PowerLoss)
            predicted = output_change(rate * one, outputs, targets)
            large = measured.abs() > 1e-12
            assert torch.equal(measured.sign()[large], predicted.sign()[large])
            assert large.double().mean() > 0.9
            torch.testing.assert_close(measured, predicted, rtol=1e-6, atol=1e-14)
            error = (measured - first_order).abs()
            step = rate * losses[row].logit_gradient(outputs.log(), targets).abs().amax(-1)
            assert (error <= 2 * step**2 + 1e-13).all()
            assert (first_order.abs() > 10 * error).double().mean() > 0.5


def derivative(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Change of the target's output for each unit of an infinitely small step: the Jacobian times the step."""
    step = -loss.logit_gradient(outputs.log(), targets)
    moved = outputs * (step - (outputs * step).sum(-1, keepdim=True))
    return moved.gather(-1, targets[:, None]).squeeze(-1)


class TestInvariantOnDigits:
    """(a) The kept runs of experiments/invariant.py: candidates that the exact invariant rejects never train."""

    def test_kept_runs_are_enough_and_say_what_the_page_says(
        self, experiment: Callable[[str], ModuleType], almost: Callable[[Any, Any], bool]
    ) -> None:
        program, trained = experiment("invariant"), experiment("invariant_runs")
        kept = {name: json.loads((KEPT / f"runs-{name}.json").read_text()) for name in program.SETTINGS}
        summary = json.loads((KEPT / "summary.json").read_text())
        for name, document in kept.items():
            scores, lam = np.array(document["accuracy"]), torch.tensor(document["lambda"], dtype=torch.float64)
            assert torch.equal(lam, trained.draw(len(lam)))
            assert scores.shape == (len(lam), len(trained.RATES), trained.SEEDS)
            assert len(lam) >= 400
            left = scores.mean(2).max(1) > program.CHANCE / program.SETTINGS[name]
            exact = is_trainable(taylor(lam), program.SETTINGS[name]).numpy()
            assert not left[~exact].any()
            assert left[exact].any()
            assert not left[exact].all()
            for key, value in json.loads(json.dumps(program.judge(name, document))).items():
                assert almost(value, summary[name][key]), (name, key)
        counterexample = json.loads((KEPT / "counterexample.json").read_text())
        command = "python experiments/invariant.py results/invariant"
        page = (KEPT / "summary.md").read_text(encoding="utf-8").splitlines()
        assert page == program.page(summary, counterexample, kept["image"]["versions"], command)

    @pytest.mark.parametrize("classes", [5, 10])
    def test_the_reach_of_many_losses_is_where_the_zone_of_each_ends(
        self, experiment: Callable[[str], ModuleType], classes: int
    ) -> None:
        trained = experiment("invariant_runs")
        lam = trained.draw(30)
        lam = lam[is_trainable(taylor(lam), classes)]
        losses, start = taylor(lam), 1 - 1 / classes
        ends = [
            1 - next(zone.low for zone in zones(losses[k], classes) if zone.low < start <= zone.high)
            for k in range(len(lam))
        ]
        assert trained.reach(losses, classes).tolist() == pytest.approx(ends, abs=1e-14)
        assert 2 < sum(end < 1 for end in ends) < len(ends) - 2

    def test_the_area_of_many_draws_is_that_of_each(self, experiment: Callable[[str], ModuleType]) -> None:
        random = np.random.default_rng(0)
        values, left = random.integers(9, size=(7, 40)).astype(float), random.random((7, 40)) < 0.3
        areas = [roc_auc_score(*row) for row in zip(left, values, strict=True)]
        assert experiment("invariant").area(values, left) == pytest.approx(areas)

    def test_the_exact_form_is_not_necessary_for_every_loss(self, experiment: Callable[[str], ModuleType]) -> None:
        """m < 0, but it pulls every sample whose target's output is a little above 1/n at the start."""
        loss = taylor(experiment("invariant_runs").COUNTEREXAMPLE)
        assert not is_trainable(loss, 10)
        assert attraction(loss, 0.88, 10) > 0
        kept = json.loads((KEPT / "counterexample.json").read_text())
        best = max(kept["rates"], key=lambda row: row["mean"])
        assert best["mean"] == pytest.approx(np.mean(best["accuracy"]))
        assert min(best["accuracy"]) > 0.5

    def test_a_rejected_and_a_passed_loss_trained_now(self) -> None:
        job = task()
        losses = Loss.stack([mse(), -1 * mse(), polynomial(ch=-1), mae(), 0 * cross_entropy()])
        assert is_trainable(losses, CLASSES).tolist() == [True, False, False, True, False]
        recipe = RECIPE.model_copy(update={"epochs": 20})
        trained = train(job, repeated(losses, 2), [1, 2] * 5, recipe, monitor=(job.inputs, job.targets))
        assert trained.curve is not None
        final = trained.curve[:, -1].reshape(5, 2)
        assert (final[[0, 3]] > 0.6).all()
        start = final[4]  # The loss that is 0 everywhere leaves the networks as they were.
        assert (final[1] < 0.1).all()
        assert (final[2] <= start + 0.15).all()
