"""Jobs as tasks of Ray, on this machine or on many."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError, brief, installing
from lossmith.training.executors.base import Closing, Job, Outcome, Progress, Work
from lossmith.training.executors.processes import MOST_DEATHS, cores_here
from lossmith.training.executors.worker import Failed, WorkerTraceback
from lossmith.training.networks import Task
from lossmith.training.trainer import Trainer

if TYPE_CHECKING:
    from lossmith.training.executors.tasks import Lost, Session

LOG = logging.getLogger("lossmith")
ADDRESS = re.compile(r"auto|[\w.-]+:\d{1,5}|\[[\da-fA-F:]+\]:\d{1,5}")
MOST_WORKERS = 100_000
# Ray prints what it has to say of a dead worker on standard output, where others read JSON; we say it ourselves.
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
SPARE = 2  # pieces of work that wait where there is room, so that no worker waits for the driver
# An idle worker tries again what takes longer than the others of its run by this factor, and at least this many
# seconds: a worker that is started takes a few.
SLOW, SLOW_SECONDS = 2.0, 10.0


@dataclass(frozen=True)
class _Try:
    """A piece of work on its way, by its number, since a moment; again, where another try of it is on its way, too."""

    number: int
    again: bool = False
    since: float = field(default_factory=time.monotonic)


class Ray(Closing):
    """An :class:`~lossmith.training.Executor` of Ray's tasks, one for each piece of work, each with one thread.

    Ray is entered when it is first needed, and left by :meth:`close`; what was started here ends then. If this process
    has called ``ray.init``, that is used and left as it is. Of progress, only the end of each piece of work is told.

    A training that takes twice as long as the others is begun again on an idle worker, and whichever ends first counts;
    both give the same. A training function of the user's is never run twice at once; metrics and networks may be.

    Functions of a script and lambdas are sent by value, and ``FILE.py:name`` with the Python files beside it; other
    modules must be found on every machine, or be sent by ``runtime_env``.

    Args:
        workers: How many pieces of work run at once; None is as many as there is room for, counted anew as machines
            come and go.
        address: Of a cluster, ``auto`` (one that this machine belongs to) or ``HOST:PORT``; None is Ray on this machine
            alone, or what ``ray.init`` of this process has entered.
        gpus_per_chunk: GPUs of each piece of work, a part of one too; None is one where the data lies on a GPU, or else
            none.
        runtime_env: Ray's own, what it is to prepare on each machine.

    Raises:
        InputError: if one of these cannot be used.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        gpus_per_chunk: float | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        if workers is not None and not 1 <= workers <= MOST_WORKERS:
            raise InputError(f"workers is {brief(workers)}; give a number from 1 to {MOST_WORKERS}")
        if address is not None and not ADDRESS.fullmatch(address):
            raise InputError(f"the address of Ray is {brief(address)}; give auto, or HOST:PORT as ray start tells it")
        if gpus_per_chunk is not None and not _can_be_shared(gpus_per_chunk):
            raise InputError(
                f"the GPUs of a chunk are {brief(gpus_per_chunk)}; give 0, a part of one (0.25), or a whole number"
            )
        self.address, self.gpus_per_chunk, self.runtime_env = address, gpus_per_chunk, dict(runtime_env or {})
        self._given = workers
        self._session: Session | None = None
        self._flying = dict[Any, _Try]()
        self._runs = 0
        self._on_gpu = False
        self._has_told_slow = False
        self._tried = set[int]()
        self._crowded = 0.0

    @property
    def workers(self) -> int:
        """How many pieces of work run at once.

        Raises:
            InputError: if that is to be asked of a cluster, and nothing answers, or it has no room for any.
        """
        if self._given is not None:
            return self._given
        if self.address is None and not self._on_gpu and self._session is None:
            return cores_here()
        gpus = self._gpus
        return max(1, self._opened().room(gpus))

    def run(self, jobs: Sequence[Work], progress: Progress | None = None) -> Iterator[Outcome]:
        """The outcomes in order; work whose worker or machine has died is run again.

        Args:
            jobs: What is to be done.
            progress: Called with the number of a job and 1.0 when it is done.

        Raises:
            InputError: if Ray cannot be used, the workers die three times at one job, or a job cannot be pickled.
            RuntimeError: if the executor was given other jobs, or closed, before the outcomes were all taken.
        """
        self._end_flying()
        self._runs += 1
        run = self._runs
        self._on_gpu = any(isinstance(job, Job) and job.task.device.type == "cuda" for job in jobs)
        if self._on_gpu and self.gpus_per_chunk == 0:
            raise InputError("the data lies on a GPU, and chunks are given none: give more --gpus-per-chunk, or none")
        if self._session is not None:
            self._session.parcels.begin()
        current = self._session
        waiting, answers, deaths = deque(range(len(jobs))), dict[int, Outcome | Failed](), Counter[int]()
        place, seconds = 0, list[float]()
        self._tried, self._crowded = set(), 0.0
        try:
            while place < len(jobs):
                if run != self._runs:
                    raise RuntimeError("these jobs have ended, since their executor was given others, or closed")
                session = self._opened()
                if session is not current:
                    # Nothing comes any more of what a connection has that somebody has ended.
                    waiting = deque(sorted({*(one.number for one in self._flying.values()), *waiting}))
                    self._flying.clear()
                    current = session
                self._send(session, jobs, waiting)
                due = None if waiting else self._try_again(session, jobs, seconds)
                lost: list[tuple[int, Lost]] = []
                for reference in session.ended(list(self._flying), self._gpus, due):
                    if reference not in self._flying:
                        # Another try has just given its outcome.
                        continue
                    tried = self._flying.pop(reference)
                    number = tried.number
                    others = [other for other, one in self._flying.items() if one.number == number]
                    if tried.again and others:
                        # What goes wrong with it is nothing to the first one, which goes on.
                        answer = _of_second(session, reference)
                        if not isinstance(answer, Outcome):
                            continue
                    else:
                        answer = session.answer(reference)
                    if isinstance(answer, (Outcome, Failed)):
                        answers[number] = answer
                        self._end(session, others)
                        if isinstance(answer, Outcome):
                            seconds.append(answer.seconds)
                            if progress is not None:
                                progress(number, 1.0)
                    else:
                        if not others:
                            # First, since later outcomes wait for it.
                            waiting.appendleft(number)
                        deaths[number] += not answer.with_machine
                        lost.append((number, answer))
                _tell(lost, deaths)
                # Whoever took an outcome may have given other jobs since.
                while run == self._runs and place in answers:
                    found = answers.pop(place)
                    if isinstance(found, Failed):
                        raise found.error from WorkerTraceback(found.trace)
                    place += 1
                    # Whoever took the one before may have ended the connection.
                    if waiting and session.is_alive:
                        self._send(session, jobs, waiting)
                    yield found
        finally:
            if run == self._runs:
                self._end_flying()

    def trainer(self, task: Task) -> Trainer:
        """A trainer of this process alone, which measures with one thread, as workers have."""
        self._on_gpu = task.device.type == "cuda"
        return Trainer(task, threads=1)

    def close(self) -> None:
        """End what runs, and Ray itself if it was started here."""
        self._runs += 1
        try:
            self._end_flying()
        finally:
            if self._session is not None:
                self._session.close()
                self._session = None

    @property
    def _gpus(self) -> float:
        return float(self._on_gpu) if self.gpus_per_chunk is None else self.gpus_per_chunk

    def _opened(self) -> Session:
        """The connection, which is made when it is first asked for, and again where somebody has ended it.

        Raises:
            InputError: if there is none, or no room for a piece of work.
        """
        if self._session is None or not self._session.is_alive:
            tasks = _tasks()
            session = tasks.Session(self.address, self._given or cores_here(), self.runtime_env)
            if self._given is None and session.room(self._gpus) == 0:
                shared = "give other --gpus-per-chunk, " if self._gpus else ""
                session.close()
                raise InputError(
                    f"Ray has no machine with room for {tasks.taken(self._gpus)}: add one, {shared}or, if one comes "
                    "later, give --workers"
                )
            self._session = session
            if not self._is_alone(session):
                session.tell()
        return self._session

    def _is_alone(self, session: Session) -> bool:
        return session.is_ours and self.address is None

    def _send(self, session: Session, jobs: Sequence[Work], waiting: deque[int]) -> None:
        """Send work while there is room for it."""
        # What is told a number keeps to it; on our own Ray, only so many run at once as it has processors.
        exactly = self._given is not None and not self._is_alone(session)
        room = self.workers + (0 if exactly else SPARE)
        while waiting and len(self._flying) < room:
            self._flying[session.submit(jobs[waiting[0]], self._gpus)] = _Try(waiting[0])
            waiting.popleft()
        if len(self._flying) > self.workers:
            self._crowded = time.monotonic()

    def _try_again(self, session: Session, jobs: Sequence[Work], seconds: Sequence[float]) -> float | None:
        """Begin again, where workers are idle, the trainings that take much longer than the others.

        Args:
            session: Where.
            jobs: All of the run.
            seconds: What those that have ended took.

        Returns:
            The seconds until the next may be due.
        """
        room = self.workers - len(self._flying)
        # A function of the user's may write files.
        once = [
            one for one in self._flying.values() if one.number not in self._tried and isinstance(jobs[one.number], Job)
        ]
        if not once or not seconds or room <= 0:
            return None
        patience, now = max(SLOW_SECONDS, SLOW * median(seconds)), time.monotonic()
        # As long as more are on their way than can run, some only wait.
        begun = {one.number: max(one.since, self._crowded) for one in once}
        first = min(begun.values())
        if now < first + patience:
            return first + patience - now
        late = sorted((one for one in once if now >= begun[one.number] + patience), key=lambda one: one.since)
        for one in late[: min(room, session.idle(self._gpus))]:
            self._tried.add(one.number)
            if not self._has_told_slow:
                self._has_told_slow = True
                LOG.info(
                    "piece %d of the work takes much longer than others: idle workers try such, too", one.number + 1
                )
            self._flying[session.submit(jobs[one.number], self._gpus)] = _Try(one.number, again=True)
        return patience

    def _end_flying(self) -> None:
        if self._session is not None:
            self._end(self._session, list(self._flying))
        self._flying.clear()

    def _end(self, session: Session, tries: Sequence[Any]) -> None:
        session.cancel(tries)
        for reference in tries:
            del self._flying[reference]


