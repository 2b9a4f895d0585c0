"""Ray: the same outcomes and studies on a cluster, whatever dies on the way. Its machines are processes of this one."""

import contextlib
import json
import logging
import os
import random
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import lossmith
from lossmith import InputError, Loss, mse
from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.study import EvolveSettings, Progress, evolve, validated
from lossmith.training import Backend, Call, Executor, Job, Local, Processes, Ray, Recipe, Task, Work
from lossmith.training.executors import cluster as cluster_module
from lossmith.training.executors.cluster import _tasks

# JAX, if a test before loaded it in this process, warns of the forks by which Ray starts its programs.
FORKS = r"ignore:os\.fork\(\) was called:RuntimeWarning"
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings(FORKS)]

STORE = 100 * 2**20
STUDY: dict[str, Any] = {
    "data": {"source": "digits", "train_size": 60, "validation_size": 60},
    "model": {"name": "mlp", "hidden": [4]},
    "recipe": {"epochs": 2, "batch_size": 20, "lr": 0.2},
    "search": {"population": 6, "generations": 3, "space": "taylor", "seed": 2},
    "run": {"training": "population", "chunk": 2, "finalists": 1, "finalist_seeds": 2, "tune": False},
}
HOW = {"processes": " (killed by signal 9)", "ray": ""}
NETWORK = """
from beside import SIZE
from torch import nn

def network(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE, classes))
"""
# The first worker that builds it while there is a file `armed` ends as that file says; a driver does not.
MORTAL = """
import os, signal
from torch import nn

FOLDER = {folder!r}

def network(shape, classes):
    if os.getpid() != {driver}:
        try:
            os.rename(FOLDER + "/armed", FOLDER + "/caught")
        except FileNotFoundError:
            return built(classes)
        with open(FOLDER + "/caught") as file:
            how = file.read()
        if how == "raises":
            raise ArithmeticError("a mistake of mine")
        with open(FOLDER + "/pipe", "w") as pipe:
            pipe.write(str(os.getpid()))
        signal.pause()
    return built(classes)

def built(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
DRIVER = """
import sys, time
from pathlib import Path
import torch
from lossmith.study import EvolveSettings, evolve
from lossmith.training import executor

