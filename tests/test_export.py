"""Exported losses equal the criterion in value and gradient, need nothing of this package, and run no foreign text."""

import itertools
import json
import math
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from torch import Tensor, nn

from lossmith import Criterion, InputError, Loss, PowerLoss, cross_entropy, find, mae, mse, save
from lossmith.cli import main
from lossmith.losses import CATALOG, EXPORTS, Clipped, Normalized, Term, export

CLASSES = 5
SHAPES = [(CLASSES,), (7, CLASSES), (3, CLASSES, 4, 2)]
WEIGHTS = [0.5, 1.0, 2.0, 4.0, 0.25]
FORMULAS = [
    "expr:tanh(h) - y/h",
    "expr:log(0.3 + h*y)*exp(h) + sqrt(h)*y",
    "expr:(y - h)^2*tanh(y/(0.2 + h)) - 0.1*h*log(h)*log(h)",
    "expr:sqrt(1 - h)*y*log(h)",
]
# Sums, and what couples classes otherwise, are not exported.
REFUSED = [name for name in CATALOG if find(name, CLASSES).kind in ("sum", "forward")]
EXPORTED = [name for name in CATALOG if name not in REFUSED]
NAMES = [*EXPORTED, "focal:7", "focal:0.5", "agce:1.7", "aul:0.5", "gce:0.05", "poly:-0.5", "logit-clip:0.3", *FORMULAS]
every_name = pytest.mark.parametrize("name", NAMES)
PAIR = PowerLoss((Term(-2, 1, 1), Term(0.5, 2, 1), Term(1, 0, 0), Term(0, 0, 0)), torch.tensor([0.5, -3.0, 200.0, 7.0]))
OTHERS = {
    "negative powers": PAIR,
    "no term": PowerLoss((), torch.zeros(0)),
    "constants": PowerLoss((Term(0, 1, 0), Term(0, 0, 0)), torch.tensor([2.0, -1.0])),
    "large powers": PowerLoss((Term(30, 1, 0), Term(9, 0, 1), Term(2.5, 3, 0)), torch.tensor([2.0, -1.0, 0.3])),
    "normalized": Normalized(cross_entropy() + 0.5 * mae()),
    "clipped twice": Clipped(Clipped(mse() + PAIR, torch.tensor(3.0)), torch.tensor(1.5)),
    "clipped and normalized": Clipped(Normalized(cross_entropy()), torch.tensor(1.5)),
    "normalized formula": Normalized(find("expr:(y - 2)*exp(h) - 3", CLASSES)),
    "clipped formula": Clipped(find("expr:tanh(h) - y/h", CLASSES), torch.tensor(2.0)),
    "for five classes": find("label-smoothing:0.2", CLASSES) + find("bootstrapping", CLASSES),  # type: ignore[operator]
}


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The names of an exported module."""
    numbers = itertools.count()

    def run(loss: Loss, to: str = "torch", weight: list[float] | None = None) -> dict[str, Any]:
        path = tmp_path / f"exported_{next(numbers)}.py"
        path.write_text(export(loss, to, weight), encoding="ascii")
        return runpy.run_path(str(path))

    return run


def batch(
    shape: tuple[int, ...], soft: bool, dtype: torch.dtype = torch.float64, size: float = 2.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    dim = 0 if len(shape) == 1 else 1
    logits = size * torch.randn(shape, generator=generator, dtype=torch.float64)
    if soft:
        return logits.to(dtype), torch.randn(shape, generator=generator, dtype=torch.float64).softmax(dim).to(dtype)
    return logits.to(dtype), torch.randint(CLASSES, shape[:dim] + shape[dim + 1 :], generator=generator)


def both(criterion: nn.Module, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The value, and its gradient under a fixed cotangent."""
    f = logits.detach().clone().requires_grad_()
    value = criterion(input=f, target=targets)
    cotangent = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    return value.detach(), torch.autograd.grad(value, f, cotangent)[0]


