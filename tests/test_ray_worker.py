"""What workers of Ray do, done by this process, and what is made of Ray's errors: nothing of Ray is started."""

import pickle
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith import InputError, Loss, mse
from lossmith.data import Normalize
from lossmith.metrics.own import Named
from lossmith.nets import ModelSettings, network_factory
from lossmith.training import Backend, Call, Job, Outcome, Recipe, Task, Work
from lossmith.training.executors import cluster
from lossmith.training.executors.cluster import QUIET, environment
from lossmith.training.executors.handover import LARGE
from lossmith.training.executors.sources import Place, Sources, moved
from lossmith.training.executors.worker import Failed, received

pytestmark = pytest.mark.integration

with environment(QUIET):
    worker = pytest.importorskip("lossmith.training.executors.parcels", reason="needs the extra ray")
    tasks = pytest.importorskip("lossmith.training.executors.tasks", reason="needs the extra ray")
    entrance = pytest.importorskip("lossmith.training.executors.entrance", reason="needs the extra ray")

SCRIPT = """
class Mine(Exception):
    pass

def fail(progress):
    raise Mine("x")

def give(progress):
    return Mine("y")
"""
NETWORK = """
from beside import SIZE
from torch import nn

def network(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE, classes))
"""


def state(trained: Any, progress: Callable[[float], None]) -> Any:
    return {name: value.tolist() for name, value in trained.networks.parameters.items()}


