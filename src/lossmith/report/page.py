"""The page that explains losses, as tables of text and in LaTeX."""

import math
from collections.abc import Callable, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lossmith.losses import Loss, latex
from lossmith.theory import Explanation, Zone

LONGEST_STRIP, NAMES_WIDTH, NARROWEST = 40, 28, 36
SIGNS = {1: ("+", "green"), -1: ("−", "red"), 0: ("·", "dim")}
DOES = {1: "attracts", -1: "repels", 0: "has no effect"}
Cell = Callable[[Explanation, int], str | Text | Group]


def latex_page(losses: Sequence[Loss]) -> str:
    """LaTeX of some losses and their learning rules."""
    made = [(" ".join(loss.name.split()), latex(loss)) for loss in losses]
    return "".join(f"% {name}\n{one.loss}\n{one.rule}\n" for name, one in made)


def page_tables(pages: Sequence[Explanation], width: int) -> list[Table]:
    """The page of some losses: as many columns in a table as a console of some width has room for."""
    many = max(1, (width - NAMES_WIDTH) // NARROWEST)
    return [page_table(pages[start : start + many], width) for start in range(0, len(pages), many)]


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


def words_table(page: Explanation, sentences: Sequence[str], width: int) -> Table:
    """What a loss does, a sentence each, in so many columns at most."""
    table = Table(title=f"{page.name}, {page.classes} classes", title_justify="left", box=None, show_header=False)
    table.add_column("", width=1)
    table.add_column("", max_width=width - 5)
    for sentence in sentences:
        table.add_row("–", sentence)
    return table


def strength_table(page: Explanation) -> Table:
    """Strength of attraction of one loss at some ε."""
    table = Table(title=f"{page.name}, n = {page.classes}", title_justify="left")
    forms = [name for name in ("exact", "published", "entropy") if name in page.strength]
    for name in ("ε", "h_T", *forms):
        table.add_column(name, justify="right")
    for number, epsilon in enumerate(page.strength["epsilon"]):
        values = [_number(page.strength[name][number], "+.4g") for name in forms]
        table.add_row(f"{epsilon:g}", f"{1 - epsilon:.4g}", *values)
    return table


def _number(value: float, digits: str = ".5g") -> str:
    return format(value + 0.0, digits).replace("inf", "∞").replace("-", "−")


def _joined(numbers: dict[str, float] | None) -> str:
    return "" if numbers is None else ",  ".join(f"{name} = {_number(value)}" for name, value in numbers.items())


def _pair(numbers: dict[str, float] | None) -> str:
    return "" if numbers is None else f"{_number(numbers['non_target'])} | {_number(numbers['target'])}"


def _canonical(page: Explanation, _: int) -> str:
    return _joined(page.canonical and {f"{name}/m": value for name, value in page.canonical.items()})


def _idle(page: Explanation, _: int) -> str:
    return "" if page.missing else "; ".join(page.idle) or "nothing"


def _smoothing(page: Explanation, _: int) -> str:
    if page.missing:
        return ""
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
    repels = all(zone.sign < 0 for zone in page.zones["exact"])
    turned = "; the loss is −Σφ, so turn the sign of φ" if repels else ""
    rest = turned if nearest is None else f", but from h_T = {1 - nearest:.4g} on: it may train all the same"
    return f"m ≤ 0: the label is not pulled up at h = 1/n{rest}"


def _published(page: Explanation, _: int) -> str:
    if "published" not in page.trainable:
        return ""
    if page.trainable["published"]:
        return "theorem 3 lets it pass"
    if page.trainable["exact"]:
        return "theorem 3 as printed rejects it, as it does many losses that train: go by the exact form"
    return "theorem 3 as printed rejects it, too"


def _zones(form: str) -> Cell:
    def cell(page: Explanation, room: int) -> str | Group:
        found = page.zones.get(form)
        return "" if found is None else Group(_words(found), _strip(found, min(LONGEST_STRIP, room - 6)))

    return cell


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
            ("φ(h, y)", lambda page, _: page.phi if "published" in page.zones else ""),
            ("L(h, y)", lambda page, _: "" if "published" in page.zones else page.phi),
            ("γ(h, y) = ∂φ/∂h", lambda page, _: page.gamma or ""),
            ("coefficients", lambda page, _: _joined(page.coefficients)),
        ),
    ),
    (
        "What acts",
        (
            ("acting numbers", lambda page, _: _joined(page.acting)),
            ("canonical form", _canonical),
            ("without effect", _idle),
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
            ("regime", lambda page, _: page.regime or ""),
        ),
    ),
    ("Attraction", (("exact", _zones("exact")), ("as published", _zones("published")))),
    ("Not shown", (("why", lambda page, _: page.missing or ""),)),
)
