"""One named registry for every kind of thing that is chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from lossmith.errors import InputError

Value = TypeVar("Value")


class Registry(Generic[Value]):
    """Values by name, in the order in which they were registered.

    Args:
        kind: What the values are, for messages.

    Example:
        >>> shapes: Registry[int] = Registry("shape")
        >>> shapes.register("triangle", 3)
        >>> shapes["triangle"], shapes.names
        (3, ('triangle',))
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._values: dict[str, Value] = {}

    def register(self, name: str, value: Value) -> None:
        """Add a value.

        Raises:
            InputError: if the name is taken.
        """
        if name in self._values:
            raise InputError(f"there is a {self.kind} {name!r} already; register yours by another name")
        self._values[name] = value

    def __getitem__(self, name: str) -> Value:
        """The value of a name.

        Raises:
            InputError: if there is none, with the names that are near.
        """
        if name in self._values:
            return self._values[name]
        near = difflib.get_close_matches(name.lower(), self._values, n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; give one of {', '.join(self._values)}"
        raise InputError(f"there is no {self.kind} {name!r}{hint}")

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._values)
