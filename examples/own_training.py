"""A loss for your own training function, with two worker processes.

    python examples/own_training.py

Whatever you train with (a fine-tuning script, a detector, another framework), all that is needed is a function that
takes a criterion and a seed, trains, and returns a score. It is a script of your own: nothing of lossmith trains here.
"""

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim import SGD

import lossmith

IMAGES, DIGITS = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
ORDER = torch.randperm(len(DIGITS), generator=torch.Generator().manual_seed(0))
TRAIN, VALIDATION, TEST = ORDER[:300], ORDER[300:1000], ORDER[1000:]
# Two of five labels are wrong, as they can be in practice; those of test data are right.
WRONG = torch.rand(len(DIGITS), generator=torch.Generator().manual_seed(1)) < 0.4
OTHERS = (DIGITS + torch.randint(1, 10, DIGITS.shape, generator=torch.Generator().manual_seed(2))) % 10
LABELS = torch.where(WRONG, OTHERS, DIGITS)


def train(criterion: nn.Module, seed: int, lr: float = 0.05, epochs: int = 8) -> dict[str, float]:
    """Train a small network with a criterion, and score it."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True)
    inputs = IMAGES.float() / 16
    for _ in range(epochs):
        for batch in TRAIN[torch.randperm(len(TRAIN))].split(50):
            optimizer.zero_grad()
            criterion(network(inputs[batch]), LABELS[batch]).backward()
            optimizer.step()

    def accuracy(part: torch.Tensor, labels: torch.Tensor) -> float:
        with torch.no_grad():
            return (network(inputs[part]).argmax(1) == labels[part]).double().mean().item()

    return {"validation": accuracy(VALIDATION, LABELS), "test": accuracy(TEST, DIGITS)}


def main() -> None:
    """Evolve a loss for the function, compare it with two known ones, and print the table."""
    out = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="own-training-")
    result = lossmith.evolve(
        train=train,
        classes=10,
        out=out,
        population=8,
        generations=6,
        finalists=1,
        metric="accuracy",
        settings={"epochs": 8},
        executor="processes",
    )
    print(result)
    print(result.compare(baselines=["cross-entropy", "label-smoothing"], seeds=5, executor="processes"))
    print(f"Use it:  criterion = lossmith.Criterion({str(result.directory / 'best.json')!r})")


# Worker processes import this file, and must not start the search again.
if __name__ == "__main__":
    main()
