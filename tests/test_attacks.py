"""Attacks: closed steps, the library's own, the robust objective, masking, adversarial training."""

import importlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from torch import Tensor, nn

from lossmith.analysis import AttackPlan, Masking, TrainedLoss, robustness, train_loss
from lossmith.analysis.adversarial import fgsm_correct, pgd_correct
from lossmith.attacks import (
    GRADIENTS,
    checked_epsilon,
    fgsm,
    input_gradients,
    margin_slope,
    pgd,
    random_start,
    slopes,
)
from lossmith.attacks.library import LIBRARY_ATTACKS as LIBRARY
from lossmith.attacks.library import library_attack, run_toolbox
from lossmith.data import DataSettings, Normalize, Source, find_max_pixel, open_source, search_parts
from lossmith.errors import InputError
from lossmith.losses import Loss, baikal, cross_entropy, mae, mse
from lossmith.nets import ModelSettings, network_factory
from lossmith.training import Networks, Recipe, Task, accuracy, train
from lossmith.training.adversary import attacked_batch

CLASSES = 10
RECIPE = Recipe(epochs=4)


@pytest.fixture(scope="module")
def digits() -> tuple[Task, Tensor, Tensor]:
    parts = search_parts(open_source("digits"), DataSettings(train_size=400, validation_size=150))
    factory = network_factory(
        ModelSettings(hidden=(32,)), Normalize.fit(parts.train.inputs), parts.input_shape, CLASSES
    )
    task = Task(factory, parts.train.inputs, parts.train.targets, CLASSES, 16.0)
    return task, parts.validation.inputs, parts.validation.targets


@pytest.fixture(scope="module")
def trained_loss(digits: tuple[Task, Tensor, Tensor]) -> TrainedLoss:
    return train_loss(digits[0], "MSE", mse(), [1, 2, 3], RECIPE)


@pytest.fixture(scope="module")
def convolutional(digits: tuple[Task, Tensor, Tensor]) -> TrainedLoss:
    task, inputs, _ = digits
    factory = network_factory(
        ModelSettings(name="conv", hidden=(16,)), Normalize.fit(inputs), inputs.shape[1:], CLASSES
    )
    return train_loss(Task(factory, task.inputs, task.targets, CLASSES, 16.0), "ce", cross_entropy(), [1], RECIPE)


def slope_of(loss: Loss) -> Any:
    return Loss.stack([loss] * 3).logit_gradient


class TestGradients:
    @pytest.mark.parametrize("loss", [cross_entropy(), mse(), baikal()])
    def test_against_autograd_of_the_loss(
        self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor], loss: Loss
    ) -> None:
        _, inputs, targets = digits
        images = inputs[:20].float().expand(3, 20, 1, 8, 8)
        _, (found,) = input_gradients(trained_loss.networks.forward, images, targets[:20], [slope_of(loss)])
        for member in range(3):
            leaf = inputs[:20].float().requires_grad_()
            value = loss.value(trained_loss.networks.member(member)(leaf), targets[:20]).sum()
            (wanted,) = torch.autograd.grad(value, leaf)
            torch.testing.assert_close(found[member], wanted, rtol=1e-4, atol=1e-6)

    def test_margin_against_autograd(self) -> None:
        torch.manual_seed(0)
        logits = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
        targets = torch.tensor([0, 1, 2, 3, 0])
        right = logits.gather(-1, targets.expand(2, 5)[..., None])[..., 0]
        others = logits.scatter(-1, targets.expand(2, 5)[..., None], -torch.inf)
        (wanted,) = torch.autograd.grad((others.amax(-1) - right).sum(), logits)
        assert torch.equal(margin_slope(logits.detach(), targets), wanted)

    def test_one_forward_pass_for_all_slopes(self) -> None:
        calls = []

        def forward(x: Tensor) -> Tensor:
            calls.append(x)
            return x.flatten(2) @ torch.eye(4)[:, :3]

        followed = slopes(Loss.stack([mae()]))
        logits, found = input_gradients(forward, torch.rand(1, 6, 4), torch.zeros(6, dtype=torch.long), followed)
        assert len(calls) == 1
        assert logits.shape == (1, 6, 3)
        assert not logits.requires_grad
        assert [gradient.shape for gradient in found] == [(1, 6, 4)] * len(GRADIENTS)

    def test_members_do_not_touch_each_other(
        self, monkeypatch: pytest.MonkeyPatch, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]
    ) -> None:
        """In parts of the samples, too, whose size depends on how many networks there are."""
        _, inputs, targets = digits
        monkeypatch.setattr(importlib.import_module("lossmith.training.networks"), "SAMPLES", 120)
        assert trained_loss.networks.rows(inputs) == 40
        assert trained_loss.networks.select([0]).rows(inputs) == 120
        together = pgd_correct(trained_loss.networks, trained_loss.losses, inputs, targets, 0.1, 16.0, 3, 0)
        whole = fgsm_correct(trained_loss.networks, trained_loss.losses, inputs, targets, [0.1], 16.0)
        for member in range(3):
            alone = TrainedLoss("one", mse(), trained_loss.networks.select([member]), trained_loss.diverged[[member]])
            single = fgsm_correct(alone.networks, alone.losses, inputs, targets, [0.1], 16.0)
            for part, one in zip(whole, single, strict=True):
                assert torch.equal(part[..., [member], :], one)
            apart = pgd_correct(alone.networks, alone.losses, inputs, targets, 0.1, 16.0, 3, 0)
            assert torch.equal(together[:, [member]], apart)


