"""`Criterion` among the tools that know ``nn.CrossEntropyLoss``, and what it refuses in every way of running it."""

import copy
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import Criterion, InputError, Loss, PowerLoss, baikal, cross_entropy, find, focal, gce, mse
from lossmith.losses import Term, normalized_cross_entropy

CLASSES = 4
CONSTANT = PowerLoss((Term(0, 1, 0), Term(0, 0, 0)), torch.tensor([2.0, -1.0]))
LOSSES = [cross_entropy(), mse(), baikal(), focal(5), gce(0.5), CONSTANT, normalized_cross_entropy()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
WAYS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "plain": ({}, (3, CLASSES)),
    "weight": ({"weight": torch.tensor([1.0, 2.0, 0.5, 3.0])}, (3, CLASSES)),
    "segmentation": ({}, (3, CLASSES, 2)),
    "both": ({"weight": torch.tensor([1.0, 2.0, 0.5, 3.0]), "label_smoothing": 0.1}, (3, CLASSES, 2)),
}
every_way = pytest.mark.parametrize(("settings", "shape"), WAYS.values(), ids=WAYS)
# torch has deprecated its own torch.jit, and an instance of an autograd function, which it makes itself.
JIT = "ignore:.*torch.jit.*:DeprecationWarning"
INSTANTIATED = "ignore:.*should not be instantiated:DeprecationWarning"


