"""Loss files: JSON, read as data only."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.losses.loss import Loss


def save(loss: Loss, path: str | os.PathLike[str], **extra: Any) -> None:
    """Write a loss as JSON; the file appears whole or not at all.

    Args:
        loss: One loss or a population.
        path: The file; an existing one is replaced.
        extra: Further JSON values kept beside the loss, which :func:`load` leaves alone.

    Raises:
        InputError: if the file cannot be written, or an extra key is one of the loss's own.
    """
    document = loss.to_json()
    taken = sorted(document.keys() & extra.keys())
    if taken:
        raise InputError(f"a loss file keeps {', '.join(taken)} for the loss; give your values other names")
    write_json({**document, **extra}, path)


def load(path: str | os.PathLike[str]) -> Loss:
    """The loss of a file written by :func:`save`, or of a study's ``best.json``.

    Raises:
        InputError: if there is no such file, or it does not hold a loss.
    """
    document = read_json(path)
    try:
        return Loss.from_json(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


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
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}; make room or give another place") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