def assert_equal(found: nn.Module, expected: nn.Module, logits: Tensor, targets: Tensor) -> None:
    """To rounding beside the largest number."""
    eps = torch.finfo(torch.float32 if logits.dtype == torch.bfloat16 else logits.dtype).eps
    for mine, wanted in zip(both(found, logits, targets), both(expected, logits, targets), strict=True):
        assert bool(mine.isfinite().all())
        assert mine.dtype == wanted.dtype
        size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
        half = torch.finfo(torch.bfloat16).eps if logits.dtype == torch.bfloat16 else 0.0
        torch.testing.assert_close(mine, wanted, rtol=200 * eps + half, atol=200 * eps * size)


# PyTorch.


@every_name
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
def test_a_module_equals_the_criterion(
    module: Callable[..., dict[str, Any]], name: str, shape: tuple[int, ...], soft: bool
) -> None:
    loss = find(name, CLASSES)
    exported, (logits, targets) = module(loss)["Loss"], batch(shape, soft)
    for reduction, weight, smoothing in itertools.product(
        ("mean", "sum", "none"), (None, torch.tensor(WEIGHTS, dtype=torch.float64)), (0.0, 0.3)
    ):
        arguments: dict[str, Any] = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
        if not soft and len(shape) > 1:
            arguments["ignore_index"] = 2
        assert_equal(exported(**arguments), Criterion(loss, **arguments), logits, targets)


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_in_each_precision(module: Callable[..., dict[str, Any]], name: str, dtype: torch.dtype) -> None:
    """At ordinary and at huge logits, and with masked classes, none of which may be the label."""
    loss = OTHERS[name] if name in OTHERS else find(name, CLASSES)
    exported, criterion = module(loss)["Loss"](), Criterion(loss)
    for soft, size in itertools.product((False, True), (1.0, 5.0)):
        assert_equal(exported, criterion, *batch((7, CLASSES), soft, dtype, size))
    for soft, size in itertools.product((False, True), (1e4, 1e17)):
        for found in both(exported, *batch((7, CLASSES), soft, dtype, size)):
            assert bool(found.isfinite().all())
    logits, targets = batch((7, CLASSES), False, dtype)
    logits.scatter_(1, ((targets + 1) % CLASSES)[:, None], -math.inf)
    (value, gradient), (wanted, slope) = both(exported, logits, targets), both(criterion, logits, targets)
    kept, rtol = logits.isfinite(), 2e-2 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close((value, gradient[kept]), (wanted, slope[kept]), rtol=rtol, atol=1e-4)
    assert bool(gradient.isfinite().all())


terms = some.builds(
    Term,
    some.one_of(some.integers(-2, 6).map(float), some.sampled_from([0.3, 0.5, 1.7, -0.5])),
    some.integers(0, 3),
    some.integers(0, 1),
)
losses = some.dictionaries(terms, some.floats(-3, 3, allow_subnormal=False), min_size=1, max_size=6).map(
    lambda found: PowerLoss(tuple(found), torch.tensor(list(found.values()), dtype=torch.float64))
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loss=losses, soft=some.booleans(), weighted=some.booleans(), smoothing=some.sampled_from([0.0, 0.2]))
def test_random_sums_of_powers(
    module: Callable[..., dict[str, Any]], loss: PowerLoss, soft: bool, weighted: bool, smoothing: float
) -> None:
    weight = torch.tensor(WEIGHTS, dtype=torch.float64) if weighted else None
    exported = module(loss)["Loss"](weight, label_smoothing=smoothing)
    assert_equal(exported, Criterion(loss, weight, label_smoothing=smoothing), *batch((4, CLASSES), soft, size=1.0))


