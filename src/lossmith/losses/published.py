"""Losses that the paper and the authors of TaylorGLO published, and the Taylor series of cross-entropy."""

from dataclasses import replace

from lossmith.losses.loss import Loss
from lossmith.losses.named import polynomial, taylor

MNIST = (-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513)
CROSS_ENTROPY_SERIES = (0.5, 0.5, 1.0, -1.0, 4 / 3, 2.0, -2.0, 0.0)


def allcnnc() -> Loss:
    """The loss evolved for AllCNN-C on CIFAR-10, by its coefficients; λ0 and λ1 were not published.

    The coefficients give a, b and c of §4.1 exactly and equation 30 to 1e-4. Equations 28–29 print 130.264 for −ch in
    places, which fits a, b and c as well; the first number of equation 30 decides.
    """
    return polynomial(-373.917, -129.254, -11.2188, -2.216, -0.674, 2.1203, name="TaylorGLO (AllCNN-C)")


def mnist() -> Loss:
    """The loss that the authors of TaylorGLO published for MNIST, by its λ."""
    return replace(taylor(MNIST), name="TaylorGLO (MNIST)")


def taylor_cross_entropy() -> Loss:
    """The third-order Taylor series of cross-entropy about h = y = ½, a member of the Taylor family.

    ``y log h`` has, less what does not depend on h, the series ``u − u² + (4/3) u³ + 2 u v − 2 u² v`` in ``u = h − ½``
    and ``v = y − ½``.
    """
    return replace(taylor(CROSS_ENTROPY_SERIES), name="Taylor series of cross-entropy")