class TestSteps:
    def test_fgsm_by_hand(self) -> None:
        inputs = torch.tensor([[[0.05, 0.5, 0.98, 0.5]]])

        def forward(x: Tensor) -> Tensor:
            weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
            return x @ -weight

        # The first logit falls with x0 and x2 and rises with x1, so the attack raises x0 and x2 and lowers x1.
        found = fgsm(forward, inputs, torch.tensor([0]), 0.1, margin_slope)
        torch.testing.assert_close(found, torch.tensor([[[0.15, 0.4, 1.0, 0.5]]]))

    def test_strength_is_in_units_of_the_max_pixel_pixel(
        self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]
    ) -> None:
        _, inputs, targets = digits
        images = inputs.float().expand(3, *inputs.shape)
        found = fgsm(trained_loss.networks.forward, images, targets, 0.125, slope_of(mse()), 16.0)
        assert found.min() >= 0
        assert found.max() <= 16
        moved = (found - images).abs()
        inside = (images >= 2) & (images <= 14)
        assert set(moved[inside].tolist()) <= {0.0, 2.0}
        assert (moved[inside] == 2).float().mean() > 0.99

    @pytest.mark.parametrize("start", [False, True])
    def test_zero_strength_changes_no_pixel(
        self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor], start: bool
    ) -> None:
        _, inputs, targets = digits
        images = inputs.float().expand(3, *inputs.shape)
        forward = trained_loss.networks.forward
        assert torch.equal(fgsm(forward, images, targets, 0.0, slope_of(mse()), 16.0), images)
        begin = random_start(images[0], 1) if start else None
        assert torch.equal(pgd(forward, images, targets, 0.0, slope_of(mse()), 16.0, 3, start=begin), images)

    def test_one_step_of_pgd_of_the_whole_length_is_fgsm(
        self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]
    ) -> None:
        _, inputs, targets = digits
        images = inputs.float().expand(3, *inputs.shape)
        forward = trained_loss.networks.forward
        one = pgd(forward, images, targets, 0.1, slope_of(mse()), 16.0, 1, 0.1)
        torch.testing.assert_close(one, fgsm(forward, images, targets, 0.1, slope_of(mse()), 16.0))

    def test_pgd_stays_near_and_climbs(self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]) -> None:
        _, inputs, targets = digits
        images = inputs.float().expand(3, *inputs.shape)
        seen: list[Tensor] = []
        start = random_start(images[0], "start")
        slope = slope_of(cross_entropy())
        found = pgd(trained_loss.networks.forward, images, targets, 0.1, slope, 16.0, 10, start=start, see=seen.append)
        assert len(seen) == 10
        assert (found - images).abs().max() <= 1.6 + 1e-5
        assert found.min() >= 0
        assert found.max() <= 16
        with torch.no_grad():
            last = trained_loss.networks.forward(found)
        values = [cross_entropy().value(logits, targets).mean() for logits in (seen[0], last)]
        assert values[1] > values[0] + 0.3

    def test_a_random_start_is_seeded_and_fills_its_range(self) -> None:
        like = torch.zeros(4000, dtype=torch.float64)
        found = random_start(like, 3, "a")
        assert torch.equal(found, random_start(like, 3, "a"))
        assert not torch.equal(found, random_start(like, 3, "b"))
        assert found.dtype == torch.float64
        assert -1 <= found.min() < -0.99
        assert 0.99 < found.max() <= 1

    @pytest.mark.parametrize("epsilon", [-0.1, 1.5, float("nan"), float("inf")])
    def test_a_strength_that_is_none(self, epsilon: float) -> None:
        with pytest.raises(InputError, match=f"epsilon is {epsilon:g}; the strength of an attack is a share"):
            checked_epsilon(epsilon)
        with pytest.raises(InputError):
            fgsm(lambda x: x, torch.zeros(1, 1, 2), torch.tensor([0]), epsilon, margin_slope)

    def test_no_step(self) -> None:
        with pytest.raises(InputError, match="1 step or more, not 0"):
            pgd(lambda x: x, torch.zeros(1, 1, 2), torch.tensor([0]), 0.1, margin_slope, steps=0)


