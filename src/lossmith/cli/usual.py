"""The flags that most people use, which ``--help`` shows; ``--help-all`` shows all."""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Annotated, Any, get_args, get_origin

import tyro
from pydantic import BaseModel
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

# Of the commands that have many. What a command is given without a flag is always shown.
TRAINED = ("--data", "--model", "--epochs", "--lr", "--seeds", "--workers", "--figure", "--json")
USUAL: dict[str, tuple[str, ...]] = {
    "evolve": (
        *("--out", "--data", "--target", "--label-noise", "--model", "--epochs", "--lr", "--class-weight", "--metric"),
        *("--population", "--generations", "--time-limit"),
    ),
    "compare": (
        *("--out", "--data", "--target", "--model", "--epochs", "--lr", "--metric"),
        *("--effort", "--baselines", "--seeds", "--time-limit", "--workers"),
    ),
    "distill": ("--out", "--data", "--label-noise", "--model", "--epochs", "--lr", "--metric", "--seeds", "--workers"),
    "trace": ("--out", "--data", "--label-noise", "--model", "--epochs", "--lr", "--samples", "--workers", "--json"),
    "attack": (*TRAINED, "--epsilon", "--attacks", "--samples"),
    "corruption": (*TRAINED, "--input-noise", "--weight-noise", "--silenced"),
    "probe": (
        *("--target", "--label-noise", "--model", "--epochs", "--lr", "--class-weight", "--metric", "--seeds"),
        *("--time-limit", "--workers", "--json"),
    ),
    "suspects": (
        *("--out", "--target", "--label-noise", "--model", "--epochs", "--lr", "--networks", "--figure"),
        *("--time-limit", "--workers", "--json"),
    ),
    "basin": (*TRAINED, "--directions", "--points"),
}
ALL, SHORT = "--help-all", ("-h", "--help")


def is_short(name: str, words: Sequence[str]) -> bool:
    """Whether the words of a command ask for its short help, and it has one."""
    return name in USUAL and ALL not in words and any(word in SHORT for word in words)


def show_usual(name: str, rules: ConstructorRegistry) -> None:
    """Let tyro show no flag of a command that few people use; positional arguments are shown all the same.

    Args:
        name: The command's.
        rules: How tyro makes it otherwise; a rule is added.
    """
    shown, inside = USUAL[name], False

    @rules.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal inside
        if inside:
            return None
        inside = True
        try:
            made = ConstructorRegistry.get_struct_spec(info)
        finally:
            inside = False
        if not isinstance(made, StructConstructorSpec):
            return None
        return replace(made, fields=tuple(_shown(field, shown) for field in made.fields))


def _shown(field: StructFieldSpec, shown: Sequence[str]) -> StructFieldSpec:
    """A field, hidden if it is a flag and none of these."""
    kind, *marks = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
    is_group = isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, BaseModel))
    called = next((mark.name for mark in marks if getattr(mark, "name", None)), field.name.replace("_", "-"))
    if is_group or tyro.conf.Positional in marks or f"--{called}" in shown:
        return field
    hidden: Any = Annotated[field.type, tyro.conf.Suppress]
    return replace(field, type=hidden)


def remark(name: str) -> str:
    """What stands below a short help."""
    return f"These are the flags that most people use; lossmith {name} {ALL} shows all.\n"
