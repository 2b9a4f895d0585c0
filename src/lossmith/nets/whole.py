"""Networks that take dicts of tensors, or give their logits within something else, as those of Hugging Face do."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossmith.nets.factory import NetworkFactory

SAMPLES = 2


class Whole(nn.Sequential):
    """``nn.Sequential(layer, body)`` with the same names of parameters, which feeds the body and finds its logits.

    Args:
        layer: The input layer.
        body: The rest.
        keywords: Whether the body gets a dict as keyword arguments.
    """

    def __init__(self, layer: nn.Module, body: nn.Module, *, keywords: bool) -> None:
        super().__init__(layer, body)
        self.keywords = keywords

    def forward(self, input: Tensor) -> Any:
        """``[N, …]`` → the body's logits; what has none is given as it is, to be refused."""
        given, body = self[0](input), self[1]
        return logits_of(body(**given) if self.keywords else body(given))


@dataclass(frozen=True)
class WholeFactory:
    """Builds a network as :class:`Whole` at each call; a value that can be pickled.

    Args:
        layer: The input layer.
        body: Builds the rest.
        keywords: Whether the body gets a dict as keyword arguments.
    """

    layer: nn.Module
    body: Callable[[], nn.Module]
    keywords: bool

    def __call__(self) -> nn.Module:
        """One network with weights from PyTorch's global generator."""
        return Whole(copy.deepcopy(self.layer), self.body(), keywords=self.keywords)


def logits_of(outputs: Any) -> Any:
    """The logits among outputs: the entry or attribute ``logits``, or what was given if it has none."""
    if isinstance(outputs, Tensor):
        return outputs
    found = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    return outputs if found is None else found


def fed(factory: NetworkFactory, sample: Tensor) -> NetworkFactory | WholeFactory:
    """The factory of a network of one's own, as :class:`Whole` if its body needs that; the global generator stays.

    Args:
        factory: Builds ``nn.Sequential(layer, body)``.
        sample: Inputs ``[N, …]``.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        body = factory.body()
        given = copy.deepcopy(factory.layer)(sample[:SAMPLES].cpu())
        if isinstance(given, dict):
            return WholeFactory(factory.layer, factory.body, takes_keywords(body, given))
        try:
            outputs = body.eval()(given)
        except Exception:
            # What is wrong is told where networks are checked.
            return factory
    return factory if logits_of(outputs) is outputs else WholeFactory(factory.layer, factory.body, keywords=False)


def takes_keywords(body: nn.Module, given: Mapping[str, Tensor]) -> bool:
    """Whether the forward of a network has an argument for each of some tensors, or for all that there may be."""
    arguments = inspect.signature(body.forward).parameters.values()
    named = {one.name for one in arguments if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    anything = any(one.kind == one.VAR_KEYWORD for one in arguments)
    return given.keys() <= named or (anything and bool(given.keys() & named))
