"""Work as bytes and references into Ray's store, where tasks, large tensors and the user's files are put once.

Loaded with Ray. Functions of a script and lambdas go by value, as ``cloudpickle`` does it.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import sys
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.cloudpickle import CloudPickler, dumps
from ray.exceptions import RayError
from torch import Tensor

from lossmith.code import ByName
from lossmith.errors import InputError
from lossmith.training.executors.base import Trainers, Work
from lossmith.training.executors.handover import LARGE, UNPICKLABLE
from lossmith.training.executors.sources import Place, Sources, moved
from lossmith.training.executors.worker import packed, portable
from lossmith.training.networks import Task

KEPT = 32  # values of a worker: four tasks, each with its tensors


@dataclass(frozen=True)
class Flat:
    """A tensor in the store: its memory as it lies, so that workers read it without pickling it."""

    memory: NDArray[np.uint8]
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    device: str

    @staticmethod
    def of(tensor: Tensor) -> Flat:
        """A tensor of which only what it shows is kept, where its memory holds more."""
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes and tensor.storage_offset() == 0
        here = (tensor.detach() if whole else tensor.detach().clone()).cpu()
        memory = torch.empty(0, dtype=torch.uint8).set_(here.untyped_storage()).numpy()
        return Flat(memory, here.dtype, tuple(here.shape), here.stride(), tensor.device.type)

    def tensor(self) -> Tensor:
        """A copy, since other workers of the machine read the same memory; on the worker's own GPU, if on one."""
        memory = torch.from_numpy(self.memory.copy()).untyped_storage()
        found = torch.empty(0, dtype=self.dtype).set_(memory, 0, self.shape, self.stride)
        return found if self.device == "cpu" else found.to(self.device)


@dataclass(frozen=True)
class Parcel:
    """Work on its way.

    Args:
        shipment: Which executor has packed it.
        content: The pickle.
        references: What it needs of the store, by token. Within a value, so that Ray fetches none of it by itself.
        paths: Where the driver finds modules.
    """

    shipment: str
    content: bytes
    references: Mapping[str, ray.ObjectRef[Any]]
    paths: tuple[str, ...]


@dataclass
class _Put:
    """A value in the store; it is held on to, so that no other object gets its identity."""

    reference: ray.ObjectRef[Any]
    token: str
    value: object
    run: int
    needs: dict[str, ray.ObjectRef[Any]] = field(default_factory=dict)


class Parcels:
    """The driver's side: packs work, and holds what is in the store for it."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self._known: dict[object, _Put] = {}
        self._tokens = itertools.count()
        self._run = 0

    def begin(self) -> None:
        """Begin another run: what the last one had no need of leaves the store."""
        self._known = {key: put for key, put in self._known.items() if put.run == self._run}
        self._run += 1

    def pack(self, work: Work) -> Parcel:
        """Work, ready to be sent.

        Raises:
            InputError: if a part of it cannot be pickled.
        """
        needs: dict[str, ray.ObjectRef[Any]] = {}
        try:
            content = _packed(work, self, needs)
        except UNPICKLABLE as error:
            raise InputError(
                f"{self._culprit(work)} cannot be handed to worker processes ({error}): let it hold no open file, "
                "connection or lock, or take executor = local"
            ) from None
        return Parcel(self.name, content, needs, tuple(path for path in sys.path if path))

    def token(self, value: Tensor | Task | Sources, needs: dict[str, ray.ObjectRef[Any]]) -> str:
        """The token of a value, which is put into the store when it is first asked for.

        Args:
            value: The value.
            needs: Gets its reference, and those of what it is made of.
        """
        # A tensor that was changed in place must be put anew.
        version = value._version if isinstance(value, Tensor) and not value.is_inference() else 0
        key: object = value if isinstance(value, Sources) else (id(value), version)
        if key not in self._known:
            inner: dict[str, ray.ObjectRef[Any]] = {}
            if isinstance(value, Task):
                content: object = _packed(value, self, inner)
            else:
                content = Flat.of(value) if isinstance(value, Tensor) else value
            self._known[key] = _Put(ray.put(content), str(next(self._tokens)), value, self._run, inner)
        put = self._known[key]
        put.run = self._run
        needs |= {put.token: put.reference, **put.needs}
        return put.token

    def sources(self, code: ByName) -> Sources | None:
        """The files of the user's that some code needs."""
        # Read each time: it may have been corrected since the job before.
        return Sources.of(code)

    def _culprit(self, work: Work) -> str:
        for called, part in work.parts().items():
            try:
                _packed(part, self, {})
            except UNPICKLABLE:
                return called
        return "a job"


