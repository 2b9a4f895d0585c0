"""How much memory networks take at least."""

from __future__ import annotations

from itertools import chain

from torch import nn

from lossmith.memory import check_available

COPIES = 2  # weights and gradients


def parameters_of(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(value.numel() for value in network.parameters())


def bytes_of(network: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in chain(network.parameters(), network.buffers()))


def check_size(name: str, network: nn.Module) -> None:
    """See that the memory holds weights and gradients of one network, which may have been built without any.

    Raises:
        InputError: if it does not.
    """
    check_available(
        COPIES * bytes_of(network),
        f"the model {name} has {parameters_of(network):,} parameters, whose weights and gradients alone take",
        "give a smaller network",
    )
