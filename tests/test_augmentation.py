"""Augmentation against a plain reference, one sample at a time, and in both ways of training."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossmith import InputError, Loss, cross_entropy, mae, mse
from lossmith.data import Normalize
from lossmith.seeds import derive
from lossmith.training import Backend, Recipe, Task, Trainer, train
from lossmith.training import batches as batches_module
from lossmith.training.augmentation import Draws, augmented, draw
from lossmith.training.batches import Batches

CLASSES, SAMPLES = 4, 50
KINDS: dict[str, dict[str, Any]] = {
    "crop": {"crop": 2},
    "flip": {"flip": True},
    "cutout": {"cutout": 3},
    "cutout, even": {"cutout": 4},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "mixup or cutmix": {"mixup": 0.4, "cutmix": 1.0},
    "all": {"crop": 3, "flip": True, "cutout": 2, "mixup": 0.4, "cutmix": 1.0},
}


def images(kind: torch.dtype = torch.uint8, shape: tuple[int, ...] = (3, 6, 8)) -> Tensor:
    drawn = torch.randint(0, 256, (SAMPLES, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return drawn if kind == torch.uint8 else drawn.to(kind) / 255


def labels() -> Tensor:
    return torch.randint(0, CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(1))


def recipe_of(**fields: Any) -> Recipe:
    return Recipe.model_validate({"batch_size": 12, "epochs": 2, "lr": 0.02, **fields})


def reference(inputs: Tensor, targets: Tensor, draws: Draws, recipe: Recipe, mean: Tensor) -> tuple[Tensor, Tensor]:
    """One sample after another, pixel by pixel where that is plainest."""
    first = []
    for k, image in enumerate(inputs.double().numpy()):
        channels, height, width = image.shape
        p = recipe.crop
        padded = np.zeros((channels, height + 2 * p, width + 2 * p))
        padded[:, p : p + height, p : p + width] = image
        down, right = draws.shift[k].tolist() if recipe.crop else (0, 0)
        cropped = padded[:, down : down + height, right : right + width].copy()
        if recipe.flip and draws.mirrored[k]:
            cropped = cropped[:, :, ::-1].copy()
        if recipe.cutout:
            top, left = (middle - recipe.cutout // 2 for middle in draws.hole[k].tolist())
            for y in range(max(0, top), min(height, top + recipe.cutout)):
                for x in range(max(0, left), min(width, left + recipe.cutout)):
                    cropped[:, y, x] = mean.double().numpy()[:, 0, 0]
        first.append(cropped)
    soft = np.eye(CLASSES)[targets.numpy()]
    keep = float(draws.share)
    second, probabilities = [], []
    for k, image in enumerate(first):
        other = int(draws.partner[k]) if recipe.mixup or recipe.cutmix else k
        if not (recipe.mixup or recipe.cutmix):
            second.append(image)
        elif not draws.pasted:
            second.append(keep * image + (1 - keep) * first[other])
            probabilities.append(keep * soft[k] + (1 - keep) * soft[other])
        else:
            _, height, width = image.shape
            rows, columns = (
                range(max(0, math.floor(m * n - h)), min(n, math.floor(m * n + h)))
                for m, n in zip(draws.middle.tolist(), (height, width), strict=True)
                for h in [math.sqrt(1 - keep) * n / 2]
            )
            pasted = image.copy()
            for y in rows:
                for x in columns:
                    pasted[:, y, x] = first[other][:, y, x]
            rest = 1 - len(rows) * len(columns) / (height * width)
            second.append(pasted)
            probabilities.append(rest * soft[k] + (1 - rest) * soft[other])
    return torch.tensor(np.stack(second)), torch.tensor(np.stack(probabilities)) if probabilities else targets


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float64])
@pytest.mark.parametrize("name", KINDS)
def test_equal_to_a_reference_sample_by_sample(name: str, kind: torch.dtype, seeds: int) -> None:
    recipe = recipe_of(**KINDS[name])
    inputs, targets = images(kind), labels()
    mean = Normalize.fit(inputs).mean
    task = Task(nn.Flatten, inputs, targets, CLASSES)
    batches = Batches(task, range(7, 7 + seeds), recipe)
    for step in (0, 3, 5):
        found, probabilities = batches.batch(step)
        epoch, position = divmod(step, 4)
        order = batches.order
        for row in range(seeds):
            drawn = draw(recipe, [7 + row], epoch, 4, 12, (3, 6, 8)).batch(position)
            own = Draws(*(value[0] for value in drawn))
            rows = (order if seeds == 1 else order[row])[position * 12 : position * 12 + 12]
            wanted, soft = reference(inputs[rows], targets[rows], own, recipe, mean)
            mine = found if seeds == 1 else found[row]
            torch.testing.assert_close(mine.double(), wanted, rtol=2e-6, atol=1e-6 * float(inputs.max()))
            torch.testing.assert_close(
                (probabilities if seeds == 1 else probabilities[row]).double(), soft.double(), rtol=1e-6, atol=1e-6
            )


@pytest.mark.parametrize("name", ["crop", "flip"])
def test_pixels_that_are_only_moved_keep_their_type(name: str) -> None:
    found, targets = Batches(Task(nn.Flatten, images(), labels(), CLASSES), [0], recipe_of(**KINDS[name])).batch(0)
    assert found.dtype == torch.uint8
    assert not targets.is_floating_point()


class TestDraws:
    def drawn(self, seed: int = 0, epoch: int = 0, **fields: Any) -> Draws:
        return draw(recipe_of(**fields), [seed], epoch, 500, 12, (3, 6, 8))

    def test_places_of_a_crop_are_uniform(self) -> None:
        counts = self.drawn(crop=2).shift.flatten(0, 2).flatten().bincount(minlength=5)
        assert len(counts) == 5
        assert (counts / counts.sum() - 0.2).abs().max() < 0.02

    def test_half_of_the_images_are_mirrored(self) -> None:
        assert abs(float(self.drawn(flip=True).mirrored.double().mean()) - 0.5) < 0.02

    def test_holes_lie_anywhere(self) -> None:
        for axis, length in ((0, 6), (1, 8)):
            counts = self.drawn(cutout=2).hole[..., axis].flatten().bincount(minlength=length)
            assert len(counts) == length
            assert (counts / counts.sum() - 1 / length).abs().max() < 0.02

    def test_partners_are_a_permutation_of_the_batch(self) -> None:
        assert torch.equal(self.drawn(mixup=1.0).partner.sort(-1).values, torch.arange(12).expand(1, 500, 12))

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
    def test_shares_are_of_a_beta_distribution(self, alpha: float) -> None:
        share = self.drawn(mixup=alpha).share
        assert abs(float(share.mean()) - 0.5) < 0.05
        assert abs(float(share.var()) - 1 / (4 * (2 * alpha + 1))) < 0.03

    def test_with_both_each_batch_draws_one(self) -> None:
        assert abs(float(self.drawn(mixup=1.0, cutmix=1.0).pasted.double().mean()) - 0.5) < 0.1
        assert bool(self.drawn(cutmix=1.0).pasted.all())
        assert not bool(self.drawn(mixup=1.0).pasted.any())

    def test_one_kind_does_not_change_what_another_draws(self) -> None:
        alone: dict[str, dict[str, Any]] = {
            "shift": {"crop": 2},
            "mirrored": {"flip": True},
            "hole": {"cutout": 2},
            "partner": {"mixup": 0.3},
        }
        together = self.drawn(crop=2, flip=True, cutout=2, mixup=0.3)
        for name, fields in alone.items():
            assert torch.equal(getattr(self.drawn(**fields), name), getattr(together, name)), name

    @pytest.mark.parametrize("changed", [{"seed": 1}, {"epoch": 1}])
    def test_another_seed_or_epoch_draws_something_else(self, changed: dict[str, Any]) -> None:
        fields: dict[str, Any] = {"crop": 2, "flip": True, "cutout": 2, "mixup": 0.3, "cutmix": 1.0}
        pair = self.drawn(**fields), self.drawn(**{**fields, **changed})
        for mine, theirs in zip(*pair, strict=True):
            assert not torch.equal(mine, theirs)

    def test_the_global_generator_is_left_alone(self) -> None:
        before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
        self.drawn(crop=2, mixup=1.0)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert str(np.random.get_state()) == before[1]  # noqa: NPY002


class TestLimits:
    def test_a_share_of_one_leaves_samples_as_they_are(self) -> None:
        recipe = recipe_of(mixup=1.0, cutmix=1.0)
        inputs, targets = images(torch.float32)[:12], labels()[:12]
        for pasted in (True, False):
            draws = Draws(*(value[0, 0] for value in draw(recipe, [0], 0, 1, 12, (3, 6, 8))))._replace(
                share=torch.tensor(1.0), pasted=torch.tensor(pasted)
            )
            found, soft = augmented(inputs, targets, draws, recipe, CLASSES, inputs[0])
            assert torch.equal(found, inputs)
            assert torch.equal(soft.argmax(-1), targets)
            assert torch.equal(soft.sum(-1), torch.ones(12))
            assert torch.equal(soft.amax(-1), torch.ones(12))

    def test_a_share_of_nought_gives_the_partner(self) -> None:
        recipe = recipe_of(mixup=1.0)
        inputs, targets = images(torch.float32)[:12], labels()[:12]
        draws = Draws(*(value[0, 0] for value in draw(recipe, [0], 0, 1, 12, (3, 6, 8))))._replace(
            share=torch.tensor(0.0)
        )
        found, soft = augmented(inputs, targets, draws, recipe, CLASSES, inputs[0])
        assert torch.equal(found, inputs[draws.partner])
        assert torch.equal(soft.argmax(-1), targets[draws.partner])

    def test_soft_targets_are_mixed_like_hard_ones(self) -> None:
        recipe = recipe_of(mixup=0.5, cutmix=0.5)
        hard = Task(nn.Flatten, images(), labels(), CLASSES)
        soft = Task(nn.Flatten, images(), nn.functional.one_hot(labels(), CLASSES).float(), CLASSES)
        for step in range(6):
            mine, theirs = (Batches(task, [0], recipe).batch(step) for task in (hard, soft))
            assert torch.equal(mine[0], theirs[0])
            assert torch.equal(mine[1], theirs[1])

    def test_features_can_be_mixed(self) -> None:
        task = Task(nn.Flatten, images().flatten(1).float(), labels(), CLASSES)
        found, _ = Batches(task, [0], recipe_of(mixup=0.5)).batch(0)
        assert found.shape == (12, 144)


Body = Callable[[], list[nn.Module]]
BODIES: dict[str, Body] = {
    "mlp": lambda: [nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, CLASSES)],
    "cnn": lambda: [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, CLASSES)],
    "dropout": lambda: [nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, CLASSES)],
}
LOSSES = Loss.stack([cross_entropy(), mse(), cross_entropy() + mae(), cross_entropy()])


@pytest.mark.parametrize("seeds", [[3, 3, 3, 3], [3, 4, 3, 4]])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("body", BODIES)
def test_population_equals_sequential(body: str, name: str, seeds: list[int]) -> None:
    inputs = images(torch.float64)
    normalize = Normalize.fit(inputs)
    task = Task(lambda: nn.Sequential(normalize, *BODIES[body]()).double(), inputs, labels(), CLASSES)
    recipe = recipe_of(**KINDS[name])
    backends: list[str] = ["sequential", "population"]
    sequential, population = (train(task, LOSSES, seeds, recipe, backend).networks for backend in backends)
    for key, value in sequential.parameters.items():
        torch.testing.assert_close(value, population.parameters[key], rtol=1e-9, atol=1e-11)
    untouched = train(task, LOSSES, seeds, recipe_of()).networks
    assert not torch.allclose(untouched.logits(inputs), population.logits(inputs), rtol=1e-3)


def test_a_batch_is_augmented_once_for_the_whole_population(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def counted(inputs: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        shapes.append(tuple(inputs.shape))
        return augmented(inputs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batches_module, "augmented", counted)
    task = Task(lambda: nn.Sequential(*BODIES["mlp"]()), images(torch.float32), labels(), CLASSES)
    for seeds, shape in (([1] * 4, (12, 3, 6, 8)), ([1, 2, 1, 2], (2, 12, 3, 6, 8))):
        shapes.clear()
        run = Trainer(task).start(LOSSES, seeds, recipe_of(crop=1), Backend("mlp"), [0, 1, 2, 3])
        run.step()
        assert shapes == [shape]


def test_images_are_evaluated_as_they_are() -> None:
    """The curve is of the monitor's own pixels."""
    inputs = torch.zeros(SAMPLES, 1, 4, 4)
    inputs[:, 0, 0, 0] = labels().float()
    task = Task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)), inputs, labels(), CLASSES)
    found = train(task, LOSSES, [0] * 4, recipe_of(flip=True), monitor=(inputs, labels()))
    right = (found.networks.logits(inputs).argmax(-1) == labels()).double().mean(-1)
    assert found.curve is not None
    assert torch.equal(found.curve[:, -1], right)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({"crop": 2}, (16,), "the augmentation crop needs images .* or take mixup"),
        ({"cutmix": 1.0, "flip": True}, (16,), "the augmentation flip and cutmix needs images"),
        ({"cutout": 8}, (1, 4, 6), "cutout = 8 leaves nothing of images of 4×6 pixels, .* give 4 or less"),
        ({"crop": 4}, (1, 4, 6), "crop = 4 pads images of 4×6 pixels so much .* give 3 or less"),
    ],
)
def test_augmentation_that_does_not_suit(fields: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    inputs = torch.zeros(SAMPLES, *shape)
    task = Task(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)), inputs, labels(), CLASSES)
    with pytest.raises(InputError, match=message):
        train(task, LOSSES, [0] * 4, recipe_of(**fields))


def test_seeds_of_the_shares_are_derived_like_all_others() -> None:
    drawn = draw(recipe_of(mixup=0.3), [5], 2, 4, 12, (6,)).share[0]
    expected = np.random.default_rng(derive(5, "augmentation", "mixup", 2)).beta(0.3, 0.3, 4)
    assert drawn.tolist() == expected.tolist()
