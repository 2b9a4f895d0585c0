"""Losses that change during the training: knots, what lies between, files, training and the space of such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lossmith
from lossmith import Criterion, InputError, Loss, baikal, cross_entropy, find, focal, gce, load, mae, mse, save
from lossmith.cli import main
from lossmith.losses import Blend, Clipped, PowerLoss, Schedule, export, expression, schedule
from lossmith.losses.schedules import STEPS
from lossmith.search import SearchSettings, VectorSpace, build_space
from lossmith.study import EvolveSettings, evolve
from lossmith.training import Recipe, Task, train

CLASSES = 4


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return logits, torch.arange(6) % CLASSES


class TestMoments:
    @pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
    def test_powers_are_interpolated(self, share: float) -> None:
        loss = schedule([(0.0, cross_entropy()), (1.0, mse())])
        now = loss.at(share)
        assert isinstance(now, PowerLoss)
        logits, targets = batch()
        wanted = (1 - share) * cross_entropy().value(logits, targets) + share * mse().value(logits, targets)
        torch.testing.assert_close(now.value(logits, targets), wanted)
        wanted = torch.lerp(
            cross_entropy().logit_gradient(logits, targets), mse().logit_gradient(logits, targets), share
        )
        torch.testing.assert_close(now.logit_gradient(logits, targets), wanted)

    @pytest.mark.parametrize("share", [0.25, 0.5])
    def test_others_are_blended(self, share: float) -> None:
        first, second = expression("tanh(h) - y/h"), cross_entropy()
        now = schedule([(0.0, first), (1.0, second)]).at(share)
        assert isinstance(now, Blend)
        logits, targets = batch()
        for function in ("value", "logit_gradient"):
            one, other = (getattr(loss, function)(logits, targets) for loss in (first, second))
            wanted = torch.lerp(one, other, share)
            torch.testing.assert_close(getattr(now, function)(logits, targets), wanted)
        assert now.sums_over_classes

    def test_at_knots_it_is_the_loss_there_and_beyond_it_stays(self) -> None:
        losses = (mae(), focal(2), gce(0.5))
        for knots in ((0.25, 0.5, 0.75), (0.3, 1 / 3, 0.9), (0.001, 0.002, 0.003)):
            loss = Schedule(knots, losses)
            found = [loss.at(share) for share in (-1.0, 0.0, *knots, 1.0, 7.0)]
            assert all(one is losses[number] for one, number in zip(found, (0, 0, 0, 1, 2, 2, 2), strict=True))

    def test_between_knots_it_changes_in_steps_that_are_known(self) -> None:
        loss = schedule([(0.0, mae()), (1.0, mse())])
        shares = [number / 1000 for number in range(1001)]
        assert len({id(loss.at(share)) for share in shares}) == STEPS + 1
        assert loss.at(0.5) is loss.at(0.5 + 0.4 / STEPS)

    def test_steps(self) -> None:
        loss = schedule([(0.0, "mae"), (0.3, "mse"), (0.9, "baikal")], steps=True)
        names = [loss.at(share).name for share in (0.0, 0.29, 0.3, 0.89, 0.9, 1.0)]
        assert names == [one.name for one in (mae(), mae(), mse(), mse(), baikal(), baikal())]
        assert loss.formula().endswith("(in steps)")

    def test_names_of_moments(self) -> None:
        loss = schedule([(0.0, mae()), (0.5, mse())], name="mine")
        assert [one.name for one in loss.moments()] == ["at 0: mine", "at 0.5: mine"]
        assert schedule([(0.0, mae()), (0.5, mse())]).name == "MAE → MSE"
        assert mae().moments() == [mae()]


class TestBadInput:
    @pytest.mark.parametrize(
        ("knots", "words"),
        [
            ([], "has 0 knots and 0 losses"),
            ([(0.0, mae()), (0.0, mse())], "each must be after the last"),
            ([(0.5, mae()), (0.2, mse())], "each must be after the last"),
            ([(-0.1, mae())], "has the share -0.1; give a number from 0 to 1"),
            ([(1.5, mae())], "has the share 1.5"),
            ([(float("nan"), mae())], "has the share nan"),
            ([(True, mae())], "has the share True"),
            ([("0", mae())], "has the share '0'"),
            ([(0.0, mae(), 1)], "a schedule is a list of"),
            ([mae()], "a schedule is a list of"),
            ([(0.0, "nonsense")], "there is no loss 'nonsense'"),
            ([(0.0, "label-smoothing:0.1")], "depends on the number of classes"),
            ([(0.0, Clipped(mse(), torch.tensor(1.0))), (1.0, mse())], "give steps=True"),
            ([(0.0, Loss.stack([mae(), mse()])), (1.0, mse())], "differ in their population"),
            ([(0.0, schedule([(0.0, "mae")]))], "holds a schedule"),
            ([(0.0, find("label-smoothing:0.1", 3)), (1.0, find("label-smoothing:0.1", 4))], "different numbers of cl"),
        ],
    )
    def test_of_a_schedule(self, knots: Any, words: str) -> None:
        with pytest.raises(InputError, match=words.replace("(", r"\(")):
            schedule(knots)

    @pytest.mark.parametrize(
        "changes",
        [
            {"knots": 1},
            {"knots": [0.0]},
            {"knots": [0.0, "x"]},
            {"knots": [1.0, 0.0]},
            {"losses": {}},
            {"losses": [None, None]},
            {"steps": 1},
            {"steps": None},
            {"knots": [0.0, 10**400]},
        ],
    )
    def test_of_a_file(self, changes: dict[str, Any]) -> None:
        document = schedule([(0.0, "mae"), (1.0, "mse")]).to_json()
        with pytest.raises(InputError):
            Loss.from_json({**document, **changes})


def task() -> Task:
    inputs = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(40) % CLASSES
    return Task(lambda: nn.Linear(6, CLASSES), inputs, targets, CLASSES)


class TestUse:
    def test_file_criterion_and_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        loss = lossmith.schedule([(0.0, cross_entropy()), (1.0, expression("tanh(h) - y/h"))])
        save(loss, tmp_path / "a.json")
        assert load(tmp_path / "a.json") == loss
        assert json.loads((tmp_path / "a.json").read_text())["kind"] == "schedule"
        criterion, (logits, targets) = Criterion(tmp_path / "a.json"), batch()
        for progress in (0.0, 0.5, 1.0):
            criterion.progress = progress
            torch.testing.assert_close(criterion(logits, targets), loss.at(progress).value(logits, targets).mean())
        main(["explain", str(tmp_path / "a.json"), "--json"])
        shown = json.loads(capsys.readouterr().out)
        assert [one["name"].split(":")[0] for one in shown["losses"]] == ["at 0", "at 1"]
        with pytest.raises(InputError, match="changes during the training, which an export does not follow"):
            export(loss)

    @pytest.mark.parametrize("backend", ["sequential", "vmap", "population"])
    def test_it_trains_as_the_losses_of_its_moments(self, backend: str) -> None:
        steps = schedule([(0.0, mae()), (0.5, cross_entropy())], steps=True)
        recipe = Recipe(epochs=4, batch_size=8, lr=0.1, schedule="constant")
        together = train(task(), Loss.stack([steps, mae()]), [3, 3], recipe, backend)
        early = train(task(), Loss.stack([steps, mae()]), [3, 3], recipe, backend, stop=2)
        for name, value in early.networks.parameters.items():
            assert torch.equal(value[0], value[1])
            assert not torch.equal(together.networks.parameters[name][0], together.networks.parameters[name][1])

    def test_a_population_of_schedules(self) -> None:
        some = [schedule([(0.0, mae()), (1.0, gce(q))]) for q in (0.2, 0.7)]
        whole = Loss.stack(some)
        assert isinstance(whole, Schedule)
        now = whole.at(0.5)
        assert isinstance(now, PowerLoss)
        assert now[1] == some[1].at(0.5)
        other = Loss.stack([*some, schedule([(0.0, mae()), (0.5, mse())])])
        assert not isinstance(other, Schedule)
        assert other.at(1.0)[2] == mse()

    def test_what_is_prepared_is_prepared_64_times(self) -> None:
        """However long the training is: an engine makes its rule anew only where the loss is another one."""
        for knots in ((0.0, 1.0), (0.0, 1 / 3, 1.0)):
            loss = schedule([(knot, one) for knot, one in zip(knots, (mae(), mse(), gce(0.3)), strict=False)])
            seen = [id(loss.at(step / 5000)) for step in range(5000)]
            assert len(dict.fromkeys(seen)) == STEPS


class TestSpace:
    @pytest.mark.parametrize("knots", [2, 3])
    def test_each_knot_has_its_coordinates(self, knots: int) -> None:
        settings = SearchSettings(space="residual-schedule", knots=knots)
        space, plain = build_space(settings), build_space(SearchSettings(space="residual"))
        assert isinstance(space, VectorSpace)
        assert isinstance(plain, VectorSpace)
        assert space.dimensions == knots * plain.dimensions
        point = [0.1 * number for number in range(space.dimensions)]
        losses = space.build([point, list(space.start)], CLASSES)
        assert isinstance(losses, Schedule)
        for number in range(knots):
            part = point[number * plain.dimensions : (number + 1) * plain.dimensions]
            assert losses.at(number / (knots - 1))[0] == plain.build([part], CLASSES)[0]
        assert losses.at(0.0)[1] == losses.at(0.3)[1] == plain.build([list(plain.start)], CLASSES)[0]

    def test_a_search(self, tmp_path: Path) -> None:
        document = {
            "data": {"train_size": 60, "validation_size": 60},
            "model": {"hidden": [4]},
            "recipe": {"epochs": 2},
            "search": {"space": "residual-schedule", "population": 4, "generations": 2},
            "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "mlp"},
        }
        evolve(tmp_path, EvolveSettings.model_validate(document))
        assert (tmp_path / "best.json").exists()
        assert (tmp_path / "figures").exists() is False
