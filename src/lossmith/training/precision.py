"""Forward passes in bfloat16: PyTorch's autocast, and the same under ``vmap``, where autocast has no effect."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lossmith.training.recipe import Recipe

PRODUCTS = (functional.linear, functional.bilinear, torch.matmul, torch.bmm, torch.mm, torch.addmm, torch.einsum)
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d)
LOWERED = frozenset((*PRODUCTS, *CONVOLUTIONS))
KEPT = frozenset((functional.batch_norm, functional.layer_norm, functional.group_norm, functional.instance_norm))


class LowerPrecision(TorchFunctionMode):
    """Matrix products and convolutions take and give bfloat16; normalisation computes in float32 and gives it back."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of PyTorch with its arguments cast."""
        given = kwargs or {}
        if func in LOWERED:
            return func(*_cast(args, torch.bfloat16), **_cast_named(given, torch.bfloat16))
        if func in KEPT and args[0].dtype == torch.bfloat16:
            return func(*_cast(args, torch.float32), **_cast_named(given, torch.float32)).bfloat16()
        return func(*args, **given)


def autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """In which one network's forward pass runs."""
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def vmapped_autocast(recipe: Recipe) -> AbstractContextManager[Any]:
    """In which a population's forward pass runs."""
    return nullcontext() if recipe.precision == "float32" else LowerPrecision()


def _cast(values: Iterable[Any], kind: torch.dtype) -> tuple[Any, ...]:
    return tuple(
        value.to(kind) if isinstance(value, Tensor) and value.dtype in (torch.float32, torch.bfloat16) else value
        for value in values
    )


def _cast_named(values: Mapping[str, Any], kind: torch.dtype) -> dict[str, Any]:
    return dict(zip(values, _cast(values.values(), kind), strict=True))