def _of_second(session: Session, reference: Any) -> Outcome | Failed | Lost | None:
    """What came of a second try; None where it cannot be told."""
    try:
        return session.answer(reference)
    except InputError:
        return None


def _tell(lost: Sequence[tuple[int, Lost]], deaths: Counter[int]) -> None:
    """Say that some work is run again, in a line for each way in which it was lost.

    Raises:
        InputError: if a piece of it has killed its worker too often.
    """
    for number, one in lost:
        if deaths[number] >= MOST_DEATHS:
            raise InputError(
                f"workers of Ray died {deaths[number]} times at piece {number + 1} of the work (the last time, "
                f"{one.how}): give fewer workers if the memory is short, or take executor = local to see what it does"
            )
    for how in dict.fromkeys(one.how for _, one in lost):
        numbers = [number for number, one in lost if one.how == how]
        if len(numbers) == 1:
            LOG.warning("piece %d of the work was lost, since %s: it is run again", numbers[0] + 1, how)
        else:
            LOG.warning("%d pieces of the work were lost, since %s: they are run again", len(numbers), how)


def _can_be_shared(gpus: float) -> bool:
    return 0 <= gpus <= 1 or (1 < gpus <= MOST_WORKERS and gpus == int(gpus))


def _tasks() -> Any:
    """What is done with Ray.

    Raises:
        InputError: if it is not installed.
    """
    try:
        with environment(QUIET):
            from lossmith.training.executors import tasks
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise InputError(
            f"the executor ray needs Ray, which is not installed: {installing('ray')}; or take executor = processes"
        ) from None
    return tasks


@contextmanager
def environment(added: Mapping[str, str]) -> Iterator[None]:
    """Variables for what is imported or started meanwhile, where nobody has set them."""
    new = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
