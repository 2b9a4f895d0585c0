"""What the user chooses about the search."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lossmith.search.engines import SEARCH_ENGINES, counterpart
from lossmith.search.spaces import SPACES
from lossmith.settings import Settings

Invariant = Literal["none", "published", "exact"]


class SearchSettings(Settings):
    """Where and how the search looks, how long, and which candidates it never trains."""

    space: Annotated[str, SPACES] = "residual"
    """What is searched: "residual" (smoothed cross-entropy plus a polynomial), "canonical" (third-order Taylor by gain
    and shape), "taylor" (TaylorGLO's λ), "smoothed-mae", "residual-schedule", "noise-robust" (with the losses for
    noisy labels), or formulas ("expression", that of --engine genetic; "expression-residual": plus cross-entropy)."""

    engine: Annotated[str, SEARCH_ENGINES] = "cma"
    """How the search works: "cma" (CMA-ES, in spaces of vectors), or "genetic" (GLO: genetic programming over
    formulas, then CMA-ES on the numbers of the best one)."""

    depth: int = Field(default=5, ge=1, le=20)
    """Largest depth of the formulas of --engine genetic."""

    coefficients: float = Field(default=0.3, ge=0, le=1, allow_inf_nan=False)
    """Share of every ten generations of --engine genetic, at their end, in which CMA-ES tunes the numbers of the best
    formula."""

    order: int = Field(default=3, ge=2, le=8)
    """Order of the "taylor" space."""

    knots: int = Field(default=2, ge=2, le=10)
    """Knots of the "residual-schedule" space, evenly over the training."""

    gain: Literal["free", "fixed"] = "free"
    """Whether the space "canonical" searches the gain, or keeps it at 1, so that it cannot act as a learning rate."""

    scale: bool = False
    """Search the scale of the loss, too, which for SGD acts as its learning rate."""

    known_first: bool = False
    """Begin with the known losses that the space holds, with their tuned strengths (and their rates with --scale)."""

    start: tuple[str, ...] = Field(default=(), strict=False)
    """Losses that the search tries first, by name or file. Where the space does not hold one, the nearest loss stands
    for it; one that is far from all is refused, and in spaces of formulas one that is none or too deep."""

    population: int = Field(default=20, ge=2, le=10**5)
    """Candidates in a generation."""

    generations: int = Field(default=25, ge=1, le=10**6)
    """Generations of the search; an ended study can be given more."""

    sigma: float | None = Field(default=None, ge=1e-6, le=1e6, allow_inf_nan=False)
    """First step size of CMA-ES (default: 0.5 residual, 0.6 canonical, 1.2 taylor, 1 smoothed-mae; 1 and from a known
    loss with --no-tune and at most 100 trainings)."""

    lr_adapt: bool = False
    """Let CMA-ES adapt its learning rate to the noise of the fitness."""

    invariant: Invariant = "exact"
    """Which form of the trainability invariant keeps a candidate from being trained; both are recorded."""

    untrainable: Literal["worst", "redraw"] = "worst"
    """What happens to a candidate that the invariant rejects: it ranks last in its generation, or is drawn again."""

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, values: Any) -> Any:
        """Each engine has a space that it searches if none is named, and some have spaces of their own."""
        return {**values, **counterpart(values)} if isinstance(values, dict) else values

    seed: int = Field(default=0, gt=-(2**128), lt=2**128)
    """Seed of the search: of its candidates, and of the initial weights and batches they are trained with."""
