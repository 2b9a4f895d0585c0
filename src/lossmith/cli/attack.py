"""``lossmith attack``: accuracy under attack, and whether it is real."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.table import Table

from lossmith import report
from lossmith.analysis import (
    ATTACKS,
    OWN_ATTACKS,
    Attacking,
    AttackPlan,
    Masking,
    Robustness,
    attack_contrasts,
    attack_document,
)
from lossmith.attacks import check_attack
from lossmith.cli.arguments import OptionalNumber
from lossmith.cli.console import output
from lossmith.cli.formatting import spread_text, tests_text
from lossmith.cli.trained import Looking, check_number, looked_at, opened, parsed
from lossmith.data import find_max_pixel
from lossmith.metrics import Contrast


@dataclass(frozen=True)
class Attack(Looking):
    """Train networks with each loss, and attack them on test images: how many are still classified correctly?

    fgsm and pgd follow three gradients, of the loss itself, of cross-entropy and of the margin between the logits; an
    image counts if it survives all three. apgd-ce, apgd-dlr and square (parts of AutoAttack) need the extra robust
    (pip install '.[robust]' in the source, or 'lossmith-….whl[robust]'). Signs of gradient masking, which makes a
    network look robust that is not, stand beside every figure.

    All losses are trained alike. Data, model and recipe are those of the search of a best.json, unless flags say
    otherwise. {losses}

    example:  lossmith attack cross-entropy study/best.json --epsilon 0 0.05 0.1 --seeds 10
    """

    epsilon: Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT ...")] = (0.0, 0.05, 0.1)
    """Strengths of the attacks: how much a pixel may change, as a share of the range of pixels."""
    attacks: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = OWN_ATTACKS
    """Attacks to run: fgsm, pgd, apgd-ce, apgd-dlr, square, or autoattack (the last three)."""
    pgd_steps: int = 20
    """Steps of pgd."""
    samples: OptionalNumber = None
    """Test images for fgsm and pgd; without it, all of them."""
    library_samples: int = 200
    """How many of these are for apgd-ce, apgd-dlr and square."""
    iterations: int = 50
    """Steps of apgd-ce and apgd-dlr."""
    queries: int = 500
    """Attempts of square on each image."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parsed(Attack, arguments, "attack", ("--epsilon",), {"--attacks": (*ATTACKS, "autoattack")})
    plan = _plan(given)
    with opened(given) as found:
        max_pixel = find_max_pixel(found.problem.source, found.settings.data)
        for name in plan.library:
            check_attack(name, found.problem.task.inputs, found.problem.classes)
        look = Attacking(*found.problem.test(), max_pixel, plan)
        results, backend = looked_at(found, given, "attack", look, "training and attacking")
    if given.json:
        behind = found.described(given.seeds, given.seed, backend)
        document = {**behind, **attack_document(results, plan), "max_pixel": max_pixel}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not given.quiet:
        _print(results, plan)
    # The last of all: what was computed is told first, whatever happens to the picture.
    if given.figure is not None:
        report.save_figure(report.plot_attacks(results), given.figure)
        if not (given.json or given.quiet):
            output().print(f"\nPicture: {given.figure}", soft_wrap=True)


def _plan(given: Attack) -> AttackPlan:
    check_number("--pgd-steps", given.pgd_steps, 1, 10_000)
    for name, value in (("--samples", given.samples), ("--library-samples", given.library_samples)):
        check_number(name, value, 1)
    for name, value in (("--iterations", given.iterations), ("--queries", given.queries)):
        check_number(name, value, 1, 10**6)
    names = [name for word in given.attacks for name in (ATTACKS[2:] if word == "autoattack" else (word,))]
    return AttackPlan(
        epsilons=given.epsilon,
        attacks=tuple(dict.fromkeys(names)),
        steps=given.pgd_steps,
        samples=given.samples,
        library_samples=given.library_samples,
        iterations=given.iterations,
        queries=given.queries,
        seed=given.seed,
    )