def report(standing):
    if standing.candidates > 8:
        print("now", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    torch.set_num_threads(1)
    settings, directory, address = EvolveSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    with executor("processes", 2) if address == "-" else executor("ray", 2, ray_address=address or None) as one:
        evolve(directory, settings, executor=one, report=report)
"""


def settings(**model: Any) -> EvolveSettings:
    return validated(EvolveSettings, {**STUDY, "model": model or STUDY["model"]}, "the test's settings")


def mortal(folder: Path) -> EvolveSettings:
    """A study whose network can be told to end its worker, and a pipe in which the worker tells its number."""
    folder.mkdir()
    (folder / "net.py").write_text(MORTAL.format(folder=str(folder), driver=os.getpid()))
    os.mkfifo(folder / "pipe")
    return settings(name=f"{folder / 'net.py'}:network")


def rows(directory: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a database holds, less the seconds."""
    found = {}
    with contextlib.closing(sqlite3.connect(f"{(directory / 'study.db').as_uri()}?mode=ro", uri=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})") if row[1] != "seconds"]
            query = f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1, 2"  # noqa: S608
            found[name] = connection.execute(query).fetchall()
    return found


def assert_equal(directory: Path, expected: Path) -> None:
    assert rows(directory) == rows(expected)
    for name in ("best.json", "study.toml"):
        assert (directory / name).read_bytes() == (expected / name).read_bytes()


def assert_trained_once(directory: Path) -> None:
    """Nothing that was stored was begun again."""
    stored = set()
    for line in (directory / "training.log").read_text().splitlines():
        event = json.loads(line)
        label = json.dumps({name: value for name, value in event.items() if name not in ("time", "event")})
        assert label not in stored, line
        if event["event"] == "stored":
            stored.add(label)
    assert len(stored) > 3


def parent_of(process: int) -> int:
    return int((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[1])


def processes_of(parent: int, title: str) -> list[int]:
    """The children of a process whose command line begins so."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found_parent, words = parent_of(int(folder.name)), (folder / "cmdline").read_text()
        except OSError:
            continue
        if found_parent == parent and words.startswith(title):
            found.append(int(folder.name))
    return found


def state(trained: Any, progress: Callable[[float], None]) -> Any:
    return {name: value.tolist() for name, value in trained.networks.parameters.items()}


def total(trained: Any, progress: Callable[[float], None]) -> float:
    return float(sum(value.double().sum() for value in trained.networks.parameters.values()))


def waited(seconds: float, result: int, progress: Callable[[float], None]) -> int:
    time.sleep(seconds)
    return result


def die_once(marker: Path) -> None:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def state_after_a_death(marker: Path, trained: Any, progress: Callable[[float], None]) -> Any:
    die_once(marker)
    return state(trained, progress)


class Death:
    """Kills the worker after an epoch, once."""

    def __init__(self, marker: Path, epoch: int) -> None:
        self.marker, self.epoch = marker, epoch

    def observe(self, members: list[int], epoch: int, networks: Any) -> None:
        if epoch == self.epoch:
            die_once(self.marker)

    def result(self) -> None: ...


def die(progress: Callable[[float], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def seen(name: str, progress: Callable[[float], None]) -> tuple[int, str | None]:
    return torch.get_num_threads(), os.environ.get(name)


def score(criterion: Any, seed: int) -> float:
    """A training function of one's own."""
    logits = torch.zeros(3, 4, requires_grad=True)
    criterion(logits, torch.tensor([0, 1, 2])).backward()
    assert logits.grad is not None
    return float(logits.grad.abs().sum()) % 1.0 + seed % 7 / 1000


def job_of(size: int = 8, seed: int = 1, **changes: Any) -> Job:
    inputs, targets = torch.rand(40, size, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    factory = network_factory(ModelSettings(hidden=(3,)), Normalize.fit(inputs), inputs.shape[1:], 3)
    task = Task(factory, inputs, targets, 3)
    job = Job(task, Loss.stack([mse()]), (seed,), Recipe(steps=3, batch_size=20), Backend(), state)
    return replace(job, **changes)


def results(one: Executor, jobs: list[Work]) -> list[Any]:
    return [outcome.result for outcome in one.run(jobs)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors, and two machines of one processor, the second with a GPU in name."""
    _tasks()  # first, as for everybody: Ray prints on standard output otherwise
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    # Workers cannot import tests; the functions of a script go by value, too.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])

    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": STORE,
            "include_dashboard": False,
            # That a machine has gone is seen soon.
            "_system_config": {"health_check_period_ms": 300, "health_check_failure_threshold": 2},
        },
    )
    started.add_node(num_cpus=1, object_store_memory=STORE)
    started.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE)
    yield started
    started.shutdown()


@pytest.fixture(scope="module")
def entered(cluster: Any) -> Iterator[Ray]:
    with Ray(address=cluster.address) as one:
        yield one


@pytest.fixture(scope="module")
def by_name(entered: Ray) -> Iterator[dict[str, Executor]]:
    """The executors on which the same failures are tried."""
    with Processes(2) as two:
        yield {"processes": two, "ray": entered}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that one process made without interruption."""
    directory = tmp_path_factory.mktemp("studies") / "whole"
    evolve(directory, settings())
    return directory


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class TestLost:
    """What dies costs what it was at, and is told in a line."""

    @pytest.mark.parametrize("name", ["processes", "ray"])
    def test_workers_that_die_at_random_moments(
        self, by_name: dict[str, Executor], tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        """In the midst of a training, and when it is over."""
        chance, recipe = random.Random(0), Recipe(epochs=20, batch_size=20)
        jobs = [job_of(seed=seed, recipe=recipe) for seed in range(6)]
        expected = results(Local(), [*jobs])
        midst, over = chance.sample(range(6), 2)
        jobs[midst] = replace(jobs[midst], watch=partial(Death, tmp_path / "midst", chance.randint(1, 20)))
        jobs[over] = replace(jobs[over], measure=partial(state_after_a_death, tmp_path / "over"))
        assert results(by_name[name], [*jobs]) == expected
        lost = f"piece {{}} of the work was lost, since its worker process died{HOW[name]}: it is run again"
        assert sorted(told(caplog)) == sorted(lost.format(number + 1) for number in (midst, over))

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("processes", r"^worker processes died 3 times with no job done .*signal 9.* executor = local"),
            ("ray", r"^workers of Ray died 3 times at piece 1 of the work .* executor = local"),
        ],
    )
    def test_a_job_that_kills_every_worker(self, by_name: dict[str, Executor], name: str, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            list(by_name[name].run([Call(die)]))

    def test_a_machine_goes_and_another_one_comes(
        self, cluster: Any, entered: Ray, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """While a chunk is trained on it."""
        folder = tmp_path / "mine"
        chosen = mortal(folder)
        evolve(tmp_path / "alone", chosen)
        left, come = list[Any](), list[Any]()

        def arm(standing: Progress) -> None:
            if standing.candidates > 8 and not (folder / "caught").exists():
                (folder / "armed").write_text("dies")
            elif left and not come:
                gpus = left[0]._ray_params.num_gpus
                come.append(cluster.add_node(num_cpus=1, num_gpus=gpus, object_store_memory=STORE))

        def remove() -> None:
            raylet = parent_of(int((folder / "pipe").read_text()))
            left.extend(one for one in cluster.worker_nodes if one.all_processes["raylet"][0].process.pid == raylet)
            cluster.remove_node(left[0], allow_graceful=False)

        remover = threading.Thread(target=remove, daemon=True)
        remover.start()
        evolve(tmp_path / "study", chosen, executor=entered, report=arm)
        remover.join(60)
        assert len(left) == len(come) == 1
        assert_equal(tmp_path / "study", tmp_path / "alone")
        assert_trained_once(tmp_path / "study")
        lost = {line.partition(", since ")[2].partition(":")[0] for line in told(caplog)} - {""}
        assert lost == {"its machine has gone"}

    @pytest.mark.parametrize("where", ["processes", "here", "cluster"])
    def test_the_driver(self, cluster: Any, entered: Ray, whole: Path, tmp_path: Path, where: str) -> None:
        """Nothing of it goes on; what is stored stays, whoever goes on."""
        script, directory = tmp_path / "driver.py", tmp_path / "study"
        script.write_text(DRIVER)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        address = {"processes": "-", "here": "", "cluster": cluster.address}[where]
        driver = subprocess.Popen(
            [sys.executable, script, settings().model_dump_json(), directory, address],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "now\n"
            raylets = [os.pidfd_open(number) for number in processes_of(driver.pid, "/")]
            assert bool(raylets) == (where != "cluster")
        finally:
            driver.kill()
            driver.communicate()
        for raylet in raylets:
            assert select.select([raylet], [], [], 60)[0] == [raylet]
            os.close(raylet)
        assert 0 < len(rows(directory)["candidate"]) < 18
        evolve(directory, settings(), executor=entered if where == "cluster" else Local())
        assert_equal(directory, whole)
        assert_trained_once(directory)


def slow_at_first(folder: Path, result: int, seconds: float, trained: Any, progress: Callable[[float], None]) -> int:
    """The first that comes here takes long."""
    try:
        (folder / str(result)).mkdir()
    except FileExistsError:
        return result
    time.sleep(seconds)
    return result


class TestSecondTry:
    """A slow machine holds up no training."""

    def test_what_ends_first_counts(
        self, entered: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(cluster_module, "SLOW_SECONDS", 0.5)
        monkeypatch.setattr(entered, "_has_told_slow", False)
        caplog.set_level(logging.INFO)
        first = job_of(seed=1, measure=partial(slow_at_first, tmp_path, 0, 0.0))
        slow = job_of(seed=1, measure=partial(slow_at_first, tmp_path, 1, 600.0))
        started, heard = time.monotonic(), list[int]()
        outcomes = [one.result for one in entered.run([slow, first], lambda number, _: heard.append(number))]
        assert outcomes == [1, 0]
        assert sorted(heard) == [0, 1]
        assert time.monotonic() - started < 60
        assert [record.getMessage() for record in caplog.records] == [
            "piece 1 of the work takes much longer than others: idle workers try such, too"
        ]
        # The worker that was slow has ended, and nothing of it comes later.
        assert results(entered, [job_of(), job_of()]) == results(Local(), [job_of(), job_of()])

    def test_a_function_is_not_called_twice(
        self, entered: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cluster_module, "SLOW_SECONDS", 0.1)
        results(entered, [Call(partial(counted, tmp_path / "calls", 1.5)), Call(partial(waited, 0.01, 2))])
        assert (tmp_path / "calls").read_text() == "x"


def counted(file: Path, seconds: float, progress: Callable[[float], None]) -> None:
    with file.open("a") as opened:
        opened.write("x")
    time.sleep(seconds)


class TestWaiting:
    def test_others_use_all_processors(self, cluster: Any, entered: Ray, caplog: pytest.LogCaptureFixture) -> None:
        import ray

        caplog.set_level(logging.INFO)
        assert entered.workers == 2
        held = [ray.remote(lambda: time.sleep(600)).options(num_cpus=1).remote() for _ in range(2)]
        while ray.available_resources().get("CPU", 0) > 0:
            time.sleep(0.05)
        with Ray(address=cluster.address) as other:
            assert other.workers == 2
        (line,) = told(caplog)
        assert line.startswith("all of its processors are in use now: the work waits until one is free")
        assert f"in the Ray cluster at {cluster.address}: 3 machines, 2 processors, 1 GPU" in caplog.messages
        for one in held:
            ray.cancel(one, force=True)


HEADLESS = """
import sys
from pathlib import Path
from lossmith.study import EvolveSettings, evolve
from lossmith.training import Ray
from lossmith.training.executors.cluster import _tasks

def report(standing):
    if standing.candidates > 8:
        print("now", flush=True)
        sys.stdin.readline()

if __name__ == "__main__":
    _tasks().SILENT_SECONDS = _tasks().COUNTED_SECONDS = 1.0
    with Ray(address=sys.argv[3]) as one:
        try:
            evolve(Path(sys.argv[2]), EvolveSettings.model_validate_json(sys.argv[1]), executor=one, report=report)
        except Exception as error:
            print(type(error).__name__, error, flush=True)
"""


class TestHead:
    def test_it_ends_in_the_midst(self, entered: Ray, whole: Path, tmp_path: Path) -> None:
        """With all of its cluster. Ray alone would end the process after a minute, without a word."""
        from ray.cluster_utils import Cluster

        script, directory = tmp_path / "driver.py", tmp_path / "study"
        script.write_text(HEADLESS)
        other = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False},
        )
        try:
            driver = subprocess.Popen(
                [sys.executable, script, settings().model_dump_json(), directory, other.address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                text=True,
            )
            assert driver.stdout is not None
            assert driver.stdout.readline() == "now\n"
        finally:
            assert other.head_node is not None
            for processes in other.head_node.all_processes.values():
                for process in processes:
                    process.process.kill()
                    process.process.wait()
        said, _ = driver.communicate("\n", timeout=60)
        assert re.search(r"^InputError the connection to Ray has ended .* what is stored is kept$", said, re.MULTILINE)
        assert driver.returncode == 0
        assert 0 < len(rows(directory)["candidate"]) < 18
        evolve(directory, settings(), executor=entered)
        assert_equal(directory, whole)


class TestEqual:
    def test_a_study_in_process_by_processes_and_by_ray_with_killed_workers(
        self, by_name: dict[str, Executor], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One is killed at a chunk of the search, and one at a chunk of the finals."""
        folder = tmp_path / "mine"
        chosen = mortal(folder)
        evolve(tmp_path / "alone", chosen)
        for name, one in by_name.items():
            phases, killed = ["search", "final"], list[int]()

            def arm(standing: Progress, phases: list[str] = phases) -> None:
                if phases and standing.candidates and standing.phase == phases[0]:
                    del phases[0]
                    (folder / "armed").write_text("dies")

            def execute(killed: list[int] = killed) -> None:
                for _ in range(2):
                    killed.append(int((folder / "pipe").read_text()))
                    os.kill(killed[-1], signal.SIGKILL)

            executioner = threading.Thread(target=execute, daemon=True)
            executioner.start()
            caplog.clear()
            evolve(tmp_path / name, chosen, executor=one, report=arm)
            executioner.join(60)
            assert len(set(killed) - {os.getpid()}) == 2
            assert_equal(tmp_path / name, tmp_path / "alone")
            assert_trained_once(tmp_path / name)
            lost = [line.partition(" was lost, since ")[2] for line in told(caplog) if line.startswith("piece ")]
            assert lost == 2 * [f"its worker process died{HOW[name]}: it is run again"]

    def test_a_study_whose_network_fails_and_is_corrected(self, by_name: dict[str, Executor], tmp_path: Path) -> None:
        """An exception ends the command as in one process; what is stored stays."""
        folder = tmp_path / "mine"
        chosen = mortal(folder)
        evolve(tmp_path / "alone", chosen)
        for name, one in by_name.items():
            directory = tmp_path / name
            (folder / "caught").unlink(missing_ok=True)

            def arm(standing: Progress) -> None:
                if standing.candidates > 6 and not (folder / "caught").exists():
                    (folder / "armed").write_text("raises")

            with pytest.raises(
                InputError, match=r"net.py:network, .* raised ArithmeticError: a mistake of mine"
            ) as caught:
                evolve(directory, chosen, executor=one, report=arm)
            assert "net.py" in str(caught.value.__cause__)
            assert 6 < len(rows(directory)["candidate"]) < 18
            evolve(directory, chosen, executor=one)
            assert_equal(directory, tmp_path / "alone")
            assert_trained_once(directory)

    def test_a_store_that_is_full(self, entered: Ray, whole: Path, tmp_path: Path) -> None:
        """Ray moves to the disk what has no room, in the midst of a study and of data that is larger than the rest."""
        import ray

        _ = entered.workers
        held = [ray.put(torch.full((STORE // 8 + number,), number, dtype=torch.float32).numpy()) for number in range(4)]
        evolve(tmp_path / "study", settings(), executor=entered)
        assert_equal(tmp_path / "study", whole)
        jobs = [job_of(size, measure=total) for size in (300_000, 300_001, 300_002)]
        assert sum(job.task.inputs.nbytes for job in jobs) > STORE
        assert results(entered, [*jobs]) == results(Local(), [*jobs])
        assert [int(ray.get(one)[0]) for one in held] == [0, 1, 2, 3]

    def test_a_training_function_of_ones_own(self, entered: Ray, tmp_path: Path) -> None:
        found = []
        for name, one in (("local", "local"), ("ray", entered)):
            lossmith.evolve(
                train=score, classes=4, out=tmp_path / name, population=4, generations=2, executor=one, quiet=True
            )
            found.append((rows(tmp_path / name), (tmp_path / name / "best.json").read_bytes()))
        assert found[0] == found[1]


class TestHandedOver:
    def test_a_file_that_the_machine_does_not_have(self, entered: Ray, tmp_path: Path) -> None:
        """With what it imports from beside it."""
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "beside.py").write_text("SIZE = 8")
        (folder / "net.py").write_text(NETWORK)
        job = job_of()
        name = ModelSettings(name=f"{folder / 'net.py'}:network")
        factory = network_factory(name, Normalize.fit(job.task.inputs), job.task.inputs.shape[1:], 3)
        own = job_of(task=Task(factory, job.task.inputs, job.task.targets, 3))
        expected = results(Local(), [own])
        assert results(entered, [own]) == expected
        # Packed before the folder goes: no worker has seen it.
        entered._opened().parcels.pack(own)
        folder.rename(tmp_path / "elsewhere")
        assert results(entered, [own]) == expected

    def test_threads_gpus_and_what_ray_prepares(self, cluster: Any) -> None:
        with Ray(address=cluster.address, gpus_per_chunk=0.5, runtime_env={"env_vars": {"MINE": "1"}}) as halves:
            assert halves.workers == 1  # as the machine has one processor
            found = results(
                halves, [Call(partial(seen, name)) for name in ("CUDA_VISIBLE_DEVICES", "MINE", "OMP_NUM_THREADS")]
            )
            assert found == [(1, "0"), (1, "1"), (1, "1")]

    def test_no_room(self, cluster: Any) -> None:
        with pytest.raises(
            InputError,
            match=r"^Ray has no machine with room for a piece of work, which takes a processor and 2 GPUs: add",
        ):
            _ = Ray(address=cluster.address, gpus_per_chunk=2).workers

    def test_a_worker_without_lossmith(self, cluster: Any, entered: Ray, whole: Path, tmp_path: Path) -> None:
        """Where it has one, the same command goes on."""
        (tmp_path / "lossmith.py").write_text("raise ImportError('another lossmith')")
        prepared = {"env_vars": {"PYTHONPATH": str(tmp_path)}}
        with (
            Ray(1, cluster.address, runtime_env=prepared) as one,
            pytest.raises(InputError, match=r"^a worker of Ray cannot begin .*install the same lossmith"),
        ):
            evolve(tmp_path / "study", settings(), executor=one)
        evolve(tmp_path / "study", settings(), executor=entered)
        assert_equal(tmp_path / "study", whole)


@contextlib.contextmanager
def _answering(server: socket.socket, words: bytes) -> Iterator[None]:
    """Whoever enters is answered so."""

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(words)

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join()


class TestAddress:
    def refused(self, command: Callable[..., tuple[str, str]], tmp_path: Path, address: str) -> str:
        where = ("--executor", "ray", "--ray-address", address)
        _, errors = command("evolve", "--out", str(tmp_path / "study"), "--data", "digits", *where, code=2)
        return errors.splitlines()[-1]

    def test_nothing_answers(self, entered: Ray, command: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
        entered.close()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = f"127.0.0.1:{closed.getsockname()[1]}"
        assert self.refused(command, tmp_path, address).startswith(f"lossmith: no Ray answers at {address} (Connection")
        with socket.create_server(("127.0.0.1", 0)) as other, _answering(other, b"HTTP/1.1 400 Bad Request"):
            address = f"127.0.0.1:{other.getsockname()[1]}"
            assert self.refused(command, tmp_path, address).startswith(
                f"lossmith: what answers at {address} is not Ray"
            )

    @pytest.mark.parametrize("kept", ["in a file", "in a variable"])
    def test_auto_is_a_cluster_that_has_ended(
        self,
        entered: Ray,
        command: Callable[..., tuple[str, str]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        kept: str,
    ) -> None:
        """Ray itself waits for it for minutes."""
        entered.close()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = f"127.0.0.1:{closed.getsockname()[1]}"
        if kept == "in a variable":
            monkeypatch.setenv("RAY_ADDRESS", address)
        else:
            monkeypatch.delenv("RAY_ADDRESS", raising=False)
            monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
            (tmp_path / "ray").mkdir()
            (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        # Those of the other tests run on this machine.
        monkeypatch.setattr("lossmith.training.executors.entrance._runs_here", lambda: False)
        said = self.refused(command, tmp_path, "auto")
        assert said.startswith(f"lossmith: no Ray answers at {address} (Connection")
        assert "run ray start --head on this machine, or ray start --address=HOST:PORT" in said


class TestOfItsOwn:
    """Ray that the executor starts on this machine."""

    def test_somebody_ends_it_in_the_midst(self) -> None:
        """What was on its way runs on the next one."""
        import ray

        if ray.is_initialized():
            ray.shutdown()
        with Ray(2) as own:
            outcomes = own.run([Call(partial(waited, 0.2, number)) for number in range(8)])
            found = [next(outcomes).result]
            ray.shutdown()
            assert found + [outcome.result for outcome in outcomes] == list(range(8))
        assert not ray.is_initialized()

    def test_ctrl_c_ends_all_of_it(self, tmp_path: Path) -> None:
        script = tmp_path / "driver.py"
        script.write_text(INTERRUPTED)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
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
            assert driver.stdout.readline() == "1 died\n"
            started = [os.pidfd_open(number) for number in processes_of(driver.pid, "/")]
            os.killpg(driver.pid, signal.SIGINT)
            output, errors = driver.communicate(timeout=60)
        finally:
            driver.kill()
            driver.communicate()
        for process in started:
            assert select.select([process], [], [], 60)[0] == [process]
            os.close(process)
        assert started
        # What Ray says of the worker that died would stand where others read JSON.
        assert output == ""
        assert errors.strip().endswith("KeyboardInterrupt")
        assert errors.count("Traceback") == 1


INTERRUPTED = """
import os, signal, time
from lossmith.training import Call, Ray

if __name__ == "__main__":
    # A shell in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Ray(1) as one:
        try:
            list(one.run([Call(lambda progress: os.kill(os.getpid(), signal.SIGKILL))]))
        except ValueError as error:
            assert "died 3 times" in str(error)
        outcomes = one.run([Call(lambda progress: 1), Call(lambda progress: time.sleep(600))])
        print(next(outcomes).result, "died", flush=True)
        next(outcomes)
"""
