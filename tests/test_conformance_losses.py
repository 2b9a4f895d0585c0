"""What every registered kind of loss must do: a new one is a file and a registration, and passes the same suite."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from lossmith import Criterion, InputError, Loss, baikal, cross_entropy, focal, gce, load, mae, mse, save
from lossmith.attacks import slopes
from lossmith.data import Normalize
from lossmith.losses import (
    CATALOG,
    KINDS,
    Blend,
    ClassWeighted,
    Clipped,
    Forward,
    Mixed,
    Normalized,
    NormalizedNegative,
    PowerLoss,
    Schedule,
    Sharpened,
    Sum,
    active_negative,
    agce,
    aul,
    expression,
    find,
    jensen_shannon,
    label_weights,
    latex,
    logit_clip,
    nce_agce,
    nce_rce,
    normalized_cross_entropy,
    powers,
    schedule,
)
from lossmith.search import SPACES, VectorSpace
from lossmith.study import EvolveSettings, Study, evolve
from lossmith.theory import (
    Form,
    attraction,
    bias_growth,
    explain,
    gain,
    is_trainable,
    logit_steps,
    margin,
    null_epoch,
    recognize,
    regime,
    symmetric_outputs,
    symmetric_values,
    zero_error,
    zones,
)
from lossmith.training import Recipe, Task, choose_backend, train

CLASSES = 4


@dataclass(frozen=True, eq=False, repr=False)
class Sine(Loss):
    """A sum over classes that is no sum of powers, ``φ = y sin h``: a whole kind of loss in a few lines."""

    kind: ClassVar[str] = "sine"
    sums_over_classes: ClassVar[bool] = True
    classes: int | None = None
    name: str = "sine"

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        return y * h.sin()

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        return -self.phi(log_h.exp(), y).sum(-1)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        return y * log_h.exp() * log_h.exp().cos()

    def formula(self, digits: int = 4) -> str:
        return "y sin h"

    def body(self) -> dict[str, Any]:
        return {}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Sine:
        return cls(classes, name)


@dataclass(frozen=True, eq=False, repr=False)
class Switched(Sine):
    """Another loss in the second half of the training."""

    kind: ClassVar[str] = "switched"
    name: str = "switched"

    def at(self, progress: float) -> Loss:
        return self if progress < 0.5 else cross_entropy()


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """Two more kinds."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(KINDS, "_entries", dict(KINDS.items()))
        for kind in (Sine, Switched):
            KINDS.register(kind.kind, kind)
        yield


NOISE = torch.tensor([[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0.1, 0.1, 0.8, 0], [0, 0, 0.5, 0.5]])
SINGLE: dict[str, Loss] = {
    **{name: find(name, CLASSES) for name in CATALOG},
    "sine": Sine(),
    "switched": Switched(),
    "normalized mse": Normalized(mse()),
    "normalized sine": Normalized(Sine()),
    "normalized smoothed": Normalized(cross_entropy().smoothed(0.3, CLASSES)),
    "clipped baikal": Clipped(baikal(), torch.tensor(1.5)),
    "clipped normalized": Clipped(normalized_cross_entropy(), torch.tensor(0.7)),
    "expression": expression("tanh(h) - y/h"),
    "expression of logarithms": expression("(0.9*y + 0.025)*log(h) + exp(h)*log(0.3 + h*y)"),
    "clipped expression": Clipped(expression("sqrt(h)*y*log(h)*log(h)"), torch.tensor(1.2)),
    "blend": Blend(mse(), expression("tanh(h) - y/h"), 0.3),
    "steps": schedule([(0.0, normalized_cross_entropy()), (0.5, cross_entropy())], steps=True),
    "schedule": schedule([(0.0, mae()), (0.5, cross_entropy()), (1.0, cross_entropy())]),
    "sum": Sum((normalized_cross_entropy(), Sine(), gce(0.5)), torch.tensor([1.0, -0.3, 2.0])),
    "sum over classes": Sum((Sine(), agce(0.3)), torch.tensor([1.0, 2.0])),
    "fractional focal": find("focal:0.5", CLASSES),
    "sharpened baikal": Sharpened(baikal(), torch.tensor(3.0)),
    "barely sharpened": Sharpened(Normalized(mae()), torch.tensor(0.0)),
    "forward matrix": Forward(mae(), NOISE),
    "clipped sharpened": Clipped(Sharpened(nce_agce(), torch.ones(())), torch.ones(())),
    "negative": NormalizedNegative(),
    "twice clipped": Clipped(logit_clip(2), torch.tensor(1.0)),
}
POPULATIONS: dict[str, Loss] = {
    "power": Loss.stack([cross_entropy(), gce(0.7), mse()]),
    "normalized": Loss.stack([normalized_cross_entropy(), Normalized(mse()), Normalized(focal(2))]),
    "normalized mixed": Loss.stack([normalized_cross_entropy(), Normalized(Sine())]),
    "clipped": Loss.stack([logit_clip(1), logit_clip(2.5), Clipped(mae(), torch.tensor(0.5))]),
    "clipped mixed": Loss.stack([logit_clip(1), Clipped(Sine(), torch.tensor(2.0))]),
    "sine": Loss.stack([Sine(), Sine()]),
    "expressions": Loss.stack([expression("tanh(h) - y/h"), expression("exp(h)*y"), expression("log(h + y)")]),
    "schedules": Loss.stack([schedule([(0.1, mae()), (0.9, gce(0.3))]), schedule([(0.1, mse()), (0.9, gce(0.5))])]),
    "sums": Loss.stack([nce_rce(1), nce_rce(0.2)]),
    "sums of populations": Loss.stack([nce_agce(1, q=0.5), nce_agce(2, a=0.3)]),
    "sums of others": Loss.stack([nce_rce(1), active_negative(2)]),
    "sharpened": Loss.stack([Sharpened(mse(), torch.tensor(m)) for m in (0.0, 1.0, 1e5)]),
    "sharpened mixed": Loss.stack([Sharpened(mse(), torch.tensor(2.0)), Sharpened(Sine(), torch.tensor(0.5))]),
    "shifted powers": Loss.stack([agce(0.3), agce(2.0, a=0.0), agce(0.7, a=5.0)]),
    "flipped powers": Loss.stack([aul(0.5), aul(2.0, a=1.5)]),
    "focal": Loss.stack([find("focal:0.5", CLASSES), find("focal:1.7", CLASSES)]),
    "jensen-shannon": Loss.stack([jensen_shannon(w) for w in (0.1, 0.5, 0.9)]),
    "forward": Loss.stack([Forward(base, NOISE) for base in (mae(), gce(0.3))]),
    "forward mixed": Loss.stack([Forward(mae(), NOISE), Forward(mae(), torch.eye(CLASSES))]),
    "mixed": Loss.stack([normalized_cross_entropy(), mae(), logit_clip(1.5), Sine()]),
}
OTHERS = {name: loss for name, loss in SINGLE.items() if not isinstance(loss, PowerLoss)}
single = pytest.mark.parametrize("loss", SINGLE.values(), ids=SINGLE)
other = pytest.mark.parametrize("loss", OTHERS.values(), ids=OTHERS)
population = pytest.mark.parametrize("losses", POPULATIONS.values(), ids=POPULATIONS)
every = pytest.mark.parametrize("loss", [*SINGLE.values(), *POPULATIONS.values()], ids=[*SINGLE, *POPULATIONS])
labeled = pytest.mark.parametrize("labels", ["indices", "probabilities"])


