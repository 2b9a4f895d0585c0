"""Files that somebody else made are data: they run nothing, write nowhere else, delete nothing and exhaust nothing."""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossmith import InputError, Loss, PowerLoss, cross_entropy, find, load, mse, save, taylor
from lossmith.cli import main
from lossmith.errors import printable
from lossmith.io import read_json, read_toml, write_all, write_whole
from lossmith.losses import Normalized, Term
from lossmith.losses.documents import MOST_LOSSES, MOST_TERMS
from lossmith.losses.polynomials import HIGHEST_ORDER, taylor_length
from lossmith.nets import build
from lossmith.report import summarize
from lossmith.study import EvolveSettings, export_pareto, read_pareto, read_settings, settings_for, write_toml
from lossmith.theory import explain, zones

PAYLOAD = """
from pathlib import Path
from torch import nn

Path("ran").touch()


def net(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(9, classes))
"""
OLD = Path(__file__).parent / "data" / "version-0.1" / "ended"
ANALYSES = ("trace", "attack", "corruption", "basin", "compare")
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must end with one sentence and exit code 2; gives the sentence."""

    def run(*words: str | Path) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert (end.value.code, out) == (2, "")
        assert re.fullmatch(r"lossmith: [^\n]*\n", err), err
        return err

    return run


@pytest.fixture
def old_study() -> Path:
    """An ended study of version 0.1 with a front and a comparison."""
    return Path(shutil.copytree(OLD, "study"))


@pytest.fixture
def payload() -> str:
    """A network in the current directory; the file ``ran`` says that it was imported."""
    sys.modules.pop("lossmith_payload", None)
    Path("lossmith_payload.py").write_text(PAYLOAD)
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.random((90, 3, 3)).astype(np.float32)
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return "lossmith_payload:net"


def settings_naming(model: str) -> dict[str, Any]:
    settings = EvolveSettings().model_dump(mode="json")
    settings["model"]["name"] = model
    settings["data"] |= {"source": "data.npz", "train_size": 30, "validation_size": 30, "max_pixel": 1.0}
    settings["recipe"] |= {"epochs": 1}
    return settings


def study_naming(model: str, version_0_1: bool = False) -> Path:
    """A best.json and a study.toml that name a network."""
    settings = settings_naming(model)
    directory = Path("study")
    directory.mkdir()
    write_toml(settings, directory / "study.toml")
    if version_0_1:
        settings["model"]["model"] = settings["model"].pop("name")
    save(mse(), directory / "best.json", provenance={"digest": "0", "settings": settings})
    return directory


class TestNetworks:
    """Code that a file names runs only if the user names it, too."""

    @pytest.mark.parametrize("command", ANALYSES)
    @pytest.mark.parametrize("version_0_1", [False, True], ids=["today", "version 0.1"])
    def test_a_loss_file_imports_nothing(self, payload: str, refused: Refused, command: str, version_0_1: bool) -> None:
        study = study_naming(payload, version_0_1)
        sentence = refused(command, study / "best.json")
        assert sentence == (
            f"lossmith: study/best.json names the network {payload}, which is Python code, and a file alone starts "
            f"none; if you trust that code, name it, too: --model {payload}\n"
        )
        assert "lossmith_payload" not in sys.modules
        assert not Path("ran").exists()

    @pytest.mark.parametrize("words", [["--out", "study"], ["study/study.toml"], ["study/study.toml", "--out", "new"]])
    def test_a_study_file_imports_nothing(self, payload: str, refused: Refused, words: list[str]) -> None:
        study_naming(payload)
        assert f"study/study.toml names the network {payload}, " in refused("evolve", *words)
        assert not Path("ran").exists()
        assert not Path("new").exists()

    def test_another_network_that_the_user_names_is_no_leave(self, payload: str, refused: Refused) -> None:
        study = study_naming(payload)
        Path("other.py").write_text(PAYLOAD)
        assert "was evolved with model.name = " in refused("compare", study / "best.json", "--model", "other:net")
        assert not Path("ran").exists()

    def test_what_the_user_names_runs(self, payload: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lossmith.report.figures._rendered", lambda *_: b"a picture")
        study = study_naming(payload)
        flags = ["--model", payload, "--samples", "3", "--quiet", "--training", "sequential"]
        main(["trace", str(study / "best.json"), *flags])
        assert Path("ran").exists()
        assert Path("trace/trace.json").exists()
        Path("ran").unlink()
        sys.modules.pop("lossmith_payload")
        main(["trace", str(study / "best.json"), "--model", "mlp", *flags[2:]])
        assert not Path("ran").exists()

    def test_from_python(self, payload: str) -> None:
        best, file = str(study_naming(payload) / "best.json"), Path("study/study.toml")
        calls: list[Callable[[], EvolveSettings]] = [
            lambda: settings_for([best]),
            lambda: read_settings(file),
            lambda: read_settings(file, "other:net"),
        ]
        for call in calls:
            with pytest.raises(InputError, match=f"names the network {payload}, which is Python code"):
                call()
        assert settings_for([best], payload).model.name == read_settings(file, payload).model.name == payload

    @pytest.mark.parametrize("module", ["json", "colorsys", "tomli_w"])
    def test_a_file_of_the_directory_never_hides_what_is_installed(
        self, module: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither of the standard library nor of other packages, whether it was imported before or not."""
        Path(f"{module}.py").write_text("raise AssertionError('the file of the directory was imported')")
        if module != "json":
            monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(InputError, match=f"{module} has no net: correct .*, or give .*{module}.py a name"):
            build(f"{module}:net", (9,), 3)
        assert str(Path.cwd()) not in sys.path

    def test_an_installed_module_imports_nothing_from_the_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("installed").mkdir()
        Path("installed/lossmith_installed.py").write_text("import lossmith_beside\n")
        Path("lossmith_beside.py").write_text("")
        monkeypatch.syspath_prepend(str(Path("installed").absolute()))
        with pytest.raises(InputError, match="No module named 'lossmith_beside'"):
            build("lossmith_installed:net", (9,), 3)

    def test_a_module_of_the_directory_finds_those_beside_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("lossmith_first.py").write_text("from lossmith_second import net\n")
        Path("lossmith_second.py").write_text(PAYLOAD)
        before = list(sys.path)
        assert isinstance(build("lossmith_first:net", (9,), 3), torch.nn.Module)
        assert sys.path == before
        for name in ("lossmith_first", "lossmith_second"):
            monkeypatch.delitem(sys.modules, name)


