"""Normalisation, the built-in networks, the user's own, and the check before a search."""

import copy
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from lossmith.data import Normalize
from lossmith.data.kinds import normalize as normalize_module
from lossmith.errors import InputError
from lossmith.nets import ModelSettings, NetworkFactory, build, check_network, network_factory
from lossmith.nets.registry import offered


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def built(settings: ModelSettings, inputs: Tensor, classes: int = 10) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network_factory(settings, Normalize.fit(inputs), inputs.shape[1:], classes)()


class TestNormalize:
    @pytest.mark.parametrize("chunk", [1, 40, 1 << 21])
    @pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
    def test_images(self, monkeypatch: pytest.MonkeyPatch, chunk: int, kind: torch.dtype) -> None:
        monkeypatch.setattr(normalize_module, "_CHUNK_ELEMENTS", chunk)
        inputs = images(13, 3, 4, 5).to(kind)
        layer = Normalize.fit(inputs)
        exact = inputs.to(torch.float64)
        assert layer.mean.shape == layer.std.shape == (3, 1, 1)
        torch.testing.assert_close(layer.mean.flatten(), exact.mean((0, 2, 3)).float())
        torch.testing.assert_close(layer.std.flatten(), exact.std((0, 2, 3), correction=0).float())
        out = layer(inputs)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
        torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(3))

    @settings(max_examples=40, deadline=None)
    @given(
        offset=st.floats(-1e6, 1e6, width=32),
        scale=st.floats(0.125, 1e6, width=32),
        samples=st.integers(2, 50),
    )
    def test_flat(self, offset: float, scale: float, samples: int) -> None:
        inputs = torch.randn(samples, 3, generator=torch.Generator().manual_seed(1)) * scale + offset
        layer = Normalize.fit(inputs)
        torch.testing.assert_close(layer.mean, inputs.double().mean(0).float())
        exact = inputs.double().std(0, correction=0)
        torch.testing.assert_close(layer.std, torch.where(exact == 0, 1, exact).float())

    def test_constant(self) -> None:
        flat = torch.cat([torch.full((1001, 1), 0.1), torch.arange(1001.0)[:, None]], dim=1)
        assert Normalize.fit(flat).std[0] == 1
        assert Normalize.fit(flat)(flat)[:, 0].abs().max() < 1e-7
        channel = torch.cat([torch.full((7, 1, 2, 2), 9, dtype=torch.uint8), images(7, 1, 2, 2)], dim=1)
        assert Normalize.fit(channel).std.flatten()[0] == 1
        assert Normalize.fit(channel)(channel)[:, 0].abs().max() == 0

    def test_one_sample(self) -> None:
        layer = Normalize.fit(torch.tensor([[3.0, -2.0]]))
        assert layer(torch.tensor([[3.0, -1.0]])).tolist() == [[0.0, 1.0]]

    def test_vmap_over_stacked_layers(self) -> None:
        inputs = images(6, 2, 3, 3)
        layers = [Normalize.fit(inputs), Normalize.fit(inputs // 2)]
        _, buffers = torch.func.stack_module_state(layers)
        out = torch.func.vmap(lambda state: torch.func.functional_call(layers[0], state, (inputs,)))(buffers)
        assert torch.equal(out, torch.stack([layer(inputs) for layer in layers]))

    def test_half_precision_inputs(self) -> None:
        layer = Normalize.fit(torch.randn(8, 4))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(torch.randn(8, 4).bfloat16()).dtype == torch.float32

    def test_buffers_are_saved_and_not_trained(self) -> None:
        layer = Normalize.fit(torch.randn(8, 4))
        assert set(layer.state_dict()) == {"mean", "std"}
        assert not list(layer.parameters())


def kinds(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.modules() if not list(layer.children())]


BAD_SETTINGS: list[dict[str, Any]] = [
    *({"hidden": (0,)}, {"hidden": [1.5]}, {"model": 3}, {"unknown": 1}),
    *({"dropout": 1}, {"dropout": -0.1}, {"dropout": math.nan}, {"dropout": "0.5"}, {"dropout": True}),
]


class TestBuiltIn:
    def test_mlp_flattens_images(self) -> None:
        inputs = images(20, 1, 8, 8)
        network = built(ModelSettings(hidden=(32, 16)), inputs)
        assert network(inputs).shape == (20, 10)
        assert kinds(network) == ["Normalize", "Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]
        assert [tuple(p.shape) for p in network.parameters() if p.ndim == 2] == [(32, 64), (16, 32), (10, 16)]

    def test_mlp_of_flat_data(self) -> None:
        inputs = torch.randn(20, 7)
        assert built(ModelSettings(), inputs, 3)(inputs).shape == (20, 3)

    def test_mlp_without_hidden_layers(self) -> None:
        network = built(ModelSettings(hidden=()), torch.randn(20, 7), 3)
        assert kinds(network) == ["Normalize", "Flatten", "Linear"]

    @pytest.mark.parametrize(
        ("shape", "pools", "features"),
        [
            ((1, 8, 8), 2, 32 * 2 * 2),
            ((3, 32, 32), 3, 32 * 4 * 4),
            ((1, 28, 28), 3, 32 * 3 * 3),
            ((1, 28, 8), 2, 32 * 7 * 2),
            ((2, 3, 3), 1, 32 * 1 * 1),
            ((1, 1, 6), 0, 32 * 1 * 6),
        ],
    )
    def test_conv(self, shape: tuple[int, ...], pools: int, features: int) -> None:
        inputs = images(5, *shape)
        network = built(ModelSettings(name="conv", hidden=(24,)), inputs, 4)
        assert network(inputs).shape == (5, 4)
        assert kinds(network).count("MaxPool2d") == pools
        assert [tuple(p.shape) for p in network.parameters() if p.ndim == 2] == [(24, features), (4, 24)]

    @pytest.mark.parametrize("name", ["conv", "cnn"])
    def test_conv_refuses_flat_data(self, name: str) -> None:
        sentence = (
            f"the model {name} takes image data, but this is tabular, with samples of shape .7.: use the model mlp"
        )
        with pytest.raises(InputError, match=sentence):
            network_factory(ModelSettings(name=name), Normalize.fit(torch.randn(20, 7)), (7,), 3)

    def test_dropout_comes_from_the_settings(self) -> None:
        inputs = images(20, 1, 8, 8)
        network = built(ModelSettings(hidden=(32, 16), dropout=0.25), inputs)
        linear = ["Linear", "ReLU", "Dropout"]
        assert kinds(network) == ["Normalize", "Flatten", *linear, *linear, "Linear"]
        assert kinds(built(ModelSettings(name="mnist-cnn", dropout=0.0), inputs)).count("Dropout") == 0
        assert kinds(built(ModelSettings(name="mnist-cnn"), inputs)).count("Dropout") == 1

    @pytest.mark.parametrize("dropout", [-0.1, 1.0, math.nan, math.inf])
    def test_a_rate_that_cannot_be_used(self, dropout: float) -> None:
        with pytest.raises(InputError, match=f"the rate of dropout is {dropout:g}: give a number from 0 to less than"):
            build("mlp", (4,), 3, dropout=dropout)

    @pytest.mark.parametrize("classes", [0, 1])
    def test_too_few_classes(self, classes: int) -> None:
        with pytest.raises(InputError, match=f"a network of {classes} classes cannot classify: give 2 or more"):
            build("mlp", (4,), classes)

    def test_a_module_is_no_network(self) -> None:
        with pytest.raises(InputError, match="or your own network as json:function, from the module json"):
            build("json", (4,), 3)

    @pytest.mark.parametrize("name", offered("image"))
    def test_every_network_that_is_offered_takes_images(self, name: str) -> None:
        with torch.device("meta"):
            network = build(name, (3, 32, 32), 10)
            assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("resnet-20", "(did you mean preresnet-20"),
            ("preresnet", "(did you mean preresnet-"),
            ("preresnet-020", "(did you mean preresnet-20"),
            ("PreResNet-56", "(did you mean preresnet-56"),
            ("wrn-28", "(did you mean wrn-28-"),
            ("wrn-28-0", "(did you mean wrn-28-"),
            ("WRN-28-10", "(did you mean wrn-28-10"),
            ("wrn-16-99999", "(did you mean wrn-16-"),
            ("wrn-२८-१०", "; give"),
            ("allcnn", "(did you mean allcnn-c"),
            ("AlexNet", "(did you mean alexnet"),
            ("mnist_cnn", "(did you mean mnist-cnn"),
            ("convolution", "(did you mean conv"),
            ("xyzzy", "; give mlp, conv, mnist-cnn,"),
            ("", "; give mlp, conv, mnist-cnn,"),
        ],
    )
    def test_an_unknown_name(self, name: str, nearest: str) -> None:
        with pytest.raises(InputError, match=re.escape(f"there is no model {name!r}")) as caught:
            build(name, (3, 32, 32), 10)
        assert nearest in str(caught.value)
        assert str(caught.value).endswith(
            "preresnet-DEPTH, wrn-DEPTH-WIDTH, embedding, or your own network as package.module:function"
        )

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("preresnet-21", "6n + 2 with n = 1, 2, …: give preresnet-20 or preresnet-26"),
            ("preresnet-28", "6n + 2 with n = 1, 2, …: give preresnet-26 or preresnet-32"),
            ("preresnet-2", "6n + 2 with n = 1, 2, …: give preresnet-8"),
            ("wrn-27-3", "6n + 4 with n = 1, 2, …: give wrn-22-3 or wrn-28-3"),
            ("wrn-20-20", "6n + 4 with n = 1, 2, …: give wrn-16-20 or wrn-22-20"),
            ("wrn-4-4", "6n + 4 with n = 1, 2, …: give wrn-10-4"),
            ("wrn-1-1", "6n + 4 with n = 1, 2, …: give wrn-10-1"),
        ],
    )
    def test_a_depth_that_there_is_not(self, name: str, sentence: str) -> None:
        with pytest.raises(InputError) as caught:
            build(name, (3, 32, 32), 10)
        assert str(caught.value) == f"there is no {name}, since its depth must be {sentence}"

    def test_weights_come_from_the_global_generator(self) -> None:
        factory = network_factory(ModelSettings(), Normalize.fit(images(20, 1, 8, 8)), (1, 8, 8), 10)
        networks = []
        for seed in (0, 0, 1):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                networks.append(list(factory().parameters()))
        assert torch.equal(networks[0][0], networks[1][0])
        assert not torch.equal(networks[0][0], networks[2][0])

    def test_networks_share_nothing(self) -> None:
        factory = network_factory(ModelSettings(), Normalize.fit(images(20, 1, 8, 8)), (1, 8, 8), 10)
        with torch.random.fork_rng():
            first, second = factory(), factory()
        pointers = [{tensor.data_ptr() for tensor in network.state_dict().values()} for network in (first, second)]
        assert not pointers[0] & pointers[1]

    @pytest.mark.parametrize("values", BAD_SETTINGS)
    def test_bad_settings_name_the_key(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(values))):
            ModelSettings(**values)

    def test_hidden_from_a_list(self) -> None:
        assert ModelSettings.model_validate({"hidden": [3, 4]}).hidden == (3, 4)


