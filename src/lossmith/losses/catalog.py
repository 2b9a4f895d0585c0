"""Every loss that has a name, with its formula and its source: the one place where they are told."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, overload

from lossmith.errors import InputError
from lossmith.losses.base import Loss
from lossmith.losses.elementwise import FractionalFocal
from lossmith.losses.polynomials import polynomial, taylor
from lossmith.losses.power import PowerLoss
from lossmith.losses.terms import Term, float64
from lossmith.losses.transforms import Clipped, Normalized
from lossmith.registry import Registry

MNIST = (-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513)
CROSS_ENTROPY_SERIES = (0.5, 0.5, 1.0, -1.0, 4 / 3, 2.0, -2.0, 0.0)


@dataclass(frozen=True)
class Parameter:
    """A number that a loss takes.

    Args:
        symbol: What it is called.
        default: What it is where none is given.
        share: What it is the share of, if it is one that only the user can know: a criterion tells that none was given.
    """

    symbol: str
    default: float
    share: str = ""


@dataclass(frozen=True)
class Named:
    """A loss that is known by name.

    Args:
        name: As a user types it.
        function: Its function in Python.
        formula: φ, or L where it is no sum of φ over classes, in the words of the function's docstring.
        source: Who published it.
        parameter: The number that it takes, if any.
        by_classes: Whether the function takes the number of classes, too.
        second: The second number, of a loss that takes two.
    """

    name: str
    function: Callable[..., Loss]
    formula: str
    source: str
    parameter: Parameter | None = None
    by_classes: bool = False
    second: Parameter | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The numbers that it takes."""
        return tuple(one for one in (self.parameter, self.second) if one is not None)

    @property
    def typed(self) -> str:
        """The name with the defaults: ``focal:2``."""
        return ":".join([self.name, *(f"{one.default:g}" for one in self.parameters)])

    def build(self, parameter: float | None, classes: int, second: float | None = None) -> Loss:
        """The loss for its parameters (None is their default) and a number of classes.

        Raises:
            InputError: if a parameter cannot be used.
        """
        given = zip(self.parameters, (parameter, second), strict=False)
        arguments = [one.default if value is None else value for one, value in given]
        return self.function(*arguments, *((classes,) if self.by_classes else ()))


CATALOG = Registry[Named]("loss")
Function = TypeVar("Function", bound=Callable[..., Loss])


def catalogued(
    name: str,
    formula: str,
    source: str,
    parameter: Parameter | None = None,
    by_classes: bool = False,
    second: Parameter | None = None,
) -> Callable[[Function], Function]:
    """Put a function that builds a loss into the catalog.

    Args:
        name: As a user types it.
        formula: In the words of the function's docstring.
        source: Who published it.
        parameter: The number that it takes, if any.
        by_classes: Whether the function takes the number of classes, too.
        second: The second number, of a loss that takes two.
    """

    def register(function: Function) -> Function:
        CATALOG.register(name, Named(name, function, formula, source, parameter, by_classes, second))
        return function

    return register


@catalogued("cross-entropy", "φ = y log h", "equation 7")
def cross_entropy() -> PowerLoss:
    """Cross-entropy, ``φ = y log h`` (equation 7); its value is ``torch.nn.CrossEntropyLoss``'s."""
    return power_loss("cross-entropy", {(0, 1, 1): 1.0})


@catalogued("mse", "φ = −(y − h)²", "equations 4–6")
def mse() -> PowerLoss:
    """Mean squared error of the softmax output (the Brier score), ``φ = −(y − h)²`` (equations 4–6)."""
    return power_loss("MSE", {(0, 2, 0): -1.0, (1, 1, 0): 2.0, (2, 0, 0): -1.0})


@catalogued("baikal", "φ = log h − y/h", "Gonzalez & Miikkulainen, 2020")
def baikal() -> PowerLoss:
    """Baikal loss, ``φ = log h − y/h`` (equations 8–9; Gonzalez & Miikkulainen, 2020)."""
    return power_loss("Baikal", {(0, 0, 1): 1.0, (-1, 1, 0): -1.0})


