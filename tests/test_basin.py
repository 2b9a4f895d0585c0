"""Basins: slices are made of the networks themselves, the same for every loss; flatness is what it is said to be."""

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from lossmith.analysis import hessian as hessians
from lossmith.analysis import perturbations
from lossmith.analysis.basin import Basin, basin, check_slices, width
from lossmith.analysis.hessian import largest_eigenvalues
from lossmith.analysis.perturbations import filter_noise, moved
from lossmith.analysis.trained import TrainedLoss
from lossmith.cli.basin import run
from lossmith.data import Normalize
from lossmith.errors import InputError
from lossmith.losses import cross_entropy, mse
from lossmith.metrics.statistics import contrasts_with_first
from lossmith.report import save_figure
from lossmith.report.minima import plot_basin
from lossmith.seeds import generator
from lossmith.training import Networks, accuracy
from lossmith.training.networks import own_state

CLASSES, SAMPLES, NETWORKS = 4, 60, 3
Factory = Callable[[], nn.Module]


def random(*path: int | str) -> Callable[..., Tensor]:
    source = generator("tests", *path)
    return lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)


INPUTS = random("inputs")(SAMPLES, 2, 5, 5)
TARGETS = torch.arange(SAMPLES) % CLASSES


def mlp() -> nn.Module:
    return nn.Sequential(Normalize.fit(INPUTS), nn.Flatten(), nn.Linear(50, 7), nn.ReLU(), nn.Linear(7, CLASSES))


def convolutions() -> nn.Module:
    return nn.Sequential(
        Normalize.fit(INPUTS),
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2),
        nn.LayerNorm((4, 2, 2)),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


def networks(factory: Factory, vectorized: bool = True, count: int = NETWORKS) -> Networks:
    """Networks whose every parameter and statistic is drawn at random."""
    states = []
    for number in range(count):
        network = factory().double()
        draw = random("network", number)
        with torch.no_grad():
            for value in (*network.parameters(), *network.buffers()):
                if value.is_floating_point():
                    value.copy_(draw(*value.shape).abs() + 0.5 if value.ndim == 1 else draw(*value.shape))
        states.append(own_state(network))
    parameters = {name: torch.stack([own[name] for own, _ in states]) for name in states[0][0]}
    buffers = {name: torch.stack([own[name] for _, own in states]) for name in states[0][1]}
    return Networks(factory().double(), parameters, buffers, vectorized)


def trained_loss(factory: Factory, vectorized: bool = True, count: int = NETWORKS) -> TrainedLoss:
    made = networks(factory, vectorized, count)
    return TrainedLoss("cross-entropy", cross_entropy(), made, torch.zeros(count, dtype=torch.bool))


FACTORIES: list[Factory] = [mlp, convolutions]


@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("factory", FACTORIES)
class TestSlices:
    def test_the_middle_is_the_network_itself(self, factory: Factory, vectorized: bool) -> None:
        one = trained_loss(factory, vectorized)
        found = basin(one, INPUTS, TARGETS, directions=2, points=7, hessian_samples=0)
        plain = accuracy(one.networks.logits(INPUTS), TARGETS).tolist()
        assert found.t.tolist() == pytest.approx([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1])
        assert found.t[3] == 0
        assert found.accuracy[:, :, 3].T.tolist() == [plain, plain]
        assert np.isnan(found.eigenvalue).all()

    def test_against_an_ordinary_loop(self, factory: Factory, vectorized: bool) -> None:
        one = trained_loss(factory, vectorized)
        found = basin(one, INPUTS, TARGETS, directions=2, points=5, seed=3, hessian_samples=0)
        still = ("bias", "2.weight" if factory is convolutions else "none", "5.weight")
        for member in range(NETWORKS):
            for direction in range(2):
                for place, t in enumerate([-1.0, -0.5, 0.0, 0.5, 1.0]):
                    network = one.networks.member(member)
                    for name, value in network.named_parameters():
                        if name.endswith(still):
                            continue
                        noise = torch.randn(value.shape, generator=generator(3, "basin", direction, name)).double()
                        with torch.no_grad():
                            for row, own in zip(value, noise, strict=True):
                                row += t * own / own.norm() * row.norm()
                    logits = network(INPUTS)
                    right = (logits.argmax(1) == TARGETS).double().mean().item()
                    assert found.accuracy[member, direction, place] == pytest.approx(right, abs=1e-12)
                    loss = nn.functional.cross_entropy(logits, TARGETS).item()
                    assert found.cross_entropy[member, direction, place] == pytest.approx(loss, rel=1e-9)


