"""Dicts of tensors, padded sequences and networks that give more than logits, from data to trained networks."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lossmith import Loss, cross_entropy
from lossmith.data import DataSettings, Source, open_source, search_parts, test_part
from lossmith.data.kinds import Unpack, packed
from lossmith.errors import InputError
from lossmith.nets import Blueprint, build, fed
from lossmith.nets.registry import NETWORKS
from lossmith.nets.whole import Whole, logits_of, takes_keywords
from lossmith.seeds import generator
from lossmith.study import EvolveSettings, Problem, evolve
from lossmith.training import Recipe, train

SAMPLES, WORDS, LENGTH, CLASSES = 90, 13, 6, 3
TARGETS = torch.arange(SAMPLES) % CLASSES
OWN = '''
import torch
from types import SimpleNamespace
from torch import nn

class Classifier(nn.Module):
    """As a transformer's: keyword arguments, an object with logits."""
    def __init__(self, shapes, classes, wrapped=True):
        super().__init__()
        self.table, self.linear, self.wrapped = nn.Embedding(13, 8), nn.Linear(8, classes), wrapped
    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None):
        assert input_ids.dtype == torch.int64 and attention_mask.dtype == torch.int64
        mask = attention_mask[..., None].float()
        logits = self.linear((self.table(input_ids) * mask).sum(1) / mask.sum(1))
        return SimpleNamespace(loss=None, logits=logits) if self.wrapped else logits

class OneDict(Classifier):
    def forward(self, batch):
        return super().forward(batch["input_ids"], batch["attention_mask"])

def plain(shapes, classes):
    return Classifier(shapes, classes, wrapped=False)

class Images(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), classes))
    def forward(self, pixel_values):
        return {"logits": self.body(pixel_values), "hidden_states": None}

class Pairs(Images):
    def forward(self, pixel_values):
        return (self.body(pixel_values),)

def few(shapes, classes):
    network = Classifier(shapes, classes)
    network.table = nn.Embedding(5, 8)
    return network

def told(shape, classes, padding_id=None, vocabulary=None):
    assert (padding_id, vocabulary) == (0, 13), (padding_id, vocabulary)
    table = nn.Embedding(vocabulary, 4, padding_idx=padding_id)
    return nn.Sequential(table, nn.Flatten(), nn.Linear(4 * shape[0], classes))