def front(**changed: Any) -> dict[str, Any]:
    """What pareto.json holds, with changes to its one candidate."""
    row = {"generation": 3, "member": 1, "genome": [1.0], "figures": {"accuracy": 0.5, "nll": 0.1}}
    return {
        "figures": ["accuracy", "nll"],
        "candidates": [[0.5, 0.1]],
        "front": [{**row, "loss": mse().to_json(), **changed}],
        "finalists": {"mean": [0.5, 0.1]},
        "provenance": {"digest": "0", "settings": {}, "training": "sequential", "versions": {}},
    }


def write(document: Any, name: str = "pareto.json") -> Path:
    Path("study").mkdir(exist_ok=True)
    (Path("study") / name).write_text(json.dumps(document))
    return Path("study")


def listing() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


class TestFronts:
    @pytest.mark.parametrize("key", ["generation", "member"])
    @pytest.mark.parametrize("value", ["../victim/package", "lock", "1", -1, 1.0, True, None, [1]], ids=repr)
    def test_names_of_files_come_from_whole_numbers(self, key: str, value: object) -> None:
        study = write(front(**{key: value}))
        before = listing()
        with pytest.raises(
            InputError, match=rf"^study/pareto.json is damaged \(front\.0\.{key}: .*; remove it and run"
        ):
            export_pareto(study, Path("out"))
        assert listing() == before
        assert not Path("out").exists()

    @pytest.mark.parametrize(
        "document",
        [
            [1, 2],
            {},
            {**front(), "figures": ["accuracy"]},
            {**front(), "figures": ["accuracy", "other"]},
            {**front(), "candidates": [[0.5]]},
            {**front(), "candidates": [["0.5", "x"]]},
            {**front(), "front": []},
            {**front(), "front": front()["front"] * 2},
            {**front(), "finalists": [1]},
            {**front(), "provenance": {"digest": 3, "settings": {}}},
            front(figures={"accuracy": "high", "nll": 0.1}),
            front(loss=[1, 2]),
        ],
        ids=lambda document: json.dumps(document)[:60],
    )
    def test_other_structures(self, document: Any) -> None:
        with pytest.raises(InputError, match=r"^study/pareto.json is damaged \([^\n]{1,200}\); remove it"):
            read_pareto(write(document))

    def test_a_loss_that_is_none(self) -> None:
        with pytest.raises(InputError, match=r"^study/pareto.json, candidate 3\.1: this is not a loss file"):
            export_pareto(write(front(loss={})), Path("out"))
        assert not Path("out").exists()

    def test_nothing_of_the_user_is_deleted_or_replaced(self, caplog: pytest.LogCaptureFixture) -> None:
        study, notes = write(front()), Path("notes")
        notes.mkdir()
        (notes / "2024-11.json").write_text("November")
        assert export_pareto(study, notes) == [notes / "3-1.json"]
        assert (notes / "2024-11.json").read_text() == "November"
        assert "notes holds other files called like candidates, which are left there: 2024-11.json" in caplog.text
        write({**front(), "provenance": {**front()["provenance"], "digest": "1"}})
        before = (notes / "3-1.json").read_bytes()
        with pytest.raises(InputError, match=r"^notes/3-1.json is there already, and is no candidate of this study; "):
            export_pareto(study, notes)
        assert (notes / "3-1.json").read_bytes() == before

    @pytest.mark.parametrize("content", ["March", "{}", json.dumps(mse().to_json())], ids=["text", "JSON", "loss"])
    def test_a_file_of_the_user_by_the_name_of_a_candidate(self, content: str) -> None:
        study = write(front())
        Path("out").mkdir()
        Path("out/3-1.json").write_text(content)
        with pytest.raises(InputError, match=r"^out/3-1.json is there already"):
            export_pareto(study, Path("out"))
        assert Path("out/3-1.json").read_text() == content

    def test_the_same_candidate_is_written_anew(self) -> None:
        study = write(front())
        (path,) = export_pareto(study, Path("out"))
        content = path.read_bytes()
        assert export_pareto(study, Path("out")) == [path]
        assert path.read_bytes() == content

    def test_an_export_is_whole_or_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        document = front()
        document["front"].append({**document["front"][0], "member": 2})
        study, synced = write(document), []

        def fail(descriptor: int) -> None:
            synced.append(descriptor)
            if len(synced) == 2:
                raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", fail)
            with pytest.raises(InputError, match=r"out/3-2\.json cannot be written: No space left on device"):
                export_pareto(study, Path("out"))
        assert not Path("out").exists()
        assert len(export_pareto(study, Path("out"))) == 2


