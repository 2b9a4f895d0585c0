"""What a space is to a study and to a search engine."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lossmith.losses import Loss
from lossmith.registry import Registry

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

# A JSON value: a number, a text, a list, an object …
Genome: TypeAlias = Any
Losses: TypeAlias = Callable[[Tensor, int], Loss]
Inverse: TypeAlias = Callable[[Loss, int], tuple[list[float], float] | None]
# Below this it is the rounding of other linear algebra, of which nobody needs to be warned.
AGREEMENT = 1e-9


class Space(ABC):
    """Losses by their genomes, which are values of JSON. How an engine draws or varies them is between the two."""

    wider: ClassVar[str] = ""
    """The setting that makes it hold more losses, if it has one."""

    @abstractmethod
    def build(self, genomes: Sequence[Genome], classes: int) -> Loss:
        """The losses ``[P]`` that P genomes stand for.

        Args:
            genomes: One or more.
            classes: Number of classes n.
        """

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Whether a value of JSON is a genome of this space; a stored one that is not is damaged."""

    def agree(self, one: Genome, other: Genome) -> bool:
        """Whether two genomes are the same, but for rounding."""
        return bool(one == other)

    def place(self, loss: Loss, classes: int) -> tuple[Genome, float] | None:  # noqa: ARG002
        """A genome and the factor by which the loss there is multiplied to be a loss that is given.

        Args:
            loss: One loss.
            classes: n.

        Returns:
            None where the space holds no multiple of the loss, or cannot say where.
        """
        return None


SPACES: Registry[Callable[[SearchSettings], Space]] = Registry("search space")


def no_point(_loss: Loss, _classes: int) -> None:
    """No point of any loss."""


@dataclass(frozen=True)
class VectorSpace(Space):
    """A space whose genomes are lists of D numbers.

    Args:
        start: Where a search begins, ``[D]``.
        sigma: Its first step size.
        losses: Turns points ``[P, D]`` and the number of classes into a population of losses.
        inverse: Gives the point of a loss, up to a factor, and that factor, above 0; None where there is none.
    """

    start: tuple[float, ...]
    sigma: float
    losses: Losses
    inverse: Inverse = no_point

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self.start)

    def build(self, genomes: Sequence[Genome], classes: int) -> Loss:
        """The losses ``[P]`` at P points."""
        return self.losses(torch.tensor(genomes, dtype=torch.float64), classes)

    def place(self, loss: Loss, classes: int) -> tuple[Genome, float] | None:
        """The point of a loss and its factor."""
        found = self.inverse(loss, classes)
        return found if found is not None and self.holds(found[0]) else None

    def holds(self, value: Any) -> bool:
        """Whether it is a list of D finite numbers."""
        return isinstance(value, list) and len(value) == self.dimensions and all(map(_is_finite, value))

    def agree(self, one: Genome, other: Genome) -> bool:
        """Whether two points are the same, but for rounding."""
        return bool(one == other or np.allclose(one, other, rtol=AGREEMENT, atol=AGREEMENT))


def _is_finite(value: Any) -> bool:
    # JSON has whole numbers of any size, and bool is a kind of int.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
