"""The figures of `benchmarks/gpu.py` as text.

python benchmarks/gpu_report.py results/benchmarks/gpu.json
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import ranged
from speed_table import NAMES

Row = dict[str, Any]
MIB = 2**20
# Columns, and the backends of each.
WAYS = {
    "one by one": ("sequential",),
    "channels last": ("sequential-channels-last",),
    "population": ("population",),
    "one by one, compiled": ("sequential-compiled", "sequential-channels-last-compiled"),
    "population, compiled": ("vmap-compiled",),
}


def report(document: dict[str, Any]) -> list[str]:
    """The figures as lines: what trains, costs, candidates an hour, memory, tests, and what was left out."""
    parts = document["parts"]
    rows = [row for part in parts.values() for row in part["rows"]]
    of = {what: [row for row in rows if row["what"] == what] for what in dict.fromkeys(row["what"] for row in rows)}
    lines = heading(document)
    lines += [*training(of.get("trains", [])), *ratios(of.get("ratio", []), of.get("compiled", []))]
    lines += [*memory(of.get("memory", [])), *hours(of.get("hour", []))]
    lines += [*tests(of.get("test", []), of.get("reason", [])), *left_out(parts, rows)]
    return lines


def heading(document: dict[str, Any]) -> list[str]:
    """The machine."""
    machine, gpu = document["machine"], document["gpu"]
    where = f"{machine['device']}, torch {machine['torch']}"
    if gpu is not None:
        where += f", {gpu['memory_bytes'] / 2**30:.0f} GiB, CUDA {gpu['cuda']}"
    lines = [f"{where}: {document['seconds']:.0f} s of {document['allowed_seconds']:.0f}"]
    if document["data"] is not None:
        lines.append(f"The images of {document['data']} stand for those of every network.")
    if document["tiny"]:
        lines.append("Tiny: this shows that the program works; its figures say nothing.")
    return lines


def label(row: Row) -> str:
    """What a row was measured of."""
    named = [row.get("model"), row.get("backend"), row.get("precision")]
    return ", ".join(word for word in named if word)


def training(rows: list[Row]) -> Iterator[str]:
    """How many short trainings went well, and which did not."""
    if not rows:
        return
    right = [row for row in rows if row.get("moved") and row.get("finite")]
    models = len({row["model"] for row in rows})
    yield f"{len(right)} of {len(rows)} short trainings went well ({models} networks, each in every way)"
    for row in rows:
        if "error" not in row and row not in right:
            yield f"  {label(row)}: {'weights stayed' if row['finite'] else 'not finite'}"


def ratios(rows: list[Row], compiled: list[Row]) -> Iterator[str]:
    """What a candidate costs: the ordinary loop with ``DataLoader`` against each way, and its fastest against the best.

    A compiled way was measured beside loops of its own.
    """
    shown = [row for row in (*rows, *compiled) if "against" in row]
    if not shown:
        return
    yield "how many times as fast as the ordinary loop with `DataLoader` a candidate is; the fastest against the best"
    yield f"| network | precision | {' | '.join(WAYS)} | fastest, ms a batch | against the best loop |"
    yield f"|---|---|{'---|' * len(WAYS)}---|---|"
    for model, precision in dict.fromkeys((row["model"], row["precision"]) for row in shown):
        group = [row for row in shown if (row["model"], row["precision"]) == (model, precision)]
        ratios = {name: pair["ratio"] for row in group for name, pair in row["against"]["ordinary"].items()}
        cells = [" / ".join(f"{ratios[name]:.2f}" for name in names if name in ratios) for names in WAYS.values()]
        best = min(group, key=batch_seconds)
        loop = min(best["against"], key=best["seconds"].__getitem__)
        fastest = f"{batch_seconds(best) * 1e3:.3f}, {best['fastest_way']}"
        against = f"{ranged(best['against'][loop][best['fastest_way']])}, {loop}"
        yield f"| {NAMES.get(model, model)} | {precision} | {' | '.join(cells)} | {fastest} | {against} |"


def batch_seconds(row: Row) -> float:
    """Seconds of a batch and candidate in the fastest way of a row."""
    return float(row["seconds"][row["fastest_way"]] / row["size"]["steps"])


def memory(rows: list[Row]) -> Iterator[str]:
    """The peak of memory: the plainest ordinary loop, and a population."""
    shown = [row for row in rows if "peak_bytes" in row and row["peak_bytes"]["ordinary"] is not None]
    if not shown:
        return
    yield "| network | precision | ordinary loop, MiB | population, MiB | candidates | at once |"
    yield "|---|---|---|---|---|---|"
    for row in shown:
        alone, together = (row["peak_bytes"][name] / MIB for name in ("ordinary", "population"))
        name = NAMES.get(row["model"], row["model"])
        sizes = f"{row['population']} | {row['at_once']}"
        yield f"| {name} | {row['precision']} | {alone:.0f} | {together:.0f} | {sizes} |"


def hours(rows: list[Row]) -> Iterator[str]:
    """Candidates an hour."""
    for row in rows:
        if "candidates_an_hour" in row:
            yield (
                f"{label(row)}: {row['candidates_an_hour']:,.0f} candidates an hour at a tenth of the schedule "
                f"({row['batches']} batches; {row['fastest_way']}, {row['population']} at once; extrapolated, not run)"
            )


def tests(rows: list[Row], reasons: list[Row]) -> Iterator[str]:
    """The outcomes of the tests, and why some failed."""
    if not rows:
        return
    counts = Counter(row["outcome"] for row in rows)
    yield f"tests: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}"
    why = {row["test"]: row["reason"] for row in reasons}
    for row in rows:
        if row["outcome"] in ("failed", "error"):
            yield f"  {row['test']} {row['outcome']}: {why.get(row['test'], 'its reason was not told')}"


def left_out(parts: dict[str, Any], rows: list[Row]) -> Iterator[str]:
    """What has no figure: rows that failed or did not fit, and parts that were cut or skipped."""
    for row in rows:
        if "error" in row:
            yield f"failed: {row['what']}, {label(row)}: {row['error']}"
    missing = [f"{name} ({part['status']}: {part['reason']})" for name, part in parts.items() if "reason" in part]
    missing += [f"{name} (did not end)" for name, part in parts.items() if part["status"] == "running"]
    missing += [f"{row['what']}, {label(row)} ({row['skipped']})" for row in rows if "skipped" in row]
    if missing:
        yield f"not or not wholly measured: {'; '.join(missing)}"


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, nargs="?", default=Path("results/benchmarks/gpu.json"))
    print("\n".join(report(json.loads(parser.parse_args().file.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
