"""Tokens from data to trained networks, and networks that get their inputs as they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossmith import Loss, cross_entropy
from lossmith.analysis import INPUT, SILENCED, WEIGHT, Plan, TrainedLoss, input_noise
from lossmith.cli import main
from lossmith.data import DataSettings, Normalize, Source, has_ids, open_source
from lossmith.errors import InputError
from lossmith.nets import build, check_network
from lossmith.study import EvolveSettings, Problem, comparison
from lossmith.study.legacy import identifying
from lossmith.training import Backend, Recipe, train

WORDS, LENGTH = 12, 5
OWN = """
import torch
from torch import nn

class Seen(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.linear = nn.Linear(torch.Size(shape).numel(), classes)

    def forward(self, x):
        assert x.dtype == torch.float32, x.dtype
        return self.linear(x.flatten(1) / 255)

def few(shape, classes):
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(4 * shape[0], classes))
"""


def sentences(samples: int = 120, words: int = WORDS) -> tuple[Tensor, Tensor]:
    """Ids whose smallest says the class; the largest one is in the last sample only."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(3, words - 1, (samples, LENGTH), generator=random)
    targets = torch.arange(samples) % 3
    ids[:, 0] = targets
    ids[-1, -1] = words - 1
    return ids, targets


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("lossmith_test_kinds.py").write_text(OWN)
    ids, targets = sentences()
    np.savez("words.npz", x_train=ids.numpy().astype(np.uint16), y_train=targets.numpy())
    return tmp_path


def settings_of(model: str = "embedding", **parts: Any) -> EvolveSettings:
    data: Any = {"source": "words.npz", "kind": "tokens", "train_size": 60}
    chosen: Any = {"name": model, "hidden": (8,), **parts.pop("chosen", {})}
    return EvolveSettings(data=data, model=chosen, **parts)


