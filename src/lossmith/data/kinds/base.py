"""What a kind of data is: its inputs, and the first layer of its networks. A new one is a file and a name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lossmith.errors import InputError
from lossmith.registry import Registry

AUTO = "auto"
_LOG = logging.getLogger("lossmith")


class InputLayer(nn.Module):
    """The first layer of every network on some data: ``[N, …]`` → ``[N, …]`` of as many dimensions, for the body.

    It is fitted on the training inputs, trains nothing, and is the same for all networks, which share its buffers.
    """


class Plain(InputLayer):
    """Inputs as they are: floating numbers stay, and others, such as uint8, become float32 of the same values."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, …]``."""
        return inputs if inputs.is_floating_point() else inputs.to(torch.float32)


def same(inputs: Tensor) -> Tensor:
    """The inputs."""
    return inputs


def clear(_shape: torch.Size) -> str | None:
    """Nothing to say: the layout is clear."""
    return None


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Args:
        called: What inputs of it are called in messages.
        shapes: Their shapes, for messages.
        dimensions: The numbers of dimensions that inputs may have, ``N`` among them.
        prepare: Gives inputs of such shapes as networks and parts take them, or says by an InputError why it cannot;
            called with what the user calls them, too. What it gave, it gives again.
        fit: The input layer, of the training inputs as prepared.
        plain: The input layer of networks that want inputs as they are.
        recognized: Whether inputs are taken to be of this kind by their dimensions, where nobody says so.
        from_file: What is done before with inputs that come in the layout of a file or of an image library.
        read_as: How :attr:`from_file` reads inputs of some shape, where another way is as likely, for a warning.
        unpack: The input layer of data that is several tensors for each sample, of what is in them.
        becomes: The kind that its input layer makes of it, whose networks it is for; its own without it.
    """

    called: str
    shapes: tuple[str, ...]
    dimensions: tuple[int, ...]
    prepare: Callable[[Tensor, str], Tensor]
    fit: Callable[[Tensor], InputLayer]
    plain: Callable[[], InputLayer] = Plain
    recognized: bool = False
    from_file: Callable[[Tensor], Tensor] = same
    read_as: Callable[[torch.Size], str | None] = clear
    becomes: str | None = None
    unpack: Callable[[tuple[Any, ...]], InputLayer] | None = None

    def prepared(self, inputs: Tensor, what: str) -> Tensor:
        """Inputs ``[N, …]``, checked, as networks and parts take them.

        Args:
            inputs: Of any shape and type.
            what: The name by which the user knows them.

        Raises:
            InputError: if they cannot be of this kind.
        """
        if inputs.ndim not in self.dimensions:
            raise _other_shape(inputs, what, [self], "or choose another kind (--kind)")
        if inputs.numel() == 0:
            raise InputError(f"{what} is empty (shape {list(inputs.shape)}): give at least a few samples of each class")
        return self.prepare(inputs.detach(), what).contiguous()

    def layer(self, inputs: Tensor, normalize: str = AUTO, layout: tuple[Any, ...] = ()) -> InputLayer:
        """The first layer of networks that are trained on prepared inputs; ``"none"`` hands them on as they are.

        Args:
            inputs: ``[N, …]``, of the training part.
            normalize: ``"auto"`` or ``"none"``.
            layout: What is in inputs that are several tensors for each sample.
        """
        if self.unpack is not None:
            return self.unpack(layout)
        return self.plain() if normalize == "none" else self.fit(inputs)


KINDS = Registry[Kind]("kind of data")


def kind_of(inputs: Tensor, what: str, name: str = AUTO) -> str:
    """The kind of inputs: the one that is named, or, by ``auto``, the first that recognizes their dimensions.

    Raises:
        InputError: if there is no such kind, or none recognizes them.
    """
    found = checked_kind(name) if name != AUTO else _recognized(inputs)
    if found is None:
        raise _other_shape(inputs, what, [kind for _, kind in KINDS.items() if kind.recognized])
    return found


def turned(inputs: Tensor, name: str = AUTO, what: str | None = None) -> Tensor:
    """Inputs in the layout of a file or of an image library, as :attr:`Kind.from_file` of their kind gives them.

    Args:
        inputs: ``[N, …]``.
        name: Their kind, or ``auto``.
        what: The name by which the user knows them, under which a layout that is not clear is told.
    """
    found = checked_kind(name) if name != AUTO else _recognized(inputs)
    if found is None:
        return inputs
    told = KINDS[found].read_as(inputs.shape)
    if what is not None and told is not None:
        _LOG.warning("%s has shape %s and is read as %s", what, list(inputs.shape), told)
    return KINDS[found].from_file(inputs)


def _recognized(inputs: Tensor) -> str | None:
    kinds = (name for name, kind in KINDS.items() if kind.recognized and inputs.ndim in kind.dimensions)
    return next(kinds, None)


def checked_kind(name: str) -> str:
    """The name of a kind, or ``auto``.

    Raises:
        InputError: if there is no such kind.
    """
    if name != AUTO:
        _ = KINDS[name]
    return name


def has_ids(inputs: Tensor) -> bool:
    """Whether inputs are whole numbers that stand for things, so that they cannot be mixed, blurred or attacked."""
    return inputs.dtype == torch.int64


def _other_shape(inputs: Tensor, what: str, kinds: list[Kind], *remedies: str) -> InputError:
    shapes = list(chain.from_iterable(kind.shapes for kind in kinds))
    named = " or ".join(filter(None, (", ".join(shapes[:-1]), shapes[-1])))
    return InputError(
        f"{what} has shape {list(inputs.shape)}, but has to be {named}: {', '.join(('reshape it', *remedies))}"
    )
