"""One network trained by ordinary PyTorch: the specification that the population is tested against."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossmith.attacks import floating, random_start
from lossmith.losses import GradientRule, Loss, Term, log_outputs, sample_values
from lossmith.training.adversary import attacked_batch, checked_white
from lossmith.training.batches import Batches
from lossmith.training.networks import Networks, State, Task, own_state
from lossmith.training.precision import autocast
from lossmith.training.randomness import compiled_like_eager
from lossmith.training.recipe import Recipe, build_optimizer

Objective = Callable[[State, Tensor, Tensor, Tensor], Tensor]


class PlainRun:
    """The training of one network with one loss, a batch at a time.

    Args:
        task: What is trained on what.
        loss: One loss.
        seed: Of initial weights and batches.
        recipe: The recipe.
        compiled: Whether forward pass and loss are compiled: once for all trainings of the task whose losses have the
            same terms, since the coefficients are an input.
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
        self.compiled = _compiled(task, loss.terms) if compiled else None
        if compiled:
            self.state = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
            self.coefficients = loss.coefficients.to(next(self.network.parameters()))
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
        if self.compiled is None:
            self._differentiate(inputs, targets)
        else:
            with autocast(recipe, self.task.device):
                loss = self.compiled(self.state, inputs, targets, self.coefficients)
            (loss if not recipe.flooding else (loss - recipe.flooding).abs()).backward()
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        self.done += 1

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> None:
        """Set the gradients: backward from the closed form of the loss's gradient, in place of the loss."""
        with autocast(self.recipe, self.task.device):
            logits = self.network(inputs)
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
            self.loss.logit_gradient,
            self.recipe,
            checked_white(self.task),
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
            vectorised=False,
        )


def _compiled(task: Task, terms: tuple[Term, ...]) -> Objective:
    """The mean loss of a batch, as a compiled function of state, batch and coefficients; made once for a task."""
    known: dict[tuple[Term, ...], Objective] = task.memo.setdefault("compiled", {})
    if terms not in known:
        base = task.build(0).train()

        def objective(state: State, inputs: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
            logits = functional_call(base, state, (inputs,))
            weighted = list(zip(terms, coefficients.unbind(), strict=True))
            return sample_values(weighted, log_outputs(logits), targets).mean()

        known[terms] = compiled_like_eager(objective)
    return known[terms]
