"""``lossmith explain``: what the theory says of any loss, on one page."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lossmith.cli.arguments import OptionalFile, Switch, bracketed, parse, values_last
from lossmith.cli.console import output
from lossmith.errors import InputError
from lossmith.losses import NAMES, Loss, common_classes, find, find_all, latex
from lossmith.theory import EPSILONS, Explanation, Zone, explain

CLASSES = 10
SEVERAL = (2, 3, 10, 100)
PAPER = (("cross-entropy", SEVERAL), ("paper/allcnnc", (10,)), ("mse", SEVERAL), ("baikal", (10,)))
LONGEST_STRIP, NAMES_WIDTH, NARROWEST = 40, 28, 36
SIGNS = {1: ("+", "green"), -1: ("−", "red"), 0: ("·", "dim")}
DOES = {1: "attracts", -1: "repels", 0: "has no effect"}


@dataclass(frozen=True)
class Explain:
    """Explain losses by the theory: how they start to train, where they pull and push, what in them is without effect.

    A LOSS is a loss file (best.json of a study), a name (cross-entropy, mse, baikal, mae, poly:1, focal:2, gce:0.7,
    label-smoothing:0.1, taylor-ce, paper/allcnnc, paper/mnist; the parameters shown are the defaults), or a λ in quotes
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
    """Print LaTeX of the losses and their learning rules instead of the page."""
    json: Switch = False
    """Print the page as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    words = values_last([bracketed(word) for word in arguments], ("--classes", "--epsilon"))
    given = parse(Explain, words, "explain")
    _check(given)
    # The numbers are few: a second thread would only wait for the first.
    torch.set_num_threads(1)
    numbers = given.classes or (common_classes(given.losses) or CLASSES,)
    pairs = [(loss, n) for n in numbers for loss in find_all(given.losses, n)]
    pages = [explain(loss, n, given.epsilon) for loss, n in pairs]
    pictures = _draw(given, pairs)
    if given.json:
        document = {"losses": [page.to_json() for page in pages], "pictures": [str(path) for path in pictures]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    if given.latex:
        _print_latex([loss for loss, _ in pairs[: len(given.losses)]])
        return
    console = output()
    if pages:
        many = max(1, (console.width - NAMES_WIDTH) // NARROWEST)
        for start in range(0, len(pages), many):
            console.print(page_table(pages[start : start + many], console.width))
        console.print("One step of the logits: change of the target's output (exact, as published) and of the entropy")
        console.print(Columns([strength_table(page) for page in pages]))
    for path in pictures:
        console.print(f"Picture: {path}", soft_wrap=True)


def _check(given: Explain) -> None:
    if not given.losses and given.figure3 is None:
        raise InputError(f"no loss is given; name a loss file, λ, or one of {', '.join(NAMES)}")
    if not given.losses and given.figure is not None:
        raise InputError("--figure draws the losses that are given; name at least one")
    if repeated := next((n for n in given.classes if given.classes.count(n) > 1), None):
        raise InputError(f"--classes names {repeated} twice; leave one out")
    if not given.epsilon:
        raise InputError("--epsilon is empty; give numbers in (0, 1) or leave it out")
    if given.json and given.latex:
        raise InputError("--json and --latex ask for two outputs; leave one out")
    if given.figure is not None and given.figure == given.figure3:
        raise InputError(f"--figure and --figure3 name the same file {given.figure}; give two")


def _draw(given: Explain, pairs: Sequence[tuple[Loss, int]]) -> list[Path]:
    wanted = [path for path in (given.figure, given.figure3) if path is not None]
    if not wanted:
        return []
    from lossmith.report import attraction_curve, loss_shape, plot_explanation, plot_figure3, rule_curve, save_figures
    from lossmith.report.figures import checked_kind

    for path in wanted:
        checked_kind(path)
    drawn = {}
    if given.figure is not None:
        curves = [attraction_curve(loss, n) for loss, n in pairs]
        rules = [rule_curve(loss, n) for loss, n in pairs]
        drawn[given.figure] = plot_explanation(curves, rules, [loss_shape(loss, n) for loss, n in pairs])
    if given.figure3 is not None:
        if given.losses:
            count = len(given.losses)
            panels = [[attraction_curve(loss, n) for loss, n in pairs[k::count]] for k in range(count)]
        else:
            panels = [[attraction_curve(find(name, n), n) for n in given.classes or several] for name, several in PAPER]
        drawn[given.figure3] = plot_figure3(panels)
    save_figures(drawn)
    return wanted


def _print_latex(losses: Sequence[Loss]) -> None:
    for loss in losses:
        made = latex(loss)
        sys.stdout.write(f"% {' '.join(loss.name.split())}\n{made.loss}\n{made.rule}\n")


Cell = Callable[[Explanation, int], str | Text | Group]


def page_table(pages: Sequence[Explanation], width: int) -> Table:
    """The page: a row for each quantity, a column for each loss, on a console of some width."""
    table = Table(title_justify="left", show_header=True, padding=(0, 1), expand=False)
    table.add_column("", style="bold", no_wrap=True)
    for page in pages:
        table.add_column(page.name, overflow="fold")
    room = (width - NAMES_WIDTH) // len(pages) - 3
    for title, rows in SECTIONS:
        shown = [(name, [cell(page, room) for page in pages]) for name, cell in rows]
        shown = [(name, cells) for name, cells in shown if any(str(cell) for cell in cells)]
        if shown:
            table.add_row(Text(title, style="bold underline"))
            for name, cells in shown:
                table.add_row(f"  {name}", *(cell or "–" for cell in cells))
            table.add_section()
    return table


def strength_table(page: Explanation) -> Table:
    """Strength of attraction of one loss at some ε."""
    table = Table(title=f"{page.name}, n = {page.classes}", title_justify="left")
    for name in ("ε", "h_T", "exact", "published", "entropy"):
        table.add_column(name, justify="right")
    for number, epsilon in enumerate(page.strength["epsilon"]):
        values = [page.strength[name][number] for name in ("exact", "published", "entropy")]
        table.add_row(f"{epsilon:g}", f"{1 - epsilon:.4g}", *(_number(value, "+.4g") for value in values))
    return table


def _number(value: float, digits: str = ".5g") -> str:
    return format(value + 0.0, digits).replace("inf", "∞").replace("-", "−")


def _joined(numbers: dict[str, float] | None) -> str:
    return "" if numbers is None else ",  ".join(f"{name} = {_number(value)}" for name, value in numbers.items())


def _pair(numbers: dict[str, float]) -> str:
    return f"{_number(numbers['non_target'])} | {_number(numbers['target'])}"


def _canonical(page: Explanation, _: int) -> str:
    return _joined(page.canonical and {f"{name}/m": value for name, value in page.canonical.items()})


def _smoothing(page: Explanation, _: int) -> str:
    if page.smoothing is not None:
        return f"α = {_number(page.smoothing['alpha'])} of φ = {page.smoothing['base']}"
    part = page.cross_entropy_smoothing
    if part is not None and abs(part) > 1e-9:
        return f"α = {_number(part)} in the part with log h; not of the whole loss"
    return "none"


def _bias(page: Explanation, _: int) -> str:
    if math.isnan(page.bias_growth):
        return ""
    does = "dies out" if page.bias_growth < 0 else "feeds itself" if page.bias_growth > 0 else "stays"
    return f"{_number(page.bias_growth)}: a common bias {does}"


def _exact(page: Explanation, _: int) -> str:
    if page.trainable["exact"]:
        return "m > 0: the label is pulled up from the start"
    start = 1 - 1 / page.classes
    nearest = max((zone.high for zone in page.zones["exact"] if zone.sign == 1 and zone.high <= start), default=None)
    rest = "" if nearest is None else f", but from h_T = {1 - nearest:.4g} on: it may train all the same"
    return f"m ≤ 0: the label is not pulled up at h = 1/n{rest}"


def _published(page: Explanation, _: int) -> str:
    return "theorem 3 lets it pass" if page.trainable["published"] else "theorem 3 says that it cannot train"


def _zones(form: str) -> Cell:
    return lambda page, room: Group(_words(page.zones[form]), _strip(page.zones[form], min(LONGEST_STRIP, room - 6)))


def _words(found: Sequence[Zone]) -> str:
    if len(found) == 1:
        return f"{DOES[found[0].sign]} at every ε"
    parts = [f"{DOES[found[0].sign]} below ε = {found[0].high:.4g} (h_T = {1 - found[0].high:.4g})"]
    parts += [f"{DOES[zone.sign]} to {zone.high:.4g}" for zone in found[1:-1]]
    return ", ".join([*parts, f"{DOES[found[-1].sign]} above"])


def _strip(found: Sequence[Zone], cells: int) -> Text:
    """ε from 0 to 1 as signs; ± where a sign changes within a cell."""
    strip = Text("ε 0 ")
    for place in range(max(1, cells)):
        low, high = place / cells, (place + 1) / cells
        inside = {zone.sign for zone in found if zone.low < high and zone.high > low}
        strip.append(*(SIGNS[inside.pop()] if len(inside) == 1 else ("±", "yellow")))
    return strip.append(" 1")


SECTIONS: tuple[tuple[str, tuple[tuple[str, Cell], ...]], ...] = (
    (
        "Loss",
        (
            ("classes n", lambda page, _: str(page.classes)),
            ("φ(h, y)", lambda page, _: page.phi),
            ("γ(h, y) = ∂φ/∂h", lambda page, _: page.gamma),
            ("coefficients", lambda page, _: _joined(page.coefficients)),
        ),
    ),
    (
        "What acts",
        (
            ("acting numbers", lambda page, _: _joined(page.acting)),
            ("canonical form", _canonical),
            ("without effect", lambda page, _: "; ".join(page.idle) or "nothing"),
            ("label smoothing", _smoothing),
        ),
    ),
    (
        "Null epoch, h = 1/n",
        (
            ("γ non-target | target", lambda page, _: _pair(page.null_epoch)),
            ("margin m", lambda page, _: _number(page.margin)),
            ("gain m/n", lambda page, _: f"{_number(page.gain)} × the first gradients of cross-entropy"),
            ("bias growth", _bias),
            ("invariant, exact", _exact),
            ("invariant, published", _published),
        ),
    ),
    (
        "Zero error, h = y",
        (
            ("γ non-target | target", lambda page, _: _pair(page.limits)),
            ("a, b, c", lambda page, _: _joined(page.zero_error)),
            ("regime", lambda page, _: page.regime),
        ),
    ),
    ("Attraction", (("exact", _zones("exact")), ("as published", _zones("published")))),
)
