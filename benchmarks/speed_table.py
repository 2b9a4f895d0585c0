"""The tables of speed and growth that docs/speed.md and docs/scale.md show, from the kept figures of the benchmarks.

python benchmarks/speed_table.py [results/benchmarks]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from machine import ranged

from lossmith.training import Backend

NAMES = {
    "mlp": "MLP 64-128-10, digits",
    "conv": "small convolutional net, digits",
    "mnist-cnn": "MNIST CNN, 28×28",
    "allcnn-c": "AllCNN-C, 32×32",
    "preresnet-20": "PreResNet-20, 32×32",
    "wrn-16-8": "WRN-16-8, 32×32",
}


def candidates(document: dict[str, Any]) -> list[str]:
    """What a candidate costs: the ordinary loops against lossmith's fastest backend."""
    lines = [
        "| network | fastest backend | against the ordinary loop with `DataLoader` | against the same loop without |",
        "|---|---|---|---|",
    ]
    for model, found in document["models"].items():
        backend = found["fastest_way"]
        cells = [ranged(found["against"][name][backend]).strip() for name in ("ordinary", "ordinary, indexed")]
        # Figures of version 0.1 have its names of backends.
        lines.append(f"| {NAMES[model]} | {Backend.parse(backend)} | {' | '.join(cells)} |")
    return lines


JAX = {"": "against-jax.json", ", without a compiler": "against-jax-no-compiler.json"}
ROOFLINES = {
    "roofline.json": {"sequential": "`sequential`", "vmap": "`vmap`", "mlp": "`mlp`, compiled"},
    "roofline-no-compiler.json": {"mlp": "`mlp`, without a compiler"},
    "roofline-conv.json": {
        "sequential": "`sequential`",
        "sequential-channels-last": "`sequential-channels-last`",
        "vmap": "`vmap`",
        "cnn": "`cnn`",
    },
    "roofline-mnist-cnn.json": {
        "sequential": "`sequential`",
        "sequential-channels-last": "`sequential-channels-last`",
        "vmap": "`vmap`",
        "cnn": "`cnn`",
    },
    "roofline-preresnet-20.json": {
        "sequential": "`sequential`",
        "sequential-channels-last": "`sequential-channels-last`",
        "vmap": "`vmap`",
    },
}
COSTS = ("seconds", "bytes")
GROWING = {
    "population": "population, a step",
    "classes": "classes, a step",
    "batch": "batch, a step",
    "candidates": "candidates, a search",
    "workers": "worker processes, a search",
}
LOSSES = {
    "residual": "`residual`, all terms",
    "taylor": "TaylorGLO, the paper's for MNIST",
    "cross-entropy": "cross-entropy",
}


USES = {
    "eager": "eager",
    "compiled": "both compiled",
    "class_weights": "class weights",
    "class_probabilities": "class probabilities",
    "no_gradient": "value alone, `no_grad`",
}


def losses(document: dict[str, Any]) -> list[str]:
    """What a criterion costs at many classes and at few, against PyTorch's cross-entropy."""
    lines = [f"| loss | {' | '.join(USES.values())} |", "|---" * (len(USES) + 1) + "|"]
    for part in ("classes", "few"):
        for name, called in LOSSES.items():
            found = document[part][name]
            cells = [ranged(found[use]).strip() if use in found else "–" for use in USES]
            lines.append(f"| {called}, {document[part]['classes']:,} classes | {' | '.join(cells)} |")
    return lines


def searches(document: dict[str, Any]) -> str:
    """A whole search against Optuna's, as a line."""
    settings = document["settings"]
    # Version 0.1 called it "model".
    model = settings["model"].get("name") or settings["model"]["model"]
    return (
        f"| {NAMES[model]}, {document['networks']} networks of {settings['recipe']['epochs']} epochs | "
        f"{ranged(document['search']).strip()} | {ranged(document['search_indexed_scaled']).strip()} |"
    )


def growth(document: dict[str, Any]) -> list[str]:
    """How time and memory grow with each quantity: exponents, and time and memory of the largest."""
    lines = ["| grows | from, to | time grows by | memory grows by | time, memory at most |", "|---|---|---|---|---|"]
    for quantity in GROWING:
        if (found := document.get(quantity)) is None:
            continue
        first, *_, last = found["points"] if len(found["points"]) > 1 else found["points"] * 2
        powers = [powered(found[f"{cost}_exponent"], found[f"{cost}_exponent_at_the_end"]) for cost in COSTS]
        most = f"{last['seconds'] * 1e3:,.2f} ms, {last['bytes'] / 2**20:,.0f} MiB"
        lines.append(f"| {GROWING[quantity]} | {first['size']}, {last['size']} | {' | '.join(powers)} | {most} |")
    return lines