class _Pickler(CloudPickler):  # type: ignore[misc, unused-ignore]
    def __init__(self, file: io.BytesIO, root: object, parcels: Parcels, needs: dict[str, ray.ObjectRef[Any]]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)  # type: ignore[no-untyped-call, unused-ignore]
        self.root, self.parcels, self.needs = root, parcels, needs

    def persistent_id(self, value: Any) -> str | None:
        """The token of a task, a large tensor, or files."""
        if value is self.root:
            return None
        if type(value) is Tensor and not value.requires_grad:
            large = value.nbytes >= LARGE or value.device.type != "cpu"
            return self.parcels.token(value, self.needs) if large else None
        return self.parcels.token(value, self.needs) if type(value) in (Task, Sources) else None

    def reducer_override(self, value: Any) -> Any:
        """Code of the user's goes with its files."""
        if isinstance(value, ByName) and (sources := self.parcels.sources(value)) is not None:
            return moved, (*value.__reduce__()[:2], sources)
        return super().reducer_override(value)  # type: ignore[no-untyped-call, unused-ignore]


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, kept: _Kept, references: Mapping[str, ray.ObjectRef[Any]]) -> None:
        super().__init__(io.BytesIO(content))
        self.kept, self.references = kept, references

    def persistent_load(self, token: str) -> Any:
        """What a token stands for."""
        return self.kept.value(token, self.references)


class _Kept:
    """A worker's side: what it has read lately; a task is the same object in its consecutive jobs."""

    def __init__(self) -> None:
        self.trainers = Trainers()
        self._values = OrderedDict[str, Any]()
        # What is imported late is looked for in them as long as there is work.
        self._places = dict[str, Place]()

    def unpack(self, content: bytes, references: Mapping[str, ray.ObjectRef[Any]]) -> Any:
        """A value that the driver has packed."""
        return _Unpickler(content, self, references).load()

    def value(self, token: str, references: Mapping[str, ray.ObjectRef[Any]]) -> Any:
        """What a token stands for."""
        if token in self._places:
            return self._places[token]
        if token not in self._values:
            content = ray.get(references[token])
            if isinstance(content, Sources):
                self._places[token] = Place(content, _folder_of_session())
                return self._places[token]
            self._values[token] = content.tensor() if isinstance(content, Flat) else self.unpack(content, references)
        self._values.move_to_end(token)
        while len(self._values) > KEPT:
            self._values.popitem(last=False)
        return self._values[token]


@lru_cache(maxsize=1)
def _kept(shipment: str) -> _Kept:  # noqa: ARG001
    """What a worker process keeps of the work of one executor."""
    return _Kept()


def serve(parcel: Parcel) -> bytes:
    """Do some work in a worker of Ray, with one thread; its outcome or its error, as bytes."""
    # Rounding depends on the number of threads; and workers would compete for the cores.
    torch.set_num_threads(1)
    _find_modules(parcel.paths)
    kept = _kept(parcel.shipment)
    try:
        work = _unpacked(parcel, kept)
    except RayError:
        # The store's, which is no error of the work.
        raise
    except BaseException as error:
        return _failure(error)
    try:
        return packed(work.run(kept.trainers), dumps)
    except BaseException as error:
        return _failure(error)


def _folder_of_session() -> Path | None:
    """Where Ray keeps what belongs to its cluster, so that what a killed worker leaves goes with that."""
    # To ask where Ray is not there would start it.
    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    # Older versions of Ray do not say.
    if not (hasattr(context, "get_temp_dir") and hasattr(context, "get_session_name")):
        return None
    folder = Path(context.get_temp_dir(), context.get_session_name())
    return folder if folder.is_dir() else None


def _failure(error: BaseException) -> bytes:
    found: bytes = dumps(portable(error, dumps))
    return found


def _unpacked(parcel: Parcel, kept: _Kept) -> Work:
    try:
        work: Work = kept.unpack(parcel.content, parcel.references)
    except (AttributeError, ImportError) as error:
        raise InputError(
            f"a worker of Ray does not find what the driver has ({error}): install it on every machine, put it into a "
            'folder that all share, or give Ray(runtime_env={"working_dir": "."})'
        ) from error
    return work


def _find_modules(paths: Sequence[str]) -> None:
    """Find modules where the driver does, after the worker's own."""
    sys.path.extend(path for path in paths if path not in sys.path and os.path.isdir(path))  # noqa: PTH112


def _packed(value: object, parcels: Parcels, needs: dict[str, ray.ObjectRef[Any]]) -> bytes:
    file = io.BytesIO()
    _Pickler(file, value, parcels, needs).dump(value)  # type: ignore[no-untyped-call, unused-ignore]
    return file.getvalue()
