"""
A loss made smaller
===================

A loss with many terms is hard to read. Distillation leaves out one term after the other, tunes what is left again, and
keeps the smallest loss that is not worse on validation data.
"""

import tempfile
from pathlib import Path

from lossmith import expression
from lossmith.report import loss_shape, plot_distillation, plot_losses
from lossmith.study import DistillSettings, EvolveSettings, distill_loss

whole = expression("y*log(h) + 0.3*h*y - 0.2*h^2")
settings = EvolveSettings(
    data={"source": "digits", "train_size": 200},
    model={"name": "mlp", "hidden": [16]},
    recipe={"epochs": 5},
)
found = distill_loss(
    whole,
    settings,
    Path(tempfile.mkdtemp()),
    DistillSettings(effort="quick", seeds=6, margin=0.02),
)
print("before:", whole)
print("after: ", found.loss)

# %%
# Each row is one loss with a term less: by how much the whole loss was better, with its interval. What ends left of the
# line is good enough, and the search goes on from it.

rounds = plot_distillation(found.distillation)

# %%
# Both losses, side by side.

curves = plot_losses([loss_shape(loss, 10) for loss in (whole, found.loss)])
