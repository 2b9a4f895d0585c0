"""Files that appear whole or not at all, and documents read as data."""

import json
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from lossmith.errors import InputError


def read_json(path: str | os.PathLike[str]) -> Any:
    """The document of a JSON file.

    Raises:
        InputError: if there is no such file or it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give the path of a JSON file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a JSON file ({error}); write losses with lossmith.save") from None


def write_json(document: Any, path: str | os.PathLike[str]) -> None:
    """Write a JSON file that appears whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(text.encode(), path)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document of a TOML file.

    Raises:
        InputError: if there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give the path of a study file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def write_toml(document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a TOML file that appears whole or not at all; values that are None are left out.

    Raises:
        InputError: if the file cannot be written.
    """
    # Most programs that import this module write no TOML.
    import tomli_w

    write_whole(tomli_w.dumps(without_none(document)).encode(), path)


def write_whole(content: bytes, path: str | os.PathLike[str]) -> None:
    """Write a file beside its place and move it there, so that it appears whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    target = Path(path)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # `mkstemp` lets the owner alone read; the file gets the rights of any other.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}; make room or give another place") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def without_none(value: Any) -> Any:
    """A document as TOML can hold it: without what is None."""
    if isinstance(value, dict):
        return {key: without_none(part) for key, part in value.items() if part is not None}
    return list(value) if isinstance(value, tuple) else value
