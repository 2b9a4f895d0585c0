"""A table with a rare class: macro-F1, class weights, and a fair comparison.

    python examples/rare_class.py

One of twenty customers leaves. A network that always says "stays" is right 95 % of the time and of no use, so accuracy
is the wrong metric. The loss is evolved for macro-F1 with class weights, and compared with focal loss and balanced
cross-entropy, which get the same weights.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import lossmith


def customers(count: int = 2400, seed: int = 0) -> pd.DataFrame:
    """A made-up table: who leaves depends on three columns, and on chance."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "months": rng.integers(1, 72, count),
            "charge": rng.gamma(4, 15, count).round(2),
            "calls": rng.poisson(1.5, count),
            "contract": rng.choice(["monthly", "yearly", "two years"], count, p=[0.5, 0.3, 0.2]),
            "region": rng.choice(["north", "south", "east", "west"], count),
        }
    )
    pull = (
        0.03 * table["charge"] + 0.8 * table["calls"] - 0.05 * table["months"] + 1.5 * (table["contract"] == "monthly")
    )
    noise = rng.logistic(0, 0.7, count)
    table["status"] = np.where(pull + noise > np.quantile(pull + noise, 0.95), "leaves", "stays")
    return table


def main() -> None:
    """Write the table, evolve a loss for it, and print the comparison."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="rare-class-"))
    out.mkdir(parents=True, exist_ok=True)
    customers().to_csv(out / "customers.csv", index=False)
    result = lossmith.evolve(
        model="mlp",
        data=out / "customers.csv",
        target="status",
        metric="macro-f1",
        class_weight="balanced",
        out=out / "study",
        hidden=[32],
        epochs=10,
        population=8,
        generations=12,
        replicates=3,
        finalists=2,
        tune=False,
    )
    print(result)
    # The same on the command line: lossmith compare DIR/study/best.json --baselines focal label-smoothing --seeds 5
    print(result.compare(["focal", "label-smoothing"], seeds=5, effort="quick"))


if __name__ == "__main__":
    main()
