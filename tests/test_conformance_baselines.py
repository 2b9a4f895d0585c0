"""What every registered baseline must do; a baseline of one's own is in every comparison."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lossmith.analysis import BASELINES, Axis, Family, baselines, find_baselines, fixed, learning_rates, named_family
from lossmith.cli.tables import worth_tables
from lossmith.data import Normalize, Source
from lossmith.errors import InputError
from lossmith.losses import CATALOG, Loss, cross_entropy, gce, label_smoothing, mae, mse
from lossmith.nets import ModelSettings, network_factory
from lossmith.report import plot_comparison
from lossmith.study import CompareSettings, EvolveSettings, compare_losses
from lossmith.training import Recipe, Task, train

NOISY = (
    *("NCE + RCE", "NCE + AGCE", "AGCE", "AUL", "ANL, without its L1 norm", "ε-softmax CE + MAE", "LogitClip"),
    *("negative smoothing", "forward", "Jensen–Shannon"),
)
every = pytest.mark.parametrize("name", BASELINES.names)
QUICK = CompareSettings(
    seeds=2, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=1, rival=False
)
TINY = EvolveSettings.model_validate(
    {
        "data": {"train_size": 40},
        "model": {"hidden": (3,)},
        "recipe": {"epochs": 1, "batch_size": 20},
        "run": {"training": "population"},
    }
)


def clouds(classes: int = 3, samples: int = 90) -> tuple[Tensor, Tensor]:
    generator, targets = torch.Generator().manual_seed(0), torch.arange(samples) % classes
    return torch.randn(samples, 4, generator=generator) + 2 * torch.eye(classes, 4)[targets], targets


def some_logits(samples: int, classes: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(samples, classes, dtype=torch.float64, generator=generator), torch.arange(samples) % classes


def reached(family: Family) -> list[tuple[int, ...]]:
    """Every place that tuning can come to."""
    return list(itertools.product(*(range(axis.lowest, axis.highest + 1) for axis in family.axes)))


@every
class TestEveryBaseline:
    def test_it_is_called_what_tables_call_it(self, name: str) -> None:
        assert BASELINES[name].name == name
        assert BASELINES[name].baseline

    @pytest.mark.parametrize("classes", [2, 10])
    def test_every_place_that_can_be_reached_gives_a_sound_loss(self, name: str, classes: int) -> None:
        family = BASELINES[name]
        logits, targets = some_logits(6, classes, seed=1)
        seen: list[Loss] = []
        for place in reached(family):
            loss = family.build(family.strengths(place), classes)
            assert loss.shape == ()
            loss.check_classes(classes)
            gradient = loss.logit_gradient(logits, targets)
            assert gradient.isfinite().all()
            assert gradient.abs().sum() > 0
            assert not any(loss == other for other in seen)
            seen.append(loss)

    def test_every_place_trains_a_step(self, name: str) -> None:
        family, (inputs, targets) = BASELINES[name], clouds()
        task = Task(
            network_factory(ModelSettings(hidden=(3,)), Normalize.fit(inputs), tuple(inputs.shape[1:]), 3),
            inputs,
            targets,
            3,
        )
        losses = Loss.stack([family.build(family.strengths(place), 3) for place in reached(family)])
        recipe, seeds = Recipe(epochs=1, batch_size=90, lr=0.01), [1] * len(reached(family))
        trained, still = (train(task, losses, seeds, recipe.model_copy(update={"lr": lr})) for lr in (0.01, 0.0))
        assert not trained.diverged.any()
        moved = (trained.networks.logits(inputs) - still.networks.logits(inputs)).abs().flatten(1).amax(1)
        assert (moved > 0).all()

    def test_every_place_has_a_text_of_its_own(self, name: str) -> None:
        family = BASELINES[name]
        texts = [family.describe(place) for place in reached(family)]
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert [part.partition(" = ")[0] for part in text.split(", ") if part] == [one.name for one in family.axes]

    def test_its_grid_begins_inside_of_its_limits(self, name: str) -> None:
        for axis in (*BASELINES[name].axes, learning_rates(0.05)):
            assert axis.lowest <= axis.first < axis.last <= axis.highest
            assert axis.last - axis.first >= 2
            assert axis.highest - axis.last >= 2
            values = [axis.value(place) for place in range(axis.lowest, axis.highest + 1)]
            assert values == sorted(set(values))
            if axis.name in ("α", "q", "β"):
                assert 0 < values[0] < values[-1] < 1


@pytest.mark.parametrize("name", [name for name, family in BASELINES.items() if family.named])
def test_it_is_the_loss_of_the_catalog(name: str) -> None:
    """At each strength, in value and gradient; its formula and source are told there."""
    family, (logits, targets) = BASELINES[name], some_logits(20, 5)
    entry = family.entry
    assert entry is not None
    assert entry is CATALOG[family.named]
    assert entry.formula.startswith(("φ = ", "L = "))
    assert len(family.axes) == len(entry.parameters)
    for place in reached(family):
        strengths = family.strengths(place)
        loss, other = family.build(strengths, 5), entry.build(strengths[0] if strengths else None, 5, *strengths[1:])
        assert torch.equal(loss.value(logits, targets), other.value(logits, targets))
        assert torch.equal(loss.logit_gradient(logits, targets), other.logit_gradient(logits, targets))


def test_which_are_in_no_catalog() -> None:
    alone = {name for name, family in BASELINES.items() if family.entry is None}
    # Those of two strengths but one, and the one whose strength has another name there.
    assert alone == {"label smoothing + MAE", "label smoothing + soft bootstrapping", "forward"}


def test_all_of_them_in_order() -> None:
    assert BASELINES.names == (
        "cross-entropy",
        "label smoothing",
        "MSE",
        "Baikal",
        "focal",
        "PolyLoss-1, cross-entropy + ε MAE",
        "MAE",
        "generalised cross-entropy",
        "label smoothing + MAE",
        "soft bootstrapping",
        "label smoothing + Σh²",
        "label smoothing + soft bootstrapping",
        *NOISY,
    )
    assert [family.name for family in baselines()] == [name for name in BASELINES if name not in NOISY]
    assert [name for name, family in BASELINES.items() if family.noisy] == list(NOISY)
    assert [family.name for family in find_baselines("all")] == list(BASELINES)
    some = find_baselines(["anl", "epsilon-softmax", "NCE + RCE"])
    assert [family.name for family in some] == [
        "cross-entropy",
        "NCE + RCE",
        "ANL, without its L1 norm",
        "ε-softmax CE + MAE",
    ]


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("label smoothing", [("α", 7)]),
        ("focal", [("focusing", 3)]),
        ("PolyLoss-1, cross-entropy + ε MAE", [("ε", 7)]),
        ("generalised cross-entropy", [("q", 5)]),
        ("label smoothing + MAE", [("α", 4), ("weight", 4)]),
        ("soft bootstrapping", [("β", 4)]),
        ("label smoothing + Σh²", [("α", 4), ("weight", 4)]),
        ("label smoothing + soft bootstrapping", [("α", 4), ("β", 4)]),
        ("NCE + RCE", [("w", 7)]),
        ("negative smoothing", [("r", 5)]),
        ("forward", [("replaced", 5)]),
        *[(name, []) for name in ("cross-entropy", "MSE", "Baikal", "MAE")],
    ],
)
def test_sizes_of_the_grids(name: str, axes: list[tuple[str, int]]) -> None:
    assert [(axis.name, axis.last - axis.first + 1) for axis in BASELINES[name].axes] == axes


@pytest.mark.parametrize("place", [-3, 0, 3])
def test_label_smoothing_is_that_of_torch(place: int) -> None:
    family = BASELINES["label smoothing"]
    (alpha,) = family.strengths((place,))
    logits, targets = some_logits(9, 4)
    expected = nn.functional.cross_entropy(logits, targets, label_smoothing=alpha, reduction="none")
    torch.testing.assert_close(family.build((alpha,), 4).value(logits, targets), expected)


@given(st.integers(-4, 9))
def test_poly_is_cross_entropy_with_mae(place: int) -> None:
    """So they are one row, not two."""
    family = BASELINES["PolyLoss-1, cross-entropy + ε MAE"]
    (epsilon,) = family.strengths((place,))
    loss, other = family.build((epsilon,), 5), cross_entropy() + epsilon * mae()
    logits, targets = some_logits(40, 5)
    h = logits.softmax(1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(loss.value(logits, targets), -h.log() + epsilon * (1 - h))
    torch.testing.assert_close(loss.value(logits, targets), other.value(logits, targets))
    torch.testing.assert_close(loss.logit_gradient(logits, targets), other.logit_gradient(logits, targets))


@given(st.integers(-5, 5), st.integers(-3, 9))
def test_label_smoothing_with_mae_is_their_sum(first: int, second: int) -> None:
    family = BASELINES["label smoothing + MAE"]
    alpha, weight = family.strengths((first, second))
    logits, targets = some_logits(12, 4)
    expected = label_smoothing(alpha, 4).value(logits, targets) + weight * mae().value(logits, targets)
    torch.testing.assert_close(family.build((alpha, weight), 4).value(logits, targets), expected)


@given(st.integers(-5, 5), st.integers(-4, 8))
def test_label_smoothing_with_squares_rewards_confidence(first: int, second: int) -> None:
    family = BASELINES["label smoothing + Σh²"]
    alpha, weight = family.strengths((first, second))
    logits, targets = some_logits(12, 4)
    squares = logits.softmax(1).square().sum(1)
    expected = nn.functional.cross_entropy(logits, targets, label_smoothing=alpha, reduction="none") - weight * squares
    torch.testing.assert_close(family.build((alpha, weight), 4).value(logits, targets), expected)


@given(st.integers(-5, 5), st.integers(-5, 7))
def test_label_smoothing_with_soft_bootstrapping_smooths_the_labels_share(first: int, second: int) -> None:
    family = BASELINES["label smoothing + soft bootstrapping"]
    alpha, beta = family.strengths((first, second))
    logits, targets = some_logits(12, 4)
    smooth = (1 - alpha) * nn.functional.one_hot(targets, 4) + alpha / 4
    labels = beta * smooth + (1 - beta) * logits.softmax(1)
    expected = -(labels * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(family.build((alpha, beta), 4).value(logits, targets), expected)


def test_no_loss_is_in_two_families() -> None:
    logits, targets = some_logits(12, 4)
    known: list[tuple[str, Tensor]] = []
    for family in baselines():
        for place in itertools.product(*(range(axis.first, axis.last + 1) for axis in family.axes)):
            gradient = family.build(family.strengths(place), 4).logit_gradient(logits, targets)
            assert not any(torch.allclose(gradient, other) for name, other in known if name != family.name)
            known.append((family.name, gradient))


def test_a_name_that_is_none_or_taken() -> None:
    with pytest.raises(InputError, match=r"there is no baseline 'focl' \(did you mean focal\?\)"):
        BASELINES["focl"]
    with pytest.raises(InputError, match="there is a baseline 'MSE' already"):
        BASELINES.register("MSE", fixed("MSE", mse(), baseline=True))


class TestOneOfOnesOwn:
    """Cubed error, with a strength; and a loss of the catalog with a grid."""

    def test_it_is_in_the_comparison_its_table_and_its_picture(
        self, tmp_path: Path, register: Callable[..., None]
    ) -> None:
        grid = Axis("s", lambda place: 2.0**place, 0, 0, 0, 0)
        register(BASELINES, "twice", Family("twice", (grid,), lambda s, _: 2 * s[0] * mse()), only=["cross-entropy"])
        register(BASELINES, "bent", named_family("gce", "bent", Axis("q", lambda place: 0.5, 0, 0, 0, 0)))
        source = Source.from_tensors(*clouds(), name="clouds")
        found = compare_losses({"mine": mae()}, TINY, tmp_path, QUICK, source=source)
        assert {row.name for row in found.rows if row.baseline} == {"cross-entropy", "twice", "bent"}
        assert (found.row("twice").strengths, found.row("bent").strengths) == ("s = 1", "q = 0.5")
        assert Loss.from_json(found.row("bent").loss) == gce(0.5)
        assert found.pair("mine", "twice") is not None
        assert {"twice", "bent"} <= {str(cell) for cell in worth_tables(found, wide=True)[0].columns[0].cells}
        (axes,) = plot_comparison(found).axes
        assert {"twice (s = 1)", "bent (q = 0.5)"} <= {label.get_text() for label in axes.get_yticklabels()}
        assert np.isfinite(found.row("twice").column("test")).all()
        with pytest.raises(InputError, match="a baseline of the comparison is called 'twice', too; leave yours out"):
            compare_losses({"twice": mae()}, TINY, tmp_path, QUICK, source=source)


@pytest.mark.parametrize(("named", "count"), [("mae", 1), ("gce", 2)])
def test_strengths_that_the_loss_does_not_take(named: str, count: int) -> None:
    axes = [Axis(f"s{number}", float, 1, 2, 1, 2) for number in range(count)]
    with pytest.raises(InputError, match=f"has {count} strengths, more than the loss {named} has parameters"):
        named_family(named, "mine", *axes)
