"""Executors: the same outcomes wherever jobs run, whatever dies on the way."""

import importlib
import importlib.util
import os
import pickle
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from lossmith import InputError, Loss, cross_entropy, gce, mae, mse
from lossmith.cli.machine import Machine
from lossmith.data import Normalize
from lossmith.nets import ModelSettings, build, network_factory
from lossmith.seeds import generator
from lossmith.training import (
    EXECUTORS,
    Backend,
    Call,
    Choice,
    Executor,
    Job,
    Outcome,
    Ray,
    Recipe,
    Task,
    Trained,
    Trainer,
    Work,
    choose_backend,
    executor,
    run_job,
)
from lossmith.training import tuner as tuner_module
from lossmith.training.executors.base import Trainers
from lossmith.training.executors.handover import LARGE, Found, Handover
from lossmith.training.executors.processes import Processes

CLASSES, SIDE, SAMPLES = 3, 8, 80
# JAX, if a test before loaded it in this process, warns of the forks by which Ray starts its programs.
RAY = (pytest.mark.integration, pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"))
OWN = """
import os
import signal
import time
import torch
from torch import nn

class Seen:
    def __init__(self):
        self.epochs = []
    def observe(self, members, epoch, networks):
        self.epochs.append((list(members), epoch, float(networks.logits(torch.zeros(1, 1, 8, 8)).sum())))
    def result(self):
        return self.epochs

class Strange(Exception):
    def __init__(self, number, text):
        super().__init__(text)

def strange(trained, progress):
    raise Strange(1, "not to be pickled")

def die(trained, progress):
    os.kill(os.getpid(), signal.SIGKILL)

def process(trained, progress):
    return os.getpid(), torch.get_num_threads()

def unpicklable(trained, progress):
    return lambda: None

def refuse(trained, progress):
    from lossmith import InputError
    raise InputError("the objective does not like it; take another")

def begun(file, seconds, progress):
    file.touch()
    time.sleep(seconds)

def twice(number, progress):
    progress(0.5)
    return 2 * number

def divide(progress):
    raise ZeroDivisionError("by me")

def network(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def state(trained: Trained, progress: Callable[[float], None]) -> Any:
    networks = trained.networks
    progress(1.0)
    return networks.parameters, networks.buffers, trained.curve, trained.diverged, trained.pruned


def images(purpose: str) -> Tensor:
    return torch.randint(0, 256, (SAMPLES, 1, SIDE, SIDE), generator=generator(purpose)).to(torch.uint8)


def labels() -> Tensor:
    return torch.arange(SAMPLES) % CLASSES


def task_of(name: str = "mlp", dropout: float = 0.0) -> Task:
    inputs = images("train")
    factory = network_factory(
        ModelSettings(name=name, hidden=(6,), dropout=dropout), Normalize.fit(inputs), inputs.shape[1:], CLASSES
    )
    return Task(factory, inputs, labels(), CLASSES, 255.0, (images("validation"), labels()))


def job_of(task: Task, losses: Sequence[Loss] = (cross_entropy(), mse()), seed: int = 1, **changes: Any) -> Job:
    population = Loss.stack(losses)
    recipe = Recipe(epochs=2, batch_size=20)
    job = Job(
        task, population, (seed,) * len(population), recipe, Backend("population"), state, (images("m"), labels())
    )
    return replace(job, **changes)


def assert_same(found: Any, expected: Any) -> None:
    """To the bit."""
    if isinstance(expected, Tensor):
        assert torch.equal(found, expected)
        assert found.dtype == expected.dtype
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def results(outcomes: Iterator[Outcome]) -> list[Any]:
    return [(outcome.result, outcome.watched) for outcome in outcomes]


def directly(jobs: Sequence[Job]) -> list[Any]:
    outcomes = map(run_job, jobs)
    return results(outcomes)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """A module that workers can import, too: they get the driver's path."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_of_executors.py").write_text(OWN)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("own_of_executors")
    sys.path.remove(str(folder))


class Example:
    """A whole executor: the proof that a new one is a class and a name."""

    workers = 1

    def run(self, jobs: Sequence[Work], progress: Callable[[int, float], None] | None = None) -> Iterator[Outcome]:
        for number, job in enumerate(jobs):
            copied: Work = pickle.loads(pickle.dumps(job))  # noqa: S301 (made here)
            yield copied.run(None, None if progress is None else partial(progress, number))

    def trainer(self, task: Task) -> Trainer:
        return Trainer(task)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


NAMES = [*EXECUTORS, "example"]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as context:
        context.setattr(EXECUTORS, "_entries", dict(EXECUTORS.items()))
        EXECUTORS.register("example", lambda workers: Example())
        yield


@pytest.fixture(scope="module")
def running(own: ModuleType) -> Iterator[dict[str, Executor]]:
    """Every registered executor, begun once for all tests that leave it whole."""
    started: dict[str, Executor] = {name: EXECUTORS[name](1 if name == "local" else 2) for name in NAMES}
    yield started
    for one in started.values():
        one.close()


class TestConformance:
    """What every registered executor must do."""

    pytestmark = pytest.mark.parametrize(
        "name", [pytest.param(name, marks=RAY if name == "ray" else ()) for name in NAMES]
    )

    def test_outcomes_are_those_of_the_jobs_in_their_order(
        self, running: dict[str, Executor], own: ModuleType, name: str
    ) -> None:
        task = task_of("conv", 0.2)
        jobs = [
            job_of(task, recipe=Recipe(epochs=8, batch_size=10)),  # the longest comes first
            job_of(task_of(dropout=0.3), seeds=(4, 5), watch=own.Seen),
            job_of(task, [mae()], backend=Backend(channels_last=True), stop=1),
            job_of(task, [gce(0.5), mae()], share=0.5, prune_at=0.25, recipe=Recipe(epochs=4, batch_size=20)),
            job_of(task_of(), monitor=None, recipe=Recipe(optimizer="adamw", crop=1, epochs=1, batch_size=20)),
        ]
        expected = directly(jobs)
        assert len(expected[1][1]) == 6
        outcomes = list(running[name].run(jobs))
        assert_same(results(iter(outcomes)), expected)
        assert all(outcome.seconds > 0 for outcome in outcomes)

    def test_outcomes_belong_to_their_run(self, running: dict[str, Executor], name: str) -> None:
        """An executor may be given other jobs while outcomes of the first ones are still to come."""
        task = task_of()
        first = running[name].run([job_of(task, seed=seed) for seed in (1, 2, 3)])
        next(first)
        jobs = [job_of(task, seed=seed) for seed in (4, 5, 6)]
        assert_same(results(running[name].run(jobs)), directly(jobs))
        with suppress(RuntimeError):  # Either the first ones go on, or they say that they have ended.
            assert len(list(first)) == 2

    def test_a_run_that_another_one_replaced_hands_nothing_out(
        self, running: dict[str, Executor], own: ModuleType, name: str, tmp_path: Path
    ) -> None:
        """Not even where some of its outcomes are there already, jobs of it wait, and there is room for them."""
        first = running[name].run([Call(partial(own.begun, tmp_path / f"{n}", 0.1 + (n == 0))) for n in range(60)])
        next(first)
        second = running[name].run([Call(partial(own.begun, tmp_path / "second", seconds)) for seconds in (0, 0.5)])
        next(second)
        before = set(tmp_path.iterdir())
        with suppress(RuntimeError):  # Either the first one goes on, or it says that it has ended.
            next(first)
        assert len(list(second)) == 1
        assert set(tmp_path.iterdir()) - before <= {tmp_path / "1"}

    def test_calls_of_a_function_beside_jobs(self, running: dict[str, Executor], own: ModuleType, name: str) -> None:
        reports: list[tuple[int, float]] = []
        work: list[Work] = [Call(partial(own.twice, 4)), job_of(task_of()), Call(partial(own.twice, 5))]
        outcomes = list(running[name].run(work, lambda number, share: reports.append((number, share))))
        assert [outcomes[place].result for place in (0, 2)] == [8, 10]
        # Ray tells of the end alone.
        assert ((0, 0.5) in reports) == (name != "ray")
        assert_same(results(iter([outcomes[1]])), directly([job_of(task_of())]))
        with pytest.raises(ZeroDivisionError, match="by me"):
            list(running[name].run([Call(own.divide)]))

    def test_no_job(self, running: dict[str, Executor], name: str) -> None:
        assert list(running[name].run([])) == []

    def test_progress(self, running: dict[str, Executor], name: str) -> None:
        reports: list[tuple[int, float]] = []
        jobs = [job_of(task_of(), seed=seed) for seed in (1, 2)]
        assert len(list(running[name].run(jobs, lambda number, share: reports.append((number, share))))) == 2
        assert {number for number, _ in reports} == {0, 1}
        for number in (0, 1):
            shares = [share for at, share in reports if at == number]
            assert shares == sorted(shares)
            assert shares[-1] == 1.0

    def test_an_error_comes_as_itself_in_its_place(
        self, running: dict[str, Executor], own: ModuleType, name: str
    ) -> None:
        jobs = [job_of(task_of()), job_of(task_of(), measure=own.refuse), job_of(task_of(), seed=2)]
        outcomes = running[name].run(jobs)
        next(outcomes)
        with pytest.raises(InputError) as caught:
            next(outcomes)
        assert str(caught.value) == "the objective does not like it; take another"
        with pytest.raises(StopIteration):
            next(outcomes)
        assert_same(results(running[name].run(jobs[2:])), directly(jobs[2:]))

    def test_a_run_that_is_left_disturbs_no_other(self, running: dict[str, Executor], name: str) -> None:
        long, short = (job_of(task_of(), recipe=Recipe(epochs=n, batch_size=20)) for n in (400, 1))
        outcomes = running[name].run([short, long, long, long])
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        other = job_of(task_of("conv"), seed=7)
        assert_same(results(running[name].run([other])), directly([other]))

    def test_the_users_own_network(
        self, running: dict[str, Executor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """The module lies in the directory in which the study was begun; workers were started elsewhere."""
        (tmp_path / f"mine_{name}.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        inputs = images("train")
        factory = network_factory(
            ModelSettings(name=f"mine_{name}:network"), Normalize.fit(inputs), inputs.shape[1:], CLASSES
        )
        job = job_of(Task(factory, inputs, labels(), CLASSES))
        assert_same(results(running[name].run([job])), directly([job]))

    def test_nothing_global_is_touched(self, running: dict[str, Executor], name: str) -> None:
        def everything() -> list[Any]:
            return [torch.get_rng_state().tolist(), torch.get_num_threads(), torch.is_grad_enabled(), os.environ.copy()]

        # Ray sets some variables when it is first used.
        list(running[name].run([job_of(task_of("conv"))]))
        before = everything()
        list(running[name].run([job_of(task_of("conv"))]))
        assert everything() == before

    def test_closed_twice_and_used_again(self, own: ModuleType, name: str) -> None:
        with EXECUTORS[name](1) as one:
            first = results(one.run([job_of(task_of())]))
            one.close()
            assert_same(results(one.run([job_of(task_of())])), first)
        one.close()


class TestProcesses:
    def test_jobs_run_elsewhere_at_once_with_one_thread(self, running: dict[str, Executor], own: ModuleType) -> None:
        jobs = [job_of(task_of(), measure=own.process, recipe=Recipe(epochs=30, batch_size=10)) for _ in range(6)]
        found = [outcome.result for outcome in running["processes"].run(jobs)]
        assert len({process for process, _ in found} - {os.getpid()}) == 2
        assert {threads for _, threads in found} == {1}

    def test_workers_that_are_killed_change_nothing(self, running: dict[str, Executor]) -> None:
        """At whatever share of whatever job, and while they start."""
        jobs = [job_of(task_of(), seed=number, recipe=Recipe(epochs=20, batch_size=10)) for number in range(8)]
        chance, killed = random.Random(0), list[int]()
        one = running["processes"]
        assert isinstance(one, Processes)

        def kill(number: int, share: float) -> None:
            # No more than two in a row, so that the third death with nothing done in between never comes.
            if len(killed) < 2 and chance.random() < 0.5:
                victim = chance.choice(one._pool).process.pid
                assert victim is not None
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        assert_same(results(one.run(jobs, kill)), directly(jobs))
        assert len(killed) == 2

    def test_a_job_that_kills_every_worker_ends_with_a_sentence(self, own: ModuleType) -> None:
        with Processes(1) as one:
            outcomes = one.run([job_of(task_of()), job_of(task_of(), measure=own.die)])
            next(outcomes)
            with pytest.raises(InputError, match=r"died 3 times with no job done in between .* killed by signal 9"):
                next(outcomes)
            assert_same(results(one.run([job_of(task_of())])), directly([job_of(task_of())]))

    def test_an_error_that_cannot_be_pickled_keeps_its_words(
        self, running: dict[str, Executor], own: ModuleType
    ) -> None:
        with pytest.raises(RuntimeError, match="Strange: not to be pickled") as caught:
            list(running["processes"].run([job_of(task_of(), measure=own.strange)]))
        assert "own_of_executors.py" in str(caught.value.__cause__)

    def test_a_result_that_cannot_be_pickled(self, running: dict[str, Executor], own: ModuleType) -> None:
        with pytest.raises(InputError, match="the result of a job cannot be handed back"):
            list(running["processes"].run([job_of(task_of(), measure=own.unpicklable)]))

    def test_what_the_worker_does_not_find(self, running: dict[str, Executor], tmp_path: Path) -> None:
        """A function of a module that only this process knows."""
        path = tmp_path / "known_here_only.py"
        path.write_text("def measure(trained, progress):\n    return 1")
        spec = importlib.util.spec_from_file_location("known_here_only", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["known_here_only"] = module
        spec.loader.exec_module(module)
        try:
            with pytest.raises(InputError, match="a worker process does not find what the driver has"):
                list(running["processes"].run([job_of(task_of(), measure=module.measure)]))
        finally:
            del sys.modules["known_here_only"]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"measure": lambda trained, progress: 1}, "the objective cannot be handed to worker processes"),
            ({"task": Task(lambda: nn.Linear(1, 2), torch.zeros(9, 1), torch.arange(9) % 2, 2)}, "the network cannot"),
            ({"watch": lambda: None}, "what watches the training cannot"),
        ],
    )
    def test_what_cannot_be_handed_over(
        self, running: dict[str, Executor], changes: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(InputError, match=f"{words}.*take executor = local"):
            list(running["processes"].run([replace(job_of(task_of()), **changes)]))

    def test_a_function_that_cannot_be_handed_over(self, running: dict[str, Executor]) -> None:
        with pytest.raises(InputError, match=r"the training function cannot be handed to worker.*top of a module"):
            list(running["processes"].run([Call(lambda progress: 1, "the training function")]))

    def test_data_is_handed_over_once_and_removed(self) -> None:
        inputs = torch.randn(LARGE, 4)
        task = Task(
            network_factory(ModelSettings(), Normalize.fit(inputs), inputs.shape[1:], 2),
            inputs[: LARGE // 2],
            torch.arange(LARGE // 2) % 2,
            2,
        )
        jobs = [
            job_of(task, seed=seed, monitor=(task.inputs, task.targets), recipe=Recipe(batch_size=99, steps=2))
            for seed in range(3)
        ]
        with Processes(1) as one:
            assert_same(results(one.run(jobs)), directly(jobs))
            assert one._handover is not None
            folder = one._handover.folder
            sizes = sorted(path.stat().st_size for path in folder.glob("*.pt"))
            assert len(list(folder.iterdir())) == 3  # inputs, targets and the task
            # Of the inputs, the half that is used.
            assert all(0 < size - wanted < 5000 for size, wanted in zip(sizes, (LARGE * 4, LARGE * 8), strict=True))
            (worker,) = one._pool
            process = worker.process.pid
            assert process is not None
            watched = os.pidfd_open(process)
        assert not folder.exists()
        assert select.select([watched], [], [], 0)[0] == [watched]
        os.close(watched)

    @pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
    def test_nothing_is_left_behind(self, own: ModuleType, tmp_path: Path, kill: signal.Signals) -> None:
        """Ctrl-C reaches the driver and its workers; a driver that is killed closes nothing."""
        script = tmp_path / "driver.py"
        script.write_text(DRIVER)
        (tmp_path / "temporary").mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TMPDIR": str(tmp_path / "temporary"),
        }
        driver = subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
        try:
            assert driver.stdout is not None
            workers = [os.pidfd_open(int(number)) for number in driver.stdout.readline().split()]
            assert len(workers) == 2
            if kill == signal.SIGINT:
                os.killpg(driver.pid, kill)
            else:
                driver.kill()
            _, errors = driver.communicate(timeout=60)
            for worker in workers:
                assert select.select([worker], [], [], 60)[0] == [worker]
                os.close(worker)
            assert list((tmp_path / "temporary").glob("lossmith-*")) == []
            if kill == signal.SIGINT:
                assert driver.returncode == -signal.SIGINT
                assert errors.strip().endswith("KeyboardInterrupt")
                assert errors.count("Traceback") == 1
        finally:
            driver.kill()
            driver.communicate()

    def test_a_script_without_its_guard_is_told(self, tmp_path: Path) -> None:
        script = tmp_path / "driver.py"
        script.write_text(DRIVER.replace('if __name__ == "__main__":', "if True:").replace("(2)", "(1)"))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        ended = subprocess.run([sys.executable, script], capture_output=True, env=environment, text=True, check=False)
        assert ended.returncode == 1
        assert 'put what a script starts under if __name__ == "__main__":' in ended.stderr.strip().splitlines()[-1]


DRIVER = """
import signal
import sys
import torch
from lossmith import Loss, mse
from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.training import Backend, Job, Recipe, Task
from lossmith.training.executors.processes import Processes

def diverged(trained, progress):
    return trained.diverged

if __name__ == "__main__":
    # A shell in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    inputs = torch.randn(200, 4)
    factory = network_factory(ModelSettings(), Normalize.fit(inputs), inputs.shape[1:], 2)
    task = Task(factory, inputs, torch.arange(200) % 2, 2)
    job = Job(task, Loss.stack([mse()]), (1,), Recipe(epochs=10**6), Backend(), diverged)
    begun = set()

    def told(number, share):
        begun.add(number)
        if len(begun) == 2:
            begun.add("told")
            print(*(worker.process.pid for worker in executor._pool), flush=True)

    with Processes(2) as executor:
        list(executor.run([job, job], told))
"""


def test_backends_are_measured_with_the_threads_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has one thread, so that what is fastest with two here may not be fastest there."""
    seen: list[int] = []

    def measured(*_: object) -> Choice:
        seen.append(torch.get_num_threads())
        return Choice(Backend(), {"sequential": 1.0})

    monkeypatch.setattr(tuner_module, "measured_choice", measured)
    threads = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    for name in ("local", "processes"):
        with executor(name) as found:
            choose_backend("auto", found.trainer(task_of()), Loss.stack([mae()]), [0], Recipe(epochs=1), 1)
    assert (seen, threads[-1]) == ([2, 1], 2)


class TestChoice:
    @pytest.mark.parametrize(
        ("name", "workers", "wanted"),
        [
            ("auto", None, "Local"),
            ("auto", 1, "Local"),
            ("auto", 2, "Processes"),
            ("local", None, "Local"),
            ("local", 1, "Local"),
            ("processes", 3, "Processes"),
            ("processes", None, "Processes"),
            ("ray", 3, "Ray"),
            ("ray", None, "Ray"),
        ],
    )
    def test_names(self, name: str, workers: int | None, wanted: str) -> None:
        with executor(name, workers) as found:
            assert type(found).__name__ == wanted
            assert found.workers == (1 if wanted == "Local" else workers or len(os.sched_getaffinity(0)))

    @pytest.mark.parametrize(
        ("machine", "wanted"),
        [
            (Machine(), "Automatic"),
            (Machine(threads=1), "Local"),
            (Machine(workers=1), "Local"),
            (Machine(workers=2), "Processes"),
            (Machine(executor="local"), "Local"),
        ],
    )
    def test_the_command_line_measures(self, machine: Machine, wanted: str) -> None:
        """Not a script, which worker processes would run again; nor where a number of threads is the limit."""
        with machine.open() as found:
            assert type(found).__name__ == wanted
            assert found.workers == (2 if wanted == "Processes" else 1)

    @pytest.mark.parametrize(
        ("name", "workers", "sentence"),
        [
            ("local", 2, "the executor local has no workers, but 2 were asked for: take executor = processes"),
            ("auto", 0, "workers is 0; give a number from 1"),
            ("auto", 10**9, "workers is 1000000000; give a number from 1 to 1024"),
            ("proceses", None, "there is no executor 'proceses' .did you mean processes"),
        ],
    )
    def test_refusals(self, name: str, workers: int | None, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            executor(name, workers)


class TestRayIsNotNeeded:
    """What of Ray is checked before it is used."""

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"workers": 10**9}, r"^workers is 1000000000; give a number from 1 to 100000$"),
            ({"address": "ray://host:10001"}, r"^the address of Ray is 'ray://host:10001'; give auto, or HOST:PORT"),
            ({"address": "host"}, r"^the address of Ray is 'host'; give auto"),
            ({"gpus_per_chunk": -1}, r"^the GPUs of a chunk are -1; give 0, a part of one"),
            ({"gpus_per_chunk": 1.5}, r"^the GPUs of a chunk are 1.5; give 0, a part of one"),
            ({"gpus_per_chunk": float("nan")}, r"^the GPUs of a chunk are nan; give 0, a part of one"),
        ],
    )
    def test_refusals(self, given: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Ray(**given)

    @pytest.mark.parametrize("given", [{"ray_address": "auto"}, {"gpus_per_chunk": 0.0}])
    @pytest.mark.parametrize("name", ["auto", "processes"])
    def test_what_only_ray_heeds(self, name: str, given: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=f"is for the executor ray, not for {name}: take executor = ray$"):
            executor(name, 2, **given)
        with executor("ray", 2, **given) as found:
            assert isinstance(found, Ray)

    def test_the_flags_for_the_same_command_again(self) -> None:
        given = Machine(executor="ray", workers=3, ray_address="auto", gpus_per_chunk=0.25)
        assert given.words() == " --executor ray --workers 3 --ray-address auto --gpus-per-chunk 0.25"
        assert Machine().words() == ""

    def test_a_flag_without_effect(self, command: Callable[..., tuple[str, str]]) -> None:
        for flag, value in (("--ray-address", "auto"), ("--gpus-per-chunk", "1")):
            _, errors = command("attack", "mse", flag, value, code=2)
            assert errors == (
                f"lossmith: {flag} has no effect with --executor auto: give --executor ray, or no {flag}\n"
            )

    def test_it_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        monkeypatch.delitem(sys.modules, "lossmith.training.executors.tasks", raising=False)
        monkeypatch.delitem(sys.modules, "lossmith.training.executors.parcels", raising=False)
        monkeypatch.delattr("lossmith.training.executors.tasks", raising=False)
        with (
            Ray(2) as one,
            pytest.raises(InputError, match=r"^the executor ray needs Ray, which is not installed: pip install .*ray"),
        ):
            list(one.run([job_of(task_of())]))


class TestPickling:
    @pytest.mark.parametrize(
        "name",
        [
            "mlp",
            "conv",
            "mnist-cnn",
            "alexnet",
            "allcnn-c",
            "cnn-8",
            "preresnet-20",
            "wrn-16-8",
            "own_of_executors:network",
        ],
    )
    def test_factories(self, own: ModuleType, name: str) -> None:
        side = 32 if name == "alexnet" else 12 if ":" not in name else SIDE
        inputs = torch.rand(5, 1, side, side)
        factory = network_factory(ModelSettings(name=name), Normalize.fit(inputs), inputs.shape[1:], CLASSES)
        again = pickle.loads(pickle.dumps(factory))  # noqa: S301 (made here)
        networks = []
        for one in (factory, again):
            with torch.random.fork_rng():
                torch.manual_seed(3)
                networks.append(one())
        assert next(networks[0].children()) is not next(factory().children())
        assert_same(networks[1].state_dict(), dict(networks[0].state_dict()))
        assert_same(networks[1].eval()(inputs), networks[0].eval()(inputs))

    def test_a_factory_is_a_value(self) -> None:
        factory = task_of().factory
        with pytest.raises(AttributeError):
            factory.body = None  # type: ignore[attr-defined]
        assert isinstance(build("mlp", (4,), 2), nn.Sequential)

    def test_tasks_and_jobs(self) -> None:
        job = job_of(task_of("conv"))
        assert job.task.mean.shape == (1, 1, 1)
        again = pickle.loads(pickle.dumps(job))  # noqa: S301 (made here)
        assert_same(results(iter([run_job(again)])), directly([job]))

    def test_a_task_is_one_object_in_all_its_jobs(self) -> None:
        """So that what one job compiles serves the next; a tensor that is changed is handed over anew."""
        handover = Handover()
        found, task = Found(handover.folder), task_of()
        first, second = (found.unpack(handover.pack(job_of(task, seed=seed))) for seed in (1, 2))
        assert first.task is second.task
        assert first.seeds != second.seeds
        whole = torch.zeros(LARGE)
        before = found.value(handover.token(whole))
        assert handover.token(whole) == handover.token(whole)
        whole += 1
        assert torch.equal(found.value(handover.token(whole)), whole)
        assert torch.equal(before, torch.zeros(LARGE))
        handover.close()
        assert not handover.folder.exists()


def test_the_trainers_of_a_few_tasks_are_kept() -> None:
    trainers, tasks = Trainers(), [task_of() for _ in range(Trainers.KEPT + 1)]
    made = [trainers.of(task) for task in tasks[:-1]]
    assert trainers.of(tasks[0]) is made[0]
    trainers.of(tasks[-1])
    assert trainers.of(tasks[0]) is made[0]
    assert trainers.of(tasks[1]) is not made[1]
