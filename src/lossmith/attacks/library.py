"""Attacks of the Adversarial Robustness Toolbox on one network: the only module that needs the extra ``robust``.

They share no code with the attacks of this package, so that either can show a fault of the other. What is mended here:

- the toolbox draws from NumPy's global generator: it is seeded for one attack, then put back;
- its Square attack never changes the last row and column, and fails on images that are not square, or very small: the
  images are handed over in a square frame of one row and column more, which the network cuts off again.

What stays as the toolbox has it: Auto-PGD gives its last point, not its best, and only success there counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossmith.errors import InputError, installing
from lossmith.seeds import derive

LIBRARY_ATTACKS = ("apgd-ce", "apgd-dlr", "square")
SMALLEST_DLR_CLASSES, SMALLEST_FRAME, BATCH = 3, 5, 256
APGD_LOSSES = {"apgd-ce": "cross_entropy", "apgd-dlr": "difference_logits_ratio"}


def check_available() -> None:
    """See that the toolbox is installed.

    Raises:
        InputError: if it is not, naming the extra that installs it.
    """
    _evasion()


def check_attack(name: str, inputs: Tensor, classes: int) -> None:
    """See that an attack can be made on images ``[N, C, H, W]`` of some number of classes.

    Raises:
        InputError: if it cannot.
    """
    if name == "apgd-dlr" and classes < SMALLEST_DLR_CLASSES:
        raise InputError(
            f"the attack apgd-dlr needs at least {SMALLEST_DLR_CLASSES} classes, not {classes}; leave it out "
            "(autoattack contains it: give apgd-ce square instead)"
        )
    if inputs.device.type not in ("cpu", "cuda"):
        raise InputError(f"the attack {name} runs on a CPU or with CUDA, not on {inputs.device}; leave it out")


def library_attack(
    name: str,
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    epsilon: float,
    classes: int,
    max_pixel: float = 1.0,
    *,
    iterations: int = 50,
    queries: int = 500,
    seed: int = 0,
) -> Tensor:
    """Attacked images ``[N, C, H, W]``, within ε w of the images and within [0, w].

    Args:
        name: ``"apgd-ce"`` and ``"apgd-dlr"`` (Auto-PGD on cross-entropy, and on the difference of logits ratio), or
            ``"square"`` (black box): parts of AutoAttack (Croce & Hein, 2020; Andriushchenko et al., 2020).
        network: In evaluation mode.
        inputs: Images ``[N, C, H, W]``, floating, pixels in [0, w].
        targets: Class indices ``[N]``.
        epsilon: ε in [0, 1], in units of w.
        classes: K; at least 3 for ``"apgd-dlr"``, whose ratio needs three logits.
        max_pixel: w.
        iterations: Steps of Auto-PGD.
        queries: Queries of the black-box attack for each image.
        seed: Of what is drawn.

    Raises:
        InputError: if the toolbox is not installed, or the attack needs more classes.
    """
    check_attack(name, inputs, classes)
    if epsilon == 0:
        return inputs

    def made(evasion: Any, classifier: Any) -> Any:
        common = {"norm": np.inf, "eps": epsilon * max_pixel, "verbose": False, "batch_size": BATCH}
        if name == "square":
            return evasion.SquareAttack(classifier, max_iter=queries, nb_restarts=1, **common)
        return evasion.AutoProjectedGradientDescent(
            classifier,
            eps_step=2 * epsilon * max_pixel,
            max_iter=iterations,
            nb_random_init=1,
            loss_type=APGD_LOSSES[name],
            **common,
        )

    framed, cropped = (_framed(inputs), _Cropped(network, inputs)) if name == "square" else (inputs, network)
    height, width = inputs.shape[-2:]
    attacked = run_toolbox(made, cropped, framed, targets, classes, max_pixel, seed)[..., :height, :width]
    radius = epsilon * max_pixel
    return attacked.clamp((inputs - radius).clamp(min=0), (inputs + radius).clamp(max=max_pixel))


def run_toolbox(
    make: Callable[[Any, Any], Any],
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    classes: int,
    max_pixel: float,
    seed: int,
) -> Tensor:
    """Images as an attack of the toolbox changes them, on the device of the inputs.

    Args:
        make: Makes the attack from the module ``art.attacks.evasion`` and a classifier.
        network: In evaluation mode.
        inputs: ``[N, C, H, W]``.
        targets: ``[N]``.
        classes: K.
        max_pixel: Pixels lie in [0, max_pixel].
        seed: Of what the attack draws.
    """
    evasion, classifier_class = _evasion()
    device = torch.cuda.device(inputs.device) if inputs.is_cuda else contextlib.nullcontext()
    with device, _global_numpy_seeded(seed):
        classifier = classifier_class(
            model=network,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(inputs.shape[1:]),
            nb_classes=classes,
            clip_values=(0.0, max_pixel),
            device_type="cpu" if inputs.device.type == "cpu" else "gpu",
        )
        found = make(evasion, classifier).generate(inputs.cpu().numpy(), y=targets.cpu().numpy())
    return torch.from_numpy(found).to(inputs)


def _framed(inputs: Tensor) -> Tensor:
    height, width = inputs.shape[-2:]
    side = max(height + 1, width + 1, SMALLEST_FRAME)
    return nn.functional.pad(inputs, (0, side - width, 0, side - height))


class _Cropped(nn.Module):
    """A network that sees only the top left part of its inputs, of the size of some images."""

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        super().__init__()
        self.network = network
        self.height, self.width = inputs.shape[-2:]

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.network(inputs[..., : self.height, : self.width])
        return result


def _evasion() -> tuple[Any, Any]:
    try:
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier
    except ImportError:
        raise InputError(
            f"these attacks need the Adversarial Robustness Toolbox, which is not installed: {installing('robust')}"
        ) from None
    return evasion, PyTorchClassifier


@contextlib.contextmanager
def _global_numpy_seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, which the toolbox draws from, seeded meanwhile and afterwards as it was."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(derive(seed, "toolbox"))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