def compared(**changed: Any) -> dict[str, Any]:
    row = {"name": "MSE", "baseline": True, "loss": mse().to_json(), "runs": [{"test": 0.5}]}
    return {"rows": [{**row, **changed}], "best_baseline": "MSE"}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([1, 2], "input should be"),
        ({}, "rows: field required"),
        (compared(runs=[]), r"rows\.0\.runs: "),
        (compared(runs=[{"test": "0.5"}]), "a network has no number for 'test'"),
        (compared(runs=[{"validation": 0.5}]), "a network has no number for 'test'"),
        (compared(name=3), r"rows\.0\.name: "),
        (compared(baseline=1), r"rows\.0\.baseline: "),
        (compared(loss={}), "this is not a loss file"),
        ({**compared(), "best_baseline": "mae"}, "the best baseline is none of its losses"),
    ],
)
def test_a_comparison_of_another_structure(document: Any, place: str, old_study: Path) -> None:
    (old_study / "comparison.json").write_text(json.dumps(document))
    with pytest.raises(
        InputError, match=rf"comparison.json is damaged \({place}.*; remove it and run lossmith compare"
    ):
        summarize(old_study)


@pytest.mark.parametrize(
    "said", [[1, 2], {}, {"digest": 0, "settings": {}}, {"digest": "0", "settings": [1]}, "text", 3]
)
def test_a_provenance_of_another_structure(said: Any, refused: Refused) -> None:
    save(mse(), "best.json", provenance=said)
    sentence = refused("trace", "best.json")
    assert '"provenance" of best.json is damaged (' in sentence
    assert "take the best.json that lossmith evolve wrote" in sentence


