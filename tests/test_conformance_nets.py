"""What every registered network must do; the tiny one here passes the same suite."""

import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from lossmith import Loss, cross_entropy, mse
from lossmith.data import KINDS
from lossmith.data.kinds import packed
from lossmith.errors import InputError
from lossmith.nets import NETWORKS, Blueprint, ModelSettings, Network, NetworkFactory, network_factory, offered
from lossmith.nets.registry import body_factory, known_networks
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer
from lossmith.training.agreement import Agreement
from lossmith.training.engines import ENGINES

CLASSES, SAMPLES, VOCABULARY = 3, 12, 7
SMALLEST = {"preresnet-DEPTH": "preresnet-8", "wrn-DEPTH-WIDTH": "wrn-10-1", "bag-WIDTH": "bag-4"}


def bag(wanted: Blueprint, width: int) -> nn.Module:
    """A network of one's own with a number in its name: tokens, several dense vectors a token."""
    features = width * wanted.input_shape[0]
    return nn.Sequential(nn.Embedding(wanted.vocabulary, width), nn.Flatten(), nn.Linear(features, wanted.classes))


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """One more network: the proof that a new one is a few lines and a name."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(NETWORKS, "_entries", dict(NETWORKS.items()))
        NETWORKS.register("bag-WIDTH", Network(bag, ("tokens",), examples=("bag-8",)))
        yield
    assert "bag-WIDTH" not in NETWORKS


KINDS_OF = {**{name: network.kinds for name, network in NETWORKS.items()}, "bag-WIDTH": ("tokens",)}
TAKEN = [pytest.param(name, kind, id=f"{name}, {kind}") for name, kinds in KINDS_OF.items() for kind in kinds]
every = pytest.mark.parametrize("name", KINDS_OF)


def inputs_of(kind: str) -> Tensor:
    random = generator("networks", kind)
    raw = {
        "image": lambda: torch.rand(SAMPLES, 1, 17, 17, generator=random),
        "tabular": lambda: torch.rand(SAMPLES, 5, generator=random),
        "tokens": lambda: torch.randint(VOCABULARY, (SAMPLES, 5), generator=random),
        "dict": lambda: packed({"ids": torch.randint(VOCABULARY, (SAMPLES, 5), generator=random)}, "inputs")[0],
    }[kind]()
    return KINDS[kind].prepared(raw, "inputs")


def factory_of(name: str, kind: str, dropout: float | None = None) -> NetworkFactory:
    inputs, settings = inputs_of(kind), ModelSettings(name=SMALLEST.get(name, name), hidden=(6,), dropout=dropout)
    layer, ids = KINDS[kind].layer(inputs), VOCABULARY if kind == "tokens" else None
    return network_factory(settings, layer, tuple(inputs.shape[1:]), CLASSES, kind=kind, vocabulary=ids)


def built(factory: NetworkFactory, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return factory()


@pytest.mark.parametrize(("name", "kind"), TAKEN)
class TestEveryNetwork:
    def test_a_logit_for_each_class(self, name: str, kind: str) -> None:
        network, inputs = built(factory_of(name, kind)), inputs_of(kind)
        with torch.random.fork_rng(), torch.no_grad():
            assert network.train()(inputs).shape == (SAMPLES, CLASSES)
            found = network.eval()(inputs)
            torch.testing.assert_close(torch.cat([network(one[None]) for one in inputs]), found)
        assert found.isfinite().all()
        assert all(parameter.requires_grad for parameter in network.parameters())

    def test_the_seed_decides_the_weights(self, name: str, kind: str) -> None:
        factory = factory_of(name, kind)
        restored: NetworkFactory = pickle.loads(pickle.dumps(factory))  # noqa: S301
        first, again, other = built(factory), built(restored), built(factory, 1)
        assert first.state_dict().keys() == again.state_dict().keys()
        for key, value in first.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)
        with torch.no_grad():
            inputs = inputs_of(kind)
            assert not torch.equal(first.eval()(inputs), other.eval()(inputs))

    def test_one_step_agrees_on_all_engines(self, name: str, kind: str) -> None:
        task = Task(factory_of(name, kind), inputs_of(kind), torch.arange(SAMPLES) % CLASSES, CLASSES)
        trainer = Trainer(task)
        recipe = Recipe(batch_size=6)
        agreement = Agreement(trainer, Loss.stack([cross_entropy(), mse()]), [1, 1], recipe)
        for engine in ENGINES:
            if trainer.refusal(engine, recipe) is None:
                assert agreement.disagreement(Backend(engine)) is None


@every
class TestEveryName:
    def test_other_kinds_are_refused(self, name: str) -> None:
        for kind in set(KINDS) - set(KINDS_OF[name]):
            inputs = inputs_of(kind)
            remedy = "the model" if offered(kind) else "your own network"
            with pytest.raises(InputError, match=rf"model .* data, but this is {kind}, .*: use {remedy} \w+") as caught:
                body_factory(SMALLEST.get(name, name), tuple(inputs.shape[1:]), CLASSES, kind=kind, vocabulary=7)
            assert all(one in str(caught.value) for one in offered(kind)[:1])

    def test_it_is_offered(self, name: str) -> None:
        assert name in known_networks()
        for kind in KINDS:
            examples = NETWORKS[name].examples or (name,)
            assert (set(examples) <= set(offered(kind))) == (kind in KINDS_OF[name])

    def test_a_name_that_is_nearly_right(self, name: str) -> None:
        wrong = SMALLEST.get(name, name) + "x"
        with pytest.raises(InputError, match=rf"there is no model '{wrong}' \(did you mean "):
            body_factory(wrong, (1, 17, 17), CLASSES)


def test_nobody_takes_a_kind_of_one_s_own() -> None:
    with pytest.raises(
        InputError, match=r"mlp takes image or tabular data, but this is sound, .*: use your own network"
    ):
        body_factory("mlp", (4,), CLASSES, kind="sound")


def test_tokens_need_a_vocabulary() -> None:
    with pytest.raises(InputError, match="the model embedding takes tokens data, but this is tabular"):
        body_factory("embedding", (4,), CLASSES)
