"""Where jobs run: in this process, or in others; the outcomes are the same."""

from contextlib import AbstractContextManager, nullcontext

from lossmith.errors import InputError
from lossmith.training.executors.automatic import Automatic, has_room
from lossmith.training.executors.base import EXECUTORS, Call, Executor, Job, Measure, Outcome, Watch, Work, run_job
from lossmith.training.executors.cluster import Ray
from lossmith.training.executors.local import Local, local
from lossmith.training.executors.processes import Processes, cores_here, processes

__all__ = [
    "EXECUTORS",
    "Automatic",
    "Call",
    "Executor",
    "Job",
    "Local",
    "Measure",
    "Outcome",
    "Processes",
    "Ray",
    "Watch",
    "Work",
    "cores_here",
    "executor",
    "has_room",
    "run_job",
    "running",
]

EXECUTORS.register("local", local)
EXECUTORS.register("processes", processes)
EXECUTORS.register("ray", Ray)


def executor(
    name: str = "auto",
    workers: int | None = None,
    *,
    ray_address: str | None = None,
    gpus_per_chunk: float | None = None,
) -> Executor:
    """The executor of a name.

    Args:
        name: A registered one, or ``"auto"``: processes where more than one worker is asked for, else local.
        workers: How many jobs run at once; None is what suits the executor.
        ray_address: Of a cluster, for ``"ray"`` alone, as :class:`Ray` takes it.
        gpus_per_chunk: GPUs of each job, for ``"ray"`` alone.

    Raises:
        InputError: if there is none of that name, it cannot have so many workers, or what is for Ray is given to
            another one.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give a number from 1")
    for given, called in ((ray_address, "the address of Ray"), (gpus_per_chunk, "a number of GPUs per chunk")):
        if given is not None and name != "ray":
            raise InputError(f"{called} ({given}) is for the executor ray, not for {name}: take executor = ray")
    if ray_address is not None or gpus_per_chunk is not None:
        return Ray(workers, ray_address, gpus_per_chunk)
    if name == "auto":
        name = "processes" if workers is not None and workers > 1 else "local"
    return EXECUTORS[name](workers)


def running(given: Executor | str | None) -> AbstractContextManager[Executor]:
    """An executor for a while: a name is started and closed, one that runs is left running, None is this process.

    Raises:
        InputError: if there is none of that name.
    """
    if isinstance(given, str):
        return executor(given)
    if given is not None and not hasattr(given, "run"):
        raise InputError(f"the executor is {given!r}; give a name, {' or '.join(EXECUTORS)}, or an executor")
    return nullcontext(Local() if given is None else given)
