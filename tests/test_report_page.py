"""``report.html``: what it says, that nothing in it becomes markup, and who may ask for it while a study runs."""

import base64
import hashlib
import html
import http.client
import json
import math
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lossmith
from lossmith.analysis import Masking, Robustness
from lossmith.api import report
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.losses import Loss, baikal, cross_entropy, find, focal, gce, mae, mse
from lossmith.markup import element
from lossmith.report import Section, Served, document, plain_words, report_beside, report_page, summary, write_report
from lossmith.report.web import glosses
from lossmith.report.web.compared import _beyond
from lossmith.report.web.finalists import _within
from lossmith.report.web.findings import findings
from lossmith.report.web.importance import importance
from lossmith.report.web.page import explorer_section, page_of
from lossmith.report.web.parts import Scale
from lossmith.report.web.setup import runs_csv
from lossmith.report.web.verdict import verdict
from lossmith.search import SEARCH_ENGINES, SPACES
from lossmith.study import Store, Study
from lossmith.study.function_comparison import _kept
from lossmith.study.records import FITNESS
from lossmith.study.trials import Trial
from lossmith.theory import explain
from lossmith.training.engines import ENGINES

HOSTILE = """</script><script>alert(1)</script>"><img src=x onerror=alert(1)>"""


def scored(criterion: lossmith.Criterion, seed: int) -> tuple[float, float]:
    """A stand-in for a training: better for losses that are steep, with a little noise."""
    steep = float(criterion(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0])))
    noise = float(np.random.default_rng(seed).normal(0, 0.002))
    return 0.6 - 0.1 * abs(steep - 0.8) + noise, 0.5 - 0.1 * abs(steep - 0.8) + noise


def reporting(criterion: lossmith.Criterion, seed: int, report: Callable[[float, float], None]) -> tuple[float, float]:
    """The same, which says how far it has come."""
    validation, test = scored(criterion, seed)
    for share, missing in ((0.25, 0.2), (0.5, 0.1), (1.0, 0.0)):
        report(validation - missing, share)
    return validation, test


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies that have ended and were compared: of networks, and of a training function."""
    place = tmp_path_factory.mktemp("made")
    rng, labels = np.random.default_rng(0), np.arange(160) % 3
    inputs = (rng.normal(0, 1, (160, 4)) + 1.5 * np.eye(3, 4)[labels]).astype(np.float32)
    few: dict[str, Any] = {"hidden": [4], "epochs": 3, "population": 8, "generations": 6, "finalists": 1}
    few |= {"finalist_seeds": 2, "tune": False, "quiet": True, "record": ["nll"]}
    result = lossmith.evolve("mlp", (inputs, labels), out=place / "networks", **few)
    result.compare(baselines=["cross-entropy", "MSE"], seeds=3, effort="quick")
    own = lossmith.evolve(train=scored, classes=3, out=place / "function", population=8, generations=6, quiet=True)
    own.compare()
    return place


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "networks", tmp_path / "study"))


def counted(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """A function that notes each of its calls."""

    def noted(*given: Any) -> Any:
        calls.append(1)
        return function(*given)

    return noted


def attacked(name: str, zero: float = 0.0) -> Robustness:
    """What an attack found of two networks, of which one diverged."""
    figures = {name: np.array([[0.9, 0.8], [0.5, 0.4]]) for name in ("fgsm", "worst")}
    masking = [Masking({"loss": zero}, None, None, None, None, None, None, None)] * 2
    samples, diverged = {"fgsm": 9, "worst": 9}, np.array([False, True])
    return Robustness(name, (0.0, 0.1), np.array([0.9, 0.8]), figures, samples, None, masking, diverged)


class Elements(HTMLParser):
    """The elements of a page, and the text of those that are no code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""
        self._code = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        self._code += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data


class TestMarkup:
    def test_what_is_no_element_is_text(self) -> None:
        made = element("p", "<b>", [element("i", "x"), None, 3], title='"><', hidden=False, data_tip="a\nb")
        assert made == '<p title="&quot;&gt;&lt;" data-tip="a\nb">&lt;b&gt;<i>x</i>3</p>'

    def test_what_turns_the_direction_is_spelled(self) -> None:
        assert element("p", "a\u202eb\x1b") == "<p>a\\u202eb\\x1b</p>"


