"""Loss files, names of losses, and λ that are wrong."""

from __future__ import annotations

import random
import string
from typing import Any

from fuzz.cases import COMPARE, LOOK, PART, SPECIALS, TRACE, Case, special
from fuzz.values import WORDS, damaged, dumped, duplicated, mutated, nasty

POWER: dict[str, Any] = {
    **{"format": "lossmith.loss", "version": 2, "kind": "power", "name": "cross-entropy", "classes": None},
    **{"terms": [[0, 1, 1]], "coefficients": [1.0]},
}
RESIDUAL = [[0, 1, 1], [0, 0, 1], [2, 0, 0], [3, 0, 0], [2, 1, 0], [1, 1, 0]]
INNER = {"format": "lossmith.loss", "version": 2, "name": "nce", "loss": POWER}
BASES: list[dict[str, Any]] = [
    POWER,
    {key: 1 if key == "version" else value for key, value in POWER.items() if key != "kind"},
    {**POWER, "classes": 3, "terms": RESIDUAL, "coefficients": [1.0, 0.02, -0.3, 0.1, 0.5, 1.5]},
    {**POWER, "name": "Baikal", "terms": [[0, 0, 1], [-1, 1, 0]], "coefficients": [1.0, -1.0]},
    {**POWER, "name": "GCE 0.7", "terms": [[0.7, 1, 0], [0, 1, 0]], "coefficients": [1.428, -1.428]},
    {**POWER, "name": "population", "terms": [[0, 1, 1], [2, 0, 0]], "coefficients": [[1.0, 0.1], [1.0, 0.2]]},
    {**INNER, "kind": "normalized"},
    {**INNER, "kind": "clipped", "threshold": 1.0},
]
EXPONENTS = (1e308, -1e308, -400, 400, -0.001, 1e-308, 5e-324, 700, -700, 1e17, 8.5, -1, -40, -41, 100, 1e6)
EXPLAIN: tuple[tuple[str, ...], ...] = (
    *((), ("--json",), ("--latex",), ("--classes", "3"), ("--classes", "2", "100"), ("--figure", "f.png")),
)
EXPORT: tuple[tuple[str, ...], ...] = (
    *((), ("--to", "latex"), ("--to", "jax"), ("--to", "numpy", "--out", "l.py"), ("--to", "x"), ("--classes", "3")),
)
NAMES = ("cross-entropy", "mse", "baikal", "mae", "poly", "focal", "gce", "label-smoothing", "nce", "logit-clip")
TEXTS = (
    *(":", "::", "poly:", "poly:nan", "poly:inf", "poly:-inf", "poly:1e308", "focal:-1", "focal:57", "focal:2.5"),
    *("focal:1e9", "focal:nan", "gce:0", "gce:1e-308", "gce:5e-324", "gce:1", "gce:2", "gce:nan", "label-smoothing:1"),
    *("label-smoothing:-0.1", "label-smoothing:0.9999999999999999", "logit-clip:0", "logit-clip:inf", "mse:1", "0"),
    *("0,0", "0,0,0,0,0", "nan,0,0,0,0", "0,0,0,nan,0", ",".join(["1e308"] * 8), "[0 0 0 -1 0 2 0 0"),
    *("[[0,0,0,-1,0,2,0,0]]", "0,0,0,−1,0,2,0,0", "-1, 0, 0, -1, 0, 2, 0, 0", ",".join(["1"] * 5052)),
    *(" ".join(["0"] * 10_000), ",".join(["1e-5"] * 2348), ",", ", ,", "[]", "()", "∞,0,0,0,0", "1_0,0,0,0,0"),
    *("x" * 300, "x" * 70_000, "\x00", "a\x00.json", "..", "/", "/etc/passwd", "./", "\udc80.json", "[bold]", "[/]"),
    *("cross-entropy ", " mse", "MSE", "poly:１", "gce:٠.٥", "-1", "--", "~/x.json", "*.json", "0" * 4000 + ",0,0,0,0"),
    *("9" * 400 + ",0,0,0,0", "1e400,0,0,0,0", "1e-400,0,0,0,0", "0,0,0,1e308,1e308", "5,5,5,5,5,5,5,5", "this"),
)
NUMBERS = ("0", "1", "-1", "0.5", "1e308", "-1e308", "1e-308", "nan", "inf", "1e999", "x", "", "−2", "1e17", "100", "²")
SPECIAL_COMMANDS = (("explain", "l.json"), ("compare", "l.json", "--out", "c"), ("trace", "l.json", "--out", "t"))


