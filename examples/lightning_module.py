"""Lightning: a criterion in a LightningModule, and early stopping that looks at the right number.

The value of an evolved loss is no progress bar: it may rise as a network learns, so early stopping, checkpoints and
schedules look at `criterion.monitor`, which is cross-entropy with the same class weights and ignored class. Here
networks learn handwritten digits of which 40 % carry a wrong label, with early stopping on labels as wrong.

    python examples/lightning_module.py   # with the extra `integrations`, or lightning installed
"""

import logging
import statistics
import tempfile
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lossmith

CLASSES = 10
LOSSES = {
    "cross-entropy": lossmith.Criterion("cross-entropy"),
    "label smoothing": lossmith.Criterion("label-smoothing:0.1", classes=CLASSES),
    # As evolved ones are: smoothed, with a reward for being sure. A file of one is taken alike: Criterion("best.json").
    "smoothing + MAE": lossmith.Criterion(lossmith.cross_entropy().smoothed(0.5, CLASSES) + 8 * lossmith.mae()),
}


class Classifier(lightning.LightningModule):
    """A perceptron with any criterion; its class weights, if it has some, are in the checkpoint."""

    def __init__(self, criterion: lossmith.Criterion) -> None:
        super().__init__()
        self.criterion = criterion
        self.network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, CLASSES))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        inputs, targets = batch
        return self.criterion(self.network(inputs), targets)

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """What early stopping looks at, and the accuracy."""
        inputs, targets = batch
        logits = self.network(inputs)
        self.log("cross_entropy", self.criterion.monitor(logits, targets))
        self.log("accuracy", (logits.argmax(1) == targets).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def digits() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Parts for training and validation with 40 % wrong labels, and a clean one for the test."""
    images, labels = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    inputs, targets = torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]
    shift = torch.randint(1, CLASSES, (1200,), generator=generator)
    mistaken = torch.rand(1200, generator=generator) < 0.4
    noisy = torch.where(mistaken, (targets[:1200] + shift) % CLASSES, targets[:1200])
    return (
        TensorDataset(inputs[:800], noisy[:800]),
        TensorDataset(inputs[800:1200], noisy[800:]),
        TensorDataset(inputs[1200:], targets[1200:]),
    )


def tested(criterion: lossmith.Criterion, parts: tuple[TensorDataset, ...], seed: int) -> tuple[float, int]:
    """Test accuracy of the epoch with the lowest cross-entropy on validation data, and the number of epochs."""
    training, validation, test = (DataLoader(part, batch_size=100, shuffle=part is parts[0]) for part in parts)
    lightning.seed_everything(seed, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="cross_entropy")
        trainer = lightning.Trainer(
            max_epochs=40,
            callbacks=[EarlyStopping("cross_entropy", patience=5), best],
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Classifier(criterion), training, validation)
        found = trainer.validate(ckpt_path=best.best_model_path, dataloaders=test, verbose=False)
    return 100 * found[0]["accuracy"], trainer.current_epoch


def main() -> None:
    """Train three networks with each loss, and print a table of clean test data."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # Such as that one worker loads the data.
    parts = digits()
    print(f"{'loss':22}{'test accuracy':>18}{'epochs':>10}")
    for name, criterion in LOSSES.items():
        accuracies, epochs = zip(*(tested(criterion, parts, seed) for seed in range(3)), strict=True)
        spread = f"{statistics.mean(accuracies):.1f} ± {statistics.stdev(accuracies):.1f} %"
        print(f"{name:22}{spread:>18}{statistics.mean(epochs):10.0f}")


if __name__ == "__main__":
    main()
