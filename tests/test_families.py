"""Each family of built-in networks: size, shapes, initial weights, and training in every way that there is."""

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import convert_conv2d_weight_memory_format

from lossmith import InputError, Loss, cross_entropy, gce, mse
from lossmith.data import Normalize
from lossmith.nets import build
from lossmith.nets.bodies import conv, mlp
from lossmith.nets.convolutional import alexnet, allcnn_c, cnn_8, mnist_cnn
from lossmith.nets.parts import Dropout
from lossmith.nets.registry import body_factory, offered
from lossmith.nets.residual import Block, residual
from lossmith.training import Recipe, Task, Trained, train
from lossmith.training.randomness import is_stochastic, seeded

Body = Callable[[tuple[int, ...], int], nn.Module]
CLASSES = 4
REDUCED: dict[str, tuple[Body, int]] = {
    "mlp": (partial(mlp, hidden=(8, 6)), 6),
    "conv": (partial(conv, hidden=(8,)), 6),
    "mnist-cnn": (partial(mnist_cnn, dropout=0.0, width=2), 8),
    "alexnet": (partial(alexnet, width=3), 17),
    "allcnn-c": (partial(allcnn_c, dropout=0.0, width=4), 12),
    "cnn-8": (partial(cnn_8, width=4), 8),
    "preresnet-8": (partial(residual, blocks=1, stem=4), 8),
    "preresnet-14": (partial(residual, blocks=2, stem=3), 8),
    "wrn-10-2": (partial(residual, blocks=1, width=2, stem=3), 8),
}
PRUNED: dict[str, tuple[Body, int]] = {
    "mlp": (partial(mlp, hidden=(8, 6), dropout=0.25), 6),
    "conv": (partial(conv, hidden=(8,), dropout=0.25), 6),
    "mnist-cnn": (partial(mnist_cnn, width=2), 8),
    "alexnet": (partial(alexnet, dropout=0.5, width=3), 17),
    "allcnn-c": (partial(allcnn_c, width=4), 12),
    "cnn-8": (partial(cnn_8, dropout=0.5, width=4), 8),
    "preresnet-8": (partial(residual, blocks=1, dropout=0.3, stem=4), 8),
    "wrn-10-2": (partial(residual, blocks=1, width=2, dropout=0.3, stem=3), 8),
}
BOTH = [pytest.param(*value, id=name) for name, value in REDUCED.items()] + [
    pytest.param(*value, id=f"{name}, dropout") for name, value in PRUNED.items()
]
LOSSES = Loss.stack([cross_entropy(), mse(), gce(0.7)])
IMAGES = [name for name in offered("image") if name != "mlp"]
LEAST = {"conv": 1, "mnist-cnn": 4, "alexnet": 17, "allcnn-c": 9, "cnn-8": 8, "preresnet-20": 3, "wrn-16-8": 3}


def images(samples: int, side: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (samples, channels, side, side), dtype=torch.uint8, generator=generator)


def task_of(body: Body, side: int, kind: torch.dtype = torch.float64, samples: int = 26) -> Task:
    inputs = images(samples, side)
    normalize = Normalize.fit(inputs)
    targets = torch.arange(samples) % CLASSES
    return Task(
        lambda: nn.Sequential(copy.deepcopy(normalize), body((3, side, side), CLASSES)).to(kind),
        inputs,
        targets,
        CLASSES,
    )


def states(trained: Trained, probe: Tensor) -> dict[str, Tensor]:
    networks = trained.networks
    return {**networks.parameters, **networks.buffers, "logits": networks.logits(probe)}


def assert_relatively_close(found: Tensor, wanted: Tensor, tolerance: float, name: str) -> None:
    """The difference of each member, in the norm, is a small share of its value."""
    found, wanted = (value.double().reshape(len(value), -1) for value in (found, wanted))
    assert ((found - wanted).norm(dim=1) <= tolerance * wanted.norm(dim=1)).all(), name


