"""Study files and flags that are wrong."""

from __future__ import annotations

import random
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fuzz.cases import COMPARE, LOOK, PART, SPECIALS, TINY, TRACE, Case, special
from fuzz.harness import run
from fuzz.values import WORDS, damaged

# Settings and flags whose numbers may be large by right, so that the work takes long.
LONG = {
    *("epochs", "steps", "population", "generations", "finalists", "finalist_seeds", "replicates", "hidden", "seeds"),
    *("adversary_steps", "tuning_seeds", "tuning_finalists", "tuning_finalist_seeds", "tuning_epochs", "samples"),
    *("order", "threads", "image_size", "crop", "patience", "iterations", "restarts", "batch_size", "resolution"),
    *("points", "directions", "trials", "workers", "folds", "networks"),
}
TOML = (
    *('"x"', '""', '"nan"', "true", "false", "-1", "0", "1", "2", "0.5", "-0.5", "1.0", "2.0", "1e400", "nan", "inf"),
    *("-inf", "-nan", "1e308", "5e-324", "9" * 23, "-" + "9" * 23, "9223372036854775807", "9223372036854775808", "[]"),
    *("[1]", "[[1]]", "[0.5]", "[true]", '["x"]', "[nan]", "[1, 2, 3]", "{}", "{a = 1}", "1979-05-27", "07:32:00"),
    *("1979-05-27T07:32:00Z", '"\\u0000"', '"ε"', "'''a\nb'''", '"' + "x" * 3000 + '"', "0x10", "1_000", "0b1"),
    *("[" * 200 + "]" * 200, '"auto"', '"../x"', '"/etc/passwd"', '"~"', '"os:system"', '"no.module:f"'),
    *('"\\u001b[31m"', "1" * 5000),
)
GOOD = {
    "data": {
        "source": '"d.npz"',
        "train_size": "20",
        "validation_size": "9",
        "test_size": "10",
        "label_noise": "0.1",
        "noise": '"pairs"',
    },
    "model": {"name": '"mlp"', "hidden": "[4]"},
    "recipe": {"optimizer": '"sgd"', "lr": "0.05", "steps": "2", "batch_size": "8"},
    "search": {"space": '"residual"', "population": "4", "generations": "1", "seed": "0"},
    "run": {
        "training": '"population"',
        "finalists": "1",
        "finalist_seeds": "2",
        "tune": "false",
        "chunk": "256",
        "device": '"cpu"',
    },
}
BEGIN = ["evolve", "s.toml", "--out", "s", "--quiet", "--threads", "1"]
FLAG_WORDS = (
    *("0", "-1", "-0", "1", "2", "1e9", "1000000000", "9" * 20, "-" + "9" * 20, "nan", "inf", "-inf", "", " ", "½"),
    *("１", "٣", "1.5", "0.0", "1e-320", "1e308", "1e400", "x", "None", "true", "1_0", "0x1", "ε", "-", "--", "1,2"),
    *("+1", "\x00", "\udc80"),
)
NO_INTEGERS = ("nan", "inf", "-inf", "x", "ε", "½", "", " ", "true", "1,2")
NO_FLOATS = ("x", "ε", "½", "", " ", "true", "1,2", "nan")
COMMANDS: dict[str, list[str]] = {
    "evolve": ["evolve", "--out", "s", "--quiet", *TINY],
    "compare": ["compare", "good.json", "--data", "d.npz", *COMPARE[:-2], *PART, "--out", "c"],
    "distill": ["distill", "good.json", "--data", "d.npz", *COMPARE[:-2], *PART, "--out", "c"],
    "explain": ["explain", "mse"],
    "export": ["export", "mse"],
    "trace": ["trace", "mse", *TRACE],
    "attack": ["attack", "mse", "--samples", "3", "--data", "i.npz", *LOOK[2:]],
    "corruption": ["corruption", "mse", *LOOK],
    "basin": ["basin", "mse", *LOOK],
    "probe": ["probe", "d.npz", "--folds", "2", "--networks", "1", "--seeds", "3", *PART, "--quiet"],
    "suspects": ["suspects", "d.npz", "--folds", "2", "--networks", "1", *PART, "--quiet"],
    "show": ["show", "study"],
    "report": ["report", "study"],
}
SWITCHES = ("--quiet", "--no-rival")


