"""Forward passes in bfloat16: PyTorch's autocast, and the same under ``vmap``, where autocast has no effect."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lossmith.training.recipe import Recipe

PRODUCTS = (
    *(functional.linear, functional.bilinear, functional.scaled_dot_product_attention, torch.einsum),
    *(torch.matmul, torch.bmm, torch.mm, torch.mv, torch.addmm, torch.addmv, torch.baddbmm, torch.addbmm),
    *(Tensor.matmul, Tensor.bmm, Tensor.mm, Tensor.mv, Tensor.addmm, Tensor.addmv, Tensor.baddbmm, Tensor.addbmm),
    *(Tensor.__matmul__, Tensor.__rmatmul__),
)
CONVOLUTIONS = (
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)
LOWERED = frozenset((*PRODUCTS, *CONVOLUTIONS))
KEPT = frozenset((functional.batch_norm, functional.layer_norm, functional.group_norm, functional.instance_norm))
FLOATS = (torch.float32, torch.bfloat16)


class LowerPrecision(TorchFunctionMode):
    """Matrix products and convolutions take and give bfloat16; normalisation computes in float32 and gives bfloat16.

    Other functions compute in float32 where they are given both.
    """

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
            return func(*_cast(args, torch.bfloat16), **_cast(given, torch.bfloat16))
        if func in KEPT and args[0].dtype == torch.bfloat16:
            return func(*_cast(args, torch.float32), **_cast(given, torch.float32)).bfloat16()
        name = getattr(func, "__name__", "")
        in_place = name.startswith(("__i", "__set")) or (name.endswith("_") and not name.endswith("__"))
        if not in_place and len(_kinds((args, given))) == 2:
            return func(*_cast(args, torch.float32), **_cast(given, torch.float32))
        return func(*args, **given)


def autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """In which one network's forward pass runs."""
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def vmapped_autocast(recipe: Recipe) -> AbstractContextManager[Any]:
    """In which a population's forward pass runs."""
    return nullcontext() if recipe.precision == "float32" else LowerPrecision()


def _cast(value: Any, kind: torch.dtype) -> Any:
    """Tensors of float32 and bfloat16 in another type, in lists and dictionaries, too."""
    if isinstance(value, Tensor):
        return value.to(kind) if value.dtype in FLOATS else value
    if isinstance(value, dict):
        return {name: _cast(part, kind) for name, part in value.items()}
    return type(value)(_cast(part, kind) for part in value) if type(value) in (list, tuple) else value


def _kinds(value: Any) -> set[torch.dtype]:
    """Which of the two types occur."""
    if isinstance(value, Tensor):
        return {value.dtype} & set(FLOATS)
    parts = value.values() if isinstance(value, dict) else value if type(value) in (list, tuple) else ()
    return set().union(*map(_kinds, parts))
