"""Right labels, a second chance: do evolved losses beat tuned ones in convolutional networks that overfit?

    python experiments/second.py results/second --mnist mnist.npz --cifar10 cifar10.npz

Two settings: 500 images of CIFAR-10 (16 × 16) and 300 of MNIST, and a convolutional network with 64 hidden units, 24
epochs (MNIST 12), batches of 50, a half cosine, weight decay 5e-4, and augmentation: a shift by up to two pixels, and
for CIFAR-10 a flip. As many labels more are for validation. Every baseline that is compared by default, none of those
for noisy labels, is tuned by racing, with at most 20 trainings each, and searches of ``residual`` and ``noise-robust``
have at most 48, as in ``experiments/noisy.py``, whose head says how; five networks of each loss, on the whole test
data. MAE is left out: generalized cross-entropy becomes it at q = 1.

Searches are numbered from 650, which no other experiment has used.

Written down before the run, with the tests of ``experiments/noisy.py``, Holm over the four; each baseline is multiplied
by what makes it as steep as cross-entropy, since weight decay depends on the rate: (1) what a search of ``residual``
finds is better than tuned cross-entropy; (2) than tuned label smoothing; (3) than the best rival, which validation data
chooses; (4) the best rival is better than tuned cross-entropy. Expected: 4 holds by little, the others are not shown.
Whatever comes out is told in docs/results.md.

The estimate: 360 trainings of each setting and number, of a second (CIFAR-10) or 0.8 s (MNIST): 0.9 CPU-hours for five.
"""

from __future__ import annotations

import argparse

from jobs import halved
from noisy_page import BEST, RESIDUAL, WIDER, Scores, accuracy_table, choice_table, claims_table, cost_table
from noisy_runs import CLEAN, REFERENCE, SPACES, Row, all_rows
from program import kept_program

from lossmith.analysis import BASELINES

FIRST, DATA = 650, ("mnist", "cifar10")
RIVALS = tuple(name for name, family in BASELINES.items() if name != "MAE" and not family.noisy)
SMOOTHING = "label smoothing"
CLAIMS = ((RESIDUAL, REFERENCE), (RESIDUAL, SMOOTHING), (RESIDUAL, BEST), (BEST, REFERENCE))
UNCLAIMED = ((WIDER, REFERENCE), (WIDER, RESIDUAL), (SMOOTHING, REFERENCE))


def page(document: Row) -> list[str]:
    """The outcome as Markdown."""
    scores = Scores(document["runs"], CLEAN, RIVALS)
    hours = sum(row["seconds"] for row in scores.rows) / 3600
    return [
        f"# Right labels: a second chance, in {len(CLEAN)} settings with {len(scores.numbers)} numbers each",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}: {hours:.1f} hours of CPU time of",
        "tuning and searches. What is done and the claims, written down before the run, stand at the head of",
        "[`experiments/second.py`](../../experiments/second.py). Every run: [`runs.json`](runs.json).",
        "",
        *claims_table(scores, CLAIMS, UNCLAIMED),
        "",
        *accuracy_table(scores),
        "",
        *choice_table(scores),
        "",
        *cost_table(scores),
    ]


def found(given: argparse.Namespace) -> Row:
    """Every row of every setting and number."""
    halved(given.places["cifar10"], given.work)
    return {"runs": all_rows("second", given, FIRST, tuple(CLEAN), (*RIVALS[1:], *SPACES))}


if __name__ == "__main__":
    assert __doc__ is not None
    kept_program(__doc__, "second", DATA, ("searches", 5), found, page)
