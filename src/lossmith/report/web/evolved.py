"""The evolved loss: its formula, what it does in words, and its curves beside known ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss, cross_entropy
from lossmith.markup import Child, Html, element, joined
from lossmith.report.curves import loss_shape
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Findings
from lossmith.report.web.learned import nameless
from lossmith.report.web.parts import chart, known_only, number, short, table
from lossmith.report.words import plain_words
from lossmith.theory import explain

POINTS, SHOWN = 160, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
THIN = '<mspace width="0.17em"></mspace>'
COLORS = ("accent", "accent-2", "muted", "accent-3")
# Of a loss that changes during the training.
MOMENTS = ("at the beginning", "at the end")
CURVES = (
    ("value", "Loss, 0 where all classes are equally probable", "loss, 0 where all classes are equally probable"),
    ("pull", "Pull on the label’s logit", "pull on the label’s logit; below 0 it pushes down"),
)
CAPTION = (
    "h is the probability that the network gives a class; y is 1 for the label and 0 for the other classes. Pull is "
    "how strongly a step of training raises the label’s logit, the output before softmax. In the charts the other "
    "classes share the rest of the probability evenly, and all losses are scaled so that their first steps are alike."
)


def loss_section(found: Findings) -> Section | None:
    """The winner; None where there is none, or nobody knows for how many classes."""
    loss, classes = found.winner, found.classes
    if loss is None or classes is None:
        return None
    content: list[Child] = []
    moments = loss.moments()
    changing = len(moments) > 1
    ends = [moments[0], moments[-1]] if changing else [loss]
    for one, when in zip(ends, MOMENTS, strict=False):
        content += [element("h3", f"{when[0].upper()}{when[1:]}")] if changing else []
        content += [_formula(one), _words(one, classes)]
    content += [_use(found), element("p", CAPTION, class_="note")]
    name = _name(found)
    named = [(f"{name}, {when}" if changing else name, one) for one, when in zip(ends, MOMENTS, strict=False)]
    beside = [pair for pair in _others(found) if nameless(pair[1]) not in [nameless(one) for one in ends]]
    specs, charts = _charts([*named, *beside], classes)
    content.append(element("div", charts, class_="pair"))
    content.append(
        element(
            "p",
            "All that the theory says about it: ",
            element("code", f"lossmith explain {found.best}"),
            class_="note",
        )
    )
    return Section("loss", "The loss", joined(content), script="lossmith.charts(root, data);", data=specs)


def _use(found: Findings) -> Html:
    """How it is used: what it was tuned to, and where its code is."""
    module = ["To train with it, download ", element("a", "my_loss.py", href="#downloads"), ", a PyTorch module."]
    rows = [] if found.comparison is None else found.comparison.rows
    setting = next((row.setting for row in rows if row.name == found.leading), "")
    return element("p", module, f" In the comparison it was tuned to {setting}." if setting else "")


def _name(found: Findings) -> str:
    assert found.winner is not None
    return "evolved" if found.evolved else short(found.winner.name)


def _others(found: Findings) -> list[tuple[str, Loss]]:
    """Cross-entropy and the best known loss."""
    others: list[tuple[str, Loss]] = [("cross-entropy", cross_entropy())]
    if found.comparison is not None:
        row = found.comparison.row(found.comparison.best_baseline)
        others.insert(0, (short(row.name), Loss.from_json(row.loss)))
    return list({name: (name, loss) for name, loss in others}.values())


def _words(loss: Loss, classes: int) -> Html:
    try:
        with one_thread():
            sentences = plain_words(loss, explain(loss, classes))
    except InputError as error:
        return element("p", f"The theory says nothing about it: {error}.", class_="note")
    return element("ul", [element("li", sentence.replace(" %", "\u00a0%")) for sentence in sentences], class_="words")


@contextmanager
def one_thread() -> Iterator[None]:
    """The numbers of a single loss are few: other threads would only be waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _formula(loss: Loss) -> Html:
    """φ as mathematics that a browser sets, broken between its terms; other kinds as text."""
    plain = loss.simplest()
    if not isinstance(plain, PowerLoss):
        inner: Child = element("code", loss.formula())
        return element("p", inner, class_="formula")
    pieces = [term for term in zip(plain.terms, plain.coefficients.tolist(), strict=True) if term[1] != 0]
    pieces.sort(key=lambda piece: (-piece[0].log, piece[0].y, piece[0].h))
    head = _math([_identifier("φ"), _bracketed(map(_identifier, "hy")), _operator("=")])
    parts: list[Child] = [head]
    for place, (term, value) in enumerate(pieces):
        sign = "−" if value < 0 else "+" if place else ""
        factors = [_power("h", term.h), _power("y", term.y)] + [_identifier("log") + THIN + _identifier("h")] * bool(
            term.log
        )
        size = f"{abs(value):.4g}"
        shown = [f"<mn>{size}</mn>"] if size != "1" or not any(factors) else []
        body = THIN.join([*shown, *(one for one in factors if one)])
        parts += [" ", _math([_operator(sign) + THIN * bool(place) if sign else "", body])]
    total = f"<msub>{_operator('∑')}{_identifier('k')}</msub>"
    of_class = [f"<msub>{_identifier(name)}{_identifier('k')}</msub>" for name in ("h", "y")]
    rule = [_identifier("L"), _operator("="), _operator("−"), total, THIN, _identifier("φ"), _bracketed(of_class)]
    return element("p", element("span", _math(rule), class_="whole"), parts, class_="formula")