def test_class_weights_are_a_part_of_it(module: Callable[..., dict[str, Any]]) -> None:
    logits, targets = batch((7, CLASSES), False, torch.float32)
    expected = Criterion("mse", torch.tensor(WEIGHTS))(logits, targets)
    exported = module(mse(), "torch", WEIGHTS)
    torch.testing.assert_close(exported["Loss"]()(logits, targets), expected)
    torch.testing.assert_close(exported["Loss"](weight=None)(logits, targets), Criterion("mse")(logits, targets))
    assert list(exported["Loss"]().state_dict()) == ["weight"]
    assert module(mse())["Loss"]().state_dict() == {}
    found = module(mse(), "numpy", WEIGHTS)["loss"](logits.numpy(), targets.numpy())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    written = export(mse(), "latex", WEIGHTS)
    assert r"w(y) &= \sum_k w_k y_k, \quad w = (0.5, 1.0, 2.0, 4.0, 0.25)" in written
    assert r"L &= -w(y) \sum_k \left(" in written


def test_it_is_differentiated_twice_and_under_autocast(module: Callable[..., dict[str, Any]]) -> None:
    exported, (logits, targets) = module(find("baikal", CLASSES))["Loss"](), batch((3, CLASSES), False)
    assert torch.autograd.gradgradcheck(lambda f: exported(f, targets), (logits.requires_grad_(),))
    with torch.autocast("cpu", torch.bfloat16):
        assert exported(logits.detach().bfloat16(), targets).dtype == torch.float32


@pytest.mark.parametrize(
    ("logits", "targets", "arguments", "message"),
    [
        ((4, 5), torch.zeros(4), {}, "give class indices without the class dimension"),
        ((4, 5), torch.zeros(4, 5).long(), {}, "give class indices without the class dimension"),
        ((4, 4), torch.zeros(4), {}, "give class indices"),
        ((4, 5), torch.zeros(4, 5), {"ignore_index": 2}, "ignore_index does not apply"),
        ((4, 5), torch.zeros(4).long(), {"weight": torch.ones(4)}, "4.* class weights for 5 classes"),
        ((4, 6), torch.zeros(4).long(), {}, "made for 5 classes and was called with 6"),
        ((4, 0), torch.zeros(4).long(), {}, "give floating numbers"),
    ],
)
def test_bad_input_of_a_module(
    module: Callable[..., dict[str, Any]],
    logits: tuple[int, ...],
    targets: Tensor,
    arguments: dict[str, Any],
    message: str,
) -> None:
    loss = OTHERS["for five classes"] if logits[-1] != 4 else mse()
    with pytest.raises(ValueError, match=message):
        module(loss)["Loss"](**arguments)(torch.zeros(logits), targets)


@pytest.mark.parametrize("arguments", [{"reduction": "average"}, {"label_smoothing": 2.0}])
def test_bad_settings_of_a_module(module: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        module(mse())["Loss"](**arguments)


# NumPy and JAX.


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
@pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["", "weight"])
def test_a_function_of_numpy_equals_the_criterion(
    module: Callable[..., dict[str, Any]], name: str, soft: bool, weight: list[float] | None
) -> None:
    loss = OTHERS[name] if name in OTHERS else find(name, CLASSES)
    function = module(loss, "numpy", weight)["loss"]
    criterion = Criterion(loss, None if weight is None else torch.tensor(weight).double())
    logits, targets = batch((7, CLASSES), soft)
    np.testing.assert_allclose(function(logits.numpy(), targets.numpy()), criterion(logits, targets), rtol=1e-11)
    logits = logits.masked_fill(torch.arange(CLASSES) == 0, -math.inf)
    if not soft:
        targets = targets.clamp(min=1)
        np.testing.assert_allclose(function(logits.numpy(), targets.numpy()), criterion(logits, targets), rtol=1e-9)
    half = batch((7, CLASSES), soft, torch.float32)[0].numpy().astype(np.float16)
    assert function(half, targets.numpy()).dtype == np.float32 if not soft else True


def test_bad_input_of_a_function(module: Callable[..., dict[str, Any]]) -> None:
    function = module(OTHERS["for five classes"], "numpy")["loss"]
    for logits, targets, message in (
        (np.zeros((2, 4)), np.zeros(2, int), "made for 5 classes"),
        (np.zeros((2, 5)), np.array([0, 5]), "a target is no class from 0 to 4"),
        (np.zeros((2, 5)), np.zeros(3, int), "do not fit logits"),
        (np.zeros((2, 5)), np.zeros(2), "do not fit logits"),
    ):
        with pytest.raises(ValueError, match=message):
            function(logits, targets)


