"""A loss as Python expressions in ``x = log h``, ``h`` and ``y``, which PyTorch, JAX and NumPy evaluate alike.

What is written is made of numbers, by ``repr``, and never of a text that a file holds; its name is a literal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lossmith.errors import InputError
from lossmith.losses.base import Loss
from lossmith.losses.documents import LONGEST_NAME
from lossmith.losses.expressions import Expression, Tree
from lossmith.losses.parametric import Parametric
from lossmith.losses.power import PowerLoss
from lossmith.losses.powers import LARGEST_EXPONENT, LOWEST_LOG
from lossmith.losses.sums import LARGEST
from lossmith.losses.terms import INERT, AnyTerm, Near
from lossmith.losses.transforms import SMALLEST_NORM, Clipped, Normalized

CONSTANTS = {"lowest": repr(LOWEST_LOG), "steepest": repr(LARGEST_EXPONENT), "smallest": repr(SMALLEST_NORM)}
# What every module has, whichever library it needs.
PHI = '''NAME = $name
# The number of classes that the loss is made for; None: any.
CLASSES = $classes
# The class weights that belong to the loss; None: none.
WEIGHT = $weight
$helpers

def shared(x, h):
    """What phi holds whatever the label."""
    return (
        $shared
    )


def labeled(x, h, y):
    """What phi holds by the label."""
    return (
        $labeled
    )
'''


class Parts(NamedTuple):
    """What a loss is made of.

    Args:
        thresholds: To which norms logits are clipped, one after another.
        normalized: Whether the loss is divided by its sum over all labels.
        shared: What φ holds whatever the label: terms with coefficients.
        tree: φ as a formula, where it is no sum of powers; all else is empty then.
        labeled: What it holds times ``y^j``, by j.
        linear: The coefficient of h alone, which is no part of them: the outputs sum to 1.
    """

    thresholds: tuple[float, ...]
    normalized: bool
    shared: dict[AnyTerm, float]
    labeled: dict[int, dict[AnyTerm, float]]
    linear: float
    tree: Tree | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the loss is a sum over classes of the network's own outputs, so that each class has its weight."""
        return not (self.thresholds or self.normalized or self.tree is not None)


def parts_of(loss: Loss, to: str) -> Parts:
    """The parts of one loss.

    Raises:
        InputError: if it is of a kind that is none of them.
    """
    thresholds: list[float] = []
    inner, normalized = loss, False
    while isinstance(inner, Clipped):
        thresholds.append(inner.threshold.item())
        inner = inner.base
    if isinstance(inner, Normalized):
        inner, normalized = inner.base, True
    inner = inner.simplest()
    if isinstance(inner, Parametric):
        return Parts(tuple(thresholds), normalized, {}, {}, 0.0, inner.tree)
    if isinstance(inner, Expression):
        return Parts(tuple(thresholds), normalized, {}, {}, 0.0, inner.trees[0])
    if not isinstance(inner, PowerLoss):
        raise InputError(
            f"the loss {loss.name!r} cannot be exported to {to}: sums of powers are, formulas, and these normalized or "
            f"of clipped logits, but not the kind {inner.kind}; use it by lossmith.Criterion"
        )
    terms, coefficients = inner.evaluated
    found = {term: c for term, c in zip(terms, coefficients.tolist(), strict=True) if c}
    linear = 0.0 if normalized else found.pop(INERT, 0.0)
    powers = sorted({term.y for term in found if term.y})
    return Parts(
        tuple(thresholds),
        normalized,
        {term: c for term, c in found.items() if not term.y},
        {j: {term: c for term, c in found.items() if term.y == j} for j in powers},
        linear,
    )


def literal(name: str) -> str:
    """A name of other people as a Python literal of one line, in ASCII."""
    return ascii(name[:LONGEST_NAME])


def shared_source(parts: Parts, library: str) -> str:
    """The expression of what φ holds whatever the label; of a formula, all of it stands at the label."""
    if parts.tree is not None and parts.normalized:
        return "phi(x, 0.0)"
    return _sum(_products(parts.shared, library))


def labeled_source(parts: Parts, library: str) -> str:
    """The expression of what φ holds by the label."""
    if parts.tree is not None:
        return "phi(x, y) - phi(x, 0.0)" if parts.normalized else "phi(x, y)"
    lines = []
    for j, terms in parts.labeled.items():
        y = "y" if j == 1 else f"y**{j}"
        lines += [f"{product} * {y}" for product in _products(terms, library)]
    return _sum(lines)


def _products(terms: Mapping[AnyTerm, float], library: str) -> list[str]:
    """Signed products, such as ``+ 0.5 * h**2 * x``."""
    products = []
    for term, c in terms.items():
        factors = [repr(abs(c)), *_factors(term, library)]
        products.append(("- " if c < 0 else "+ ") + " * ".join(factors))
    return products


def _factors(term: AnyTerm, library: str) -> Iterable[str]:
    """The functions of the output in a term."""
    whole = int(term.h) if term.h == int(term.h) else None
    if isinstance(term, Near):
        if term.less_one:
            return [f"expm1({term.h!r} * x)"]
        gap = "(-expm1(x))" if whole == 1 else f"(-expm1(x)) ** {whole}"
        return [gap, *["x"] * term.log]
    if term.h < 0:
        return [f"steep(x, {term.h!r}, {term.log})"]
    if term.h == 0:
        return ["x"] * term.log
    if whole is not None and whole <= LARGEST:
        return ["h" if whole == 1 else f"h**{whole}", *["x"] * term.log]
    return [f"{library}.exp({term.h!r} * x)", *["x"] * term.log]


def _sum(products: list[str]) -> str:
    """A sum, line by line, that is always an array like x."""
    if not any("x" in product or "h" in product for product in products):
        products = ["0.0 * x", *products]
    return "\n        ".join([products[0].removeprefix("+ "), *products[1:]])


def told(parts: Parts) -> str:
    """What else the loss is, as sentences of its text."""
    text = ""
    if parts.normalized:
        text += " That is divided by its sum over all\nlabels."
    for threshold in parts.thresholds:
        text += f" Logits are scaled down to the norm\n{threshold!r} first."
    return text