OWN = """
import torch
from torch import nn

number = 3
shared = nn.Linear(4, 3)

def good(shape, classes):
    import lossmith_test_helper
    assert shape == (4,)
    return lossmith_test_helper.linear(shape[0], classes)

class Net(nn.Linear):
    def __init__(self, shape, classes):
        super().__init__(shape[0], classes)

class Wide(Net):
    def forward(self, x):
        return super().forward(x)[:, :-1]

class Whole(Net):
    def forward(self, x):
        return super().forward(x).argmax(1, keepdim=True).expand(-1, 3)

class Several(Net):
    def forward(self, x):
        return (super().forward(x),)

class Torn(Net):
    def forward(self, x):
        if self.training:
            raise RuntimeError("first line\\nsecond line")
        return super().forward(x)

def raises(shape, classes):
    raise KeyError()

def same(shape, classes):
    return shared

def nothing(shape, classes):
    return None

def lazy(shape, classes):
    return nn.LazyLinear(classes)

def untrainable(shape, classes):
    return nn.Identity()

def mismatched(shape, classes):
    return nn.Linear(5, classes)

def noisy(shape, classes):
    return nn.Sequential(nn.Linear(4, classes), nn.BatchNorm1d(classes), nn.Dropout(0.5))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lossmith_test_own.py").write_text(OWN)
    (tmp_path / "lossmith_test_helper.py").write_text("from torch.nn import Linear as linear\n")
    (tmp_path / "lossmith_test_torn.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "lossmith_test_syntax.py").write_text("def (\n")
    (tmp_path / "lossmith_test_exit.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    for name in ("own", "helper"):
        monkeypatch.delitem(sys.modules, f"lossmith_test_{name}", raising=False)
    return tmp_path


def own_factory(function: str, inputs: Tensor) -> NetworkFactory:
    return network_factory(
        ModelSettings(name=f"lossmith_test_own:{function}"), Normalize.fit(inputs), inputs.shape[1:], 3
    )


class TestOwn:
    @pytest.mark.parametrize("function", ["good", "Net", "noisy"])
    def test_from_the_current_directory(self, own: Path, function: str) -> None:
        inputs, path = torch.randn(6, 4) * 5 + 2, list(sys.path)
        factory = own_factory(function, inputs)
        check_network(factory, inputs, 3)
        network = factory()
        assert sys.path == path
        assert isinstance(network, nn.Sequential)
        assert torch.equal(network[0](inputs), Normalize.fit(inputs)(inputs))
        assert network(inputs).shape == (6, 3)

    def test_directory_that_is_on_the_path_stays(self, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(own))
        own_factory("good", torch.randn(6, 4))()
        assert sys.path.count(str(own)) == 1

    @pytest.mark.parametrize(
        ("model", "sentence"),
        [
            (":good", r"there is no model ':good'; give your own model as package\.module:function"),
            ("lossmith_test_own:", r"there is no model 'lossmith_test_own:'; give your own"),
            ("lossmith_test_none:f", r"lossmith_test_none, .* cannot be imported \(ModuleNotFoundError: .*: correct"),
            ("lossmith_test_torn:f", r"\(ModuleNotFoundError: No module named 'no_such_module_at_all'\): correct"),
            ("lossmith_test_syntax:f", r"\(SyntaxError: .*: correct"),
            ("lossmith_test_exit:f", r"\(SystemExit: 1\): correct"),
            (".relative:f", r"there is no model .*package.module:function"),
            ("lossmith_test_own:missing", r"lossmith_test_own has no missing: correct the model"),
            ("lossmith_test_own:number", r"number is no function but an object of type int: give a class or function"),
        ],
    )
    def test_bad_name(self, own: Path, model: str, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence) as caught:
            network_factory(ModelSettings(name=model), Normalize.fit(torch.randn(6, 4)), (4,), 3)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("function", "sentence"),
        [
            ("raises", r"own:raises, called with \(4,\) and 3, raised KeyError: correct the function"),
            ("nothing", r"own:nothing returned None: let it return a torch\.nn\.Module"),
            ("same", r"same network at each call, .*: build a new one"),
            ("untrainable", r"no parameters to train: let"),
            (
                "mismatched",
                r"does not take inputs of shape \[6, 4\] in evaluation mode \(RuntimeError: .*: make it fit",
            ),
            ("Torn", r"in training mode \(RuntimeError: first line\): make it fit"),
            ("Wide", r"returns shape \[6, 2\] in evaluation mode for 6 samples of 3 classes: let it return \[6, 3\]"),
            ("Whole", r"returns torch\.int64 in evaluation mode: let it return floating logits"),
            ("Several", r"returns an object of type tuple in evaluation mode: let it return one tensor"),
        ],
    )
    def test_bad_function(self, own: Path, function: str, sentence: str) -> None:
        inputs = torch.randn(6, 4)
        with pytest.raises(InputError, match=sentence) as caught:
            check_network(own_factory(function, inputs), inputs, 3)
        assert "\n" not in str(caught.value)

    def test_dropout_is_the_function_s_own(self, own: Path) -> None:
        settings = ModelSettings(name="lossmith_test_own:good", dropout=0.0)
        with pytest.raises(InputError, match=r"dropout = 0 does not reach your own network .*:good: leave it out, and"):
            network_factory(settings, Normalize.fit(torch.randn(6, 4)), (4,), 3)

    def test_by_name(self, own: Path) -> None:
        network = build("lossmith_test_own:good", (4,), 3)
        assert isinstance(network, nn.Linear)
        assert network.weight.shape == (3, 4)

    def test_lazy_layers(self, own: Path) -> None:
        inputs = torch.randn(6, 4)
        with pytest.raises(InputError, match=r"lazy layers, .*: give their sizes"):
            check_network(own_factory("lazy", inputs), inputs, 3)


class TestOutputsOfOtherProblems:
    """They are named, with what would fit them."""

    BINARY = r"end the network in 2 logits with class indices 0 and 1, or train with torch\.nn\.BCEWithLogitsLoss$"

    @pytest.mark.parametrize(
        ("layers", "classes", "sentence"),
        [
            ([nn.Flatten(), nn.Linear(4, 1)], 2, BINARY),
            ([nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0)], 2, BINARY),
            ([nn.Flatten(), nn.Linear(4, 1)], 3, r"let it return \[6, 3\], .*; measured values .* torch\.nn\.MSELoss"),
            (
                [nn.Conv2d(1, 2, 1)],
                2,
                r"a class for each pixel is trained in a loop of your own, with lossmith\.Criterion",
            ),
        ],
        ids=["binary", "binary without a dimension", "regression", "segmentation"],
    )
    def test_one_sentence(self, layers: list[nn.Module], classes: int, sentence: str) -> None:
        inputs = torch.randn(6, 1, 2, 2)
        with pytest.raises(InputError, match=sentence) as caught:
            check_network(lambda: copy.deepcopy(nn.Sequential(*layers)), inputs, classes)
        assert "\n" not in str(caught.value)


class TestCheck:
    @pytest.mark.parametrize("samples", [1, 3, 100])
    def test_leaves_the_global_generator(self, own: Path, samples: int) -> None:
        inputs = torch.randn(samples, 4)
        state = torch.get_rng_state()
        check_network(own_factory("noisy", inputs), inputs, 3)
        assert torch.equal(torch.get_rng_state(), state)

    def test_no_module(self) -> None:
        with pytest.raises(InputError, match="an object of type int: let it give"):
            check_network(lambda: 3, torch.randn(2, 2), 2)  # type: ignore[arg-type, return-value]

    @staticmethod
    def refusal(inputs: Tensor, *layers: nn.Module) -> InputError:
        with pytest.raises(InputError) as caught:
            check_network(lambda: nn.Sequential(Normalize.fit(inputs), *copy.deepcopy(layers)), inputs, 3)
        assert isinstance(caught.value.__cause__, RuntimeError)
        return caught.value

    @pytest.mark.parametrize(("wanted", "channels", "named"), [(3, 1, "3 channels"), (1, 3, "1 channel")])
    def test_gray_and_color(self, wanted: int, channels: int, named: str) -> None:
        refusal = self.refusal(images(5, channels, 6, 6), nn.Conv2d(wanted, 2, 3), nn.Flatten(), nn.Linear(32, 3))
        assert str(refusal) == (
            f"the model takes images of {named}, but these have {channels}: convert them with channels = {wanted} "
            f"(--channels {wanted}), or make the model fit the data"
        )

    @pytest.mark.parametrize(
        ("channels", "layers"),
        [
            (3, [nn.Conv2d(4, 2, 3)]),
            (4, [nn.Conv2d(3, 2, 3)]),
            (1, [nn.Conv2d(1, 1, 3), nn.Conv2d(3, 3, 3)]),
            (1, [nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(3, 3, 3)]),
        ],
    )
    def test_what_is_no_matter_of_gray_and_color(self, channels: int, layers: list[nn.Module]) -> None:
        """Other numbers of channels cannot be converted, and a later convolution is the network's own."""
        refusal = self.refusal(images(5, channels, 6, 6), *layers)
        assert f"does not take inputs of shape [5, {channels}, 6, 6] in evaluation mode (RuntimeError" in str(refusal)