class TestTokens:
    def test_ids_stay_whole_numbers(self, tokens: Path) -> None:
        source = open_source("words.npz", DataSettings(kind="tokens"))
        assert (source.kind, source.inputs.dtype, source.input_shape) == ("tokens", torch.int64, (LENGTH,))
        assert torch.equal(source.inputs, sentences()[0])
        assert has_ids(source.inputs)
        assert open_source("words.npz").kind == "tabular"
        assert open_source("words.npz").vocabulary is None

    def test_the_vocabulary_is_that_of_all_samples(self, tokens: Path) -> None:
        """An id of the test part alone has an embedding, too."""
        ids, targets = sentences()
        source = Source.from_tensors(ids[:60], targets[:60], ids[60:] + 20, targets[60:], kind="tokens")
        assert source.vocabulary == WORDS + 20
        task = Problem.open(EvolveSettings(model=settings_of().model), source).task
        assert int(task.inputs.max()) < WORDS
        assert task.build(0).state_dict()["1.0.weight"].shape == (WORDS + 20, 64)

    def test_they_are_learned(self, tokens: Path) -> None:
        problem = Problem.open(settings_of())
        trained = train(problem.task, Loss.stack([cross_entropy()]), [0], Recipe(epochs=30, batch_size=20, lr=0.1))
        inputs, targets = problem.validation
        assert (trained.networks.logits(inputs).argmax(-1) == targets).double().mean() > 0.9

    def test_the_mean_counts_every_position(self) -> None:
        network = build("embedding", (2,), 3, hidden=(), vocabulary=4)
        assert isinstance(network, nn.Sequential)
        table, linear = network.get_parameter("0.weight"), network[2]
        torch.testing.assert_close(network(torch.tensor([[1, 3]])), linear((table[1] + table[3])[None] / 2))

    def test_an_id_without_an_embedding(self, tokens: Path) -> None:
        with pytest.raises(InputError) as caught:
            Problem.open(settings_of("lossmith_test_kinds:few"))
        assert str(caught.value) == (
            "the model has no embedding of the token id 11, the largest of this data (IndexError: index out of range "
            "in self): give it 12 embeddings or more, or number the tokens anew"
        )
        check_network(lambda: build("embedding", (5,), 3, vocabulary=WORDS), sentences()[0][:4], 3, WORDS)

    def test_networks_of_numbers_refuse_them(self, tokens: Path) -> None:
        with pytest.raises(
            InputError, match=r"mlp takes image or tabular data, but this is tokens.*: use the model emb"
        ):
            Problem.open(settings_of("mlp"))
        with pytest.raises(
            InputError, match=r"embedding takes tokens data, but this is tabular.*: use the model mlp, your"
        ):
            Problem.open(as_features())

    @pytest.mark.parametrize("change", [{"mixup": 0.2}, {"cutmix": 1.0}, {"crop": 1}])
    def test_they_cannot_be_mixed(self, tokens: Path, change: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="neither token ids nor dicts of tensors are that: leave it out"):
            Problem.open(settings_of(recipe=change))

    def test_they_take_no_noise(self, tokens: Path) -> None:
        problem = Problem.open(settings_of())
        trained = train(problem.task, Loss.stack([cross_entropy()]), [0], Recipe(steps=2))
        looked_at = TrainedLoss("CE", cross_entropy(), trained.networks, trained.diverged)
        with pytest.raises(
            InputError, match="noise can be added neither to token ids, which are names, nor to dicts of tensors: leave"
        ):
            input_noise(looked_at, *problem.validation, [0.1])
        with pytest.raises(InputError, match="token ids are whole numbers: leave out"):
            trained.networks.logits(problem.task.inputs.float())

    def test_on_the_command_line(self, tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = "--data words.npz --kind tokens --model embedding --hidden 8 --epochs 1 --quiet"
        small = "--population 4 --generations 1 --finalists 1 --finalist-seeds 2 --no-tune"
        main(f"evolve --out study {words} {small}".split())
        main(["corruption", "study/best.json", "--seeds", "2", "--draws", "1", "--json"])
        document = json.loads(capsys.readouterr().out)
        assert document["unmeasured"] == [INPUT]
        assert {one["kind"] for one in document["results"][0]["damage"]} == {WEIGHT, SILENCED}
        assert document["settings"]["data"]["kind"] == "tokens"
        with pytest.raises(SystemExit) as end:
            main(["attack", "study/best.json", "--seeds", "2"])
        assert end.value.code == 2
        assert "words.npz has tokens, but an attack needs images" in capsys.readouterr().err


def as_features() -> EvolveSettings:
    data: Any = {"source": "words.npz"}
    model: Any = {"name": "embedding"}
    return EvolveSettings(data=data, model=model)


class TestInputsAsTheyAre:
    @pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
    def test_the_network_gets_the_data_s_own_units(self, tokens: Path, kind: torch.dtype) -> None:
        images = torch.randint(256, (120, 1, 4, 4), generator=torch.Generator().manual_seed(0))
        source = Source.from_tensors(images.to(kind), torch.arange(120) % 3)
        model: Any = {"name": "lossmith_test_kinds:Seen", "normalize": "none"}
        problem = Problem.open(EvolveSettings(model=model), source)
        network = problem.task.build(0)
        given = problem.task.inputs[:5]
        assert given.dtype == kind
        assert torch.equal(network[0](given), given.float())  # type: ignore[index]
        assert list(network.state_dict()) == ["1.linear.weight", "1.linear.bias"]
        logits = network(given)
        torch.testing.assert_close(logits, network[1].linear(given.float().flatten(1) / 255))  # type: ignore[index]

    def test_attacks_work_in_the_same_units(self, tokens: Path) -> None:
        model: Any = {"name": "lossmith_test_kinds:Seen", "normalize": "none"}
        data: Any = {"train_size": 60, "validation_size": 40}
        recipe: Any = {"adversary": "fgsm", "adversary_epsilon": 0.1, "cutout": 2, "steps": 3}
        problem = Problem.open(EvolveSettings(data=data, model=model, recipe=recipe))
        one, other = (
            train(
                problem.task, Loss.stack([cross_entropy()]), [0], EvolveSettings(recipe=recipe).recipe, engine
            ).networks
            for engine in ("sequential", "vmap")
        )
        for name, value in one.parameters.items():
            torch.testing.assert_close(other.parameters[name], value, rtol=1e-4, atol=1e-6)

    def test_by_default_inputs_are_normalised(self) -> None:
        data: Any = {"train_size": 60}
        problem = Problem.open(EvolveSettings(data=data))
        layer = problem.task.build(0)[0]  # type: ignore[index]
        assert torch.equal(layer.mean, Normalize.fit(problem.task.inputs).mean)


def test_defaults_that_came_later_identify_nothing() -> None:
    settings = EvolveSettings()
    of_data = {"kind", "noise", "target", "drop", "categories", "missing", "split", "groups", "padding_id"}
    came = {"data": of_data, "model": {"normalize"}, "recipe": {"class_weight", "sampling"}}
    for part, later in came.items():
        document = getattr(settings, part).model_dump(mode="json")
        assert document.keys() - identifying(part, document).keys() == later
        changed = {**document, "kind": "tokens", "normalize": "none", "label_noise": 0.1}
        changed |= {"target": "y", "drop": ["a"], "categories": "ordinal", "missing": "impute"}
        changed |= {"split": "time", "groups": "a", "padding_id": 0}
        changed |= {"class_weight": "balanced", "sampling": "balanced"}
        assert identifying(part, changed) == changed
    plan = Plan(recipe=settings.recipe, backend=Backend("mlp"))
    keys = {
        comparison.comparison_digest("0" * 64, one, plan)
        for one in (settings, as_features(), settings_of(), settings_of(chosen={"normalize": "none"}))
    }
    assert len(keys) == 4


def test_a_kind_that_is_asked_for_is_a_part_of_the_data() -> None:
    """A study would go on with other networks otherwise; kinds that are recognized change no digest."""
    ids, targets = torch.arange(24).reshape(8, 3) % 5, torch.arange(8) % 2
    tokens, features = (Source.from_tensors(ids, targets, kind=kind) for kind in ("tokens", "auto"))
    assert tokens.digest != features.digest
    assert Source.from_tensors(ids, targets, kind="tabular").digest == features.digest
    floats = Source.from_tensors(ids.float(), targets)
    assert replace(floats, kind="tokens").digest != floats.digest
