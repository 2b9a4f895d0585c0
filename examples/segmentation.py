"""Segmentation: one class for each pixel, where some pixels have none (``ignore_index=255``).

A criterion takes logits ``[N, K, H, W]`` and labels ``[N, H, W]`` as ``torch.nn.CrossEntropyLoss`` does, so any loss
fits into a program for segmentation by one changed line. Here a small network tells disks from squares. As in many
data sets the outlines belong to no class; and whoever drew these labels called every third thing by the wrong name.

    python examples/segmentation.py
"""

import statistics

import torch
from torch import Tensor, nn

import lossmith

CLASSES, IGNORED, SIZE = 3, 255, 24
LOSSES = ["cross-entropy", "focal:2", "label-smoothing:0.1", "gce:0.7"]
SEEDS = range(3)


def pictures(count: int, wrong: float, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy pictures ``[N, 1, H, W]`` with one disk or square each, and their labels ``[N, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randint(7, SIZE - 7, (count, 2, 1, 1), generator=generator)
    radius = torch.randint(4, 7, (count, 1, 1), generator=generator)
    is_square = torch.rand(count, 1, 1, generator=generator) < 0.5
    across = (torch.arange(SIZE) - center[:, 0]).abs()
    down = (torch.arange(SIZE)[:, None] - center[:, 1]).abs()
    distance = torch.where(is_square, torch.maximum(across, down), (across.square() + down.square()).sqrt())
    images = (distance <= radius).float() + 0.3 * torch.randn(count, SIZE, SIZE, generator=generator)
    mistaken = torch.rand(count, 1, 1, generator=generator) < wrong
    labels = torch.where(distance <= radius, torch.where(is_square ^ mistaken, 2, 1), 0)
    labels[(distance - radius).abs() < 1] = IGNORED
    return images[:, None], labels


def network(seed: int) -> nn.Module:
    """Four convolutions that see about as much as a thing is wide."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after, dilation in ((1, 16, 1), (16, 16, 2), (16, 16, 4)):
        layers += [nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, CLASSES, 1))


def trained(name: str, seed: int, images: Tensor, labels: Tensor) -> nn.Module:
    """An ordinary training loop; the criterion is all that is of lossmith."""
    criterion = lossmith.Criterion(name, ignore_index=IGNORED, classes=CLASSES)
    model = network(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(6):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(100 * seed + epoch))
        for batch in order.split(16):
            optimizer.zero_grad()
            criterion(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model.eval()


def mean_overlap(classes: Tensor, labels: Tensor) -> float:
    """Intersection over union of each class, averaged."""
    known = labels != IGNORED
    shares = []
    for k in range(CLASSES):
        found, true = (classes == k) & known, labels == k
        shares.append(((found & true).sum() / (found | true).sum()).item())
    return statistics.mean(shares)


def main() -> None:
    """Train networks with each loss, and print a table of clean test pictures."""
    images, labels = pictures(300, wrong=1 / 3, seed=0)
    test_images, test_labels = pictures(200, wrong=0, seed=1)
    # What early stopping and curves should look at: the value of an evolved loss may rise as a network learns.
    monitor = lossmith.Criterion("cross-entropy", ignore_index=IGNORED).monitor
    print(f"{'loss':22}{'mean overlap':>18}{'cross-entropy':>16}")
    for name in LOSSES:
        overlaps, values = [], []
        for seed in SEEDS:
            model = trained(name, seed, images, labels)
            with torch.no_grad():
                logits = model(test_images)
            overlaps.append(100 * mean_overlap(logits.argmax(1), test_labels))
            values.append(monitor(logits, test_labels).item())
        spread = f"{statistics.mean(overlaps):.1f} ± {statistics.stdev(overlaps):.1f} %"
        print(f"{name:22}{spread:>18}{statistics.mean(values):16.3f}")


if __name__ == "__main__":
    main()