def job_of(size: int = 8, name: str = "mlp", **changes: Any) -> Job:
    inputs, targets = torch.rand(40, size, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    factory = network_factory(ModelSettings(name=name, hidden=(3,)), Normalize.fit(inputs), inputs.shape[1:], 3)
    job = Job(
        Task(factory, inputs, targets, 3), Loss.stack([mse()]), (1,), Recipe(steps=3, batch_size=20), Backend(), state
    )
    return replace(job, **changes)


def summed(tensor: Tensor, progress: Callable[[float], None]) -> float:
    return float(tensor.sum())


@pytest.fixture
def parcels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Packs; the store is a list of pickles."""
    store = list[bytes]()

    def put(value: object) -> int:
        store.append(pickle.dumps(value))
        return len(store) - 1

    monkeypatch.setattr("ray.put", put)
    monkeypatch.setattr("ray.get", lambda place: pickle.loads(store[place]))  # noqa: S301 (put by this process)
    monkeypatch.setattr(sys, "path", [*sys.path])
    worker._kept.cache_clear()
    yield worker.Parcels()
    worker._kept.cache_clear()
    assert not worker.ray.is_initialized()


def done(parcel: Any) -> Any:
    """What comes of work that a worker does which is this process."""
    answer: Outcome | Failed = received(worker.serve(parcel))
    if isinstance(answer, Failed):
        raise answer.error
    return answer.result


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "whole": lambda whole: whole,
    "part": lambda whole: whole[2:5],
    "transposed": lambda whole: whole.T,
    "every other": lambda whole: whole[:, ::2],
    "the last, repeated": lambda whole: whole.view(-1)[-1].expand(48),
    "none": lambda whole: whole[:0],
    "one number": lambda whole: whole[3, 4].clone(),
    "bfloat16": lambda whole: whole.bfloat16(),
    "truth": lambda whole: whole > 4,
}


class TestServe:
    """Work that is packed and done is what it was."""

    @pytest.mark.parametrize("name", VIEWS)
    def test_tensors(self, name: str) -> None:
        seen = VIEWS[name](torch.arange(48.0).view(6, 8))
        flat = worker.Flat.of(seen)
        assert flat.memory.nbytes == seen.nbytes
        found = flat.tensor()
        assert torch.equal(found, seen)
        assert (found.dtype, found.shape) == (seen.dtype, seen.shape)
        found.zero_()
        assert torch.equal(flat.tensor(), seen)

    def test_a_task_is_one_object_in_all_its_jobs(self, parcels: Any) -> None:
        """So that what one job compiles serves the next; a tensor that is changed is put anew."""
        large = job_of(LARGE)
        assert done(parcels.pack(large)) == large.run().result
        kept = worker._kept(parcels.name)
        (trainer,) = kept.trainers._known
        assert done(parcels.pack(replace(large, seeds=(5,)))) == replace(large, seeds=(5,)).run().result
        assert [trainer] == kept.trainers._known
        large.task.inputs.mul_(2)
        again = replace(large, task=replace(large.task))
        assert done(parcels.pack(again)) == again.run().result

    def test_a_few_values_are_kept(self, parcels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker, "KEPT", 2)
        for seed, size in enumerate((8, 9, 10, 8)):
            job = job_of(size, seeds=(seed,))
            assert done(parcels.pack(job)) == job.run().result
        assert len(worker._kept(parcels.name)._values) == 2

    def test_what_a_run_has_no_need_of_leaves_the_store(self, parcels: Any) -> None:
        kept, passing = job_of(LARGE), torch.rand(LARGE)
        for number in range(4):
            parcels.begin()
            assert done(parcels.pack(kept)) == kept.run().result
            if number == 1:
                assert done(parcels.pack(Call(partial(summed, passing)))) == float(passing.sum())
                assert any(put.value is passing for put in parcels._known.values())
        assert not any(put.value is passing for put in parcels._known.values())
        assert any(put.value is kept.task for put in parcels._known.values())
        tokens = [put.token for put in parcels._known.values()]
        assert len({*tokens}) == len(tokens)

    def test_classes_of_a_script_come_back(self, parcels: Any) -> None:
        """By value, as what is sent; pickle would look for them in a module that no worker has."""
        script = ModuleType("__main__")
        exec(SCRIPT, vars(script))  # noqa: S102 (of this test)
        failed, given = (received(worker.serve(parcels.pack(Call(one)))) for one in (script.fail, script.give))
        for found, words in ((failed.error, "x"), (given.result, "y")):
            assert (type(found).__name__, str(found)) == ("Mine", words)

    def test_a_file_that_is_corrected(self, parcels: Any, tmp_path: Path) -> None:
        """An executor that stays open sends what the file holds now."""
        (tmp_path / "beside.py").write_text("SIZE = 8")
        (tmp_path / "net.py").write_text(NETWORK)
        before = done(parcels.pack(job_of(name=f"{tmp_path / 'net.py'}:network")))
        (tmp_path / "net.py").write_text(NETWORK.replace("SIZE, classes)", "SIZE, classes), nn.Tanh()"))
        worker._kept.cache_clear()
        own = job_of(name=f"{tmp_path / 'net.py'}:network")
        after = done(parcels.pack(own))
        assert after == own.run().result
        assert after != before

    def test_a_file_that_lies_elsewhere(self, parcels: Any, tmp_path: Path) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "beside.py").write_text("SIZE = 8")
        (folder / "net.py").write_text(NETWORK)
        own = job_of(name=f"{folder / 'net.py'}:network")
        parcel = parcels.pack(own)
        folder.rename(tmp_path / "elsewhere")
        result = done(parcel)
        (place,) = worker._kept(parcels.name)._places.values()
        assert sorted(path.name for path in place.folder.glob("*.py")) == ["beside.py", "net.py"]
        copied = place.folder
        worker._kept.cache_clear()
        del place
        assert not copied.exists()
        (tmp_path / "elsewhere").rename(folder)
        assert done(parcels.pack(own)) == result == own.run().result
        (place,) = worker._kept(parcels.name)._places.values()
        assert place.folder == folder

    @pytest.mark.parametrize(
        ("broken", "sentence"),
        [
            (lambda: Call(lambda progress: threading.Lock()), "the result of a job cannot be handed back"),
            (lambda: Call(partial(print, threading.Lock())), r"the function cannot be handed .*no open file"),
            (lambda: job_of(measure=threading.Lock()), r"the objective cannot be handed .*take executor = local"),
        ],
    )
    def test_what_cannot_be_handed_over(self, parcels: Any, broken: Callable[[], Work], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            done(parcels.pack(broken()))

    def test_what_the_worker_does_not_find(self, parcels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "known_here_only", module := ModuleType("known_here_only"))
        exec("def measure(trained, progress): ...", vars(module))  # noqa: S102 (of this test)
        parcel = parcels.pack(job_of(measure=module.measure))
        monkeypatch.delitem(sys.modules, "known_here_only")
        with pytest.raises(InputError, match=r"a worker of Ray does not find .*known_here_only.* on every machine"):
            done(parcel)

    def test_the_store_fails(self, parcels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """That is no outcome of the work: Ray is told, and with it the driver."""
        parcel = parcels.pack(job_of())
        lost = tasks.ObjectLostError("", "", "")

        def failing(reference: object) -> None:
            raise lost

        monkeypatch.setattr("ray.get", failing)
        with pytest.raises(tasks.ObjectLostError):
            worker.serve(parcel)

    def test_modules_are_found_where_the_driver_finds_them(
        self, parcels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as driver:
            driver.syspath_prepend(str(tmp_path))
            driver.setattr(sys, "path", [*sys.path, "nowhere"])
            parcel = parcels.pack(Call(lambda progress: [*sys.path]))
        before = [*sys.path]
        assert done(parcel) == [*before, str(tmp_path)]
        assert done(parcel) == [*before, str(tmp_path)]


class TestSources:
    """Which files go with code that is named."""

    def test_an_installed_module_needs_none(self) -> None:
        assert Sources.of(Named("json:dumps", "/")) is None

    def test_a_module_with_its_packages(self, tmp_path: Path) -> None:
        for name in ("net.py", "parts/__init__.py", "parts/inner/__init__.py", "data/much.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"# {name}")
        (tmp_path / "folder.py").mkdir()
        found = Sources.of(Named("net:metric", str(tmp_path)))
        assert found is not None
        assert [name for name, _ in found.files] == ["net.py", "parts/__init__.py", "parts/inner/__init__.py"]
        assert moved(Named, ("net:metric", "/nowhere"), Place(found)) == Named("net:metric", str(tmp_path))

    def test_too_much(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lossmith.training.executors.sources.MOST_BYTES", 10)
        for name in ("net.py", "other.py"):
            (tmp_path / name).write_text("# " + name)
        with pytest.raises(InputError, match=r"which workers need for .*net.py:f, .* a folder of its own$"):
            Sources.of(Named(f"{tmp_path / 'net.py'}:f", "/"))


class Idle:
    """A session whose second tries fail, with work that ends by numbers of rounds."""

    is_ours = is_alive = True

    def __init__(self, outcome: Callable[[], Any], rounds: int) -> None:
        self.outcome, self.rounds, self.sent = outcome, rounds, list[int]()
        self.parcels = worker.Parcels()
        self.works = list[Any]()

    def room(self, gpus: float) -> int:
        return 3

    def idle(self, gpus: float) -> int:
        return 1

    def submit(self, work: Work, gpus: float) -> int:
        self.works.append(work)
        return len(self.works) - 1

    def ended(self, references: list[int], gpus: float, seconds: float | None) -> list[int]:
        self.rounds -= 1
        quick = [one for one in references if one != 0 and (one == 1 or one >= 2)]
        return quick or ([0] if self.rounds < 0 else [])

    def answer(self, reference: int) -> Any:
        return Outcome(reference, None, 0.0) if reference < 2 else self.outcome()

    def cancel(self, references: list[int]) -> None: ...

    def close(self) -> None: ...


def refused() -> None:
    raise InputError("a worker of Ray cannot begin")


class TestSecondTry:
    """What goes wrong with it is nothing to the first."""

    @pytest.mark.parametrize(
        "outcome",
        [
            lambda: tasks.Lost("its machine was short of memory", with_machine=False),
            lambda: Failed(MemoryError("x"), "trace"),
            refused,
        ],
    )
    def test_it_fails(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, outcome: Callable[[], Any]
    ) -> None:
        monkeypatch.setattr(cluster, "SLOW_SECONDS", 0.0)
        session = Idle(outcome, rounds=6)
        one = cluster.Ray(3)
        monkeypatch.setattr(one, "_opened", lambda: session)
        with caplog.at_level("WARNING", "lossmith"):
            assert [outcome.result for outcome in one.run([job_of(), job_of()])] == [0, 1]
        assert len(session.works) == 3
        assert caplog.messages == []

    def test_what_waits_is_not_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one, now = cluster.Ray(3), 1000.0
        session: Any = Idle(refused, 0)
        monkeypatch.setattr("time.monotonic", lambda: now)
        one._flying = {0: cluster._Try(0, since=900.0)}
        one._tried, one._crowded = set(), 995.0
        assert one._try_again(session, [job_of()], [1.0]) == 5.0
        one._crowded = 950.0
        one._try_again(session, [job_of()], [1.0])
        assert len(session.works) == 1


class TestTold:
    """What is made of Ray's errors that no test can bring about."""

    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (lambda ray: ray.OutOfMemoryError("full"), "its machine was short of memory"),
            (lambda ray: ray.ObjectLostError("", "", ""), "its machine has gone"),
            (lambda ray: ray.RayTaskError("f", "", ray.ObjectLostError("", "", "")), "lost what it needs"),
            (lambda ray: ray.RayTaskError("f", "", ray.OutOfDiskError("no room")), "full .OutOfDiskError: .*make room"),
            (lambda ray: ray.OutOfDiskError("no room"), r"full .OutOfDiskError: .*larger --object-store-memory"),
            (lambda ray: ray.RuntimeEnvSetupError("bad"), r"^Ray cannot prepare its workers .* correct runtime_env$"),
            (lambda ray: ray.RaySystemError("gone"), r"^the connection to Ray has ended .* what is stored is kept$"),
        ],
    )
    def test_errors(self, monkeypatch: pytest.MonkeyPatch, error: Callable[[Any], Exception], sentence: str) -> None:
        from ray import exceptions

        def broken(reference: object) -> None:
            raise error(exceptions)

        session = object.__new__(tasks.Session)
        monkeypatch.setattr("ray.get", broken)
        try:
            told = session.answer(None).how
        except InputError as raised:
            told = str(raised)
        assert re.search(sentence, told)

    def test_a_worker_that_dies_with_its_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The work is not to blame, even if Ray has not seen yet that the machine is gone as it tells of the worker."""
        from ray import exceptions

        def broken(reference: object) -> None:
            raise exceptions.WorkerCrashedError

        session = object.__new__(tasks.Session)
        monkeypatch.setattr(session, "_is_reached", lambda: True, raising=False)
        alive = {"a": True, "b": True}
        monkeypatch.setattr("ray.get", broken)
        monkeypatch.setattr(
            "ray.nodes",
            lambda: [{"NodeID": name, "Resources": {"CPU": 1.0}, "Alive": there} for name, there in alive.items()],
        )
        session._count()
        assert session.answer(None) == tasks.Lost("its worker process died", with_machine=False)
        alive["b"] = False
        assert session.answer(None) == tasks.Lost("its machine has gone", with_machine=True)
        assert session.answer(None) == tasks.Lost("its worker process died", with_machine=False)

    def test_what_was_lost_together_is_told_in_a_line(self, caplog: pytest.LogCaptureFixture) -> None:
        gone, died = tasks.Lost("its machine has gone", True), tasks.Lost("its worker process died", False)
        with caplog.at_level("WARNING", "lossmith"):
            cluster._tell([(3, gone), (4, died), (5, gone)], Counter({4: 1}))
        assert caplog.messages == [
            "2 pieces of the work were lost, since its machine has gone: they are run again",
            "piece 5 of the work was lost, since its worker process died: it is run again",
        ]
        with pytest.raises(InputError, match=r"died 3 times at piece 5 .*the last time, its worker process died"):
            cluster._tell([(3, gone), (4, died)], Counter({4: 3}))

    def test_what_cannot_be_read_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = object.__new__(tasks.Session)
        monkeypatch.setattr("ray.get", lambda _: b"cnowhere_at_all\nMine\n.")
        with pytest.raises(
            InputError, match=r"cannot be read here .ModuleNotFoundError: .* that this process has, too$"
        ):
            session.answer(None)

    @pytest.mark.parametrize("tls", ["", "1"])
    def test_what_is_encrypted_is_not_asked(self, monkeypatch: pytest.MonkeyPatch, tls: str) -> None:
        monkeypatch.setenv("RAY_USE_TLS", tls)
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = "{}:{}".format(*server.getsockname())

            def refuse() -> None:
                # Who asks nothing may have gone before the answer.
                with server.accept()[0] as connection, suppress(OSError):
                    # An alert of TLS.
                    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")
                    connection.recv(100)

            thread = threading.Thread(target=refuse)
            thread.start()
            if tls:
                entrance._reach(address)
            else:
                with pytest.raises(InputError, match="is not Ray"):
                    entrance._reach(address)
            thread.join()

    @pytest.mark.parametrize(
        ("cores", "there", "gpus", "room"),
        [(8, 0, 0, 8), (8, 2, 1, 2), (8, 2, 0.25, 8), (6, 1, 0.3, 3), (4, 4, 2, 2), (1, 4, 0.5, 1), (8, 0, 0.5, 0)],
    )
    def test_room(self, cores: int, there: int, gpus: float, room: int) -> None:
        assert tasks._room_of({"CPU": float(cores), "GPU": float(there)}, gpus) == room
        assert tasks._room_of({}, gpus) == 0