def batch(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(shape, generator=generator)
    return logits, torch.randint(CLASSES, (shape[0], *shape[2:]), generator=generator)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Network(nn.Module):
    """A network that holds its criterion, and returns its loss."""

    def __init__(self, loss: Loss, weight: Tensor | None = None) -> None:
        super().__init__()
        self.head, self.criterion = nn.Linear(5, CLASSES), Criterion(loss, weight)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        value: Tensor = self.criterion(self.head(inputs), targets)
        return value


# A state dictionary of tensors.


@every_loss
def test_the_state_holds_tensors_only(loss: Loss) -> None:
    """So that it can be moved, averaged, counted, and written by what writes tensors."""
    network = Network(loss, torch.ones(CLASSES))
    state = network.state_dict()
    averaged = {key: 0.9 * value.to("cpu") + 0.1 * value for key, value in state.items()}
    assert sum(value.numel() for value in state.values()) == 5 * CLASSES + 2 * CLASSES
    network.load_state_dict(averaged, strict=True)
    assert network.criterion.loss == loss
    assert Criterion(loss).state_dict() == {}


def test_it_is_a_cross_entropy_to_whoever_asks() -> None:
    weight = torch.ones(CLASSES)
    criterion = Criterion(mse(), weight, 2, "sum", 0.1)
    assert isinstance(criterion, nn.CrossEntropyLoss)
    assert (criterion.ignore_index, criterion.reduction, criterion.label_smoothing) == (2, "sum", 0.1)
    assert criterion.weight is weight
    logits, targets = batch((3, CLASSES))
    assert torch.equal(criterion(input=logits, target=targets), criterion(logits, targets))
    criterion.reduction = "none"
    assert criterion(logits, targets).shape == (3,)


@pytest.mark.parametrize(
    "name", ["cross-entropy", "focal:5", "gce:0.5", "nce", "logit-clip", "paper/mnist", "bootstrapping"]
)
def test_it_is_made_and_used_on_the_meta_device(name: str) -> None:
    """As large models are made; the numbers of the loss are there all the same."""
    with torch.device("meta"):
        criterion = Criterion(2 * loss if isinstance(loss := find(name, CLASSES), PowerLoss) else loss)
        weighted = Criterion(loss, torch.ones(CLASSES))
        logits = torch.randn(3, CLASSES, requires_grad=True)
        value = criterion(logits, torch.zeros(3, dtype=torch.long))
        value.backward()
        of_segments = weighted(torch.randn(3, CLASSES, 2), torch.zeros(3, 2, dtype=torch.long))
    assert value.is_meta
    assert of_segments.is_meta
    assert logits.grad is not None
    assert logits.grad.is_meta
    here = batch((3, CLASSES))
    expected = Criterion(find(name, CLASSES))(*here)
    torch.testing.assert_close(criterion(*here), 2 * expected if isinstance(loss, PowerLoss) else expected)


def test_a_loss_read_on_the_meta_device_has_its_numbers() -> None:
    document = find("paper/mnist", CLASSES).to_json()
    with torch.device("meta"):
        loss = Loss.from_json(document)
    assert loss == find("paper/mnist", CLASSES)


@pytest.mark.filterwarnings(JIT)
@pytest.mark.parametrize("make", [Criterion, Network])
def test_scripting_is_a_sentence(make: Callable[[Loss], nn.Module]) -> None:
    with pytest.raises(InputError, match=r"a Criterion cannot be scripted: compile .* with torch.compile"):
        torch.jit.script(make(cross_entropy()))


@pytest.mark.filterwarnings(JIT, INSTANTIATED)
@pytest.mark.parametrize("loss", [focal(3), normalized_cross_entropy()], ids=lambda loss: loss.name)
@every_way
def test_it_is_exported(loss: Loss, settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    criterion, (logits, targets) = Criterion(loss, **settings), batch(shape)
    program = torch.export.export(criterion, (logits, targets)).module()
    other = logits.flip(0), targets.flip(0)
    torch.testing.assert_close(program(*other), criterion(*other))


@pytest.mark.filterwarnings(JIT, INSTANTIATED)
@pytest.mark.parametrize("strict", [False, True])
def test_it_is_exported_with_its_network(strict: bool) -> None:
    network, inputs, targets = Network(cross_entropy() + mse()), torch.randn(3, 5), torch.tensor([0, 1, 3])
    program = torch.export.export(network, (inputs, targets), strict=strict).module()
    value = program(inputs, targets)
    torch.testing.assert_close(value, network(inputs, targets))
    (found,) = torch.autograd.grad(value, program.get_parameter("head.weight"))
    (expected,) = torch.autograd.grad(network(inputs, targets), network.head.weight)
    torch.testing.assert_close(found, expected)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_it_is_moved_with_its_model(loss: Loss, dtype: torch.dtype) -> None:
    criterion = copy.deepcopy(Criterion(loss, torch.ones(CLASSES))).to(dtype)
    logits, targets = batch((3, CLASSES))
    value = criterion(logits.to(dtype), targets)
    assert value.dtype == dtype
    torch.testing.assert_close(value.float(), Criterion(loss)(logits, targets), rtol=2e-3, atol=2e-3)


# What is no class.


@pytest.mark.filterwarnings(INSTANTIATED)
@pytest.mark.parametrize("loss", [cross_entropy(), normalized_cross_entropy()], ids=lambda loss: loss.name)
@every_way
def test_a_class_that_there_is_not_stops_a_compiled_program(
    loss: Loss, settings: dict[str, Any], shape: tuple[int, ...], fresh_compiler: None
) -> None:
    criterion = Criterion(loss, reduction="none", **settings)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    logits, targets = batch(shape)
    targets.view(-1)[0] = -100
    torch.testing.assert_close(compiled(logits, targets), criterion(logits, targets))
    for outside in (CLASSES, 255, -1):
        targets.view(-1)[1] = outside
        for run in (criterion, compiled):
            with pytest.raises((InputError, RuntimeError, IndexError), match=r"is class|out of bounds|out of range"):
                run(logits, targets)


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings(JIT, INSTANTIATED)
def test_a_class_that_there_is_not_stops_a_program_by_inductor(fresh_compiler: None) -> None:
    criterion = Criterion(cross_entropy(), torch.ones(CLASSES), reduction="none")
    compiled = torch.compile(criterion, fullgraph=True, options={"cpp.vec_isa_ok": False})
    logits, targets = batch((3, CLASSES, 2))
    targets[2, 1] = -100
    torch.testing.assert_close(compiled(logits, targets), criterion(logits, targets))
    for outside in (CLASSES, -1):
        targets[1, 1] = outside
        with pytest.raises(RuntimeError, match="out of bounds"):
            compiled(logits, targets)


# Like `nn.CrossEntropyLoss` at the edges.


@every_way
@pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
def test_a_constant_loss_has_the_gradient_zero(settings: dict[str, Any], shape: tuple[int, ...], soft: bool) -> None:
    logits, targets = batch(shape)
    logits.requires_grad_()
    y = logits.detach().softmax(1) if soft else targets
    (gradient,) = torch.autograd.grad(Criterion(CONSTANT, **settings)(logits, y), logits)
    assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize("dtypes", [(torch.float16, torch.float32), (torch.float32, torch.float64)], ids=str)
@every_way
def test_class_probabilities_of_more_digits_give_a_value_of_as_many(
    dtypes: tuple[torch.dtype, torch.dtype], settings: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Logits of half precision and labels of mixup: PyTorch's value has the dtype of both together."""
    logits, labels = batch(shape)[0].to(dtypes[0]), batch(shape)[0].softmax(1).to(dtypes[1])
    if "weight" in settings:
        settings = {**settings, "weight": settings["weight"].to(dtypes[0])}
    found, expected = (
        one(logits, labels) for one in (Criterion(cross_entropy(), **settings), nn.CrossEntropyLoss(**settings))
    )
    assert found.dtype == expected.dtype == dtypes[1]
    torch.testing.assert_close(found, expected, rtol=3e-3, atol=1e-6)


@every_way
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_one_class_alone(settings: dict[str, Any], shape: tuple[int, ...], reduction: str) -> None:
    weight = torch.tensor([2.0]) if "weight" in settings else None
    logits = torch.randn(shape[0], 1, *shape[2:], requires_grad=True)
    targets = torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    value = Criterion(cross_entropy(), reduction=reduction, weight=weight)(logits, targets)
    torch.testing.assert_close(value, nn.CrossEntropyLoss(reduction=reduction, weight=weight)(logits, targets))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(3, 0), (0, 0), (2, 0, 4)])
def test_no_classes_are_a_sentence(shape: tuple[int, ...], smoothing: float) -> None:
    targets = torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    with pytest.raises(InputError, match="have no classes"):
        Criterion(cross_entropy(), label_smoothing=smoothing)(torch.zeros(shape), targets)


@pytest.mark.parametrize("compiled", [False, True], ids=["", "compiled"])
def test_weighted_gradients_of_single_samples(compiled: bool, fresh_compiler: None) -> None:
    weight, (logits, targets) = WAYS["weight"][0]["weight"], batch((3, CLASSES))
    found, expected = (
        torch.func.vmap(torch.func.grad(one))
        for one in (Criterion(cross_entropy(), weight), nn.CrossEntropyLoss(weight))
    )
    if compiled:
        found = torch.compile(found, backend="aot_eager")
    torch.testing.assert_close(found(logits, targets), expected(logits, targets))


@pytest.mark.parametrize("kind", [torch.long, torch.bool, torch.int32], ids=str)
@pytest.mark.parametrize("shape", [(3, CLASSES), (3, CLASSES, 2)], ids=str)
def test_several_labels_of_a_sample_are_not_taken_for_one(kind: torch.dtype, shape: tuple[int, ...]) -> None:
    labels = torch.ones(shape).to(kind)
    with pytest.raises(
        InputError, match=r"several classes of a sample \(multi-label\) are not supported: .*BCEWithLogits"
    ):
        Criterion(cross_entropy())(torch.zeros(shape), labels)


def test_complex_targets_are_a_sentence() -> None:
    with pytest.raises(InputError, match="complex64 do not fit logits"):
        Criterion(cross_entropy())(torch.zeros(3, CLASSES), torch.zeros(3, dtype=torch.complex64))
