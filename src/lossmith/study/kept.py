"""What a study keeps of the looks at networks that were trained with its losses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lossmith.errors import InputError
from lossmith.study.store import Store

LOG = logging.getLogger("lossmith")
Record = TypeVar("Record")


class Shelf:
    """The database of the study that a loss file lies in, or none; figures never depend on whether it can be written.

    Args:
        directory: The study's; None keeps nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self._opened: Store | None = None
        if directory is not None:
            try:
                self._opened = Store(directory)
            except InputError as error:
                LOG.warning("what is found is not kept, since %s", error)
        self._writable = self._opened is not None

    @property
    def path(self) -> Path | None:
        """The database that what is found is kept in, or None."""
        return self._opened.path if self._opened is not None and self._writable else None

    def recalled(self, analysis: str, parts: Sequence[str]) -> dict[str, Any]:
        """What is kept of some parts of an analysis, by part."""
        store = self._opened
        found = {} if store is None else {part: store.record(analysis, part) for part in parts}
        return {part: record for part, record in found.items() if record is not None}

    def keep(self, analysis: str, part: str, record: Any, seconds: float) -> None:
        """Keep a part of an analysis, if that is possible."""
        self._try(lambda store: store.add_record(analysis, part, record, seconds))

    def remembered(self, name: str) -> Any:
        """A value of JSON, or None."""
        return None if self._opened is None else self._opened.setting(name)

    def remember(self, name: str, value: Any) -> None:
        """Keep a value of JSON, if that is possible."""
        self._try(lambda store: store.set(name, value))

    def close(self) -> None:
        """Let go of the study."""
        if self._opened is not None:
            self._opened.close()
            self._opened, self._writable = None, False

    def _try(self, write: Callable[[Store], None]) -> None:
        if self._opened is None or not self._writable:
            return
        try:
            write(self._opened)
        except InputError as error:
            self._writable = False
            LOG.warning("what is found is not kept from here on, since %s", error)


@dataclass(frozen=True)
class Remembered:
    """The memory of the choice of a backend, under a name of its own; as long as it is used, of all that is stored."""

    shelf: Shelf
    name: str
    new: dict[str, Any] = field(default_factory=dict)

    def setting(self, name: str) -> Any:
        """What is stored, or None."""
        return self.new[name] if name in self.new else self.shelf.remembered(f"{name} of {self.name}")

    def set(self, name: str, value: Any) -> None:
        """Store a value."""
        self.new[name] = value
        self.shelf.remember(f"{name} of {self.name}", value)


def read_record(read: Callable[[Any], Record], document: Any, networks: int, what: str, path: Path | None) -> Record:
    """A record as it is kept.

    Args:
        read: Reads it.
        document: It, as JSON.
        networks: How many networks it must be of, if it lists which of them ``diverged``.
        what: What it is, for messages.
        path: The database.

    Raises:
        InputError: if it has another shape.
    """
    try:
        found = read(document)
        fits = "diverged" not in document or len(document["diverged"]) == networks
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        raise InputError(
            f"{path} is damaged (what it holds of {what} cannot be read); restore a copy of it, or give the loss file "
            "from another directory"
        )
    return found