def batch(
    labels: str = "indices", classes: int = CLASSES, samples: int = 6, scale: float = 1.5
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = scale * torch.randn(samples, classes, generator=generator, dtype=torch.float64)
    if labels == "probabilities":
        return logits, torch.randn(samples, classes, generator=generator, dtype=torch.float64).softmax(-1)
    return logits, torch.randint(classes, (samples,), generator=generator)


def near(actual: Tensor, expected: Tensor, relative: float = 1e-11) -> None:
    assert expected.isfinite().all()
    torch.testing.assert_close(actual, expected, rtol=0, atol=relative * (1 + expected.abs().max().item()))


def test_every_kind_has_examples() -> None:
    found = {type(loss) for loss in (*SINGLE.values(), *POPULATIONS.values())}
    assert found == {KINDS[name] for name in KINDS}
    assert all(KINDS[name].kind == name for name in KINDS)


class TestMathematics:
    @single
    @labeled
    def test_slope_is_autograd_of_the_value(self, loss: Loss, labels: str) -> None:
        logits, targets = batch(labels)
        y = targets if labels == "probabilities" else functional.one_hot(targets, CLASSES).double()
        x = logits.log_softmax(-1).requires_grad_()
        (gradient,) = torch.autograd.grad(loss.values(x, y).sum(), x)
        near(loss.slope(x, y).expand_as(x).detach(), -gradient)

    @every
    @labeled
    @pytest.mark.parametrize("scale", [0.2, 1.5, 6.0])
    def test_gradient_is_autograd_of_the_value(self, loss: Loss, labels: str, scale: float) -> None:
        logits, targets = batch(labels, scale=scale)
        leaf = logits.expand(*loss.shape, *logits.shape).clone().requires_grad_()
        value = loss.value(leaf, targets)
        assert value.shape == (*loss.shape, len(logits))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        near(loss.logit_gradient(logits, targets), gradient)

    @every
    def test_class_indices_are_one_hot_labels(self, loss: Loss) -> None:
        logits, targets = batch()
        y = functional.one_hot(targets, CLASSES).double()
        near(loss.value(logits, targets), loss.value(logits, y))
        near(loss.logit_gradient(logits, targets), loss.logit_gradient(logits, y))

    @single
    def test_samples_do_not_see_each_other(self, loss: Loss) -> None:
        logits, targets = batch()
        near(loss.value(logits[2:4], targets[2:4]), loss.value(logits, targets)[2:4], 1e-14)
        near(loss.logit_gradient(logits[2:4], targets[2:4]), loss.logit_gradient(logits, targets)[2:4], 1e-14)

    @single
    @pytest.mark.parametrize("classes", [2, 3, 10])
    def test_every_number_of_classes(self, loss: Loss, classes: int) -> None:
        logits, targets = batch(classes=classes)
        if loss.classes not in (None, classes):
            for call in (loss.value, loss.logit_gradient, Criterion(loss)):
                with pytest.raises(InputError, match=f"made for {CLASSES} classes"):
                    call(logits, targets)
            return
        gradient = loss.logit_gradient(logits, targets)
        assert gradient.abs().max() > 0
        if loss.is_shift_free:
            near(gradient.sum(-1), torch.zeros(len(gradient), dtype=torch.float64))

    @every
    @labeled
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
    def test_half_precision_is_computed_in_float32(self, loss: Loss, labels: str, dtype: torch.dtype) -> None:
        logits, targets = batch(labels)
        logits = logits.to(dtype)
        value, gradient = loss.value(logits, targets), loss.logit_gradient(logits, targets)
        assert (value.dtype, gradient.dtype) == (torch.float32, dtype)
        near(value.double(), loss.value(logits.double(), targets), 1e-5)
        near(gradient.double(), loss.logit_gradient(logits.double(), targets), max(1e-5, torch.finfo(dtype).eps))

    @every
    @labeled
    @pytest.mark.parametrize("size", [1e2, 1e4, 3e38])
    def test_extreme_logits_give_finite_numbers(self, loss: Loss, labels: str, size: float) -> None:
        targets = batch(labels, samples=CLASSES)[1] if labels == "probabilities" else torch.arange(CLASSES)
        for sign in (1, -1):
            logits = (sign * size * torch.eye(CLASSES)).float()
            for chosen in (targets, targets.flip(0)):
                assert loss.value(logits, chosen).isfinite().all()
                assert loss.logit_gradient(logits, chosen).isfinite().all()

    @other
    def test_a_target_that_is_no_class(self, loss: Loss) -> None:
        for call in (loss.value, loss.logit_gradient):
            with pytest.raises(InputError, match=f"a target is class {CLASSES}"):
                call(torch.zeros(2, CLASSES), torch.tensor([0, CLASSES]))

    @pytest.mark.parametrize("base", [cross_entropy(), mae(), focal(2), gce(0.5)], ids=lambda loss: loss.name)
    def test_normalized_losses_sum_to_one_over_the_labels(self, base: PowerLoss) -> None:
        logits, _ = batch()
        total = sum(Normalized(base).value(logits, torch.full((len(logits),), k)) for k in range(CLASSES))
        assert isinstance(total, Tensor)
        near(total, torch.ones(len(logits), dtype=torch.float64))

    def test_normalized_cross_entropy_is_the_definition(self) -> None:
        logits, targets = batch()
        x = logits.log_softmax(-1)
        near(normalized_cross_entropy().value(logits, targets), x.gather(-1, targets[:, None])[:, 0] / x.sum(-1))

    @pytest.mark.parametrize("threshold", [0.5, 2.0, 1e6])
    def test_logit_clip_is_the_definition(self, threshold: float) -> None:
        logits, targets = batch()
        norm = torch.linalg.vector_norm(logits, dim=-1, keepdim=True)
        clipped = logits * (threshold / norm).clamp(max=1)
        assert (norm > threshold).any() == (threshold < 1e3)
        expected = functional.cross_entropy(clipped, targets, reduction="none")
        near(logit_clip(threshold).value(logits, targets), expected)

    def test_a_norm_that_does_not_bind_changes_nothing(self) -> None:
        logits, targets = batch()
        near(logit_clip(1e9).logit_gradient(logits, targets), cross_entropy().logit_gradient(logits, targets))


WEIGHT = torch.tensor([0.5, 3.0, 1.0, 1.5], dtype=torch.float64)


class TestClassWeights:
    @every
    @labeled
    def test_gradient_is_autograd_of_the_value(self, loss: Loss, labels: str) -> None:
        logits, targets = batch(labels)
        leaf = logits.expand(*loss.shape, *logits.shape).clone().requires_grad_()
        value = ClassWeighted(loss).value(leaf, targets, WEIGHT)
        assert value.shape == (*loss.shape, len(logits))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        near(ClassWeighted(loss).rule(leaf.detach(), WEIGHT)(leaf.detach(), targets), gradient)

    @every
    @labeled
    @pytest.mark.parametrize("factor", [1.0, 2.5])
    def test_equal_weights_are_a_factor(self, loss: Loss, labels: str, factor: float) -> None:
        logits, targets = batch(labels)
        many, equal = logits.expand(*loss.shape, *logits.shape), torch.full_like(WEIGHT, factor)
        near(ClassWeighted(loss).value(many, targets, equal), factor * loss.value(many, targets))
        near(ClassWeighted(loss).rule(many, equal)(many, targets), factor * loss.logit_gradient(many, targets))

    @every
    def test_a_sample_counts_by_the_weight_of_its_label(self, loss: Loss) -> None:
        logits, targets = batch()
        many, y = logits.expand(*loss.shape, *logits.shape), functional.one_hot(targets, CLASSES).double()
        expected = WEIGHT[targets] * loss.value(many, targets)
        for labels in (targets, y):
            near(ClassWeighted(loss).value(many, labels, WEIGHT), expected)
        near(label_weights(WEIGHT, y), WEIGHT[targets])

    @population
    @labeled
    def test_members_are_what_they_are_alone(self, losses: Loss, labels: str) -> None:
        logits, targets = batch(labels)
        many = torch.stack([logits + 0.1 * member for member in range(len(losses))])
        own = torch.stack([targets.roll(member, 0) for member in range(len(losses))])
        weighted = ClassWeighted(losses)
        value, gradient = weighted.value(many, own, WEIGHT), weighted.rule(many, WEIGHT)(many, own)
        for member in range(len(losses)):
            alone = ClassWeighted(losses[member])
            near(value[member], alone.value(many[member], own[member], WEIGHT), 1e-13)
            near(gradient[member], alone.rule(logits, WEIGHT)(many[member], own[member]), 1e-13)

    @single
    @labeled
    def test_the_criterion_means_the_same(self, loss: Loss, labels: str) -> None:
        logits, targets = batch(labels)
        found = Criterion(loss, WEIGHT, reduction="none")(logits, targets)
        near(found, ClassWeighted(loss).value(logits, targets, WEIGHT))

    @every
    @labeled
    def test_half_precision_is_computed_in_float32(self, loss: Loss, labels: str) -> None:
        logits, targets = batch(labels)
        many = logits.expand(*loss.shape, *logits.shape).bfloat16()
        weighted = ClassWeighted(loss)
        value, gradient = weighted.value(many, targets, WEIGHT), weighted.rule(many, WEIGHT)(many, targets)
        assert gradient.dtype == torch.bfloat16
        near(value.double(), weighted.value(many.double(), targets, WEIGHT), 1e-5)
        near(gradient.double(), weighted.rule(many.double(), WEIGHT)(many.double(), targets), 0.01)


class TestPopulations:
    @population
    @labeled
    def test_members_are_what_they_are_alone(self, losses: Loss, labels: str) -> None:
        logits, targets = batch(labels)
        many = torch.stack([logits + 0.1 * member for member in range(len(losses))])
        value, gradient = losses.value(many, targets), losses.logit_gradient(many, targets)
        rule = losses.gradient_rule(many)(many, targets)
        for member in range(len(losses)):
            one = losses[member]
            assert one.shape == ()
            near(value[member], one.value(many[member], targets), 1e-13)
            near(gradient[member], one.logit_gradient(many[member], targets), 1e-13)
        near(rule, gradient, 1e-13)

    @population
    def test_each_member_has_targets_of_its_own(self, losses: Loss) -> None:
        logits, targets = batch()
        own = torch.stack([targets.roll(member) for member in range(len(losses))])
        found = losses.gradient_rule(logits)(logits.expand(len(losses), *logits.shape), own)
        for member in range(len(losses)):
            near(found[member], losses[member].logit_gradient(logits, own[member]), 1e-13)

    @population
    def test_any_index(self, losses: Loss) -> None:
        count = len(losses)
        for index in (slice(0, 2), [1, 0], torch.tensor([1, 1, 0]), torch.arange(count).repeat_interleave(2)):
            chosen = losses[index]
            places = torch.arange(count)[index].tolist()
            assert [chosen[k] == losses[place] for k, place in enumerate(places)] == [True] * len(chosen)
        assert losses[-1] == losses[count - 1]
        with pytest.raises(IndexError):
            losses[count]

    @single
    def test_one_loss_is_no_population(self, loss: Loss) -> None:
        assert loss.shape == ()
        assert loss
        for call in (lambda: loss[0], lambda: len(loss)):
            with pytest.raises(InputError, match="one loss, not a population"):
                call()

    @other
    def test_stacked_with_another_kind(self, loss: Loss) -> None:
        logits, targets = batch()
        losses = Loss.stack([cross_entropy(), loss, loss])
        assert losses.shape == (3,)
        found = losses.logit_gradient(logits, targets)
        near(found[0], cross_entropy().logit_gradient(logits, targets), 1e-13)
        near(found[1], loss.logit_gradient(logits, targets), 1e-13)
        assert losses[1] == loss
        assert losses[[0]] == Loss.stack([cross_entropy()])

    def test_one_kind_is_evaluated_in_one_go(self) -> None:
        kinds = {name: type(losses) for name, losses in POPULATIONS.items()}
        assert kinds["normalized"] is kinds["normalized mixed"] is Normalized
        assert kinds["clipped"] is Clipped
        assert kinds["sine"] is kinds["mixed"] is Mixed

    @single
    def test_it_is_itself_but_for_schedules(self, loss: Loss) -> None:
        constant = not isinstance(loss, Switched | Schedule)
        begins = not isinstance(loss, Schedule)
        assert all((loss.at(share) is loss) == (constant or (begins and share < 0.5)) for share in (0.0, 0.3, 1.0))
        mixed = Loss.stack([loss, Sine()])
        assert (mixed.at(1.0) is mixed) == constant
        assert (mixed.at(1.0)[0] == cross_entropy()) == (not constant or loss == cross_entropy())


class TestValues:
    @every
    def test_json_and_file(self, loss: Loss, tmp_path: Path) -> None:
        document = json.loads(json.dumps(loss.to_json(), allow_nan=False))
        assert document["kind"] == loss.kind
        again = Loss.from_json({**document, "something": "else"})
        assert (again, again.name, again.classes, again.shape) == (loss, loss.name, loss.classes, loss.shape)
        assert again.to_json() == loss.to_json()
        save(loss, tmp_path / "loss.json")
        assert load(tmp_path / "loss.json") == loss

    @every
    def test_copies(self, loss: Loss) -> None:
        logits, targets = batch()
        for again in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), loss.to("cpu")):  # noqa: S301
            assert again == loss
            assert torch.equal(again.logit_gradient(logits, targets), loss.logit_gradient(logits, targets))

    @every
    def test_equality_and_names(self, loss: Loss) -> None:
        renamed = loss.named("another")
        assert renamed == loss
        assert renamed.name == "another"
        assert repr(loss).startswith(f"Loss({loss.name!r}, ")
        assert loss != "a text"
        assert all((loss == one) == (loss is one or _same(loss, one)) for one in SINGLE.values())
        with pytest.raises(TypeError):
            hash(loss)

    @every
    def test_a_formula_is_that_of_one_loss(self, loss: Loss) -> None:
        if loss.shape:
            with pytest.raises(InputError, match="index one"):
                (loss if not isinstance(loss, Normalized | Clipped) else loss.base).formula()
        else:
            assert loss.formula()
            assert loss.formula() in repr(loss)

    @pytest.mark.parametrize("key", ["base", "threshold", "members", "terms", "coefficients"])
    @every
    def test_a_file_that_lacks_a_part(self, loss: Loss, key: str) -> None:
        document = loss.to_json()
        if key in document:
            del document[key]
            with pytest.raises(InputError, match=f'no "{key}"'):
                Loss.from_json(document)
        else:
            assert Loss.from_json(document) == loss

    @given(
        place=st.sampled_from(["base", "threshold", "members", "kind", "classes"]),
        value=st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )
    def test_any_value_in_any_place_is_a_loss_or_a_sentence(self, place: str, value: Any) -> None:
        for loss in (normalized_cross_entropy(), logit_clip(2), POPULATIONS["mixed"]):
            document = loss.to_json()
            if place in document:
                with contextlib.suppress(InputError):
                    assert isinstance(Loss.from_json({**document, place: value}), Loss)

    def test_losses_that_nest_without_end(self) -> None:
        deep: Loss = cross_entropy()
        for _ in range(17):
            deep = Clipped(deep, torch.tensor(2.0))
        with pytest.raises(InputError, match="nests more than 16 deep"):
            deep.to_json()
        document = cross_entropy().to_json()
        for _ in range(2000):
            document = {**logit_clip(2).to_json(), "base": document}
        with pytest.raises(InputError, match="nests more than 100 deep"):
            Loss.from_json(document)
        many: Any = 1.0
        for _ in range(70):
            many = [many]
        for key, loss in (("threshold", logit_clip(2)), ("coefficients", mse())):
            with pytest.raises(InputError, match=f'"{key}" of the loss file'):
                Loss.from_json({**loss.to_json(), key: many})
        mixed: dict[str, Any] = POPULATIONS["mixed"].to_json()
        for _ in range(20):
            mixed = {**mixed, "members": [mixed]}
        with pytest.raises(InputError, match="nests more than 16 deep"):
            Loss.from_json(mixed)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: logit_clip(0), "finite norm, at least 1e-06"),
            (lambda: logit_clip(1e-30), "finite norm, at least 1e-06"),
            (lambda: logit_clip(float("nan")), "finite norm, at least"),
            (lambda: Normalized(cross_entropy().smoothed(0.1, 3), classes=5), "different numbers of classes"),
            (lambda: Clipped(cross_entropy().smoothed(0.1, 3), torch.tensor(1.0), 5), "different numbers of classes"),
            (lambda: Mixed((cross_entropy().smoothed(0.1, 3), mse()), 5), "different numbers of classes"),
            (lambda: Loss.from_json({**POPULATIONS["mixed"].to_json(), "classes": 1}), "whole number from 2"),
            (lambda: Loss.from_json({**find("nce", 4).to_json(), "classes": 10**30}), "whole number from 2"),
            (lambda: Clipped(POPULATIONS["power"], torch.ones(2)), "one norm to clip to or one for each member"),
            (lambda: Normalized(logit_clip(2)), "normalized loss is one of a sum over classes"),
            (lambda: Mixed(()), "at least one loss"),
            (lambda: Mixed((POPULATIONS["power"],)), "populations of different kinds"),
            (lambda: Loss.stack([cross_entropy().smoothed(0.1, 3), find("nce", 4), Sine(4)]), "different numbers"),
            (lambda: Loss.stack([POPULATIONS["power"], POPULATIONS["clipped"]]), "populations of different kinds"),
            (lambda: find("logit-clip:-1", 4), "finite norm"),
            (lambda: find("nce:2", 4), "takes no parameter"),
            (lambda: latex(normalized_cross_entropy()), "no LaTeX of it"),
        ],
    )
    def test_bad_arguments_are_sentences(self, make: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            make()

    def test_a_kind_that_is_not_registered_makes_no_file(self) -> None:
        class Other(Sine):
            pass

        with pytest.raises(InputError, match="not the registered kind 'sine'"):
            Other().to_json()

    def test_a_file_that_is_far_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "loss.json"
        path.write_bytes(b" " * (2**24 + 1))
        with pytest.raises(InputError, match="larger than 16 MiB"):
            load(path)

    def test_keys_know_no_inner_names_and_no_format(self) -> None:
        """Stored runs are found by them, whatever the losses inside are called."""
        first, second = (Normalized(cross_entropy().named(name), name="x") for name in "ab")
        assert first.key() == second.key()
        assert "version" not in json.dumps(first.key())
        assert first.key() != Normalized(mse(), name="x").key()

    def test_members_of_one_kind_in_a_mixed_file(self) -> None:
        document = Mixed((mse(), mae())).to_json()
        assert Loss.from_json(document) == Loss.stack([mse(), mae()])

    def test_arithmetic_is_that_of_sums_of_powers(self) -> None:
        with pytest.raises(TypeError):
            normalized_cross_entropy() + mae()  # type: ignore[operator]
        with pytest.raises(TypeError):
            cross_entropy() + normalized_cross_entropy()  # type: ignore[operator]


def _same(first: Loss, second: Loss) -> bool:
    return type(first) is type(second) and _nameless(first) == _nameless(second)


def _nameless(loss: Loss) -> str:
    document = loss.key()

    def bare(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: bare(value) for key, value in part.items() if key != "name"}
        return part

    return json.dumps(bare(document))


class TestCriterion:
    @other
    @labeled
    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    def test_it_is_the_loss(self, loss: Loss, labels: str, reduction: str) -> None:
        logits, targets = batch(labels)
        values = loss.value(logits, targets)
        expected = values if reduction == "none" else getattr(values, reduction)()
        near(Criterion(loss, reduction=reduction)(logits, targets), expected, 1e-14)

    @other
    def test_smoothing_weights_ignoring_and_more_dimensions(self, loss: Loss) -> None:
        logits, targets = batch(samples=12)
        y = functional.one_hot(targets, CLASSES).double()
        soft = 0.8 * y + 0.2 / CLASSES
        values = loss.value(logits, soft)
        near(Criterion(loss, label_smoothing=0.2)(logits, targets), values.mean())
        near(Criterion(loss, label_smoothing=0.2)(logits, y), values.mean())
        weight = torch.arange(1.0, 1 + CLASSES, dtype=torch.float64)
        plain, weights = loss.value(logits, targets), weight[targets]
        near(Criterion(loss, weight=weight)(logits, targets), (plain * weights).sum() / weights.sum())
        near(Criterion(loss, weight=weight)(logits, y), (plain * weights).mean())
        kept = targets != 1
        near(Criterion(loss, ignore_index=1)(logits, targets), plain[kept].mean())
        block = logits.reshape(3, 4, CLASSES).movedim(-1, 1)
        near(Criterion(loss, reduction="none")(block, targets.reshape(3, 4)), plain.reshape(3, 4))
        near(Criterion(loss)(logits[0], targets[0]), plain[0])

    @other
    def test_derivatives(self, loss: Loss) -> None:
        logits, targets = batch(samples=3)
        criterion = Criterion(loss)
        assert torch.autograd.gradcheck(lambda f: criterion(f, targets), logits.requires_grad_())
        assert torch.autograd.gradgradcheck(lambda f: criterion(f, targets), logits)

    @other
    def test_states(self, loss: Loss) -> None:
        logits, targets = batch()
        module = nn.ModuleDict({"criterion": Criterion(loss)})
        fresh = nn.ModuleDict({"criterion": Criterion(mse())})
        assert not module.state_dict()
        # As version 0.2 kept the loss.
        fresh.load_state_dict({"criterion._extra_state": loss.to_json()})
        found = fresh["criterion"]
        assert isinstance(found, Criterion)
        assert found.loss == loss
        assert torch.equal(found(logits, targets), module["criterion"](logits, targets))
        assert torch.equal(copy.deepcopy(found)(logits, targets), found(logits, targets))
        fresh.load_state_dict({"criterion._extra_state": {**cross_entropy().key()}})
        assert found.loss == cross_entropy()

    def test_compiled_is_eager(self) -> None:
        logits, targets = batch()
        torch._dynamo.reset()
        criterion = Criterion(normalized_cross_entropy())
        compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
        near(compiled(logits, targets), criterion(logits, targets))

    def test_progress(self) -> None:
        logits, targets = batch()
        criterion = Criterion(Switched())
        near(criterion(logits, targets), Sine().value(logits, targets).mean())
        criterion.progress = 0.5
        near(criterion(logits, targets), cross_entropy().value(logits, targets).mean())


def task() -> Task:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(24, 6, generator=generator)
    targets = torch.arange(24) % CLASSES
    inputs[torch.arange(24), targets] += 2

    def network() -> nn.Module:
        body = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES))
        return nn.Sequential(Normalize.fit(inputs), body)

    return Task(network, inputs, targets, CLASSES, held_out=(inputs, targets))


