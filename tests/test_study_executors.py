"""Studies by every executor: the same database, whatever dies on the way; and what the command line says of it."""

import contextlib
import logging
import multiprocessing
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith import InputError
from lossmith.analysis import BASELINES
from lossmith.cli import main
from lossmith.losses import load
from lossmith.study import CompareSettings, EvolveSettings, Progress, compare_losses, evolve, validated
from lossmith.study.store import Store
from lossmith.training import EXECUTORS, Automatic, Executor, Local, Processes, Trained
from lossmith.training import pace as pace_module
from lossmith.training.executors import automatic as automatic_module

STUDY: dict[str, Any] = {
    "data": {"source": "digits", "train_size": 60, "validation_size": 60},
    "model": {"name": "mlp", "hidden": [4]},
    "recipe": {"epochs": 2, "batch_size": 20, "lr": 0.2},
    "search": {"population": 6, "generations": 3, "space": "taylor", "seed": 2},
    "run": {"training": "population", "chunk": 2, "finalists": 1, "finalist_seeds": 2, "tune": False},
}
FLAGS = (
    "--data", "digits", "--train-size", "60", "--validation-size", "60", "--hidden", "4", "--epochs", "1",
    "--batch-size", "20", "--training", "population",
)  # fmt: skip
SEARCH = (
    *FLAGS,
    "--population",
    "4",
    "--generations",
    "1",
    "--chunk",
    "2",
    "--finalists",
    "1",
    "--finalist-seeds",
    "2",
)
CORES = 2
TWO = ("--executor", "processes", "--workers", "2")
OPTIONS = CompareSettings(
    seeds=2, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=1, rival=False
)


def settings_of(training: str = "population", chunk: int = 2) -> EvolveSettings:
    document = {**STUDY, "run": {**STUDY["run"], "training": training, "chunk": chunk}}
    return validated(EvolveSettings, document, "the test's settings")