'''


def batch() -> dict[str, Tensor]:
    """The first word says the class; what is masked says nothing."""
    random = generator("words")
    ids = torch.randint(4, WORDS, (SAMPLES, LENGTH), generator=random)
    lengths = torch.randint(1, LENGTH + 1, (SAMPLES,), generator=random)
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    ids[:, 0] = TARGETS
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("lossmith_test_named.py").write_text(OWN)
    return tmp_path


def settings_of(function: str, **parts: Any) -> EvolveSettings:
    return EvolveSettings.model_validate({"model": {"name": f"lossmith_test_named:{function}"}, **parts})


def items(where: str) -> Any:
    """The same samples as a dataset, with labels beside the dict, or in it."""
    rows = [{name: one[row] for name, one in batch().items()} for row in range(SAMPLES)]
    if where == "beside":
        return [(one, int(target)) for one, target in zip(rows, TARGETS, strict=True)]
    return [{where: int(target), **one} for one, target in zip(rows, TARGETS, strict=True)]


class TestPacked:
    @given(st.integers(1, 5), st.sampled_from([torch.float16, torch.float32, torch.float64, torch.bfloat16]))
    def test_every_value_comes_back(self, count: int, dtype: torch.dtype) -> None:
        random = generator("values", count)
        given_ones = {
            "b": torch.rand(count, 3, generator=random) > 0.5,
            "f": (torch.randn(count, 2, 2, generator=random) * 1e3).to(dtype),
            "i": torch.randint(-(2**62), 2**62, (count,), generator=random),
            "s": torch.randint(-5, 5, (count, 1), generator=random).to(torch.int16),
            "u": torch.randint(256, (count, 4), generator=random).to(torch.uint8),
        }
        one, fields = packed(given_ones, "inputs")
        found = Unpack(fields)(one)
        assert one.dtype == torch.int64
        assert found.keys() == given_ones.keys()
        for name, values in given_ones.items():
            assert torch.equal(found[name], values.to(found[name].dtype))
            assert found[name].shape == values.shape
        assert [found[name].dtype for name in "bfisu"] == [
            *(torch.bool, torch.float32, torch.int64, torch.int64, torch.uint8)
        ]

    def test_special_floats(self) -> None:
        values = torch.tensor([[0.0, -0.0, 1e-45, 1e37, -1e37]])
        one, fields = packed({"x": values}, "inputs")
        assert Unpack(fields)(one)["x"].view(torch.int32).tolist() == values.view(torch.int32).tolist()

    @pytest.mark.parametrize(
        ("tensors", "sentence"),
        [
            ({}, r"inputs is a dict of 0 tensors: give 1 to 1000"),
            ({"a": torch.zeros(3, 2), "b": torch.zeros(4)}, r"b of inputs has 4 samples, but a has 3: give as many"),
            ({"a": torch.zeros(3, 0)}, r"a of inputs is empty \(shape \[3, 0\]\)"),
            ({"a": torch.tensor(1)}, r"a of inputs is empty"),
            ({"a": torch.full((3,), torch.nan)}, r"a of inputs holds NaN or infinite values"),
            ({"a": torch.zeros(3, dtype=torch.complex64)}, r"a of inputs holds complex numbers"),
            ({1: torch.zeros(3)}, r"inputs has the key 1: give each tensor a name"),
            ({"": torch.zeros(3)}, r"inputs has the key ''"),
        ],
    )
    def test_bad_ones(self, tensors: dict[Any, Tensor], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            packed(tensors, "inputs")

    def test_nothing_may_change_them(self) -> None:
        one, fields = packed(batch(), "inputs")
        with pytest.raises(InputError, match="dicts of tensors stay as they are: leave out what changes them"):
            Unpack(fields)(one.float())


class TestSources:
    @pytest.mark.parametrize("where", ["beside", "labels", "label"])
    def test_of_a_dataset(self, where: str) -> None:
        source = Source.from_tensors(batch(), TARGETS)  # type: ignore[arg-type]
        found = Source.from_dataset(items(where), test=items(where)[:9], validation=items(where)[9:18])
        assert (source.kind, found.kind) == ("dict", "dict")
        assert torch.equal(found.inputs, source.inputs)
        assert [one.name for one in found.layout] == ["attention_mask", "input_ids"]
        assert found.vocabulary is None
        assert len(test_part(found, DataSettings())) == 9
        assert len(search_parts(found, DataSettings()).validation) == 9

    def test_the_digest_knows_the_layout(self) -> None:
        turned = dict(reversed(batch().items()))
        named = {"input_ids": batch()["attention_mask"], "attention_mask": batch()["input_ids"]}
        sources = [Source.from_tensors(one, TARGETS) for one in (batch(), turned, named)]  # type: ignore[arg-type]
        assert [one.digest == sources[0].digest for one in sources] == [True, True, False]

    @pytest.mark.parametrize(
        ("make", "sentence"),
        [
            (
                lambda: [{"a": torch.zeros(2)}],
                r"item 0 of the dataset is a dict without labels or label: give the class",
            ),
            (
                lambda: [({"a": torch.zeros(2)}, 0), ({"b": torch.zeros(2)}, 1)],
                r"item 1 of the dataset is no dict of a, as item 0 is: give all items alike",
            ),
            (lambda: [({"a": torch.zeros(2)}, 0), (torch.zeros(2), 1)], r"item 1 of the dataset is no dict of a"),
            (
                lambda: [({"a": torch.zeros(2)}, 0), ({"a": torch.zeros(3)}, 1)],
                r"item 1 of a of the dataset has shape \[3\] .*: pad and convert all inputs alike",
            ),
            (lambda: [({"text": "a good film"}, 0)], r"item 0 of text of the dataset holds values of type"),
            (lambda: [{"labels": torch.tensor([0, 1]), "a": torch.zeros(2)}], r"item 0 of the dataset has 2 labels"),
        ],
    )
    def test_bad_datasets(self, make: Callable[[], Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Source.from_dataset(make())

    @pytest.mark.parametrize(
        ("inputs", "targets", "sentence"),
        [
            (torch.ones(9, 2).to_sparse(), torch.arange(9) % 2, r"inputs is a sparse tensor, .*: make it dense"),
            (torch.ones(9, 2, device="meta"), torch.arange(9) % 2, r"inputs is a sparse tensor, or one without values"),
            (None, None, r"there are no inputs and no targets"),
            (object(), torch.arange(9) % 2, r"inputs holds values of type object"),
            (["a"] * 9, torch.arange(9) % 2, r"inputs holds values of type <U1"),
            (torch.ones(9, 2), ["a", "b", "c"] * 3, r"targets holds values of type <U1"),
            ({"a": None}, torch.arange(9) % 2, r"a of inputs holds values of type object"),
        ],
    )
    def test_what_is_no_data(self, inputs: Any, targets: Any, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Source.from_tensors(inputs, targets)

    def test_parts_that_differ(self) -> None:
        for validation, sentence in (
            ((batch()["input_ids"], TARGETS), r"validation inputs is no dict of tensors, as other inputs are"),
            (
                ({"input_ids": batch()["input_ids"]}, TARGETS),
                r"validation inputs has input_ids \[6\] of torch.int64, but",
            ),
        ):
            with pytest.raises(InputError, match=sentence):
                Source.from_tensors(batch(), TARGETS, validation=validation)  # type: ignore[arg-type]
        for inputs, kind, sentence in (
            (torch.randn(90, 12), "dict", "inputs is one tensor and no dict of tensors, but kind is dict"),
            (torch.ones(90, 12).long(), "dict", "inputs is one tensor and no dict of tensors, but kind is dict"),
            (batch(), "tokens", "inputs is a dict of tensors, but kind is tokens: leave it out, or give other inputs"),
        ):
            with pytest.raises(InputError, match=sentence):
                Source.from_tensors(inputs, TARGETS, kind=kind)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="kind is image, but tensors has dicts of tensors"):
            open_source(Source.from_tensors(batch(), TARGETS), DataSettings(kind="image"))  # type: ignore[arg-type]


class TestNetworks:
    @pytest.mark.parametrize("function", ["Classifier", "OneDict", "plain"])
    def test_they_learn(self, own: Path, function: str) -> None:
        source = Source.from_tensors(batch(), TARGETS)  # type: ignore[arg-type]
        problem = Problem.open(settings_of(function), source)
        trained = train(problem.task, Loss.stack([cross_entropy()]), [0], Recipe(epochs=30, batch_size=20, lr=0.5))
        inputs, targets = problem.validation
        assert (trained.networks.logits(inputs).argmax(-1) == targets).double().mean() > 0.9
        names = problem.task.build(0).state_dict().keys()
        assert names == {"1.table.weight", "1.linear.weight", "1.linear.bias"}

    def test_a_study_with_processes(self, own: Path) -> None:
        quick = {
            "recipe": {"epochs": 1, "batch_size": 20},
            "search": {"population": 4, "generations": 1},
            "run": {"finalists": 1, "finalist_seeds": 2, "tune": False},
        }
        source = Source.from_tensors(batch(), TARGETS)  # type: ignore[arg-type]
        assert evolve(own / "study", settings_of("Classifier", **quick), source).classes == CLASSES

    @pytest.mark.parametrize(
        ("function", "sentence"),
        [
            ("Missing", "lossmith_test_named has no Missing: correct the model"),
            ("few", r"does not take inputs of shape \{'attention_mask': \[\d+, 6\], 'input_ids': .*IndexError"),
            ("Images", "(takes|called).*(TypeError|RuntimeError|AttributeError)"),
        ],
    )
    def test_what_does_not_fit(self, own: Path, function: str, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Problem.open(settings_of(function), Source.from_tensors(batch(), TARGETS))  # type: ignore[arg-type]

    def test_no_network_that_has_a_name(self) -> None:
        source = Source.from_tensors(batch(), TARGETS)  # type: ignore[arg-type]
        with pytest.raises(
            InputError, match=r"mlp takes image or tabular data, but this is dict, .*: use your own netw"
        ):
            Problem.open(EvolveSettings(), source)

    def test_logits_within_something_else(self, own: Path) -> None:
        problem = Problem.open(settings_of("Images", data={"train_size": 60}))
        assert type(problem.task.build(0)) is Whole
        assert problem.task.build(0)(problem.task.inputs[:2]).shape == (2, 10)
        with pytest.raises(
            InputError, match=r"returns an object of type tuple .*: let it return one tensor of logits, or"
        ):
            Problem.open(settings_of("Pairs", data={"train_size": 60}))

    def test_other_networks_stay_as_they_were(self, own: Path) -> None:
        """The engine for perceptrons takes no other class than PyTorch's."""
        Path("lossmith_test_plain.py").write_text(
            "from torch import nn\n"
            "def net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        )
        model = {"name": "lossmith_test_plain:net"}
        problem = Problem.open(EvolveSettings.model_validate({"model": model, "data": {"train_size": 60}}))
        assert type(problem.task.build(0)) is nn.Sequential

    def test_where_logits_are(self) -> None:
        one = torch.zeros(2, 3)
        with_logits: list[Any] = [one, {"logits": one, "loss": None}, SimpleNamespace(logits=one)]
        without: list[Any] = [(one,), {"other": one}, None, SimpleNamespace(logits=None)]
        assert all(logits_of(outputs) is one for outputs in with_logits)
        assert all(logits_of(outputs) is outputs for outputs in without)

    def test_how_a_dict_is_given(self) -> None:
        def module(forward: Any) -> nn.Module:
            found = nn.Module()
            found.forward = forward
            return found

        tensors = {"a": torch.zeros(1), "b": torch.zeros(1)}
        assert takes_keywords(module(lambda a, b: a), tensors)
        assert takes_keywords(module(lambda a=None, b=None, c=None: a), tensors)
        assert takes_keywords(module(lambda a, **rest: a), tensors)
        assert not takes_keywords(module(lambda batch: batch), tensors)
        assert not takes_keywords(module(lambda batch, **rest: batch), tensors)
        assert not takes_keywords(module(lambda a: a), tensors)


RAGGED = [[1, 2], [3], [2, 1, 4, 4], [5, 1, 1]] * 9
RAGGED_TARGETS = torch.arange(36) % 2


class TestPadding:
    def test_sequences_are_padded_to_the_longest_of_all_parts(self) -> None:
        longer = ([[1] * 7, [2]], torch.tensor([0, 1]))
        source = Source.from_tensors(RAGGED, RAGGED_TARGETS, kind="tokens", validation=longer)  # type: ignore[arg-type]
        assert source.padding == 0
        assert source.input_shape == (7,)
        assert source.inputs[:3].tolist() == [[1, 2, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0], [2, 1, 4, 4, 0, 0, 0]]
        dataset: Any = [(torch.tensor(one), int(target)) for one, target in zip(RAGGED, RAGGED_TARGETS, strict=True)]
        pairs: Any = [(torch.tensor(one), int(target)) for one, target in zip(*longer, strict=True)]
        assert Source.from_dataset(dataset, kind="tokens", validation=pairs).digest == source.digest

    def test_another_id(self) -> None:
        source = Source.from_tensors(RAGGED, RAGGED_TARGETS, kind="tokens", padding_id=9)  # type: ignore[arg-type]
        assert (source.padding, source.vocabulary) == (9, 10)
        assert source.inputs[1].tolist() == [3, 9, 9, 9]

    @pytest.mark.parametrize(
        ("sequences", "changes", "sentence"),
        [
            ([[0, 1], [2]] * 18, {}, r"padded with the id 0, but 0 is a token of these: say which id is padding"),
            ([[1, 2], []] * 18, {}, r"sequence 1 of inputs has shape \[0\]"),
            ([[1, 2], [1.5]] * 18, {}, r"sequence 1 of inputs has shape \[1\] and type torch.float64"),
            ([[1, 2], [[1], [2], [3]]] * 18, {}, r"sequence 1 of inputs has shape \[3, 1\]"),
            ([[1, 2], ["a"]] * 18, {}, r"sequence 1 of inputs holds values of type"),
            ([[1, 2], [-1]] * 18, {}, r"holds the token id -1"),
            (RAGGED, {"padding_id": -1}, r"padding_id is -1, but token ids are whole numbers 0, 1"),
            (RAGGED, {"padding_id": "a"}, r"padding_id is 'a', but token ids are whole numbers 0, 1"),
            (RAGGED, {"padding_id": True}, r"padding_id is True, but token ids are whole numbers 0, 1"),
            (RAGGED, {"padding_id": 2**70}, r"padding_id is 1180591620717411303424"),
            (
                RAGGED,
                {"validation": ({"a": [[1]]}, [0])},
                r"validation inputs is a dict of tensors, and other inputs are",
            ),
            (RAGGED, {"kind": "auto"}, r"inputs holds a list of uneven lengths"),
        ],
    )
    def test_bad_ones(self, sequences: Any, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Source.from_tensors(sequences, RAGGED_TARGETS, **{"kind": "tokens", **changes})

    def test_the_setting(self, tmp_path: Path) -> None:
        source = Source.from_tensors(RAGGED, RAGGED_TARGETS, kind="tokens")  # type: ignore[arg-type]
        np.savez(tmp_path / "a.npz", x_train=source.inputs.numpy(), y_train=RAGGED_TARGETS.numpy())
        path = str(tmp_path / "a.npz")
        assert open_source(path, DataSettings(kind="tokens")).padding is None
        assert open_source(path, DataSettings(kind="tokens", padding_id=0)).digest == source.digest
        with pytest.raises(InputError, match=r"padding_id is 0, but a\.npz has flat features, and token ids are 0, 1"):
            open_source(path, DataSettings(padding_id=0))

    def test_the_mean_leaves_padding_out(self) -> None:
        torch.manual_seed(0)
        network = NETWORKS["embedding"].build(Blueprint((4,), 3, (), vocabulary=6, padding=0))
        short, long = torch.tensor([[1, 3]]), torch.tensor([[1, 3, 0, 0]])
        assert isinstance(network, nn.Sequential)
        torch.testing.assert_close(network(long), network(short))
        table = network.get_parameter("0.weight")
        torch.testing.assert_close(network(long), network[1]((table[1] + table[3])[None] / 2))
        assert bool(network(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all())
        assert isinstance(build("embedding", (4,), 3, vocabulary=6), nn.Sequential)

    def test_networks_are_told(self, own: Path) -> None:
        ids = batch()["input_ids"]
        source = Source.from_tensors(ids, TARGETS, kind="tokens", padding_id=0)
        problem = Problem.open(settings_of("told"), source)
        assert type(problem.task.build(0)) is nn.Sequential
        task = Problem.open(EvolveSettings.model_validate({"model": {"name": "embedding"}}), source).task
        assert task.build(0).state_dict()["1.0.weight"].shape == (WORDS, 64)


def test_a_sample_goes_through_before_anything_is_trained(own: Path) -> None:
    """What raises there is left to the check of the network, which says why."""
    problem = Problem.open(settings_of("Images", data={"train_size": 60}))
    before = torch.random.get_rng_state()
    factory: Any = problem.task.build.__self__.factory  # type: ignore[attr-defined]
    assert fed(factory, problem.task.inputs) is not None
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.integration
def test_items_of_an_image_and_a_label() -> None:
    """As data sets of the hub give them; beside other tensors, images stay in the dict."""
    from PIL import Image

    pixels = torch.randint(256, (12, 5, 4, 3), generator=generator("pixels")).to(torch.uint8)
    pictures = [Image.fromarray(one.numpy()) for one in pixels]
    plain: Any = [{"image": one, "label": row % 2} for row, one in enumerate(pictures)]
    source = Source.from_dataset(plain)
    assert source.kind == "image"
    assert torch.equal(source.inputs, pixels.movedim(3, 1))
    both: Any = [{"image": one, "age": row, "label": row % 2} for row, one in enumerate(pictures)]
    found = Source.from_dataset(both)
    assert torch.equal(Unpack(found.layout)(found.inputs)["image"], pixels.movedim(3, 1))
