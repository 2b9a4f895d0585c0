"""What is done with Ray: a connection to it, and work as its tasks. Loaded when the executor is first used."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    AuthenticationError,
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
from lossmith.io import read_regular
from lossmith.training.executors.base import Outcome, Work
from lossmith.training.executors.cluster import ADDRESS, environment
from lossmith.training.executors.parcels import Parcels, serve
from lossmith.training.executors.worker import Failed, received

LOG = logging.getLogger("lossmith")
REACHED_SECONDS = 5.0
COUNTED_SECONDS = 5.0
PATIENCE_SECONDS = 20.0
MOST_KEPT = 1000  # bytes of the file in which Ray keeps an address
MODE = "RAY_AUTH_MODE"
GONE = "its machine has gone"
FULL = (ObjectStoreFullError, OutOfDiskError)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# How a connection of gRPC begins, and the kind of frame that answers it: Ray waits for minutes where none comes.
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), 4
# What is started here sends no statistics of its use to the makers of Ray.
NO_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}


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
            _begin(address, cores)
        else:
            _check_same(address)
        self.parcels = Parcels()
        self._serve = ray.remote(serve)
        self._environment = {**runtime_env, "env_vars": {**ONE_THREAD, **runtime_env.get("env_vars", {})}}
        self._identity = _identity()
        # What each machine that is alive has, by its name.
        self._machines = dict[str, Mapping[str, float]]()
        self._when = -COUNTED_SECONDS
        self._is_told = False

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
        with _connected():
            self._machines = {one["NodeID"]: one["Resources"] for one in ray.nodes() if one["Alive"]}
        self._when = time.monotonic()

    def submit(self, work: Work, gpus: float) -> ray.ObjectRef[Any]:
        """Send some work, on one processor."""
        # A death is counted and told by whoever waits, which Ray's own retries are not; an exception is an outcome.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0, "retry_exceptions": False}
        with _connected():
            parcel = self.parcels.pack(work)
            reference: ray.ObjectRef[Any] = self._serve.options(**options, runtime_env=self._environment).remote(parcel)
        return reference

    def idle(self) -> int:
        """How many processors nobody uses now."""
        with _connected():
            return int(ray.available_resources().get("CPU", 0))

    def tell_taken(self) -> None:
        """Say that the work has to wait, where others use all processors of a cluster."""
        if (cores := self.room(0)) and not self.idle():
            LOG.warning(
                "all %d processors of the Ray cluster are in use now: the work waits until one is free; `ray status` "
                "tells more",
                cores,
            )

    def ended(
        self, references: Sequence[ray.ObjectRef[Any]], gpus: float, seconds: float | None = None
    ) -> list[ray.ObjectRef[Any]]:
        """Those of which something has come, waited for; none, if that takes long.

        Args:
            references: What is on its way.
            gpus: What a piece of work takes.
            seconds: How long is waited, if less than usual.
        """
        patience = PATIENCE_SECONDS if seconds is None else min(seconds, PATIENCE_SECONDS)
        with _connected():
            found, rest = ray.wait(list(references), num_returns=1, timeout=patience)
            if found:
                return [*found, *(ray.wait(rest, num_returns=len(rest), timeout=0)[0] if rest else [])]
        if self.room(gpus) == 0 and not self._is_told:
            self._is_told = True
            LOG.warning("no machine of the cluster has a place for a piece of work: waiting until one is added")
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


def _room_of(machine: Mapping[str, float], gpus: float) -> int:
    cores, there = int(machine.get("CPU", 0)), int(machine.get("GPU", 0))
    if not gpus:
        return cores
    # A part of a GPU, or several: a piece of work lies on whole ones then.
    return min(cores, there * int(1 / gpus + 1e-9) if gpus < 1 else there // int(gpus))


def _begin(address: str | None, cores: int) -> None:
    """Start Ray on this machine, or enter a cluster.

    Raises:
        InputError: if there is none, this process cannot be a part of it, or Ray cannot be started.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        try:
            with environment(NO_STATISTICS):
                ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
        except Exception as error:  # Ray raises just that where its processes are not there within half a minute.
            ray.shutdown()
            raise InputError(
                f"Ray cannot be started on this machine ({described(error)}): try again when it is less busy, or take "
                "executor = processes"
            ) from error
        return
    _reach(address)
    try:
        ray.init(address=address, **quiet)
    except AuthenticationError as error:
        ray.shutdown()
        raise InputError(
            f"the Ray cluster {address} asks for a token, and this process has another one or none: copy "
            "~/.ray/auth_token of the machine that runs ray start --head, or name the file in RAY_AUTH_TOKEN_PATH, and "
            "set RAY_AUTH_MODE=token"
        ) from error
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        # It may have entered in part.
        ray.shutdown()
        raise InputError(
            f"this process cannot enter the Ray cluster {address} ({described(error)}): {_remedy(address)}"
        ) from error


def _reach(address: str) -> None:
    """See that what may be Ray answers at an address, for which Ray itself waits for minutes.

    Raises:
        InputError: if nothing does, or something else.
    """
    remedy = _remedy(address)
    if address == "auto":
        last = _last_started()
        if last is None:
            return
        address = last
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACHED_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                # What is encrypted answers to Ray alone.
                return
            connection.sendall(PREFACE)
            answered = b""
            while len(answered) < 4 and (more := connection.recv(9)):
                answered += more
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray answers at {address} ({described(error)}): {remedy}") from None
    if answered[3:4] != bytes([SETTINGS]):
        raise InputError(f"what answers at {address} is not Ray: {remedy}")


def _last_started() -> str | None:
    """The address of the cluster that this machine has entered last, as Ray keeps it; None where only Ray knows."""
    # The variable comes first, as with Ray.
    if given := os.environ.get("RAY_ADDRESS"):
        return given if ADDRESS.fullmatch(given) and given != "auto" else None
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    try:
        kept = read_regular(folder / "ray" / "ray_current_cluster", MOST_KEPT).decode().strip()
    except (InputError, OSError, UnicodeDecodeError):
        return None
    return kept if ADDRESS.fullmatch(kept) and kept != "auto" else None


def _remedy(address: str) -> str:
    start = "ray start --head" if address == "auto" else f"ray start --address={address}"
    return f"run {start} on this machine first, with the same versions of Python and Ray, or correct --ray-address"


def _check_same(address: str | None) -> None:
    there = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", there):
        raise InputError(
            f"this process is connected to the Ray at {there} already, not to {address}: call ray.shutdown() first, or "
            "give no address"
        )


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