def test_parts_of_a_population_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trained_loss(convolutions)
    whole = basin(one, INPUTS, TARGETS, points=5)
    monkeypatch.setattr(perturbations, "MEMBERS", 4)
    monkeypatch.setattr(perturbations, "BATCH", 16)
    monkeypatch.setattr(hessians, "ELEMENTS", INPUTS[0].numel() * 25)
    parts = basin(one, INPUTS, TARGETS, points=5)
    alone = [
        basin(TrainedLoss("", mse(), one.networks.select([member]), one.diverged[:1]), INPUTS, TARGETS, points=5)
        for member in range(NETWORKS)
    ]
    for name in ("accuracy", "cross_entropy", "eigenvalue"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)
        together = np.concatenate([getattr(own, name) for own in alone])
        np.testing.assert_allclose(together, getattr(whole, name), rtol=1e-9)
    assert whole.converged.tolist() == parts.converged.tolist()


class TestDirections:
    def test_as_long_as_each_filter(self) -> None:
        made = networks(convolutions)
        directions = filter_noise(made, 0, "basin", 0)
        assert list(directions) == ["1.weight", "4.weight", "7.weight"]
        for name, direction in directions.items():
            own, weights = direction.flatten(2).norm(dim=2), made.parameters[name].flatten(2).norm(dim=2)
            torch.testing.assert_close(own, weights, rtol=1e-14, atol=0)

    def test_the_same_gaussian_for_every_network(self) -> None:
        for direction in filter_noise(networks(mlp), 0, "basin", 0).values():
            raw = direction.flatten(2) / direction.flatten(2).norm(dim=2, keepdim=True)
            torch.testing.assert_close(raw, raw[:1].expand_as(raw))

    def test_others_for_another_purpose(self) -> None:
        made = networks(mlp)
        first, *others = [filter_noise(made, *path)["2.weight"] for path in ((0, "a", 0), (1, "a", 0), (0, "a", 1))]
        assert all((first != other).all() for other in others)

    def test_biases_and_normalization_stay(self) -> None:
        made = networks(convolutions)
        places = torch.arange(NETWORKS)
        after = moved(filter_noise(made, 0), torch.tensor([1.0]))(made, places, 0 * places)
        for name, value in made.parameters.items():
            assert torch.equal(value, after.parameters[name]) == (name not in ("1.weight", "4.weight", "7.weight"))
        assert after.buffers == made.buffers


class TestWidth:
    T = np.linspace(-1, 1, 9)

    def test_hand_made_curve(self) -> None:
        curve = np.array([0.2, 0.8, 0.95, 1.0, 1.0, 0.9, 0.5, 0.95, 1.0])
        for share, length in ((0.9, 0.25 - (-0.75 + 0.25 * 0.1 / 0.15)), (0.99, 0.25 * (1 + 0.01 / 0.05 + 0.01 / 0.1))):
            found, capped = width(self.T, curve, share)
            assert found == pytest.approx(length)
            assert not capped
        assert width(self.T, curve, 0.1) == (2.0, True)

    def test_ends_with_the_slice_on_one_side(self) -> None:
        curve = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.0])
        length, capped = width(self.T, curve, 0.9)
        assert length == pytest.approx(1 + 0.5 + 0.125)
        assert capped

    @pytest.mark.parametrize("value", [0.0, np.nan])
    def test_nothing_to_measure(self, value: float) -> None:
        length, capped = width(self.T, np.full(9, value), 0.9)
        assert math.isnan(length)
        assert not capped

    def test_of_a_basin(self) -> None:
        curves = np.stack([np.full(9, 0.5), 1 - np.abs(self.T)])[:, None]
        none = np.zeros(2, dtype=bool)
        lengths, capped = Basin(self.T, curves, curves, np.zeros(2), none, none).width(0.9)
        np.testing.assert_allclose(lengths, [[2.0], [0.2]])
        assert capped.tolist() == [[True], [False]]