RECIPE = Recipe(epochs=2, batch_size=8, lr=0.1)


class TestTraining:
    @pytest.mark.parametrize("backend", ["sequential", "vmap", "mlp"])
    def test_a_member_trains_as_alone_whoever_is_with_it(self, backend: str) -> None:
        mixed = POPULATIONS["mixed"]
        losses = Loss.stack([*(mixed[member] for member in range(len(mixed))), Switched()])
        together = train(task(), losses, [3] * len(losses), RECIPE, backend)
        assert not together.diverged.any()
        for member in range(len(losses)):
            alone = train(task(), Loss.stack([losses[member]]), [3], RECIPE, "sequential")
            for name, value in alone.networks.parameters.items():
                torch.testing.assert_close(together.networks.parameters[name][member], value[0], rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("flooding", [0.0, 0.2])
    def test_a_schedule_is_the_loss_that_it_is_then(self, flooding: float) -> None:
        recipe = RECIPE.model_copy(update={"flooding": flooding, "schedule": "constant"})
        whole = train(task(), Loss.stack([Switched()]), [3], recipe, "sequential").networks
        half = train(task(), Loss.stack([Sine()]), [3], recipe, "sequential", stop=1).networks
        early = train(task(), Loss.stack([Switched()]), [3], recipe, "sequential", stop=1).networks
        never = train(task(), Loss.stack([Sine()]), [3], recipe, "sequential").networks
        for name, value in half.parameters.items():
            assert torch.equal(early.parameters[name], value)
            assert not torch.equal(whole.parameters[name], never.parameters[name])

    def test_pruned_members_go_and_the_others_stay(self) -> None:
        losses = Loss.stack([cross_entropy(), 0 * cross_entropy(), normalized_cross_entropy(), logit_clip(2)])
        recipe = RECIPE.model_copy(update={"epochs": 4})
        found = train(task(), losses, [3] * 4, recipe, "vmap", prune_at=0.5)
        whole = train(task(), losses, [3] * 4, recipe, "vmap")
        assert found.pruned is not None
        assert found.pruned[1]
        for name, value in whole.networks.parameters.items():
            kept = ~found.pruned
            torch.testing.assert_close(found.networks.parameters[name][kept], value[kept])

    def test_the_tuner_takes_any_population(self) -> None:
        losses = POPULATIONS["mixed"]
        backend = choose_backend("auto", task(), losses, [0] * len(losses), RECIPE, batches=8)
        assert not train(task(), losses, [0] * len(losses), RECIPE, backend).diverged.any()

    @population
    def test_attacks_follow_its_gradient(self, losses: Loss) -> None:
        logits, targets = batch()
        many = logits.expand(len(losses), *logits.shape)
        found = slopes(losses, ("loss",))[0](many, targets)
        near(found, losses.logit_gradient(many, targets))


class TestTheory:
    @single
    @pytest.mark.parametrize("classes", [2, 10])
    def test_a_page(self, loss: Loss, classes: int) -> None:
        loss = loss if loss.classes is None else replace(loss, classes=None)  # type: ignore[type-var]
        if loss.classes is not None:
            return
        page = explain(loss, classes)
        json.dumps(page.to_json(), allow_nan=False)
        assert (page.missing is None) == isinstance(loss, PowerLoss)
        assert ("published" in page.zones) == loss.sums_over_classes

    @other
    def test_null_epoch_is_what_the_logits_show(self, loss: Loss) -> None:
        if loss.classes is not None:
            loss = normalized_cross_entropy()
        n = 5
        pull = -loss.logit_gradient(torch.zeros(1, n, dtype=torch.float64), torch.tensor([0]))[0]
        below, above = null_epoch(loss, n)
        torch.testing.assert_close(above - below, margin(loss, n))
        torch.testing.assert_close(pull[0], margin(loss, n) * (n - 1) / n**2)
        torch.testing.assert_close(gain(loss, n), margin(loss, n) / n)
        assert bool(is_trainable(loss, n)) == bool(pull[0] > 0)
        assert bool(bias_growth(loss, n).isfinite()) == bool(pull[0] > 0)

    @pytest.mark.parametrize(
        "base", [cross_entropy(), mse(), mae(), focal(2), focal(5), gce(0.5)], ids=lambda loss: loss.name
    )
    @pytest.mark.parametrize("classes", [2, 4, 10])
    def test_zones_are_no_rounding(self, base: PowerLoss, classes: int) -> None:
        """A normalized loss that attracts does so at every ε, also where its terms cancel."""
        assert zones(Normalized(base), classes) == [(0.0, 1.0, 1)]
        attracts = [zone for zone in zones(Clipped(base, torch.tensor(50.0)), classes) if zone.sign]
        assert [zone.sign for zone in attracts] == [1]
        assert attracts[0].low < 1e-20
        assert attracts[0].high == 1

    def test_zones_of_a_clipped_loss_that_repels(self) -> None:
        known, found = zones(baikal(), 4), zones(Clipped(baikal(), torch.tensor(200.0)), 4)
        inner = [zone for zone in found if zone.sign]
        assert [zone.sign for zone in inner] == [zone.sign for zone in known] == [-1, 1]
        assert inner[0].high == pytest.approx(known[0].high, rel=1e-9)

    @other
    @pytest.mark.parametrize("epsilon", [1e-9, 1e-4, 0.3])
    def test_a_single_number(self, loss: Loss, epsilon: float) -> None:
        loss = normalized_cross_entropy() if loss.classes is not None else loss
        assert attraction(loss, epsilon, 4).shape == ()
        torch.testing.assert_close(attraction(loss, epsilon, 4), attraction(loss, [epsilon], 4)[0])
        assert symmetric_values(loss, torch.tensor(epsilon, dtype=torch.float64), 4).shape == ()

    @pytest.mark.parametrize("epsilon", [1e-20, 1e-12, 1e-6, 0.2, 1 - 1e-9])
    def test_normalized_cross_entropy_keeps_its_digits(self, epsilon: float) -> None:
        """Against the same in 60 digits: ``A = −∂L/∂f_T`` of ``L = log h_T / Σ_k log h_k``."""
        n = 4
        with mpmath.workdps(60):
            e = mpmath.mpf(epsilon)
            top, low = mpmath.log(1 - e), mpmath.log(e / (n - 1))
            total = top + (n - 1) * low
            g_target, g_other = -(total - top) / total**2, top / total**2
            wanted = e * g_target - (1 - e) * (n - 1) * g_other
        _, found = logit_steps(normalized_cross_entropy(), epsilon, n)
        assert found.item() == pytest.approx(float(wanted), rel=1e-9)

    def test_what_takes_whole_vectors_has_a_limit(self) -> None:
        for function in (margin, null_epoch, bias_growth, is_trainable, zones, explain):
            with pytest.raises(InputError, match=r"at most 10+ classes"):
                function(normalized_cross_entropy(), 10**9)

    def test_a_common_bias_of_a_normalized_loss_stays(self) -> None:
        for classes in (2, 3, 10, 100):
            assert bias_growth(normalized_cross_entropy(), classes).item() == 0

    @other
    def test_steps_are_those_of_whole_vectors(self, loss: Loss) -> None:
        if loss.classes is not None:
            loss = normalized_cross_entropy()
        epsilon, n = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64), 6
        outputs = symmetric_outputs(epsilon, n)
        logits = outputs.log() - outputs.log().mean(-1, keepdim=True)
        step = -loss.logit_gradient(logits, torch.zeros(3, dtype=torch.long))
        b, a = logit_steps(loss, epsilon, n)
        torch.testing.assert_close(a, step[:, 0])
        torch.testing.assert_close(b, step[:, 1])
        moved = (logits + step).softmax(-1)[:, 0] - outputs[:, 0]
        torch.testing.assert_close(attraction(loss, epsilon, n), moved)
        value = loss.value(logits, torch.zeros(3, dtype=torch.long))
        torch.testing.assert_close(symmetric_values(loss, epsilon, n), value)

    @population
    def test_populations(self, losses: Loss) -> None:
        epsilon = torch.tensor([0.2, 0.7], dtype=torch.float64)
        functions: list[Callable[[Loss], Tensor]] = [
            lambda loss: attraction(loss, epsilon, CLASSES),
            lambda loss: margin(loss, CLASSES),
            lambda loss: torch.stack(null_epoch(loss, CLASSES), -1),
            lambda loss: bias_growth(loss, CLASSES),
        ]
        for function in functions:
            found = function(losses)
            for member in range(len(losses)):
                torch.testing.assert_close(
                    found[member], function(losses[member]), rtol=1e-10, atol=1e-12, equal_nan=True
                )

    @other
    def test_what_needs_powers_says_so(self, loss: Loss) -> None:
        for function in (zero_error, regime, lambda loss: recognize(loss, CLASSES)):
            with pytest.raises(InputError, match="read off φ"):
                function(loss)
        if not loss.sums_over_classes:
            with pytest.raises(InputError, match="sums of φ"):
                attraction(loss, 0.3, CLASSES, "published")
            with pytest.raises(InputError, match="no sum over classes"):
                loss.phi(torch.ones(2), torch.ones(2))

    def test_a_sum_over_classes_has_both_forms(self) -> None:
        """Near h = 0 the sine is its argument, so that both losses are the mean absolute error."""
        epsilon = torch.tensor([0.999], dtype=torch.float64)
        forms: tuple[Form, Form] = ("exact", "published")
        for form in forms:
            found, known = (attraction(loss, epsilon, 10, form) for loss in (Sine(), mae()))
            torch.testing.assert_close(found, known, rtol=1e-5, atol=0)


