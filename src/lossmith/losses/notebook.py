"""How losses show themselves in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossmith.errors import InputError
from lossmith.markup import element, named_rows

if TYPE_CHECKING:
    from lossmith.losses.base import Loss

MOST_SHOWN = 20


class InNotebook:
    """What IPython asks a loss for."""

    def _repr_latex_(self: Loss) -> str | None:  # type: ignore[misc]
        """The formula; None for a population, and for kinds that LaTeX is not written of."""
        from lossmith.losses.formatting import latex

        try:
            return f"$\\displaystyle {latex(self).loss}$"
        except InputError:
            return None

    def _repr_html_(self: Loss) -> str | None:  # type: ignore[misc]
        """The first members of a population; None for one loss, whose formula is shown as LaTeX."""
        if len(self.shape) != 1:
            return None
        shown = range(min(len(self), MOST_SHOWN))
        title = f"{self.name}: a population of {len(self)}"
        title += f", the first {MOST_SHOWN}" if len(self) > MOST_SHOWN else ""
        return named_rows(title, [(str(place), element("code", self[place].formula())) for place in shown])
