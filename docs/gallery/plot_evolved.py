"""
A loss evolved on digits
========================

Handwritten digits, 40 % of the training labels wrong, a small network, and a search of only four generations. It shows
what a search gives. How much a longer one is worth is told in the results.
"""

import tempfile
from pathlib import Path

import lossmith
from lossmith.report import loss_shape, plot_history, plot_losses, search_history
from lossmith.study import Store

study = Path(tempfile.mkdtemp()) / "study"
result = lossmith.evolve(
    model="mlp",
    data="digits",
    out=study,
    hidden=[32],
    train_size=400,
    label_noise=0.4,
    epochs=15,
    population=12,
    generations=4,
    finalists=2,
    tune=False,
    quiet=True,
)
print(result.loss)

# %%
# The study keeps every candidate. Its history is the fitness of each generation on validation data.

with Store(study, readonly=True) as store:
    history = plot_history(search_history(store.candidates(), store.finalists("final")))

# %%
# The winner beside cross-entropy: where its gradient is near zero, it lets go of a sample.

curves = plot_losses([loss_shape(loss, 10) for loss in (lossmith.cross_entropy(), result.loss)])

# %%
# A training script takes it as it takes ``torch.nn.CrossEntropyLoss``.

print(result.criterion())