def tables(directory: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that the database holds, less the seconds."""
    found = {}
    with contextlib.closing(sqlite3.connect(f"{(directory / 'study.db').as_uri()}?mode=ro", uri=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})") if row[1] != "seconds"]
            query = f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1, 2"  # noqa: S608
            found[name] = connection.execute(query).fetchall()
    return found


def assert_equal(directory: Path, expected: Path) -> None:
    assert tables(directory) == tables(expected)
    for name in ("best.json", "study.toml"):
        assert (directory / name).read_bytes() == (expected / name).read_bytes()


@pytest.fixture(scope="module")
def workers() -> Iterator[Processes]:
    with Processes(2) as started:
        yield started


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that one process made without interruption."""
    directory = tmp_path_factory.mktemp("studies") / "whole"
    evolve(directory, settings_of())
    return directory


class TestEqual:
    def test_a_study(self, workers: Executor, whole: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "study", settings_of(), executor=workers)
        assert_equal(tmp_path / "study", whole)
        assert len(tables(whole)["candidate"]) == 18
        begun = (whole / "training.log").read_text().count('"begun", "stage": "search"')
        assert begun > 2 * 3  # several chunks a generation

    def test_one_by_one(self, workers: Executor, tmp_path: Path) -> None:
        for name, executor in (("local", Local()), ("processes", workers)):
            evolve(tmp_path / name, settings_of("sequential"), executor=executor)
        assert_equal(tmp_path / "processes", tmp_path / "local")

    def test_a_comparison(self, workers: Executor, whole: Path, tmp_path: Path) -> None:
        losses = {"evolved": load(whole / "best.json")}
        for name, executor in (("local", Local()), ("processes", workers)):
            compare_losses(losses, settings_of(chunk=4), tmp_path / name, OPTIONS, executor=executor)
        assert tables(tmp_path / "processes") == tables(tmp_path / "local")
        assert len(tables(tmp_path / "local")["run"]) > 3
        one, other = ((tmp_path / name / "comparison.json").read_bytes() for name in ("local", "processes"))
        assert one == other


class TestKilled:
    def test_workers(self, workers: Processes, whole: Path, tmp_path: Path) -> None:
        """One in the search and one in the finals, at random moments; with jobs done in between."""
        chance, killed = random.Random(0), set[str]()

        def kill(standing: Progress) -> None:
            if standing.candidates and standing.phase not in ("smoothing", *killed) and chance.random() < 0.5:
                victim = chance.choice(workers._pool).process.pid
                assert victim is not None
                killed.add(standing.phase)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)

        evolve(tmp_path / "study", settings_of(), executor=workers, report=kill)
        assert "search" in killed
        assert_equal(tmp_path / "study", whole)

    @pytest.mark.parametrize("first", ["processes", "local"])
    def test_the_driver_and_another_executor_goes_on(
        self, workers: Executor, whole: Path, tmp_path: Path, first: str
    ) -> None:
        script, directory = tmp_path / "driver.py", tmp_path / "study"
        script.write_text(DRIVER)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        driver = subprocess.Popen(
            [sys.executable, script, directory, first, settings_of().model_dump_json()],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "now\n"
            children = [os.pidfd_open(int(number)) for number in driver.stdout.readline().split()]
        finally:
            driver.kill()
            driver.communicate()
        for child in children:
            assert select.select([child], [], [], 60)[0] == [child]
            os.close(child)
        assert 0 < len(tables(directory)["candidate"]) < 18
        evolve(directory, settings_of(), executor=Local() if first == "processes" else workers)
        assert_equal(directory, whole)


DRIVER = """
import sys, time
from pathlib import Path
import torch
from lossmith.study import EvolveSettings, evolve
from lossmith.training import executor

def report(standing):
    if standing.candidates > 8:
        print("now", flush=True)
        print(*(worker.process.pid for worker in getattr(one, "_pool", [])), flush=True)
        time.sleep(600)

if __name__ == "__main__":
    torch.set_num_threads(1)
    one = executor(sys.argv[2], 2 if sys.argv[2] == "processes" else None)
    evolve(Path(sys.argv[1]), EvolveSettings.model_validate_json(sys.argv[3]), executor=one, report=report)
"""


class TestObjectives:
    def test_a_lambda_is_refused_by_workers_and_goes_on_without(self, workers: Executor, tmp_path: Path) -> None:
        objective = lambda trained, inputs, targets: -torch.arange(len(trained.networks)).double()  # noqa: E731
        with pytest.raises(
            InputError, match=r"the objective cannot be handed to worker processes .* executor = local$"
        ):
            evolve(tmp_path / "study", settings_of(), objective=objective, executor=workers)
        assert evolve(tmp_path / "study", settings_of(), objective=objective).provenance["digest"]

    def test_a_function_of_a_module(self, workers: Executor, tmp_path: Path) -> None:
        for name, executor in (("local", Local()), ("processes", workers)):
            evolve(tmp_path / name, settings_of(), objective=spread, executor=executor)
        assert_equal(tmp_path / "processes", tmp_path / "local")


def spread(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
    """Another objective: how far the logits spread."""
    return trained.networks.logits(inputs).flatten(1).std(1)


class TestIdleWorkers:
    def told(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records if "idle" in record.getMessage()]

    @pytest.mark.parametrize(
        ("chunk", "workers", "population", "sentence"),
        [
            (256, 2, 6, "1 of 2 workers will be idle, since a generation is trained in 1 chunk: give fewer workers, or "
             "begin another study with --chunk 3, whose results differ by rounding"),
            (256, 4, 9, "3 of 4 workers will be idle, since a generation is trained in 1 chunk: give fewer workers, or "
             "begin another study with --chunk 2, whose results differ by rounding"),
            (2, 9, 6, "6 of 9 workers will be idle, since a generation is trained in 3 chunks: give fewer workers"),
            (2, 3, 6, None),
        ],
    )  # fmt: skip
    def test_it_is_told_once(
        self,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        chunk: int,
        workers: int,
        population: int,
        sentence: str | None,
    ) -> None:
        class Many(Local):
            pass

        Many.workers = workers
        document = {**STUDY, "search": {**STUDY["search"], "population": population, "generations": 2}}
        settings = validated(EvolveSettings, {**document, "run": {**STUDY["run"], "chunk": chunk}}, "settings")
        with caplog.at_level(logging.INFO, "lossmith"):
            evolve(tmp_path / "study", settings, executor=Many())
        assert self.told(caplog) == ([] if sentence is None else [sentence])
        caplog.clear()
        evolve(tmp_path / "study", settings, executor=Many())
        assert self.told(caplog) == []

    def test_the_advice_gives_each_worker_work(self, workers: Executor, tmp_path: Path, whole: Path) -> None:
        """Another chunk is another study, which ends alike but for rounding."""
        evolve(tmp_path / "study", settings_of(chunk=3), executor=workers)
        for one, other in zip(tables(tmp_path / "study")["candidate"], tables(whole)["candidate"], strict=True):
            assert one[:2] == other[:2]
        with pytest.raises(InputError, match=r"has run.chunk = 3, not 2"):
            evolve(tmp_path / "study", settings_of(chunk=2), executor=workers)


class Lent(Local):
    """Workers that stay when a command ends."""

    def __init__(self, workers: Processes) -> None:
        self.workers = workers.workers
        self.run = workers.run  # type: ignore[method-assign]
        self.trainer = workers.trainer  # type: ignore[method-assign]


class TestCommands:
    def test_evolve_compare_and_attack(
        self,
        workers: Processes,
        register: Callable[..., None],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The search with workers of its own; comparison and attack with those of the other tests."""
        register(BASELINES, "MAE", BASELINES["MAE"], only=["cross-entropy"])
        tuning = (
            "--seeds", "2", "--tuning-seeds", "1", "--tuning-finalists", "1", "--tuning-finalist-seeds", "1",
            "--tuning-epochs", "1", "--no-rival", "--json",
        )  # fmt: skip
        attack = ("--epsilon", "0.1", "--attacks", "fgsm", "--seeds", "2", "--samples", "20", "--json")
        printed = {}
        for name, machine in (("local", ("--executor", "local")), ("processes", TWO)):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            main(["evolve", "--out", "study", *SEARCH, "--threads", "1", "--quiet", *machine])
            capsys.readouterr()
            if name == "processes":
                register(EXECUTORS, name, lambda _: Lent(workers), only=["local"])
            main(["compare", "study/best.json", *tuning, "--threads", "1", *machine])
            main(["attack", "mse", "study/best.json", *attack, "--threads", "1", *machine])
            printed[name] = capsys.readouterr().out
        assert printed["processes"] == printed["local"]
        assert_equal(tmp_path / "processes" / "study", tmp_path / "local" / "study")
        assert sum(row[0].startswith("attack ") for row in tables(tmp_path / "local" / "study")["run"]) == 2

    @pytest.mark.parametrize("command", ["evolve", "compare", "attack"])
    def test_local_has_no_workers(
        self, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
    ) -> None:
        shutil.copy(whole / "best.json", tmp_path)
        given = {"evolve": ["--out", str(tmp_path / "new")]}.get(command, [str(tmp_path / "best.json")])
        with pytest.raises(SystemExit) as ended:
            main([command, *given, "--executor", "local", "--workers", "3"])
        assert ended.value.code == 2
        assert capsys.readouterr().err == (
            "lossmith: the executor local has no workers, but 3 were asked for: take executor = processes, or leave "
            "workers out\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["best.json"]


# The executor auto: threads or worker processes, whichever a measurement finds faster when a study begins.


def told(store: Path) -> dict[str, Any]:
    return {row[0]: row[1] for row in tables(store)["setting"] if row[0] == "executor"}


def searched(directory: Path) -> list[tuple[Any, ...]]:
    found = tables(directory)
    return found["candidate"] + found["finalist"]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, and every study long enough to try workers."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)), raising=False)
    monkeypatch.setattr(pace_module, "WORTH", 0.0)


class Quick(Local):
    """What stands for worker processes, without their start."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "Processes", Quick)
    monkeypatch.setattr(pace_module, "_measured", lambda *_: 1.0)
    monkeypatch.setattr(automatic_module, "Processes", Quick)
    monkeypatch.setattr(automatic_module, "processes", lambda _: Quick(CORES))


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how long a batch takes this process; what workers take is measured."""

    def take(seconds: float) -> None:
        monkeypatch.setattr(pace_module, "measure", lambda *_: seconds)

    return take


@pytest.mark.usefixtures("cores")
class TestChoice:
    def test_faster_workers_train_a_chunk_each(
        self, threads: Callable[[float], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        threads(10.0)
        with caplog.at_level(logging.INFO, "lossmith"), Automatic() as auto:
            evolve(tmp_path / "auto", settings_of(chunk=256), executor=auto)
            assert auto.workers == CORES
        assert '"executor": "processes"' in told(tmp_path / "auto")["executor"]
        assert '"chunk": 3,' in told(tmp_path / "auto")["executor"]
        assert "with 2 worker processes: these train, in chunks of 3" in caplog.text
        with Processes(CORES) as explicit:
            evolve(tmp_path / "explicit", settings_of(chunk=3), executor=explicit)
        assert searched(tmp_path / "auto") == searched(tmp_path / "explicit")
        assert "executor" not in told(tmp_path / "explicit")

    def test_slower_workers_are_ended(self, threads: Callable[[float], None], tmp_path: Path) -> None:
        threads(1e-9)
        before = set(multiprocessing.active_children())
        with Automatic() as auto:
            evolve(tmp_path / "auto", settings_of(chunk=256), executor=auto)
            assert auto.workers == 1
            assert set(multiprocessing.active_children()) == before
        assert told(tmp_path / "auto") == {"executor": '{"executor": "local", "chunk": 256}'}

    def test_short_work_is_not_worth_it(
        self, monkeypatch: pytest.MonkeyPatch, threads: Callable[[float], None], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(pace_module, "WORTH", 30.0)
        threads(1e-4)
        with Automatic() as auto:
            evolve(tmp_path / "auto", settings_of(), executor=auto)
            assert auto.workers == 1
        assert told(tmp_path / "auto") == {"executor": '{"executor": "local", "chunk": 2}'}

    def test_a_network_that_workers_cannot_load(
        self, threads: Callable[[float], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        threads(10.0)

        def network(input_shape: tuple[int, ...], classes: int) -> torch.nn.Module:
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))

        settings = settings_of().model_copy(update={"model": settings_of().model.model_copy(update={"name": "own"})})
        with Automatic() as auto:
            evolve(tmp_path / "auto", settings, executor=auto, model=network)
            assert auto.workers == 1
        assert "worker processes cannot train this network, so this process does (" in caplog.text

    def test_one_core(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
        with Automatic() as auto:
            evolve(tmp_path / "auto", settings_of(), executor=auto)
            assert auto.workers == 1

    def test_little_memory(
        self, monkeypatch: pytest.MonkeyPatch, threads: Callable[[float], None], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(automatic_module, "available_memory", lambda: 10**9)
        threads(10.0)
        with Automatic() as auto:
            evolve(tmp_path / "auto", settings_of(), executor=auto)
            assert auto.workers == 1


class Stopped(Exception):
    pass


def stopped(directory: Path, settings: EvolveSettings, runs: Executor) -> None:
    """A study that ends after its first candidates."""

    def stop(progress: Any) -> None:
        if progress.candidates >= 3:
            raise Stopped

    with pytest.raises(Stopped):
        evolve(directory, settings, executor=runs, report=stop)


@pytest.mark.usefixtures("cores", "quick")
class TestResume:
    def test_a_study_goes_on_as_it_was_begun(self, threads: Callable[[float], None], tmp_path: Path) -> None:
        """With workers, though they would not be taken now; and with their chunks in one process, too."""
        threads(10.0)
        with Automatic() as auto:
            evolve(tmp_path / "whole", settings_of(chunk=256), executor=auto)
        for name, later in (("auto", Automatic()), ("local", Local())):
            threads(10.0)
            with Automatic() as auto:
                stopped(tmp_path / name, settings_of(chunk=256), auto)
            threads(1e-9)
            with later:
                evolve(tmp_path / name, settings_of(chunk=256), executor=later)
                assert later.workers == (CORES if name == "auto" else 1)
            assert searched(tmp_path / name) == searched(tmp_path / "whole")

    def test_a_measurement_that_was_interrupted_is_made_again(
        self, monkeypatch: pytest.MonkeyPatch, threads: Callable[[float], None], tmp_path: Path
    ) -> None:
        def interrupted(*_: Any) -> float:
            raise KeyboardInterrupt

        threads(10.0)
        with monkeypatch.context() as broken, Automatic() as auto:
            broken.setattr(pace_module, "_measured", interrupted)
            with pytest.raises(KeyboardInterrupt):
                evolve(tmp_path / "study", settings_of(), executor=auto)
        assert not told(tmp_path / "study")
        with Automatic() as auto:
            evolve(tmp_path / "study", settings_of(), executor=auto)
            assert auto.workers == CORES

    def test_on_a_machine_of_one_core(
        self, monkeypatch: pytest.MonkeyPatch, threads: Callable[[float], None], tmp_path: Path
    ) -> None:
        threads(10.0)
        with Automatic() as auto:
            stopped(tmp_path / "study", settings_of(), auto)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
        with Automatic() as auto:
            evolve(tmp_path / "study", settings_of(), executor=auto)
            assert auto.workers == 1

    def test_a_study_that_was_begun_without_a_choice(self, threads: Callable[[float], None], tmp_path: Path) -> None:
        stopped(tmp_path / "study", settings_of(), Local())
        threads(10.0)
        with Automatic() as auto:
            evolve(tmp_path / "study", settings_of(), executor=auto)
            assert auto.workers == 1
        assert not told(tmp_path / "study")

    def test_a_comparison_runs_where_the_search_did(self, threads: Callable[[float], None], tmp_path: Path) -> None:
        threads(10.0)
        with Automatic() as auto:
            evolve(tmp_path / "study", settings_of(), executor=auto)
        losses = {"evolved": load(tmp_path / "study" / "best.json")}
        with Automatic() as auto:
            compare_losses(losses, settings_of(chunk=4), tmp_path / "study", OPTIONS, executor=auto)
            assert isinstance(auto, Automatic)
            assert auto.workers == CORES

    def test_a_damaged_choice(self, tmp_path: Path) -> None:
        stopped(tmp_path / "study", settings_of(), Local())
        with Store(tmp_path / "study") as store:
            store.set("executor", {"executor": "processes", "chunk": 0, "seconds": 1.0})
        with pytest.raises(InputError, match=r"study\.db \(what it holds as 'executor'\) is damaged \(chunk: "):
            evolve(tmp_path / "study", settings_of())
