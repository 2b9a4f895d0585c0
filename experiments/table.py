"""The table of a kept comparison as Markdown, as docs/worth.md shows it.

python experiments/table.py results/noisy-digits/0
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any


def table(document: dict[str, Any]) -> str:
    """Losses by validation accuracy, with the tests of the evolved loss against each."""
    given = next(row["name"] for row in document["rows"] if not row["baseline"])
    pairs = {(pair["first"], pair["second"]): pair for pair in document["pairs"]}
    count = len(document["rows"][0]["runs"])
    lines = [
        f"| loss | tuned to | test accuracy, {count} networks | gain of {given}, 95 % | p (Holm) |",
        "|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        scores = [100 * run["test"] for run in row["runs"]]
        setting = ", ".join([*filter(None, [row["strengths"]]), f"lr {row['lr']:.2g}", f"{row['stop']} epochs"])
        name = row["name"] if row["baseline"] else f"**{row['name']}**"
        text = f"{statistics.mean(scores):.1f} ± {statistics.stdev(scores):.1f} %"
        pair = pairs.get((given, row["name"]))
        gap = tail = ""
        if pair is not None:
            result = pair["result"]
            # Rounded first, so that nothing is −0.0.
            low, middle, high = (round(100 * result[key], 1) + 0.0 for key in ("low", "difference", "high"))
            gap, tail = f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]", f"{pair['holm']:.1g}"
        lines.append(f"| {name} | {setting} | {text if row['baseline'] else f'**{text}**'} | {gap} | {tail} |")
    return "\n".join(lines)


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="directory with a comparison.json")
    folder = parser.parse_args().folder
    print(table(json.loads((folder / "comparison.json").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
