"""Losses by what a user types: a name with its parameter, λ, or a file."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from lossmith.errors import InputError, brief, printable
from lossmith.losses.base import Loss
from lossmith.losses.catalog import CATALOG
from lossmith.losses.documents import LONGEST_NAME, MOST_CLASSES
from lossmith.losses.expressions import expression
from lossmith.losses.files import class_weights, load, read_loss_document
from lossmith.losses.polynomials import taylor, taylor_order

# What stands before a formula.
EXPRESSION = "expr"


def find(text: str, classes: int) -> Loss:
    """The loss that a text stands for: a formula, a name, λ, or a loss file, in this order.

    A formula of the output h and the label y comes after ``expr:`` (``"expr:log(h) - y/h"``, see
    :func:`lossmith.expression`). Names are those of the catalog, with a parameter after a colon where there is one
    (``focal:2``, of two numbers ``smoothing-squares:0.5:2``). λ is a list of numbers (``"0, 0, 0, -1, 0, 2, 0, 0"``,
    with or without brackets), whose length says the order.

    Args:
        text: What the user typed.
        classes: n, which label smoothing depends on.

    Raises:
        InputError: if it is none of them, or the loss is a population or made for another number of classes.

    Example:
        >>> find("label-smoothing:0.1", classes=10).formula()
        '0.01 log h + 0.9 y log h'
    """
    if classes < 2:
        raise InputError(f"a classifier has at least 2 classes, not {brief(classes)}")
    if classes > MOST_CLASSES:
        raise InputError(f"a loss is built for up to {MOST_CLASSES} classes, not {brief(classes)}")
    name, colon, parameter = text.partition(":")
    if name == EXPRESSION and colon:
        return expression(parameter)
    if name in CATALOG:
        return _named(name, parameter if colon else None, classes)
    numbers = _numbers(text)
    if numbers is not None:
        if len(numbers) == 1:
            raise InputError(f"{text} is one number, not a loss; put all numbers of a λ into one pair of quotes")
        return taylor(numbers, taylor_order(len(numbers)))
    file = loss_file(text)
    if file is None:
        try:
            return CATALOG[text].build(None, classes)
        except InputError as error:
            raise InputError(f"{error}, a loss file, or λ") from None
    loss = load(file)
    if loss.shape:
        raise InputError(f"{text} holds a population; save the one member that you want")
    if loss.classes not in (None, classes):
        raise InputError(f"{text} is made for {loss.classes} classes, not {classes}; take a loss for {classes} classes")
    # Tables, pictures and lines show it, and somebody else may have written it.
    name = printable(loss.name if len(loss.name) <= LONGEST_NAME else f"{loss.name[:LONGEST_NAME]}…")
    return (loss if loss.name == name else loss.named(name)).simplest()


def find_weighted(text: str, classes: int | None = None) -> tuple[Loss, list[float] | None]:
    """What :func:`find` finds, and the class weights that its file holds; None where there are none.

    Args:
        text: What the user typed.
        classes: n; without it that of the file, which only losses that depend on n need.

    Raises:
        InputError: as :func:`find`, and if the loss depends on n and n is not known.
    """
    known = common_classes([text]) if classes is None else classes
    name = text.partition(":")[0]
    if known is None and name in CATALOG and CATALOG[name].by_classes:
        raise InputError(f"the loss {brief(text)} depends on the number of classes; give it as classes")
    loss, file = find(text, 2 if known is None else known), loss_file(text)
    if file is None:
        return loss, None
    try:
        return loss, class_weights(read_loss_document(file))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def loss_file(text: str) -> Path | None:
    """The loss file that a text names, if it is no name and no λ: one that is there, or ends in .json.

    Raises:
        InputError: if it is a directory.
    """
    if text.partition(":")[0] in (*CATALOG, EXPRESSION) or _numbers(text) is not None or not text:
        return None
    path = Path(text)
    try:
        directory, there = path.is_dir(), path.exists()
    except (OSError, ValueError):
        return None  # A text that no file can be called.
    if directory:
        raise InputError(f"{text} is a directory, not a loss; name the best.json in it")
    return path if there or path.suffix == ".json" else None


def find_named(texts: Sequence[str], classes: int, taken: Collection[str] = ()) -> dict[str, Loss]:
    """Several losses by name; those that share a name, with each other or with one that is taken, by their text.

    Raises:
        InputError: as :func:`find`, or if the same text stands twice.
    """
    losses = [find(text, classes) for text in texts]
    repeated = next((text for text in texts if list(texts).count(text) > 1), None)
    if repeated is not None:
        raise InputError(f"the loss {repeated} is given twice; leave one out")
    names = [*(loss.name for loss in losses), *taken]
    pairs = zip(texts, losses, strict=True)
    return {loss.name if names.count(loss.name) == 1 else printable(text): loss for text, loss in pairs}


def find_all(texts: Sequence[str], classes: int) -> list[Loss]:
    """Several losses under the names of :func:`find_named`.

    Raises:
        InputError: as :func:`find_named`.
    """
    named = find_named(texts, classes).items()
    return [loss if loss.name == name else loss.named(name) for name, loss in named]


def common_classes(texts: Sequence[str]) -> int | None:
    """The number of classes that the loss files among some texts are made for; None if they fit any.

    Raises:
        InputError: if a file cannot be read, or two are made for different numbers.
    """
    first: tuple[Path, int] | None = None
    for file in filter(None, map(loss_file, texts)):
        classes = load(file).classes
        if first is not None and classes not in (None, first[1]):
            raise InputError(
                f"{first[0]} is made for {first[1]} classes and {file} for {classes}; take losses of the same number"
            )
        first = first or (None if classes is None else (file, classes))
    return None if first is None else first[1]


def _named(name: str, parameter: str | None, classes: int) -> Loss:
    entry = CATALOG[name]
    if parameter is None:
        return entry.build(None, classes)
    if entry.parameter is None:
        raise InputError(f"the loss {name} takes no parameter; leave {brief(':' + parameter)} out")
    # Of a loss with one number, all that stands there is meant for it.
    words = parameter.split(":", 1) if entry.second is not None else [parameter]
    values = list[float]()
    for taken, word in zip(entry.parameters, words, strict=False):
        try:
            values.append(float(word))
        except ValueError:
            raise InputError(
                f"the parameter {taken.symbol} of {name} is {brief(word)}, not a number; write for example "
                f"{entry.typed}"
            ) from None
    return entry.build(values[0], classes, *values[1:])


def _numbers(text: str) -> list[float] | None:
    """Numbers that are separated by commas or spaces, in brackets or not; None for any other text."""
    words = re.sub(r"^\s*[\[(]|[\])]\s*$", "", text).replace("−", "-").replace(",", " ").split()
    try:
        return [float(word) for word in words] or None
    except ValueError:
        return None
