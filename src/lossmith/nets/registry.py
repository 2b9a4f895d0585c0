"""The networks that have a name."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from lossmith.errors import InputError
from lossmith.nets.bodies import conv, mlp
from lossmith.nets.convolutional import alexnet, allcnn_c, mnist_cnn
from lossmith.nets.own import importable, own_body
from lossmith.nets.parts import Shape
from lossmith.nets.residual import residual

FORMS = "mlp, conv, mnist-cnn, alexnet, allcnn-c, preresnet-DEPTH, wrn-DEPTH-WIDTH (such as wrn-16-8)"
OFFERED = (
    *("mlp", "conv", "mnist-cnn", "alexnet", "allcnn-c", "preresnet-20", "preresnet-32", "preresnet-56"),
    *("wrn-16-8", "wrn-28-5", "wrn-28-10"),
)
PRERESNET = re.compile(r"preresnet-([1-9]\d{0,3})", re.ASCII)
WIDE = re.compile(r"wrn-([1-9]\d{0,3})-([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True)
class Family:
    """Networks of one kind.

    Args:
        body: Builds one, called with input shape, number of classes, ``hidden`` and the rate of dropout.
        dropout: The authors' rate of dropout.
        least_side: The smallest image that still has something to halve at each halving; None takes flat features too.
    """

    body: Callable[[Shape, int, tuple[int, ...], float], nn.Module]
    dropout: float
    least_side: int | None


def build(
    name: str, input_shape: Shape, classes: int, hidden: tuple[int, ...] = (128,), dropout: float | None = None
) -> nn.Module:
    """A network with fresh weights from PyTorch's global generator: ``[N, *input_shape]`` → ``[N,K]``.

    It takes normalised inputs. :func:`~lossmith.nets.network_factory` puts the normalisation before it.

    Args:
        name: ``mlp``, ``conv`` (``cnn`` is its older name), ``mnist-cnn``, ``alexnet``, ``allcnn-c``,
            ``preresnet-DEPTH`` (6n + 2), ``wrn-DEPTH-WIDTH`` (6n + 4), or one's own, ``package.module:function``.
        input_shape: ``(C, H, W)``, or ``(F,)`` for ``mlp``.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers of ``mlp`` and ``conv``; others do not see them.
        dropout: Rate of dropout; None is the network's own.

    Raises:
        InputError: If there is no such network, it does not take inputs of that shape, or the rate cannot be used.

    Example:
        >>> sum(parameter.numel() for parameter in build("allcnn-c", (3, 32, 32), 10).parameters())
        1369738
    """
    return body_factory(name, input_shape, classes, hidden, dropout)()


def body_factory(
    name: str, input_shape: Shape, classes: int, hidden: tuple[int, ...] = (128,), dropout: float | None = None
) -> Callable[[], nn.Module]:
    """A function that builds the network of :func:`build` anew at each call; what is wrong is said before."""
    if dropout is not None and not 0 <= dropout < 1:
        raise InputError(f"the rate of dropout is {dropout:g}: give a number from 0 to less than 1")
    if classes < 2:
        raise InputError(f"a network of {classes} classes cannot classify: give 2 or more")
    if ":" in name:
        if dropout is not None:
            raise InputError(
                f"dropout = {dropout:g} does not reach your own network {name}: leave it out, and put nn.Dropout into "
                "the function"
            )
        return own_body(name, input_shape, classes)
    family = _family(name)
    if family.least_side is not None:
        _check_images(name, input_shape, family.least_side)
    body = Body(name, tuple(input_shape), classes, tuple(hidden), family.dropout if dropout is None else dropout)
    # What is wrong shows now, at no cost in memory and without a random number.
    with torch.device("meta"):
        body()
    return body


@dataclass(frozen=True)
class Body:
    """Builds a network that has a name, anew at each call; a value that can be pickled.

    Args:
        name: The network.
        input_shape: ``(C, H, W)``, or ``(F,)``.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers.
        dropout: Rate of dropout.
    """

    name: str
    input_shape: Shape
    classes: int
    hidden: tuple[int, ...]
    dropout: float

    def __call__(self) -> nn.Module:
        """One network with weights from PyTorch's global generator."""
        return _family(self.name).body(self.input_shape, self.classes, self.hidden, self.dropout)


def check_name(name: str) -> None:
    """See that there is such a network, before the data is there that tells its shape.

    Raises:
        InputError: If there is none; one's own network is looked for when it is built.
    """
    if ":" not in name:
        _family(name)


def _family(name: str) -> Family:
    if name in FAMILIES:
        return FAMILIES[name]
    if found := PRERESNET.fullmatch(name):
        return _residual(_blocks(name, int(found[1]), 2), 1, 0.0)
    if found := WIDE.fullmatch(name):
        return _residual(_blocks(name, int(found[1]), 4), int(found[2]), 0.3)
    nearest = difflib.get_close_matches(name.lower(), OFFERED, n=3, cutoff=0.5)
    hint = f" (nearest: {', '.join(nearest)})" if nearest else ""
    own = f"{name}:function, from the module {name}" if importable(name) else "package.module:function"
    raise InputError(f"unknown model {name!r}{hint}: give {FORMS}, or your own network as {own}")


def _blocks(name: str, depth: int, extra: int) -> int:
    """Blocks n of a stage of a network of 6n + ``extra`` layers."""
    blocks, rest = divmod(depth - extra, 6)
    if rest or blocks < 1:
        kind, _, width = name.partition(f"-{depth}")
        near = dict.fromkeys(f"{kind}-{6 * max(1, n) + extra}{width}" for n in (blocks, blocks + 1))
        raise InputError(
            f"there is no {name}, since its depth must be 6n + {extra} with n = 1, 2, …: give {' or '.join(near)}"
        )
    return blocks


def _residual(blocks: int, width: int, dropout: float) -> Family:
    return Family(lambda shape, classes, _, rate: residual(shape, classes, blocks, width, rate), dropout, 3)


def _check_images(name: str, input_shape: Shape, least_side: int) -> None:
    if len(input_shape) != 3:
        raise InputError(
            f"the model {name} takes images, but this data has {input_shape[0]} flat features: use the model mlp, or "
            "give images [N, channels, height, width]"
        )
    _, height, width = input_shape
    if min(height, width) < least_side:
        raise InputError(
            f"the model {name} takes images of {least_side}×{least_side} pixels or more, but these are "
            f"{height}×{width}: use the model conv or mlp, or larger images (--image-size for those of a directory)"
        )


FAMILIES = {
    "mlp": Family(mlp, 0.0, None),
    "conv": Family(conv, 0.0, 1),
    "cnn": Family(conv, 0.0, 1),
    "mnist-cnn": Family(lambda shape, classes, _, rate: mnist_cnn(shape, classes, rate), 0.4, 4),
    "alexnet": Family(lambda shape, classes, _, rate: alexnet(shape, classes, rate), 0.0, 17),
    "allcnn-c": Family(lambda shape, classes, _, rate: allcnn_c(shape, classes, rate), 0.5, 9),
}
