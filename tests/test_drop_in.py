"""`Criterion` in a script where `nn.CrossEntropyLoss` was: by name or file, saved, watched, given any targets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import Criterion, InputError, Loss, cross_entropy, find, focal, load, mse, save
from lossmith.losses import CATALOG, find_weighted

CLASSES = 4
WEIGHTS = [0.5, 1.0, 2.0, 4.0]


def batch(rows: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, CLASSES, generator=torch.Generator().manual_seed(0)), torch.arange(rows) % CLASSES


@pytest.fixture
def weighted(tmp_path: Path) -> Path:
    """A loss that was evolved with class weights."""
    path = tmp_path / "best.json"
    save(find("label-smoothing:0.2", CLASSES), path, provenance={"class_weight": WEIGHTS})
    return path


# Names and files.


@pytest.mark.parametrize("name", [*CATALOG, "focal:3", "gce:0.4", "0, 0, 0, -1, 0, 2, 0, 0"])
def test_a_name_is_its_loss(name: str) -> None:
    logits, targets = batch()
    found = Criterion(name, classes=CLASSES)
    assert found.loss == find(name, CLASSES)
    assert torch.equal(found(input=logits, target=targets), Criterion(find(name, CLASSES))(logits, targets))


def test_a_name_that_needs_the_number_of_classes() -> None:
    with pytest.raises(
        InputError, match=r"'label-smoothing:0\.1' depends on the number of classes; give it as classes"
    ):
        Criterion("label-smoothing:0.1")
    weight = torch.ones(CLASSES)
    assert Criterion("label-smoothing", weight).loss == Criterion("label-smoothing", classes=CLASSES).loss
    assert Criterion("focal:2").loss == focal(2)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_its_loss(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    save(find("label-smoothing:0.2", CLASSES), tmp_path / "mine.json")
    criterion = Criterion(kind(tmp_path / "mine.json"), reduction="sum")
    assert criterion.loss == load(tmp_path / "mine.json")
    assert criterion.weight is None
    assert criterion.reduction == "sum"


def test_class_weights_come_with_the_file(
    weighted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(weighted.parent)
    criterion, (logits, targets) = Criterion("best.json"), batch()
    assert criterion.weight is not None
    assert criterion.weight.tolist() == WEIGHTS
    assert find_weighted("best.json")[1] == WEIGHTS
    torch.testing.assert_close(
        criterion(logits, targets), Criterion(load(weighted), torch.tensor(WEIGHTS))(logits, targets)
    )
    assert caplog.records == []
    mine = Criterion("best.json", torch.ones(CLASSES))
    assert mine.weight is not None
    assert mine.weight.tolist() == [1.0] * CLASSES
    assert "best.json was evolved with give way to those of the criterion" in caplog.text
    assert Criterion(load(weighted)).weight is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Criterion("foccal"), r"no loss 'foccal' \(did you mean focal"),
        (lambda: Criterion("no.json"), "no.json cannot be read"),
        (lambda: Criterion("best.json", classes=7), "made for 4 classes, not 7"),
        (lambda: Criterion(find("label-smoothing", 4), classes=7), "made for 4 classes and was called with 7"),
        (
            lambda: Criterion("bad.json"),
            'bad.json: "class_weight" of the loss file must be a list of numbers from 1e-9',
        ),
        (lambda: Criterion("many.json"), "holds a population"),
        (lambda: Criterion(3), "takes a lossmith.Loss, a name such as 'focal:2' or a loss file, not int"),  # type: ignore[arg-type]
        (lambda: Criterion("focal", classes=1), "at least 2 classes"),
    ],
)
def test_what_is_no_loss(
    weighted: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[], Criterion], message: str
) -> None:
    monkeypatch.chdir(weighted.parent)
    save(mse(), "bad.json", provenance={"class_weight": ["a"]})
    save(Loss.stack([mse(), mse()]), "many.json")
    with pytest.raises(InputError, match=message) as error:
        made()
    assert "\n" not in str(error.value)


# State.


@pytest.mark.parametrize("name", ["focal:2", "nce", "best.json"])
def test_the_state_is_that_of_cross_entropy(weighted: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What was saved beside plain cross-entropy is loaded strictly beside any loss, and the other way round."""
    monkeypatch.chdir(weighted.parent)
    criterion = Criterion(name)
    weight = None if criterion.weight is None else criterion.weight.clone()
    for one, other in ((criterion, nn.CrossEntropyLoss(weight)), (nn.CrossEntropyLoss(weight), criterion)):
        first, second = (nn.ModuleDict({"head": nn.Linear(3, CLASSES), "criterion": end}) for end in (one, other))
        state = {key: value.cpu() for key, value in first.state_dict().items()}
        assert all(type(value) is Tensor for value in state.values())
        second.load_state_dict(state, strict=True)
    if weight is None:
        assert criterion.state_dict() == {}


def test_a_file_of_tensors_holds_the_state(weighted: Path, tmp_path: Path) -> None:
    criterion = Criterion(weighted)
    torch.save(criterion.state_dict(), tmp_path / "state.pt")
    again = Criterion(load(weighted), torch.ones(CLASSES))
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True), strict=True)
    assert again.weight is not None
    assert again.weight.tolist() == WEIGHTS


