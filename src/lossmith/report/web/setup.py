"""How it was made, how it is made again, and what can be taken along."""

from __future__ import annotations

import base64
import csv
import io
from shlex import quote
from typing import Any

from lossmith.analysis import Comparison
from lossmith.code import is_code
from lossmith.errors import InputError, printable
from lossmith.io import read_regular
from lossmith.losses import export
from lossmith.markup import Child, element, joined
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Findings
from lossmith.report.web.glosses import TRAININGS
from lossmith.report.web.parts import folded, settings_rows, table

LARGEST_DOWNLOAD = 2**18
SEEDS = (("search", "seed"), ("data", "split_seed"), ("data", "noise_seed"))
FORMULA = (*"=+-@", *"＝＋－＠", "\t", "\r")


def setup_section(found: Findings) -> Section:
    """Settings, seeds, versions, and the commands that make it again."""
    settings: dict[str, Any] = found.summary["settings"] or found.behind.get("settings") or {}
    options = found.behind.get("options") or {}
    content: list[Child] = [*_again(found, settings, options)]
    seeds = [
        [f"{part}.{name}", str(settings[part][name])]
        for part, name in SEEDS
        if isinstance(settings.get(part), dict) and settings[part].get(name) is not None
    ]
    seeds += [["comparison seed", str(options["comparison_seed"])]] if "comparison_seed" in options else []
    versions = [[name, version] for name, version in found.versions.items()]
    content += [table("Seeds", ["seed", "value"], seeds)] if seeds else []
    content += [table("Versions that the study began with", ["package", "version"], versions)] if versions else []
    if found.provenance.training is not None:
        content.append(element("p", _engine(found.provenance.training), class_="note"))
    for name, value in (*settings.items(), ("comparison", options)):
        rows = [[key, text] for key, text in settings_rows(value) if text]
        if rows and isinstance(value, dict):
            content.append(folded(f"Settings: {name}", table(f"Settings of {name}", ["setting", "value"], rows)))
    return Section("setup", "How it was made", joined(content))


def _engine(training: str) -> str:
    """How networks were trained, as the flag calls it and in words."""
    how = next((words for name, words in TRAININGS.items() if training.startswith(name)), "")
    return f"How networks were trained (--training): {training}{f', {how}' if how else ''}."


def _again(found: Findings, settings: dict[str, Any], options: dict[str, Any]) -> list[Child]:
    """The commands that repeat a study; of one that began in Python, what is needed besides."""
    if "train" in settings or "classes" in settings:
        function = settings.get("train", {}).get("function") if isinstance(settings.get("train"), dict) else None
        what = f"the training function {function}" if function else "your own program"
        call = f"lossmith.evolve(train=…, classes={found.classes}, out=…)" if function else "lossmith.Study(…)"
        return [
            element(
                "p",
                f"The study was made in Python with {what}. To repeat it, give the settings below to ",
                element("code", call),
                ".",
            )
        ]
    if not (found.directory / "study.toml").exists():
        return []
    objective = settings.get("objective")
    function = objective.get("function") if isinstance(objective, dict) else None
    if function is not None:
        return [
            element(
                "p",
                "The search maximized ",
                element("code", f"{function}()"),
                ", a function of the Python program that began it, which no file and no command can name: study.toml "
                "has another metric in its place. To repeat it, run that program again, which calls ",
                element("code", f"lossmith.evolve(…, metric={function}, out=…)"),
                ".",
            )
        ]
    own = "".join(
        f" {flag} {quote(str(value))}"
        for flag, part, key in (("--model", "model", "name"), ("--metric", "objective", "metric"))
        if isinstance(settings.get(part), dict) and is_code(str(value := settings[part].get(key, "")))
    )
    lines = [f"lossmith evolve study.toml --out again{own}"]
    if found.comparison is not None:
        given = [
            f" --{name} {quote(str(options[name]))}" for name in ("effort", "seeds") if options.get(name) is not None
        ]
        chosen = options.get("baselines")
        given += (
            [f" --baselines {' '.join(quote(str(one)) for one in chosen)}"]
            if isinstance(chosen, list) and chosen
            else []
        )
        lines.append(f"lossmith compare again/best.json{''.join(given)}{own}")
    return [
        element("p", "To repeat it, take ", element("code", "study.toml"), " from the downloads, and the same data:"),
        element("pre", "\n".join(map(printable, lines))),
        element(
            "p",
            "Rounding differs between versions and machines, so there the search may end at another loss.",
            class_="note",
        ),
    ]


def downloads_section(found: Findings) -> Section | None:
    """Files that the page carries; None where there is none."""
    files: list[tuple[str, str, bytes]] = []
    if found.winner is not None:
        files += _kept(found, "best.json", "the loss and where it comes from, for lossmith.Criterion")
        try:
            text = export(found.winner, weight=found.provenance.class_weight)
        except InputError:
            # There is no module of every kind: of one that changes during the training, or whose code is the user's.
            text = ""
        files += [("my_loss.py", "a PyTorch module that needs PyTorch alone", text.encode())] if text else []
    files += _kept(found, "study.toml", "every setting of the study")
    if found.comparison is not None:
        files.append(
            ("comparison.csv", "every network of the comparison, one a row", runs_csv(found.comparison).encode())
        )
    items = [
        element("li", element("a", name, href=_address(name, content), download=name), element("span", what))
        for name, what, content in files
        if len(content) <= LARGEST_DOWNLOAD
    ]
    large = [name for name, _, content in files if len(content) > LARGEST_DOWNLOAD]
    note = (
        element("p", f"Too large for this page, but in the folder of the study: {', '.join(large)}.", class_="note")
        if large
        else None
    )
    if not items and note is None:
        return None
    return Section("downloads", "Downloads", joined([element("ul", items, class_="downloads"), note]))


def _kept(found: Findings, name: str, what: str) -> list[tuple[str, str, bytes]]:
    path = found.directory / name
    # A link may lead to a file that is nobody's business where the page goes.
    return [(name, what, read_regular(path))] if path.is_file() and not path.is_symlink() else []


def _address(name: str, content: bytes) -> str:
    kind = {"json": "application/json", "csv": "text/csv"}.get(name.rpartition(".")[2], "text/plain")
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(content).decode()}"


def runs_csv(comparison: Comparison) -> str:
    """Every network of a comparison, a row each. A text that a spreadsheet would calculate with is quoted."""
    columns = list(dict.fromkeys(name for row in comparison.rows for run in row.runs for name in run))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["loss", "baseline", "lr", "epochs", *map(_cell, columns)])
    for row in comparison.rows:
        for run in row.runs:
            head = [_cell(row.name), row.baseline, row.lr, row.stop]
            writer.writerow([*head, *(_cell(run.get(name)) for name in columns)])
    return text.getvalue()


def _cell(value: Any) -> Any:
    # Some spreadsheets pass over white space before a formula.
    if isinstance(value, str) and (value.startswith(FORMULA) or value.lstrip().startswith(FORMULA)):
        return f"'{value}"
    return value