def powered(whole: float | None, end: float | None) -> str:
    """An exponent over all points, and between the last two."""
    if whole is None or end is None:
        return "–"
    return f"size^{whole:.2f}; at the end ^{end:.2f}"


def driver(document: dict[str, Any]) -> list[str]:
    """What a candidate costs the driver of a study, by the size of a generation."""
    sizes = [row["population"] for row in document["engine"]]
    runs = {(row["population"], row["chunk"]): row for row in document["driver"]}
    few, *_, many = sorted({chunk for _, chunk in runs})
    micro = 1e6
    rows = {
        "engine (CMA-ES), ask and tell": [micro * row["engine"] for row in document["engine"]],
        "losses and both forms of the invariant": [micro * row["checks"] for row in document["engine"]],
        "row in SQLite, a transaction each": [micro * runs[size, few]["writing"] for size in sizes],
        "the whole driver, without messages": [micro * runs[size, few]["whole"] for size in sizes],
        f"the same with chunks of {many}": [micro * runs[size, many]["whole"] for size in sizes],
    }
    lines = [
        f"| per candidate | {' | '.join(f'population {size:,}' for size in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    lines += [f"| {name} | {' | '.join(f'{value:.0f} µs' for value in values)} |" for name, values in rows.items()]
    stored = " | ".join(f"{runs[size, few]['bytes']:.0f}" for size in sizes)
    return [*lines, f"| bytes in the database | {stored} |"]


def workers(document: dict[str, Any]) -> list[str]:
    """What worker processes gain, on idle cores and on busy ones."""
    lines = ["| a search, ratio of times | median (lowest–highest) |", "|---|---|"]
    return lines + [f"| {name} | {ranged(pair).strip()} |" for name, pair in document["ratios"].items()]


def large(document: dict[str, Any]) -> list[str]:
    """What a study with many candidates costs who comes back to it."""
    show, again, held = document["show"], document["again"], document["bytes_held"]
    rows = {
        "`lossmith show`, the whole process": f"{show['all']:.1f} s",
        "the same of a study of two generations": f"{show['two generations']:.1f} s",
        "its report": f"{document['report']['all']:.1f} s",
        "the same where all of them are different formulas": f"{document['report']['formulas']:.1f} s",
        "to open it again": f"{again['open']:.1f} s",
        "its next candidates, which replays the search": f"{again['candidates']:.1f} s",
        "to tell one generation more": f"{1000 * again['tell']:.0f} ms",
        "memory after a tenth of the generations": f"{held['early'] / 2**20:.0f} MiB",
        "memory at their end": f"{held['end'] / 2**20:.0f} MiB",
        "file": f"{document['file_bytes'] / 2**20:.1f} MiB",
    }
    head = f"{document['candidates']:,} candidates in {held['generations']:,} generations"
    return [f"| {head} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def jax(documents: dict[str, Any]) -> list[str]:
    """The perceptrons against the same population in JAX, by what is said of the compiler."""
    lines = ["| MLP 64-128-10, digits | lossmith, a candidate | JAX, `vmap` | JAX, `map` |", "|---|---|---|---|"]
    for said, document in documents.items():
        for clock in ("CPU time, one core", "wall time, two cores"):
            found = document[clock]
            cells = [ranged(found["against"][way]).strip() for way in ("vmap", "map")]
            lines.append(f"| {clock}{said} | {found['seconds']['lossmith'] * 1e3:.2f} ms | {' | '.join(cells)} |")
    return lines


def roofline(document: dict[str, Any], called: dict[str, str]) -> list[str]:
    """What some engines reach of the machine, as the beginnings of lines.

    Args:
        document: The figures.
        called: What engines are called.
    """
    rows = {name: document["engines"][name] for name in called}
    return [
        f"| {called[name]} | {row['seconds'] * 1e6:.1f} | {row['rate'] / 1e9:.1f} | {100 * row['share']:.1f} % |"
        for name, row in rows.items()
    ]


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/benchmarks"))
    folder = parser.parse_args().folder
    print("\n".join(candidates(json.loads((folder / "candidate-cost.json").read_text()))))
    print("\n".join(losses(json.loads((folder / "loss-cost.json").read_text()))))
    print("\n".join(growth(json.loads((folder / "growth.json").read_text()))))
    print("\n".join(driver(json.loads((folder / "driver_cost.json").read_text()))))
    print("\n".join(workers(json.loads((folder / "workers.json").read_text()))))
    print("\n".join(large(json.loads((folder / "large-study.json").read_text()))))
    print("\n".join(jax({said: json.loads((folder / name).read_text()) for said, name in JAX.items()})))
    for name, called in ROOFLINES.items():
        print("\n".join(roofline(json.loads((folder / name).read_text()), called)))
    for path in sorted(folder.glob("against-optuna*.json")):
        print(searches(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
