"""Which attacks are made, and how strong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossmith.attacks import LIBRARY_ATTACKS as LIBRARY
from lossmith.attacks import check_available, checked_epsilon
from lossmith.errors import InputError

OWN_ATTACKS = ("fgsm", "pgd")
ATTACKS = (*OWN_ATTACKS, *LIBRARY)


@dataclass(frozen=True)
class AttackPlan:
    """Which attacks are made.

    Args:
        epsilons: Strengths ε, shares of the range of pixels.
        attacks: Some of ``fgsm``, ``pgd``, ``apgd-ce``, ``apgd-dlr``, ``square``.
        steps: Steps of PGD.
        samples: Images that FGSM and PGD are run on; None takes all of them.
        library_samples: How many of these the attacks of the library are run on.
        iterations: Steps of Auto-PGD.
        queries: Queries of Square for each image.
        seed: Of the choice of images, random starts, and what the library draws.

    Raises:
        InputError: if a strength or number cannot be used, there is no such attack, or the library is missing.
    """

    epsilons: tuple[float, ...] = (0.0, 0.05, 0.1)
    attacks: tuple[str, ...] = OWN_ATTACKS
    steps: int = 20
    samples: int | None = None
    library_samples: int = 200
    iterations: int = 50
    queries: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.epsilons:
            raise InputError("no epsilon is given; give the strengths of the attack, such as 0 0.05 0.1")
        for epsilon in self.epsilons:
            checked_epsilon(epsilon)
        if len({f"{epsilon:g}" for epsilon in self.epsilons}) < len(self.epsilons):
            raise InputError("an epsilon is given twice, to six digits; leave one out")
        unknown = [name for name in self.attacks if name not in ATTACKS]
        if unknown or not self.attacks:
            raise InputError(
                f"there is no attack {''.join(unknown[:1])!r}; give some of {', '.join(ATTACKS)}, autoattack, with "
                "spaces between them"
            )
        counts = {
            "steps": self.steps,
            "samples": self.samples if self.samples is not None else 1,
            "library_samples": self.library_samples,
            "iterations": self.iterations,
            "queries": self.queries,
        }
        for name, count in counts.items():
            if count < 1:
                raise InputError(f"{name} is {count}; it must be at least 1")
        if self.library:
            check_available()

    @property
    def library(self) -> tuple[str, ...]:
        """The attacks of the library."""
        return tuple(name for name in LIBRARY if name in self.attacks)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "epsilon": list(self.epsilons),
            "attacks": list(self.attacks),
            "steps": self.steps,
            "iterations": self.iterations,
            "queries": self.queries,
        }
