"""What is trained for the invariant: random Taylor losses in three settings, and what the theory says of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from networks import scores, trained
from numpy.typing import NDArray
from program import teller
from torch import Tensor

from lossmith.data import DataSettings, Normalize, Source, open_source, search_parts
from lossmith.losses import Loss, taylor
from lossmith.nets import ModelSettings, network_factory
from lossmith.seeds import derive, generator
from lossmith.theory import attraction, bias_growth, canonical, is_trainable, margin
from lossmith.training import Recipe, Task

SIGMA = 1.2
COUNTEREXAMPLE = (0.0, 0.0, 0.0, -10.0, 0.0, -6.2, 30.0, 0.0)
RATES = (0.0004, 0.002, 0.01, 0.05, 0.25)
SEEDS, EPOCHS, CHUNK = 3, 15, 80
SETTINGS = {"image": 10, "features": 10, "five": 5}
# Logits of ε, down to the smallest; as fine in the middle as `lossmith.theory.zones` looks at a single loss.
COARSE, FINE, STEP = -100.0, -20.0, 0.01
HALVINGS = 60
CHANCE = 2.5
BANDS = {
    "up to 0": (-np.inf, 0.0),
    "0 to 0.5": (0.0, 0.5),
    "0.5 to 1": (0.5, 1.0),
    "1 to 2": (1.0, 2.0),
    "above 2": (2.0, np.inf),
}
FEATURES = {
    "log gain": "log(m/n), how hard the first gradients pull",
    "ch/m": "canonical coordinate",
    "chh/m": "canonical coordinate",
    "chy/m": "canonical coordinate",
    "bias growth": "(ch + 2 chh/n + chy/n)/m: how fast outputs grow apart at the null epoch whatever the label, "
    "against how fast the label is learned",
    "reach": "target output at which the exact attraction from the null epoch on turns to repulsion",
}


def draw(count: int) -> Tensor:
    """The random λ, ``[count, 8]``."""
    return SIGMA * torch.randn(count, 8, dtype=torch.float64, generator=generator("invariant", "lambda"))


def setting(name: str) -> tuple[Source, DataSettings]:
    """Data of a setting."""
    digits = open_source("digits")
    if name == "features":
        return Source.from_tensors(digits.inputs.flatten(1), digits.targets), DataSettings(train_size=800)
    if name == "five":
        kept = digits.targets < 5
        return Source.from_tensors(digits.inputs[kept], digits.targets[kept]), DataSettings(train_size=450)
    return digits, DataSettings(train_size=800)


def run(name: str, lam: Tensor, count: int = SEEDS) -> dict[str, Any]:
    """Validation accuracy and number of predicted classes after the last epoch, each ``[λ, learning rates, seeds]``."""
    parts = search_parts(*setting(name))
    factory = network_factory(ModelSettings(), Normalize.fit(parts.train.inputs), parts.input_shape, parts.classes)
    task = Task(factory, parts.train.inputs, parts.train.targets, parts.classes)
    samples = parts.validation.inputs, parts.validation.targets
    seeds, say = [derive("invariant", "training", number) for number in range(count)], teller(name)
    right = np.zeros((len(lam), len(RATES), count))
    predicted = np.zeros(right.shape, dtype=int)
    for place, lr in enumerate(RATES):
        for start in range(0, len(lam), CHUNK):
            losses = taylor(lam[start : start + CHUNK])
            rows, recipe = slice(start, start + len(losses)), Recipe(lr=lr, epochs=EPOCHS)
            found = trained(task, [losses[k] for k in range(len(losses))], seeds, recipe, "population")
            right[rows, place] = np.reshape(scores(found, samples), (-1, count))
            several = [len(answers.unique()) for answers in found.networks.logits(samples[0]).argmax(-1)]
            predicted[rows, place] = np.reshape(several, (-1, count))
        say(f"lr {lr:g} done")
    return {
        "data": list(parts.input_shape),
        "train": len(parts.train),
        "validation": len(parts.validation),
        "training_seeds": seeds,
        "accuracy": np.round(right, 4).tolist(),
        "predicted_classes": predicted.tolist(),
    }


def runs_of(name: str, count: int) -> dict[str, Any]:
    """Everything that is kept of a setting."""
    lam = draw(count)
    return {"rates": RATES, "epochs": EPOCHS, "lambda": lam.tolist(), **run(name, lam)}


def tried_by_hand() -> dict[str, Any]:
    """The counterexample: 10 seeds at each learning rate."""
    lam = torch.tensor([COUNTEREXAMPLE], dtype=torch.float64)
    found = run("image", lam, count=10)
    rates = [
        {"lr": lr, "mean": float(np.mean(row)), "std": float(np.std(row, ddof=1)), "accuracy": row}
        for lr, row in zip(RATES, found["accuracy"][0], strict=True)
    ]
    return {"margin": float(margin(taylor(lam), 10)[0]), "seeds": 10, "rates": rates}


def features(lam: Tensor, classes: int) -> dict[str, NDArray[np.float64]]:
    """What the theory says of each λ that the exact form passes (NaN for the others)."""
    losses = taylor(lam)
    known = is_trainable(losses, classes)
    shape, stop = canonical(losses, classes), torch.full((len(lam),), torch.nan, dtype=torch.float64)
    stop[known] = reach(taylor(lam[known]), classes)
    columns = {
        "log gain": shape.log_gain,
        "ch/m": shape.ch,
        "chh/m": shape.chh,
        "chy/m": shape.chy,
        "bias growth": bias_growth(losses, classes),
        "reach": stop,
    }
    return {name: torch.where(known, values, torch.nan).numpy() for name, values in columns.items()}


def reach(losses: Loss, classes: int) -> Tensor:
    """The target output up to which the exact attraction pulls from the null epoch on, of all losses at once.

    A scan over logit(ε) for the first repulsion, then bisection. It is where the zone of :func:`lossmith.theory.zones`
    that holds the null epoch ends, but for pairs of roots closer than the scan, which only that function looks for.
    """
    start = math.log(classes - 1)
    scan = [torch.arange(COARSE, FINE, dtype=torch.float64), torch.arange(FINE, start, STEP, dtype=torch.float64)]
    x = torch.cat([*scan, torch.tensor([start], dtype=torch.float64)]).flip(0)
    repels = attraction(losses, x.sigmoid(), classes) < 0
    first = repels.int().argmax(1)
    low, high = x[first], x[(first - 1).clamp(min=0)]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        epsilon = middle.sigmoid()[:, None]
        # Attraction has the sign of γ of the target less γ of the others.
        target = losses.gamma(1 - epsilon, torch.ones_like(epsilon))
        pulls = (target > losses.gamma(epsilon / (classes - 1), torch.zeros_like(epsilon)))[:, 0]
        low, high = torch.where(pulls, low, middle), torch.where(pulls, middle, high)
    return torch.where(repels.any(1), 1 - ((low + high) / 2).sigmoid(), 1.0)
