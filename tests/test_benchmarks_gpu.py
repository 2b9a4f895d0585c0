"""The benchmark of a GPU runs on the CPU at a tiny size, keeps its time, and loses nothing that it has measured."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import lossmith.training.engines.base as base_module
from lossmith.training import Recipe, has_compiler

Load = Callable[[str], ModuleType]
CPU = torch.device("cpu")
TESTS = (
    "tests/test_gpu.py::test_masks[a-b] PASSED [ 50%]\ntests/test_gpu.py::test_split FAILED [100%]\n=== summary ===\n"
)
REASONS = "FAILED tests/test_gpu.py::test_split - AssertionError: 3 != 4\n1 failed, 1 passed in 2.00s\n"


@pytest.fixture
def here(benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Parts run in this process, where compiling is not done by inductor; the commands that were to be run."""
    program, commands = benchmark("gpu"), list[list[str]]()

    def ran(command: list[str], limit: float, heard: Callable[[str], None]) -> int:
        commands.append(command)
        if "pytest" in command:
            for line in (TESTS + REASONS).splitlines(keepends=True):
                heard(line)
            return 1
        for row in program.rows(program.Asked(**json.loads(command[-1]))):
            heard(json.dumps(row) + "\n")
        return 0

    monkeypatch.setattr(program, "ran", ran)
    monkeypatch.setattr(base_module, "compiled_like_eager", lambda f: torch.compile(f, backend="aot_eager"))
    return commands


def test_everything_is_measured_at_a_tiny_size(
    benchmark: Load,
    here: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, out = benchmark("gpu"), tmp_path / "deep" / "gpu.json"
    monkeypatch.setattr(program, "TINY_TRAINED", ("conv", "embedding"))
    options = ["--device", "cpu", "--tiny", "--models", "mlp", "preresnet-20", "--pairs", "1", "--seconds", "1e5"]
    program.main([*options, "--out", str(out)])
    document = json.loads(out.read_text(encoding="utf-8"))
    assert (document["machine"]["torch"], document["gpu"], document["tiny"]) == (torch.__version__, None, True)
    parts = document["parts"]
    assert {part["status"] for part in parts.values()} == {"done"}
    names = ["every network trains", "preresnet-20", "mlp", "tests", "compiled", "compiled, bfloat16"]
    assert sorted(parts) == sorted([*names, "tests of every network"])
    rows = {name: part["rows"] for name, part in parts.items()}
    assert not [row for part in rows.values() for row in part if "error" in row]
    trained = {(row["model"], row["backend"], row["precision"]) for row in rows["every network trains"]}
    both = ("float32", "bfloat16")
    ways = ("sequential", "sequential-channels-last", "population")
    wanted = {("conv", way, precision) for way in ways for precision in both}
    assert trained == wanted | {
        ("embedding", way, precision) for way in ("sequential", "population") for precision in both
    }
    for row in rows["every network trains"]:
        assert row["moved"]
        assert row["finite"]
        assert row["apart"] < (1e-3 if row["precision"] == "float32" else 0.1)
    for model in ("mlp", "preresnet-20"):
        assert [row["what"] for row in rows[model]] == ["ratio", "memory", "ratio", "memory", "hour"]
        first, memory, second, _, hour = rows[model]
        assert (first["precision"], second["precision"]) == both
        assert set(memory["peak_bytes"].values()) == {None}
        assert "ordinary, float32" in second["against"]
        assert hour["candidates_an_hour"] > 0
    if has_compiler(CPU):
        for name, precision in (("compiled", "float32"), ("compiled, bfloat16", "bfloat16")):
            found = {row["backend"]: row for row in rows[name]}
            assert found.keys() == {"sequential-compiled", "vmap-compiled"}
            for backend, row in found.items():
                assert row["precision"] == precision
                assert row["seconds_of_compiling"][backend] > 0
                assert row["against"]["ordinary"].keys() == {backend}
    printed = capsys.readouterr().out
    assert "10 of 10 short trainings went well (2 networks, each in every way)" in printed
    assert "its figures say nothing" in printed
    assert "| PreResNet-20, 32×32 | bfloat16 |" in printed
    assert "test_gpu.py::test_split failed: AssertionError: 3 != 4" in printed
    assert "not or not wholly measured" not in printed
    # What takes long comes last, and all others before.
    words = [command[command.index("-k") + 1] for command in here if "pytest" in command]
    assert words == ["not every_network and not compiled", "every_network or compiled"]
    assert "\n".join(benchmark("gpu_report").report(document)) + "\n" == printed


def test_a_part_is_a_process_of_its_own(
    benchmark: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program, out = benchmark("gpu"), tmp_path / "gpu.json"
    planned = program.planned
    monkeypatch.setattr(program, "TINY_TRAINED", ("embedding",))
    monkeypatch.setattr(program, "planned", lambda given: planned(given)[:1])
    program.main(["--device", "cpu", "--tiny", "--seconds", "1e5", "--out", str(out)])
    (part,) = json.loads(out.read_text(encoding="utf-8"))["parts"].values()
    assert part["status"] == "done"
    assert [row["backend"] for row in part["rows"]] == ["sequential", "population"] * 2
    assert "4 of 4 short trainings went well" in capfd.readouterr().out


def test_a_process_tells_its_lines_and_how_it_ended(benchmark: Load) -> None:
    lines: list[str] = []
    code = benchmark("gpu").ran(
        [sys.executable, "-c", "print('a'); print('b'); raise SystemExit(3)"], 1e5, lines.append
    )
    assert (code, lines) == (3, ["a\n", "b\n"])


@pytest.mark.parametrize("group", [True, False])
def test_a_process_that_takes_too_long_is_ended_and_what_it_told_stays(
    benchmark: Load, monkeypatch: pytest.MonkeyPatch, group: bool
) -> None:
    """The time is over when the first line has been heard; the process, and one that it has started, wait for ever."""
    program, lines, ends = benchmark("gpu"), list[str](), list[Callable[[], None]]()

    def timer(limit: float, end: Callable[[], None]) -> SimpleNamespace:
        ends.append(end)
        return SimpleNamespace(start=lambda: None, cancel=lambda: None)

    monkeypatch.setattr(program.threading, "Timer", timer)

    def heard(line: str) -> None:
        lines.append(line)
        ends[0]()

    waiting = "import signal; print('first', flush=True); signal.pause()"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {waiting!r}])"
    assert program.ran([sys.executable, "-c", inner if group else waiting], 5.0, heard) is None
    assert lines == ["first\n"]


