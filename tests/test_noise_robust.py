"""The loss for noisy labels that ships with its numbers."""

import re
from pathlib import Path

import pytest
import torch

import lossmith
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.losses import CATALOG, cross_entropy, find, noise_robust
from lossmith.losses.evolved import NOISE_ROBUST
from lossmith.theory import is_trainable


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.4, 0.9])
def test_it_is_its_formula(wrong: float, classes: int) -> None:
    logits = torch.randn(20, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(20) % classes
    h = logits.softmax(-1)
    y = torch.nn.functional.one_hot(targets, classes).double()
    phi = y * h.log() + wrong**0.5 * (4.3 / classes * h.log() + 12 * (y * h + (1 - y) * h.square()))
    torch.testing.assert_close(noise_robust(wrong, classes).value(logits, targets), -phi.sum(-1))


def test_the_formula_of_the_catalog_has_the_numbers() -> None:
    numbers = [float(number) for number in re.findall(r"[\d.]+(?=/n| \()", CATALOG["noise-robust"].formula)]
    assert numbers == [NOISE_ROBUST[0, 0, 1], NOISE_ROBUST[1, 1, 0]]
    assert NOISE_ROBUST[2, 0, 0] == -NOISE_ROBUST[2, 1, 0] == NOISE_ROBUST[1, 1, 0]


def test_without_wrong_labels_it_is_cross_entropy() -> None:
    logits, targets = torch.randn(50, 7), torch.arange(50) % 7
    torch.testing.assert_close(noise_robust(0, 7).value(logits, targets), cross_entropy().value(logits, targets))


@pytest.mark.parametrize("wrong", [0.05, 0.4, 0.95])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_networks_can_begin_to_learn_from_it(wrong: float, classes: int) -> None:
    assert bool(is_trainable(noise_robust(wrong, classes), classes))


def test_by_name() -> None:
    assert find("noise-robust", 10) == noise_robust(0.4, 10)
    assert find("noise-robust:0.2", 10) == lossmith.noise_robust(0.2, 10)
    logits, targets = torch.randn(6, 10), torch.arange(6)
    criterion = lossmith.Criterion("noise-robust:0.2", classes=10)
    torch.testing.assert_close(criterion(logits, targets), noise_robust(0.2, 10).value(logits, targets).mean())


@pytest.mark.parametrize("wrong", [-0.1, 1.0, 40, float("nan"), float("inf"), True])
def test_a_share_that_is_none(wrong: float) -> None:
    with pytest.raises(InputError, match="takes the share of wrong labels, from 0 to below 1, not"):
        noise_robust(wrong, 10)


def test_too_few_classes() -> None:
    with pytest.raises(InputError, match="needs at least 2 classes, not 1"):
        noise_robust(0.4, 1)


def test_the_commands_know_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", "noise-robust:0.2", "--classes", "10"])
    assert "noise-robust" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["export", "noise-robust:40", "--classes", "10", "--out", str(tmp_path / "loss.py")])
    assert end.value.code == 2
    assert "takes the share of wrong labels, from 0 to below 1, not 40" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.by_classes])
def test_logits_of_another_number_of_classes(name: str) -> None:
    """They would be weighted for the wrong n, without a word."""
    criterion = lossmith.Criterion(name, classes=4)
    with pytest.raises(InputError, match="is made for 4 classes and was called with 10; evolve or build it for 10"):
        criterion(torch.zeros(3, 10), torch.arange(3))
    with pytest.raises(InputError, match="is made for 4 classes"):
        lossmith.Criterion(find(name, 4), classes=10)


def test_a_share_that_is_not_given_is_told(caplog: pytest.LogCaptureFixture) -> None:
    lossmith.Criterion("noise-robust", classes=10)
    (told,) = caplog.messages
    assert told == (
        "noise-robust takes r = 0.4 for the share of wrong labels, since none is given; write for example "
        "noise-robust:0.2"
    )
    caplog.clear()
    for text in ("noise-robust:0.4", "label-smoothing", "gce"):
        lossmith.Criterion(text, classes=10)
    assert not caplog.messages


def test_a_loss_is_no_function() -> None:
    loss = noise_robust(0.2, 10)
    with pytest.raises(InputError, match=r"is not called itself; wrap it, criterion = lossmith\.Criterion\(loss\)"):
        loss(torch.zeros(2, 10), torch.arange(2))
    logits, targets = torch.randn(6, 10), torch.arange(6)
    torch.testing.assert_close(lossmith.Criterion(loss)(logits, targets), loss.value(logits, targets).mean())
    data = (torch.zeros(30, 4), torch.arange(30) % 3)
    with pytest.raises(InputError, match="the model is "):
        lossmith.evolve(loss, data, quiet=True)
    with pytest.raises(InputError, match="the metric is "):
        lossmith.evolve("mlp", data, metric=loss, quiet=True)


@pytest.mark.parametrize(
    ("text", "meant"), [("ce", "cross-entropy"), ("CE", "cross-entropy"), ("ls", "label-smoothing")]
)
def test_initials_are_what_is_meant(text: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"\(did you mean {meant}\?\)"):
        find(text, 10)
