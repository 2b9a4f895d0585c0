"""What is done with Ray: a connection to it, and work as its tasks. Loaded when the executor is first used."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from lossmith.code import described
from lossmith.errors import InputError
from lossmith.training.executors.base import Outcome, Work
from lossmith.training.executors.entrance import begin, check_same, connection
from lossmith.training.executors.parcels import Parcels, serve
from lossmith.training.executors.worker import Failed, received

LOG = logging.getLogger("lossmith")
COUNTED_SECONDS = 5.0
SILENT_SECONDS = 20.0
MODE = "RAY_AUTH_MODE"
GONE = "its machine has gone"
FULL = (ObjectStoreFullError, OutOfDiskError)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Lost:
    """Some work that died with its worker.

    Args:
        how: What Ray says of it, in one line.
        with_machine: Whether the whole machine has gone, for which the work is not to blame.
    """

    how: str
    with_machine: bool


class Session:
    """A connection of this process to Ray, and what is in its store.

    Args:
        address: ``auto`` or ``HOST:PORT``; None for this machine alone.
        cores: How many processors of this machine are used, if it is started here.
        runtime_env: What Ray is to prepare on each machine.

    Raises:
        InputError: if nothing answers there.
    """

    def __init__(self, address: str | None, cores: int, runtime_env: Mapping[str, Any]) -> None:
        self.is_ours = not ray.is_initialized()
        self._mode = os.environ.get(MODE)
        if self.is_ours:
            begin(address, cores)
        else:
            check_same(address)
        self.parcels = Parcels()
        self._serve = ray.remote(serve)
        self._environment = {**runtime_env, "env_vars": {**ONE_THREAD, **runtime_env.get("env_vars", {})}}
        self._identity = _identity()
        # What each machine that is alive has, by its name.
        self._machines = dict[str, Mapping[str, float]]()
        self._when = -COUNTED_SECONDS
        self._is_told = False
        self._head = ray.get_runtime_context().gcs_address
        # Since when it does not answer.
        self._silent: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether this process is still connected to it."""
        return ray.is_initialized() and _identity() == self._identity

    def room(self, gpus: float) -> int:
        """How many pieces of work the machines have room for now, counted anew every few seconds."""
        if time.monotonic() - self._when > COUNTED_SECONDS:
            self._count()
        return sum(_room_of(machine, gpus) for machine in self._machines.values())

    def _count(self) -> None:
        if self._is_reached():
            with _connected():
                self._machines = {one["NodeID"]: one["Resources"] for one in ray.nodes() if one["Alive"]}
        self._when = time.monotonic()

    def _is_reached(self) -> bool:
        """Whether the head answers: Ray itself waits for it for a minute, and then ends the process without a word.

        Raises:
            InputError: if it has not for a while.
        """
        try:
            with connection(self._head):
                self._silent = None
                return True
        except OSError as error:
            now = time.monotonic()
            self._silent = now if self._silent is None else self._silent
            if now - self._silent > SILENT_SECONDS or not self._machines:
                raise InputError(_ended(error)) from error
            return False

    def tell(self) -> None:
        """Say which cluster this is, and that the work has to wait where others use all of it."""
        self._count()
        cores, gpus = (sum(int(one.get(kind, 0)) for one in self._machines.values()) for kind in ("CPU", "GPU"))
        LOG.info(
            "in the Ray cluster at %s: %s, %s%s",
            self._head,
            _number(len(self._machines), "machine"),
            _number(cores, "processor"),
            f", {_number(gpus, 'GPU')}" if gpus else "",
        )
        if cores and not self.idle():
            LOG.warning(
                "all of its processors are in use now: the work waits until one is free; `ray status` tells more"
            )

    def submit(self, work: Work, gpus: float) -> ray.ObjectRef[Any]:
        """Send some work, on one processor."""
        # A death is counted and told by whoever waits, which Ray's own retries are not; an exception is an outcome.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0, "retry_exceptions": False}
        with _connected():
            parcel = self.parcels.pack(work)
            reference: ray.ObjectRef[Any] = self._serve.options(**options, runtime_env=self._environment).remote(parcel)
        return reference

    def idle(self, gpus: float = 0.0) -> int:
        """For about how many pieces of work there is room that nobody uses now."""
        if not self._is_reached():
            return 0
        with _connected():
            return _room_of(ray.available_resources(), gpus)

    def ended(
        self, references: Sequence[ray.ObjectRef[Any]], gpus: float, seconds: float | None = None
    ) -> list[ray.ObjectRef[Any]]:
        """Those of which something has come, waited for; none, if that takes long.

        Args:
            references: What is on its way.
            gpus: What a piece of work takes.
            seconds: How long is waited, if less than usual.
        """
        patience = COUNTED_SECONDS if seconds is None else min(seconds, COUNTED_SECONDS)
        with _connected():
            found, rest = ray.wait(list(references), num_returns=1, timeout=patience)
            if found:
                return [*found, *(ray.wait(rest, num_returns=len(rest), timeout=0)[0] if rest else [])]
        if self.room(gpus) == 0 and not self._is_told:
            self._is_told = True
            LOG.warning("no machine of the cluster has a place for %s: waiting until one is added", taken(gpus))
        return []

    def answer(self, reference: ray.ObjectRef[Any]) -> Outcome | Failed | Lost:
        """What has come of some work.

        Raises:
            InputError: if the workers cannot begin, or the cluster has ended.
        """
        self._is_told = False
        try:
            content = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, ObjectLostError):
                # All is put anew.
                self.parcels = Parcels()
                return Lost("the store has lost what it needs", with_machine=False)
            if isinstance(error.cause, FULL):
                raise InputError(_full(error.cause)) from error
            raise InputError(
                f"a worker of Ray cannot begin ({described(error.cause)}): install the same lossmith, with its extra "
                "ray, on every machine"
            ) from error
        except RuntimeEnvSetupError as error:
            raise InputError(f"Ray cannot prepare its workers ({described(error)}): correct runtime_env") from error
        except OutOfMemoryError:
            return Lost("its machine was short of memory", with_machine=False)
        except WorkerCrashedError:
            before = set(self._machines)
            self._count()
            if before - set(self._machines):
                return Lost(GONE, with_machine=True)
            return Lost("its worker process died", with_machine=False)
        except (NodeDiedError, ObjectLostError):
            return Lost(GONE, with_machine=True)
        except FULL as error:
            raise InputError(_full(error)) from error
        except RayError as error:
            raise InputError(_ended(error)) from error
        try:
            answer: Outcome | Failed = received(content)
        except Exception as error:
            raise InputError(
                f"what a worker has sent back cannot be read here ({described(error)}): let results and exceptions be "
                "of classes that this process has, too"
            ) from error
        return answer

    def cancel(self, references: Sequence[ray.ObjectRef[Any]]) -> None:
        """End what runs, at once: with its process."""
        if not self.is_alive:
            return
        for reference in references:
            ray.cancel(reference, force=True)

    def close(self) -> None:
        """End what was started here, or leave the cluster."""
        if self.is_ours and self.is_alive:
            ray.shutdown()
            # What Ray has set is not meant for what this process starts later.
            if self._mode is None:
                os.environ.pop(MODE, None)