def test_an_interrupted_command_ends_its_process(benchmark: Load) -> None:
    def heard(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    seen: list[int] = []
    program = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with pytest.raises(KeyboardInterrupt):
        benchmark("gpu").ran([sys.executable, "-c", program], 1e5, heard)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], signal.SIGTERM)


class TestTime:
    """Each part has its share of the time that is left."""

    @staticmethod
    def run(
        benchmark: Load, monkeypatch: pytest.MonkeyPatch, total: float, takes: dict[str, float], **codes: int | None
    ) -> tuple[dict[str, Any], dict[str, float], list[dict[str, Any]]]:
        """Run parts of the weights 1, 1, 2 that would take so long; what was found, the limits, and what was kept."""
        program, limits, kept, now = benchmark("gpu"), dict[str, float](), list[dict[str, Any]](), [0.0]
        monkeypatch.setattr(program, "time", SimpleNamespace(perf_counter=lambda: now[0]))

        def ran(command: list[str], limit: float, heard: Callable[[str], None]) -> int | None:
            (name,) = command
            limits[name] = limit
            heard("no row\n")
            heard(json.dumps({"what": name}))
            now[0] += min(limit, takes[name])
            return None if takes[name] > limit else codes.get(name, 0)

        monkeypatch.setattr(program, "ran", ran)
        parts = [
            program.Part(name, weight, lambda limit, name=name: [name], program.told_row)
            for name, weight in (("a", 1), ("b", 1), ("c", 2))
        ]
        found = program.run(parts, total, lambda document: kept.append(json.loads(json.dumps(document))))
        return found, limits, kept

    def test_what_a_part_does_not_need_goes_to_those_after_it(
        self, benchmark: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found, limits, kept = self.run(benchmark, monkeypatch, 400, {"a": 10, "b": 1000, "c": 30})
        assert limits == {"a": 100, "b": 130, "c": 260}
        assert [part["status"] for part in found.values()] == ["done", "cut", "done"]
        assert [part["rows"] for part in found.values()] == [[{"what": name}] for name in "abc"]
        assert (found["a"]["seconds"], found["b"]["seconds"]) == (10, 130)
        # What is kept after each row has all that was there before.
        assert kept[0] == {"a": {"status": "running", "limit": 100, "rows": [{"what": "a"}]}}
        assert kept[2]["a"]["status"] == "done"
        assert kept[2]["b"]["rows"] == [{"what": "b"}]
        assert kept[-1] == found

    def test_what_has_no_time_is_skipped(self, benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        found, limits, _ = self.run(benchmark, monkeypatch, 26, {"a": 10, "b": 10, "c": 10})
        assert list(limits) == ["c"]
        assert [part["status"] for part in found.values()] == ["skipped", "skipped", "done"]

    def test_a_process_that_breaks_is_told_and_the_others_run(
        self, benchmark: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found, _, _ = self.run(benchmark, monkeypatch, 400, {"a": 1, "b": 1, "c": 1}, a=-6)
        assert [part["status"] for part in found.values()] == ["failed", "done", "done"]
        assert found["a"]["reason"] == "its process ended with -6"

    def test_what_is_missing_is_named(self, benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        program = benchmark("gpu")
        part = program.Part("tests", 1, lambda limit: [], program.told_row, missing="pytest is not installed")
        (found,) = program.run([part], 1e5, lambda document: None).values()
        assert (found["status"], found["reason"]) == ("skipped", "pytest is not installed")


def test_lines_of_tests_are_read(benchmark: Load) -> None:
    rows = list(filter(None, map(benchmark("gpu").tested_row, (TESTS + REASONS).splitlines())))
    assert rows == [
        {"what": "test", "test": "test_gpu.py::test_masks[a-b]", "outcome": "passed"},
        {"what": "test", "test": "test_gpu.py::test_split", "outcome": "failed"},
        {"what": "reason", "test": "test_gpu.py::test_split", "reason": "AssertionError: 3 != 4"},
    ]


@pytest.mark.parametrize("line", ["", "a word", "3", "[1]", "{broken"])
def test_other_lines_are_no_rows(benchmark: Load, line: str) -> None:
    assert benchmark("gpu").told_row(line) is None


def test_what_is_measured_is_made_smaller_until_it_fits(benchmark: Load) -> None:
    parts = benchmark("gpu_parts")
    full = parts.Size(128, 100, 20)

    def fitted(allowed: float) -> Any:
        # A batch takes 1 s; three pairs and two runs before; four sides of one network beside the population.
        return parts.fitted(full, 1.0, allowed, 3, 4, True)

    assert fitted(5 * 100 * 24) == full
    assert fitted(5 * 100 * 24 - 1) == parts.Size(128, 100, 10)
    assert fitted(5 * 100 * 14 - 1) == parts.Size(128, 50, 5)
    assert fitted(5 * 5 * 8) == parts.Size(128, 5, 4)
    assert fitted(5 * 5 * 8 - 1) is None
    assert parts.fitted(full, 1.0, 5 * 100 * 4, 3, 4, False) == full


def test_every_network_has_a_task(benchmark: Load) -> None:
    program, parts = benchmark("gpu"), benchmark("gpu_parts")
    asked = parts.Asked("trains", program.TRAINED, "cpu")
    assert {"mlp", "wrn-28-10", "preresnet-56", "embedding"} <= set(program.TRAINED)
    shapes = {model: tuple(asked.task(model, 12).inputs.shape) for model in program.TRAINED}
    others = {"mnist-cnn": (12, 1, 28, 28), "embedding": (12, 16)}
    assert shapes == {model: others.get(model, (12, 3, 32, 32)) for model in program.TRAINED}
    assert set(program.MODELS) <= parts.TENTHS.keys()
    assert set(program.MODELS) <= parts.SIZES.keys()
    assert asked.task("mlp", 200, digits=True).inputs.shape == (200, 1, 8, 8)


def test_a_file_stands_for_the_random_images(benchmark: Load, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(60, 3, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images, y_train=np.arange(60) % 3)
    asked = benchmark("gpu_parts").Asked("costs", ("conv",), "cpu", data=str(tmp_path / "images.npz"))
    task = asked.task("conv", 20)
    assert (tuple(task.inputs.shape), task.classes) == ((20, 3, 16, 16), 3)
    assert all((row == torch.from_numpy(images)).flatten(1).all(1).any() for row in task.inputs)


def test_a_file_that_is_not_there_is_named(benchmark: Load, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark("gpu").main(["--device", "cpu", "--data", "absent.npz"])
    assert "--data absent.npz is no file" in capsys.readouterr().err


def test_an_error_is_a_figure_and_the_next_network_is_measured(
    benchmark: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = benchmark("gpu_parts")

    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal\nmemory access")

    monkeypatch.setattr(parts, "trial", fails)
    rows = list(parts.rows(parts.Asked("trains", ("no-such", "mlp"), "cpu", tiny=True)))
    assert rows[0]["model"] == "no-such"
    assert rows[0]["error"].startswith("InputError: there is no model 'no-such'")
    assert [row["error"] for row in rows[1:]] == ["RuntimeError: CUDA error: an illegal"] * 4


def test_what_does_not_fit_is_left_out(benchmark: Load) -> None:
    parts = benchmark("gpu_parts")
    first, second = parts.rows(parts.Asked("costs", ("mlp",), "cpu", until=0.0, tiny=True))
    assert "which is too long" in first["skipped"]
    assert "which is too long" in second["skipped"]
    asked = parts.Asked("costs", ("mlp",), "cpu", until=0.0)
    row = {"seconds": {"population": 1.0}, "fastest_way": "population", "size": {"steps": 10, "population": 4}}
    assert "which is too long" in parts.hour(asked, "mlp", asked.task("mlp", 100), {"float32": row})["skipped"]


def test_known_times_give_known_candidates_an_hour(benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, seen = benchmark("gpu_parts"), list[tuple[Any, ...]]()

    def searched(*given: Any) -> dict[str, float]:
        seen.append(given)
        return {"extrapolated_seconds": 72.0}

    monkeypatch.setattr(parts, "searched", searched)
    asked = parts.Asked("costs", ("mnist-cnn",), "cpu")
    rows = {
        "float32": {"seconds": {"sequential": 1.0, "population": 2.0}, "fastest_way": "sequential"},
        "bfloat16": {"seconds": {"sequential": 0.9, "population": 0.4}, "fastest_way": "population"},
    }
    for row in rows.values():
        row["size"] = {"steps": 10, "population": 4, "batch": 128}
    found = parts.hour(asked, "mnist-cnn", None, rows)
    assert found["candidates_an_hour"] == 4 * 3600 / 72
    (_, tenth, population, candidates, backends, recipe, validation), *_ = seen
    assert (population, candidates, backends, validation) == (4, 4, ["population"], None)
    assert (tenth.batches, recipe.steps, recipe.precision, recipe.batch_size) == (2000, 2000, "bfloat16", 128)


class TestGraphicsProcessor:
    """What is read off a GPU, with stand-ins for what PyTorch tells of one."""

    def test_the_peak_of_memory_is_that_of_the_work(self, benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        held = {"peak": 900}
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: held.update(peak=100))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: held["peak"])
        peak = benchmark("gpu_parts").peak_bytes
        assert peak(lambda: held.update(peak=700), torch.device("cuda")) == 700
        assert peak(lambda: None, torch.device("cuda")) == 100
        assert peak(lambda: held.update(peak=5), CPU) is None
        assert held["peak"] == 5

    def test_it_is_described(self, benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        properties = SimpleNamespace(name="Card", total_memory=2**34, major=9, minor=0, multi_processor_count=4)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        found = benchmark("gpu").processor_of_graphics(torch.device("cuda"))
        assert (found["name"], found["memory_bytes"], found["capability"]) == ("Card", 2**34, "9.0")
        json.dumps(found)
        machine = {"device": "Card", "torch": "2.9"}
        document = {"machine": machine, "gpu": found, "seconds": 400.0, "allowed_seconds": 470.0, "tiny": False}
        document["data"] = "cifar10.npz"
        assert benchmark("gpu_report").heading(document) == [
            f"Card, torch 2.9, 16 GiB, CUDA {torch.version.cuda}: 400 s of 470",
            "The images of cifar10.npz stand for those of every network.",
        ]


class TestReport:
    """The text of known figures."""

    def test_ratios_of_one_network_stand_in_one_line(self, benchmark: Load) -> None:
        report, compared = benchmark("gpu_report"), benchmark("machine").compared
        row = {"model": "allcnn-c", "precision": "float32", "size": {"steps": 10}}
        seconds = {"ordinary": 4.0, "ordinary, indexed": 3.0, "sequential": 2.0, "population": 1.0}
        eager = {
            **row,
            "seconds": seconds,
            "fastest_way": "population",
            "against": {
                name: {way: compared([seconds[name]], [seconds[way]]) for way in ("sequential", "population")}
                for name in ("ordinary", "ordinary, indexed")
            },
        }
        fast = {
            **row,
            "seconds": {"ordinary": 4.0, "vmap-compiled": 0.5},
            "fastest_way": "vmap-compiled",
            "against": {"ordinary": {"vmap-compiled": compared([4.0], [0.5])}},
        }
        skipped = {**row, "skipped": "too long"}
        *_, line = report.ratios([eager, skipped], [fast])
        assert line == (
            "| AllCNN-C, 32×32 | float32 | 2.00 |  | 4.00 |  | 8.00 | 50.000, vmap-compiled | "
            "8.00 × (8.00–8.00), ordinary |"
        )
        *_, line = report.ratios([eager], [])
        assert line.endswith("| 100.000, population | 3.00 × (3.00–3.00), ordinary, indexed |")

    def test_memory_is_told_in_mebibytes(self, benchmark: Load) -> None:
        row = {"model": "mlp", "precision": "float32", "population": 48, "at_once": 24}
        told = benchmark("gpu_report").memory([{**row, "peak_bytes": {"ordinary": 2**20, "population": 2**24}}])
        assert list(told)[-1] == "| MLP 64-128-10, digits | float32 | 1 | 16 | 48 | 24 |"
        assert list(benchmark("gpu_report").memory([{**row, "peak_bytes": {"ordinary": None}}])) == []

    def test_what_went_wrong_is_told_once(self, benchmark: Load) -> None:
        rows = [
            {"what": "trains", "model": "conv", "backend": "population", "precision": "float32", "moved": True}
            | {"finite": False},
            {"what": "ratio", "model": "wrn-16-8", "precision": "float32", "skipped": "too long"},
            {"what": "trains", "model": "mlp", "backend": "sequential", "precision": "float32", "error": "Oh: no"},
        ]
        parts = {
            "a": {"status": "done", "rows": rows},
            "b": {"status": "skipped", "reason": "no time was left", "rows": []},
            "c": {"status": "running", "rows": []},
        }
        machine = {"device": "cpu", "torch": "2.9"}
        document = {
            "machine": machine,
            "gpu": None,
            "data": None,
            "seconds": 1,
            "allowed_seconds": 2,
            "tiny": False,
            "parts": parts,
        }
        assert benchmark("gpu_report").report(document) == [
            "cpu, torch 2.9: 1 s of 2",
            "0 of 2 short trainings went well (2 networks, each in every way)",
            "  conv, population, float32: not finite",
            "failed: trains, mlp, sequential, float32: Oh: no",
            "not or not wholly measured: b (skipped: no time was left); c (did not end); "
            "ratio, wrn-16-8, float32 (too long)",
        ]

    def test_it_is_told_of_a_file_again(
        self, benchmark: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        machine = {"device": "cpu", "torch": "2.9"}
        document = {
            "machine": machine,
            "gpu": None,
            "data": None,
            "seconds": 1,
            "allowed_seconds": 2,
            "tiny": True,
            "parts": {},
        }
        (tmp_path / "gpu.json").write_text(json.dumps(document), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["gpu_report.py", str(tmp_path / "gpu.json")])
        benchmark("gpu_report").main()
        assert capsys.readouterr().out.startswith("cpu, torch 2.9: 1 s of 2\nTiny: ")


def test_measuring_again_with_a_trainer_measures_the_same_sides(benchmark: Load) -> None:
    """A trainer that has compiled before is measured as the task is."""
    program, parts = benchmark("candidate_cost"), benchmark("gpu_parts")
    trainer = parts.Trainer(program.task_of("mlp", 200))
    found = program.measured(trainer, Recipe(batch_size=50, steps=1), 2, [1], 1, ["population"])
    assert found["fastest_way"] == "population"
    assert found["against"].keys() == {"ordinary", "ordinary, indexed"}