@pytest.mark.integration
class TestAgainstTheLibrary:
    """The toolbox computes gradients by its own code, on the same network."""

    @pytest.mark.parametrize("kind", ["mlp", "conv"])
    @pytest.mark.parametrize("steps", [1, 10])
    def test_fgsm_and_pgd(
        self,
        trained_loss: TrainedLoss,
        convolutional: TrainedLoss,
        digits: tuple[Task, Tensor, Tensor],
        kind: str,
        steps: int,
    ) -> None:
        networks = (trained_loss if kind == "mlp" else convolutional).networks.select([0])
        _, inputs, targets = digits
        images, max_pixel, epsilon = inputs.float(), 16.0, 0.1
        slope = Loss.stack([cross_entropy()]).logit_gradient

        def made(evasion: Any, classifier: Any) -> Any:
            if steps == 1:
                return evasion.FastGradientMethod(classifier, norm=np.inf, eps=epsilon * max_pixel)
            return evasion.ProjectedGradientDescent(
                classifier,
                norm=np.inf,
                eps=epsilon * max_pixel,
                eps_step=0.025 * max_pixel,
                max_iter=steps,
                verbose=False,
            )

        wanted = run_toolbox(made, networks.member(0), images, targets, CLASSES, max_pixel, 0)
        if steps == 1:
            found = fgsm(networks.forward, images[None], targets, epsilon, slope, max_pixel)[0]
        else:
            found = pgd(networks.forward, images[None], targets, epsilon, slope, max_pixel, steps, 0.025)[0]
        assert not torch.equal(found, images)
        assert ((found - wanted).abs() / max_pixel <= 1e-6).double().mean() >= 0.999

    @pytest.mark.parametrize("name", LIBRARY)
    def test_within_reach_and_harmful(
        self, convolutional: TrainedLoss, digits: tuple[Task, Tensor, Tensor], name: str
    ) -> None:
        _, inputs, targets = digits
        network, images = convolutional.networks.member(0), inputs[:60].float()
        options: dict[str, Any] = {"iterations": 10, "queries": 100, "seed": 1}
        found = library_attack(name, network, images, targets[:60], 0.2, CLASSES, 16.0, **options)
        assert found.shape == images.shape
        assert found.min() >= 0
        assert found.max() <= 16
        assert (found - images).abs().max() <= 3.2 + 1e-5
        with torch.no_grad():
            before, after = ((network(x).argmax(-1) == targets[:60]).float().mean() for x in (images, found))
        assert after < before - 0.2
        state = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
        again = library_attack(name, network, images, targets[:60], 0.2, CLASSES, 16.0, **options)
        assert torch.equal(found, again)
        assert (state == np.random.get_state()[1]).all()  # type: ignore[index]  # noqa: NPY002
        assert library_attack(name, network, images, targets[:60], 0.0, CLASSES, 16.0) is images

    @pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (3, 9), (9, 3), (4, 4), (8, 8)])
    def test_square_asks_about_every_pixel_of_any_shape(self, shape: tuple[int, int]) -> None:
        class Stubborn(nn.Module):
            """Is never fooled, and remembers which pixels were changed, and where one was unlike that above it."""

            changed, unlike = torch.zeros(shape), torch.zeros(shape[0] - 1, shape[1])

            def forward(self, x: Tensor) -> Tensor:
                moved = x[:, 0] - 0.5
                Stubborn.changed = torch.maximum(self.changed, moved.abs().amax(0))
                Stubborn.unlike = torch.maximum(self.unlike, moved.diff(dim=1).abs().amax(0))
                return torch.stack([x.flatten(1).sum(1) + 100, x.flatten(1).sum(1) * 0], 1)

        images = torch.full((50, 1, *shape), 0.5)
        library_attack("square", Stubborn().eval(), images, torch.zeros(50, dtype=torch.long), 0.1, 2, queries=100)
        assert (Stubborn.changed > 0.09).all()
        # The stripes that it begins with give whole columns of one sign.
        assert shape[0] == 1 or (Stubborn.unlike.amax(1) > 0.09).all()

    def test_two_classes_have_no_ratio_of_three_logits(self) -> None:
        with pytest.raises(InputError, match="apgd-dlr needs at least 3 classes, not 2"):
            library_attack("apgd-dlr", nn.Flatten(), torch.zeros(1, 1, 1, 2), torch.tensor([0]), 0.1, 2)

    def test_a_missing_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "art", None)
        with pytest.raises(
            InputError, match=r"Adversarial Robustness Toolbox, .*: pip install '\.\[robust\]' in the source"
        ):
            AttackPlan(attacks=("square",))
        AttackPlan(attacks=("fgsm", "pgd"))

    def test_it_does_not_ask_for_torchvision(self) -> None:
        """Its wheels tie users to one build of torch; what extras of the toolbox ask for does not count."""
        wanted = [Requirement(text) for text in distribution("adversarial-robustness-toolbox").requires or []]
        needed = {one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})}
        assert "numpy" in needed
        assert "torchvision" not in needed