class TestDocument:
    def test_only_its_own_scripts_run(self) -> None:
        page = document("t", [Section("one", "One", "<p>1</p>", script="root.id;", data={"a": 1})])
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
        assert re.findall(r"'sha256-([^']*)'", policy) == digests
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe-inline" not in policy.partition("style-src")[0]
        assert "http" not in policy

    def test_nothing_is_loaded(self) -> None:
        page = document("t", [Section("one", "One", "")])
        loaded = [(tag, at) for tag, at in Elements(page).tags if tag in ("link", "img", "iframe") or "src" in at]
        assert loaded == []
        assert "url(" not in page
        assert "@import" not in page

    def test_data_stays_in_its_element(self) -> None:
        data = {"name": HOSTILE + "<!--&\u2028"}
        page = document("t", [Section("one", "One", "", data=data)])
        (inner,) = re.findall(r'<script type="application/json" id="data-one">(.*?)</script>', page)
        assert not set("<>&\u2028") & set(inner)
        assert json.loads(inner) == data

    def test_titles_are_text(self) -> None:
        page = Elements(document(HOSTILE, [Section("one", HOSTILE, "")]))
        assert page.text.count(HOSTILE) == 4  # the page's twice, its link, its heading
        assert "img" not in [tag for tag, _ in page.tags]

    def test_sections_are_found(self) -> None:
        page = Elements(document("t", [Section("one", "One", "<p>1</p>", "p{}"), Section("two", "Two", "")]))
        assert [at["href"] for tag, at in page.tags if tag == "a"] == ["#content", "#one", "#two"]
        assert page.ids == ["content", "one", "two"]
        assert ("html", {"lang": "en"}) in page.tags

    @pytest.mark.parametrize(
        "sections",
        [
            [Section("one", "", ""), Section("one", "", "")],
            [Section("One Two", "", "")],
            [Section("one", "", "", script="'</script>'")],
            [Section("one", "", "", script="'<!--'")],
            [Section("one", "", "", styles="</STYLE>")],
        ],
    )
    def test_what_would_break_out_is_a_fault(self, sections: list[Section]) -> None:
        with pytest.raises(ValueError, match=r"would end|names of their own"):
            document("t", sections)


def pulls(loss: Loss, belief: float, classes: int) -> float:
    """−∂L/∂f of the label, by autograd, where the other classes share evenly what it is not given."""
    outputs = torch.full((1, classes), (1 - belief) / (classes - 1), dtype=torch.float64)
    outputs[0, 0] = belief
    logits = outputs.log().requires_grad_()
    loss.value(logits, torch.tensor([0])).sum().backward()
    assert logits.grad is not None
    return -float(logits.grad[0, 0])


LOSSES = [mse(), mae(), baikal(), gce(0.7), focal(2.0), find("label-smoothing", 10), find("paper/mnist", 10)]
PAIRS = [(loss, classes) for loss in LOSSES for classes in (3, 10) if loss.classes in (None, classes)]


class TestWords:
    def test_cross_entropy(self) -> None:
        assert plain_words(cross_entropy(), explain(cross_entropy(), 10)) == ["It pulls as cross-entropy does."]
        assert plain_words(3 * cross_entropy(), explain(3 * cross_entropy(), 4)) == [
            "It pulls as cross-entropy does.",
            "Its first steps are 3.0 times those of cross-entropy; the learning rate makes up for it.",
        ]

    @pytest.mark.parametrize(("loss", "classes"), PAIRS, ids=[f"{loss.name} {classes}" for loss, classes in PAIRS])
    def test_what_is_said_of_pulls_is_so(self, loss: Loss, classes: int) -> None:
        text = "\n".join(plain_words(loss, explain(loss, classes)))
        start = pulls(loss, 1 / classes, classes) / pulls(cross_entropy(), 1 / classes, classes)
        said = re.findall(r"([\d.]+) times as hard at (\d+) %", text)
        for factor, percent in said:
            belief = int(percent) / 100
            found = pulls(loss, belief, classes) / pulls(cross_entropy(), belief, classes) / start
            assert math.isclose(found, float(factor), rel_tol=0.06)
        for percent in re.findall(r"more than (\d+) %, it pushes", text):
            border = int(percent) / 100
            assert pulls(loss, border - 0.01, classes) > 0 > pulls(loss, border + 0.01, classes)
        for share, percent in re.findall(r"with ([\d.]+) % of its pull left at (\d+) %", text):
            belief = int(percent) / 100
            found = pulls(loss, belief, classes) / pulls(cross_entropy(), belief, classes) / start
            assert math.isclose(100 * found, float(share), abs_tol=0.51)
        assert said or "counts less" in text or "pushes" in text

    def test_what_lies_between_is_told(self) -> None:
        told = "Elsewhere it pulls about as hard as cross-entropy, within 15 %."
        for loss in (mae(), focal(2.0), gce(0.7)):
            belief = torch.linspace(0.01, 0.99, 99, dtype=torch.float64).tolist()
            start = pulls(loss, 0.1, 10) / pulls(cross_entropy(), 0.1, 10)
            ratios = [pulls(loss, one, 10) / pulls(cross_entropy(), one, 10) / start for one in belief]
            alike = sum(0.85 <= one <= 1.15 for one in ratios)
            assert (told in plain_words(loss, explain(loss, 10))) is (alike > 2), loss.name
        assert told not in plain_words(cross_entropy(), explain(cross_entropy(), 10))

    def test_what_robust_losses_do(self) -> None:
        text = " ".join(plain_words(mae(), explain(mae(), 10)))
        assert "It lets go of labels that the network hardly believes" in text
        assert "pushes" not in text

    def test_label_smoothing_is_recognized(self) -> None:
        loss = find("label-smoothing:0.2", 10)
        assert plain_words(loss, explain(loss, 10))[-1] == "It is a loss with label smoothing, α = 0.2."

    def test_where_a_label_is_pushed_down(self) -> None:
        doubtful = lossmith.expression("y * (h^2/2 - 0.05*h)")
        text = " ".join(plain_words(doubtful, explain(doubtful, 10)))
        assert "Labels that the network gives less than 5 % it pushes further down" in text
        between = lossmith.expression("y * (h^3/3 - 0.4*h^2 + 0.15*h)")
        text = " ".join(plain_words(between, explain(between, 10)))
        assert "It pushes labels down that the network gives 30 % to 50 %." in text

    def test_a_loss_that_pushes_from_the_start(self) -> None:
        (first, second) = plain_words(-1 * mse(), explain(-1 * mse(), 10))
        assert "training may never begin" in first
        assert "every label down" in second


