"""The networks that have a name. A new one is a file and a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from lossmith.code import check_code, described, is_importable
from lossmith.errors import InputError, brief
from lossmith.nets.called import told_of
from lossmith.nets.own import KIND, own_body
from lossmith.nets.parts import Shape, Shapes
from lossmith.nets.size import check_size
from lossmith.registry import Registry, nearest

# Names of older versions.
OLDER = {"cnn": "conv"}


@dataclass(frozen=True)
class Blueprint:
    """What a network is built for.

    Args:
        input_shape: ``(C, H, W)``, ``(F,)`` or ``(L,)``.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers.
        dropout: Rate of dropout.
        vocabulary: Number of token ids, where inputs are such; else 0.
        padding: The token id that fills sequences up, if one does.
    """

    input_shape: Shape
    classes: int
    hidden: tuple[int, ...] = (128,)
    dropout: float = 0.0
    vocabulary: int = 0
    padding: int | None = None


@dataclass(frozen=True)
class Network:
    """A network that has a name. Words in capitals in the name stand for whole numbers: ``wrn-DEPTH-WIDTH``.

    Args:
        build: Builds one with fresh weights of a blueprint, and of the numbers in its name.
        kinds: Names of the kinds of data that it takes.
        dropout: The authors' rate of dropout.
        least_side: The smallest image that still has something to halve at each halving.
        check: Called with the whole name and the numbers in it; says by an InputError if there is no such network.
        examples: Whole names to be offered, if numbers are in it.
    """

    build: Callable[..., nn.Module]
    kinds: tuple[str, ...]
    dropout: float = 0.0
    least_side: int = 1
    check: Callable[..., None] | None = None
    examples: tuple[str, ...] = ()


NETWORKS = Registry[Network]("model")


def build(
    name: str,
    input_shape: Shape,
    classes: int,
    hidden: tuple[int, ...] = (128,),
    dropout: float | None = None,
    vocabulary: int | None = None,
) -> nn.Module:
    """A network with fresh weights from PyTorch's global generator: ``[N, *input_shape]`` → ``[N,K]``.

    It takes what the input layer gives: normalised inputs, inputs as they are, or token ids.
    :func:`~lossmith.nets.network_factory` puts that layer before it.

    Args:
        name: A name of ``NETWORKS`` with numbers for the words in capitals, such as ``wrn-16-8``, or one's own,
            ``package.module:function``.
        input_shape: ``(C, H, W)``, ``(F,)``, or ``(L,)`` for tokens.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers of ``mlp``, ``conv`` and ``embedding``; others do not see
            them.
        dropout: Rate of dropout; None is the network's own.
        vocabulary: Number of token ids, if inputs are such.

    Raises:
        InputError: If there is no such network, it does not take inputs of that shape, or the rate cannot be used.

    Example:
        >>> sum(parameter.numel() for parameter in build("allcnn-c", (3, 32, 32), 10).parameters())
        1369738
    """
    return body_factory(name, input_shape, classes, hidden, dropout, vocabulary=vocabulary)()


def body_factory(
    name: str,
    input_shape: Shapes,
    classes: int,
    hidden: tuple[int, ...] = (128,),
    dropout: float | None = None,
    *,
    kind: str | None = None,
    vocabulary: int | None = None,
    padding: int | None = None,
) -> Callable[[], nn.Module]:
    """A function that builds the network of :func:`build` anew at each call; what is wrong is said before.

    The kind of data is that of the shape where none is given: images, feature vectors, or, with a vocabulary, tokens.
    """
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
        return own_body(name, input_shape, classes, dict(told_of(vocabulary, padding)))
    network, _ = found(name)
    shown = "image" if len(input_shape) == 3 else "tabular"
    _check_inputs(name, network, input_shape, kind or (shown if vocabulary is None else "tokens"))
    assert not isinstance(input_shape, dict), "no network that has a name takes dicts"
    rate = network.dropout if dropout is None else dropout
    body = Body(name, Blueprint(tuple(input_shape), classes, tuple(hidden), rate, vocabulary or 0, padding))
    # What is wrong shows now, at no cost in memory and without a random number.
    try:
        with torch.device("meta"):
            built = body()
    except (RuntimeError, TypeError, OverflowError) as error:
        # Sizes beyond 64 bits.
        raise InputError(f"the model {name} cannot be built ({described(error)}): give smaller numbers") from None
    check_size(name, built)
    return body


@dataclass(frozen=True)
class Body:
    """Builds a network that has a name, anew at each call; a value that can be pickled.

    Args:
        name: The network.
        blueprint: What for.
    """

    name: str
    blueprint: Blueprint

    def __call__(self) -> nn.Module:
        """One network with weights from PyTorch's global generator."""
        network, numbers = found(self.name)
        return network.build(self.blueprint, *numbers)


def check_name(name: str) -> None:
    """See that there is such a network, before the data is there that tells its shape.

    Raises:
        InputError: If there is none; of one's own, only the form of the name is looked at.
    """
    if ":" in name:
        check_code(name, KIND)
    else:
        found(name)


def found(name: str) -> tuple[Network, tuple[int, ...]]:
    """The network of a name, and the numbers in it.

    Raises:
        InputError: If there is none.
    """
    for form, network in NETWORKS.items():
        pattern = re.sub("[A-Z]+", r"([1-9]\\d{0,3})", re.escape(form))
        match = re.fullmatch(pattern, OLDER.get(name, name), re.ASCII)
        if match is not None:
            numbers = tuple(map(int, match.groups()))
            if network.check is not None:
                network.check(name, *numbers)
            return network, numbers
    own = f"{name}:function, from the module {name}" if is_importable(name) else "package.module:function"
    raise InputError(
        f"there is no model {brief(name)}{nearest(name, offered())}; give {', '.join(NETWORKS)}, or your own network "
        f"as {own}"
    )


def offered(kind: str | None = None) -> tuple[str, ...]:
    """Names of networks, with examples of those that have numbers; only those that take a kind of data, if asked."""
    taking = ((name, one) for name, one in NETWORKS.items() if kind is None or kind in one.kinds)
    return tuple(name for form, network in taking for name in network.examples or (form,))


def known_networks() -> str:
    """The names that there are, by the kinds of data that they take."""
    kinds = dict.fromkeys(network.kinds for _, network in NETWORKS.items())
    taking = {each: [name for name, network in NETWORKS.items() if network.kinds == each] for each in kinds}
    return "; ".join(f"{', '.join(names)} ({_or(each)})" for each, names in taking.items())


def _check_inputs(name: str, network: Network, input_shape: Shapes, kind: str) -> None:
    if kind not in network.kinds:
        raise InputError(
            f"the model {name} takes {_or(network.kinds)} data, but this is {kind}, with samples of shape "
            f"{list(input_shape)}: use {_remedy(kind)}, or say that the data is {_or(network.kinds)} (--kind)"
        )
    if kind == "image" and not isinstance(input_shape, dict) and min(input_shape[1:]) < network.least_side:
        _, height, width = input_shape
        least = network.least_side
        raise InputError(
            f"the model {name} takes images of {least}×{least} pixels or more, but these are {height}×{width}: use the "
            "model conv or mlp, or larger images (--image-size for those of a directory)"
        )


def _remedy(kind: str) -> str:
    names = offered(kind)
    own = "your own network as package.module:function"
    return f"the model {_or(names)}, {own}" if names else own


def _or(words: Iterable[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last