def count(name: str, shape: tuple[int, ...], classes: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name, shape, classes).parameters())


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def rates(network: nn.Module) -> list[float]:
    return [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]


class TestSize:
    @pytest.mark.parametrize(
        ("name", "shape", "classes", "parameters"),
        [
            ("mlp", (1, 8, 8), 10, 64 * 128 + 128 + 128 * 10 + 10),
            ("conv", (1, 8, 8), 10, 160 + 4640 + (128 * 128 + 128) + 1290),
            ("mnist-cnn", (1, 28, 28), 10, 3_274_634),
            ("alexnet", (3, 32, 32), 10, 2_472_266),
            ("alexnet", (3, 28, 28), 10, 2_472_266),
            ("alexnet", (3, 64, 64), 10, 2_472_266 + 3 * 256 * 10),
            ("allcnn-c", (3, 32, 32), 10, 1_369_738),
            ("allcnn-c", (3, 32, 32), 100, 1_369_738 + 90 * 193),
            ("allcnn-c", (1, 40, 28), 10, 1_369_738 - 2 * 9 * 96),
            ("cnn-8", (3, 32, 32), 10, 1_639_794),
            ("preresnet-20", (3, 32, 32), 10, 272_282),
            ("wrn-16-8", (3, 32, 32), 10, 10_961_370),
            ("wrn-28-10", (3, 32, 32), 10, 36_479_194),
        ],
    )
    def test_parameters(self, name: str, shape: tuple[int, ...], classes: int, parameters: int) -> None:
        assert count(name, shape, classes) == parameters

    @pytest.mark.parametrize(
        ("name", "millions"),
        [
            *(("wrn-40-1", 0.6), ("wrn-40-2", 2.2), ("wrn-40-4", 8.9), ("wrn-40-8", 35.7), ("wrn-16-8", 11.0)),
            *(("wrn-16-10", 17.1), ("wrn-22-8", 17.2), ("wrn-22-10", 26.8), ("wrn-28-10", 36.5), ("wrn-28-12", 52.5)),
        ],
    )
    def test_wide_resnets_as_published(self, name: str, millions: float) -> None:
        """Zagoruyko & Komodakis (2016), tables 4 and 5."""
        assert count(name, (3, 32, 32), 10) / 1e6 == pytest.approx(millions, abs=0.05)

    @pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
    def test_preresnets_as_published(self, depth: int, millions: float) -> None:
        """He et al. (2015), table 6, whose shortcuts have no weights: 1×1 convolutions of 2,560 weights here."""
        without = count(f"preresnet-{depth}", (3, 32, 32), 10) - 2560
        assert without / 1e6 == pytest.approx(millions, abs=0.05 if depth == 110 else 0.006)

    @pytest.mark.parametrize(("blocks", "width"), [(1, 1), (3, 1), (2, 8), (4, 5), (4, 10)])
    @pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 10), (4, 100)])
    def test_residual_in_closed_form(self, blocks: int, width: int, channels: int, classes: int) -> None:
        parameters, before = 9 * channels * 16, 16
        for stage in range(3):
            filters = 16 * width * 2**stage
            inner = 2 * 9 * filters**2 + 4 * filters
            parameters += 9 * before * filters + 9 * filters**2 + 2 * before + 2 * filters + (blocks - 1) * inner
            parameters += before * filters if stage or width > 1 else 0
            before = filters
        parameters += 2 * before + before * classes + classes
        assert count(f"wrn-{6 * blocks + 4}-{width}", (channels, 32, 32), classes) == parameters

    @pytest.mark.parametrize("depth", [8, 20, 32, 56])
    def test_layers_are_counted_as_their_authors_do(self, depth: int) -> None:
        with torch.device("meta"):
            network = build(f"preresnet-{depth}", (3, 32, 32), 10)
        kernels = [layer.kernel_size for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert kernels.count((3, 3)) + len(layers_of(network, nn.Linear)) == depth
        assert kernels.count((1, 1)) == 2

    def test_preresnet_20_is_wrn_22_1(self) -> None:
        networks = []
        for name in ("preresnet-20", "wrn-22-1"):
            with seeded(torch.device("cpu"), 3):
                networks.append(build(name, (3, 8, 8), 10))
        assert [rates(network) for network in networks] == [[], [0.3] * 9]
        first, second = (network.state_dict() for network in networks)
        assert list(first) == list(second)
        assert all(torch.equal(first[name], second[name]) for name in first)


class TestShapes:
    @pytest.mark.parametrize("name", IMAGES)
    @pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 32, 32), (2, 28, 41), (3, 64, 64)])
    def test_logits(self, name: str, shape: tuple[int, ...]) -> None:
        with torch.device("meta"):
            for training in (True, False):
                assert build(name, shape, 7).train(training)(torch.empty(2, *shape)).shape == (2, 7)

    @pytest.mark.parametrize(("name", "side"), LEAST.items())
    def test_least_side(self, name: str, side: int) -> None:
        with torch.device("meta"):
            for shape in ((1, side, side), (1, side, 40), (1, 40, side)):
                assert build(name, shape, 3)(torch.empty(2, *shape)).shape == (2, 3)
        for shape in ((1, side - 1, side), (1, 40, side - 1)):
            sentence = f"{name} takes images of {side}×{side} pixels or more, but these are {shape[1]}×{shape[2]}: use"
            with pytest.raises(InputError, match=sentence):
                body_factory(name, shape, 3)

    @pytest.mark.parametrize("name", IMAGES)
    def test_flat_features(self, name: str) -> None:
        with pytest.raises(
            InputError,
            match=f"{name} takes image data, but this is tabular, with samples of shape .7.: use the model mlp, your",
        ):
            build(name, (7,), 3)

    @pytest.mark.parametrize(("body", "side"), BOTH)
    def test_weights_come_from_the_global_generator(self, body: Body, side: int) -> None:
        task = task_of(body, side)
        first, again, other = (task.build(seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)

    @pytest.mark.parametrize("name", ["mnist-cnn", "alexnet", "allcnn-c", "cnn-8", "preresnet-8", "wrn-10-1"])
    def test_looking_for_a_network_draws_nothing(self, name: str) -> None:
        before = torch.get_rng_state()
        body_factory(name, (3, 32, 32), 10)
        assert torch.equal(torch.get_rng_state(), before)


class TestArchitecture:
    def test_identity_shortcut(self) -> None:
        block, x = Block(4, 4, 1, 0.0), torch.randn(3, 4, 5, 5)
        nn.init.zeros_(block.conv2.weight)
        assert torch.equal(block(x), x)

    @pytest.mark.parametrize(("filters", "stride"), [(4, 2), (8, 1), (8, 2)])
    def test_projection_of_the_activation(self, filters: int, stride: int) -> None:
        block, x = Block(4, filters, stride, 0.0), torch.randn(3, 4, 5, 5)
        nn.init.zeros_(block.conv2.weight)
        active = functional.relu(functional.batch_norm(x, None, None, training=True))
        assert block.projection is not None
        wanted = torch.einsum("fc,nchw->nfhw", block.projection.weight[:, :, 0, 0], active[:, :, ::stride, ::stride])
        torch.testing.assert_close(block(x), wanted, rtol=1e-5, atol=1e-5)

    def test_a_block_step_by_step(self) -> None:
        block, x = Block(4, 4, 1, 0.0), torch.randn(3, 4, 5, 5)

        def activated(value: Tensor) -> Tensor:
            return functional.relu(functional.batch_norm(value, None, None, training=True))

        once = functional.conv2d(activated(x), block.conv1.weight, padding=1)
        wanted = x + functional.conv2d(activated(once), block.conv2.weight, padding=1)
        torch.testing.assert_close(block(x), wanted, rtol=1e-5, atol=1e-5)

    def test_dropout_of_a_block_lies_between_its_convolutions(self) -> None:
        torch.manual_seed(0)
        block, x = Block(4, 4, 1, 0.6), torch.rand(3, 4, 5, 5)
        given: list[Tensor] = []
        block.conv1.register_forward_pre_hook(lambda _, args: given.append(args[0]))
        block.conv2.register_forward_pre_hook(lambda _, args: given.append(args[0]))
        for training, pruned in ((True, 0.6 + 0.4 * 0.5), (False, 0.5)):
            given.clear()
            block.train(training)(x.expand(40, 3, 4, 5, 5).flatten(0, 1))
            share = (given[1] == 0).double().mean().item()
            assert share == pytest.approx(pruned, abs=0.15 if not training else 0.05)
            assert given[0].mean() > 0

    def test_allcnn_c_ends_in_linear_logits(self) -> None:
        """The mean of logits that may be negative: ReLU there would leave a class without gradient for good."""
        network = allcnn_c((3, 12, 12), CLASSES, width=4).eval()
        assert (network(torch.randn(50, 3, 12, 12)) < 0).any()

    @pytest.mark.parametrize(
        ("name", "dropout", "wanted"),
        [
            ("mlp", None, []),
            ("mlp", 0.25, [0.25, 0.25]),
            ("conv", None, []),
            ("conv", 0.25, [0.25, 0.25]),
            ("cnn", 0.25, [0.25, 0.25]),
            ("mnist-cnn", None, [0.4]),
            ("mnist-cnn", 0.1, [0.1]),
            ("alexnet", None, []),
            ("alexnet", 0.5, [0.5]),
            ("allcnn-c", None, [0.2, 0.5, 0.5]),
            ("allcnn-c", 0.1, [0.1, 0.1, 0.1]),
            ("preresnet-8", None, []),
            ("preresnet-8", 0.1, [0.1] * 3),
            ("wrn-16-1", None, [0.3] * 6),
            ("wrn-16-1", 0.1, [0.1] * 6),
        ],
    )
    def test_rates_of_dropout(self, name: str, dropout: float | None, wanted: list[float]) -> None:
        with torch.device("meta"):
            assert rates(build(name, (3, 32, 32), 10, hidden=(8, 8), dropout=dropout)) == wanted

    @pytest.mark.parametrize(
        "name", ["mlp", "conv", "mnist-cnn", "alexnet", "allcnn-c", "cnn-8", "preresnet-8", "wrn-10-1"]
    )
    def test_no_dropout_draws_nothing(self, name: str) -> None:
        network = build(name, (1, 20, 20), 3, dropout=0.0)
        assert rates(network) == []
        assert not is_stochastic(network, torch.randn(2, 1, 20, 20))
        assert is_stochastic(build(name, (1, 20, 20), 3, dropout=0.5), torch.randn(2, 1, 20, 20))


class TestDropout:
    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    def test_mean_and_share(self, rate: float) -> None:
        out = Dropout(rate)(torch.full((200_000,), 3.0, dtype=torch.float64))
        assert set(out.tolist()) == {0.0, 3 / (1 - rate)}
        assert (out == 0).double().mean().item() == pytest.approx(rate, abs=0.005)
        assert out.mean().item() == pytest.approx(3, rel=0.03)

    def test_gradient(self) -> None:
        x = torch.randn(50, dtype=torch.float64, requires_grad=True)
        out = Dropout(0.4)(x)
        (slope,) = torch.autograd.grad(out.sum(), x)
        torch.testing.assert_close(slope, (out != 0) / torch.tensor(0.6, dtype=torch.float64))

    def test_evaluation(self) -> None:
        x = torch.randn(50)
        assert Dropout(0.4).eval()(x) is x

    def test_one_mask_for_every_layout_and_precision(self) -> None:
        layer, x = Dropout(0.5), torch.ones(4, 3, 5, 6)
        perturbations = (x, x.to(memory_format=torch.channels_last), x.double(), x.bfloat16())
        outs = []
        for perturbation in perturbations:
            with seeded(torch.device("cpu"), 1):
                outs.append(layer(perturbation))
            assert outs[-1].dtype == perturbation.dtype
            assert outs[-1].stride() == perturbation.stride()
        assert all(torch.equal(out.double(), outs[0].double()) for out in outs)

    @pytest.mark.parametrize("batched", [True, False])
    def test_members_share_the_mask(self, batched: bool) -> None:
        layer, x = Dropout(0.5), torch.ones(3, 40)
        run = torch.func.vmap(lambda _, value: layer(value), in_dims=(0, 0 if batched else None), randomness="same")
        with seeded(torch.device("cpu"), 1):
            together = run(torch.ones(3), x if batched else x[0]).expand(3, 40)
        with seeded(torch.device("cpu"), 1):
            alone = layer(x[0])
        assert torch.equal(together, alone.expand(3, 40))


class TestInitialWeights:
    @staticmethod
    def outputs(network: nn.Module, inputs: Tensor) -> list[Tensor]:
        """What each layer with weights gives, in the order of their running."""
        found: list[Tensor] = []
        for layer in layers_of(network, nn.Conv2d, nn.Linear):
            layer.register_forward_hook(lambda _, args, output: found.append(output))
        with torch.no_grad():
            network(inputs)
        return found

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", ["mnist-cnn", "alexnet", "allcnn-c"])
    def test_a_signal_reaches_the_logits(self, name: str, seed: int) -> None:
        """The mean square before ReLU stays: PyTorch's own weights lose 5/6 of it in each layer, He's only at edges."""
        with seeded(torch.device("cpu"), seed):
            network = build(name, (3, 32, 32), 10).eval()
            inputs = torch.randn(16, 3, 32, 32)
        *hidden, logits = self.outputs(network, inputs)
        strengths = [value.square().mean().item() for value in hidden]
        assert all(0.25 < after / before < 6 for before, after in pairwise(strengths)), strengths
        assert all(0.2 < strength < 12 for strength in strengths), strengths
        assert logits.flatten(1).std(0).mean() > 0.05
        assert logits.abs().mean() < 3

    @pytest.mark.parametrize("name", ["mnist-cnn", "alexnet", "allcnn-c"])
    def test_he(self, name: str) -> None:
        with seeded(torch.device("cpu"), 0):
            network = build(name, (3, 32, 32), 10)
        *hidden, logits = layers_of(network, nn.Conv2d, nn.Linear)
        for layer in hidden:
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.bias is not None
            assert (layer.bias == 0).all()
            assert layer.weight.std().item() == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.05)
        assert isinstance(logits, nn.Conv2d | nn.Linear)
        assert logits.weight.abs().max() <= logits.weight[0].numel() ** -0.5

    @pytest.mark.parametrize("name", ["preresnet-20", "wrn-16-4"])
    def test_residual(self, name: str) -> None:
        with seeded(torch.device("cpu"), 0):
            network = build(name, (3, 32, 32), 10)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
                assert layer.bias is None
                assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
            if isinstance(layer, nn.Linear):
                assert (layer.bias == 0).all()

    @pytest.mark.parametrize("dropout", [None, 0.0])
    def test_small_networks_are_what_they_were(self, dropout: float | None) -> None:
        """Names, initial weights and logits of stored studies."""

        def older() -> nn.Module:
            return nn.Sequential(
                *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Flatten(), nn.Linear(128, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)),
            )

        def oldest() -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))

        for name, make in (("cnn", older), ("conv", older), ("mlp", oldest)):
            pair = []
            for maker in (make, partial(build, name, (1, 8, 8), 3, hidden=(5, 6), dropout=dropout)):
                with seeded(torch.device("cpu"), 1):
                    pair.append(maker())
            states = [network.state_dict() for network in pair]
            assert list(states[0]) == list(states[1])
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
            x = torch.randn(4, 1, 8, 8)
            assert torch.equal(pair[0](x), pair[1](x))


