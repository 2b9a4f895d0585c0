"""Jobs in worker processes with one thread each.

Each worker has a pipe of its own, where ``ProcessPoolExecutor`` has one queue for all: a worker that is killed costs
the job that it was at and no other, and can leave no lock held that the others wait for.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from lossmith.errors import InputError, brief
from lossmith.training.executors.base import Closing, Outcome, Progress, Work
from lossmith.training.executors.handover import Handover
from lossmith.training.executors.worker import Failed, Ready, Reported, WorkerTraceback, received, serve
from lossmith.training.networks import Task
from lossmith.training.trainer import Trainer

LOG = logging.getLogger("lossmith")
MOST_DEATHS = 3
MOST_WORKERS = 1024


class _Worker:
    """A process, the pipe to it, and the number of the job that it is at."""

    def __init__(self, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=serve, args=(theirs, folder), daemon=True)
        self.ready = False
        self.job: int | None = None
        # Ctrl-C reaches every process of a terminal: it is the driver that ends the workers, which inherit this mask.
        with _without_interrupts():
            self.process.start()
        theirs.close()

    def give(self, number: int, content: bytes) -> None:
        """Send a job; that the worker has died is seen when it is waited for."""
        self.job = number
        try:
            self.pipe.send_bytes(content)
        except OSError:
            self.process.kill()

    def end(self) -> None:
        """End the process: at once, if it is at a job."""
        self.pipe.close()
        if self.job is not None or not self.ready:
            self.process.kill()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started meanwhile is not interrupted by Ctrl-C, where a system can say so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


class Processes(Closing):
    """An :class:`~lossmith.training.Executor` of worker processes, which are started when they are first needed.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        if not 1 <= workers <= MOST_WORKERS:
            raise InputError(f"workers is {brief(workers)}; give a number from 1 to {MOST_WORKERS}")
        self.workers = workers
        self._pool: list[_Worker] = []
        self._handover: Handover | None = None
        self._runs = 0

    def run(self, jobs: Sequence[Work], progress: Progress | None = None) -> Iterator[Outcome]:
        """The outcomes in order; jobs that a worker died at are run again.

        Raises:
            InputError: if workers die three times with no job done in between, or a job cannot be pickled.
            RuntimeError: if the executor was given other jobs, or closed, before the outcomes were all taken.
        """
        if self._handover is None:
            self._handover = Handover()
        # What is still at a job of an earlier run would answer this one.
        self._end_busy()
        self._runs += 1
        run = self._runs
        waiting, answers = deque(range(len(jobs))), dict[int, Outcome | Failed]()
        deaths, place = 0, 0
        try:
            while place < len(jobs):
                if run != self._runs:
                    raise RuntimeError("these jobs have ended, since their executor was given others, or closed")
                self._assign(jobs, waiting)
                for worker in self._heard():
                    number = worker.job
                    if (answer := _heard_from(worker)) is None:
                        deaths += 1
                        if number is not None:
                            # First, since later outcomes wait for it.
                            waiting.appendleft(number)
                        self._bury(worker, number, deaths)
                    elif isinstance(answer, Reported):
                        if progress is not None and number is not None:
                            progress(number, answer.share)
                    elif number is not None and not isinstance(answer, Ready):
                        answers[number], worker.job, deaths = answer, None, 0
                # Whoever took an outcome may have given other jobs since.
                while run == self._runs and place in answers:
                    answer = answers.pop(place)
                    if isinstance(answer, Failed):
                        raise answer.error from WorkerTraceback(answer.trace)
                    place += 1
                    if waiting:
                        self._assign(jobs, waiting)
                    yield answer
        finally:
            if run == self._runs:
                self._end_busy()

    def trainer(self, task: Task) -> Trainer:
        """A trainer of this process alone, which measures with one thread, as workers have."""
        return Trainer(task, threads=1)

    def close(self) -> None:
        """End all workers and remove what was handed to them."""
        self._runs += 1
        self._end(list(self._pool))
        if self._handover is not None:
            self._handover.close()
            self._handover = None

    def _assign(self, jobs: Sequence[Work], waiting: deque[int]) -> None:
        """Give jobs to the workers that have none, and start workers that are missing."""
        assert self._handover is not None
        while waiting:
            idle = next((worker for worker in self._pool if worker.job is None), None)
            if idle is None and len(self._pool) == self.workers:
                return
            content = self._handover.pack(jobs[waiting[0]])
            if idle is None:
                idle = _Worker(str(self._handover.folder))
                self._pool.append(idle)
            idle.give(waiting.popleft(), content)

    def _heard(self) -> list[_Worker]:
        """Workers that have sent something or died, waited for."""
        # By identity: the pipes of Windows are of another class than Connection.
        ready = set(map(id, wait([worker.pipe for worker in self._pool])))
        return [worker for worker in self._pool if id(worker.pipe) in ready]

    def _bury(self, worker: _Worker, number: int | None, deaths: int) -> None:
        """Let go of a worker that has died, and say so if it was at a job.

        Raises:
            InputError: if that has happened too often.
        """
        worker.process.join()
        code, ready = worker.process.exitcode, worker.ready
        self._end([worker])
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        if deaths < MOST_DEATHS:
            if ready and number is not None:
                LOG.warning(
                    "piece %d of the work was lost, since its worker process died (%s): it is run again",
                    number + 1,
                    how,
                )
            return
        remedy = "give fewer workers if the memory is short, or take executor = local"
        if not ready:
            remedy = 'put what a script starts under if __name__ == "__main__":, or take executor = local'
        raise InputError(f"worker processes died {deaths} times with no job done in between (the last {how}): {remedy}")

    def _end_busy(self) -> None:
        self._end([worker for worker in self._pool if worker.job is not None])

    def _end(self, workers: list[_Worker]) -> None:
        for worker in workers:
            self._pool.remove(worker)
            worker.end()


def _heard_from(worker: _Worker) -> Outcome | Failed | Reported | Ready | None:
    """What a worker has sent; None if it has died."""
    try:
        content = worker.pipe.recv_bytes()
    except (EOFError, OSError):
        return None
    answer: Outcome | Failed | Reported | Ready = received(content)
    worker.ready = True
    return answer


def cores_here() -> int:
    """The processors that this process may use."""
    # Not every system says which.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(workers: int | None) -> Processes:
    """The executor processes, with a worker for each core unless told otherwise."""
    return Processes(cores_here() if workers is None else workers)
