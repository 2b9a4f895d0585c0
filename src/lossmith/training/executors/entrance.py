"""The way into Ray: it is started on this machine, or a cluster is entered, without waiting for what is not there."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from lossmith.code import described
from lossmith.errors import InputError
from lossmith.io import read_regular
from lossmith.training.executors.cluster import ADDRESS, environment

REACHED_SECONDS = 5.0
MOST_KEPT = 1000  # bytes of the file in which Ray keeps an address
# How a connection of gRPC begins, and the kind of frame that answers it: Ray waits for minutes where none comes.
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), 4
# What is started here sends no statistics of its use to the makers of Ray.
NO_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}


def begin(address: str | None, cores: int) -> None:
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
                f"Ray cannot be started on this machine ({described(error)}): see its logs in {_folder()}/ray, try "
                "again when the machine is less busy, or take executor = processes"
            ) from error
        return
    _reach(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        # It may have entered in part.
        ray.shutdown()
        start = _remedy(address) if address == "auto" else f"run ray start --address={address} on this machine, too"
        raise InputError(
            f"this process cannot enter the Ray cluster {address} ({described(error)}): {start}, with the same "
            "versions of Python and Ray; if the cluster asks for a token, set RAY_AUTH_MODE=token and copy "
            "~/.ray/auth_token from its head"
        ) from error


def check_same(address: str | None) -> None:
    """See that this process is in the cluster of an address.

    Raises:
        InputError: if it is in another one.
    """
    there = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", there):
        raise InputError(
            f"this process is connected to the Ray at {there} already, not to {address}: call ray.shutdown() first, or "
            "give no address"
        )


def _reach(address: str) -> None:
    """See that what may be Ray answers at an address, for which Ray itself waits for minutes.

    Raises:
        InputError: if nothing does, or something else.
    """
    remedy = _remedy(address)
    if address == "auto":
        last = _last_started()
        if last is None or _runs_here():
            return
        address = last
    try:
        with connection(address) as entered:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                # What is encrypted answers to Ray alone.
                return
            entered.sendall(PREFACE)
            answered = b""
            while len(answered) < 4 and (more := entered.recv(9)):
                answered += more
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray answers at {address} ({described(error)}): {remedy}") from None
    if answered[3:4] != bytes([SETTINGS]):
        raise InputError(f"what answers at {address} is not Ray: {remedy}")


def connection(address: str) -> socket.socket:
    """A connection to whatever listens at an address; OSError if nothing does."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), REACHED_SECONDS)


def _folder() -> Path:
    """Where Ray has what it keeps."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


def _last_started() -> str | None:
    """The address of the cluster that this machine has entered last, as Ray keeps it; None where only Ray knows."""
    # The variable comes first, as with Ray.
    if given := os.environ.get("RAY_ADDRESS"):
        return given if ADDRESS.fullmatch(given) and given != "auto" else None
    try:
        kept = read_regular(_folder() / "ray" / "ray_current_cluster", MOST_KEPT).decode().strip()
    except (InputError, OSError, UnicodeDecodeError):
        return None
    return kept if ADDRESS.fullmatch(kept) and kept != "auto" else None


def _runs_here() -> bool:
    """Whether a cluster's head runs on this machine, which Ray prefers to what it has kept."""
    if os.environ.get("RAY_ADDRESS"):
        return False
    # It has no public name.
    return bool(getattr(ray._private.services, "find_gcs_addresses", set)())


def _remedy(address: str) -> str:
    if address == "auto":
        return "run ray start --head on this machine, or ray start --address=HOST:PORT to join a cluster"
    return "see that ray start --head runs there, or correct --ray-address"