def _number(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def taken(gpus: float) -> str:
    """What a piece of work takes."""
    return "a piece of work, which takes a processor" + (f" and {gpus:g} GPU{'s' * (gpus > 1)}" if gpus else "")


def _room_of(machine: Mapping[str, float], gpus: float) -> int:
    cores, there = int(machine.get("CPU", 0)), int(machine.get("GPU", 0))
    if not gpus:
        return cores
    # A part of a GPU, or several: a piece of work lies on whole ones then.
    return min(cores, there * int(1 / gpus + 1e-9) if gpus < 1 else there // int(gpus))


def _identity() -> tuple[str, str]:
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()


def _ended(error: BaseException) -> str:
    return (
        f"the connection to Ray has ended ({described(error)}): see that its machines run, and give the same command "
        "again; what is stored is kept"
    )


def _full(error: BaseException) -> str:
    return (
        f"Ray's store and the disk that it moves to are full ({described(error)}): make room on the disk of each "
        "machine, or start Ray with a larger --object-store-memory; what is stored of the study is kept"
    )


@contextmanager
def _connected() -> Iterator[None]:
    """Turn the end of a connection into a sentence."""
    try:
        yield
    except FULL as error:
        raise InputError(_full(error)) from error
    except (RayError, ConnectionError) as error:
        raise InputError(_ended(error)) from error