@catalogued("mae", "φ = y (h − 1)", "Ghosh et al., 2017")
def mae() -> PowerLoss:
    """Mean absolute error up to a factor 2, ``φ = y (h − 1)`` (Ghosh et al., 2017)."""
    return power_loss("MAE", {(1, 1, 0): 1.0, (0, 1, 0): -1.0})


@catalogued("poly", "φ = y log h + ε y (h − 1)", "Leng et al., 2022", Parameter("ε", 1.0))
def poly(epsilon: float = 1.0) -> PowerLoss:
    """PolyLoss-1, ``φ = y log h + ε y (h − 1)`` (Leng et al., 2022).

    Raises:
        InputError: if ε is not a finite number.
    """
    if not math.isfinite(epsilon):
        raise InputError(f"PolyLoss takes a finite ε, not {epsilon}")
    return power_loss(f"PolyLoss {epsilon:g}", {(0, 1, 1): 1.0, (1, 1, 0): float(epsilon), (0, 1, 0): -float(epsilon)})


@overload
def focal(focusing: int = 2) -> PowerLoss: ...


@overload
def focal(focusing: float) -> Loss: ...


@catalogued("focal", "φ = y (1 − h)^focusing log h", "Lin et al., 2017", Parameter("focusing", 2.0))
def focal(focusing: float = 2) -> Loss:
    """Focal loss, ``φ = y (1 − h)^focusing log h`` (Lin et al., 2017); a sum of powers for whole parameters up to 56.

    Raises:
        InputError: if the focusing parameter is not a number from 0 to 1000.
    """
    if isinstance(focusing, bool) or not 0 <= focusing <= 1000:
        raise InputError(f"focal loss takes a focusing parameter from 0 to 1000, not {focusing}")
    # Up to here the coefficients of the powers are exact.
    if focusing not in range(57):
        return FractionalFocal(float64(focusing), name=f"focal {focusing:g}")
    power = int(focusing)
    return power_loss(f"focal {power}", {(m, 1, 1): float((-1) ** m * math.comb(power, m)) for m in range(power + 1)})


@catalogued("gce", "φ = y (h^q − 1)/q", "Zhang & Sabuncu, 2018", Parameter("q", 0.7))
def gce(q: float = 0.7) -> PowerLoss:
    """Generalised cross-entropy, ``φ = y (h^q − 1)/q`` (Zhang & Sabuncu, 2018); q → 0 is cross-entropy, q = 1 MAE.

    Raises:
        InputError: if q is outside (0, 1].
    """
    if not 0 < q <= 1:
        raise InputError(f"generalised cross-entropy takes q in (0, 1], not {q}; for q = 0 take cross_entropy()")
    return power_loss(f"GCE {q:g}", {(q, 1, 0): 1 / q, (0, 1, 0): -1 / q})


@catalogued(
    "label-smoothing",
    "φ = ((1 − α) y + α/n) log h",
    "Szegedy et al., 2016",
    Parameter("α", 0.1),
    by_classes=True,
)
def label_smoothing(alpha: float, classes: int) -> PowerLoss:
    """Cross-entropy with smoothed labels, ``φ = ((1 − α) y + α/n) log h`` (Szegedy et al., 2016), for n classes.

    Raises:
        InputError: if α is outside [0, 1), or n < 2.
    """
    if not 0 <= alpha < 1:
        raise InputError(f"label smoothing takes α in [0, 1), not {alpha:g}")
    return cross_entropy().smoothed(alpha, classes)


