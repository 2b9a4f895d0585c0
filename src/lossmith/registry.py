"""Named entries of one kind: what is registered can be asked for by name, everywhere."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lossmith.errors import InputError, brief

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

T = TypeVar("T")
LONGEST_NAME = 80


class Registry(Generic[T]):
    """Entries of one kind by name, in the order of registration.

    ``Annotated[str, registry]`` is the type of a setting that names an entry: it is checked, its help has the names.

    Args:
        kind: What they are, for messages.

    Example:
        >>> shapes = Registry[int]("shape")
        >>> shapes.register("square", 4)
        4
        >>> shapes["sqare"]
        Traceback (most recent call last):
        lossmith.errors.InputError: there is no shape 'sqare' (did you mean square?); give one of square
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Add an entry.

        Raises:
            InputError: if there is one of that name.
        """
        if name in self:
            article = "an" if self.kind[0] in "aeiou" else "a"
            raise InputError(f"there is {article} {self.kind} {name!r} already; register yours by another name")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> T:
        """The entry of a name.

        Raises:
            InputError: if there is none.
        """
        if name not in self:
            raise InputError(unknown(name, self.kind, list(self)))
        return self.entries[name]

    @property
    def entries(self) -> Mapping[str, T]:
        """Entries by name."""
        return self._entries

    def checked(self, name: str) -> str:
        """A name that has an entry.

        Raises:
            InputError: if it has none.
        """
        self[name]
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> Any:
        """How pydantic checks a setting that names an entry."""
        # Losses have a registry, too, and `import lossmith` does without pydantic.
        from pydantic import AfterValidator

        return AfterValidator(self.checked).__get_pydantic_core_schema__(source, handler)

    def __contains__(self, name: object) -> bool:
        """Whether there is an entry of that name."""
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.entries)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self.entries)

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and entries."""
        return iter(self.entries.items())


@dataclass(frozen=True)
class Listed:
    """Marks a setting in whose text ``{names}`` stands for what is registered at the time that its help is made.

    Args:
        names: Gives the text that stands there then.
    """

    names: Callable[[], str]


def unknown(name: str, kind: str, names: list[str]) -> str:
    """The sentence that says that there is nothing of a name, and what is near it."""
    return f"there is no {kind} {brief(name)}{nearest(name, names)}; give one of {', '.join(names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The names that a name may have been meant for, as a part of a sentence; nothing if none is near."""
    found = near(name, names)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def near(name: str, names: Iterable[str]) -> list[str]:
    """The names that a name may have been meant for, at most two."""
    known, short = list(names), name.lower()[:LONGEST_NAME]
    initials = [one for one in known if len(short) > 1 and _initials(one) == short][:2]
    return initials or difflib.get_close_matches(short, known, n=2, cutoff=0.5)


def _initials(name: str) -> str:
    """The first letters of the words of a name: ``ce`` of ``cross-entropy``."""
    return "".join(word[0] for word in re.findall(r"\w+", name.lower().replace("_", " ")))