def candidates(fitness: Any, genomes: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"generation": place // 20, "genome": genome, "fitness": fitness(genome, place // 20)}
        for place, genome in enumerate(genomes.tolist())
    ]


class TestImportance:
    GENOMES = np.random.default_rng(0).normal(size=(600, 3))

    def test_what_decides_is_found_and_nothing_else(self) -> None:
        found = importance(candidates(lambda x, _: -(x[1] ** 2), self.GENOMES))
        assert found is not None
        assert found.candidates == 600
        assert found.shares[1] > 0.6
        assert (found.shares[[0, 2]] <= found.chance).all()

    def test_the_drift_of_a_search_does_not_count(self) -> None:
        rng = np.random.default_rng(1)
        drifting = self.GENOMES + np.arange(600)[:, None] // 20
        found = importance(candidates(lambda x, generation: generation + rng.normal(), drifting))
        assert found is not None
        assert (found.shares <= 2 * found.chance).all()

    def test_chance_is_rarely_exceeded(self) -> None:
        rng = np.random.default_rng(2)
        above = []
        for _ in range(40):
            found = importance(candidates(lambda *_: rng.normal(), rng.normal(size=(200, 5))))
            assert found is not None
            above.append((found.shares > found.chance).mean())
        assert np.mean(above) < 0.1

    def test_what_cannot_be_ranked(self) -> None:
        assert importance([]) is None
        assert importance(candidates(lambda *_: None, self.GENOMES)) is None
        assert importance(candidates(lambda *_: 1.0, self.GENOMES[:30])) is None
        formulas = [{"generation": 0, "genome": ["+", "h", "y"], "fitness": float(k)} for k in range(60)]
        assert importance(formulas) is None


