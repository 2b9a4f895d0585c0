"""All networks of a population trained in one program."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from lossmith.attacks import floating, random_start
from lossmith.losses import GradientRule, Loss
from lossmith.training.adversary import attacked_batch, checked_white
from lossmith.training.batches import Batches
from lossmith.training.networks import Networks, State, Task, input_dim, own_state, shared_buffers
from lossmith.training.precision import vmapped_autocast
from lossmith.training.randomness import compiled_like_eager
from lossmith.training.recipe import Recipe, build_optimizer


class PopulationRun:
    """The training of P networks with P losses, a batch at a time: the same steps as P plain runs.

    The forward pass is vectorised over the stacked parameters, the logit gradient of all members is computed in closed
    form, and one ordinary optimiser steps the stack. Every operation acts on each member alone, so a member that
    diverges leaves the others as they are.

    Args:
        task: What is trained on what.
        losses: A population ``[P]``.
        seeds: One seed a member; equal seeds mean equal initial weights and batches.
        recipe: The recipe of all.
        compiled: Whether ``torch.compile`` is applied to the forward pass.
    """

    def __init__(self, task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, compiled: bool = False) -> None:
        self.task, self.recipe = task, recipe
        distinct = list(dict.fromkeys(seeds))
        self.batches = Batches(task, distinct, recipe)
        place = torch.tensor([distinct.index(seed) for seed in seeds])
        starts = [task.build(seed) for seed in distinct]
        self.base = starts[0].train()
        self.shared = shared_buffers(self.base)
        states = [own_state(network) for network in starts]
        self.parameters = {
            name: _laid_out(torch.stack([parameters[name] for parameters, _ in states])[place]).requires_grad_(
                trained.requires_grad
            )
            for name, trained in self.base.named_parameters()
        }
        self.buffers = {name: torch.stack([buffers[name] for _, buffers in states])[place] for name in states[0][1]}
        self.leaves = [value for value in self.parameters.values() if value.requires_grad]
        self.optimizer = build_optimizer(recipe, self.leaves)
        self.place = place.to(task.device)
        self.losses = losses.to(task.device)
        self.rule: GradientRule | None = None
        shared_batch = len(distinct) == 1 and recipe.adversary == "none"
        self.input_dim = input_dim(self.parameters) if shared_batch else 0
        forward = vmap(self._call, in_dims=(0, 0, self.input_dim), randomness="same")
        self.forward: Callable[[State, State, Tensor], Tensor] = compiled_like_eager(forward) if compiled else forward
        self.done = 0

    def step(self) -> None:
        """Train on the next batch."""
        recipe = self.recipe
        inputs, targets = self.batches.batch(self.done)
        if len(self.batches.seeds) > 1:
            inputs, targets = inputs[self.place], targets[self.place]
        elif self.input_dim == 0:
            inputs = inputs.expand(len(self.place), *inputs.shape)
        if recipe.adversary != "none":
            inputs = self._attacked(inputs, targets)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.done, recipe.total_steps(self.batches.samples))
        self.base.train()
        with vmapped_autocast(recipe):
            logits = self.forward(self.parameters, self.buffers, inputs)
        if self.rule is None:
            self.rule = self.losses.gradient_rule(logits)
        slope = self.rule(logits.detach(), targets) / logits.shape[-2]
        if recipe.flooding:
            slope = slope * self._tide(logits.detach(), targets)
        # Not `backward`, which would copy each gradient into place.
        for leaf, gradient in zip(
            self.leaves, torch.autograd.grad(logits, self.leaves, slope, allow_unused=True), strict=True
        ):
            leaf.grad = gradient if gradient is None else _laid_out_like(leaf, gradient)
        if recipe.clip is not None:
            clip_each(self.leaves, recipe.clip)
        self.optimizer.step()
        self.done += 1

    def _attacked(self, inputs: Tensor, targets: Tensor) -> Tensor:
        images = floating(inputs)
        starts = [random_start(images[0], seed, "adversary", self.done) for seed in self.batches.seeds]
        start = starts[0] if len(starts) == 1 else torch.stack(starts)[self.place]
        return attacked_batch(
            self.networks(copied=False).forward,
            images,
            targets,
            start,
            self.rule if self.rule is not None else self.losses.logit_gradient,
            self.recipe,
            checked_white(self.task),
        )

    def _tide(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The sign of each member's loss less the level of flooding, ``[P, 1, 1]``: the slope of ``|L − b| + b``."""
        values = self.losses.value(logits.float() if logits.dtype == torch.bfloat16 else logits, targets)
        return (values.mean(-1) - self.recipe.flooding).sign()[:, None, None].to(logits.dtype)

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""
        rows = torch.tensor(members, device=self.task.device)
        kept = {name: _laid_out(value.detach()[rows]) for name, value in self.parameters.items()}
        for name, value in kept.items():
            value.requires_grad_(self.parameters[name].requires_grad)
        leaves = [value for value in kept.values() if value.requires_grad]
        optimizer = build_optimizer(self.recipe, leaves)
        for old, new in zip(self.leaves, leaves, strict=True):
            optimizer.state[new] = {
                name: _laid_out_like(new, value[rows]) if value.shape == old.shape else value
                for name, value in self.optimizer.state[old].items()
            }
        self.parameters, self.leaves, self.optimizer = kept, leaves, optimizer
        self.buffers = {name: value[rows] for name, value in self.buffers.items()}
        self.place, self.losses, self.rule = self.place[rows], self.losses[members], None

    def networks(self, copied: bool = True) -> Networks:
        """The networks as they are now; without a copy they change when training goes on."""
        parameters = {name: value.detach() for name, value in self.parameters.items()}
        if not copied:
            return Networks(self.base, parameters, self.buffers)
        return Networks(
            self.base,
            {name: value.clone() for name, value in parameters.items()},
            {name: value.clone() for name, value in self.buffers.items()},
        )

    def _call(self, parameters: State, buffers: State, x: Tensor) -> Tensor:
        result: Tensor = functional_call(self.base, {**parameters, **buffers, **self.shared}, (x,))
        return result


def _laid_out(stacked: Tensor) -> Tensor:
    """Weights of linear layers ``[P, out, in]``, laid out in memory as their gradient comes."""
    return stacked.mT.contiguous().mT if stacked.ndim == 3 else stacked


def _laid_out_like(leaf: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its leaf: fused optimisers read both in one order and do not check."""
    return gradient if gradient.stride() == leaf.stride() else torch.empty_like(leaf).copy_(gradient)


def clip_each(stacked: Sequence[Tensor], limit: float) -> None:
    """Scale each member's gradient down to the norm ``limit``, as ``clip_grad_norm_`` does for one network."""
    gradients = [value.grad for value in stacked if value.grad is not None]
    norms = torch.stack([gradient.reshape(len(gradient), -1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    factor = (limit / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.reshape(-1, *(1,) * (gradient.ndim - 1)))
