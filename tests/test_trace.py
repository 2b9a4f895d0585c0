"""The trace: which samples are looked at, when, and what is kept of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from lossmith.analysis import FORMS, Trace, trace
from lossmith.data import Normalize
from lossmith.errors import InputError
from lossmith.losses import Loss, baikal, cross_entropy, mse, taylor
from lossmith.nets import ModelSettings, network_factory
from lossmith.report import plot_trace, save_figure
from lossmith.theory import attraction, output_change
from lossmith.training import Networks, Recipe, Task, train

BACKENDS: list[str] = ["sequential", "population"]
CLASSES, SAMPLES = 3, 48
RECIPE = Recipe(lr=0.1, epochs=3, batch_size=12)
LOSSES = Loss.stack([cross_entropy(), cross_entropy().smoothed(0.3, CLASSES), mse()])


def task(dropout: bool = False) -> Task:
    random = torch.Generator().manual_seed(0)
    targets = torch.arange(SAMPLES) % CLASSES
    inputs = torch.randn(SAMPLES, 5, generator=random) + torch.eye(CLASSES, 5)[targets]
    factory = network_factory(ModelSettings(hidden=(7,)), Normalize.fit(inputs), inputs.shape[1:], CLASSES)
    make = (lambda: nn.Sequential(nn.Dropout(0.3), factory()).double()) if dropout else (lambda: factory().double())
    return Task(make, inputs.double(), targets, CLASSES)


@pytest.mark.parametrize("backend", BACKENDS)
class TestTrace:
    def test_shapes_and_samples(self, backend: str) -> None:
        found = trace(task(), LOSSES, 0, RECIPE, backend, samples=20)
        assert found.samples.shape == (4, 20)
        assert all(len(set(row)) == 20 for row in found.samples.tolist())
        assert not np.array_equal(found.samples[0], found.samples[1])
        for name in ("output", *FORMS):
            assert getattr(found, name).shape == (3, 4, 20)
        assert found.accuracy.shape == (3, 4)

    def test_all_samples(self, backend: str) -> None:
        for samples in (None, SAMPLES, 10 * SAMPLES):
            found = trace(task(), LOSSES, 0, RECIPE, backend, samples=samples)
            assert found.samples.tolist() == [list(range(SAMPLES))] * 4

    def test_same_start_and_same_samples_for_each_loss(self, backend: str) -> None:
        found = trace(task(), LOSSES, 0, RECIPE, backend)
        for row in (1, 2):
            assert np.array_equal(found.output[row, 0], found.output[0, 0])
            assert not np.array_equal(found.output[row, 1], found.output[0, 1])
        alone = trace(task(), LOSSES[1:2], 0, RECIPE, backend)
        np.testing.assert_allclose(alone.output[0], found.output[1], atol=1e-6)

    def test_every_figure_is_that_of_the_network_at_that_time(self, backend: str) -> None:
        """From networks trained to each epoch on their own."""
        job = task()
        found = trace(job, LOSSES, 3, RECIPE, backend, samples=30)
        for epoch in range(1, 4):
            rows = torch.from_numpy(found.samples[epoch])
            logits = train(job, LOSSES, [3] * 3, RECIPE, backend, stop=epoch).networks.logits(job.inputs[rows])
            targets = job.targets[rows]
            for member in range(3):
                outputs = logits[member].softmax(-1)
                target = outputs.gather(-1, targets[:, None]).squeeze(-1)
                loss = LOSSES[member]
                wanted = {
                    "output": target,
                    "exact": attraction(loss, 1 - target, CLASSES),
                    "published": attraction(loss, 1 - target, CLASSES, "published"),
                    "vector": output_change(loss, outputs, targets),
                }
                for name, values in wanted.items():
                    np.testing.assert_allclose(getattr(found, name)[member, epoch], values, rtol=1e-5, atol=1e-7)
                right = (outputs.argmax(-1) == targets).double().mean().item()
                assert found.accuracy[member, epoch] == right

    def test_a_diverged_network_is_nan_and_the_others_are_not(self, backend: str) -> None:
        wild = Loss.stack([cross_entropy(), 1e300 * baikal()])
        found = trace(task(), wild, 0, RECIPE, backend)
        assert np.isfinite(found.exact[0]).all()
        assert np.isnan(found.exact[1, -1]).all()
        assert np.isnan(found.accuracy[1, -1])
        assert np.isnan(found.repelled("exact")[1, -1])
        assert found.repelled("exact")[0].tolist() == [0] * 4

    def test_looking_does_not_change_the_training(self, backend: str) -> None:
        job = task(dropout=True)
        seen: list[tuple[list[int], int]] = []

        def observe(members: list[int], epoch: int, networks: Networks) -> None:
            networks.logits(job.inputs)
            seen.append((members, epoch))

        watched = train(job, LOSSES, [1] * 3, RECIPE, backend, observe=observe).networks
        alone = train(job, LOSSES, [1] * 3, RECIPE, backend).networks
        for name, value in alone.parameters.items():
            assert torch.equal(value, watched.parameters[name])
        groups = [[0, 1, 2]] if backend == "population" else [[0], [1], [2]]
        assert seen == [(members, epoch) for members in groups for epoch in range(4)]

    def test_an_incomplete_last_epoch_counts(self, backend: str) -> None:
        found = trace(task(), LOSSES, 0, RECIPE.model_copy(update={"steps": 9}), backend)
        assert found.samples.shape[0] == 4
        assert np.isfinite(found.exact).all()


def test_errors() -> None:
    job = task()
    soft = Task(job.factory, job.inputs, torch.full((SAMPLES, CLASSES), 1 / CLASSES), CLASSES)
    with pytest.raises(InputError, match="class indices instead of probabilities"):
        trace(soft, LOSSES, 0, RECIPE)
    with pytest.raises(InputError, match="made for 7 classes"):
        trace(job, Loss.stack([cross_entropy().smoothed(0.1, 7)]), 0, RECIPE)


def test_a_sample_that_is_learned_to_the_last_digit() -> None:
    """h_T = 1 in float64: the deviation is the sum of the other outputs, not 1 − h_T = 0."""
    job = task()
    far = Task(lambda: _Constant(), job.inputs, torch.zeros(SAMPLES, dtype=torch.long), CLASSES)
    found = trace(far, Loss.stack([cross_entropy(), taylor([0, 0, 1, -1, 1, 2, 0, 0])]), 0, Recipe(lr=1e-9, epochs=1))
    assert found.output[0, 0].tolist() == [1.0] * SAMPLES
    assert (found.exact[0, 0] > 0).all()
    assert (found.exact[0, 0] < 1e-30).all()
    assert (found.exact[1, 0] != 0).all()
    assert np.isfinite(found.vector).all()


class _Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([50.0, 0.0, 0.0], dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.bias + 0 * inputs[:, :1]


def drawn(count: int, diverged: int | None = None) -> Figure:
    """The picture of a made-up trace of some losses over two epochs."""
    values = np.linspace(-1, 1, count * 15, dtype=np.float32).reshape(count, 3, 5)
    accuracy = np.zeros((count, 3))
    if diverged is not None:
        values[diverged, 2] = accuracy[diverged, 2] = np.nan
    rest = dict.fromkeys(("output", *FORMS), values)
    made = Trace(np.zeros((3, 5), dtype=np.int64), **rest, accuracy=accuracy)
    return plot_trace(made, [f"loss {number}" for number in range(count)])


def test_picture_with_a_diverged_network(tmp_path: Path) -> None:
    picture = drawn(2, diverged=1)
    assert [axes.get_title(loc="left") for axes in picture.axes[:2]] == ["loss 0\nexact", "loss 1\nexact"]
    shares = [np.asarray(line.get_ydata(), dtype=float) for line in picture.axes[5].lines]
    assert len(shares) == 3
    assert all(np.isnan(share).tolist() == [False, False, True] for share in shares)
    texts = [[text.get_text() for text in axes.texts] for axes in picture.axes[:6]]
    assert texts == [[], ["diverged by epoch 2"]] * 3
    save_figure(picture, tmp_path / "trace.png")


def test_many_losses_stand_in_rows() -> None:
    picture = drawn(6)
    titles = [axes.get_title(loc="left") for axes in picture.axes]
    assert [title for title in titles if "exact" in title] == [f"loss {number}\nexact" for number in range(6)]
    assert sum(axes.get_visible() for axes in picture.axes) == 6 * 3 + 1
    assert picture.get_size_inches()[0] < 17


def test_the_smallest_pushes_do_not_count() -> None:
    values = np.array([[[-1e-13, 0, 1e-13, -1e-11]]], dtype=np.float32)
    rest = dict.fromkeys(("output", *FORMS), values)
    made = Trace(np.zeros((1, 4), dtype=np.int64), **rest, accuracy=np.zeros((1, 1)))
    assert made.repelled("exact").tolist() == [[0.25]]
