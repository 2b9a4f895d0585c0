"""What every loss can do: the one object that carries a loss through the whole package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, overload

import numpy as np
import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import powers
from lossmith.losses.documents import (
    FORMAT,
    LONGEST_KIND,
    MOST_CLASSES,
    VERSION,
    bounded,
    checked_document,
    nameless,
    part_of,
)
from lossmith.losses.kernel import logit_gradient_of
from lossmith.losses.labels import labels_of, wide
from lossmith.losses.notebook import InNotebook
from lossmith.registry import Registry

if TYPE_CHECKING:
    from lossmith.losses.power import PowerLoss

Rule = Callable[[Tensor, Tensor], Tensor]
"""Logits ``[*P, N, K]`` and targets to the gradient ``[*P, N, K]`` of each sample's loss."""
Index = int | slice | Tensor | Sequence[int]


class Loss(InNotebook, ABC):
    """A loss of the softmax outputs h and the labels y of a sample, one or a population of them.

    A kind of loss is a frozen dataclass with the fields ``classes`` and ``name`` that inherits from this class and is
    registered in ``KINDS``. It says its values, and their slope over the whole output vector,
    ``g_k = −h_k ∂L/∂h_k = −∂L/∂log h_k``; the gradient that trains a network follows,
    ``∂L/∂f_j = −(g_j − h_j Σ_k g_k)``. A loss of transformed logits says the transform and its vector–Jacobian product;
    what trains asks for :meth:`value` and :meth:`logit_gradient` only, which a kind can override as well.

    Shapes: ``*P`` leading population dimensions (none for one loss), ``N`` batch, ``K`` classes.

    Attributes:
        kind: Under which name files know the kind.
        classes: The number of classes that the loss is made for, or None if it fits any.
        name: What tables and figures call it.
    """

    kind: ClassVar[str]
    classes: int | None
    name: str

    # NumPy leaves `array * loss` to the loss.
    __array_ufunc__ = None

    @property
    def sums_over_classes(self) -> bool:
        """Whether ``L = −Σ_k φ(h_k, y_k)``, as in the paper.

        Then :meth:`phi` is there, and it and the slope of a class depend on its own output and label, elementwise.
        """
        return False

    @property
    def is_shift_free(self) -> bool:
        """Whether the loss looks at the outputs only, so that a number added to all logits changes nothing."""
        return type(self).transformed is Loss.transformed

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions ``*P``; empty for one loss."""
        return ()

    @abstractmethod
    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``, as a function that autograd can follow.

        Args:
            log_h: Log outputs ``[*P, N, K]``, −1e18 at least.
            y: Label probabilities that broadcast with them.
        """

    @abstractmethod
    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g_k = −h_k ∂L/∂h_k``, ``[*P, N, K]``, with the arguments of :meth:`values`."""

    @abstractmethod
    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text, for one loss."""

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """What a file holds of this kind of loss, besides its kind, its name and its number of classes."""

    @classmethod
    @abstractmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Self:
        """The loss of what :meth:`body` gave; further keys are left alone.

        Raises:
            InputError: naming the key that is missing or wrong.
        """

    def at(self, progress: float) -> Loss:  # noqa: ARG002
        """The loss at a share of the training, from 0 to 1: itself, unless it changes during the training."""
        return self

    def moments(self) -> list[Loss]:
        """The losses that it is one after another: itself, unless it changes during the training."""
        return [self]

    def simplest(self) -> Loss:
        """The same loss of the kind of which most is known: itself, unless it is a special case of that."""
        return self

    def to(self, device: torch.device | str) -> Self:  # noqa: ARG002
        """The same loss with its numbers on another device."""
        return self

    def transformed(self, logits: Tensor) -> Tensor:
        """The logits ``[*P, N, K]`` that the loss looks at: as they are, unless it transforms them."""
        return logits

    def pulled_back(self, gradient: Tensor, logits: Tensor) -> Tensor:  # noqa: ARG002
        """``Jᵀ v`` of :meth:`transformed`: a gradient with respect to the transformed logits as one of the logits."""
        return gradient

    @classmethod
    def joined(cls, losses: Sequence[Self], name: str) -> Loss | None:  # noqa: ARG003
        """Losses of this kind as one population that is evaluated in one go; None where they cannot be."""
        return None

    def phi(self, h: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        """``φ(h, y)``, elementwise, of a loss that is the sum of it over classes.

        Raises:
            InputError: if it is none.
        """
        raise InputError(f"the loss {self.name!r} ({self.kind}) is no sum over classes, so it has no φ(h, y)")

    def gamma(self, h: Tensor, y: Tensor) -> Tensor:
        """The learning rule ``γ_k = −∂L/∂h_k`` at output vectors ``[*P, N, K]``; h = 0 is taken as tiny."""
        h = h.clamp(min=torch.finfo(h.dtype).tiny)
        return self.slope(h.log(), y) / h

    def value(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``.

        Args:
            logits: ``[*P, N, K]``; any of the population dimensions may be 1.
            targets: Class indices ``[*P, N]`` or class probabilities ``[*P, N, K]``; leading dimensions may be missing.

        Raises:
            InputError: if the loss is made for another number of classes.
        """
        self.check_classes(logits.shape[-1])
        x = powers.log_outputs(self.transformed(wide(self._spread(logits, targets))))
        return self.values(x, labels_of(targets, x))

    def logit_gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The closed-form gradient of each sample's loss with respect to its logits, ``[*P, N, K]``.

        Args:
            logits: ``[*P, N, K]``; any of the population dimensions may be 1.
            targets: Class indices ``[*P, N]`` or probabilities ``[*P, N, K]``; leading dimensions may be missing.

        Raises:
            InputError: if the loss is made for another number of classes.
        """
        self.check_classes(logits.shape[-1])
        f = wide(self._spread(logits, targets))
        x = powers.log_outputs(self.transformed(f))
        g = self.slope(x, labels_of(targets, x)).expand_as(x)
        return self.pulled_back(logit_gradient_of(g, x.exp()), f).to(logits.dtype)

    def gradient_rule(self, like: Tensor) -> Rule:
        """:meth:`logit_gradient` prepared once for the dtype and device of ``like``, for a training loop."""
        return self.to(like.device).logit_gradient

    def named(self, name: str) -> Self:
        """The same loss by another name."""
        return replace(self, name=name)  # type: ignore[type-var]

    def __getitem__(self, index: Index) -> Loss:
        """Members of a population, by any index over its first dimension."""
        raise InputError(f"the loss {self.name!r} is one loss, not a population, and cannot be indexed")

    def __len__(self) -> int:
        """Size of the first population dimension."""
        if not self.shape:
            raise InputError(f"the loss {self.name!r} is one loss, not a population, and has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        """A loss is there, whatever its length."""
        return True

    def __eq__(self, other: object) -> bool:
        """Same kind, numbers and number of classes; the name does not matter."""
        if not isinstance(other, Loss):
            return NotImplemented
        if type(self) is not type(other):
            return False
        names = [one.name for one in fields(self) if one.name != "name"]  # type: ignore[arg-type]
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return all(
            torch.equal(one.cpu(), two.cpu()) if isinstance(one, Tensor) else bool(one == two) for one, two in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Name, and population shape or formula."""
        return f"Loss({brief(self.name)}, {f'population {list(self.shape)}' if self.shape else self.formula()})"

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a loss is a value, and what is called in a training is its criterion.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the loss {self.name!r} is not called itself; wrap it, criterion = lossmith.Criterion(loss), and call "
            "criterion(logits, targets), or take loss.value(logits, targets) for the loss of each sample"
        )

    def check_classes(self, classes: int) -> None:
        """Raise an InputError if the loss is made for another number of classes."""
        if self.classes is not None and self.classes != classes:
            raise InputError(
                f"the loss {self.name!r} is made for {self.classes} classes and was called with {classes}; "
                f"evolve or build it for {classes}"
            )

    @overload
    @staticmethod
    def stack(losses: Iterable[PowerLoss], name: str = "population") -> PowerLoss: ...

    @overload
    @staticmethod
    def stack(losses: Iterable[Loss], name: str = "population") -> Loss: ...

    @staticmethod
    def stack(losses: Iterable[Loss], name: str = "population") -> Loss:
        """One population ``[P, *P']`` of different losses of equal shape ``*P'``.

        Losses of one kind are evaluated in one go where the kind can do that; others member by member.

        Raises:
            InputError: if there are none, or they are made for different numbers of classes or differ in shape.
        """
        members = list(losses)
        if not members:
            raise InputError("a population needs at least one loss")
        if len({member.shape for member in members}) > 1:
            raise InputError("only losses of the same population shape can be stacked")
        common_classes(members)
        first = type(members[0])
        population = first.joined(members, name) if all(type(member) is first for member in members) else None
        return KINDS["mixed"].of_members(members, name) if population is None else population  # type: ignore[attr-defined]

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` builds an equal loss.

        Raises:
            InputError: if the kind is not registered, or losses are nested so deep that the object would not be read.
        """
        if self.kind not in KINDS or KINDS[self.kind] is not type(self):
            raise InputError(
                f"the loss {self.name!r} is a {type(self).__name__}, not the registered kind {self.kind!r}, so no "
                "file could give it back; register it by a kind of its own in lossmith.losses.KINDS"
            )
        head = {"format": FORMAT, "version": VERSION, "kind": self.kind, "name": self.name, "classes": self.classes}
        return bounded({**head, **self.body()})

    def key(self) -> dict[str, Any]:
        """What stored runs with the loss are found by, whatever the format of files becomes and inner names are."""
        return {"kind": self.kind, "name": self.name, "classes": self.classes, **nameless(self.body())}

    @staticmethod
    def from_json(document: Any) -> Loss:
        """The loss of a JSON object made by :meth:`to_json`; further keys are left alone.

        Raises:
            InputError: naming the key that is missing or wrong.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputError(f'this is not a loss file: it has no "format": "{FORMAT}"')
        version = document.get("version")
        if type(version) is not int or not 1 <= version <= VERSION:
            raise InputError(f"the loss file has version {brief(version)}, this program reads versions 1 to {VERSION}")
        checked_document(document)
        # Version 1 knew one kind and did not name it.
        kind = part_of(document, "kind") if version > 1 else "power"
        if not isinstance(kind, str):
            raise InputError(f'"kind" of the loss file is {brief(kind)}; it must be a text')
        classes, name = part_of(document, "classes"), part_of(document, "name")
        if classes is not None and (type(classes) is not int or not 2 <= classes <= MOST_CLASSES):
            raise InputError(
                f'"classes" of the loss file is {brief(classes)}; it must be null or a whole number from 2 to 10⁹'
            )
        if not isinstance(name, str):
            raise InputError(f'"name" of the loss file is {brief(name)}; it must be a text')
        return KINDS[kind[:LONGEST_KIND]].of_body(document, classes, name)

    def _spread(self, x: Tensor, targets: Tensor, more: bool = False) -> Tensor:
        """``x [*P, N, K]`` expanded to the leading dimensions of the population and of the targets, and ``more``."""
        soft = targets.is_floating_point()
        own, mine = (targets.shape[-2:], x.shape[-2:]) if soft else (targets.shape[-1:], x.shape[-2:-1])
        leading = _broadcast(self.shape, x.shape[:-2], targets.shape[: -2 if soft else -1])
        fits = leading is not None and (more or not self.shape or len(leading) == len(self.shape))
        if leading is None or not fits or x.ndim < 2 or own != mine:
            raise InputError(
                f"targets of shape {tuple(targets.shape)} and {targets.dtype} do not fit logits of shape "
                f"{tuple(x.shape)} and a population {list(self.shape)}: logits are [*P, N, K], targets class indices "
                "[*P, N] as whole numbers, or probabilities of each class [*P, N, K]"
            )
        return x.expand(*leading, *x.shape[-2:])


KINDS = Registry[type[Loss]]("kind of loss")


def _broadcast(*shapes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that some shapes broadcast to; None where they do not."""
    try:
        # NumPy's: that of torch loads SymPy.
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        return None


def common_classes(losses: Sequence[Loss], classes: int | None = None) -> int | None:
    """The number of classes that losses are made for, and the one that is given; None if they fit any.

    Raises:
        InputError: if they are made for different numbers.
    """
    known = {one for one in (classes, *(loss.classes for loss in losses)) if one is not None}
    if len(known) > 1:
        raise InputError(f"losses made for different numbers of classes ({sorted(known)}) cannot be put together")
    return known.pop() if known else None