@pytest.mark.integration
@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_a_function_of_jax_equals_the_criterion(module: Callable[..., dict[str, Any]], name: str) -> None:
    import jax

    loss = OTHERS[name] if name in OTHERS else find(name, CLASSES)
    cases: list[tuple[bool, list[float] | None]] = [(True, None), (False, WEIGHTS)]
    for soft, weight in cases:
        function = jax.jit(jax.value_and_grad(module(loss, "jax", weight)["loss"]))
        criterion = Criterion(loss, None if weight is None else torch.tensor(weight))
        for size in (1.0, 5.0):
            logits, targets = batch((7, CLASSES), soft, torch.float32, size)
            value, half = both(criterion, logits, targets)
            for found, wanted in zip(function(logits.numpy(), targets.numpy()), (value, 2 * half), strict=True):
                scale = max(1.0, float(wanted.abs().max()))
                np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-4 * scale)
    masked, indices = batch((7, CLASSES), False, torch.float32)
    masked = masked.masked_fill(torch.arange(CLASSES) == 0, -math.inf)
    number, slopes = function(masked.numpy(), indices.clamp(min=1).numpy())
    assert bool(np.isfinite(number))
    assert bool(np.isfinite(slopes).all())
    outside, _ = function(masked.numpy(), np.full(7, CLASSES))
    assert bool(np.isnan(outside))


# The command.


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a loss that was evolved with class weights."""
    monkeypatch.chdir(tmp_path)
    save(find("label-smoothing:0.2", CLASSES), "best.json", provenance={"class_weight": WEIGHTS})
    return tmp_path


def test_the_command_prints_a_module_that_needs_torch_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "best.json", "--to", "torch"])
    source = capsys.readouterr().out
    assert source == export(find("best.json", CLASSES), "torch", WEIGHTS)
    Path("my_loss.py").write_text(source, encoding="ascii")
    program = (
        "import json, sys, torch; from my_loss import Loss; logits = torch.linspace(-1, 1, 10).reshape(2, 5);"
        "print(json.dumps([Loss()(logits, torch.tensor([0, 3])).item(), 'lossmith' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=place)
    logits = torch.linspace(-1, 1, 10).reshape(2, 5)
    value, loaded = json.loads(done.stdout)
    assert not loaded
    assert value == pytest.approx(Criterion("best.json")(logits, torch.tensor([0, 3])).item())


@pytest.mark.parametrize("to", EXPORTS)
def test_the_command_writes_a_file(place: Path, capsys: pytest.CaptureFixture[str], to: str) -> None:
    main(["export", "focal:2", "--to", to, "--out", "mine.txt"])
    assert capsys.readouterr().out == "mine.txt\n"
    assert Path("mine.txt").read_text() == export(find("focal:2", CLASSES), to)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no loss is given"),
        (["mse", "mae"], "2 losses are given; export one"),
        (["no.json"], "no.json cannot be read"),
        (["mse", "--to", "tensorflow"], "no export 'tensorflow'"),
        (["nce", "--to", "latex"], "no LaTeX of it"),
        (["label-smoothing"], "depends on the number of classes; give it as classes"),
        (["best.json", "--classes", "7"], "made for 5 classes, not 7"),
        (["mse", "--out", "no/mine.py"], "no/mine.py cannot be written|no is no directory|no directory"),
    ],
)
def test_a_bad_command_writes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = sorted(place.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        main(["export", *words])
    found = capsys.readouterr()
    assert found.out == ""
    assert len(found.err.splitlines()) == 1
    assert any(part in found.err for part in message.split("|")), found.err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("to", EXPORTS.names)
@pytest.mark.parametrize("name", REFUSED)
def test_sums_of_kinds_say_that_they_are_not_exported(name: str, to: str) -> None:
    with pytest.raises(
        InputError, match="there is no LaTeX" if to == "latex" else f"cannot be exported to {to}: sums of"
    ):
        export(find(name, CLASSES), to)