class TestSearch:
    def test_a_space_of_other_kinds_is_searched_and_its_winner_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def losses(theta: Tensor, _: int) -> Loss:
            members = [normalized_cross_entropy() if x < 0 else logit_clip(float(x.exp())) for x, _ in theta]
            return Loss.stack(members)

        monkeypatch.setattr(SPACES, "_entries", dict(SPACES.items()))
        SPACES.register("kinds", lambda settings: VectorSpace((0.0, 0.0), 1.0, losses))
        settings = EvolveSettings.model_validate_json(
            json.dumps(
                {
                    "data": {"train_size": 60, "validation_size": 60},
                    "model": {"hidden": [8]},
                    "recipe": {"epochs": 1},
                    "search": {"space": "kinds", "population": 6, "generations": 2},
                    "run": {"finalists": 2, "finalist_seeds": 2, "tune": False, "training": "population"},
                }
            )
        )
        outcome = evolve(tmp_path / "study", settings)
        with Study(tmp_path / "asked", classes=10, search=settings.search) as study:
            found = {candidate.loss.kind for candidate in study.pending()}
        assert found == {"normalized", "clipped"}
        best = load(tmp_path / "study/best.json")
        assert best == outcome.loss
        again = evolve(tmp_path / "study", settings)
        assert again.loss == outcome.loss
        assert Criterion(best)(torch.randn(3, 10), torch.arange(3)).isfinite()


@single
def test_a_masked_class_does_not_make_values_infinite(loss: Loss) -> None:
    logits = torch.tensor([[0.0, -torch.inf, 1.0, 0.5]])
    assert powers.log_outputs(logits).min() == powers.LOWEST_LOG
    leaf = logits.clone().requires_grad_()
    value = loss.value(leaf, torch.tensor([0]))
    assert value.isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    assert gradient.isfinite().all()
    assert loss.logit_gradient(logits, torch.tensor([0])).isfinite().all()
