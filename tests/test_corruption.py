"""Corruption: as strong as it is said to be, the same for every loss, and none at level 0."""

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossmith.analysis import perturbations
from lossmith.analysis.corruption import (
    INPUT,
    WEIGHT,
    Corruption,
    input_noise,
    silenced_units,
    spread,
    weight_noise,
)
from lossmith.analysis.silencing import SILENCED, hidden_layers, silence
from lossmith.analysis.trained import TrainedLoss
from lossmith.cli.corruption import run
from lossmith.data import Normalize
from lossmith.errors import InputError
from lossmith.losses import cross_entropy
from lossmith.report import save_figure
from lossmith.report.minima import plot_corruption
from lossmith.seeds import generator
from lossmith.training import Networks, accuracy
from lossmith.training.networks import own_state

CLASSES, SAMPLES, NETWORKS = 4, 60, 3
INPUTS = torch.rand(SAMPLES, 2, 4, 4, generator=generator("tests", "damage"), dtype=torch.float64) * 9
TARGETS = torch.arange(SAMPLES) % CLASSES
Measure = Callable[..., Corruption]


def mlp() -> nn.Module:
    return nn.Sequential(
        Normalize.fit(INPUTS), nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 4)
    )


def convolutions() -> nn.Module:
    return nn.Sequential(
        Normalize.fit(INPUTS),
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1),
        nn.BatchNorm2d(6, affine=False),
        nn.Flatten(),
        nn.Linear(24, 8, bias=False),
        nn.LayerNorm(8),
        nn.Linear(8, 10),
        nn.ReLU(),
        nn.Linear(10, CLASSES),
    )


def trained_loss(factory: Callable[[], nn.Module], vectorized: bool = True, count: int = NETWORKS) -> TrainedLoss:
    """Networks whose every parameter and statistic is drawn at random."""
    states = []
    for number in range(count):
        network = factory().double()
        source = generator("tests", number)
        with torch.no_grad():
            for value in (*network.parameters(), *network.buffers()):
                if value.is_floating_point() and value.ndim != 3:
                    drawn = torch.randn(value.shape, generator=source, dtype=torch.float64)
                    value.copy_(drawn.abs() + 0.5 if value.ndim == 1 else drawn)
        states.append(own_state(network))
    parameters = {name: torch.stack([own[name] for own, _ in states]) for name in states[0][0]}
    buffers = {name: torch.stack([own[name] for _, own in states]) for name in states[0][1]}
    networks = Networks(factory().double(), parameters, buffers, vectorized)
    return TrainedLoss("cross-entropy", cross_entropy(), networks, torch.zeros(count, dtype=torch.bool))


def right(network: nn.Module, inputs: Tensor) -> float:
    return float((network(inputs).argmax(1) == TARGETS).double().mean())


MEASURES: list[Measure] = [input_noise, weight_noise, silenced_units]


