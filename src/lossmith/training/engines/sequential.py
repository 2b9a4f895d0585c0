"""One network trained by ordinary PyTorch: the specification that the population is tested against."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossmith.attacks import floating, random_start
from lossmith.losses import GradientRule, Loss
from lossmith.training.adversary import attacked_batch, checked_max_pixel
from lossmith.training.batches import Batches
from lossmith.training.networks import Networks, State, Task, own_state
from lossmith.training.precision import autocast
from lossmith.training.randomness import compiled_like_eager
from lossmith.training.recipe import Recipe, build_optimizer

Forward = Callable[[State, Tensor], Tensor]


class SequentialRun:
    """The training of one network with one loss, a batch at a time.

    Args:
        task: What is trained on what.
        loss: One loss.
        seed: Of initial weights and batches.
        recipe: The recipe.
        compiled: Whether the forward pass is compiled: once for all trainings of the task, with weights as an input.
        channels_last: Whether images and convolutions lie in memory with their channels last.
    """

    def __init__(
        self, task: Task, loss: Loss, seed: int, recipe: Recipe, compiled: bool = False, channels_last: bool = False
    ) -> None:
        self.task, self.seed, self.recipe = task, seed, recipe
        self.network = task.build(seed).train()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(recipe, [value for value in self.network.parameters() if value.requires_grad])
        self.loss = loss
        self.rule: GradientRule | None = None
        self.batches = Batches(task, [seed], recipe)
        self.forward: Callable[[Tensor], Tensor] = self.network
        if compiled:
            state = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
            self.forward = partial(_compiled(task), state)
        self.done = 0

    def step(self) -> None:
        """Train on the next batch."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.done, recipe.total_steps(self.batches.samples))
        self.optimizer.zero_grad()
        inputs, targets = self.batches.batch(self.done)
        if recipe.adversary != "none":
            inputs = self._attacked(inputs, targets)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=self.layout)
        self.network.train()
        self._differentiate(inputs, targets)
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        self.done += 1

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> None:
        """Set the gradients: backward from the closed form of the loss's gradient, in place of the loss."""
        with autocast(self.recipe, self.task.device):
            logits = self.forward(inputs)
        known = logits.detach()
        if self.rule is None:
            self.rule = self.loss.gradient_rule(known)
        slope = self.rule(known, targets) / len(known)
        if self.recipe.flooding:
            wide = known.float() if known.dtype == torch.bfloat16 else known
            slope = slope * (self.loss.value(wide, targets).mean() - self.recipe.flooding).sign().to(slope.dtype)
        logits.backward(slope)

    def _attacked(self, inputs: Tensor, targets: Tensor) -> Tensor:
        images = floating(inputs)
        start = random_start(images, self.seed, "adversary", self.done)
        self.network.eval()
        return attacked_batch(
            lambda x: self.network(x[0])[None],
            images[None],
            targets,
            start,
            self.rule if self.rule is not None else self.loss.logit_gradient,
            self.recipe,
            checked_max_pixel(self.task),
        )[0]

    def keep(self, members: list[int]) -> None:
        """Go on with the one member there is."""

    def networks(self) -> Networks:
        """The network as it is now, as a population of one."""
        parameters, buffers = own_state(self.network)
        return Networks(
            self.network,
            {name: value[None] for name, value in parameters.items()},
            {name: value[None] for name, value in buffers.items()},
            vectorized=False,
        )


def _compiled(task: Task) -> Forward:
    """The forward pass in training mode as a compiled function of weights and inputs; made once for a task."""
    if "forward" not in task.memo:
        base = task.build(0).train()

        def forward(state: State, inputs: Tensor) -> Tensor:
            logits: Tensor = functional_call(base, state, (inputs,))
            return logits

        task.memo["forward"] = compiled_like_eager(forward)
    compiled: Forward = task.memo["forward"]
    return compiled
