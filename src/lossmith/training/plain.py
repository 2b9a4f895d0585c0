"""One network trained by ordinary PyTorch: the specification that the population is tested against."""

from collections.abc import Callable

from torch import Tensor, nn

from lossmith.attacks import floating, random_start
from lossmith.losses import Criterion, Loss
from lossmith.training.adversary import attacked_batch, checked_white
from lossmith.training.networks import Networks, Task, own_state
from lossmith.training.randomness import batch_order, compiled_like_eager
from lossmith.training.recipe import Recipe, build_optimizer


class PlainRun:
    """The training of one network with one loss, a batch at a time."""

    def __init__(self, task: Task, loss: Loss, seed: int, recipe: Recipe, compiled: bool = False) -> None:
        self.task, self.seed, self.recipe = task, seed, recipe
        self.network = task.build(seed).train()
        self.optimizer = build_optimizer(recipe, [value for value in self.network.parameters() if value.requires_grad])
        self.criterion = Criterion(loss)
        self.forward: Callable[[Tensor], Tensor] = compiled_like_eager(self.network) if compiled else self.network
        self.done = 0

    def step(self) -> None:
        """Train on the next batch."""
        recipe, samples = self.recipe, len(self.task.inputs)
        epoch, position = divmod(self.done, recipe.steps_per_epoch(samples))
        if position == 0:
            self.order = batch_order(self.seed, epoch, samples).to(self.task.device)
        batch = self.order[position * recipe.batch_size : (position + 1) * recipe.batch_size]
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.done, recipe.total_steps(samples))
        self.optimizer.zero_grad()
        inputs, targets = self.task.inputs[batch], self.task.targets[batch]
        if recipe.adversary != "none":
            inputs = self._attacked(inputs, targets)
        self.network.train()
        self.criterion(self.forward(inputs), targets).backward()
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        self.done += 1

    def _attacked(self, inputs: Tensor, targets: Tensor) -> Tensor:
        images = floating(inputs)
        start = random_start(images, self.seed, "adversary", self.done)
        self.network.eval()
        return attacked_batch(
            lambda x: self.network(x[0])[None],
            images[None],
            targets,
            start,
            self.criterion.loss.logit_gradient,
            self.recipe,
            checked_white(self.task),
        )[0]

    def networks(self) -> Networks:
        """The network as it is now, as a population of one."""
        parameters, buffers = own_state(self.network)
        return Networks(
            self.network,
            {name: value[None] for name, value in parameters.items()},
            {name: value[None] for name, value in buffers.items()},
            vectorised=False,
        )