@pytest.mark.integration
def test_safetensors_hold_the_state(weighted: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_model, save_model

    def network() -> nn.Module:
        return nn.ModuleDict({"head": nn.Linear(3, CLASSES), "criterion": Criterion(weighted)})

    first, second = network(), network()
    save_model(first, str(tmp_path / "model.safetensors"))
    assert not any(load_model(second, str(tmp_path / "model.safetensors"), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


# What early stopping looks at.


@pytest.mark.parametrize("name", ["focal:2", "nce", "paper/mnist", "logit-clip", "label-smoothing:0.3"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, torch.tensor(WEIGHTS)], ids=["", "weight"])
def test_the_monitor_is_cross_entropy(name: str, reduction: str, weight: Tensor | None) -> None:
    criterion = Criterion(name, weight, 2, reduction, label_smoothing=0.1, classes=CLASSES)
    logits, targets = batch()
    logits.requires_grad_()
    found = criterion.monitor(input=logits, target=targets)
    assert not found.requires_grad
    expected = nn.functional.cross_entropy(logits.detach(), targets, weight, ignore_index=2, reduction=reduction)
    torch.testing.assert_close(found, expected)


def test_the_monitor_takes_what_the_criterion_takes() -> None:
    logits, targets = batch()
    places = torch.stack([logits, logits + 1, 2 * logits], -1)
    indices = torch.stack([targets] * 3, -1)
    torch.testing.assert_close(Criterion("mse").monitor(places, indices), nn.functional.cross_entropy(places, indices))
    soft = logits.softmax(1)
    torch.testing.assert_close(Criterion("mse").monitor(logits, soft), nn.functional.cross_entropy(logits, soft))
    with pytest.raises(InputError, match="do not fit logits"):
        Criterion("mse").monitor(logits, targets[:3])


def test_the_value_of_a_loss_may_rise_while_the_monitor_falls() -> None:
    """So it does where confidence is punished: each step is nearer to the label."""
    targets = torch.tensor([0, 1, 2, 3])
    criterion = Criterion(cross_entropy() + (-8) * mse())
    near, nearer = (size * torch.eye(CLASSES) for size in (1.0, 2.0))
    assert criterion(nearer, targets) > criterion(near, targets)
    assert criterion.monitor(nearer, targets) < criterion.monitor(near, targets)


# Targets of other kinds of problem.

BINARY = r"end the network in 2 logits with class indices 0 and 1, or train with torch.nn.BCEWithLogitsLoss"
MEASURED = r"train with torch.nn.MSELoss"
SEVERAL = r"\(multi-label\) are not supported: train with torch.nn.BCEWithLogitsLoss"
ZERO_ONE = torch.tensor([0.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        ((4,), ZERO_ONE, BINARY),
        ((4, 1), ZERO_ONE, BINARY),
        ((4, 1), ZERO_ONE[:, None], BINARY),
        ((4, 1), ZERO_ONE.long(), BINARY),
        ((4, 1), ZERO_ONE.long()[:, None], BINARY),
        ((4, 1), ZERO_ONE.bool()[:, None], BINARY),
        ((4, 1, 2, 2), torch.ones(4, 1, 2, 2).tril(), BINARY),
        ((4, 1, 2, 2), torch.ones(4, 2, 2).tril(), BINARY),
        ((4, 1), torch.tensor([0.3, -2.0, 5.0, 1.0]), MEASURED),
        ((4, 1), torch.tensor([0.3, -2.0, 5.0, 1.0])[:, None], MEASURED),
        ((4,), torch.tensor([0.3, -2.0, 5.0, 1.0]), MEASURED),
        ((4, 3), torch.tensor([0.3, -2.0, 5.0, 1.0]), MEASURED),
        ((4, 3), torch.tensor([0.0, 2.0, 1.0, 1.0]), r"give targets.long\(\) if these are class indices; .*MSELoss"),
        ((4, 3), 3 * torch.eye(4, 3) - 1, MEASURED),
        ((4, 3), torch.ones(4, 3).tril(), SEVERAL),
        ((4, 3), torch.ones(4, 3).tril().long(), SEVERAL),
        ((4, 3), torch.ones(4, 3).tril().bool(), SEVERAL),
        ((4, 3, 2), torch.ones(4, 3, 2), SEVERAL),
    ],
    ids=str,
)
def test_other_problems_are_named_with_what_fits(logits: tuple[int, ...], targets: Tensor, message: str) -> None:
    for criterion in (Criterion("focal:2"), Criterion("nce")):
        for called in (criterion, criterion.monitor):
            with pytest.raises(InputError, match=message) as error:
                called(torch.zeros(logits), targets)
            assert "argmax" not in str(error.value)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "targets",
    [
        torch.eye(4, 3),  # The last sample is left out.
        0.5 * torch.eye(4, 3),
        1.2 * torch.full((4, 3), 1 / 3) - 0.2 * torch.eye(4, 3),
        torch.tensor([0.2, 0.5, 0.4]).expand(4, 3),
        torch.full((4, 3), 1 / 3, dtype=torch.bfloat16),
    ],
    ids=["left out", "weighted", "smoothed below 0", "more than 1", "bfloat16"],
)
def test_unusual_class_probabilities_are_none_of_them(targets: Tensor) -> None:
    logits = batch(4)[0][:, :3]
    expected = nn.functional.cross_entropy(logits, targets.float())
    torch.testing.assert_close(Criterion("cross-entropy")(logits, targets), expected)


def test_class_probabilities_of_single_samples_are_not_looked_at() -> None:
    """Where they are batched or traced, no number decides."""
    logits, soft = batch()[0], batch()[0].softmax(1)
    each = torch.func.vmap(Criterion("cross-entropy"))(logits, soft)
    torch.testing.assert_close(each, nn.functional.cross_entropy(logits, soft, reduction="none"))
