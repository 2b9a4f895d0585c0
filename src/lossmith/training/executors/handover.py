"""Jobs as bytes: data is handed over once, in files that every worker reads when it first needs them.

Pickles go between a process and the workers that it started, through pipes and a folder that only this user can read.
"""

from __future__ import annotations

import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.training.executors.base import Work
from lossmith.training.networks import Task

LARGE = 2**14  # bytes of a tensor that is not sent with every job
UNPICKLABLE = (pickle.PicklingError, AttributeError, TypeError, RuntimeError)
TENSOR, VALUE = ".pt", ".pickle"


class Handover:
    """The driver's side: packs values, and keeps tasks and large tensors in files of a temporary folder."""

    def __init__(self) -> None:
        # A later end of the process, without close, removes the folder without complaint.
        self._temporary = tempfile.TemporaryDirectory(prefix="lossmith-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        # What was handed over is held on to, so that no other object gets its identity.
        self._known: dict[tuple[int, int], tuple[str, object]] = {}

    def pack(self, job: Work) -> bytes:
        """A job as bytes.

        Raises:
            InputError: if a part of it cannot be pickled.
        """
        try:
            return _packed(job, self)
        except UNPICKLABLE as error:
            raise InputError(
                f"{self._culprit(job)} cannot be handed to worker processes ({error}): define it at the top of a "
                "module, or take executor = local"
            ) from None

    def close(self) -> None:
        """Remove the files."""
        self._known.clear()
        self._temporary.cleanup()

    def token(self, value: Tensor | Task) -> str:
        """The name of the file that holds a value, written when it is first asked for.

        Raises:
            InputError: if it cannot be written.
        """
        # A tensor that was changed in place must be written again.
        version = value._version if isinstance(value, Tensor) and not value.is_inference() else 0
        key = (id(value), version)
        if key not in self._known:
            kind = TENSOR if isinstance(value, Tensor) else VALUE
            path = self.folder / f"{len(self._known)}{kind}"
            content = value if isinstance(value, Tensor) else _packed(value, self)
            try:
                _write(content, path)
            except (OSError, RuntimeError) as error:
                # PyTorch tells of a full disk by a RuntimeError.
                raise InputError(
                    f"{path} cannot be written for the worker processes ({error}): make room there, let TMPDIR name "
                    "another place, or take executor = local"
                ) from None
            self._known[key] = (path.name, value)
        return self._known[key][0]

    def _culprit(self, job: Work) -> str:
        """What of a job cannot be pickled."""
        for called, part in job.parts().items():
            try:
                _packed(part, self)
            except UNPICKLABLE:
                return called
        return "a job"


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, root: object, handover: Handover) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.root, self.handover = root, handover

    def persistent_id(self, value: Any) -> str | None:
        """The token of a task or a large tensor."""
        if value is self.root:
            return None
        if type(value) is Tensor and value.nbytes >= LARGE and not value.requires_grad:
            return self.handover.token(value)
        return self.handover.token(value) if type(value) is Task else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, found: Found) -> None:
        super().__init__(file)
        self.found = found

    def persistent_load(self, token: str) -> Any:
        """What a token stands for."""
        return self.found.value(token)


class Found:
    """A worker's side: what it has read of the folder; a task is the same object in all its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._values: dict[str, Any] = {}

    def unpack(self, content: bytes) -> Any:
        """A value that :class:`Handover` has packed."""
        return _Unpickler(io.BytesIO(content), self).load()

    def value(self, token: str) -> Any:
        """What the file of a token holds."""
        if token not in self._values:
            path = self.folder / token
            if path.suffix == TENSOR:
                self._values[token] = torch.load(path, weights_only=True, mmap=True)
            else:
                self._values[token] = self.unpack(path.read_bytes())
        return self._values[token]


def _write(value: Tensor | bytes, path: Path) -> None:
    if isinstance(value, bytes):
        path.write_bytes(value)
        return
    # `torch.save` writes the whole storage, so a view is copied first.
    whole = value.untyped_storage().nbytes() == value.nbytes
    torch.save(value.detach() if whole else value.detach().clone(), path)


def _packed(value: object, handover: Handover) -> bytes:
    file = io.BytesIO()
    _Pickler(file, value, handover).dump(value)
    return file.getvalue()
