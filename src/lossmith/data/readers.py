"""What a reader of data is, and which one reads what the user names. A new one is a file and a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossmith.data.source import Source
from lossmith.errors import InputError, brief
from lossmith.registry import Registry, nearest

if TYPE_CHECKING:
    from lossmith.data.settings import DataSettings


@dataclass(frozen=True)
class Reader:
    """Reads data that a text stands for: its own name, others that it takes, or a path.

    Args:
        read: Gives the source of a text, with the settings ``kind`` and ``image_size``, or an InputError.
        takes: Which texts beside its name stand for its data, such as ``"two-moons:200"``.
        path: Which paths it reads; a reader of paths does not read its name.
        described: What is given to it, for messages and help; else its name.
        uses: Settings of tables that it reads, too; others have no use for them.
    """

    read: Callable[[str, DataSettings], Source]
    takes: Callable[[str], bool] | None = None
    path: Callable[[Path], bool] | None = None
    described: str = ""
    uses: tuple[str, ...] = ()


READERS = Registry[Reader]("data")
# It says what is wrong with a path that no reader takes.
FALLBACK = "npz"


def reader_of(data: str) -> Reader:
    """The reader of a text; of readers that take the same path, the one that was registered last.

    Raises:
        InputError: If there is none.
    """
    named = _named(data)
    if named is not None:
        return named
    path = data_path(data)
    if path is None:
        names = [name for name, reader in READERS.items() if reader.path is None]
        raise InputError(f"there is no data {brief(data)}{nearest(data.replace('_', '-'), names)}; give {known_data()}")
    readers = [reader for _, reader in READERS.items() if reader.path is not None and reader.path(path)]
    return readers[-1] if readers else READERS[FALLBACK]


def data_path(data: str) -> Path | None:
    """The path that data is at, whether it exists or not; None for a name, and for what is neither."""
    if not data or _named(data) is not None:
        return None
    try:
        path = Path(data).expanduser()
        known = path.exists() or len(path.parts) > 1
        return path if known or any(reader.path(path) for _, reader in READERS.items() if reader.path) else None
    except (OSError, RuntimeError, ValueError):
        return None


def known_data() -> str:
    """What data can be given: names, and what else readers take."""
    entries = sorted(READERS.items(), key=lambda entry: entry[1].path is not None)
    told = [reader.described or name for name, reader in entries]
    return f"{', '.join(told[:-1])} or {told[-1]}"


def _named(data: str) -> Reader | None:
    """The reader that a text names."""
    for name, reader in READERS.items():
        if reader.path is None and (data == name or (reader.takes is not None and reader.takes(data))):
            return reader
    return None