class TestPage:
    def test_of_networks(self, study: Path) -> None:
        page = Elements(report_page(study))
        wanted = [
            "verdict",
            "loss",
            "comparison",
            "search",
            "training",
            "calibration",
            "explorer",
            "setup",
            "downloads",
        ]
        assert [at["id"] for tag, at in page.tags if tag == "section"] == wanted
        for text in ("On test data", "95 % interval", "cross-entropy", "What mattered", "The front", "Quick: losses"):
            assert text in page.text
        assert "lossmith compare again/best.json --effort quick --seeds 3" in page.text
        downloads = {at["download"]: at["href"] for _, at in page.tags if at.get("download")}
        assert downloads.keys() == {"best.json", "my_loss.py", "study.toml", "comparison.csv"}
        for name in ("best.json", "study.toml"):
            content = base64.b64decode(str(downloads[name]).partition("base64,")[2])
            assert content == (study / name).read_bytes()

    def test_a_metric_of_a_program_is_repeated_by_that_program(self, study: Path) -> None:
        """No command has it: study.toml says another one in its place."""
        assert "lossmith evolve study.toml" in Elements(report_page(study)).text
        with Store(study) as store:
            store.set("objective", {"function": "score", "metric": {"higher_is_better": True, "share": False}})
        page = Elements(report_page(study))
        assert "lossmith evolve study.toml" not in page.text
        assert "lossmith.evolve(…, metric=score, out=…)" in page.text
        assert "study.toml has another metric in its place" in page.text

    def test_the_module_to_take_along_has_the_class_weights(self, study: Path) -> None:
        found = findings(study)
        weighted = found.provenance.model_copy(update={"class_weight": [0.25, 1.0, 1.75]})
        page = Elements(page_of(replace(found, provenance=weighted)))
        address = next(str(at["href"]) for _, at in page.tags if at.get("download") == "my_loss.py")
        space: dict[str, Any] = {}
        exec(base64.b64decode(address.partition("base64,")[2]), space)  # noqa: S102
        logits, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
        assert found.winner is not None
        expected = lossmith.Criterion(found.winner, weight=torch.tensor([0.25, 1.0, 1.75]))(logits, labels)
        torch.testing.assert_close(space["Loss"]()(logits, labels), expected)

    def test_of_a_training_function(self, made: Path) -> None:
        page = Elements(report_page(made / "function"))
        assert "training" not in page.ids
        assert "calibration" not in page.ids
        assert "with the training function" in page.text
        assert "lossmith evolve study.toml" not in page.text
        assert "test score" in page.text

    def test_what_a_training_function_reports_is_drawn(self, tmp_path: Path) -> None:
        result = lossmith.evolve(train=reporting, classes=3, out=tmp_path, population=4, generations=2, quiet=True)
        result.compare(baselines=["cross-entropy", "MSE"])
        found = findings(tmp_path)
        assert found.comparison is not None
        assert {curve.name for curve in found.curves} == {row.name for row in found.comparison.rows}
        for curve in found.curves:
            # Each training reported at a quarter, a half and its end, and its last score is what it gave.
            row = found.comparison.row(curve.name)
            assert curve.shares == [25.0, 50.0, 100.0]
            assert (curve.networks, curve.stop) == (len(row.runs), None)
            assert curve.fitness[-1] == pytest.approx(row.mean(found.comparison.deciding.column("validation")))
            assert curve.fitness[0] == pytest.approx(row.mean(found.comparison.deciding.column("validation")) - 0.2)
        page = Elements(report_page(tmp_path))
        assert "training" in page.ids
        assert "what your training function reported" in page.text
        # What an older version has kept of the trainings has no curves.
        with Store(tmp_path) as store:
            for kept in store.rows("SELECT comparison, chunk, result FROM run WHERE comparison LIKE 'function comp%'"):
                runs = [
                    {key: value for key, value in run.items() if key != "curve"} for run in json.loads(kept["result"])
                ]
                store.write([("DELETE FROM run WHERE chunk = ?", (kept["chunk"],))])
                store.add_record(kept["comparison"], kept["chunk"], runs, 0.1)
        assert findings(tmp_path).curves == []
        assert len(result.compare(baselines=["cross-entropy", "MSE"]).rows) == 3

    def test_long_reports_are_kept_in_part(self) -> None:
        curve = tuple((k / 1000, float(k)) for k in range(1001))
        kept = _kept(Trial({FITNESS: 1.0}, {}, curve))["curve"]
        assert len(kept) <= 200
        assert kept[-1] == [1.0, 1000.0]
        assert [at for at, _ in kept] == sorted(at for at, _ in kept)

    def test_it_is_written_after_evolve_and_compare(self, made: Path) -> None:
        for name in ("networks", "function"):
            assert (made / name / "report.html").read_text(encoding="utf-8") == report_page(made / name)

    def test_it_changes_nothing_else(self, study: Path) -> None:
        before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file() and path.name != "report.html"}
        (study / "report.html").unlink()
        assert write_report(study) == report(str(study)) == study / "report.html"
        after = {path: path.read_bytes() for path in study.rglob("*") if path.is_file() and path.name != "report.html"}
        assert after == before

    def test_it_does_not_load_what_draws(self, study: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from lossmith.report import write_report\n"
            f"write_report(Path({str(study)!r})); print({{'matplotlib', 'sklearn', 'http.server'}} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"

    def test_while_a_study_runs(self, tmp_path: Path) -> None:
        with Study(tmp_path / "study", 3, population=3, generations=2) as study:
            for score in (0.5, None, 0.75):
                candidate = study.ask()
                assert candidate is not None
                study.tell(candidate, float("nan") if score is None else score)
            page = Elements(report_page(tmp_path / "study"))
        assert "in generation 2 of 2" in page.text
        assert "best candidate so far is 0.7500" in page.text
        assert "1 diverged" in page.text
        assert "comparison" not in page.ids
        assert "loss" not in page.ids

    def test_without_any_candidate(self, tmp_path: Path) -> None:
        Study(tmp_path / "study", 3, population=3, generations=2).close()
        assert "The study has not ended" in Elements(report_page(tmp_path / "study")).text

    def test_a_space_that_is_not_known_here(self, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: Any, **__: Any) -> Any:
            raise InputError("there is no search space 'mine'")

        monkeypatch.setattr(Study, "load", refused)
        text = Elements(report_page(study)).text
        assert "Formulas are not shown" in text
        assert "On test data" in text

    def test_only_comparisons(self, study: Path) -> None:
        for name in ("best.json", "study.toml", "pareto.json"):
            (study / name).unlink()
        with Store(study) as store:
            store.write([(f"DELETE FROM {table}", ()) for table in ("candidate", "finalist", "setting")])  # noqa: S608
        page = Elements(report_page(study))
        assert "no search, only comparisons" in page.text
        assert {"comparison", "calibration"} < set(page.ids)
        assert not {"loss", "search"} & set(page.ids)

    @pytest.mark.parametrize("where", ["loss", "baseline", "classes"])
    def test_a_hostile_name_stays_text(self, study: Path, where: str) -> None:
        document = json.loads((study / "comparison.json").read_text(encoding="utf-8"))
        if where == "classes":
            with Store(study) as store:
                store.set("data", {**store.setting("data"), "class_names": [HOSTILE] * 3, "name": HOSTILE})
        else:
            old = next(row["name"] for row in document["rows"] if row["baseline"] == (where == "baseline"))
            text = json.dumps(document).replace(json.dumps(old), json.dumps(HOSTILE))
            (study / "comparison.json").write_text(text, encoding="utf-8")
        text = report_page(study)
        page = Elements(text)
        assert HOSTILE in page.text
        assert "<img" not in text
        assert [tag for tag, at in page.tags if any(name.startswith("on") for name in at)] == []
        scripts = [at for tag, at in page.tags if tag == "script"]
        again = [at for tag, at in Elements(report_page(study)).tags if tag == "script"]
        assert len(scripts) == len(again) <= 16
        assert "alert(1)</script>" not in text

    def test_a_hostile_cell_of_a_table(self, study: Path) -> None:
        found = findings(study).comparison
        assert found is not None
        rows = [replace(row, name=f"=cmd|{row.name}") for row in found.rows]
        lines = runs_csv(replace(found, rows=rows)).splitlines()
        assert len(lines) == 1 + sum(len(row.runs) for row in rows)
        assert all(line.startswith("'=cmd|") for line in lines[1:])

    @pytest.mark.parametrize(
        ("part", "value"),
        [
            ("pairs", None),
            ("pairs", [{"first": "a"}]),
            ("rows", []),
            ("tested_on", 3),
            ("effort", {}),
            ("guess", {"answer": 1}),
            ("best_baseline", "nobody"),
        ],
    )
    def test_a_damaged_comparison(self, study: Path, part: str, value: Any) -> None:
        document = json.loads((study / "comparison.json").read_text(encoding="utf-8"))
        (study / "comparison.json").write_text(json.dumps({**document, part: value}), encoding="utf-8")
        with pytest.raises(InputError, match=r"comparison\.json is damaged .* run lossmith compare again"):
            report_page(study)

    def test_damaged_provenance(self, study: Path) -> None:
        document = json.loads((study / "best.json").read_text(encoding="utf-8"))
        document["provenance"]["gain"] = {"known": 1}
        (study / "best.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(InputError, match=r"best\.json is damaged"):
            report_page(study)

    def test_no_study(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="holds no study"):
            write_report(tmp_path)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(InputError, match="give the path of a study"):
            report(3)  # type: ignore[arg-type]

    def test_work_that_is_done_outlives_a_page_that_cannot_be_written(
        self, study: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (study / "report.html").unlink()
        (study / "report.html").mkdir()
        assert report_beside(study) is None
        assert "report.html was not written" in caplog.text

    def test_what_the_page_lacks_ends_no_work(
        self, study: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(_: Path) -> str:
            raise KeyError("something of ours")

        monkeypatch.setattr("lossmith.report.web.page.report_page", broken)
        assert report_beside(study) is None
        assert "report.html was not written: KeyError: 'something of ours'" in caplog.text

    @pytest.mark.parametrize("name", ["nll", "temperature", "validation"])
    def test_a_network_without_a_figure(self, study: Path, name: str) -> None:
        path = study / "comparison.json"
        document = json.loads(path.read_text())
        del document["rows"][0]["runs"][0][name]
        path.write_text(json.dumps(document))
        with pytest.raises(InputError, match=rf"comparison\.json is damaged .*a network has no number for '{name}'"):
            report_page(study)

    def test_a_link_is_not_carried_along(self, study: Path, tmp_path: Path) -> None:
        """A page goes to other people; a study that somebody sent must not take files of this machine with it."""
        (tmp_path / "secret").write_text("a secret")
        (study / "study.toml").unlink()
        (study / "study.toml").symlink_to(tmp_path / "secret")
        text = report_page(study)
        assert "best.json" in text
        assert base64.b64encode(b"a secret").decode() not in text

    def test_a_generation_that_cannot_be(self, study: Path) -> None:
        """An array of generations is drawn, which a large number would fill the memory with."""
        with Store(study) as store:
            row = store.candidates()[-1]
            store.add_candidates([{**row, "generation": 2**32}])
        with pytest.raises(InputError, match=r"study\.db is damaged \(candidate \d+ of generation 4294967296"):
            report_page(study)

    @pytest.mark.parametrize(
        "change",
        [
            {"samples": {}},
            {"samples": [1, 2]},
            {"samples": {"fgsm": "9"}},
            {"name": 5},
            {"name": None},
            {"epsilons": [1, 2]},
        ],
    )
    def test_an_attack_of_another_form(self, study: Path, change: dict[str, Any]) -> None:
        with Store(study) as store:
            store.add_record("attack 0", "plain", attacked("plain").to_json(), 0.1)
            store.add_record("attack 0", "mine", {**attacked("mine").to_json(), **change}, 0.1)
        with pytest.raises(InputError, match="what it holds of an attack cannot be read"):
            report_page(study)

    def test_a_damaged_attack(self, study: Path) -> None:
        with Store(study) as store:
            store.add_record("attack 0", "mine", {"name": "mine"}, 0.1)
        with pytest.raises(InputError, match="what it holds of an attack cannot be read"):
            report_page(study)

    def test_many_candidates_are_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place, read = tmp_path / "study", list[int]()
        search: dict[str, Any] = {"space": "expression", "engine": "genetic", "population": 6, "generations": 2}
        with Study(place, 3, **search) as study:
            study.optimize(lambda loss: -float(len(loss.formula())))
        for one, name in ((Store, "candidates"), (summary, "formulas_of")):
            monkeypatch.setattr(one, name, counted(getattr(one, name), read))
        report_page(place)
        assert len(read) == 2

    def test_of_a_search_over_formulas(self, tmp_path: Path) -> None:
        place = tmp_path / "study"
        search: dict[str, Any] = {"space": "expression", "engine": "genetic", "population": 6, "generations": 2}
        with Study(place, 3, **search) as study:
            study.optimize(lambda loss: -float(len(loss.formula())))
            texts = [study.loss_of(row).formula() for row in study.candidates()]
        page = report_page(place)
        assert "Formulas that were better than all before" in Elements(page).text
        (embedded,) = re.findall(r'id="data-search">(.*?)</script>', page)
        assert list(json.loads(embedded)["candidates"]["texts"].values()) == texts

    def test_losses_of_a_space_of_other_kinds(self, tmp_path: Path) -> None:
        place = tmp_path / "study"
        with Study(place, 3, space="residual-schedule", population=4, generations=1) as study:
            study.optimize(lambda _: 0.5)
            texts = [study.loss_of(row).formula() for row in study.candidates()]
        (embedded,) = re.findall(r'id="data-search">(.*?)</script>', report_page(place))
        assert list(json.loads(embedded)["candidates"]["texts"].values()) == texts

    def test_every_space_and_engine_is_explained(self) -> None:
        assert set(glosses.SPACES) == {name for name, _ in SPACES.items()}
        assert set(glosses.ENGINES) == {name for name, _ in SEARCH_ENGINES.items()}
        assert set(glosses.TRAININGS) == {"population", *ENGINES}

    def test_no_place(self, study: Path) -> None:
        (study / "report.html").unlink()
        (study / "report.html").mkdir()
        with pytest.raises(InputError, match=r"report\.html cannot be written"):
            write_report(study)

    def test_every_curve_is_that_of_its_setting(self, study: Path) -> None:
        found = findings(study)
        assert found.comparison is not None
        assert {curve.name for curve in found.curves} == {row.name for row in found.comparison.rows}
        for curve in found.curves:
            row = found.comparison.row(curve.name)
            assert curve.stop == row.stop
            assert row.stop is not None
            assert row.tuning is not None
            assert len(curve.fitness) >= row.stop

    def test_attacks_are_shown_with_their_signs(self, study: Path) -> None:
        found = replace(findings(study), attacks=[[attacked("plain", 0.0), attacked(HOSTILE, 0.5)]])
        page = Elements(page_of(found))
        assert "robustness" in page.ids
        assert "signs of gradient masking: zero gradients (ε = 0.1)" in page.text
        assert "plain: nothing was run that could show gradient masking" in page.text
        assert "2 networks diverged" in page.text
        assert "An earlier attack" not in page.text
        assert "img" not in [tag for tag, _ in page.tags]
        # What was attacked before is there, too, folded.
        again = Elements(page_of(replace(found, attacks=[*found.attacks, [attacked("old", 0.5)]])))
        assert "An earlier attack: FGSM; ε = 0, 0.1; 2 networks of each loss, 9 images" in again.text
        assert "old: signs of gradient masking" in again.text
        folds = [tag for tag, _ in again.tags].count("details") - [tag for tag, _ in page.tags].count("details")
        assert folds == 1

    def test_every_attack_of_a_study_is_found(self, study: Path) -> None:
        with Store(study) as store:
            for number, name in enumerate(("first", "second")):
                store.add_record(f"attack {number}", name, attacked(name).to_json(), 0.1)
            store.add_record("attack 0", "again", attacked("again").to_json(), 0.1)
        assert [[one.name for one in some] for some in findings(study).attacks] == [["first", "again"], ["second"]]
        assert Elements(report_page(study)).text.count("An earlier attack") == 1

    @pytest.mark.parametrize(
        "values",
        [(1e308, -1e308, 0.0), (1e-320, 2e-320, 0.0), (None,) * 3, (1e300,) * 3, (0.5, 0.5 + 1e-16, 0.5)],
    )
    def test_figures_beyond_any_scale(self, study: Path, values: tuple[float | None, ...]) -> None:
        found = findings(study)
        assert found.comparison is not None
        rows = [
            replace(row, runs=[{**run, "test": one, "ece": one} for run, one in zip(row.runs, values, strict=True)])
            for row in found.comparison.rows
        ]
        fitness = [{**row, "fitness": values[number % 3]} for number, row in enumerate(found.candidates)]
        page = page_of(replace(found, comparison=replace(found.comparison, rows=rows), candidates=fitness))
        embedded = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
        assert [one for one in embedded if "NaN" in one or "Infinity" in one] == []
        assert len([json.loads(one) for one in embedded]) >= 3
        assert '="nan%"' not in page

    def test_a_loss_that_changes(self, study: Path) -> None:
        changing = lossmith.schedule([(0.0, "cross-entropy"), (1.0, "mae")])
        page = Elements(page_of(replace(findings(study), winner=changing)))
        assert "At the beginning" in page.text
        assert "At the end" in page.text
        assert "evolved, at the beginning" in page.text

    def test_the_explorer_does_without_what_cannot_be_drawn(
        self, study: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = findings(study)
        assert found.classes is not None
        for winner in (mse(), 1e150 * mse()):
            section = explorer_section(replace(found, winner=winner))
            assert section is not None
            assert len(section.data["given"]) == (winner == mse())
        assert "begins without the winner: the loss '1e+150 MSE' cannot be drawn" in caplog.text
        assert explorer_section(replace(found, classes=None)) is None

    def test_a_loss_that_is_a_formula(self, study: Path) -> None:
        formula = lossmith.expression("log(h) * exp(h * y)")
        page = Elements(page_of(replace(findings(study), winner=formula)))
        assert formula.formula() in page.text


class TestVerdict:
    def judged(self, study: Path, difference: float, low: float, high: float) -> Any:
        found = findings(study)
        assert found.comparison is not None
        assert found.leading is not None
        pairs = [
            replace(pair, result=replace(pair.result, difference=difference, low=low, high=high))
            for pair in found.comparison.pairs
        ]
        origin = found.provenance.model_copy(update={"origin": None})
        return verdict(replace(found, comparison=replace(found.comparison, pairs=pairs), provenance=origin))

    @pytest.mark.parametrize(
        ("difference", "low", "high", "figure", "grade", "end"),
        [
            (0.02, 0.01, 0.03, "2.0 points better", "good", "(95 % interval of the difference +1.0 to +3.0)."),
            (-0.02, -0.03, -0.01, "2.0 points worse", "bad", "take that one."),
            (0.001, -0.01, 0.012, "no clear difference", "", ")."),
            (-0.001, -0.01, 0.008, "no clear difference", "", ")."),
        ],
    )
    def test_of_a_comparison(
        self, study: Path, difference: float, low: float, high: float, figure: str, grade: str, end: str
    ) -> None:
        one = self.judged(study, difference, low, high)
        assert figure in one.figure
        assert one.grade == grade
        assert str(one).endswith(end)
        assert str(one).startswith("On test data, the accuracy of the evolved loss is ")

    def test_one_search_is_no_more_than_one(self, study: Path) -> None:
        found = findings(study)
        origin = found.provenance.model_copy(update={"origin": None})
        note = "This comes from one search; with another seed it may end at another loss."
        assert note in page_of(replace(found, provenance=origin))
        assert note not in page_of(replace(found, winner=None))

    def test_what_lies_beyond_the_scale_is_told(self) -> None:
        """A network far below the others would press all of them together; it stands on the edge."""
        worst = np.array([90.0, 91.0, 92.0, 20.0])
        measured = {"MAE": worst, "MSE": np.array([91.0, 92.0, 93.0, 94.0])}
        scale = Scale(85.0, 95.0)
        assert _beyond(measured, scale) == " On the edge, since they lie beyond the scale: 1 of MAE."
        assert _beyond({"MSE": measured["MSE"]}, scale) == ""

    def test_without_a_clear_difference_the_known_loss_does(self, study: Path) -> None:
        found = findings(study)
        assert found.comparison is not None
        note = "the known loss is as good: take it"
        origin = found.provenance.model_copy(update={"origin": None})
        for low, high, said in ((-0.01, 0.02, True), (0.01, 0.02, False), (-0.02, -0.01, False)):
            pairs = [replace(pair, result=replace(pair.result, low=low, high=high)) for pair in found.comparison.pairs]
            page = page_of(replace(found, comparison=replace(found.comparison, pairs=pairs), provenance=origin))
            assert (note in page) is said

    def test_failures_do_not_press_the_front_together(self) -> None:
        rng = np.random.default_rng(0)
        every = np.concatenate([rng.uniform(49, 51, (50, 2)), [[5.0, 50.0], [50.0, 900.0], [np.nan, 50.0]]])
        drawn, beyond = _within(every, np.array([[50.0, 50.0]]))
        assert beyond == 3
        assert np.array_equal(drawn, every[:50])
        assert _within(np.full((3, 2), np.nan), every[:1])[1] == 3
        # What must be seen is within the scale, wherever it lies.
        assert _within(every, np.array([[5.0, 900.0]]))[1] == 1

    def test_less_is_better(self, study: Path) -> None:
        found = findings(study)
        assert found.comparison is not None
        deciding = replace(found.comparison.deciding, name="expected-cost", higher_is_better=False, share=False)
        pairs = [
            replace(one, result=replace(one.result, difference=-2.0, low=-3.0, high=-1.0))
            for one in found.comparison.pairs
        ]
        rows = [
            replace(row, runs=[{**run, "test objective": run["test"], "validation objective": 0.5} for run in row.runs])
            for row in found.comparison.rows
        ]
        comparison = replace(found.comparison, deciding=deciding, pairs=pairs, rows=rows)
        origin = found.provenance.model_copy(update={"origin": None})
        one = verdict(replace(found, comparison=comparison, provenance=origin))
        assert (one.figure, one.grade) == ("2.0000 better", "good")

    def test_without_a_comparison(self, study: Path) -> None:
        (study / "comparison.json").unlink()
        found = findings(study)
        ahead = {"known": "MSE", "mean": 0.01, "error": 0.002, "clear": True}
        origin = {"kind": "candidate"}
        made = type(found.provenance).model_validate({"gain": ahead, "origin": origin})
        assert str(verdict(replace(found, provenance=made))) == (
            "On the validation data that both were chosen on, the evolved loss is +1.0 points ahead of the best "
            "known loss, MSE, in accuracy (+0.6 to +1.4 within two standard errors)."
        )
        made = type(found.provenance).model_validate({"gain": {**ahead, "mean": -0.01}, "origin": {"kind": "baseline"}})
        assert "nothing better than a known loss" in str(verdict(replace(found, provenance=made)))
        assert "Not compared on test data yet: lossmith compare" in Elements(page_of(found)).text

    @pytest.mark.parametrize(
        ("error", "plain", "warned"), [(0.7, 0.03, True), (0.7, 0.4, False), (0.04, 0.01, False), (0.06, 0.01, True)]
    )
    def test_a_winner_whose_probabilities_are_wrong(
        self, study: Path, error: float, plain: float, warned: bool
    ) -> None:
        found = findings(study)
        assert found.comparison is not None
        errors = {found.leading: error, "cross-entropy": plain}
        rows = [
            replace(row, runs=[{**run, "ece": errors.get(row.name, 0.9)} for run in row.runs])
            for row in found.comparison.rows
        ]
        changed = replace(found, comparison=replace(found.comparison, rows=rows))
        page = Elements(page_of(changed)).text
        # In the verdict, and with the calibration itself.
        assert page.count("fits on validation data") == 2 * warned
        assert (f"{100 * error:.1f}\u00a0%, with cross-entropy {100 * plain:.1f}\u00a0%" in page) is warned

    def test_a_known_loss_that_won(self, study: Path) -> None:
        found = findings(study)
        made = type(found.provenance).model_validate({"origin": {"kind": "baseline"}})
        assert found.comparison is not None
        assert found.leading is not None
        column = found.comparison.deciding.column("validation")
        for lead, said in ((0.1, False), (-0.1, True)):
            # The winner, which a known loss that was tuned further beats or does not.
            best = found.comparison.row(found.comparison.best_baseline).mean(column)
            rows = [
                replace(row, runs=[{**run, column: best + lead} for run in row.runs])
                if row.name == found.leading
                else row
                for row in found.comparison.rows
            ]
            told = str(verdict(replace(found, provenance=made, comparison=replace(found.comparison, rows=rows))))
            assert "nothing better than a known loss" in told
            assert told.endswith("take that one.") is said


@pytest.fixture
def served(study: Path) -> Iterator[Served]:
    with Served(study) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(server: Served, path: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    content = answer.status, answer.headers, answer.read().decode()
    connection.close()
    return content


class TestServed:
    def test_this_page_and_nothing_else(self, served: Served, study: Path) -> None:
        status, headers, text = asked(served)
        assert status == 200
        assert text == report_page(study)
        assert headers["Refresh"] == "5"  # it may be compared again
        assert asked(served, "/report.html")[2] == text
        assert asked(served, method="HEAD")[2] == ""
        for path in ("/best.json", "/../best.json", "//etc/passwd", "/report.html/..", "/?x"):
            assert asked(served, path)[0] == 404
        assert asked(served, method="POST")[0] == 501
        assert served.server_address[0] == "127.0.0.1"

    def test_nobody_from_elsewhere(self, served: Served) -> None:
        assert asked(served, host=f"localhost:{served.server_port}")[0] == 200
        for host in ("evil.example", f"evil.example:{served.server_port}", "127.0.0.1"):
            status, _, text = asked(served, host=host)
            assert status == 403
            assert "lossmith" not in text

    def test_a_running_study_comes_again(self, served: Served, study: Path) -> None:
        shutil.rmtree(study)
        with Study(study, 3, population=3, generations=2) as running:
            candidate = running.ask()
            assert candidate is not None
            running.tell(candidate, 0.5)
            _, headers, text = asked(served)
            assert headers["Refresh"] == "5"
            assert "so far is" in text
            assert "The search tried 1 loss in 1 generation, drawn around the best ones so far by CMA-ES." in text
            candidate = running.ask()
            assert candidate is not None
            running.tell(candidate, 0.625)
            assert "0.6250" in asked(served)[2]

    def test_a_study_that_is_gone_comes_again(self, served: Served, study: Path) -> None:
        (study / "study.db").unlink()
        status, headers, text = asked(served)
        assert (status, headers["Refresh"]) == (200, "5")
        assert "holds no study" in html.unescape(text)

    def test_a_port_that_cannot_be(self, served: Served, study: Path) -> None:
        for port in (served.server_port, -1, 2**17):
            with pytest.raises(InputError, match=f"the port {port} cannot be listened on"):
                Served(study, port)


class TestCommand:
    def refused(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["report", *words])
        assert end.value.code == 2
        return capsys.readouterr().err

    def test_it_says_where(self, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (study / "report.html").unlink()
        main(["report", str(study)])
        assert capsys.readouterr().out == f"Report: {study / 'report.html'}\n"
        assert (study / "report.html").exists()

    def test_bad_input(self, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "holds no study" in self.refused(capsys, "nowhere")
        assert "--port has no effect here" in self.refused(capsys, str(study), "--port", "8000")
        assert "cannot be listened on" in self.refused(capsys, str(study), "--watch", "--port", "-1")

    def test_watching_ends_by_an_interrupt(
        self, study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Served, "serve_forever", interrupted)
        with pytest.raises(SystemExit) as end:
            main(["report", str(study), "--watch"])
        assert end.value.code == 130
        out, err = capsys.readouterr()
        assert re.fullmatch(r"The report of .*: http://127\.0\.0\.1:\d+/ \(until Ctrl-C\)\n", out)
        assert "the page is not served any more" in err