class TestTraining:
    @pytest.mark.parametrize("seeds", [[3, 3, 3], [3, 4, 3]], ids=["equal seeds", "mixed seeds"])
    @pytest.mark.parametrize(("body", "side"), BOTH)
    def test_population_is_sequential(self, body: Body, side: int, seeds: list[int]) -> None:
        task, probe = task_of(body, side), images(9, side) // 2
        recipe = Recipe(lr=0.02, weight_decay=0.01, steps=3, batch_size=8)
        sequential, together = (
            states(train(task, LOSSES, seeds, recipe, backend), probe) for backend in ("sequential", "population")
        )
        assert sequential.keys() == together.keys()
        for name, value in sequential.items():
            assert_relatively_close(together[name], value, 1e-6, name)
        before = task.build(3).state_dict()
        for name, value in sequential.items():
            if name.endswith("num_batches_tracked"):
                assert value.tolist() == [3, 3, 3]
            elif name != "logits":
                assert all(not torch.equal(member, before[name]) for member in value[[0, 2]]), name
            if not name.endswith(("num_batches_tracked", "2.norm1.running_mean", "2.norm1.running_var")):
                assert not torch.equal(value[0], value[2]), name

    @pytest.mark.parametrize(("body", "side"), BOTH)
    def test_a_short_training_fits(self, body: Body, side: int) -> None:
        task = task_of(body, side, torch.float32, samples=32)
        losses = Loss.stack([cross_entropy()])
        recipe = Recipe(lr=0.02, epochs=60, batch_size=16)
        trained = train(task, losses, [3], recipe, "sequential")
        logits = trained.networks.logits(task.inputs)[0]
        assert not trained.diverged.any()
        before = functional.cross_entropy(task.build(3).eval()(task.inputs), task.targets)
        assert functional.cross_entropy(logits, task.targets) < 0.85 * before

    @pytest.mark.parametrize(("body", "side"), BOTH)
    def test_channels_last(self, body: Body, side: int) -> None:
        task = task_of(body, side)
        networks = [task.build(3), convert_conv2d_weight_memory_format(task.build(3), torch.channels_last)]
        given: list[Tensor] = []
        for layer in layers_of(networks[1], nn.Conv2d):
            layer.register_forward_hook(lambda _, args, output: given.append(output))
        logits = []
        for network, form in zip(networks, (torch.contiguous_format, torch.channels_last), strict=True):
            optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
            inputs = task.inputs.to(memory_format=form)
            for step in range(3):
                optimizer.zero_grad()
                with seeded(torch.device("cpu"), step):
                    functional.cross_entropy(network(inputs), task.targets).backward()
                optimizer.step()
            logits.append(network.eval()(inputs))
        assert all(value.is_contiguous(memory_format=torch.channels_last) for value in given)
        torch.testing.assert_close(logits[1], logits[0], rtol=1e-6, atol=1e-9)
        wanted = networks[0].state_dict()
        for name, value in networks[1].state_dict().items():
            assert_relatively_close(value[None], wanted[name][None], 1e-6, name)

    @pytest.mark.parametrize(("body", "side"), BOTH)
    def test_bf16(self, body: Body, side: int) -> None:
        task = task_of(body, side, torch.float32)
        network = task.build(3)
        with seeded(torch.device("cpu"), 1):
            exact = network(task.inputs)
        with seeded(torch.device("cpu"), 1), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(task.inputs)
            loss = functional.cross_entropy(logits.float(), task.targets)
        loss.backward()
        assert logits.dtype == torch.bfloat16
        assert (logits - exact).norm() < 0.05 * exact.norm()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
