"""Does an evolved loss resist attacks, noise and damage better, and sit in a wider minimum? The paper's §6 and App. F.

    python experiments/robustness.py digits results/robustness/digits --workers 2
    python experiments/robustness.py mnist results/robustness/mnist --data mnist.npz --workers 2

A study: data split, searches, tuning and final networks, all of its number K; every study is told. In each:

- TaylorGLO losses (third order, searched in the canonical coordinates, which hold all of them that are trainable at the
  null epoch) evolved for validation accuracy, and for validation accuracy under FGSM at ε = 0.1 (an image must survive
  the gradients of the loss, of cross-entropy and of the margin); on digits the same in lossmith's residual coordinates.
  The best candidate by its mean over fresh seeds is taken, never cross-entropy or label smoothing.
- Cross-entropy and label smoothing. Every loss's learning rate, and the strength of label smoothing, is tuned on
  validation data, beyond the edges of the grid where the best lies there: once for accuracy, once for accuracy under
  FGSM. The losses evolved for robustness are tuned for it, too; the others for accuracy.
- 10 networks of each, judged once on test data.

Written down before the run. A claim holds if its mean difference is above 0 in every study and one-tailed Welch
p < 0.05 (10 networks each) in four fifths of the studies or more. The unit of a p is a network of one study. The
claims:

1. clean: TaylorGLO has a higher test accuracy than cross-entropy. (Paper, table 1.)
2. fgsm-own: TaylorGLO is more accurate than cross-entropy under FGSM with the gradient of the loss itself, at every ε
   of 0.05, 0.1, …, 0.3. (Paper, figure 2; a claim for each ε.)
3. fgsm-worst: the same where an image must survive three gradients.
4. robust-objective: TaylorGLO evolved for robustness is more accurate under worst-of-three FGSM at ε = 0.1 than
   TaylorGLO evolved for accuracy whose learning rate is tuned for robustness, too. (Paper, §6.)
5. robust-baseline: it is more accurate there than the better of cross-entropy and label smoothing tuned for robustness
   (the better one on validation data).
6. all-attacks: as 5, where an image must survive FGSM, PGD, Auto-PGD on cross-entropy and on the difference of logits
   ratio, and Square.
7. noise-input, noise-weight, silenced: TaylorGLO is more accurate than cross-entropy under input noise σ = 0.2, weight
   noise of half of each filter's length, and with 30 % of the units silenced.
8. basin: TaylorGLO keeps 90 % of its top accuracy over a longer way than cross-entropy; basin-robust: TaylorGLO evolved
   for robustness over a longer way than TaylorGLO tuned for robustness. (Paper, figure 4.)
9. eigenvalue: the largest Hessian eigenvalue of cross-entropy is lower at TaylorGLO's networks than at cross-entropy's.
   (It depends on how large the logits are, too, not on the minimum alone.)

What is said of a claim that does not hold was changed after these runs were known: then "failed" was a mean difference
of 0 or below. Now the 95 % interval of the mean difference decides (t interval over the studies), with a margin of half
a point of accuracy (0.005) for claims 1 to 7 and none for widths and eigenvalues (8, 9), where no number is known that
would not matter: "no difference larger than 0.5 points" if it lies within ± the margin; "failed" if it lies below the
margin, or without one below 0, so that a gain that matters is excluded; anything else is "not shown".

Signs of gradient masking are told for every loss and ε. A network that diverged counts as wrong on every image, damaged
or not; it has no basin. The number of epochs is the same for all, and no baseline gets a search of its own. The p hold
for these test images: what another choice of images would change is not in them.

A first run of digits (its claims are kept in ``first-run.json``) judged robust-objective and basin-robust against
TaylorGLO tuned for accuracy, and so gave the objective the merit of a learning rate; its grid of rates was narrower,
and units were silenced, and PGD begun, in a slightly different way. The searches are the same. The job mnist was begun
twice with more attacks, and stopped for its length before a study had ended. A trial with 2 networks and a search of 8
candidates was made before, to see that it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from evidence import FOUR_FIFTHS, HALF_A_POINT, Claim, Verdict, finite, judge, markdown, spread
from networks import BASELINE
from program import arguments, each, located, processes, raw, tell
from robustness_figures import JUDGED, Find, attacked, clean, corrupted, means, minimum, pictures
from robustness_runs import EPSILON, FGSM, NOTE, plan_of, study

from lossmith.data import open_source
from lossmith.io import read_json, write_json

LENGTHS = ("basin", "basin-robust", "eigenvalue")


def best_baseline(one: dict[str, Any]) -> str:
    """The better baseline tuned for robustness, on validation data."""
    names = [f"{BASELINE}, {NOTE}", f"label smoothing, {NOTE}"]
    return max(names, key=lambda name: one["losses"][name]["validation"])


def claim(name: str, sentence: str, better: str, worse: str | None, find: Find) -> Claim:
    """That a figure is higher for the networks of one loss than for those of another, or of the better baseline."""

    def of(loss: str | None, study: dict[str, Any]) -> Sequence[float | None]:
        return find(study["losses"][best_baseline(study) if loss is None else loss])

    margin = HALF_A_POINT if is_accuracy(name) else None
    return Claim(name, sentence, partial(of, better), partial(of, worse), FOUR_FIFTHS, margin=margin)


def claims_of(name: str, mark: str) -> list[Claim]:
    """Every claim of the head of this file, for the losses of one space."""
    robust, tuned, ce = f"{name}, robust", f"{name}, {NOTE}", BASELINE
    own, three = "FGSM with the loss's own gradient", "FGSM worst of three gradients"
    at, baseline = f"ε = {EPSILON:g}", f"better baseline {NOTE}"
    noises = {"noise-input": "input noise", "noise-weight": "weight noise", "silenced": "silenced units"}
    width = "width of the basin at 90 %"
    rows: list[tuple[str, str, str, str | None, Find]] = [
        ("clean", f"{name} > {ce}, no attack", name, ce, clean),
        *(
            (f"fgsm-own {e:g}", f"{name} > {ce}, {own}, ε = {e:g}", name, ce, attacked("fgsm-loss", e))
            for e in FGSM[1:]
        ),
        *((f"fgsm-worst {e:g}", f"{name} > {ce}, {three}, ε = {e:g}", name, ce, attacked("fgsm", e)) for e in FGSM[1:]),
        (
            "robust-objective",
            f"{robust} > {tuned}, FGSM worst of three, {at}",
            robust,
            tuned,
            attacked("fgsm", EPSILON),
        ),
        (
            "robust-baseline",
            f"{robust} > {baseline}, FGSM worst of three, {at}",
            robust,
            None,
            attacked("fgsm", EPSILON),
        ),
        (
            "all-attacks",
            f"{robust} > {baseline}, all attacks, {at}",
            robust,
            None,
            attacked("worst", EPSILON, "attacks"),
        ),
        *((key, f"{name} > {ce}, {kind} {JUDGED[kind]:g}", name, ce, corrupted(kind)) for key, kind in noises.items()),
        ("basin", f"{name} > {ce}, {width}", name, ce, minimum("width90")),
        ("basin-robust", f"{robust} > {tuned}, {width}", robust, tuned, minimum("width90")),
        # A lower eigenvalue is better, so it is cross-entropy's that is claimed to be higher.
        ("eigenvalue", f"{name} < {ce}, largest Hessian eigenvalue", ce, name, minimum("eigenvalue")),
    ]
    return [claim(key + mark, text, better, worse, find) for key, text, better, worse, find in rows]


def claims(studies: Sequence[dict[str, Any]]) -> list[Verdict]:
    """What came of every claim, for each space that was searched."""
    asked = claims_of("TaylorGLO", "")
    if "residual" in studies[0]["losses"]:
        asked += claims_of("residual", " (residual)")
    return judge(asked, studies, corrected=False)


def page(job: str, studies: Sequence[dict[str, Any]], found: Sequence[Verdict], command: str) -> list[str]:
    """The outcome as a Markdown page."""
    losses = studies[0]["losses"]
    first = losses[BASELINE]
    strengths = first["attacks"]["epsilons"]
    columns = {
        "clean": "clean",
        "FGSM own, ε 0.1": "fgsm-own 0.1",
        "FGSM, ε 0.1": "fgsm 0.1",
        "FGSM, ε 0.2": "fgsm 0.2",
        **{f"PGD, ε {e:g}": f"pgd {e:g}" for e in strengths},
        **{f"all attacks, ε {e:g}": f"worst {e:g}" for e in strengths},
        **{f"{kind} {level:g}": f"{kind} {level:g}" for kind, level in JUDGED.items()},
    }
    mean = {name: means(studies, name) for name in losses}
    widths = [
        [name, f"{mine['width90']:.3f}", f"{mine['width99']:.3f}", f"{mine['eigenvalue']:.3g}"]
        for name, mine in mean.items()
    ]
    return [
        f"# Robustness and minima: {job}",
        "",
        f"Made by `{command}`. What is done, and what was claimed before the run, stands at the head of",
        "[`experiments/robustness.py`](../../../experiments/robustness.py). Raw figures of every network:",
        f"`study-K.json`, {len(studies)} studies, {len(first['clean'])} networks of each loss in each, PyTorch "
        f"{studies[0]['versions']['torch']}.",
        "",
        "## Claims",
        "",
        "Difference: percentage points of accuracy (length of the way for basins, eigenvalue), the mean over the",
        "studies and its 95 % interval (t interval, unit: a study); p: the largest and the second largest one-tailed",
        "Welch p of a study (unit: a network).",
        "",
        *markdown(
            ["claim", "what", "difference, 95 % interval", "studies above 0", "p", "verdict"], map(cells_of, found)
        ),
        "",
        "## Mean accuracy of all networks, %",
        "",
        *markdown(
            ["loss", *columns], ([name, *(f"{100 * mean[name][key]:.1f}" for key in columns.values())] for name in mean)
        ),
        "",
        "FGSM and PGD: worst of three gradients, but for FGSM own. All attacks: FGSM, PGD, APGD-CE, APGD-DLR and",
        f"Square on {first['attacks']['samples']['worst']} images.",
        "",
        "## Minima",
        "",
        *markdown(["loss", "width at 90 %", "width at 99 %", "largest Hessian eigenvalue"], widths),
        "",
        "## Signs of gradient masking",
        "",
        "Number of studies in which a sign was seen.",
        "",
        *signs(studies, "attacks", "All attacks", strengths),
        "",
        *signs(studies, "fgsm", "FGSM alone (more steps and the black box not run)", FGSM[1:]),
        "",
        "",
        "## The losses",
        "",
        *markdown(
            ["study", "loss", "φ", "learning rate", "settings tried"],
            (
                [done["study"], name, row["formula"], f"{row['lr']:.3g}", row["tried"]]
                for done in studies
                for name, row in done["losses"].items()
            ),
        ),
        "",
        "![Figure 2](figure2.png)",
        "![Attacks](attacks.png)",
        "![Figure 4](figure4.png)",
        "![Corruption](corruption.png)",
    ]


def cells_of(one: Verdict) -> list[object]:
    """A claim as its table tells it: the mean difference, and the two largest p."""
    largest = ", ".join(f"{p:.2g}" for p in sorted(one.p, reverse=True)[:2])
    return [
        one.claim.name,
        one.claim.sentence,
        f"{scale(one.claim.name) * one.mean:+.2f} {spread(one.interval, scale(one.claim.name))}",
        one.above,
        largest,
        one.word,
    ]


def scale(name: str) -> int:
    """What the difference of a claim is multiplied by: lengths and eigenvalues are no shares."""
    return 100 if is_accuracy(name) else 1


def is_accuracy(name: str) -> bool:
    """Whether a claim is one on an accuracy."""
    return name.split()[0] not in LENGTHS


def signs(studies: Sequence[dict[str, Any]], part: str, title: str, strengths: Sequence[float]) -> list[str]:
    """The signs of masking that were seen for each loss and ε."""
    rows = []
    for name in studies[0]["losses"]:
        found = [done["losses"][name][part] for done in studies]
        rows.append([name, *(seen(found, epsilon) for epsilon in strengths)])
    return markdown([title, *(f"ε {e:g}" for e in strengths)], rows)


def seen(rows: Sequence[dict[str, Any]], epsilon: float) -> str:
    """The signs of masking at one ε, and in how many studies each was seen."""
    signs = Counter(sign for row in rows for sign in row["masking"][row["epsilons"].index(epsilon)]["signs"])
    return "; ".join(f"{sign} ({count})" for sign, count in signs.items()) or "none"


def overview(folders: dict[str, Path]) -> str:
    """The claims of several jobs side by side, as ``docs/robustness.md`` tells them."""
    kept = {job: read_json(folder / "summary.json")["claims"] for job, folder in folders.items()}
    found = {job: {one["name"]: one for one in claims} for job, claims in kept.items()}

    def cell(name: str, claims: dict[str, Any]) -> str:
        if name not in claims:
            return "–"
        differences, digits = claims[name]["differences"], 1 if is_accuracy(name) else 2
        above = f"{sum(value > 0 for value in differences)} of {len(differences)}"
        ends = spread(claims[name]["interval"], scale(name), digits)
        return f"{scale(name) * np.mean(differences):+.{digits}f} {ends}, {above}, **{claims[name]['verdict']}**"

    names = dict.fromkeys(name for claims in found.values() for name in claims)
    head = ["claim", *(f"{job}: difference, 95 % interval, studies above 0, verdict" for job in found)]
    return "\n".join(markdown(head, ([name, *(cell(name, claims) for claims in found.values())] for name in names)))


def main() -> None:
    """Run the studies that are missing, then tell what came out."""
    given = arguments(__doc__, "robustness", {"job": {"choices": ("digits", "mnist")}}, {})
    if given.job == "mnist" and given.data is None and not given.again:
        raise SystemExit("the job mnist needs its images; add --data mnist.npz")
    if given.again:
        command = read_json(given.target / "summary.json")["command"]
    else:
        command, place = given.command, located(given.data or given.job)
        plan = plan_of(given.job, place, open_source(place).digest)
        with processes(given.workers) as pool:
            found = each(pool, study, [(plan, number, given.work) for number in range(plan.studies)])
        given.target.mkdir(parents=True, exist_ok=True)
        for one in found:
            write_json(raw(given, plan, **one), given.target / f"study-{one['study']}.json")
    studies = [read_json(path) for path in sorted(given.target.glob("study-*.json"))]
    verdicts = claims(studies)
    summary = {
        "command": command,
        "studies": len(studies),
        "claims": [one.to_json() for one in verdicts],
        "means": {name: means(studies, name) for name in studies[0]["losses"]},
    }
    tell(given.target, finite(summary, 6), page(given.job, studies, verdicts, command), pictures(studies))


if __name__ == "__main__":
    main()
