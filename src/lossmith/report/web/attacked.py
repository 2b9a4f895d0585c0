"""How networks stand attacks, and what speaks for gradient masking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lossmith.analysis import Masking, Robustness
from lossmith.markup import Child, Html, element, joined
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Findings
from lossmith.report.web.parts import chart, folded, known_only, short, table

COLORS = ("accent", "accent-2", "ink", "accent-3", "good", "muted")
# What was run, as tables call it, and as a sentence explains it; what is only a part of another figure is left out.
NAMES = {
    "fgsm-loss": "FGSM, its own gradient",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "square": "Square",
    "worst": "all attacks",
}
WORDS = {
    "fgsm": "FGSM takes one step along a gradient.",
    "pgd": "PGD takes many small steps.",
    "apgd-ce": "APGD chooses the size of its steps.",
    "apgd-dlr": "APGD chooses the size of its steps.",
    "square": "Square needs no gradient.",
}
GRADIENTS = (
    "three gradients, of the loss itself, of cross-entropy, and of the margin between the logits; an image must "
    "survive all of them."
)
MASKING = (
    "Gradient masking: a loss hides its gradient, so that attacks find no way although there is one. The network then "
    "only looks robust."
)


def robustness_section(found: Findings) -> Section | None:
    """Accuracy under attack, never without what speaks for gradient masking; None where no attack was kept."""
    if not found.attacks:
        return None
    last, *earlier = (results for results in found.attacks if results)
    specs: dict[str, Any] = {}
    content: list[Child] = [element("p", _told(last)), *_curves(last, found, specs), *_signs(last)]
    content.append(folded("Figures of each attack", _figures(last)))
    for results in earlier:
        epsilons = ", ".join(f"{epsilon:g}" for epsilon in results[0].epsilons)
        networks = f"{len(results[0].clean)} networks of each loss, {max(results[0].samples.values())} images"
        summary = f"An earlier attack: {', '.join(_attacks(results))}; ε = {epsilons}; {networks}"
        content.append(folded(summary, _figures(results), *_signs(results)))
    again = element("code", f"lossmith attack cross-entropy {found.best}")
    content.append(element("p", "More attacks: ", again, class_="note"))
    return Section(
        "robustness",
        "Robustness",
        joined(content),
        script="lossmith.charts(root, data);" * bool(specs),
        data=specs or None,
    )


def _attacks(results: Sequence[Robustness]) -> list[str]:
    """What was run, as tables call it."""
    return [NAMES[name] for name in _named(results) if name in WORDS]


def _named(results: Sequence[Robustness]) -> list[str]:
    return [name for name in NAMES if all(name in result.accuracy for result in results)]


def _told(results: Sequence[Robustness]) -> str:
    named = _named(results)
    said = list(dict.fromkeys(WORDS[name] for name in named if name in WORDS))
    own = [NAMES[name] for name in ("fgsm", "pgd") if name in named]
    said += [f"{' and '.join(own)} {'follow' if len(own) > 1 else 'follows'} {GRADIENTS}"] if own else []
    return (
        f"Test accuracy under attack, the mean of {len(results[0].clean)} networks of each loss. An attack changes "
        "pixels by ε at most, a share of their range, so that the network errs; an image counts if it is classified "
        f"rightly before and after. {' '.join(said)}"
    )


def _curves(results: Sequence[Robustness], found: Findings, specs: dict[str, Any]) -> list[Child]:
    """Accuracy under everything that was run, by strength; nothing where there is one strength."""
    epsilons = results[0].epsilons
    if len(epsilons) < 2 or "worst" not in _named(results):
        return []
    masked = [result for result in results if any(one.signs() for one in result.masking)]
    specs["attacks"] = {
        "label": "Accuracy under all attacks by strength",
        "height": 300,
        "x": {"label": "strength ε", "name": "ε =", "values": list(epsilons)},
        "y": {"label": "test accuracy under all attacks", "unit": " %", "digits": 1, "min": 0, "max": 100},
        "lines": [
            {
                "name": short(result.name),
                "values": known_only(result.accuracy["worst"].mean(1), 100),
                "color": COLORS[place % len(COLORS)],
                "dash": any(result is one for one in masked),
            }
            for place, result in enumerate(_ordered(results, found))
        ],
    }
    return [chart("attacks", "Dashed: the true figure may be far lower, see below." if masked else None)]


def _signs(results: Sequence[Robustness]) -> list[Child]:
    """What speaks for gradient masking, and what could have been run to see it."""
    content: list[Child] = [element("h3", "Is it real?"), element("p", MASKING, class_="note")]
    content.append(element("ul", [_sign(result) for result in results]))
    missing = sorted({name for result in results for one in result.masking for name in one.missing()})
    if missing:
        content.append(element("p", f"Not run, so masking can stay unseen: {', '.join(missing)}.", class_="note"))
    lost = sum(int(result.diverged.sum()) for result in results)
    if lost:
        content.append(element("p", f"{lost} networks diverged and count as wrong.", class_="note"))
    return content


def _figures(results: Sequence[Robustness]) -> Html:
    names, samples = _named(results), results[0].samples
    rows: list[list[Child]] = [
        [short(result.name), f"{epsilon:g}", *(f"{100 * result.accuracy[name][place].mean():.1f} %" for name in names)]
        for result in results
        for place, epsilon in enumerate(result.epsilons)
    ]
    counted = ", ".join(f"{NAMES[name]}: {samples[name]}" for name in names if name in samples)
    return table(f"Images: {counted}", ["loss", "#ε", *(f"#{NAMES[name]}" for name in names)], rows)


def _ordered(results: Sequence[Robustness], found: Findings) -> list[Robustness]:
    """The winner first, which has the same color everywhere on the page; else the last one."""
    winner = None if found.winner is None else found.winner.name
    first = next((result for result in results if result.name == winner), results[-1])
    return [first, *(result for result in results if result is not first)]


def _sign(result: Robustness) -> Html:
    """The signs of masking of a loss, with the strengths at which there is one."""
    found: dict[str, list[str]] = {}
    for epsilon, masking in zip(result.epsilons, result.masking, strict=True):
        for sign in masking.signs() if epsilon else []:
            found.setdefault(sign, []).append(f"{epsilon:g}")
    if not found:
        looked = any(_looked(one) for one in result.masking)
        said = "no sign of gradient masking" if looked else "nothing was run that could show gradient masking"
        return element("li", f"{short(result.name)}: ", element("span", said, class_="fine" if looked else None))
    texts = [f"{sign} (ε = {', '.join(where)})" for sign, where in found.items()]
    return element(
        "li",
        f"{short(result.name)}: ",
        element("span", f"signs of gradient masking: {'; '.join(texts)}", class_="sign"),
    )


def _looked(masking: Masking) -> bool:
    return len(masking.missing()) < 3
