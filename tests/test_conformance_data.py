"""What every registered kind and reader of data must do; the tiny ones here pass the same suite."""

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from lossmith import Loss, cross_entropy, mse
from lossmith.cli import main
from lossmith.data import (
    KINDS,
    READERS,
    DataSettings,
    InputLayer,
    Kind,
    Reader,
    Source,
    data_path,
    open_source,
    registry,
    search_parts,
)
from lossmith.data.kept import keep_source
from lossmith.data.kinds import packed
from lossmith.errors import InputError
from lossmith.io import read_toml
from lossmith.nets import offered
from lossmith.seeds import generator
from lossmith.study import EvolveSettings, Problem, evolve
from lossmith.training import Backend, Trainer
from lossmith.training.engines import ENGINES

SAMPLES, CLASSES = 90, 3
LABELS = torch.arange(SAMPLES) % CLASSES
QUICK: dict[str, Any] = {
    "recipe": {"epochs": 1, "batch_size": 20, "lr": 0.1},
    "search": {"population": 4, "generations": 1},
    "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "sequential"},
}


class OnACircle(InputLayer):
    """Angles in degrees as their cosines and sines, ``[N,F]`` → ``[N,2F]``."""

    def forward(self, inputs: Tensor) -> Tensor:
        angles = torch.deg2rad(inputs)
        return torch.cat([angles.cos(), angles.sin()], -1)


def angles(inputs: Tensor, what: str) -> Tensor:
    if not inputs.is_floating_point() or not bool(((inputs >= 0) & (inputs < 360)).all()):
        raise InputError(f"{what} holds what is no angle: give degrees from 0 to less than 360")
    return inputs.float()


ANGLES = Kind("angles", ("[N, angles]",), (2,), angles, lambda _: OnACircle(), OnACircle, becomes="tabular")


def two_moons(text: str, _settings: DataSettings) -> Source:
    """``two-moons:200``, 200 points of two classes."""
    from sklearn.datasets import make_moons

    number = text.partition(":")[2] or "100"
    if not number.isdecimal() or int(number) < 10:
        raise InputError(f"two-moons takes a number of points, at least 10, not {number!r}: give two-moons:200")
    points, targets = make_moons(int(number), noise=0.1, random_state=0)
    return Source.from_tensors(torch.from_numpy(points), torch.from_numpy(targets), name=text)


TWO_MOONS = Reader(two_moons, takes=lambda text: text.startswith("two-moons:"), described="two-moons:POINTS")


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """One more of each: the proof that a new one is a few lines and a name."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(KINDS, "_entries", dict(KINDS.items()))
        context.setattr(READERS, "_entries", dict(READERS.items()))
        KINDS.register("angles", ANGLES)
        READERS.register("two-moons", TWO_MOONS)
        own = ModuleType("lossmith_conformance")
        own.dicts = Dicts  # type: ignore[attr-defined]
        context.setitem(sys.modules, own.__name__, own)
        yield
    assert "angles" not in KINDS
    assert "two-moons" not in READERS


def drawn(*shape: int, high: int = 256) -> Tensor:
    return torch.randint(high, (SAMPLES, *shape), generator=generator("data", *shape))


def named() -> dict[str, Tensor]:
    """What somebody gives to a network that takes several tensors."""
    ids = drawn(4, high=11)
    return {"ids": ids.to(torch.int32), "mask": ids > 2, "size": drawn(2, 3).double() / 7, "age": drawn(high=90)}


class Dicts(nn.Module):
    """A network with an argument for each of these tensors, whose logits are within something else."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], classes: int) -> None:
        super().__init__()
        assert shapes == {"age": (), "ids": (4,), "mask": (4,), "size": (2, 3)}
        self.table, self.linear = nn.Embedding(11, 5), nn.Linear(5 + 6 + 1, classes)

    def forward(self, ids: Tensor, mask: Tensor, size: Tensor, age: Tensor) -> dict[str, Tensor]:
        words = (self.table(ids) * mask[..., None]).mean(1)
        return {"logits": self.linear(torch.cat([words, size.flatten(1) / 30, age[:, None] / 90.0], 1))}


