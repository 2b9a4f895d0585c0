"""The names of the networks that are built in."""

from collections.abc import Callable
from functools import partial

from torch import nn

from lossmith.errors import InputError
from lossmith.nets.bodies import conv, embedding, mlp
from lossmith.nets.convolutional import alexnet, allcnn_c, cnn_8, mnist_cnn
from lossmith.nets.parts import Shape
from lossmith.nets.registry import NETWORKS, Blueprint, Network
from lossmith.nets.residual import residual

DEEPEST = 1202  # of ResNet-1202 (He et al., 2015)


def _check_depth(extra: int, name: str, depth: int, _width: int = 1) -> None:
    """See that a network has 6n + ``extra`` layers, n blocks in each of three stages.

    Raises:
        InputError: If it has not, or is deeper than any that was trained.
    """
    if depth > DEEPEST:
        raise InputError(f"the model {name} is deeper than {DEEPEST} layers: give a depth of {DEEPEST} or less")
    blocks, rest = divmod(depth - extra, 6)
    if rest or blocks < 1:
        kind, _, width = name.partition(f"-{depth}")
        near = dict.fromkeys(f"{kind}-{6 * max(1, n) + extra}{width}" for n in (blocks, blocks + 1))
        raise InputError(
            f"there is no {name}, since its depth must be 6n + {extra} with n = 1, 2, …: give {' or '.join(near)}"
        )


def _preresnet(wanted: Blueprint, depth: int) -> nn.Module:
    return residual(wanted.input_shape, wanted.classes, (depth - 2) // 6, 1, wanted.dropout)


def _wide(wanted: Blueprint, depth: int, width: int) -> nn.Module:
    return residual(wanted.input_shape, wanted.classes, (depth - 4) // 6, width, wanted.dropout)


def _published(make: Callable[[Shape, int, float], nn.Module], wanted: Blueprint) -> nn.Module:
    return make(wanted.input_shape, wanted.classes, wanted.dropout)


NETWORKS.register(
    "mlp",
    Network(
        lambda wanted: mlp(wanted.input_shape, wanted.classes, wanted.hidden, wanted.dropout), ("image", "tabular")
    ),
)
NETWORKS.register(
    "conv", Network(lambda wanted: conv(wanted.input_shape, wanted.classes, wanted.hidden, wanted.dropout), ("image",))
)
for _name, _make, _dropout, _least_side in (
    ("mnist-cnn", mnist_cnn, 0.4, 4),
    ("alexnet", alexnet, 0.0, 17),
    ("allcnn-c", allcnn_c, 0.5, 9),
    ("cnn-8", cnn_8, 0.0, 8),
):
    NETWORKS.register(_name, Network(partial(_published, _make), ("image",), _dropout, _least_side))
NETWORKS.register(
    "preresnet-DEPTH",
    Network(
        _preresnet,
        ("image",),
        least_side=3,
        check=partial(_check_depth, 2),
        examples=("preresnet-20", "preresnet-32", "preresnet-56"),
    ),
)
NETWORKS.register(
    "wrn-DEPTH-WIDTH",
    Network(
        _wide,
        ("image",),
        dropout=0.3,
        least_side=3,
        check=partial(_check_depth, 4),
        examples=("wrn-16-8", "wrn-28-5", "wrn-28-10"),
    ),
)
NETWORKS.register(
    "embedding",
    Network(
        lambda wanted: embedding(wanted.vocabulary, wanted.classes, wanted.hidden, wanted.dropout, wanted.padding),
        ("tokens",),
    ),
)
