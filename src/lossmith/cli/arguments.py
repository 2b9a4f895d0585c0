"""The arguments of a command: how flags are typed and parsed; light, for commands that answer at once."""

import inspect
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry

from lossmith.cli.usual import ALL, is_short, remark, show_usual
from lossmith.errors import InputError
from lossmith.losses import CATALOG

Command = TypeVar("Command")
LONGEST_LINE = 100
OptionalDirectory = Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
OptionalShare = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
OptionalAddress = Annotated[str | None, tyro.conf.arg(metavar="auto|HOST:PORT", help_behavior_hint="")]
OptionalTime = Annotated[str | None, tyro.conf.arg(metavar="TIME", help_behavior_hint="")]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]


def parse(
    command: type[Command],
    arguments: Sequence[str],
    name: str,
    default: Command | None = None,
    rules: ConstructorRegistry | None = None,
) -> Command:
    """The command of some arguments; wrong ones end the process with exit code 2, ``--help`` and ``--help-all`` with 0.

    Args:
        command: A dataclass with a field for each flag; ``{losses}`` in its docstring stands for what names a loss.
        arguments: What was typed.
        name: What the command is called.
        default: What flags are by default, if not as the dataclass says.
        rules: How tyro makes fields of a kind that it does not know.
    """
    rules, short = rules or ConstructorRegistry(), is_short(name, arguments)
    if short:
        show_usual(name, rules)
    try:
        return tyro.cli(
            command,
            args=["--help" if word == ALL else word for word in arguments],
            prog=f"lossmith {name}",
            description=wrapped(
                (inspect.getdoc(command) or "").replace("{losses}", losses_text()),
                min(LONGEST_LINE, shutil.get_terminal_size().columns),
            ),
            default=tyro.MISSING_NONPROP if default is None else default,
            registry=rules,
        )
    except SystemExit as end:
        if short and not end.code:
            sys.stdout.write(remark(name))
        raise


def losses_text() -> str:
    """What names a loss: a file, a name that the catalog has now, λ, or a formula."""
    names = (entry.typed for _, entry in CATALOG.items())
    return (
        "A LOSS is a loss file (best.json of a study), a formula of the output h and the label y "
        '("expr:log(h) - y/h"), a λ in quotes ("0, 0, 0, -1, 0, 2, 0, 0"), or a name, with its default parameters: '
        f"{', '.join(names)}."
    )


def check_given(losses: Sequence[str]) -> None:
    """See that there is a loss.

    Raises:
        InputError: if there is none.
    """
    if not losses:
        raise InputError(f"no loss is given; name a loss file, λ, or one of {', '.join(CATALOG)}")


def wrapped(text: str, width: int) -> str:
    """Paragraphs in lines of some width; all but their first are indented, since tyro joins lines that are not.

    Args:
        text: Paragraphs.
        width: Of a line; an example, which somebody will copy, is never broken.
    """
    paragraphs = [" ".join(paragraph.split("\n")) for paragraph in text.split("\n\n")]
    wrapper = textwrap.TextWrapper(width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n\n".join(one if one.startswith("example:") else wrapper.fill(one) for one in paragraphs)


def values_last(
    arguments: Sequence[str], flags: Sequence[str], words: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """The arguments with the flags that take several values at the end, so that words after their values are kept.

    ``--classes 2 10 mse`` becomes ``mse --classes 2 10``.

    Args:
        arguments: The arguments.
        flags: Flags that take several numbers.
        words: Flags that take several words, and which.
    """
    known = words or {}
    first: list[str] = []
    last: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        group = [word]
        while rest and ((word in flags and _is_number(rest[0])) or rest[0] in known.get(word, ())):
            group.append(rest.pop(0))
        movable = len(group) > 1 or ("=" in word and word.partition("=")[0] in (*flags, *known))
        (last if movable else first).extend(group)
    return [*first, *last]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def bracketed(word: str) -> str:
    """λ that begins with a minus sign, which would read as a flag, in brackets."""
    return f"[{word}]" if word.startswith("-") and ("," in word or " " in word.strip()) else word