SPECIAL = [
    ["explain", "{}"],
    *([command, "{}"] for command in ANALYSES),
    ["evolve", "{}", "--out", "new"],
]


@pytest.mark.parametrize("words", SPECIAL, ids=lambda words: words[0])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends(words: list[str], kind: str, refused: Refused) -> None:
    """Pipes without anybody who writes, and devices: no command waits or reads on."""
    place = "/dev/urandom"
    if kind == "pipe":
        place = "pipe.json"
        os.mkfifo(place)
    assert f"{place} is no regular file" in refused(*(word.format(place) for word in words))
    assert not Path("new").exists()


@pytest.mark.parametrize("name", ["best.json", "pareto.json", "comparison.json"])
def test_a_pipe_in_a_study(name: str, old_study: Path, refused: Refused) -> None:
    path = old_study / ("front.json" if name == "pareto.json" else name)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert f"{path.name} is no regular file" in refused("show", old_study, "--pareto", "out")


def test_structures_of_settings(refused: Refused) -> None:
    Path("bigint.toml").write_text(f"[search]\nseed = {'1' * 5000}\n")
    Path("deep.toml").write_text(f"{'x.' * 3000}x = 1\n")
    for name in ("bigint.toml", "deep.toml"):
        assert f"{name} is not a TOML file" in refused("evolve", name, "--out", "new")
        with pytest.raises(InputError, match="is not a TOML file"):
            read_toml(name)