# Inputs of each kind, and inputs that it refuses.
INPUTS: dict[str, tuple[Callable[[], Tensor], list[Tensor]]] = {
    "image": (
        lambda: drawn(3, 5, 5).to(torch.uint8),
        [torch.full((9, 1, 5, 5), torch.nan), torch.zeros(9, 5), torch.zeros(9, 1, 1, 1, 1)],
    ),
    "tabular": (
        lambda: drawn(6).double() / 7,
        [torch.full((9, 6), torch.inf), torch.zeros(9, 6, dtype=torch.complex64), torch.zeros(9, 6, 6)],
    ),
    "tokens": (
        lambda: drawn(6, high=11).to(torch.int32),
        [-drawn(6), torch.rand(9, 6), drawn(6) > 3, torch.full((9, 6), 2**40), drawn(6, 6), torch.zeros(9, 6) * 1j],
    ),
    "dict": (
        lambda: packed(named(), "inputs")[0],
        [drawn(6).float(), drawn(6).int(), torch.zeros(9, 6, 6, dtype=torch.int64)],
    ),
    "angles": (lambda: drawn(6).float(), [torch.full((9, 6), 360.0), drawn(6)]),
}
every_kind = pytest.mark.parametrize("name", [*KINDS, "angles"])


def source_of(name: str) -> Source:
    inputs: Any = named() if name == "dict" else INPUTS[name][0]()
    return Source.from_tensors(inputs, LABELS, name=f"some {name}", kind=name)


def network_of(name: str) -> str:
    """A network that takes data of a kind; one's own where none has a name."""
    return next(iter(offered(KINDS[name].becomes or name)), "lossmith_conformance:dicts")


def tensors(found: Any) -> dict[str, Tensor]:
    """What an input layer gives, by name."""
    return found if isinstance(found, dict) else {"inputs": found}


def problem_of(name: str, normalize: str = "auto", **parts: Any) -> Problem:
    model: Any = {"name": network_of(name), "hidden": (8,), "normalize": normalize}
    return Problem.open(EvolveSettings(model=model, **{**QUICK, **parts}), source_of(name))


