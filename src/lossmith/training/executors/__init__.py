"""Where jobs run: in this process, or in others; the outcomes are the same."""

from contextlib import AbstractContextManager, nullcontext

from lossmith.errors import InputError
from lossmith.training.executors.base import EXECUTORS, Call, Executor, Job, Measure, Outcome, Watch, Work, run_job
from lossmith.training.executors.local import Local, local
from lossmith.training.executors.processes import Processes, processes

__all__ = [
    "EXECUTORS",
    "Call",
    "Executor",
    "Job",
    "Local",
    "Measure",
    "Outcome",
    "Processes",
    "Watch",
    "Work",
    "executor",
    "run_job",
    "running",
]

EXECUTORS.register("local", local)
EXECUTORS.register("processes", processes)


def executor(name: str = "auto", workers: int | None = None) -> Executor:
    """The executor of a name.

    Args:
        name: A registered one, or ``"auto"``: processes where more than one worker is asked for, else local.
        workers: How many jobs run at once; None is what suits the executor.

    Raises:
        InputError: if there is none of that name, or it cannot have so many workers.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give a number from 1")
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