class TestRobustness:
    @pytest.fixture(scope="class")
    @classmethod
    def found(cls, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]) -> Any:
        _, inputs, targets = digits
        plan = AttackPlan(
            epsilons=(0.0, 0.1),
            attacks=("fgsm", "pgd", *LIBRARY),
            steps=5,
            library_samples=40,
            iterations=5,
            queries=30,
        )
        return robustness(trained_loss, inputs, targets, 16.0, plan)

    @pytest.mark.integration
    def test_no_attack_is_the_clean_accuracy_exactly(
        self, found: Any, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]
    ) -> None:
        _, inputs, targets = digits
        clean = accuracy(trained_loss.networks.logits(inputs), targets).numpy()
        assert (found.clean == clean).all()
        for name, values in found.accuracy.items():
            of_all = found.samples[name] == len(targets)
            assert (values[0] == (clean if of_all else found.clean_library)).all(), name

    @pytest.mark.integration
    def test_figures_are_in_their_order(self, found: Any) -> None:
        for attack in ("fgsm", "pgd"):
            each = np.stack([found.accuracy[f"{attack}-{gradient}"] for gradient in GRADIENTS])
            assert (found.accuracy[attack] <= each.min(0)).all()
        parts = np.stack([found.accuracy[name] for name in LIBRARY])
        assert (found.accuracy["autoattack"] <= parts.min(0)).all()
        assert (found.accuracy["worst"] <= found.accuracy["autoattack"]).all()
        assert (found.accuracy["worst"][1] < found.clean_library).all()
        assert found.samples["worst"] == 40

    def test_worst_is_per_sample(self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]) -> None:
        _, inputs, targets = digits
        right, survived, _ = fgsm_correct(trained_loss.networks, trained_loss.losses, inputs, targets, [0.1], 16.0)
        by_hand = []
        for slope in slopes(trained_loss.losses):
            images = inputs.float().expand(3, *inputs.shape)
            attacked = fgsm(trained_loss.networks.forward, images, targets, 0.1, slope, 16.0)
            with torch.no_grad():
                by_hand.append((trained_loss.networks.forward(attacked).argmax(-1) == targets) & right)
        assert torch.equal(survived[0], torch.stack(by_hand))

    def test_pgd_counts_success_at_any_step(
        self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]
    ) -> None:
        _, inputs, targets = digits
        counts = [
            pgd_correct(trained_loss.networks, trained_loss.losses, inputs, targets, 0.1, 16.0, 5, seed).sum()
            for seed in (0, 0, 1)
        ]
        assert counts[0] == counts[1]
        images = inputs.float().expand(3, *inputs.shape)
        start = random_start(images[0], 0, "pgd")
        standing = []
        slope = slopes(trained_loss.losses)[1]
        last = pgd(
            trained_loss.networks.forward,
            images,
            targets,
            0.1,
            slope,
            16.0,
            5,
            start=start,
            see=lambda logits: standing.append(logits.argmax(-1) == targets),
        )
        with torch.no_grad():
            standing += [trained_loss.networks.forward(x).argmax(-1) == targets for x in (last, images)]
        found = pgd_correct(trained_loss.networks, trained_loss.losses, inputs, targets, 0.1, 16.0, 5, 0)
        assert torch.equal(found[1], torch.stack(standing).all(0))

    def test_backends_agree(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task, inputs, targets = digits
        plan = AttackPlan(epsilons=(0.05, 0.1), steps=3)
        sequential, together = (
            robustness(train_loss(task, "ce", cross_entropy(), [4, 5], RECIPE, backend), inputs, targets, 16.0, plan)
            for backend in ("sequential", "population")
        )
        assert sequential.accuracy.keys() == together.accuracy.keys()
        for name, values in sequential.accuracy.items():
            assert np.abs(values - together.accuracy[name]).max() <= 0.02

    def test_a_network_that_is_not_finite_is_wrong_everywhere(
        self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]
    ) -> None:
        _, inputs, targets = digits
        networks = trained_loss.networks.select([0, 1])
        parameters = {name: value.clone() for name, value in networks.parameters.items()}
        next(iter(parameters.values()))[1] = torch.nan
        broken = Networks(networks.base, parameters, networks.buffers)
        lost = TrainedLoss("lost", mse(), broken, torch.tensor([False, True]))
        found = robustness(lost, inputs, targets, 16.0, AttackPlan(epsilons=(0.0, 0.1), steps=2))
        assert found.clean[1] == 0
        assert found.clean[0] > 0.5
        assert all((values[:, 1] == 0).all() for values in found.accuracy.values())

    def test_one_logit_that_is_not_finite_spoils_the_network(self) -> None:
        """As in the accuracy of a training, so that ε = 0 gives the same."""

        class Fragile(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1))

            def forward(self, x: Tensor) -> Tensor:
                x = x.flatten(1) * self.weight
                return torch.stack([x[:, 0], 1 / (x[:, 1] - 0.5)], 1)

        images = torch.full((6, 1, 1, 2), 0.25)
        images[:, 0, 0, 0] = 1
        targets = torch.zeros(6, dtype=torch.long)
        base = Fragile()
        networks = Networks(base, {"weight": torch.ones(1, 1)}, {})
        losses = Loss.stack([mse()])
        assert fgsm_correct(networks, losses, images, targets, [0.0], 1.0)[1].all()
        images[3, 0, 0, 1] = 0.5
        right, survived, _ = fgsm_correct(networks, losses, images, targets, [0.0], 1.0)
        assert not right.any()
        assert not survived.any()
        assert accuracy(networks.logits(images), targets).item() == 0

    @pytest.mark.integration
    def test_two_classes_are_told_before_any_attack(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task, inputs, targets = digits
        binary = Task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), task.inputs.float(), task.targets % 2, 2)
        two = train_loss(binary, "ce", cross_entropy(), [1], Recipe(epochs=1))

        def progress(_: float) -> None:
            raise AssertionError("an attack was made")

        with pytest.raises(InputError, match="apgd-dlr needs at least 3 classes, not 2; leave it out"):
            robustness(two, inputs.float(), targets % 2, 16.0, AttackPlan(attacks=("fgsm", *LIBRARY)), progress)

    @pytest.mark.integration
    def test_what_square_asks(self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]) -> None:
        """Three times the steps, at most: for the verdict, and before and after; another seed asks other questions."""
        _, inputs, targets = digits
        network = trained_loss.networks.member(0)
        with torch.no_grad():
            place = int((network(inputs).argmax(-1) == targets).nonzero()[0])
        images, targets = inputs[place : place + 1].float(), targets[place : place + 1]
        asked: list[Tensor] = []
        handle = network.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
        library_attack("square", network, images, targets, 0.001, CLASSES, 16.0, queries=40)
        few = len(asked)
        library_attack("square", network, images, targets, 0.001, CLASSES, 16.0, queries=80)
        handle.remove()
        assert 40 <= few <= 3 * 40 + 5
        assert len(asked) - few == pytest.approx(2 * few, abs=5)
        plans = [
            AttackPlan(epsilons=(0.1,), attacks=("square",), queries=15, library_samples=150, seed=seed)
            for seed in (0, 0, 1)
        ]
        _, inputs, targets = digits
        found = [robustness(trained_loss, inputs, targets, 16.0, plan).accuracy["square"] for plan in plans]
        assert (found[0] == found[1]).all()
        assert (found[0] != found[2]).any()

    def test_some_samples_only(self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]) -> None:
        _, inputs, targets = digits
        found = robustness(trained_loss, inputs, targets, 16.0, AttackPlan(samples=30, attacks=("fgsm",)))
        assert found.samples == dict.fromkeys(("fgsm-loss", "fgsm-cross-entropy", "fgsm-margin", "fgsm", "worst"), 30)
        assert (found.clean * 30 == (found.clean * 30).round()).all()

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"epsilons": ()}, "no epsilon is given"),
            ({"epsilons": (0.1, -0.1)}, "epsilon is -0.1"),
            ({"epsilons": (0.1, 0.1)}, "given twice"),
            ({"epsilons": (0.1, 0.10000001)}, "given twice, to six digits"),
            ({"attacks": ("fgsm", "bomb")}, "there is no attack 'bomb'; give some of fgsm"),
            ({"attacks": ()}, "there is no attack ''; give some of"),
            ({"steps": 0}, "steps is 0; it must be at least 1"),
            ({"samples": 0}, "samples is 0"),
            ({"queries": -1}, "queries is -1"),
        ],
    )
    def test_plans_that_cannot_be(self, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            AttackPlan(**changes)


class TestMasking:
    @pytest.mark.integration
    @pytest.mark.parametrize(
        ("scale", "signs"),
        [
            (1, []),
            (2, []),
            (6, ["the margin's gradient beats both"]),
            (1e4, ["zero gradients", "the margin's gradient beats both", "more steps do not help"]),
        ],
    )
    def test_a_saturated_loss_is_found_out(
        self, digits: tuple[Task, Tensor, Tensor], scale: float, signs: list[str]
    ) -> None:
        """Larger logits leave cross-entropy less and less gradient in float32; the decisions stay, and the margin's."""
        task, inputs, targets = digits
        sound = train_loss(task, "ce", cross_entropy(), [1], Recipe(epochs=15))
        parameters = {name: value.clone() for name, value in sound.networks.parameters.items()}
        for name in list(parameters)[-2:]:
            parameters[name] = parameters[name] * scale
        hidden = Networks(sound.networks.base, parameters, sound.networks.buffers)
        plan = AttackPlan(epsilons=(0.1,), attacks=("fgsm", "pgd", "square"), steps=10, queries=60)
        masked, plain = (
            robustness(TrainedLoss("ce", cross_entropy(), networks, torch.tensor([False])), inputs, targets, 16.0, plan)
            for networks in (hidden, sound.networks)
        )
        assert masked.masking[0].signs() == signs
        assert masked.masking[0].missing() == []
        assert masked.masking[0].zero_gradients["margin"] == 0
        assert masked.accuracy["fgsm-margin"][0, 0] == pytest.approx(plain.accuracy["fgsm-margin"][0, 0], abs=0.01)
        if signs:
            assert masked.accuracy["fgsm-loss"][0, 0] > masked.accuracy["fgsm"][0, 0] + 0.1

    @pytest.mark.parametrize(
        ("changes", "signs"),
        [
            ({}, []),
            ({"zero_gradients": {"loss": 0.02, "cross-entropy": 0.0, "margin": 0.0}}, ["zero gradients"]),
            ({"own_gradient": 0.61}, ["cross-entropy's gradient beats its own"]),
            ({"own_gradient": 0.59}, []),
            ({"margin_gradient": 0.54}, ["the margin's gradient beats both"]),
            ({"more_steps": 0.6, "strongest": 0.5}, ["more steps do not help"]),
            ({"more_steps": 0.6, "strongest": 0.58}, []),
            ({"black_box_only": 0.02}, ["a black box breaks what gradients do not"]),
            ({"black_box_only": 0.005}, []),
            ({"more_steps": None, "strongest": None, "margin_gradient": None, "black_box_only": None}, []),
        ],
    )
    def test_every_sign(self, changes: dict[str, Any], signs: list[str]) -> None:
        honest: dict[str, Any] = {
            "zero_gradients": {"loss": 0.0, "cross-entropy": 0.0, "margin": 0.0},
            "own_gradient": 0.6,
            "cross_entropy_gradient": 0.6,
            "margin_gradient": 0.58,
            "one_step": 0.6,
            "more_steps": 0.57,
            "strongest": 0.56,
            "black_box_only": 0.0,
        }
        assert Masking(**{**honest, **changes}).signs() == signs

    def test_a_flat_loss_is_beaten_by_cross_entropy(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task, inputs, targets = digits
        trained_loss = train_loss(task, "Baikal", baikal(), [1, 2], Recipe(epochs=30))
        (found,) = robustness(
            trained_loss, inputs, targets, 16.0, AttackPlan(epsilons=(0.1,), attacks=("fgsm",))
        ).masking
        assert found.own_gradient is not None
        assert found.cross_entropy_gradient is not None
        assert found.own_gradient > found.cross_entropy_gradient + 0.05
        assert "cross-entropy's gradient beats its own" in found.signs()
        assert found.missing() == ["more steps (fgsm and pgd)", "black box (square, with pgd)"]
        document = json.loads(json.dumps(found.to_json()))
        assert document["more_steps"] is None
        assert document["not_run"] == found.missing()

    @pytest.mark.integration
    def test_black_box_only_by_hand(self, trained_loss: TrainedLoss, digits: tuple[Task, Tensor, Tensor]) -> None:
        _, inputs, targets = digits
        attacks = ("pgd", "square")
        plan = AttackPlan(epsilons=(0.1,), attacks=attacks, steps=1, library_samples=150, queries=60)
        found = robustness(trained_loss, inputs, targets, 16.0, plan)
        both, white_box = found.accuracy["worst"][0], found.accuracy["pgd"][0]
        assert found.masking[0].black_box_only == pytest.approx((white_box - both).mean())
        one_step = AttackPlan(epsilons=(0.1,), attacks=("fgsm", "square"), library_samples=20, queries=5)
        (masking,) = robustness(trained_loss, inputs, targets, 16.0, one_step).masking
        assert masking.black_box_only is None
        assert "black box (square, with pgd)" in masking.missing()


def task_of(task: Task, kind: torch.dtype = torch.float64) -> Task:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)).to(kind)

    return Task(make, task.inputs[:120].to(kind) / 16, task.targets[:120], CLASSES, 1.0)