@every_kind
class TestEveryKind:
    def test_what_is_prepared_stays(self, name: str) -> None:
        inputs = source_of(name).inputs
        assert torch.equal(KINDS[name].prepared(inputs, "inputs"), inputs)
        assert KINDS[name].prepared(inputs, "inputs").dtype == inputs.dtype
        assert inputs.is_contiguous()
        assert inputs.ndim in KINDS[name].dimensions
        assert len(inputs) == SAMPLES

    def test_what_it_refuses_is_told_in_a_sentence(self, name: str) -> None:
        good, refused = INPUTS[name]
        for inputs in (*refused, good()[:0], torch.zeros(9)):
            with pytest.raises(InputError, match="the array") as caught:
                KINDS[name].prepared(inputs, "the array")
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("normalize", ["auto", "none"])
    def test_the_input_layer(self, name: str, normalize: str) -> None:
        source = source_of(name)
        inputs = source.inputs
        layer, again = (KINDS[name].layer(inputs, normalize, source.layout) for _ in range(2))
        restored: InputLayer = pickle.loads(pickle.dumps(layer))  # noqa: S301
        found = tensors(layer(inputs))
        assert isinstance(layer, InputLayer)
        assert list(layer.parameters()) == []
        assert isinstance(layer(inputs), dict) or layer(inputs).ndim == inputs.ndim
        for other in (again, restored):
            assert all(torch.equal(one, found[key]) for key, one in tensors(other(inputs)).items())
            assert other.state_dict().keys() == layer.state_dict().keys()
        alone = [tensors(layer.train()(one[None])) for one in inputs]
        for key, values in tensors(layer.eval()(inputs)).items():
            assert torch.equal(values, found[key])
            assert torch.equal(torch.cat([one[key] for one in alone]), values)
        mapped = torch.vmap(layer)(torch.stack([inputs, inputs]))
        assert all(torch.equal(one[1], found[key]) for key, one in tensors(mapped).items())

    def test_every_way_to_a_source(self, name: str, tmp_path: Path) -> None:
        inputs, source = INPUTS[name][0](), source_of(name)
        assert open_source(source, DataSettings(kind=name)) is source
        if KINDS[name].unpack is not None:
            items: Any = [({key: one[row] for key, one in named().items()}, row % CLASSES) for row in range(SAMPLES)]
            assert Source.from_dataset(items, kind=name).digest == source.digest
            return
        found = [Source.from_dataset(TensorDataset(inputs, LABELS), kind=name)]
        np.savez(tmp_path / "a.npz", x_train=inputs.numpy(), y_train=LABELS.numpy())
        found.append(open_source(str(tmp_path / "a.npz"), DataSettings(kind=name)))
        if KINDS[name].recognized:
            found.append(Source.from_tensors(inputs, LABELS))
        assert {(one.kind, one.digest) for one in found} == {(name, source.digest)}

    def test_another_kind_is_not_taken_for_it(self, name: str) -> None:
        other = next(one for one in KINDS if one != name)
        with pytest.raises(InputError, match=rf"kind is {other}, but some {name} has .*: leave --kind out"):
            open_source(source_of(name), DataSettings(kind=other))

    @pytest.mark.parametrize("normalize", ["auto", "none"])
    def test_all_engines_train_alike(self, name: str, normalize: str) -> None:
        problem, losses = problem_of(name, normalize), Loss.stack([cross_entropy(), mse()])
        recipe = EvolveSettings(**QUICK).recipe
        wanted = Trainer(problem.task).train(losses, [1, 2], recipe, Backend())
        assert not wanted.diverged.any()
        for engine in ENGINES:
            if Trainer(problem.task).refusal(engine, recipe) is None:
                found = Trainer(problem.task).train(losses, [1, 2], recipe, Backend(engine)).networks
                for key, value in wanted.networks.parameters.items():
                    torch.testing.assert_close(found.parameters[key], value, rtol=1e-4, atol=1e-5)
                assert found.logits(problem.task.inputs).shape == (2, len(problem.task.inputs), CLASSES)

    def test_what_only_images_can_take(self, name: str) -> None:
        if name != "image":
            for change in (DataSettings(channels=3), DataSettings(image_size=6)):
                with pytest.raises(InputError, match=f"some {name} has .*leave --"):
                    open_source(source_of(name), change)
            attacked: list[dict[str, Any]] = [
                {"recipe": {"adversary": "fgsm"}},
                {"objective": {"metric": "robust-accuracy"}},
            ]
            for part in attacked:
                with pytest.raises(InputError, match=f"some {name} has {KINDS[name].called}, but an attack needs"):
                    problem_of(name, **part)
            with pytest.raises(InputError, match=r"augmentation .*: leave it out"):
                problem_of(name, recipe={"flip": True})

    def test_a_study_of_it(self, name: str, tmp_path: Path) -> None:
        model: Any = {"name": network_of(name), "hidden": (8,)}
        outcome = evolve(tmp_path / "study", EvolveSettings(model=model, **QUICK), source_of(name))
        assert outcome.provenance["digest"] == source_of(name).digest


def test_every_kind_has_inputs_here() -> None:
    assert INPUTS.keys() == set(KINDS)


def test_an_unknown_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no kind of data 'token' \(did you mean tokens\?\); give one of image"
    ):
        Source.from_tensors(drawn(4), LABELS, kind="token")
    with pytest.raises(SystemExit) as end:
        main(["evolve", "--out", str(tmp_path / "new"), "--kind", "angels"])
    assert end.value.code == 2
    assert "--kind is wrong (it is 'angels'): there is no kind of data 'angels' (did you mean angles or image?)" in (
        capsys.readouterr().err
    )


