"""Named values of one kind: what a user may call by name, with "did you mean" for a name that there is not."""

import difflib
from collections.abc import Iterator
from reprlib import repr as brief
from typing import Generic, TypeVar

from lossmith.errors import InputError

Value = TypeVar("Value")


class Registry(Generic[Value]):
    """Values of one kind by their names, in the order of their registration.

    Args:
        kind: What messages call one of them, such as ``"loss"``.

    Example:
        >>> sizes = Registry[int]("size")
        >>> sizes.register("small", 1)
        1
        >>> sizes["smal"]
        Traceback (most recent call last):
        ...
        lossmith.errors.InputError: there is no size 'smal' (nearest: small); give one of small
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._values: dict[str, Value] = {}

    def register(self, name: str, value: Value) -> Value:
        """Give a value its name, and return it.

        Raises:
            InputError: if the name is taken.
        """
        if name in self._values:
            raise InputError(f"there is a {self.kind} {name!r} already; register yours under another name")
        self._values[name] = value
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._values)

    def __getitem__(self, name: str) -> Value:
        """The value of a name; an InputError that tells the nearest names where there is none."""
        if name not in self._values:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), self._values, n=3, cutoff=0.6)
            hint = f" (nearest: {', '.join(near)})" if near else ""
            raise InputError(f"there is no {self.kind} {brief(name)}{hint}; give one of {', '.join(self._values)}")
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a name."""
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of registration."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._values)
