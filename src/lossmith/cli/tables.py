"""What the commands print of searches and comparisons: tables, and what to do next."""

import functools
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from rich.table import Table

from lossmith.analysis import OBJECTIVES, QUICK, UNNAMED, Comparison, Deciding, Distillation, Pair, Row
from lossmith.cli.console import NO_PROGRESS, WIDTH, output
from lossmith.code import is_code
from lossmith.errors import InputError, printable
from lossmith.losses import Loss, export
from lossmith.metrics import Difference
from lossmith.study import Distilled, Outcome, candidate_name

TESTED = ("the whole loss", "what is left")
LONGEST_WORD = len("cross-entropy")


def conclude_search(directory: Path, outcome: Outcome, pictures: Sequence[Path], page: Path | None) -> None:
    """Print the finalists and what to do with the winner."""
    console = output()
    console.print(finalists_table(outcome.provenance["finalists"], Deciding(**outcome.provenance["metric"])))
    console.print(noise_text(outcome.provenance["data"]["wrong_labels"]["validation"]), end="")
    console.print(attack_text(outcome.provenance["settings"], directory), end="", soft_wrap=True)
    console.print(f"\nThe winner: {outcome.loss!r}")
    console.print(f"Train with: lr = {outcome.provenance['lr']:g}, the rest as in the search")
    console.print(f"Pictures:   {', '.join(str(path) for path in pictures)}", soft_wrap=True)
    if page is not None:
        console.print(f"Report:     {page}", soft_wrap=True)
    own, best = own_code(outcome.provenance["settings"]), quote(str(directory / "best.json"))
    console.print(f"Compare:    lossmith compare {best}{own}", soft_wrap=True)
    console.print(f"Explain:    lossmith explain {best} cross-entropy", soft_wrap=True)
    console.print(f"Use it:     criterion = lossmith.Criterion({_text(directory / 'best.json')})", soft_wrap=True)
    if is_exported(outcome.loss):
        console.print(f"Export it:  lossmith export {best} --to torch > my_loss.py", soft_wrap=True)
    console.print(NO_PROGRESS, soft_wrap=True)


def is_exported(loss: Loss) -> bool:
    """Whether there is a module of a loss that needs PyTorch alone."""
    try:
        export(loss)
    except InputError:
        return False
    return True


def _text(path: Path) -> str:
    """A path as Python code."""
    return json.dumps(str(path), ensure_ascii=False)


def own_model(settings: dict[str, Any]) -> str:
    """The flag that a command takes to go on with a network of one's own; empty for another."""
    return _own(settings, "model", "name", "--model")


def own_code(settings: dict[str, Any]) -> str:
    """The flags that a command takes to go on with a network and a metric of one's own."""
    return own_model(settings) + _own(settings, "objective", "metric", "--metric")


def _own(settings: dict[str, Any], part: str, key: str, flag: str) -> str:
    name = settings.get(part, {}).get(key, "")
    return f" {flag} {quote(name)}" if is_code(name) else ""


def noise_text(share: float) -> str:
    """What a reader of validation figures must know where labels are wrong."""
    return f"Of the validation labels, too, {share:.1%} are wrong; the test's are clean.\n" if share else ""


def attack_text(settings: dict[str, Any], directory: Path) -> str:
    """How robust accuracy was measured, and that nobody has looked for gradient masking yet; empty without attacks."""
    objective = settings.get("objective", {})
    names = {objective.get("metric"), *objective.get("record", [])}
    if not any("robust-accuracy" in OBJECTIVES[name].figures for name in names if name in OBJECTIVES):
        return ""
    followed = {
        "worst": "three gradients, all of which an image must survive",
        "loss": "the gradient of the loss itself",
        "margin": "the gradient of the logit margin",
    }.get(objective["gradient"], "the gradient of cross-entropy")
    return (
        f"robust-accuracy: under FGSM, ε = {objective['epsilon']:g}, along {followed}. Signs of gradient masking were "
        f"not looked for; that does: lossmith attack cross-entropy {quote(str(directory / 'best.json'))} --epsilon 0 "
        f"{objective['epsilon']:g}{own_model(settings)}\n"
    )


