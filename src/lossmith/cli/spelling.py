"""Mistyped names, told before a command loads PyTorch, which takes more than a second.

Only what is surely wrong is told here, in the sentence that the command itself has for it: a plain word where a name
stands, and no file of that name. Everything else the command sees for itself. What somebody registers besides is in
memory by then, and PyTorch with it: then only the flags are looked at.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from lossmith.cli import names
from lossmith.code import is_importable
from lossmith.errors import InputError, brief, missing_study
from lossmith.registry import near, nearest, unknown

HELP = ("-h", "--help", "--help-all")
# The flags of tyro for completion in a shell.
COMPLETION = "tyro-"
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
OF_STUDIES = ("show", "report")
# What the first word of a command is.
FIRST = {
    **dict.fromkeys(("probe", "suspects"), "data"),
    **dict.fromkeys(("compare", "distill", "explain", "explore", "export", "trace"), "loss"),
    **dict.fromkeys(("attack", "corruption", "basin"), "loss"),
}


def check_flags(command: str, words: Sequence[str]) -> None:
    """See that a command has the flags that stand in some words, and that those take their values which take no others.

    Raises:
        InputError: naming the first that it has not, or that does not.
    """
    if any(word in HELP for word in words):
        return
    known = names.FLAGS[command]
    for name, value in _flags(words):
        if name not in (*known, *names.OLD_FLAGS) and not name.startswith(COMPLETION):
            meant = " or ".join(f"--{one}" for one in near(name, known))
            raise InputError(
                f"there is no flag {brief('--' + name)}{meant and f' (did you mean {meant}?)'}; lossmith {command} "
                "--help-all lists those that there are"
            )
        # What has no value, or none that is one, the command's own reader tells.
        if name in known and PLAIN.fullmatch(value):
            choices = names.CHOICES.get(name, (value,))
            if value not in choices:
                problem = unknown(value, name.replace("-", " "), list(choices))
                raise InputError(f"--{name} is wrong (it is {brief(value)}): {problem}")


def check_names(command: str, words: Sequence[str]) -> None:
    """See that what stands for a name in some words is one, where nothing can be registered that is not known here.

    Raises:
        InputError: naming the first that is none.
    """
    given = list(_flags(words))
    own = any(":" in value for name, value in given if name in ("model", "metric"))
    # Code of the user's own may register more.
    if own or "torch" in sys.modules or any(word in HELP for word in words):
        return
    first = words[0] if words and PLAIN.fullmatch(words[0]) and not os.path.lexists(words[0]) else None
    if first is not None and command in OF_STUDIES:
        raise missing_study(first)
    if first is not None and command in FIRST:
        given.insert(0, (FIRST[command], first))
    for name, value in given:
        if name in CHECKS and PLAIN.fullmatch(value) and not os.path.lexists(value):
            problem = CHECKS[name](value)
            if problem:
                raise InputError(problem)


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The flags among some words, without their dashes, and what stands after each; empty if nothing does."""
    for word, after in pairwise([*words, ""]):
        if word == "--":
            return
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            yield name.replace("_", "-"), value if equals else after


def _data(value: str) -> str:
    if value in names.DATA:
        return ""
    meant = nearest(value.replace("_", "-"), names.DATA)
    return f"there is no data {brief(value)}{meant}; give {', '.join(names.DATA)}, {names.OTHER_DATA}"


def _model(value: str) -> str:
    families = tuple(one.partition("-")[0] for one in names.NUMBERED)
    if value in (*names.MODELS, *names.OLD_MODELS) or value.startswith(families) or is_importable(value):
        return ""
    offered = [one for name in names.MODELS for one in names.NUMBERED.get(name, (name,))]
    return (
        f"there is no model {brief(value)}{nearest(value, offered)}; give {', '.join(names.MODELS)}, or your own "
        "network as package.module:function"
    )


def _loss(value: str) -> str:
    return "" if value in names.LOSSES else f"{unknown(value, 'loss', list(names.LOSSES))}, a loss file, or λ"


def _one_of(kind: str, known: Sequence[str], more: str = "") -> Callable[[str], str]:
    return lambda value: "" if value in known else unknown(value, kind, list(known)) + more


def _setting(name: str) -> Callable[[str], str]:
    kind, known, more = names.SETTINGS[name]
    besides = names.BESIDES.get(name, ())
    told = _one_of(kind, known, more)

    def check(value: str) -> str:
        problem = "" if value in besides else told(value)
        return problem and f"--{name} is wrong (it is {brief(value)}): {problem}"

    return check


CHECKS: dict[str, Callable[[str], str]] = {
    "data": _data,
    "model": _model,
    "loss": _loss,
    "executor": _one_of("executor", names.EXECUTORS),
    "to": _one_of("export", names.EXPORTS),
    **{name: _setting(name) for name in names.SETTINGS},
}
