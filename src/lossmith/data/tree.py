"""What lies in a directory of the user: no link leads out of it, and every name of a folder can be printed."""

import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lossmith.data.names import is_plain, shown
from lossmith.errors import InputError

OF_THE_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx")


@dataclass(frozen=True)
class Tree:
    """A directory that the user named.

    Args:
        root: Where it is; it may be a link itself.
    """

    root: Path

    @cached_property
    def place(self) -> Path:
        """The root without links."""
        return Path(os.path.realpath(self.root))

    def entries(self, path: Path) -> list[Path]:
        """What a directory holds by name, without hidden files and those that systems put there.

        Raises:
            InputError: If it cannot be read, or :meth:`check_link` of what is no file.
        """
        try:
            found = sorted(path.iterdir(), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"{shown(path)} cannot be read: {error.strerror}; give yourself permission to read it"
            ) from None
        kept = [entry for entry in found if entry.name[0] != "." and entry.name.lower() not in OF_THE_SYSTEM]
        for entry in kept:
            # A link to a file matters only where the file is read.
            if not entry.is_file():
                self.check_link(entry)
        return kept

    def folders(self, path: Path) -> list[Path]:
        """The folders in a directory.

        Raises:
            InputError: As :meth:`entries`, or if a name cannot be printed.
        """
        found = [entry for entry in self.entries(path) if entry.is_dir()]
        for entry in found:
            if not is_plain(entry.name):
                raise InputError(
                    f"the name of the folder {shown(entry)} holds characters that cannot be printed (written here as "
                    "in Python): rename it"
                )
        return found

    def classes(self, path: Path) -> dict[str, Path]:
        """The class folders in a directory by the names of the classes, which are in the form NFC of Unicode.

        Raises:
            InputError: As :meth:`folders`, or if two names are the same in that form.
        """
        found: dict[str, Path] = {}
        for folder in self.folders(path):
            name = unicodedata.normalize("NFC", folder.name)
            if name in found:
                raise InputError(
                    f"{shown(path)} has two folders that are called {name} in different forms of Unicode "
                    f"({found[name].name!a} and {folder.name!a}): put their images into one"
                )
            found[name] = folder
        return found

    def check_link(self, link: Path) -> None:
        """Raise InputError for a link out of the root, to nothing, or to what holds the link."""
        if not link.is_symlink():
            return
        target = Path(os.path.realpath(link))
        if not os.path.lexists(target) or target.is_symlink():
            raise InputError(f"{shown(link)} cannot be read, since it is a link that leads nowhere: remove it")
        if not target.is_relative_to(self.place):
            raise InputError(
                f"{shown(link)} is a link that leads out of {shown(self.root)} (to {shown(target)}): put a copy there, "
                "or a hard link"
            )
        if target.is_dir() and Path(os.path.realpath(link.parent)).is_relative_to(target):
            raise InputError(f"{shown(link)} is a link to a folder that holds the link itself: remove it")