@pytest.mark.parametrize("vectorized", [True, False])
class TestEveryKind:
    @pytest.mark.parametrize("factory", [mlp, convolutions])
    @pytest.mark.parametrize("measure", MEASURES)
    def test_none_is_clean(self, measure: Measure, factory: Callable[[], nn.Module], vectorized: bool) -> None:
        one = trained_loss(factory, vectorized)
        plain = accuracy(one.networks.logits(INPUTS), TARGETS).tolist()
        found = measure(one, INPUTS, TARGETS, (0.0, 0.5, 0.0), draws=2)
        assert found.accuracy.shape == (NETWORKS, 3, 2)
        assert found.clean.tolist() == plain
        for place in (0, 2):
            assert found.accuracy[:, place].T.tolist() == [plain, plain]
        assert (found.accuracy[:, 1] != found.clean[:, None]).any()
        only = measure(one, INPUTS, TARGETS, (0.0,), draws=1)
        assert only.accuracy[:, 0, 0].tolist() == plain

    @pytest.mark.parametrize("measure", MEASURES)
    def test_every_network_alone(self, measure: Measure, vectorized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        one = trained_loss(convolutions, vectorized)
        whole = measure(one, INPUTS, TARGETS, (0.2, 0.6))
        monkeypatch.setattr(perturbations, "MEMBERS", 4)
        np.testing.assert_array_equal(measure(one, INPUTS, TARGETS, (0.2, 0.6)).accuracy, whole.accuracy)
        for member in range(NETWORKS):
            alone = TrainedLoss("", one.loss, one.networks.select([member]), one.diverged[:1])
            found = measure(alone, INPUTS, TARGETS, (0.2, 0.6))
            np.testing.assert_array_equal(found.accuracy[0], whole.accuracy[member])

    @pytest.mark.parametrize("measure", MEASURES)
    def test_a_diverged_network(self, measure: Measure, vectorized: bool) -> None:
        one = trained_loss(mlp, vectorized)
        alone = measure(one, INPUTS, TARGETS, (0.0, 0.5))
        one.networks.parameters["2.weight"][1] = math.nan
        lost = TrainedLoss("", one.loss, one.networks, torch.tensor([False, True, False]))
        found = measure(lost, INPUTS, TARGETS, (0.0, 0.5))
        assert np.isnan(found.clean).tolist() == [False, True, False]
        assert np.isnan(found.accuracy[1]).all()
        np.testing.assert_array_equal(found.accuracy[[0, 2]], alone.accuracy[[0, 2]])
        every = TrainedLoss("", one.loss, one.networks, torch.ones(3, dtype=torch.bool))
        assert np.isnan(measure(every, INPUTS, TARGETS, (0.5,)).accuracy).all()


class TestInputNoise:
    def test_images(self) -> None:
        one = trained_loss(mlp)
        found = input_noise(one, INPUTS, TARGETS, (0.1, 0.4), draws=2, seed=5, max_pixel=9.0)
        for draw in range(2):
            noise = torch.randn(INPUTS.shape, generator=generator(5, INPUT, draw, 0)).double()
            for place, level in enumerate((0.1, 0.4)):
                noisy = (INPUTS + 9 * level * noise).clamp(0, 9)
                for member in range(NETWORKS):
                    assert found.accuracy[member, place, draw] == right(one.networks.member(member), noisy)

    def test_features_have_their_own_unit_and_no_limits(self) -> None:
        one = trained_loss(mlp)
        reference = 3 * INPUTS[:30]
        found = input_noise(one, INPUTS, TARGETS, (0.5,), draws=1, reference=reference)
        noise = torch.randn(INPUTS.shape, generator=generator(0, INPUT, 0, 0)).double()
        noisy = INPUTS + 0.5 * reference.std(0, correction=0) * noise
        for member in range(NETWORKS):
            assert found.accuracy[member, 0, 0] == right(one.networks.member(member), noisy)
        own = input_noise(one, INPUTS, TARGETS, (0.5,), reference=INPUTS)
        np.testing.assert_array_equal(own.accuracy, input_noise(one, INPUTS, TARGETS, (0.5,)).accuracy)

    def test_whole_numbers(self) -> None:
        whole = INPUTS.to(torch.uint8)
        assert spread(whole).dtype == torch.float32
        one = trained_loss(mlp)
        found = input_noise(one, whole, TARGETS, (0.3,), max_pixel=9.0).accuracy
        np.testing.assert_array_equal(found, input_noise(one, whole.float(), TARGETS, (0.3,), max_pixel=9.0).accuracy)


def test_weight_noise_against_an_ordinary_loop() -> None:
    one = trained_loss(convolutions)
    found = weight_noise(one, INPUTS, TARGETS, (0.3, 0.7), draws=2, seed=4)
    for member in range(NETWORKS):
        for place, level in enumerate((0.3, 0.7)):
            for draw in range(2):
                network = one.networks.member(member)
                for name, value in network.named_parameters():
                    if value.ndim > 1:
                        noise = torch.randn(value.shape, generator=generator(4, WEIGHT, draw, name)).double()
                        for row, own in zip(value.data, noise, strict=True):
                            own *= level * row.norm() / own.norm()
                            assert own.norm() == pytest.approx(level * row.norm().item())
                            row += own
                assert found.accuracy[member, place, draw] == pytest.approx(right(network, INPUTS), abs=1e-12)


def silenced_networks(one: TrainedLoss, share: float, draw: int = 0) -> Networks:
    places = torch.arange(len(one.networks))
    change = silence(hidden_layers(one.networks.base, INPUTS), (share,), 0, draw)
    return change(one.networks, places, 0 * places)


def outputs(network: nn.Module, layer: str) -> Tensor:
    """What a layer gives for the inputs, units first."""
    found: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _, __, result: found.append(result))
    network(INPUTS)
    handle.remove()
    return found[0].detach().movedim(1, 0).flatten(1)