def _print(results: Sequence[Robustness], plan: AttackPlan) -> None:
    console = output()
    console.print(_accuracy_table(results, plan))
    samples = results[0].samples
    few = f"; {', '.join(plan.library)} and worst on {samples['worst']} of them" if plan.library else ""
    console.print(
        f"Mean ± standard deviation of {len(results[0].clean)} networks, % of {max(samples.values())} test images that "
        f"are classified rightly before and after the attack{few}. ε is a share of the range of pixels. fgsm and pgd: "
        "an image survives along three gradients; worst: it survives everything that was run."
    )
    for result in results:
        if result.diverged.any():
            console.print(f"{result.name}: {int(result.diverged.sum())} networks diverged and count as wrong.")
    contrasts, names = attack_contrasts(results), [result.name for result in results]
    if contrasts:
        console.print(_tests_table(contrasts, names))
    tests = tests_text(contrasts, names, "more often right under attack", "images")
    if len(names) > 1 and not any(plan.epsilons):
        tests = "No tests: they compare losses under attack, and no ε is above 0."
    if tests:
        console.print(f"Differences in percentage points with their 95 % interval. {tests}" if contrasts else tests)
    if not any(plan.epsilons):
        return
    console.print(_masking_table(results, plan))
    for result in results:
        for epsilon, masking in zip(plan.epsilons, result.masking, strict=True):
            if epsilon:
                console.print(f"{result.name}, ε = {epsilon:g}: {_signs(masking)}")
    console.print(
        "All in %. A loss that hides from its attack has an accuracy that is worth nothing. Zero gradients: share of "
        "the rightly classified images whose gradient is 0 in every pixel, of the loss itself (and of cross-entropy). "
        "fgsm: accuracy along the gradients of the loss, of cross-entropy and of the margin. pgd: accuracy along that "
        "of cross-entropy, in many steps. Black box: share of the images that square breaks and no gradient does. A "
        "sign is a hint, told from one percentage point on, or from five for the margin and for more steps, where "
        "honest networks differ, too; few images or hardly trained networks can show one by chance."
    )
    missing = results[0].masking[0].missing()
    if missing:
        console.print(f"Not run: {', '.join(missing)}. Without it masking can stay unseen.")


def _accuracy_table(results: Sequence[Robustness], plan: AttackPlan) -> Table:
    names = [
        *(name for name in ATTACKS if name in plan.attacks),
        *(["autoattack"] if "autoattack" in results[0].accuracy else []),
        "worst",
    ]
    table = Table(title="Accuracy under attack, %", title_justify="left")
    table.add_column("loss", overflow="fold", min_width=13)
    for name in ("ε", "clean", *names):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        for place, epsilon in enumerate(plan.epsilons):
            cells = [spread_text(result.accuracy[name][place], 1, 100) for name in names]
            first = (result.name, spread_text(result.clean, 1, 100)) if place == 0 else ("", "")
            table.add_row(first[0], f"{epsilon:g}", first[1], *cells)
        table.add_section()
    return table


def _tests_table(contrasts: Sequence[Contrast], names: Sequence[str]) -> Table:
    table = Table(title="Tests", title_justify="left")
    table.add_column("loss", overflow="fold", min_width=13)
    for name in ("", f"worst, less {names[0]}", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in contrasts:
        found = one.result
        difference = f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
        table.add_row(names[one.place], one.measure, difference, f"{one.holm:.2g}")
    return table


def _masking_table(results: Sequence[Robustness], plan: AttackPlan) -> Table:
    table = Table(title="Is it real? Signs of gradient masking", title_justify="left")
    table.add_column("loss", overflow="fold", min_width=13)
    # As narrow as figures are, for a terminal of 80 columns.
    for name in ("ε", "zero\ngradients", "fgsm:\nown", "cross-\nentropy", "margin", "pgd", "black\nbox"):
        table.add_column(name, justify="right")
    for result in results:
        for place, (epsilon, masking) in enumerate(zip(plan.epsilons, result.masking, strict=True)):
            if epsilon:
                table.add_row(
                    result.name if place == 0 or plan.epsilons[place - 1] == 0 else "",
                    f"{epsilon:g}",
                    *_witnesses(masking),
                )
        table.add_section()
    return table


def _witnesses(masking: Masking) -> list[str]:
    zero, fgsm = masking.zero_gradients, (masking.own_gradient, masking.cross_entropy_gradient, masking.margin_gradient)
    shares = (*fgsm, masking.more_steps, masking.black_box_only)
    return [
        f"{100 * zero['loss']:.1f} ({100 * zero['cross-entropy']:.1f})",
        *("not run" if share is None else f"{100 * share:.1f}" for share in shares),
    ]


def _signs(masking: Masking) -> str:
    none = "no sign of those that were run" if masking.missing() else "no sign"
    return "; ".join(masking.signs()) or none
