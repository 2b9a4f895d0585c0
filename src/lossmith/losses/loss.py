"""A loss as its learning rule: the one object that carries a loss through the whole package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import formatting, powers
from lossmith.losses.kernel import Field, GradientRule, values, wide
from lossmith.losses.terms import INERT, Term, Weighted, checked_term, is_term, smooth_labels


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss ``L(f, y) = −Σ_k φ(h_k, y_k)``, h = softmax(f), with ``φ = Σ_t c_t h^i y^j (log h)^l``.

    Its learning rule is ``γ = ∂φ/∂h`` (equations 1–12 of the paper), and the gradient that trains a network is
    ``∂L/∂f_j = −(g_j − h_j Σ_k g_k)`` with ``g_k = h_k γ(h_k, y_k)``.

    Shapes: ``T`` terms, ``*P`` leading population dimensions (none for one loss), ``N`` batch, ``K`` classes.

    Args:
        terms: The T terms of φ.
        coefficients: ``[*P, T]``, kept in float64.
        classes: The number of classes that the loss is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if the terms and coefficients do not fit together, or a coefficient is not finite.

    Example:
        >>> from lossmith import cross_entropy, mae
        >>> loss = cross_entropy() + 0.5 * mae()
        >>> loss.value(torch.zeros(1, 4), torch.tensor([2]))
        tensor([1.7613])
    """

    terms: tuple[Term, ...]
    coefficients: Tensor
    classes: int | None = None
    name: str = "loss"

    def __post_init__(self) -> None:
        terms = tuple(checked_term(term, self.name) for term in self.terms)
        # A copy: a loss is a value, and whoever gave the tensor may change it.
        coefficients = torch.as_tensor(self.coefficients, dtype=torch.float64).detach().clone()
        if coefficients.ndim == 0 or coefficients.shape[-1] != len(terms):
            raise InputError(
                f"a loss of {len(terms)} terms takes as many coefficients in its last dimension, "
                f"not a shape of {brief(tuple(coefficients.shape))}"
            )
        if len(set(terms)) != len(terms):
            raise InputError(f"the loss {self.name!r} names a term twice; add the two coefficients")
        if not bool(coefficients.isfinite().all()):
            raise InputError(f"the loss {self.name!r} has a coefficient that is not a finite number")
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "coefficients", coefficients)

    # NumPy leaves `array * loss` to the loss, which scales its members.
    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions ``*P``; empty for one loss."""
        return tuple(self.coefficients.shape[:-1])

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """``φ(h, y)``, elementwise; ``h`` and ``y`` broadcast with ``[*P, …]``, the population's dimensions first."""
        return self._at_outputs(h, y, slope=False)

    def gamma(self, h: Tensor, y: Tensor) -> Tensor:
        """The learning rule ``γ(h, y) = ∂φ/∂h``, elementwise, shaped as :meth:`phi`; h = 0 is taken as tiny."""
        h = h.clamp(min=torch.finfo(h.dtype).tiny)
        return self.slope(h, y) / h

    def slope(self, h: Tensor, y: Tensor) -> Tensor:
        """``g = h γ(h, y) = ∂φ/∂log h``, elementwise, shaped as :meth:`phi`: the part of it that reaches the logits."""
        return self._at_outputs(h, y, slope=True)

    def rule(self) -> dict[Term, Tensor]:
        """The learning rule ``γ = Σ c h^i y^j (log h)^l`` term by term: a coefficient ``[*P]`` for each."""
        parts: list[tuple[Term, Tensor]] = []
        for (i, j, log), c in zip(self.terms, self.coefficients.unbind(-1), strict=True):
            parts += [(Term(i - 1, j, log), i * c), (Term(i - 1, j, 0), log * c)]
        total = _collected(parts, self.shape, self.classes, self.name)
        return dict(zip(total.terms, total.coefficients.unbind(-1), strict=True))

    def acting(self) -> Loss:
        """The same loss without what never acts: constants and c1, which reach no gradient (the outputs sum to 1)."""
        kept = [k for k, (i, _, log) in enumerate(self.terms) if (i, log) != (0, 0) and self.terms[k] != INERT]
        return replace(self, terms=tuple(self.terms[k] for k in kept), coefficients=self.coefficients[..., kept])

    def value(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``.

        Args:
            logits: ``[*P, N, K]``; any of the population dimensions may be 1.
            targets: Class indices ``[*P, N]`` or class probabilities ``[*P, N, K]``; leading dimensions may be missing.

        Raises:
            InputError: if the loss is made for another number of classes.
        """
        self.check_classes(logits.shape[-1])
        x = self._spread(powers.log_outputs(logits), targets)
        return values(self._weighted(x, 2), x, targets)

    def logit_gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The closed-form gradient of each sample's loss with respect to its logits, ``[*P, N, K]``.

        ``−(g_j − h_j Σ_k g_k)``, ``g = h γ(h, y)``. Terms of φ that are linear in h alone have no effect on it (the
        outputs sum to 1) and are left out, which keeps the accuracy of losses whose c1 is large.

        Args:
            logits: ``[*P, N, K]``; any of the population dimensions may be 1.
            targets: Class indices ``[*P, N]`` or probabilities ``[*P, N, K]``; leading dimensions may be missing.

        Raises:
            InputError: if the loss is made for another number of classes.
        """
        self.check_classes(logits.shape[-1])
        return self.gradient_rule(logits)(self._spread(logits, targets), targets)

    def gradient_rule(self, like: Tensor) -> GradientRule:
        """:meth:`logit_gradient` prepared once for the dtype and device of ``like``, for a training loop."""
        return GradientRule(self._weighted(wide(like[..., :0]), 2))

    def smoothed(self, alpha: float, classes: int) -> Loss:
        """The loss whose value at any label y is this one's at the smoothed label ``(1−α) y + α/n`` (§6, exact form).

        Raises:
            InputError: if α is outside [0, 1], n < 2, or the loss is made for another number of classes.
        """
        if not 0 <= alpha <= 1:
            raise InputError(f"the label smoothing α = {alpha} must lie between 0 and 1")
        if classes < 2:
            raise InputError(f"label smoothing needs at least 2 classes, not {classes}")
        self.check_classes(classes)
        if alpha == 0:
            return self
        parts = smooth_labels(list(zip(self.terms, self.coefficients.unbind(-1), strict=True)), alpha, classes)
        return _collected(parts, self.shape, classes, f"{self.name} smoothed {alpha:g}")

    def __add__(self, other: Loss) -> Loss:
        """The sum of two losses (of one population, or one loss and a population)."""
        if not isinstance(other, Loss):
            return NotImplemented
        try:
            shape = np.broadcast_shapes(self.shape, other.shape)
        except ValueError:
            raise InputError(
                f"populations {list(self.shape)} and {list(other.shape)} differ in size and cannot be added"
            ) from None
        parts = [
            (term, c.expand(shape))
            for loss in (self, other)
            for term, c in zip(loss.terms, loss.coefficients.unbind(-1), strict=True)
        ]
        return _collected(parts, shape, _common_classes((self, other)), f"{self.name} + {other.name}")

    def __mul__(self, factor: float | Tensor) -> Loss:
        """The loss times a number, or times one number per member ``[*P]``."""
        scale = torch.as_tensor(factor, dtype=torch.float64)
        label = f"{factor:g} {self.name}" if isinstance(factor, int | float) else self.name
        try:
            scaled = self.coefficients * scale[..., None]
        except RuntimeError:
            raise InputError(
                f"a population {list(self.shape)} takes one factor or one for each member, not {list(scale.shape)}"
            ) from None
        return replace(self, coefficients=scaled, name=label)

    __rmul__ = __mul__

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Loss:
        """Members of a population, by any index over its first dimension."""
        if not self.shape:
            raise InputError(f"the loss {self.name!r} is one loss, not a population, and cannot be indexed")
        return replace(self, coefficients=self.coefficients[index])

    def __len__(self) -> int:
        """Size of the first population dimension."""
        if not self.shape:
            raise InputError(f"the loss {self.name!r} is one loss, not a population, and has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        """A loss is there, whatever its length."""
        return True

    def __eq__(self, other: object) -> bool:
        """Same φ and number of classes; the order of terms and the name do not matter."""
        if not isinstance(other, Loss):
            return NotImplemented
        if self.shape != other.shape or self.classes != other.classes:
            return False
        mine, theirs = _nonzero(self), _nonzero(other)
        return mine.keys() == theirs.keys() and all(torch.equal(mine[term], theirs[term]) for term in mine)

    __hash__ = None  # type: ignore[assignment]

    def to(self, device: torch.device | str) -> Loss:
        """The same loss with its coefficients on another device."""
        return replace(self, coefficients=self.coefficients.to(device))

    def check_classes(self, classes: int) -> None:
        """Raise an InputError if the loss is made for another number of classes."""
        if self.classes is not None and self.classes != classes:
            raise InputError(
                f"the loss {self.name!r} is made for {self.classes} classes and was called with {classes}; "
                f"evolve or build it for {classes}"
            )

    @staticmethod
    def stack(losses: Iterable[Loss], name: str = "population") -> Loss:
        """One population ``[P, *P']`` of different losses of equal shape ``*P'``; absent terms get the coefficient 0.

        Raises:
            InputError: if there are none, or they are made for different numbers of classes or differ in shape.
        """
        members = list(losses)
        if not members:
            raise InputError("a population needs at least one loss")
        if len({member.shape for member in members}) > 1:
            raise InputError("only losses of the same population shape can be stacked")
        terms = tuple(dict.fromkeys(term for member in members for term in member.terms))
        zero = members[0].coefficients.new_zeros(members[0].shape)
        rows = []
        for member in members:
            known = dict(zip(member.terms, member.coefficients.unbind(-1), strict=True))
            rows.append(torch.stack([known.get(term, zero) for term in terms], -1) if terms else member.coefficients)
        return Loss(terms, torch.stack(rows), _common_classes(members), name)

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` builds an equal loss."""
        return {
            "format": "lossmith.loss",
            "version": 1,
            "name": self.name,
            "classes": self.classes,
            "terms": [[int(i) if i.is_integer() else i, j, log] for i, j, log in self.terms],
            "coefficients": self.coefficients.tolist(),
        }

    @staticmethod
    def from_json(document: Any) -> Loss:
        """The loss of a JSON object made by :meth:`to_json`; further keys are left alone.

        Raises:
            InputError: naming the key that is missing or wrong.
        """
        if not isinstance(document, dict) or document.get("format") != "lossmith.loss":
            raise InputError('this is not a loss file: it has no "format": "lossmith.loss"')
        version = document.get("version")
        if type(version) is not int or version != 1:
            raise InputError(f"the loss file has version {brief(version)}, this program reads version 1")
        for key in ("terms", "coefficients", "classes", "name"):
            if key not in document:
                raise InputError(f'the loss file has no "{key}"')
        terms, coefficients, classes, name = (document[key] for key in ("terms", "coefficients", "classes", "name"))
        if classes is not None and (type(classes) is not int or classes < 2):
            raise InputError(f'"classes" of the loss file is {brief(classes)}; it must be null or a whole number ≥ 2')
        if not isinstance(name, str):
            raise InputError(f'"name" of the loss file is {brief(name)}; it must be a text')
        if not isinstance(terms, list) or not all(is_term(term) for term in terms):
            raise InputError('"terms" of the loss file must be a list of [power of h, power of y, factors of log h]')
        values = _numbers(coefficients)
        if values is None:
            raise InputError('"coefficients" of the loss file must be a list of numbers, one for each term')
        return Loss(tuple(Term(*term) for term in terms), values, classes, name)

    def formula(self, digits: int = 4) -> str:
        """φ as a line of text, for one loss."""
        if self.shape:
            raise InputError("a population has no single formula; index one member")
        return formatting.formula({term: c.item() for term, c in _nonzero(self).items()}, digits)

    def gamma_formula(self, digits: int = 4) -> str:
        """The learning rule γ as a line of text, for one loss."""
        if self.shape:
            raise InputError("a population has no single learning rule; index one member")
        return formatting.formula({term: c.item() for term, c in self.rule().items()}, digits)

    def __repr__(self) -> str:
        """Name, population shape or formula."""
        what = f"population {list(self.shape)}, {len(self.terms)} terms" if self.shape else f"φ = {self.formula()}"
        return f"Loss({self.name!r}, {what})"

    def _spread(self, x: Tensor, targets: Tensor) -> Tensor:
        """``x [*P, N, K]`` expanded to the leading dimensions of the population and of the targets."""
        soft = targets.is_floating_point()
        if soft and targets.shape[-2:] != x.shape[-2:]:
            raise InputError(
                f"targets of shape {tuple(targets.shape)} and {targets.dtype} do not fit logits of shape "
                f"{tuple(x.shape)}: give class indices as whole numbers, or probabilities of each class"
            )
        leading = targets.shape[: -2 if soft else -1]
        # NumPy's: that of torch loads SymPy.
        return x.expand(*np.broadcast_shapes(self.shape, x.shape[:-2], leading), *x.shape[-2:])

    def _at_outputs(self, h: Tensor, y: Tensor, slope: bool) -> Tensor:
        x = h.log().clamp(min=powers.LOWEST_LOG)
        field = Field.of(self._weighted(x, max(h.ndim, y.ndim) - len(self.shape)))
        return torch.zeros_like(x) + (field.slope() if slope else field).at(x, h, field.labels(y))

    def _weighted(self, like: Tensor, trailing: int) -> list[Weighted]:
        """Terms with coefficients ``[*P, 1, …]`` in the dtype and on the device of a tensor."""
        rows = self.coefficients.to(like).reshape(*self.shape, *(1,) * trailing, len(self.terms))
        return list(zip(self.terms, rows.unbind(-1), strict=True))


def _collected(parts: Sequence[tuple[Term, Tensor]], shape: Sequence[int], classes: int | None, name: str) -> Loss:
    total: dict[Term, Tensor] = {}
    for term, c in parts:
        total[term] = total[term] + c if term in total else c
    kept = {term: c for term, c in total.items() if bool((c != 0).any())}
    columns = torch.stack(list(kept.values()), -1) if kept else torch.zeros(*shape, 0, dtype=torch.float64)
    return Loss(tuple(kept), columns, classes, name)


def _common_classes(losses: Sequence[Loss]) -> int | None:
    known = {loss.classes for loss in losses if loss.classes is not None}
    if len(known) > 1:
        raise InputError(f"losses made for different numbers of classes ({sorted(known)}) cannot be put together")
    return known.pop() if known else None


def _nonzero(loss: Loss) -> dict[Term, Tensor]:
    columns = loss.coefficients.unbind(-1)
    return {term: c for term, c in zip(loss.terms, columns, strict=True) if bool((c != 0).any())}


def _numbers(listed: Any) -> Tensor | None:
    """Nested lists of numbers as a tensor; None for anything else."""
    try:
        values = torch.tensor(listed, dtype=torch.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return None if _has_truth_values(listed) else values


def _has_truth_values(numbers: Any) -> bool:
    return any(map(_has_truth_values, numbers)) if isinstance(numbers, list) else isinstance(numbers, bool)
