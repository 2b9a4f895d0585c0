"""How a network is trained: optimiser, length, batches and schedule."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.optim.sgd import sgd

from lossmith.settings import Settings

LARGEST_WEIGHT = 1e9


def _class_weight(value: Any) -> Any:
    """What ``class_weight`` may be: a word, also alone in a list as flags have it, or positive numbers."""
    # Arrays and tensors are lists of numbers.
    value = value.tolist() if hasattr(value, "tolist") else value
    listed = list(value) if isinstance(value, list | tuple) else [value]
    if len(listed) == 1 and listed[0] in ("none", "balanced"):
        return listed[0]
    numbers = tuple(map(_number, listed))
    if len(numbers) < 2 or not all(1 / LARGEST_WEIGHT <= one <= LARGEST_WEIGHT for one in numbers):
        raise ValueError('give "none", "balanced", or a number above 0 for each class (1e-9 to 1e9)')
    return numbers


def _number(value: Any) -> float:
    """A number, also in words; NaN for anything else."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


class Recipe(Settings):
    """How networks are trained, every member of a population alike."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW."""
    lr: float = Field(0.05, gt=0, allow_inf_nan=False)
    """Learning rate (the highest one of the schedule)."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD; β1 of AdamW."""
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Weight decay: added to the gradient with SGD, decoupled with AdamW."""
    epochs: int = Field(10, ge=1, le=10**6)
    """Passes over the training data."""
    steps: int | None = Field(None, ge=1, le=10**9)
    """Number of batches, instead of epochs."""
    batch_size: int = Field(50, ge=1, le=10**9)
    """Samples in a batch; the incomplete batch at the end of an epoch is left out."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = "constant"
    """Learning rate over time: constant, lowered at milestones, a half cosine to 0, or warm-up and a half cosine."""
    milestones: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False, max_length=1000)] = (
        0.5,
        0.75,
    )
    """Where the step schedule lowers the learning rate, as shares of the training."""
    decay: float = Field(0.1, gt=0, lt=1)
    """Factor of the step schedule at each milestone."""
    clip: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Largest norm of a network's whole gradient; longer ones are scaled down."""
    crop: int = Field(0, ge=0, le=1000)
    """Augmentation: pad images with so many black pixels, and crop them to their size at random (4 is usual for
    32×32)."""
    flip: bool = False
    """Augmentation: mirror images left to right with probability 1/2."""
    cutout: int = Field(0, ge=0, le=10**6)
    """Augmentation: side of a square that is filled with the mean pixel, at random in each image (Cutout; 16 is usual
    for CIFAR-10)."""
    mixup: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    """Augmentation: α of mixup, which mixes two samples and their labels by λ ~ Beta(α, α)."""
    cutmix: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    """Augmentation: α of CutMix, which puts a piece of another image, of 1 − λ of the area, into each; beside --mixup,
    each batch draws one of the two."""
    flooding: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Flooding: where the loss L of a batch is below this level b, it is raised instead: |L − b| + b is minimized. L
    includes the constants of the loss."""
    class_weight: Annotated[
        Literal["none", "balanced"] | Annotated[tuple[float, ...], Field(strict=False)], BeforeValidator(_class_weight)
    ] = "none"
    """Class weights of the training, for every loss alike: none, a number for each of the K classes in their order, or
    "balanced", N/(K N_k). A sample counts by the weight of its label."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """How batches are drawn: "uniform", each sample once an epoch, or "balanced", with replacement and each class with
    the same probability, as many samples an epoch."""
    patience: int | None = Field(None, ge=1, le=10**6)
    """Early stopping: end a training after so many epochs without a better metric on validation data, and keep its best
    epoch. Validation figures are then the best of several."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers of the forward pass: float32, or bfloat16 where PyTorch's autocast allows it (weights and loss stay
    float32)."""
    adversary: Literal["none", "fgsm", "pgd"] = "none"
    """Adversarial training (images only): attack every batch before the network trains on it, by one step (fgsm) or
    several from a random start (pgd), along the gradient of the loss."""
    adversary_epsilon: float = Field(0.1, ge=0, le=1)
    """Strength of that attack, a share of the range of pixels."""
    adversary_steps: int = Field(7, ge=1, le=10**4)
    """Steps of the adversary "pgd"."""

    @property
    def augments(self) -> bool:
        """Whether samples are changed at random before they are trained on."""
        return bool(self.crop or self.flip or self.cutout or self.mixup or self.cutmix)

    def steps_per_epoch(self, samples: int) -> int:
        """Batches in one pass over ``samples``."""
        return max(1, samples // self.batch_size)

    def total_steps(self, samples: int) -> int:
        """Batches of the whole training."""
        return self.steps if self.steps is not None else self.epochs * self.steps_per_epoch(samples)

    def rate(self, step: int, total: int) -> float:
        """Learning rate of batch ``step`` = 0 … total−1; the schedules are those of ``torch.optim.lr_scheduler``."""
        match self.schedule:
            case "constant":
                return self.lr
            case "step":
                return self.lr * self.decay ** sum(step >= round(share * total) for share in self.milestones)
            case "cosine":
                return self.lr * (1 + math.cos(math.pi * step / total)) / 2
            case "one-cycle":
                return self.lr * _one_cycle(step, total)


# The defaults of `OneCycleLR`: pct_start, 1 / div_factor, and that divided by final_div_factor.
WARM_UP, START, END = 0.3, 1 / 25, 1 / 25e4


def _one_cycle(step: int, total: int) -> float:
    peak = WARM_UP * total - 1
    if step <= peak:
        return _anneal(START, 1.0, step / peak if peak > 0 else 1.0)
    return _anneal(1.0, END, (step - peak) / max(total - 1 - peak, 1e-9))


def _anneal(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


class MomentumSGD:
    """The steps of ``torch.optim.SGD``, by the same function of PyTorch, with ``param_groups`` and ``state`` as there.

    PyTorch's class loads its compiler when it is made, which takes a process about a second.

    Args:
        leaves: What is trained.
        lr: Learning rate.
        momentum: Momentum.
        weight_decay: Weight decay, added to the gradient.
        fused: Whether one kernel steps all leaves; None leaves it to PyTorch.
    """

    def __init__(
        self, leaves: list[Tensor], *, lr: float, momentum: float, weight_decay: float, fused: bool | None
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": leaves, "lr": lr}]
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.momentum, self.weight_decay, self.fused = momentum, weight_decay, fused

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for leaf in group["params"]:
                leaf.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Step every leaf that has a gradient."""
        for group in self.param_groups:
            leaves = [leaf for leaf in group["params"] if leaf.grad is not None]
            kept = [self.state[leaf].get("momentum_buffer") for leaf in leaves] if self.momentum else []
            sgd(
                leaves,
                [leaf.grad for leaf in leaves],
                kept,
                fused=self.fused,
                weight_decay=self.weight_decay,
                momentum=self.momentum,
                lr=group["lr"],
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
            for leaf, buffer in zip(leaves, kept, strict=False):
                self.state[leaf]["momentum_buffer"] = buffer


def build_optimizer(recipe: Recipe, parameters: Iterable[Tensor]) -> torch.optim.Optimizer | MomentumSGD:
    """The optimizer of a recipe as PyTorch has it, fused where PyTorch offers it."""
    leaves = list(parameters)
    fused = True if all(leaf.dtype.is_floating_point for leaf in leaves) else None
    if recipe.optimizer == "sgd":
        return MomentumSGD(
            leaves, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=fused
        )
    return torch.optim.AdamW(
        leaves, lr=recipe.lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay, fused=fused
    )