def study_file(rng: random.Random) -> Case:
    """A study file."""
    how = rng.random()
    if how < 0.03:
        kind = rng.choice(SPECIALS)
        # An empty file asks for nothing, which the flags complete.
        return Case(f"special {kind}", [*BEGIN, *TINY], kind != "/sys/power/state", prepare=special(kind, "s.toml"))
    document = {part: dict(keys) for part, keys in GOOD.items()}
    label, bad, long = "text", False, True
    if how < 0.72:
        part, key, annotation = rng.choice(_settings())
        word = rng.choice(TOML)
        document.setdefault(part, {})[key] = word
        label, bad, long = f"{part}.{key} = {word[:40]}", _wrong_type(annotation, word), key in LONG
        content = _text(document)
    elif how < 0.84:
        content = damaged(rng, _text(document))
    elif how < 0.90:
        label, part = "unknown", rng.choice([*GOOD, "x", '""', "tool.x", "classes", "digest"])
        document.setdefault(part, {})[rng.choice(["x", "Lr", '"a b"', "lr.x", "__class__", "digest"])] = rng.choice(
            TOML
        )
        content = _text(document)
    elif how < 0.94:
        label, part = "a part of a wrong type", rng.choice([*GOOD, "objective", "digest", "classes", "x"])
        content = f"{part} = {rng.choice(TOML)}\n".encode()
    elif how < 0.96:
        label, content = "deep keys", (".".join(["x"] * rng.choice([10, 3000])) + " = 1\n").encode()
    else:
        label = "several"
        for part, key, _ in rng.choices(_settings(), k=rng.choice([2, 3, 5])):
            document.setdefault(part, {})[key] = rng.choice(TOML)
        content = _text(document)
    return Case(label, BEGIN, bad, {"s.toml": content}, long=long and not bad)


def flags(rng: random.Random) -> Case:
    """Flags of a command."""
    command = rng.choice(list(COMMANDS))
    if rng.random() < 0.2:
        return _words(rng, command)
    flag, metavar = rng.choice(list(_flags()[command].items()))
    word = rng.choice([*FLAG_WORDS, None])
    words = list(COMMANDS[command])
    if flag in words:
        place = words.index(flag)
        del words[place : place + (1 if flag in SWITCHES else 2)]
    if word is None:
        words.append(flag)
    elif rng.random() < (0.3 if word.startswith("-") else 0.85):
        words += [flag, word]
    else:
        words.append(f"{flag}={word}")
    # A number in place of which None may stand is spelled otherwise.
    numbers = "|" not in metavar
    bad = numbers and (
        (metavar.startswith("INT") and word in NO_INTEGERS) or (metavar.startswith("FLOAT") and word in NO_FLOATS)
    )
    name = flag.strip("-").replace("-", "_")
    return Case(f"{command} {flag} {word!r}"[:80], words, bad, long=name in LONG and not bad)


def _words(rng: random.Random, command: str) -> Case:
    names = list(_flags()[command])
    words = list(COMMANDS[command]) if rng.random() < 0.6 else [command]
    for _ in range(rng.choice([1, 2, 3])):
        name = rng.choice(names)
        added = [rng.choice(WORDS), name, f"{name}={rng.choice(WORDS)}", name[:-1], name.upper()]
        words.insert(rng.randrange(1, len(words) + 1), rng.choice(added))
    if rng.random() < 0.05:
        words[0] = rng.choice(WORDS)
    # What is left of a command without its usual flags searches with the defaults, which takes its time.
    return Case("words", words, long=True)


def _text(document: dict[str, dict[str, str]]) -> bytes:
    parts = (
        f"[{part}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) for part, keys in document.items()
    )
    return "\n".join(parts).encode()


@cache
def _settings() -> list[tuple[str, str, str]]:
    """Part, name and type of each setting."""
    from lossmith.study import EvolveSettings

    parts: list[tuple[str, Any]] = [(part, info.annotation) for part, info in EvolveSettings.model_fields.items()]
    return [
        (part, key, str(inner.annotation))
        for part, model in parts
        if issubclass(model, BaseModel)
        for key, inner in model.model_fields.items()
    ]


@cache
def _flags() -> dict[str, dict[str, str]]:
    """The flags of each command and what stands for their values, as its help has them."""
    found: dict[str, dict[str, str]] = {}
    for command in COMMANDS:
        with tempfile.TemporaryDirectory() as directory:
            ended = run([command, "--help-all"], Path(directory), timeout=60)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", ended.out)
        rows = re.finditer(r"^│ (--[a-z0-9-]+)(?:, --no-[a-z-]+)? ?(.*?)(?:\s{2,}|\s*│)", plain, re.MULTILINE)
        found[command] = {row[1]: row[2] for row in rows if row[1] != "--help"}
        if not found[command]:
            raise RuntimeError(f"no flag is found in the help of {command}")
    return found


def _wrong_type(annotation: str, word: str) -> bool:
    """Whether a value of TOML has surely the wrong type for a setting."""
    number = re.fullmatch(r"-?[0-9][0-9_.e+-]*|-?nan|-?inf|0x10|0b1", word) is not None
    texts = "str" in annotation or "Literal" in annotation
    whole = "int" in annotation and "float" not in annotation
    return (
        (word in ("true", "false") and "bool" not in annotation)
        or (word[0] in "'\"" and not texts)
        or (number and "int" not in annotation and "float" not in annotation and "Literal[1, 3]" not in annotation)
        or re.match(r"\{|1979|07:", word) is not None
        or (word in ("nan", "inf", "-inf", "-nan", "1e400") and whole)
    )