ARRAYS = {"x_train": drawn(1, 6, 6).to(torch.uint8).numpy(), "y_train": LABELS.numpy()}


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each reader reads; what needs a library or a network gives small arrays."""
    monkeypatch.setattr(registry, "read_hub", lambda *_: ARRAYS)
    monkeypatch.setattr(registry, "read_folder", lambda *_: ARRAYS)
    monkeypatch.setattr(registry, "class_names", lambda _: ("a", "b", "c"))
    monkeypatch.chdir(tmp_path)
    np.savez("some.npz", **ARRAYS)  # type: ignore[arg-type]
    Path("images").mkdir()
    rows = "".join(f"{0.5 * (number % 7)},{number % CLASSES}\n" for number in range(60))
    Path("table.csv").write_text("width,class\n" + rows)
    keep_source(Source.from_tensors(drawn(4), LABELS, name="some"), Path("some.lossmith"))
    paths = {"npz": "some.npz", "kept": "some.lossmith", "folder": "images", "table": "table.csv"}
    return {name: name for name in READERS} | paths | {"two-moons": "two-moons:60"}


def settings_for(name: str, **changes: Any) -> DataSettings:
    """What a reader needs to know."""
    return DataSettings(target="class" if name == "table" else None, **changes)


@pytest.mark.parametrize("name", [*READERS, "two-moons"])
class TestEveryReader:
    def test_reads_the_same_each_time(self, name: str, texts: dict[str, str]) -> None:
        source, again = (open_source(texts[name], settings_for(name)) for _ in range(2))
        assert source.digest == again.digest
        assert source.kind in KINDS
        assert torch.equal(KINDS[source.kind].prepared(source.inputs, "inputs"), source.inputs)
        assert search_parts(source, DataSettings()).classes == source.classes
        assert open_source(texts[name], settings_for(name, kind=source.kind)).digest == source.digest

    def test_only_paths_are_made_absolute(self, name: str, texts: dict[str, str]) -> None:
        assert (data_path(texts[name]) is not None) == (READERS[name].path is not None)

    def test_another_kind_is_refused(self, name: str, texts: dict[str, str]) -> None:
        with pytest.raises(InputError) as caught:
            open_source(texts[name], settings_for(name, kind="angles"))
        assert "\n" not in str(caught.value)

    def test_what_it_has_no_use_for_is_refused(self, name: str, texts: dict[str, str]) -> None:
        changes: dict[str, Any] = {"target": "y", "drop": ("a",), "categories": "ordinal", "missing": "impute"}
        changes["groups"] = "g"
        assert changes.keys() == set(registry.OF_TABLES)
        for setting, value in changes.items():
            if setting not in READERS[name].uses:
                with pytest.raises(InputError, match=f"{setting} is .* is no table, .*: leave --{setting} out"):
                    open_source(texts[name], DataSettings(**{setting: value}))


def test_help_tells_of_every_reader_and_kind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["evolve", "--help-all"])
    told = capsys.readouterr().out
    for name, reader in READERS.items():
        assert (reader.described or name) in told
    assert ", ".join(KINDS) in told


class TestANewReader:
    def test_names_that_are_near(self) -> None:
        with pytest.raises(
            InputError, match=r"no data 'two_mons:9' \(did you mean two-moons\?\); give digits, .*svhn, two"
        ):
            open_source("two_mons:9")

    def test_a_study_in_python(self, tmp_path: Path) -> None:
        data: Any = {"source": "two-moons:120", "test_size": 30}
        outcome = evolve(tmp_path / "study", EvolveSettings(data=data, **QUICK))
        assert outcome.classes == 2
        assert read_toml(tmp_path / "study" / "study.toml")["data"]["source"] == "two-moons:120"

    def test_on_the_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            main(["evolve", "--out", str(tmp_path / "study"), "--data", "two-moons:many"])
        assert end.value.code == 2
        assert capsys.readouterr().err == (
            "lossmith: two-moons takes a number of points, at least 10, not 'many': give two-moons:200\n"
        )

    def test_of_readers_of_a_path_the_newest_reads(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(READERS, "_entries", dict(READERS.items()))
        assert data_path("some.moons") is None
        reader = Reader(lambda text, settings: two_moons("", settings), path=lambda path: path.suffix == ".moons")
        READERS.register("moons", reader)
        assert data_path("some.moons") == Path("some.moons")
        assert open_source(str(tmp_path / "some.moons")).classes == 2
        with pytest.raises(InputError, match="there is no file or directory"):
            open_source(str(tmp_path / "some.other"))
