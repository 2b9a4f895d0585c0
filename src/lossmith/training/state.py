"""What a network keeps from one batch to the next outside of its parameters and buffers, where it would be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossmith.training.randomness import seeded

TOLERANCE = 1e-4  # of the largest output; two equal passes differ by less on any device
DEEPEST = 5
TORCHS_OWN = {*vars(nn.Module()), "training"}


@dataclass(frozen=True)
class Stateful:
    """What two equal passes in training mode have shown of a network.

    Args:
        reason: Why it cannot be trained, as the end of a sentence; None if it can.
        notice: What its user should know, as the end of a sentence; None if nothing.
    """

    reason: str | None = None
    notice: str | None = None


def stateful(network: nn.Module, samples: Tensor) -> Stateful:
    """Run a network twice on the same samples, from the same parameters and buffers."""
    start = {name: value.detach().clone() for name, value in (*network.named_parameters(), *network.named_buffers())}
    before = _attributes(network)
    evaluated, _ = _outputs(network.eval(), start, samples)
    trained, state = _outputs(network.train(), start, samples)
    reason = _changed_state(network, start, state)
    if reason is not None:
        return Stateful(reason)
    after = _attributes(network)
    changed = [name for name, value in after.items() if not _equal(value, before.get(name))]
    again = (_outputs(network.train(), start, samples)[0], _outputs(network.eval(), start, samples)[0])
    same = all(_close(first, second) for first, second in zip((trained, evaluated), again, strict=True))
    kept = "which is neither a parameter nor a buffer and is lost or mixed up between networks"
    if changed and not same:
        return Stateful(
            f"it changes its attribute {changed[0]} in training, {kept}: keep it as a buffer (self.register_buffer)"
        )
    # What equal batches leave as it was is no state, but what a module shows of its last batch, or made at its first.
    last = _attributes(network)
    moving = [name for name in changed if not _equal(last.get(name), after[name])]
    if moving:
        return Stateful(
            notice=f"changes its attribute {moving[0]} in training, {kept}: keep it as a buffer "
            "(self.register_buffer) if outputs ever depend on it"
        )
    if not same:
        return Stateful(
            notice="gives other outputs for equal weights, buffers, inputs and seeds: what it keeps elsewhere, or "
            "draws from a generator of its own, is another in another way of training and in a repeated study"
        )
    return Stateful()


def _outputs(network: nn.Module, start: Mapping[str, Tensor], samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs, and parameters and buffers as the pass leaves them."""
    state = {name: value.clone() for name, value in start.items()}
    with seeded(samples.device, "stateful"), torch.no_grad():
        outputs: Tensor = functional_call(network, state, (samples.clone(),))
    return outputs, state


def _changed_state(network: nn.Module, start: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    for name, _ in network.named_parameters():
        if not torch.equal(state[name], start[name]):
            return f"it changes its parameter {name} in the forward pass: keep what is no weight as a buffer"
    for name, value in state.items():
        old = start[name]
        for kind, mine, other in (("shape", list(value.shape), list(old.shape)), ("type", value.dtype, old.dtype)):
            if mine != other:
                return (
                    f"it changes the {kind} of its buffer {name} in training from {other} to {mine}: let it have the "
                    f"{kind} from the start that it keeps"
                )
    return None


def _attributes(network: nn.Module) -> dict[str, Any]:
    """Tensors, numbers, texts and collections of these among the attributes of modules, by dotted name, copied."""
    return {
        f"{prefix}.{name}" if prefix else name: _copied(value, DEEPEST)
        for prefix, module in network.named_modules()
        for name, value in vars(module).items()
        if name not in TORCHS_OWN
    }


def _copied(value: Any, depth: int) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, bool | int | float | complex | str) or value is None:
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): _copied(part, depth - 1) for key, part in value.items()}
    if depth and isinstance(value, Sequence) and not isinstance(value, bytes | range):
        return [_copied(part, depth - 1) for part in value]
    # Other objects are only known by what they do to the outputs.
    return ...


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.dtype == second.dtype and bool(_same(first, second).all())
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(value, second[key]) for key, value in first.items())
    return type(first) is type(second) and bool(first == second or first != first)


def _close(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    size = first.abs().nan_to_num(0.0, 0.0, 0.0).max()
    return bool((_same(first, second) | ((first - second).abs() <= TOLERANCE * size)).all())


def _same(first: Tensor, second: Tensor) -> Tensor:
    return (first == second) | ((first != first) & (second != second))