def full_hessian(made: Networks, member: int, inputs: Tensor, targets: Tensor) -> Tensor:
    """The Hessian of one network's mean cross-entropy, whole."""
    network = made.member(member)
    leaves = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    sizes = [value.numel() for value in leaves.values()]

    def loss(flat: Tensor) -> Tensor:
        parts = zip(leaves.items(), flat.split(sizes), strict=True)
        own = {name: part.reshape(value.shape) for (name, value), part in parts}
        return nn.functional.cross_entropy(functional_call(network, own, (inputs,)), targets)

    whole: Tensor = hessian(loss, torch.cat([value.flatten() for value in leaves.values()]))
    return whole


class Bent(nn.Module):
    """Logits ``[3 w² + u, 0]``: at w = 0 the loss of class 0 bends down with w and up with u."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(2))
        self.up = nn.Parameter(torch.zeros(1))
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        first = (3 * self.down.square().sum() + self.up).expand(len(x))
        return torch.stack([first, torch.zeros_like(first)], 1)


@pytest.mark.parametrize("vectorized", [True, False])
class TestEigenvalue:
    def test_against_the_full_hessian(self, vectorized: bool) -> None:
        def factory() -> nn.Module:
            network = nn.Sequential(nn.Flatten(), nn.Linear(50, 4), nn.Tanh(), nn.Linear(4, CLASSES))
            network[1].bias.requires_grad_(False)
            return network

        made = networks(factory, vectorized)
        found = largest_eigenvalues(made, INPUTS, TARGETS, tolerance=1e-7, limit=1000)
        for member in range(NETWORKS):
            largest = torch.linalg.eigvalsh(full_hessian(made, member, INPUTS, TARGETS))[-1].item()
            assert found.value[member] == pytest.approx(largest, rel=1e-3)
        assert found.converged.all()

    def test_largest_where_the_dominant_is_negative(self, vectorized: bool) -> None:
        base = Bent().double()
        parameters = {name: value.detach().repeat(2, 1) for name, value in base.named_parameters()}
        parameters["up"] += torch.tensor([[0.0], [1.0]])
        made = Networks(base, parameters, {}, vectorized)
        inputs, targets = torch.zeros(6, 1, dtype=torch.float64), torch.zeros(6, dtype=torch.long)
        found = largest_eigenvalues(made, inputs, targets)
        for member in range(2):
            values = torch.linalg.eigvalsh(full_hessian(made, member, inputs, targets))
            assert values[0] < -values[-1] < 0
            assert found.value[member] == pytest.approx(values[-1].item(), rel=1e-3)
        assert found.converged.all()

    def test_too_few_steps_are_told(self, vectorized: bool) -> None:
        found = largest_eigenvalues(networks(mlp, vectorized), INPUTS, TARGETS, limit=1)
        assert not found.converged.any()
        assert np.isfinite(found.value).all()

    def test_a_network_without_finite_numbers(self, vectorized: bool) -> None:
        made = networks(mlp, vectorized)
        alone = largest_eigenvalues(made, INPUTS, TARGETS)
        made.parameters["2.weight"][1] = 1e308
        found = largest_eigenvalues(made, INPUTS, TARGETS)
        assert np.isnan(found.value).tolist() == [False, True, False]
        np.testing.assert_allclose(found.value[[0, 2]], alone.value[[0, 2]], rtol=1e-9)
        assert not found.converged[1]


def test_attention_is_differentiated_twice() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(5, 5)
            self.last = nn.Linear(50, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            y = self.project(x)
            result: Tensor = self.last(nn.functional.scaled_dot_product_attention(y, y, y).flatten(1))
            return result

    assert np.isfinite(largest_eigenvalues(networks(Attention), INPUTS, TARGETS).value).all()


@pytest.mark.parametrize("kind", ["once", "distances"])
def test_a_network_that_cannot_be_differentiated_twice(kind: str) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: object, slope: Tensor) -> Tensor:
            return 2 * slope

    class Distances(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(x, x[:3], p=1)

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = Once.apply(x)  # type: ignore[no-untyped-call]
            return result

    layer = {"once": Twice, "distances": Distances}[kind]()
    made = networks(lambda: nn.Sequential(nn.Flatten(), nn.Linear(50, 3), layer, nn.Linear(3, CLASSES)), False)
    with pytest.raises(InputError, match="cannot be differentiated twice"):
        largest_eigenvalues(made, INPUTS, TARGETS)


def test_eigenvalue_of_some_samples_only() -> None:
    one = trained_loss(mlp)
    some = basin(one, INPUTS, TARGETS, points=3, hessian_samples=20).eigenvalue
    everything = basin(one, INPUTS, TARGETS, points=3, hessian_samples=SAMPLES).eigenvalue
    assert (some != everything).all()
    np.testing.assert_allclose(everything, largest_eigenvalues(one.networks, INPUTS, TARGETS).value)


def test_diverged_networks_and_infinite_logits() -> None:
    one = trained_loss(mlp)
    alone = basin(one, INPUTS, TARGETS, points=3)
    one.networks.parameters["2.weight"][0] = math.nan
    one.networks.parameters["4.weight"][2] = math.inf
    shares: list[float] = []
    lost = TrainedLoss(one.name, one.loss, one.networks, torch.tensor([True, False, False]))
    found = basin(lost, INPUTS, TARGETS, points=3, progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert found.diverged.tolist() == [True, False, False]
    for name in ("accuracy", "cross_entropy", "eigenvalue"):
        assert np.isnan(getattr(found, name)[0]).all()
        np.testing.assert_allclose(getattr(found, name)[1], getattr(alone, name)[1], rtol=1e-9)
    assert (found.accuracy[2] == 0).all()
    assert (found.cross_entropy[2] == math.inf).all()
    assert np.isnan(found.width(0.9)[0]).tolist() == [[True] * 3, [False] * 3, [True] * 3]
    everything = TrainedLoss(one.name, one.loss, one.networks, torch.ones(3, dtype=torch.bool))
    nothing = basin(everything, INPUTS, TARGETS, points=3)
    assert np.isnan(nothing.accuracy).all()
    figure = plot_basin([found, nothing, alone], ["one $x$", "two", "three"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [r"one \$x\$ (1 of 3 diverged)", "two (3 of 3 diverged)", "three"]


def test_picture_shows_means_over_directions_and_networks(tmp_path: Path) -> None:
    found = basin(trained_loss(mlp), INPUTS, TARGETS, directions=2, points=5)
    figure = plot_basin([found], ["one"])
    left, right = figure.axes
    np.testing.assert_allclose(np.asarray(left.lines[0].get_ydata(), dtype=float), 100 * found.accuracy.mean((0, 1)))
    middle = np.exp(np.log(found.cross_entropy).mean((0, 1)))
    np.testing.assert_allclose(np.asarray(right.lines[0].get_ydata(), dtype=float), middle)
    save_figure(figure, tmp_path / "basin.svg")


class TestAgainstFirst:
    FIRST: ClassVar[dict[str, NDArray[np.float64]]] = {
        "wide": np.array([1.0, 2.0, 3.0, np.nan]),
        "steep": np.array([5.0, 6.0, 8.0]),
    }
    SECOND: ClassVar[dict[str, NDArray[np.float64]]] = {
        "wide": np.array([2.0, 3.5, 4.0]),
        "steep": np.array([1.0, 2.5, 2.0]),
    }

    def test_against_scipy(self) -> None:
        wide, steep = contrasts_with_first([self.FIRST, self.SECOND], lower={"steep"})
        for one, lower in ((wide, False), (steep, True)):
            ours, theirs = self.SECOND[one.measure].tolist(), self.FIRST[one.measure][:3].tolist()
            result = stats.ttest_ind(ours, theirs, equal_var=False, alternative="less" if lower else "greater")
            interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
            assert one.result.p == pytest.approx(result.pvalue)
            assert one.result.difference == pytest.approx(np.mean(ours) - np.mean(theirs))
            assert (one.result.low, one.result.high) == pytest.approx((interval.low, interval.high))
            assert one.counts == (3, 3)
        assert wide.holm == max(wide.result.p, 2 * steep.result.p)
        assert steep.holm == 2 * steep.result.p

    def test_no_test_of_one_network(self) -> None:
        alone = {"wide": np.array([1.0, np.nan]), "steep": np.array([1.0, 2.0])}
        assert [one.measure for one in contrasts_with_first([self.FIRST, alone])] == ["steep"]
        assert contrasts_with_first([self.FIRST]) == []


TINY = ("--train-size", "100", "--epochs", "1", "--hidden", "4", "--seeds", "3", "--points", "5", "--directions", "2")


class TestCommand:
    def test_table_and_picture(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run(["cross-entropy", "mse", "mae", *TINY, "--figure", str(tmp_path / "basin.png")])
        shown = capsys.readouterr()
        text = " ".join(shown.out.split())
        for words in ("width at 99 %", "Holm-corrected over all 6 tests", "flatter than cross-entropy", "basin.png"):
            assert words in text
        assert "walking" in shown.err
        assert (tmp_path / "basin.png").read_bytes().startswith(b"\x89PNG")

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["cross-entropy", "mse", *TINY, "--json", "--hessian-samples", "40"]
        run(arguments)
        first = capsys.readouterr()
        assert first.err == ""
        document = json.loads(first.out)
        assert [one["name"] for one in document["results"]] == ["cross-entropy", "MSE"]
        assert document["t"] == [-1, -0.5, 0, 0.5, 1]
        assert document["hessian_samples"] == 40
        for one in document["results"]:
            values = np.array(one["accuracy"]["values"])
            assert values.shape == (3, 2, 5)
            assert one["accuracy"]["n"] == 6
            np.testing.assert_allclose(one["accuracy"]["mean"], values.mean((0, 1)))
            np.testing.assert_allclose(one["accuracy"]["std"], values.reshape(6, 5).std(0, ddof=1))
            widths = one["width at 90 %"]
            np.testing.assert_allclose(widths["values"], np.mean(widths["slices"], 1))
            assert widths["n"] == one["largest eigenvalue"]["n"] == 3
        assert {one["against"] for one in document["tests"]} == {"cross-entropy"}
        run([word for word in arguments if word != "mse"])
        alone = json.loads(capsys.readouterr().out)
        assert alone["results"][0] == document["results"][0]
        assert alone["tests"] == []

    def test_one_network_and_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(["mse", "mae", *TINY, "--seeds", "1", "--hessian-samples", "0"])
        text = " ".join(capsys.readouterr().out.split())
        assert "No tests" in text
        assert "Eigenvalue" not in text
        run(["mse", *TINY, "--quiet"])
        assert capsys.readouterr() == ("", "")

    def test_diverged_and_unsettled_networks_are_told(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = importlib.import_module("lossmith.analysis.looks")

        def measured(*arguments: object) -> Basin:
            found = basin(*arguments)  # type: ignore[arg-type]
            found.converged[:] = False
            found.diverged[0] = True
            for values in (found.accuracy, found.cross_entropy, found.eigenvalue):
                values[0] = np.nan
            return found

        monkeypatch.setattr(command, "basin", measured)
        run(["mse", *TINY])
        text = " ".join(capsys.readouterr().out.split())
        assert "2 (1 diverged)" in text
        assert "had not settled: MSE 2." in text
        run(["mse", *TINY, "--json"])
        document = json.loads(capsys.readouterr().out)["results"][0]
        assert document["diverged"] == [True, False, False]
        assert document["accuracy"]["values"][0] == [[None] * 5] * 2
        assert document["accuracy"]["n"] == 4

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("--points", "4"), "the number of points is 4; it must be odd"),
            (("--points", "1"), "the number of points is 1"),
            (("--directions", "0"), "the number of directions is 0"),
            (("--hessian-samples", "-1"), "the number of Hessian samples is -1"),
            (("--figure", "basin.doc"), "basin.doc"),
        ],
    )
    def test_bad_input_before_any_training(
        self, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.import_module("lossmith.cli.basin"), "opened", None)
        with pytest.raises(InputError, match=sentence):
            run(["mse", *arguments])


def test_numbers_are_checked_in_python_too() -> None:
    check_slices(1, 3)
    with pytest.raises(InputError, match="points is 6"):
        basin(trained_loss(mlp), INPUTS, TARGETS, points=6)