@catalogued("bootstrapping", "φ = (β y + (1 − β) h) log h", "Reed et al., 2015", Parameter("β", 0.95))
def bootstrapping(beta: float = 0.95) -> PowerLoss:
    """Soft bootstrapping, ``φ = (β y + (1 − β) h) log h`` (Reed et al., 2015).

    The network's own outputs are a part of the labels: the baseline for noisy labels that rewards confidence whatever
    the label. The gradient passes through both factors.

    Raises:
        InputError: if β is outside [0, 1].
    """
    if not 0 <= beta <= 1:
        raise InputError(f"soft bootstrapping takes β in [0, 1], not {beta:g}")
    entropy = power_loss("entropy", {(1, 0, 1): 1.0})
    return replace(beta * cross_entropy() + (1 - beta) * entropy, name=f"bootstrapping {beta:g}")


@catalogued("taylor-ce", "φ = u − u² + (4/3) u³ + 2 u v − 2 u² v", "Gonzalez & Miikkulainen, 2021")
def taylor_cross_entropy() -> PowerLoss:
    """The third-order Taylor series of cross-entropy about h = y = ½, a member of the Taylor family.

    ``y log h`` has, less what does not depend on h, the series ``φ = u − u² + (4/3) u³ + 2 u v − 2 u² v`` in
    ``u = h − ½`` and ``v = y − ½`` (Gonzalez & Miikkulainen, 2021).
    """
    return replace(taylor(CROSS_ENTROPY_SERIES), name="Taylor series of cross-entropy")


@catalogued("nce", "L = Σ_k y_k log h_k / Σ_k log h_k", "Ma et al., 2020")
def normalized_cross_entropy() -> Normalized:
    """Normalized cross-entropy, ``L = Σ_k y_k log h_k / Σ_k log h_k`` (Ma et al., 2020); it couples the classes."""
    return Normalized(cross_entropy(), name="normalized cross-entropy")


@catalogued("logit-clip", "L = −Σ_k y_k log softmax(f min(1, τ/‖f‖))_k", "Wei et al., 2023", Parameter("τ", 2.0))
def logit_clip(threshold: float = 2.0) -> Clipped:
    """Cross-entropy of clipped logits, ``L = −Σ_k y_k log softmax(f min(1, τ/‖f‖))_k`` (Wei et al., 2023; LogitClip).

    Raises:
        InputError: if τ is not a finite number above 0.
    """
    return Clipped(cross_entropy(), float64(threshold), name=f"LogitClip {threshold:g}")


@catalogued(
    "paper/allcnnc", "γ = −373.917 − 129.254 h − 11.2188 h² − 2.216 h y − 0.674 y + 2.1203 y²", "equations 28–30"
)
def allcnnc() -> PowerLoss:
    """The loss evolved for AllCNN-C on CIFAR-10, by its coefficients; λ0 and λ1 were not published (equations 28–30).

    ``γ = −373.917 − 129.254 h − 11.2188 h² − 2.216 h y − 0.674 y + 2.1203 y²``. The coefficients give a, b and c of
    §4.1 exactly and equation 30 to 1e-4. Equations 28–29 print 130.264 for −ch in places, which fits a, b and c as
    well; the first number of equation 30 decides.
    """
    return polynomial(-373.917, -129.254, -11.2188, -2.216, -0.674, 2.1203, name="TaylorGLO (AllCNN-C)")


@catalogued("paper/mnist", "φ = Σ λ_m (h − λ1)^i (y − λ0)^j", "Gonzalez & Miikkulainen, 2021")
def mnist() -> PowerLoss:
    """The loss that TaylorGLO found for MNIST, ``φ = Σ λ_m (h − λ1)^i (y − λ0)^j`` (Gonzalez & Miikkulainen, 2021)."""
    return replace(taylor(MNIST), name="TaylorGLO (MNIST)")


def power_loss(name: str, phi: dict[tuple[float, int, int], float]) -> PowerLoss:
    """The sum of some terms ``h^i y^j (log h)^l`` with coefficients."""
    coefficients = float64(list(phi.values()))
    return PowerLoss(tuple(Term(*term) for term in phi), coefficients, None, name)
