"""Signs of gradient masking: what says that a loss hides from its attack rather than resists it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

NOTABLE, LARGE = 0.01, 0.05


@dataclass(frozen=True)
class Masking:
    """What says whether a loss hides from its attack rather than resists it, for one loss and ε.

    All figures are means over the S networks; None where a witness was not run.

    Args:
        zero_gradients: Share of the rightly classified images whose input gradient is 0 in every pixel, for the loss
            itself, cross-entropy and the margin; it does not depend on ε.
        own_gradient: Accuracy under FGSM with the gradient of the loss itself.
        cross_entropy_gradient: The same with that of cross-entropy.
        margin_gradient: The same with that of the logit margin, which no loss can flatten.
        one_step: Accuracy under FGSM with the gradient of cross-entropy.
        more_steps: The same under PGD.
        strongest: Accuracy under FGSM and PGD along all three gradients.
        black_box_only: Share of the images that Square breaks and no gradient attack does, if one of many steps (PGD,
            Auto-PGD) was run, too.
    """

    zero_gradients: dict[str, float]
    own_gradient: float | None
    cross_entropy_gradient: float | None
    margin_gradient: float | None
    one_step: float | None
    more_steps: float | None
    strongest: float | None
    black_box_only: float | None

    def signs(self) -> list[str]:
        """The signs of masking, as text.

        A difference counts from one percentage point on; from five on where honest networks have one, too: between
        the gradients of cross-entropy and of the margin, and where more steps of PGD on cross-entropy gain less than
        a point while other attacks gain five.
        """
        found = []
        if max(self.zero_gradients.values(), default=0.0) >= NOTABLE:
            found.append("zero gradients")
        own, other, margin = self.own_gradient, self.cross_entropy_gradient, self.margin_gradient
        if own is not None and other is not None and own - other >= NOTABLE:
            found.append("cross-entropy's gradient beats its own")
        if own is not None and other is not None and margin is not None and min(own, other) - margin >= LARGE:
            found.append("the margin's gradient beats both")
        one, more, best = self.one_step, self.more_steps, self.strongest
        if None not in (one, more, best) and one - more < NOTABLE and one - best >= LARGE:  # type: ignore[operator]
            found.append("more steps do not help")
        if self.black_box_only is not None and self.black_box_only >= NOTABLE:
            found.append("a black box breaks what gradients do not")
        return found

    def missing(self) -> list[str]:
        """The witnesses that were not run."""
        witnesses = {
            "its own against cross-entropy's gradient (fgsm)": self.own_gradient,
            "more steps (fgsm and pgd)": self.one_step if self.more_steps is not None else None,
            "black box (square, with pgd)": self.black_box_only,
        }
        return [name for name, value in witnesses.items() if value is None]

    @staticmethod
    def from_json(document: dict[str, Any]) -> Masking:
        """The witnesses of :meth:`to_json`; its signs follow from them."""
        return Masking(**{one.name: document[one.name] for one in fields(Masking)})

    def to_json(self) -> dict[str, Any]:
        """A JSON object; a witness that was not run is null and named in ``not_run``."""
        return {
            "zero_gradients": self.zero_gradients,
            "own_gradient": self.own_gradient,
            "cross_entropy_gradient": self.cross_entropy_gradient,
            "margin_gradient": self.margin_gradient,
            "one_step": self.one_step,
            "more_steps": self.more_steps,
            "strongest": self.strongest,
            "black_box_only": self.black_box_only,
            "signs": self.signs(),
            "not_run": self.missing(),
        }
