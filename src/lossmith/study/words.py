"""What a probe and a search for suspects found, in words: what the commands print, and Python shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lossmith.analysis import Gain
from lossmith.errors import printable
from lossmith.study.budget import amount_text, time_text

if TYPE_CHECKING:
    from lossmith.study.probed import Probe
    from lossmith.study.suspects import Suspicion

SHOWN = 3


def percent_text(share: float, digits: int = 0) -> str:
    """A share in percent: ``18 %``."""
    return f"{100 * share:.{digits}f} %"


def setting_text(one: Gain) -> str:
    """What a loss was tuned to."""
    tuned = one.tuned
    strengths = tuned.family.describe(tuned.place)
    return ", ".join(filter(None, [strengths, f"lr = {tuned.lr:.3g}", f"{tuned.stop} epochs"]))


def gain_text(one: Gain, points: bool) -> str:
    """A gain with its interval, of shares in points; what is rounded to nothing has no sign."""
    gain, low, high = (_signed(100 * value if points else value, points) for value in (one.gain, one.low, one.high))
    return f"{gain} [{low}, {high}]"


def _signed(value: float, points: bool) -> str:
    text = f"{value:{'+.1f' if points else '+.3g'}}"
    return text if not math.isfinite(value) or float(text) else text.lstrip("+-")


def probe_text(found: Probe) -> str:
    """What a probe found, a line each: wrong labels, noise, the best known loss, and whether a search is worth it."""
    return "\n".join((_wrong_labels(found), _noise(found), _best_known(found), *_search(found)))


def use_text(found: Probe) -> str:
    """The best known loss as a line of Python, and what it is for."""
    return f"Use it now:       {found.use}"


def _wrong_labels(found: Probe) -> str:
    wrong = found.wrong
    text = (
        f"Wrong labels:     about {percent_text(wrong.share)} ({100 * wrong.low:.0f} to {percent_text(wrong.high)}, "
        "depending on how uncertain labels are counted)"
    )
    if found.wrong_labels_known is not None:
        flag = "--label-noise" if found.problem.split.label_noise else "--noise"
        text += f"; {percent_text(found.wrong_labels_known, 1)} were made wrong here ({flag})"
    if not wrong.trusted:
        text += (
            f". Networks agree with {percent_text(wrong.agreement)} of the labels only: they may hardly know the "
            "classes, and far fewer labels be wrong"
        )
    return text


def _noise(found: Probe) -> str:
    value, points = found.noise_floor.value, found.deciding.share
    return f"Noise floor:      gains below {f'{100 * value:.1f} points' if points else f'{value:.3g}'} could be chance"


def _best_known(found: Probe) -> str:
    best, leading, points = found.best_known, found.leading, found.deciding.share
    if best == found.known[0]:
        gain = "no other loss gains anything on it"
        if leading.gain > 0:
            name = leading.tuned.family.name
            gain = f"the best other one is {name}, whose gain may be chance: {gain_text(leading, points)}"
    else:
        gain = f"{gain_text(best, points)}{' points' if points else ''} on cross-entropy, with 95 % interval"
    return f"Best known loss:  {best.tuned.family.name}, {setting_text(best)}: {gain}"


def _search(found: Probe) -> list[str]:
    worth = found.worth_searching
    lines = [f"Worth a search:   {'yes' if worth else 'no'}, by a rule of thumb: {found.why}"]
    if worth:
        amount, time = amount_text(found.search_trainings), time_text(found.search_seconds)
        lines.append(f"Its cost:         about {amount} trainings, about {time} of training")
    return lines


def suspects_text(found: Suspicion) -> str:
    """How labels were judged, and what came out."""
    suspects = found.suspects
    judges = f"{found.networks} network{'' if found.networks == 1 else 's'}"
    believe = "it believes" if found.networks == 1 else "these believe"
    text = (
        f"{len(suspects)} labels judged, each by {judges} that did not learn from it; for {suspects.differing} of them "
        f"{believe} most in another class. Look at a label before you change it: a score is no probability, and a rare "
        "or difficult sample looks suspicious, too."
    )
    if suspects.wrong is None:
        return text
    share, precision = suspects.wrong.mean(), suspects.average_precision
    known = f" Of these labels {percent_text(share, 1)} were made wrong here (label noise)"
    if precision is None:
        return f"{text}{known}."
    return f"{text}{known}; area under precision and recall {precision:.3f} (a random order: {share:.3f})."


def suspicion_text(found: Suspicion) -> str:
    """The same with the first rows, as Python shows it."""
    rows = found.rows()
    first = [
        f"row {index}: {printable(given)}, or rather {printable(other)} ({score:.3f})"
        for index, given, other, score in rows[:SHOWN]
    ]
    return "\n".join([suspects_text(found), f"The most suspicious of the {len(rows)} rows():", *first])
