"""What a worker process does: it runs the jobs that it is sent, one at a time, with one thread."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from lossmith.errors import InputError
from lossmith.training.executors.base import Outcome, Trainers
from lossmith.training.executors.handover import UNPICKLABLE, Found

REPORT_SECONDS = 0.1
Dumps = Callable[[Any], bytes]


@dataclass(frozen=True)
class Ready:
    """The worker has begun."""


@dataclass(frozen=True)
class Reported:
    """The share of a job that is done."""

    share: float


@dataclass(frozen=True)
class Failed:
    """The error that a job ended with, and its traceback."""

    error: BaseException
    trace: str


class WorkerTraceback(Exception):
    """The traceback of an error in a worker process."""

    def __str__(self) -> str:
        """The text."""
        return f"\n{self.args[0]}"


def serve(connection: Connection, folder: str) -> None:
    """Run jobs until the other end is closed."""
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    # Rounding depends on the number of threads; and workers would compete for the cores.
    torch.set_num_threads(1)
    found, trainers = Found(Path(folder)), Trainers()
    # The pipe is closed when the driver ends or wants the worker to end.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send_bytes(pickle.dumps(Ready()))
        while True:
            content = connection.recv_bytes()
            connection.send_bytes(_answer(connection, content, found, trainers))


def _answer(connection: Connection, content: bytes, found: Found, trainers: Trainers) -> bytes:
    """The outcome of a job, or its error, as bytes."""
    reported = 0.0

    def progress(share: float) -> None:
        nonlocal reported
        if time.monotonic() - reported > REPORT_SECONDS or share == 1.0:
            reported = time.monotonic()
            connection.send_bytes(pickle.dumps(Reported(share)))

    try:
        try:
            job = found.unpack(content)
        except (AttributeError, ImportError) as error:
            raise InputError(
                f"a worker process does not find what the driver has ({error}): define it at the top of a module that "
                "can be imported, or take executor = local"
            ) from error
        return packed(job.run(trainers, progress))
    except (BrokenPipeError, ConnectionResetError):
        # The driver is gone: this is no error of the job.
        raise
    except BaseException as error:
        return pickle.dumps(portable(error))


def packed(outcome: Outcome, dumps: Dumps = pickle.dumps) -> bytes:
    """An outcome as it can be sent.

    Args:
        outcome: The outcome.
        dumps: How it is pickled.

    Raises:
        InputError: if it cannot be pickled.
    """
    try:
        return dumps(outcome)
    except UNPICKLABLE as error:
        raise InputError(
            f"the result of a job cannot be handed back ({error}): let it be of tensors and numbers, or take "
            "executor = local"
        ) from None


def portable(error: BaseException, dumps: Dumps = pickle.dumps) -> Failed:
    """The error as it can be sent; one that cannot becomes a RuntimeError with its type and words."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(dumps(error))  # noqa: S301 (made on the line itself)
    except Exception:
        return Failed(RuntimeError(f"{type(error).__name__}: {error}"), trace)
    return Failed(error, trace)


def _end_with_parent(folder: str) -> None:
    """A driver that is killed closes nothing: then its folder goes, and this process, in the midst of a job."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def received(content: bytes) -> Any:
    """What a worker has sent."""
    return pickle.loads(content)  # noqa: S301 (sent by a worker that this process has given its work)