class TestSilencedUnits:
    @pytest.mark.parametrize(
        ("factory", "layers"),
        [
            (mlp, {"2": (9, "2"), "4": (6, "4")}),
            (convolutions, {"1": (4, "2"), "4": (6, "5"), "7": (8, "8"), "9": (10, "9")}),
        ],
    )
    @pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
    def test_units_give_zero_and_the_others_do_not(
        self, factory: Callable[[], nn.Module], layers: dict[str, tuple[int, str]], share: float
    ) -> None:
        one = trained_loss(factory)
        hurt = silenced_networks(one, share)
        assert {layer.name: layer.units for layer in hidden_layers(one.networks.base, INPUTS)} == {
            name: units for name, (units, _) in layers.items()
        }
        for layer, (units, normalized) in layers.items():
            chosen = []
            for member in range(NETWORKS):
                network = hurt.member(member)
                silent = (outputs(network, layer) == 0).all(1)
                assert (outputs(network, normalized)[silent] == 0).all()
                assert silent.sum() == round(share * units)
                assert (outputs(network, normalized)[~silent].abs().sum(1) > 0).all()
                chosen.append(silent.tolist())
            assert chosen == [chosen[0]] * NETWORKS
        last = list(one.networks.parameters)[-1]
        assert torch.equal(hurt.parameters[last], one.networks.parameters[last])

    def test_more_units_contain_fewer(self) -> None:
        one = trained_loss(mlp)
        few, many, other = (
            silenced_networks(one, *own).parameters["2.bias"][0] == 0 for own in ((0.3,), (0.6,), (0.6, 1))
        )
        assert (many | ~few).all()
        assert (many != other).any()

    def test_measured_is_what_these_networks_do(self) -> None:
        one = trained_loss(convolutions)
        found = silenced_units(one, INPUTS, TARGETS, (0.5,), draws=2)
        for draw in range(2):
            hurt = silenced_networks(one, 0.5, draw)
            for member in range(NETWORKS):
                assert found.accuracy[member, 0, draw] == right(hurt.member(member), INPUTS)

    def test_weights_of_others_are_no_units(self) -> None:
        """A layer whose weight is computed has none of its own."""
        computed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
        network = nn.Sequential(computed, nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
        (layer,) = hidden_layers(network, torch.zeros(2, 4))
        assert (layer.name, layer.units, layer.state) == ("1", 6, ("1.weight", "1.bias"))

    def test_the_order_is_that_of_running_not_of_registering(self) -> None:
        class Backwards(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head, self.hidden = nn.Linear(5, 3), nn.Linear(4, 5)

            def forward(self, x: Tensor) -> Tensor:
                return torch.as_tensor(self.head(self.hidden(x).relu()))

        assert [layer.name for layer in hidden_layers(Backwards(), torch.zeros(2, 4))] == ["hidden"]

    def test_a_normalization_of_a_sum_is_not_of_its_last_part(self) -> None:
        """As in a residual network whose activations come first."""

        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.inner = nn.Linear(4, 4), nn.BatchNorm1d(4)
                self.second, self.outer, self.head = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                x = x + self.second(self.inner(self.first(x)).relu())
                return torch.as_tensor(self.head(self.outer(x).relu()))

        first, second = hidden_layers(Residual(), torch.zeros(2, 4))
        assert first.state == ("first.weight", "first.bias", "inner.weight", "inner.bias", "inner.running_mean")
        assert second.state == ("second.weight", "second.bias")

    def test_logits_that_are_changed_after_the_last_layer(self) -> None:
        network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softplus())
        assert [layer.name for layer in hidden_layers(network, torch.zeros(2, 4))] == ["0"]

    def test_no_hidden_layer(self) -> None:
        one = trained_loss(lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, CLASSES)))
        with pytest.raises(InputError, match="no hidden linear or convolutional layer"):
            silenced_units(one, INPUTS, TARGETS, (0.5,))