def _math(pieces: Sequence[str]) -> Html:
    """Mathematics that is not broken. Only numbers that were made here stand in it."""
    return Html(f"<span><math>{''.join(pieces)}</math></span>")


def _identifier(name: str) -> str:
    # Slanted by the page: not every font has the mathematical alphabet.
    kind = "" if len(name) == 1 else ' class="upright"'
    return f'<mi mathvariant="normal"{kind}>{name}</mi>'


def _operator(sign: str) -> str:
    return f'<mo stretchy="false">{sign}</mo>'


def _bracketed(inner: Iterable[str]) -> str:
    return _operator("(") + _operator(",").join(inner) + _operator(")")


def _power(name: str, exponent: float) -> str:
    if exponent == 0:
        return ""
    text = f"{exponent:g}".replace("-", "−")
    return _identifier(name) if exponent == 1 else f"<msup>{_identifier(name)}<mn>{text}</mn></msup>"


def _charts(losses: Sequence[tuple[str, Loss]], classes: int) -> tuple[dict[str, Any], list[Html]]:
    """Loss and pull against what the network gives the label, at the scale at which all begin alike."""
    shapes = [(name, loss_shape(loss, classes, POINTS)) for name, loss in losses]
    shapes = [(name, shape) for name, shape in shapes if np.isfinite([*shape.value, *shape.gradient]).all()]
    if not shapes:
        return {}, []
    colors = dict(zip([name for name, _ in shapes], COLORS, strict=False))
    output = shapes[0][1].output
    firsts = [-float(np.interp(1 / classes, output, shape.gradient)) / (1 - 1 / classes) for _, shape in shapes]
    scales = [1 / first if min(firsts) > 0 else 1.0 for first in firsts]
    specs, charts = {}, []
    for key, label, legend in CURVES:
        curves = {
            name: scale * (shape.value if key == "value" else -shape.gradient)
            for (name, shape), scale in zip(shapes, scales, strict=True)
        }
        low, high = _bounds(list(curves.values()))
        specs[key] = {
            "label": label,
            "height": 270,
            "x": {
                "label": "probability of the label, h",
                "name": "h =",
                "values": known_only(output),
                "min": 0,
                "max": 1,
            },
            "y": {"label": legend, "digits": 3, "min": low, "max": high},
            "lines": [
                {"name": name, "values": known_only(curve), "color": colors.get(name, "muted"), "dash": place > 1}
                for place, (name, curve) in enumerate(curves.items())
            ],
        }
        rows = [
            [f"{share:g}", *(number(float(np.interp(share, output, curve)), 3) for curve in curves.values())]
            for share in SHOWN
        ]
        charts.append(chart(key, values=table(label, ["h", *(f"#{name}" for name in curves)], rows)))
    return specs, charts


def _bounds(curves: Sequence[Any]) -> tuple[float, float]:
    """What shows every curve, but for poles: these would leave nothing of the rest to be seen."""
    low, high = min(float(curve.min()) for curve in curves), max(float(curve.max()) for curve in curves)
    low = max(low, min(float(np.quantile(curve, 0.06)) for curve in curves) - 0.05 * (high - low))
    high = min(high, max(float(np.quantile(curve, 0.98)) for curve in curves))
    room = 0.04 * (high - low) or 0.1
    return low - room, high + room
