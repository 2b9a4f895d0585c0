"""Accuracy under attack, and what says whether it is real: signs of gradient masking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.analysis.adversarial import fgsm_correct, pgd_correct
from lossmith.analysis.masking import Masking
from lossmith.analysis.plans import OWN_ATTACKS, AttackPlan
from lossmith.analysis.trained import TrainedLoss
from lossmith.attacks import GRADIENTS, check_attack, floating, library_attack
from lossmith.attacks import LIBRARY_ATTACKS as LIBRARY
from lossmith.metrics import Contrast, check_shape, contrasts_with_first, correct, from_lists, moments
from lossmith.seeds import derive, generator

Array = NDArray[np.float64]
Progress = Callable[[float], None]
LIBRARY_IMAGES = "clean_accuracy_of_library_images"


@dataclass(frozen=True)
class Robustness:
    """Accuracy of the S networks of one loss under attack.

    A sample counts where it is classified rightly before and after the attack. Names of figures: ``fgsm-loss``,
    ``fgsm-cross-entropy``, ``fgsm-margin`` (by the gradient that is followed) and ``fgsm`` (survives all three), the
    same for ``pgd``; ``apgd-ce``, ``apgd-dlr``, ``square``; ``autoattack`` where these three were run (survives all of
    them); ``worst`` (survives everything that was run).

    Args:
        name: The loss.
        epsilons: The E strengths.
        clean: Accuracy without attack ``[S]``.
        accuracy: Accuracy by figure, ``[E, S]``.
        samples: Number of images behind each figure.
        clean_library: Accuracy without attack on the images of the library's attacks, ``[S]``, if these were run.
        masking: One for each ε.
        diverged: Networks that have diverged, ``[S]``; they count as wrong on every image.
    """

    name: str
    epsilons: tuple[float, ...]
    clean: Array
    accuracy: dict[str, Array]
    samples: dict[str, int]
    clean_library: Array | None
    masking: list[Masking]
    diverged: NDArray[np.bool_]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; figures stand in the order of ``epsilons``, and by ε as text, as tables show them."""
        return {
            "name": self.name,
            "epsilons": list(self.epsilons),
            "clean_accuracy": moments(self.clean),
            "accuracy": {
                f"{epsilon:g}": {name: moments(values[place]) for name, values in self.accuracy.items()}
                for place, epsilon in enumerate(self.epsilons)
            },
            "masking": {
                f"{epsilon:g}": masking.to_json() for epsilon, masking in zip(self.epsilons, self.masking, strict=True)
            },
            LIBRARY_IMAGES: None if self.clean_library is None else moments(self.clean_library),
            "samples": self.samples,
            "diverged": self.diverged.tolist(),
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Robustness:
        """The figures of :meth:`to_json`.

        Raises:
            ValueError: if the document has another shape, or KeyError, or TypeError.
        """
        rows = list(document["accuracy"].values())
        library = document[LIBRARY_IMAGES]
        found = Robustness(
            document["name"],
            tuple(map(float, document["epsilons"])),
            from_lists(document["clean_accuracy"]["values"]),
            {name: np.stack([from_lists(row[name]["values"]) for row in rows]) for name in rows[0]},
            document["samples"],
            None if library is None else from_lists(library["values"]),
            [Masking.from_json(masking) for masking in document["masking"].values()],
            np.array(document["diverged"], dtype=bool),
        )
        # A witness that is no number has no signs.
        found.to_json()
        check_shape((len(found.masking),), np.array(found.epsilons))
        check_shape(found.diverged.shape, found.clean)
        check_shape((len(found.epsilons), *found.clean.shape), *found.accuracy.values())
        return found


def attack_document(results: Sequence[Robustness], plan: AttackPlan) -> dict[str, Any]:
    """Everything that was found of some losses, by loss, ε and attack, as JSON."""
    rows = {result.name: result.to_json() for result in results}
    return {
        **{part: {name: row[part] for name, row in rows.items()} for part in ("clean_accuracy", "accuracy", "masking")},
        "tests": [one.to_json(list(rows)) for one in attack_contrasts(results)],
        LIBRARY_IMAGES: {name: row[LIBRARY_IMAGES] for name, row in rows.items() if row[LIBRARY_IMAGES] is not None},
        "samples": results[0].samples,
        "diverged": {name: sum(row["diverged"]) for name, row in rows.items()},
        "plan": plan.to_json(),
    }


def attack_contrasts(results: Sequence[Robustness]) -> list[Contrast]:
    """Tests of each loss with the first one in the worst figure at each ε above 0."""
    return contrasts_with_first(
        [
            {
                f"ε = {epsilon:g}": values
                for epsilon, values in zip(result.epsilons, result.accuracy["worst"], strict=True)
                if epsilon
            }
            for result in results
        ]
    )


def robustness(
    trained_loss: TrainedLoss,
    inputs: Tensor,
    targets: Tensor,
    max_pixel: float,
    plan: AttackPlan,
    progress: Progress | None = None,
) -> Robustness:
    """Attack the networks of one loss.

    Args:
        trained_loss: The loss and its S networks.
        inputs: Images ``[N, C, H, W]``, pixels in [0, max_pixel].
        targets: Class indices ``[N]``.
        max_pixel: Value of a white pixel.
        plan: Which attacks.
        progress: Called with the share of the work that is done.
    """
    report = progress if progress is not None else _silent
    for name in plan.library:
        check_attack(name, inputs, trained_loss.networks.classes(inputs))
    order = torch.randperm(len(inputs), generator=generator(plan.seed, "attacked images")).to(inputs.device)
    rows = order[: plan.samples].sort().values
    few = torch.randperm(len(rows), generator=generator(plan.seed, "library images"))[: plan.library_samples]
    few = few.sort().values.to(inputs.device)
    x, y = inputs[rows], targets[rows]
    networks, losses, count = trained_loss.networks, trained_loss.losses, len(plan.epsilons)
    right, fgsm_after, zero = fgsm_correct(networks, losses, x, y, plan.epsilons, max_pixel)
    after: dict[str, list[Tensor]] = {}
    for place, epsilon in enumerate(plan.epsilons):
        if "fgsm" in plan.attacks:
            _add(after, "fgsm", fgsm_after[place])
        if "pgd" in plan.attacks:
            survived = pgd_correct(networks, losses, x, y, epsilon, max_pixel, plan.steps, plan.seed)
            _add(after, "pgd", survived & right)
        for number, name in enumerate(plan.library):

            def within(share: float, done: float = place + (number + 1) / (len(plan.library) + 1)) -> None:
                report((done + share / (len(plan.library) + 1)) / count)

            survived = _library_correct(
                name, trained_loss, x[few], y[few], right[:, few], epsilon, max_pixel, plan, within
            )
            after.setdefault(name, []).append(survived)
        report((place + 1) / count)
    if set(LIBRARY) <= set(after):
        after["autoattack"] = [
            torch.stack(parts).all(0) for parts in zip(*(after[name] for name in LIBRARY), strict=True)
        ]
    after["worst"] = _worst(after, few if plan.library else None, len(rows))
    accuracy = {
        name: np.stack([part.double().mean(-1).cpu().numpy() for part in parts]) for name, parts in after.items()
    }
    return Robustness(
        trained_loss.name,
        plan.epsilons,
        right.double().mean(-1).cpu().numpy(),
        accuracy,
        {name: parts[0].shape[-1] for name, parts in after.items()},
        right[:, few].double().mean(-1).cpu().numpy() if plan.library else None,
        [_masking(place, after, accuracy, zero, right, few) for place in range(count)],
        trained_loss.diverged.cpu().numpy(),
    )


def _silent(_: float) -> None:
    return None


def _add(after: dict[str, list[Tensor]], attack: str, survived: Tensor) -> None:
    for gradient, part in zip(GRADIENTS, survived, strict=True):
        after.setdefault(f"{attack}-{gradient}", []).append(part)
    after.setdefault(attack, []).append(survived.all(0))


def _library_correct(
    name: str,
    trained_loss: TrainedLoss,
    x: Tensor,
    y: Tensor,
    right: Tensor,
    epsilon: float,
    max_pixel: float,
    plan: AttackPlan,
    progress: Progress,
) -> Tensor:
    found = right.clone()
    if not epsilon:
        return found
    for number in range(len(trained_loss.networks)):
        rows = right[number].nonzero().squeeze(-1)
        if len(rows):
            network = trained_loss.networks.member(number)
            seed = derive(plan.seed, name, number)
            options: dict[str, Any] = {"iterations": plan.iterations, "queries": plan.queries, "seed": seed}
            classes = trained_loss.networks.classes(x)
            images = library_attack(name, network, floating(x[rows]), y[rows], epsilon, classes, max_pixel, **options)
            with torch.no_grad():
                found[number, rows] = correct(network(images)[None], y[rows])[0]
        progress((number + 1) / len(trained_loss.networks))
    return found


def _worst(after: dict[str, list[Tensor]], few: Tensor | None, total: int) -> list[Tensor]:
    found = []
    for parts in zip(*after.values(), strict=True):
        same = [part[:, few] if few is not None and part.shape[-1] == total else part for part in parts]
        found.append(torch.stack(same).all(0))
    return found


def _masking(
    place: int,
    after: dict[str, list[Tensor]],
    accuracy: dict[str, Array],
    zero: Tensor,
    right: Tensor,
    few: Tensor,
) -> Masking:
    def mean(name: str) -> float | None:
        return float(accuracy[name][place].mean()) if name in accuracy else None

    hits = right.sum().clamp(min=1)
    zeros = {name: float((part & right).sum() / hits) for name, part in zip(GRADIENTS, zero, strict=True)}
    own = [f"{attack}-{gradient}" for attack in OWN_ATTACKS for gradient in GRADIENTS]
    white_box = [after[name][place][:, few] for name in own if name in after]
    white_box += [after[name][place] for name in LIBRARY[:2] if name in after]
    only = None
    many_steps = any(name in after for name in ("pgd", *LIBRARY[:2]))
    if "square" in after and many_steps:
        only = float((torch.stack(white_box).all(0) & ~after["square"][place]).double().mean())
    both = "fgsm-cross-entropy" in accuracy and "pgd-cross-entropy" in accuracy
    return Masking(
        zeros,
        mean("fgsm-loss"),
        mean("fgsm-cross-entropy"),
        mean("fgsm-margin"),
        mean("fgsm-cross-entropy") if both else None,
        mean("pgd-cross-entropy") if both else None,
        float((after["fgsm"][place] & after["pgd"][place]).double().mean()) if both else None,
        only,
    )