class TestAdversarialTraining:
    @pytest.mark.parametrize("adversary", ["fgsm", "pgd"])
    @pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
    def test_backends_give_the_same_networks(
        self, digits: tuple[Task, Tensor, Tensor], adversary: str, seeds: tuple[int, ...]
    ) -> None:
        task = task_of(digits[0])
        recipe = Recipe.model_validate(
            {"epochs": 2, "batch_size": 30, "lr": 0.05, "adversary": adversary, "adversary_steps": 3}
        )
        losses = Loss.stack([cross_entropy(), mse()])
        sequential, together = (
            train(task, losses, list(seeds), recipe, backend) for backend in ("sequential", "population")
        )
        for part in ("parameters", "buffers"):
            for name, value in getattr(sequential.networks, part).items():
                torch.testing.assert_close(getattr(together.networks, part)[name], value, rtol=1e-9, atol=1e-11)

    def test_it_is_what_an_ordinary_loop_does(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task = task_of(digits[0])
        recipe = Recipe(epochs=1, steps=2, batch_size=30, lr=0.05, adversary="fgsm", adversary_epsilon=0.2)
        trained = train(task, Loss.stack([cross_entropy()]), [5], recipe, "sequential")
        network = task.build(5)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        from lossmith.training.randomness import batch_order

        order = batch_order(5, 0, 120)
        for step in range(2):
            batch = order[30 * step : 30 * (step + 1)]
            x, y = task.inputs[batch], task.targets[batch]
            network.eval()
            offset = (0.2 * random_start(x, 5, "adversary", step) + x).clamp(0, 1).requires_grad_()
            nn.functional.cross_entropy(network(offset), y).backward()
            assert offset.grad is not None
            near = (offset.detach() + 0.25 * offset.grad.sign()).clamp(x - 0.2, x + 0.2).clamp(0, 1)
            network.train()
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(near), y).backward()
            optimizer.step()
        for name, value in network.named_parameters():
            torch.testing.assert_close(trained.networks.parameters[name][0], value.detach(), rtol=1e-9, atol=1e-11)

    def test_it_makes_networks_resist(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task, inputs, targets = digits
        plan = AttackPlan(epsilons=(0.1,), attacks=("pgd",), steps=10)
        found = [
            robustness(train_loss(task, "ce", cross_entropy(), [1, 2], recipe), inputs, targets, 16.0, plan)
            .accuracy["pgd"]
            .mean()
            for recipe in (
                Recipe(epochs=10),
                Recipe(epochs=10, adversary="fgsm", adversary_epsilon=0.1),
                Recipe(epochs=10, adversary="pgd", adversary_epsilon=0.1, adversary_steps=3),
            )
        ]
        assert found[1] > found[0] + 0.1
        assert found[2] > found[0] + 0.1

    def test_zero_strength_is_ordinary_training(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task = task_of(digits[0])
        losses = Loss.stack([cross_entropy()])
        recipes = Recipe(epochs=1), Recipe(epochs=1, adversary="pgd", adversary_epsilon=0.0, adversary_steps=2)
        first, second = (train(task, losses, [1], recipe) for recipe in recipes)
        for name, value in first.networks.parameters.items():
            assert torch.allclose(second.networks.parameters[name], value, rtol=1e-12, atol=1e-14)

    def test_soft_labels(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task = task_of(digits[0])
        soft = nn.functional.one_hot(task.targets, CLASSES).double()
        recipe = Recipe(epochs=1, adversary="fgsm")
        hard, same = (
            train(Task(task.factory, task.inputs, targets, CLASSES, 1.0), Loss.stack([mse()]), [1], recipe)
            for targets in (task.targets, soft)
        )
        for name, value in hard.networks.parameters.items():
            torch.testing.assert_close(same.networks.parameters[name], value, rtol=1e-9, atol=1e-11)

    def test_no_images_to_attack(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task, _, _ = digits
        blind = Task(task.factory, task.inputs, task.targets, CLASSES)
        with pytest.raises(InputError, match="adversarial training attacks images with pixels in"):
            train(blind, Loss.stack([mse()]), [1], Recipe(adversary="fgsm"))

    def test_a_batch_stays_within_reach(self, digits: tuple[Task, Tensor, Tensor]) -> None:
        task, _, _ = digits
        images = task.inputs[:20].float()[None]
        network = task.build(0).eval()
        start = random_start(images[0], 1)
        slope = cross_entropy().logit_gradient
        forward: Callable[[Tensor], Tensor] = lambda x: network(x[0])[None]  # noqa: E731
        for adversary in ("fgsm", "pgd"):
            recipe = Recipe.model_validate({"adversary": adversary, "adversary_epsilon": 0.05})
            found = attacked_batch(forward, images, task.targets[:20], start, slope, recipe, 16.0)
            assert 0.5 < (found - images).abs().max() <= 0.8 + 1e-5


class TestPixels:
    def test_max_pixel(self) -> None:
        digits = open_source("digits")
        assert find_max_pixel(digits, DataSettings()) == 16
        assert find_max_pixel(digits, DataSettings(max_pixel=20.0)) == 20
        bytes_ = Source.from_tensors(torch.randint(0, 200, (8, 3, 4, 4), dtype=torch.uint8), torch.arange(8) % 2)
        assert find_max_pixel(bytes_, DataSettings()) == 255
        shares = Source.from_tensors(torch.rand(8, 4, 4), torch.arange(8) % 2)
        assert find_max_pixel(shares, DataSettings()) == 1
        named = Source.from_tensors(torch.rand(8, 4, 4), torch.arange(8) % 2, name="digits")
        assert find_max_pixel(named, DataSettings()) == 1

    def test_pixels_that_are_all_dark(self) -> None:
        """Bytes from 0 to 1 are hardly meant as 1 of 255."""
        dark = Source.from_tensors(torch.arange(128, dtype=torch.uint8).reshape(8, 4, 4) % 2, torch.arange(8) % 2)
        with pytest.raises(InputError, match=r"the brightest pixel of tensors is 1, but a white one would be 255"):
            find_max_pixel(dark, DataSettings())
        assert find_max_pixel(dark, DataSettings(max_pixel=1.0)) == 1

    @pytest.mark.parametrize(
        ("inputs", "sentence"),
        [
            (torch.rand(8, 4), "mine has flat features, but an attack needs images"),
            (
                torch.rand(8, 1, 4, 4) * 2 + 0.5,
                "but an attack works on pixels from 0 to 1; give images that are not norm.*, or say what a white",
            ),
            (torch.rand(8, 1, 4, 4) - 1, r"mine has pixels from -.*\(the network does that\)$"),
        ],
    )
    def test_what_has_no_pixels(self, inputs: Tensor, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            find_max_pixel(Source.from_tensors(inputs, torch.arange(8) % 2, name="mine"), DataSettings())

    def test_test_images_are_looked_at_too(self) -> None:
        inputs, targets = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
        source = Source.from_tensors(inputs, targets, inputs + 1, targets)
        with pytest.raises(InputError, match="pixels from"):
            find_max_pixel(source, DataSettings())