@pytest.mark.parametrize(
    ("measure", "levels", "draws", "sentence"),
    [
        (input_noise, (0.1, -0.1), 1, "a level of input noise is -0.1"),
        (weight_noise, (math.inf,), 1, "a level of weight noise is inf"),
        (silenced_units, (1.2,), 1, "a level of silenced units is 1.2; it must be from 0 to 1"),
        (input_noise, (math.nan,), 1, "a level of input noise is nan"),
        (weight_noise, (0.1,), 0, "the number of draws is 0"),
    ],
)
def test_bad_numbers(measure: Measure, levels: tuple[float, ...], draws: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        measure(trained_loss(mlp), INPUTS, TARGETS, levels, draws=draws)


def test_picture(tmp_path: Path) -> None:
    accuracy = np.linspace(0.2, 0.9, 18).reshape(3, 2, 3)
    clean = np.array([0.95, np.nan, 0.97])
    accuracy[1] = np.nan
    made = [Corruption(kind, np.array([0.5, 0.2]), clean, accuracy) for kind in (INPUT, SILENCED)]
    figure = plot_corruption([made, made], ["one", "two"], "for pixels in [0, 1]")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Input noise", "Silenced units"]
    assert figure.axes[0].get_xlabel() == "σ of the noise, for pixels in [0, 1]"
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [0, 0.2, 0.5]
    means = np.nanmean(accuracy.mean(2), 0)
    np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), [96, 100 * means[1], 100 * means[0]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "one (1 of 3 diverged)",
        "two (1 of 3 diverged)",
    ]
    save_figure(figure, tmp_path / "damage.pdf")


TINY = ("--train-size", "100", "--epochs", "1", "--hidden", "4", "--seeds", "2", "--draws", "2")
LEVELS = ("--input-noise", "0", "0.2", "--weight-noise", "0.5", "--silenced", "0.5", "1")


class TestCommand:
    def document(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
        run([*arguments, *TINY, "--json"])
        shown = capsys.readouterr()
        assert shown.err == ""
        return json.loads(shown.out)

    def test_tables_and_picture(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run([*LEVELS, "cross-entropy", "mse", *TINY, "--figure", str(tmp_path / "corruption.png")])
        shown = capsys.readouterr()
        text = " ".join(shown.out.split())
        for words in (
            "Gaussian noise on the inputs, σ for pixels in [0, 1]",
            "Gaussian noise on the weights",
            "hidden layer silenced",
            "Holm-corrected over all 4 tests of this command",
            "more accurate than cross-entropy",
            "corruption.png",
        ):
            assert words in text
        assert "corrupting" in shown.err
        assert (tmp_path / "corruption.png").read_bytes().startswith(b"\x89PNG")

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        document = self.document(capsys, *LEVELS, "cross-entropy", "mse")
        for one in document["results"]:
            assert [(own["kind"], own["level"]) for own in one["damage"]] == [
                (INPUT, 0),
                (INPUT, 0.2),
                (WEIGHT, 0.5),
                (SILENCED, 0.5),
                (SILENCED, 1),
            ]
            assert one["damage"][0]["values"] == one["test_accuracy"]["values"]
            for own in one["damage"]:
                draws = np.array(own["draws"])
                assert draws.shape == (2, 2)
                np.testing.assert_allclose(own["values"], draws.mean(1))
                assert own["mean"] == pytest.approx(draws.mean())
                assert own["std"] == pytest.approx(draws.mean(1).std(ddof=1))
                assert own["n"] == 2
        assert len(document["tests"]) == 4
        assert document["unmeasured"] == []
        alone = self.document(capsys, *LEVELS, "cross-entropy")
        assert alone["results"][0] == document["results"][0]

    def test_network_without_hidden_layer(self, capsys: pytest.CaptureFixture[str]) -> None:
        plain = [word for word in TINY if word not in ("--hidden", "4")]
        run(["mse", *LEVELS, *plain, "--hidden"])
        text = " ".join(capsys.readouterr().out.split())
        assert "Silenced units are not measured, since the network has no hidden layer." in text
        with pytest.raises(InputError, match="no corruption is given that this network can take"):
            run(["mse", *plain, "--hidden", "--input-noise", "--weight-noise"])

    def test_flat_features(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "flat.npz"
        features = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
        np.savez(path, x_train=features, y_train=np.arange(200) % 3)
        document = self.document(capsys, "mse", "--data", str(path), "--input-noise", "0.5")
        assert document["input_noise_unit"] == "in each feature's standard deviation"

    def test_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(["mse", *LEVELS, *TINY, "--quiet"])
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("--input-noise", "0.1", "-0.2"), "a level of input noise is -0.2"),
            (("--silenced", "1.5"), "a level of silenced units is 1.5"),
            (("--draws", "0"), "the number of draws is 0"),
        ],
    )
    def test_bad_input_before_any_training(
        self, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.import_module("lossmith.cli.corruption"), "opened", None)
        with pytest.raises(InputError, match=sentence):
            run(["mse", *arguments])
