"""The largest eigenvalue of the Hessian of the cross-entropy: how sharply the loss bends at a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from lossmith.errors import InputError
from lossmith.seeds import generator
from lossmith.training import Networks

ELEMENTS = 2**20
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Eigenvalues:
    """The largest Hessian eigenvalue of each of P networks.

    Args:
        value: ``[P]``; NaN where the Hessian is not finite.
        converged: Whether the power iteration came to rest, boolean ``[P]``.
    """

    value: NDArray[np.float64]
    converged: NDArray[np.bool_]


def largest_eigenvalues(
    networks: Networks, inputs: Tensor, targets: Tensor, seed: int = 0, tolerance: float = 1e-4, limit: int = 100
) -> Eigenvalues:
    """The largest eigenvalue of the Hessian of the mean cross-entropy, by power iteration.

    The Hessian is that with respect to all trainable parameters, in evaluation mode. ``v ← Hv / ‖Hv‖`` comes to the
    eigenvalue λ of largest magnitude; where λ is negative, ``v ← (H − λI)v / ‖…‖`` then comes to the largest.

    Args:
        networks: P networks.
        inputs: ``[N, …]``.
        targets: Class indices ``[N]``.
        seed: Decides the start, which is the same for every network.
        tolerance: An iteration ends when the Rayleigh quotient ``vᵀHv`` changes relatively by less.
        limit: An iteration ends after so many steps.

    Raises:
        InputError: if the network cannot be differentiated twice.
    """
    rows = max(1, ELEMENTS // inputs[0].numel())
    group = max(1, rows // len(inputs))
    values, converged = [], []
    for start in range(0, len(networks), group):
        part = networks.select(slice(start, start + group))
        with _differentiable_twice():
            value, settled = _largest(part, inputs, targets, max(1, rows // len(part)), seed, tolerance, limit)
        values.append(value.double().cpu().numpy())
        converged.append(settled.cpu().numpy())
    return Eigenvalues(np.concatenate(values), np.concatenate(converged))


@contextmanager
def _differentiable_twice() -> Iterator[None]:
    try:
        # The fused kernels of attention have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            yield
    except RuntimeError as error:
        if not any(word in str(error) for word in ("derivative", "differentiate")):
            raise
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"the network cannot be differentiated twice ({reason}); leave the eigenvalue out: 0 Hessian samples"
        ) from None


def _largest(
    networks: Networks, inputs: Tensor, targets: Tensor, rows: int, seed: int, tolerance: float, limit: int
) -> tuple[Tensor, Tensor]:
    product, start = _product(networks, inputs, targets, rows, seed)
    zero = start.new_zeros(len(networks))
    value, settled = _power(product, start, zero, tolerance, limit)
    if bool((value < 0).any()):
        largest, again = _power(product, start, value.clamp(max=0), tolerance, limit)
        settled = torch.where(value < 0, settled & again, settled)
        value = torch.where(value < 0, largest, value)
    return value, settled


def _power(product: Product, start: Tensor, shift: Tensor, tolerance: float, limit: int) -> tuple[Tensor, Tensor]:
    """Rayleigh quotient ``[P]`` of H at the end of a power iteration on ``H − shift · I``, and whether it settled."""
    vector = start
    value = torch.full_like(shift, torch.inf)
    settled = torch.zeros_like(shift, dtype=torch.bool)
    for _ in range(limit):
        image = product(vector)
        quotient = (vector * image).sum(1)
        calm = (quotient - value).abs() <= tolerance * quotient.abs()
        value = torch.where(settled, value, quotient)
        settled = settled | calm | ~quotient.isfinite()
        if bool(settled.all()):
            break
        vector = _unit(image - shift[:, None] * vector)
    return value, settled & value.isfinite()


def _unit(vectors: Tensor) -> Tensor:
    lengths: Tensor = vectors.norm(dim=1, keepdim=True)
    # Where the Hessian maps to 0, the vector stays 0 and its quotient a number.
    return vectors / lengths.clamp(min=torch.finfo(vectors.dtype).tiny)


def _product(networks: Networks, inputs: Tensor, targets: Tensor, rows: int, seed: int) -> tuple[Product, Tensor]:
    """The function ``v ↦ Hv`` for ``v [P, D]`` of D trainable parameters, and a start for the iteration.

    Networks do not depend on each other, so the gradient of the sum of their losses is the gradient of each. Where all
    samples fit in one batch, the graph of the gradient is made once.
    """
    leaves = {
        name: networks.parameters[name].detach().clone().requires_grad_()
        for name, own in networks.base.named_parameters()
        if own.requires_grad
    }
    part = replace(networks, parameters={**networks.parameters, **leaves})
    own = list(leaves.values())
    sizes = [leaf[0].numel() for leaf in own]
    parts = list(zip(inputs.split(rows), targets.split(rows), strict=True))

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        logits = part.forward(x.expand(len(part), *x.shape))
        loss = cross_entropy(logits.flatten(0, 1), y.repeat(len(part)), reduction="sum") / len(inputs)
        return _flat(torch.autograd.grad(loss, own, create_graph=True, materialize_grads=True))

    kept = [gradient(*parts[0])] if len(parts) == 1 else []

    def product(vector: Tensor) -> Tensor:
        for leaf in own:
            leaf.grad = torch.zeros_like(leaf)
        for slope in kept or (gradient(*batch) for batch in parts):
            # Not `grad`, which takes what cannot be differentiated again for a constant.
            (slope * vector).sum().backward(retain_graph=bool(kept))
        return _flat([leaf.grad for leaf in own if leaf.grad is not None])

    start = torch.randn(sum(sizes), generator=generator(seed, "hessian")).to(_flat(own))
    return product, _unit(start.expand(len(networks), -1))


def _flat(values: Sequence[Tensor]) -> Tensor:
    return torch.cat([value.flatten(1) for value in values], 1)