class TestLosses:
    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"name": "\ud800"}, r"the loss file cannot be used \(.*surrogates not allowed\)"),
            ({"classes": 10**50}, "a whole number is beyond 128 bits"),
            ({"coefficients": [10**400, 1, 1]}, "a whole number is beyond 128 bits"),
            ({"coefficients": [1, float("inf"), 1]}, "a number is not finite"),
            ({"terms": [[10**60, 0, 0]]}, "a whole number is beyond 128 bits"),
            (
                {"terms": [[1e308, 1, 1]], "coefficients": [1]},
                r"has the power 1e\+308; powers of a file lie within ±1000",
            ),
            ({"terms": [[1, 10**9, 1]], "coefficients": [1]}, "has the power 1000000000; powers of a file lie within"),
            ({"terms": [[1 + k / 2**20, 0, 0] for k in range(MOST_TERMS + 1)]}, "has 1001 terms; .* has 1000 at most"),
            ({"version": 2, "kind": "mixed", "members": [mse().to_json()] * MOST_LOSSES}, "more than 10000 losses"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_from_python(self, changed: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Loss.from_json({**mse().to_json(), **changed})

    def test_a_document_that_holds_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lossmith.io.MOST_VALUES", 1000)
        ring: list[Any] = []
        ring.append(ring)
        wide: list[Any] = [0.0, 0.0]
        for _ in range(60):
            wide = [wide, wide]
        for coefficients in (ring, wide):
            with pytest.raises(InputError, match=r"it nests more than 100 deep|it holds more than"):
                Loss.from_json({**mse().to_json(), "coefficients": coefficients})

    def test_a_name_that_no_file_can_hold(self) -> None:
        with pytest.raises(InputError, match=r"^'\\ud800' is half a character"):
            save(mse().named("a\ud800"), "loss.json")
        assert listing() == []

    def test_explaining_is_bounded(self, refused: Refused) -> None:
        terms = tuple(Term(1 + k / 2**20, 1, 0) for k in range(MOST_TERMS + 1))
        large = PowerLoss(terms, torch.ones(len(terms)))
        for call in (lambda: explain(large, 10), lambda: zones(large, 10)):
            with pytest.raises(InputError, match="has 1001 terms; its attraction is followed for 1000 at most"):
                call()
        with pytest.raises(InputError, match="of at most 10000 classes, not 10001"):
            explain(Normalized(cross_entropy()), 10_001)
        save(large, "large.json")
        assert "large.json: the loss file has 1001 terms" in refused("explain", "large.json")

    def test_the_highest_order_is_the_documented_one(self) -> None:
        assert str(HIGHEST_ORDER) in (taylor.__doc__ or "")
        terms = {(a, b) for b in range(HIGHEST_ORDER) for a in range(HIGHEST_ORDER - b + 1)}
        assert len(terms) < MOST_TERMS
        with pytest.raises(InputError, match="a whole order from 2 to 30, not 31"):
            taylor([0.0] * taylor_length(31), 31)
        for order in (31, 66, 100):
            with pytest.raises(InputError, match=r"and so on, up to 467 \(order 30\)"):
                find(", ".join(["0.5"] * taylor_length(order)), 10)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["basin", "mse", "--points", "99999999999999999999"],
            "--points is 99999999999999999999; it must be at most 10001",
        ),
        (["basin", "mse", "--directions", "1000000000"], "--directions is 1000000000; it must be at most 1000"),
        (
            ["basin", "mse", "--hessian-samples", "9" * 30],
            f"--hessian-samples is {'9' * 30}; it must be at most 1000000000",
        ),
        (["trace", "mse", "--samples", "9" * 30], f"--samples is {'9' * 30}; it must be at most 1000000000"),
        (["trace", "mse", "--seed", "9" * 30], f"--seed is {'9' * 30}; it must be at most 9223372036854775807"),
        (["attack", "mse", "--seeds", "1000000000"], "--seeds is 1000000000; it must be at most 10000"),
        (["attack", "mse", "--pgd-steps", "1000000000"], "--pgd-steps is 1000000000; it must be at most 10000"),
        (["attack", "mse", "--queries", "9" * 30], f"--queries is {'9' * 30}; it must be at most 1000000"),
        (["corruption", "mse", "--draws", "1000000000"], "--draws is 1000000000; it must be at most 1000"),
        (["compare", "mse", "--out", "new", "--seeds", "1000000000"], "--seeds is wrong (it is 1000000000): "),
        (
            ["explain", "label-smoothing", "--classes", "9" * 400],
            "a loss is built for up to 1000000000 classes, not 99",
        ),
        (["explain", "mse", "--classes", "9" * 30], "a loss is built for up to 1000000000 classes, not 99"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_numbers_of_a_command(words: list[str], sentence: str, refused: Refused) -> None:
    assert sentence in refused(*words)
    assert listing() == []


class TestWriting:
    def test_several_files_or_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("folder").mkdir()
        with pytest.raises(InputError, match="folder cannot be written: Is a directory"):
            write_all({Path("one"): b"1", Path("folder"): b"2"})
        assert listing() == []

    @pytest.mark.parametrize("command", ["attack", "basin", "corruption"])
    @pytest.mark.usefixtures("payload")
    def test_a_picture_that_fails_takes_no_figures_along(
        self, command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def full(*_: object) -> None:
            raise InputError("the picture cannot be written: No space left on device; make room")

        monkeypatch.setattr("lossmith.report.figures.write_all", full)
        monkeypatch.setattr("lossmith.report.figures._rendered", lambda *_: b"a picture")
        own = {"attack": ("--attacks", "fgsm"), "basin": ("--points", "3", "--hessian-samples", "0"), "corruption": ()}
        words = ["--data", "data.npz", "--train-size", "30", "--epochs", "1", "--hidden", "4", "--max-pixel", "1"]
        with pytest.raises(SystemExit) as end:
            main([command, "mse", "--seeds", "2", "--figure", "a.png", "--training", "mlp", *words, *own[command]])
        out, err = capfd.readouterr()
        assert end.value.code == 2
        assert "MSE" in out
        assert "Picture" not in out
        assert err.endswith("lossmith: the picture cannot be written: No space left on device; make room\n")

    def test_a_picture_without_a_place_is_refused_before_the_work(self, refused: Refused) -> None:
        os.mkfifo("pipe.png")
        assert "pipe.png is there already and no file" in refused("basin", "mse", "--figure", "pipe.png")

    def test_a_device_or_pipe_is_not_replaced(self) -> None:
        os.mkfifo("pipe")
        for place in (Path("pipe"), Path("/dev/null")):
            with pytest.raises(InputError, match=f"^{place} cannot be written: it is a device or pipe"):
                write_whole(b"1", place)
        assert Path("pipe").is_fifo()

    def test_the_folder_is_synced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[bool] = []
        monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").is_dir()))
        write_whole(b"1", "file")
        assert synced == [False, True]

    def test_what_a_killed_write_left_is_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def killed(*_: object) -> None:
            raise RuntimeError

        for ended in (True, False):
            with monkeypatch.context() as patch:
                patch.setattr("pathlib.Path.replace", killed)
                patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
                patch.setattr("os.getpid", lambda ended=ended: 2**22 + 1 if ended else 1)
                with pytest.raises(RuntimeError):
                    write_whole(b"1", "file.json")
        left = {path for path in listing() if path != "file.json"}
        assert len(left) == 2
        others = [".file.json.mine", ".file.json.lossmith-00000000-4194305-abcdefgh", ".other.json.abc", ".file.json~"]
        for name in others:
            Path(name).write_text("the user's")
        write_whole(b"2", "file.json")
        # Process 1 runs; the user's and another machine's files are left alone.
        assert set(listing()) == {"file.json", *others, *(path for path in left if "-1-" in path)}


def test_text_that_moves_the_cursor_is_shown_as_its_escapes() -> None:
    assert printable("γ “quoted” 損失 👩\u200d🔬 ‑x") == "γ “quoted” 損失 👩\u200d🔬 ‑x"
    assert printable("a\x1b[31m\u202e\n\ud800\x9b") == r"a\x1b[31m\u202e\n\ud800\x9b"
    assert str(InputError("the loss \x1b]0;x\x07 is none")) == r"the loss \x1b]0;x\x07 is none"
    save(mse().named("\x1b[2J"), "loss.json")
    assert load("loss.json").name == "\x1b[2J"


def test_a_file_that_waits_for_somebody_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc/kmsg is a regular file, and has nothing to read now."""

    class Waiting:
        def read(self, _: int) -> None:
            return None

    monkeypatch.setattr("lossmith.io.opened_regular", lambda _: contextlib.nullcontext(Waiting()))
    with pytest.raises(InputError, match="nothing is in it yet"):
        read_json(tmp_path / "kmsg")


def test_what_is_no_path_is_cut_in_messages() -> None:
    with pytest.raises(InputError) as error:
        read_json("9" * 5000)
    assert len(str(error.value)) < 600