def finalists_table(finalists: Sequence[dict[str, Any]], by: Deciding = UNNAMED) -> Table:
    """The finalists by their mean over fresh seeds.

    Args:
        finalists: As :func:`lossmith.report.summarize` has them.
        by: The metric that their fitness is.
    """
    table = Table(title="Finalists, trained again with fresh seeds", title_justify="left")
    table.add_column("loss")
    table.add_column("validation fitness" if by == UNNAMED else printable(by.called), justify="right")
    names = list(dict.fromkeys(name for row in finalists for name in row.get("figures", {})))
    others = [name for name in names if name != by.name]
    for name in others:
        table.add_column(printable(name), justify="right")
    rates = any(row.get("lr") is not None for row in finalists)
    if rates:
        table.add_column("lr", justify="right")
    table.add_column("n", justify="right")
    for row in sorted(finalists, key=lambda row: (row["status"] != "ok", -(row["mean"] or 0.0))):
        cells = [_spread(row, by.sign), *(_spread(row.get("figures", {}).get(name)) for name in others)]
        table.add_row(
            printable(candidate_name(row["name"], row.get("kind"))),
            *(cells if row["status"] == "ok" else [row["status"]] + [""] * len(others)),
            *(["–" if row.get("lr") is None else f"{row['lr']:.3g}"] if rates else []),
            str(row["n"]),
        )
    return table


