"""A frozen backbone: compute its features once, evolve a loss for the head on them, use it where the head is trained.

A pretrained network that stays as it is gives every image the same features in each training. So they are computed
once, and hundreds of heads train on them in seconds, however large the backbone. Here it is a small convolutional
network that learnt the digits 0 to 4; it stands for one such as
`timm.create_model("resnet50", pretrained=True, num_classes=0)`. The new task is to tell the digits 5 to 9, with 40 % of
the labels wrong.

    python examples/frozen_backbone.py
"""

import statistics
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import lossmith
from lossmith.data import Source
from lossmith.study import EvolveSettings, evolve

CLASSES, SAMPLES = 5, 500
BASELINES = ["cross-entropy", "label-smoothing:0.1", "gce:0.7"]


def digits() -> tuple[Tensor, Tensor]:
    """All images ``[N, 1, 8, 8]`` and labels, in an order that does not matter."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return torch.tensor(images, dtype=torch.float32)[order].reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)[order]


def train(network: nn.Module, criterion: nn.Module, inputs: Tensor, targets: Tensor, epochs: int, seed: int) -> None:
    """Your training loop, the same for backbone and head."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs), generator=generator).split(50):
            optimizer.zero_grad()
            criterion(network(inputs[batch]), targets[batch]).backward()
            optimizer.step()


def pretrained(images: Tensor, labels: Tensor) -> nn.Module:
    """A backbone that knows the digits 0 to 4, without its last layer, frozen."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    backbone = nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Flatten())
    train(nn.Sequential(backbone, nn.Linear(512, 5)), nn.CrossEntropyLoss(), images, labels, epochs=3, seed=0)
    return backbone.eval().requires_grad_(False)


def head(features: int, seed: int) -> nn.Module:
    """What is trained for the new task."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def evolved(features: Tensor, labels: Tensor) -> lossmith.Loss:
    """A loss from 160 candidates for a head of the same shape and the same training; some features are set aside."""
    settings = EvolveSettings(
        model={"name": "mlp", "hidden": [64]},
        recipe={"epochs": 20, "batch_size": 50, "lr": 0.01, "momentum": 0.9},
        search={"population": 16, "generations": 10, "seed": 0},
        run={"replicates": 3, "tune": False},
    )
    with tempfile.TemporaryDirectory() as folder:
        return evolve(folder, settings, Source.from_tensors(features, labels)).loss


def main() -> None:
    """Compute features, search, then train heads with each loss on noisy labels, and print a table of clean data."""
    images, labels = digits()
    old = labels < 5
    backbone = pretrained(images[old], labels[old])
    features, targets = backbone(images[~old]), labels[~old] - 5
    # Normalized as lossmith does it by itself.
    features = (features - features[:SAMPLES].mean(0)) / features[:SAMPLES].std(0).clamp(min=1e-3)
    generator = torch.Generator().manual_seed(1)
    shift = torch.randint(1, CLASSES, (SAMPLES,), generator=generator)
    mistaken = torch.rand(SAMPLES, generator=generator) < 0.4
    noisy = torch.where(mistaken, (targets[:SAMPLES] + shift) % CLASSES, targets[:SAMPLES])

    criteria = {name: lossmith.Criterion(name, classes=CLASSES) for name in BASELINES}
    criteria["evolved"] = lossmith.Criterion(evolved(features[:SAMPLES], noisy))
    print(f"evolved: {criteria['evolved'].loss.formula()}\n")
    print(f"{'loss':22}{'test accuracy':>18}{'cross-entropy':>16}")
    for name, criterion in criteria.items():
        shares, values = [], []
        for seed in range(100, 105):
            network = head(features.shape[1], seed)
            train(network, criterion, features[:SAMPLES], noisy, epochs=20, seed=seed)
            with torch.no_grad():
                logits = network(features[SAMPLES:])
            shares.append(100 * (logits.argmax(1) == targets[SAMPLES:]).double().mean().item())
            # What early stopping should look at; the loss's own value does not show progress.
            values.append(criterion.monitor(logits, targets[SAMPLES:]).item())
        spread = f"{statistics.mean(shares):.1f} ± {statistics.stdev(shares):.1f} %"
        print(f"{name:22}{spread:>18}{statistics.mean(values):16.3f}")


if __name__ == "__main__":
    main()
