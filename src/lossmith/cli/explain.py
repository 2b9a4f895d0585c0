"""``lossmith explain``: what the theory says of any loss, on one page."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lossmith.cli.arguments import OptionalFile, Switch, parse
from lossmith.cli.console import output
from lossmith.errors import InputError
from lossmith.losses import NAMES, Loss, common_classes, find_all, latex
from lossmith.theory import EPSILONS, Explanation, Zone, explain

CLASSES = 10
SEVERAL = (2, 3, 10, 100)
PAPER = (("cross-entropy", SEVERAL), ("paper/allcnnc", (10,)), ("mse", SEVERAL), ("baikal", (10,)))
STRIP = 40
SIGNS = {1: ("+", "green"), -1: ("−", "red"), 0: ("·", "dim")}
DOES = {1: "attracts", -1: "repels", 0: "has no effect"}


@dataclass(frozen=True)
class Explain:
    """Explain losses by the theory: how they start to train, where they pull and push, what in them is without effect.

    A LOSS is a loss file (best.json of a study), a name with its parameter (cross-entropy, mse, baikal, mae, poly:1,
    focal:2, gce:0.7, label-smoothing:0.1, taylor-ce, paper/allcnnc, paper/mnist), or λ in quotes
    ("0, 0, 0, -1, 0, 2, 0, 0"). Several are shown side by side.

    example:  lossmith explain paper/mnist cross-entropy --figure explained.png
    """

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """What is explained."""
    classes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="")] = ()
    """Numbers of classes; without it, that of the loss files, or 10."""
    epsilon: Annotated[tuple[float, ...], tyro.conf.arg(metavar="ε ...", help_behavior_hint="")] = EPSILONS
    """Deviations from zero error, in (0, 1), at which the strength of attraction is printed."""
    figure: OptionalFile = None
    """Draw attraction, learning rule, loss and gradient to this file (.png, .svg or .pdf)."""
    figure3: OptionalFile = None
    """Draw figure 3 to this file: attraction as published and exact, a panel for each loss; without a LOSS, the four
    losses of the paper."""
    latex: Switch = False
    """Print LaTeX of the losses and their learning rules, and nothing else."""
    json: Switch = False
    """Print the page as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parse(Explain, [_bracketed(word) for word in arguments], "explain")
    if not given.losses and given.figure3 is None:
        raise InputError(f"no loss is given; name a loss file, λ, or one of {', '.join(NAMES)}")
    if repeated := next((n for n in given.classes if given.classes.count(n) > 1), None):
        raise InputError(f"--classes names {repeated} twice; leave one out")
    numbers = given.classes or (common_classes(given.losses) or CLASSES,)
    pairs = [(loss, n) for n in numbers for loss in find_all(given.losses, n)]
    pages = [explain(loss, n, given.epsilon) for loss, n in pairs]
    pictures = _draw(given, pairs)
    if given.latex:
        _print_latex([loss for loss, _ in pairs])
    elif given.json:
        document = {"losses": [page.to_json() for page in pages], "pictures": [str(path) for path in pictures]}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        console = output()
        if pages:
            console.print(page_table(pages), strength_table(pages), sep="\n")
        for path in pictures:
            console.print(f"Picture: {path}", soft_wrap=True)


def _bracketed(word: str) -> str:
    """λ that begins with a minus sign, which would read as a flag, in brackets."""
    return f"[{word}]" if word.startswith("-") and ("," in word or " " in word.strip()) else word


def _draw(given: Explain, pairs: Sequence[tuple[Loss, int]]) -> list[Path]:
    if given.figure is None and given.figure3 is None:
        return []
    from lossmith.report import attraction_curve, loss_shape, plot_explanation, plot_figure3, rule_curve, save_figure
    from lossmith.report.figures import checked_kind

    wanted = [path for path in (given.figure, given.figure3) if path is not None]
    for path in wanted:
        checked_kind(path)
    if given.figure is not None:
        if not pairs:
            raise InputError("--figure draws the losses that are given; name at least one")
        parts = [[make(loss, n) for loss, n in pairs] for make in (attraction_curve, rule_curve, loss_shape)]
        save_figure(plot_explanation(*parts), given.figure)  # type: ignore[arg-type]
    if given.figure3 is not None:
        losses = [(name, given.classes or several) for name, several in PAPER]
        if given.losses:
            losses = [(name, given.classes or (common_classes(given.losses) or CLASSES,)) for name in given.losses]
        panels = [[attraction_curve(find_all([name], n)[0], n) for n in several] for name, several in losses]
        save_figure(plot_figure3(panels), given.figure3)
    return wanted


def _print_latex(losses: Sequence[Loss]) -> None:
    for loss in losses:
        made = latex(loss)
        sys.stdout.write(f"% {loss.name}\n{made.loss}\n{made.rule}\n")


Cell = Callable[[Explanation], str | Text | Group]


