"""What a document must look like before anything of it is used: the one way in which files and rows are checked."""

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lossmith.errors import InputError

Kind = TypeVar("Kind")
LONGEST_VALUE = 60


class Document(BaseModel):
    """What a file holds: it converts nothing, takes no number that is not finite, and leaves further keys alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


def conforming(kind: type[Kind], value: Any, what: str, remedy: str) -> Kind:
    """A value as the schema has it.

    Args:
        kind: The schema: a :class:`Document`, or a type such as ``list[int]``.
        value: Of JSON, TOML or a database.
        what: What it is, for messages.
        remedy: What to do if it is wrong.

    Raises:
        InputError: one sentence that names the place in it and what is wrong there.

    Example:
        >>> conforming(list[int], [1, None], "the list", "mend it")
        Traceback (most recent call last):
        lossmith.errors.InputError: the list is damaged (1: input should be a valid integer); mend it
    """
    schema: Any = kind
    try:
        found: Kind = _adapter(schema).validate_python(value)
        return found
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))[:LONGEST_VALUE]
        message = first["msg"].removeprefix("Value error, ")
        message = (f"{place}: " if place else "") + message[:1].lower() + message[1:]
    raise InputError(f"{what} is damaged ({message}); {remedy}")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a kind; it takes longer to make than a row to check."""
    return TypeAdapter(kind)