def loss_file(rng: random.Random) -> Case:
    """A loss file."""
    how = rng.random()
    if how < 0.04:
        kind, words = rng.choice(SPECIALS), rng.choice(SPECIAL_COMMANDS)
        quiet = () if words[0] == "explain" else ("--quiet",)
        return Case(f"special {kind}", [*words, *quiet], True, prepare=special(kind, "l.json"))
    command = _command(rng)
    if how < 0.06:
        label, document = _big(rng)
        return Case(f"big: {label}", command, files={"l.json": dumped(document)})
    if how < 0.10:
        term = [rng.choice(EXPONENTS), rng.choice([0, 1, 2, 100]), rng.choice([0, 1])]
        document = {**POWER, "terms": [[0, 1, 1], term], "coefficients": [1.0, rng.choice([1.0, 1e308])]}
        return Case(f"exponent {term}", command, files={"l.json": dumped(document)})
    base = rng.choice(BASES)
    if how < 0.64:
        return Case("structure", command, files={"l.json": dumped(mutated(rng, base))})
    if how < 0.93:
        return Case("text", command, files={"l.json": damaged(rng, dumped(base))})
    return Case("a key twice", command, files={"l.json": duplicated(rng, base)})


def loss_name(rng: random.Random) -> Case:
    """What names a loss on the command line."""
    text = _text(rng)
    texts = [text] if rng.random() < 0.75 else [text, rng.choice(NAMES)]
    chance = rng.random()
    if chance < 0.15:
        return Case(text[:30], ["trace", *texts, *TRACE])
    if chance < 0.25:
        return Case(text[:30], [rng.choice(["attack", "corruption", "basin"]), *texts, *LOOK])
    if chance < 0.35:
        return Case(text[:30], ["export", *texts, *rng.choice(EXPORT)])
    if chance < 0.4:
        return Case(text[:30], ["explore", *texts, "--html", "p.html", "--classes", rng.choice(["3", *WORDS])])
    flags: list[tuple[str, ...]] = [
        (),
        (),
        *EXPLAIN,
        ("--classes", rng.choice(WORDS)),
        ("--epsilon", rng.choice(WORDS)),
    ]
    flags.append(("--figure", rng.choice(["f.png", "f", "f.exe", "no/f.png", "/dev/full", ""])))
    return Case(text[:30], ["explain", *texts, *rng.choice(flags)])


def _command(rng: random.Random) -> list[str]:
    how = rng.random()
    if how < 0.06:
        return ["explore", "l.json", "--html", rng.choice(["p.html", "p.png", "no/p.html", "/dev/full"])]
    if how < 0.54:
        return ["explain", "l.json", *rng.choice(EXPLAIN)]
    if how < 0.62:
        return ["export", "l.json", *rng.choice(EXPORT)]
    if how < 0.72:
        return ["trace", "l.json", *TRACE]
    if how < 0.80:
        return [rng.choice(["compare", "distill"]), "l.json", "--data", "d.npz", *COMPARE[:-2], *PART, "--out", "c"]
    return [rng.choice(["attack", "corruption", "basin"]), "l.json", *LOOK]


def _text(rng: random.Random) -> str:
    how = rng.random()
    if how < 0.25:
        return rng.choice(TEXTS)
    if how < 0.5:
        words = rng.choices(NUMBERS, k=rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 17, 23, 57]))
        text = rng.choice([", ", ",", " ", "; ", ",,"]).join(words)
        return rng.choice(["{}", "[{}]", "({})", "[{}", "{})", "{{{}}}"]).format(text)
    if how < 0.75:
        return rng.choice(NAMES) + rng.choice(["", ":", ":" + rng.choice(WORDS), "+mse", " + mse", "/x", "*2", "(1)"])
    if how < 0.85:
        return "".join(rng.choices(string.printable + "εφγ−∞\u202e\u0000", k=rng.choice([1, 3, 10, 50])))
    return rng.choice(WORDS)


def _big(rng: random.Random) -> tuple[str, dict[str, Any]]:
    many = 10**6
    deep: Any = [1.0]
    for _ in range(60):
        deep = [deep]
    chains: Any = POWER
    for _ in range(rng.choice([10, 20, 200])):
        chains = {**INNER, "kind": "normalized", "loss": chains}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("1e6 same terms", {"terms": [[0, 1, 1]] * many, "coefficients": [1.0] * many}),
        ("1e6 coefficients", {"coefficients": [1.0] * many}),
        ("population of 1e6", {"coefficients": [[1.0]] * many}),
        ("3000 terms", {"terms": [[i, 1, 0] for i in range(3000)], "coefficients": [1.0] * 3000}),
        ("20000 terms", {"terms": [[i, 1, 0] for i in range(20_000)], "coefficients": [1.0] * 20_000}),
        ("300 terms y^100", {"terms": [[i, 100, 0] for i in range(300)], "coefficients": [1.0] * 300}),
        ("1e5 fractional terms", {"terms": [[i + 0.5, 1, 1] for i in range(10**5)], "coefficients": [1.0] * 10**5}),
        ("deep coefficients", {"coefficients": deep}),
        ("a name of 1e7", {"name": "n" * 10**7}),
        *((f"classes {classes:.0e}", {"classes": classes}) for classes in (10**5, 10**9, 10**30)),
        ("chain of kinds", chains),
        ("nasty", {"provenance": nasty(rng)}),
    ]
    label, change = rng.choice(ways)
    return label, {**POWER, **change}