def page_table(pages: Sequence[Explanation]) -> Table:
    """The page: a row for each quantity, a column for each loss."""
    several = len({page.classes for page in pages}) > 1
    table = Table(title_justify="left", show_header=True, padding=(0, 1), expand=False)
    table.add_column("", style="bold", no_wrap=True)
    for page in pages:
        table.add_column(f"{page.name}, n = {page.classes}" if several or len(pages) == 1 else page.name)
    for title, rows in SECTIONS:
        shown = [(name, [cell(page) for page in pages]) for name, cell in rows]
        shown = [(name, cells) for name, cells in shown if any(str(cell) for cell in cells)]
        if shown:
            table.add_row(Text(title, style="bold underline"))
            for name, cells in shown:
                table.add_row(f"  {name}", *(cell or "–" for cell in cells))
            table.add_section()
    return table


def strength_table(pages: Sequence[Explanation]) -> Table:
    """Strength of attraction at some ε."""
    table = Table(
        title="One step of the logits: change of the target's output, and of the entropy", title_justify="left"
    )
    table.add_column("ε", justify="right")
    table.add_column("h_T", justify="right")
    for page in pages:
        name = page.name if len(pages) > 1 else "target's output"
        table.add_column(f"{name}\nexact", justify="right")
        table.add_column("\nas published", justify="right")
        table.add_column("\nentropy", justify="right")
    for number, epsilon in enumerate(pages[0].strength["epsilon"]):
        cells = [
            _number(page.strength[name][number], "+.4g") for page in pages for name in ("exact", "published", "entropy")
        ]
        table.add_row(f"{epsilon:g}", f"{1 - epsilon:.4g}", *cells)
    return table


def _joined(numbers: dict[str, float] | None) -> str:
    return "" if numbers is None else ",  ".join(f"{name} = {_number(value)}" for name, value in numbers.items())


def _number(value: float, digits: str = ".5g") -> str:
    text = format(value, digits).replace("inf", "∞")
    return text.replace("-", "−", 1) if value < 0 else text


def _zones(form: str) -> Cell:
    def cell(page: Explanation) -> Group:
        found = page.zones[form]
        strip = Text()
        for place in range(STRIP):
            sign = next(zone.sign for zone in found if (place + 0.5) / STRIP <= zone.high)
            strip.append(SIGNS[sign][0], style=SIGNS[sign][1])
        return Group(_words(found), Text("ε 0 ") + strip + Text(" 1"))

    return cell


def _words(found: Sequence[Zone]) -> str:
    if len(found) == 1:
        return f"{DOES[found[0].sign]} at every ε"
    parts = [f"{DOES[found[0].sign]} below ε = {found[0].high:.4g} (h_T = {1 - found[0].high:.4g})"]
    parts += [f"{DOES[zone.sign]} to {zone.high:.4g}" for zone in found[1:-1]]
    return ", ".join([*parts, f"{DOES[found[-1].sign]} above"])


def _smoothing(page: Explanation) -> str:
    if page.smoothing is not None:
        return f"α = {page.smoothing['alpha']:.4g} of φ = {page.smoothing['base']}"
    part = page.cross_entropy_smoothing
    if part is not None and abs(part) > 1e-9:
        return f"α = {part:.4g} in the part with log h; not of the whole loss"
    return "none"


def _start(page: Explanation) -> str:
    return f"{_number(page.null_epoch['non_target'])} | {_number(page.null_epoch['target'])}"


def _bias(page: Explanation) -> str:
    if math.isnan(page.bias_growth):
        return ""
    does = "a common bias dies out" if page.bias_growth < 0 else "a common bias feeds itself"
    return f"{_number(page.bias_growth)}: {does if page.bias_growth else 'a common bias stays'}"


def _trains(form: str) -> Cell:
    return lambda page: "can train" if page.trainable[form] else "cannot train"


SECTIONS: tuple[tuple[str, tuple[tuple[str, Cell], ...]], ...] = (
    (
        "Formula",
        (
            ("φ(h, y)", lambda page: page.phi),
            ("γ(h, y) = ∂φ/∂h", lambda page: page.gamma),
            ("coefficients", lambda page: _joined(page.coefficients)),
        ),
    ),
    (
        "What acts",
        (
            ("acting numbers", lambda page: _joined(page.acting)),
            (
                "canonical form",
                lambda page: _joined(page.canonical and {f"{k}/m": v for k, v in page.canonical.items()}),
            ),
            ("without effect", lambda page: "; ".join(page.idle) or "nothing"),
            ("label smoothing", _smoothing),
        ),
    ),
    (
        "Null epoch, h = 1/n",
        (
            ("γ non-target | target", _start),
            ("margin m", lambda page: _number(page.margin)),
            ("gain m/n", lambda page: f"{_number(page.gain)} × the first gradients of cross-entropy"),
            ("bias growth", _bias),
            ("invariant, exact", _trains("exact")),
            ("invariant, published", _trains("published")),
        ),
    ),
    (
        "Zero error, h = y",
        (
            ("a, b, c", lambda page: _joined(page.zero_error)),
            ("regime", lambda page: page.regime),
        ),
    ),
    ("Attraction", (("exact", _zones("exact")), ("as published", _zones("published")))),
)