def _spread(figure: dict[str, Any] | None, sign: float = 1.0) -> str:
    if figure is None or figure["mean"] is None:
        return "–"
    return f"{sign * figure['mean'] + 0.0:.4f}" + (f" ± {figure['std']:.4f}" if figure["std"] is not None else "")


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison: what each loss is worth, and the tests; two wide tables, or narrow ones if there is no room.

    Names and settings are broken into lines where they must be, numbers never.
    """
    console = output()
    wide = console.width >= WIDTH
    console.print(*worth_tables(comparison, wide), sep="\n")
    name = comparison.deciding.name
    console.print(
        "Learning rate and number of epochs of every loss are tuned on validation data, and the strength of a "
        "baseline; that of a loss that you give stays. The rows are in the "
        f"order of validation {name}. {decided_text(comparison)}Settings tried: {_tried(comparison)}. Mean ± standard "
        f"deviation of {len(comparison.rows[0].runs)} networks. NLL and ECE: negative log likelihood and "
        "calibration error on test data, before → after scaling by the temperature that is best on validation data.\n"
        + noise_text(comparison.wrong_labels)
        + guess_text(comparison)
        + (f"{QUICK}\n" if comparison.effort == "quick" else "")
    )
    console.print(*tests_tables(comparison, wide), sep="\n")
    console.print(
        f"Difference of mean test {name} with its 95 % interval, and one-tailed Welch p, Holm-corrected over all "
        f"{len(comparison.pairs)} tests; the unit is a network. p asks only whether the first is better: where it is "
        f"worse, p is near 1 even if the interval leaves out 0. Best baseline on validation data: "
        f"{comparison.best_baseline}.{leading_text(comparison)}{untested_text(comparison)}"
    )


def print_distillation(made: Distilled) -> None:
    """Print a distillation: what each term was worth in each round, and the smallest loss on test data."""
    console, found = output(), made.distillation
    console.print(distillation_table(found))
    validation, whole = found.deciding.column("validation"), found.whole
    console.print(
        f"Mean ± standard deviation of {len(whole.row.runs)} fresh networks on validation data, {found.deciding.name}, "
        "and by how much the whole loss is better (Welch; the unit is a network; the intervals of a round hold "
        "together at 95 %, by Bonferroni's correction). "
        f"The whole loss has {_number(whole.row.mean(validation), whole.row.std(validation))}. A term may go if the "
        f"interval ends at {found.margin:g} or below; learning rate, epochs and the other coefficients of each row are "
        "tuned again.\n" + noise_text(made.wrong_labels)
    )
    if found.without_effect:
        console.print(f"Without effect from the start: {', '.join(found.without_effect)}.")
    smallest = found.smallest
    console.print(
        f"\nLeft: φ = {made.loss.formula()} ({smallest.terms} of {whole.terms} terms), {smallest.row.setting}"
    )
    test = found.deciding.column("test")
    told = [f"{name} {_number(row.mean(test), row.std(test))}" for name, row in zip(TESTED, found.tested, strict=False)]
    worth = ""
    if found.worth is not None and len(told) > 1:
        within = "within the margin" if found.worth.high <= found.margin else "not shown to be within the margin"
        worth = f"; the whole one is better by {_interval(found.worth)}, {within}"
    console.print(f"On test data, touched once in a run: {', '.join(told)}{worth}.")


def distillation_table(found: Distillation) -> Table:
    """What was left out, round by round; what was gone on with is bold."""
    table = Table(title="Terms left out", title_justify="left")
    for name, justify in (("terms", "right"), ("without", "left"), ("tuned to", "left"), ("validation", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("the whole loss is better by", justify="right", no_wrap=True)
    column = found.deciding.column("validation")
    for trials, taken in zip(found.rounds, found.taken, strict=True):
        table.add_section()
        for place, trial in enumerate(trials):
            table.add_row(
                str(trial.terms),
                ", ".join(trial.dropped),
                trial.row.setting,
                _number(trial.row.mean(column), trial.row.std(column)),
                "–" if trial.worth is None else _interval(trial.worth),
                style="bold" if place == taken else None,
            )
    return table


def _interval(found: Difference) -> str:
    return f"{found.difference + 0.0:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def decided_text(comparison: Comparison) -> str:
    """What decides a comparison, where that is not accuracy."""
    deciding = comparison.deciding
    if deciding == Deciding():
        return ""
    better = "more" if deciding.higher_is_better else "less"
    return (
        f"{deciding.name} decides, of which {better} is better: all are tuned for it, ranked by it and tested on it; "
        "accuracy stands beside it. "
    )


def guess_text(comparison: Comparison) -> str:
    """A line that says what who has learned nothing gets on test data, and which losses are no better."""
    said = comparison.without_learning
    return f"{said}\n" if said else ""


def leading_text(comparison: Comparison) -> str:
    """That a baseline is ahead of all given losses on validation data, where one is."""
    given = [row for row in comparison.rows if not row.baseline]
    leader, figure = comparison.rows[0], comparison.deciding.column("validation")
    ahead = leader.baseline and given and leader.mean(figure) != given[0].mean(figure)
    return f" It is ahead of {given[0].name} there: take it, or search on." if ahead else ""


def untested_text(comparison: Comparison) -> str:
    """Losses that no test could be made of."""
    test = comparison.deciding.column("test")
    names = [row.name for row in comparison.rows if None in row.column(test)]
    return f" No tests of {', '.join(names)}: a network's {comparison.deciding.name} is not finite." if names else ""


Column = tuple[str, Callable[[Row], str]]


def worth_tables(comparison: Comparison, wide: bool) -> list[Table]:
    """Settings, deciding figure, accuracy and calibration of each loss."""
    deciding = comparison.deciding
    validation, test = deciding.column("validation"), deciding.column("test")
    worth: list[Column] = [
        ("tuned to", lambda row: row.setting),
        ("validation", lambda row: _number(row.mean(validation))),
        ("test", lambda row: _number(row.mean(test), row.std(test))),
    ]
    if deciding != Deciding():
        worth.append(("test accuracy", lambda row: _number(row.mean("test"), row.std("test"))))
    calibration: list[Column] = [
        ("NLL", lambda row: f"{_known_mean(row, 'nll')} → {_known_mean(row, 'nll_scaled')}"),
        ("ECE", lambda row: f"{_known_mean(row, 'ece')} → {_known_mean(row, 'ece_scaled')}"),
    ]
    if wide:
        return [_table(comparison, f"Test {deciding.name} and calibration", [*worth, *calibration])]
    return [_table(comparison, f"Test {deciding.name}", worth), _table(comparison, "Calibration", calibration)]


def tests_tables(comparison: Comparison, wide: bool) -> list[Table]:
    """Every test of the comparison: each loss against cross-entropy, and each given loss against every baseline."""
    given = [row.name for row in comparison.rows if not row.baseline]
    columns = [_tests("minus cross-entropy", lambda name: comparison.pair(name, "cross-entropy"))]
    columns += [_tests(f"{one} minus this loss", functools.partial(comparison.pair, one)) for one in given]
    if wide and len(given) == 1:
        return [_table(comparison, "Tests", list(itertools.chain(*columns)))]
    return [_table(comparison, "" if number else "Tests", pair) for number, pair in enumerate(columns)]


def _tests(title: str, find: Callable[[str], Pair | None]) -> list[Column]:
    def difference(row: Row) -> str:
        pair = find(row.name)
        if pair is None:
            return ""
        return _interval(pair.result)

    def p(row: Row) -> str:
        pair = find(row.name)
        return "" if pair is None else f"{pair.holm:.2g}"

    return [(title, difference), ("p", p)]


def _table(comparison: Comparison, title: str, columns: Sequence[Column]) -> Table:
    table = Table(title=title or None, title_justify="left")
    table.add_column("loss", min_width=LONGEST_WORD, overflow="fold")
    for name, _ in columns:
        number = name != "tuned to"
        table.add_column(name, justify="right" if number else "left", no_wrap=number and "minus this" not in name)
    for row in comparison.rows:
        table.add_row(row.name, *(cell(row) for _, cell in columns), style=None if row.baseline else "bold")
    return table


def _tried(comparison: Comparison) -> str:
    baselines = [row.tried for row in comparison.rows if row.baseline]
    given = [f"{row.tried} for {row.name}" for row in comparison.rows if not row.baseline]
    return ", ".join([*given, f"{min(baselines)} to {max(baselines)} for a baseline"])


def _number(mean: float, std: float | None = None) -> str:
    if not math.isfinite(mean):
        return "–"
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def _known_mean(row: Row, name: str) -> str:
    known = [value for value in row.column(name) if value is not None]
    return f"{sum(known) / len(known):.3f}" if known else "–"
