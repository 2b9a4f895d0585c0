"""What objects show in a notebook: formulas as LaTeX, figures as tables, and no markup of other people."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from lossmith import Loss, Result, Study, cross_entropy, evolve, gce
from lossmith.analysis import Comparison
from lossmith.cli import CompareProgress
from lossmith.cli.console import Plain
from lossmith.losses import CATALOG, find
from lossmith.markup import element, escaped, named_rows

HOSTILE = "<script>alert(1)</script>"


def in_a_notebook(self: Plain, **settings: Any) -> None:
    Console.__init__(self, force_jupyter=True, **settings)


class Parsed(HTMLParser):
    """The tags that a text opens and closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def parsed(text: str | None) -> Parsed:
    assert text is not None
    found = Parsed(text)
    assert not found.open
    assert "script" not in found.seen
    return found


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(60, 4, generator=generator), torch.arange(60) % 3
    return evolve(
        "mlp",
        (inputs, labels),
        out=tmp_path_factory.mktemp("notebook") / "study",
        population=4,
        generations=1,
        epochs=1,
        finalists=1,
        finalist_seeds=2,
        tune=False,
        quiet=True,
    )


class TestLoss:
    @pytest.mark.parametrize("name", sorted(CATALOG))
    def test_every_named_loss(self, name: str) -> None:
        """A formula between dollars, or nothing: IPython then shows the text."""
        loss = find(name, 10)
        shown = loss._repr_latex_()
        assert shown is None or re.fullmatch(r"\$\\displaystyle .+\$", shown)
        assert loss._repr_html_() is None

    def test_cross_entropy(self) -> None:
        assert cross_entropy()._repr_latex_() == r"$\displaystyle L = -\sum_k y_k \log h_k$"

    def test_a_population_is_a_table(self) -> None:
        population = Loss.stack([gce(0.03 * (1 + k)) for k in range(30)])
        assert population._repr_latex_() is None
        found = parsed(population._repr_html_())
        assert found.seen.count("tr") == 20
        assert "a population of 30, the first 20" in found.words
        assert gce(0.03).formula() in found.words

    def test_a_hostile_name(self) -> None:
        population = replace(Loss.stack([cross_entropy()] * 2), name=HOSTILE)
        assert HOSTILE in parsed(population._repr_html_()).words


class TestResult:
    def test_a_result(self, result: Result) -> None:
        found = parsed(result._repr_html_())
        assert result.loss.formula() in found.words
        assert str(result.directory) in found.words
        mean = result.provenance["validation"]["mean"]
        assert f"{mean:.4f}" in found.words
        assert f"validation accuracy {mean:.4f}" in repr(result)
        assert result._repr_latex_() == result.loss._repr_latex_()

    def test_a_hostile_name(self, result: Result) -> None:
        named = replace(result, loss=replace(result.loss, name=HOSTILE))  # type: ignore[type-var]
        assert HOSTILE in parsed(named._repr_html_()).words

    def test_a_comparison(self, result: Result) -> None:
        comparison: Comparison = result.compare(["cross-entropy"], seeds=2, effort="quick", quiet=True)
        found = parsed(comparison._repr_html_())
        assert found.seen.count("tr") == 1 + len(comparison.rows)
        for line in repr(comparison).splitlines():
            for cell in re.split(r"\s{2,}|─+", line):
                assert cell.strip() in found.words


class TestStudy:
    def test_before_and_after_candidates(self, tmp_path: Path) -> None:
        with Study(tmp_path / HOSTILE.replace("/", ""), classes=10, population=4, generations=2) as study:
            assert "best" not in parsed(study._repr_html_()).words
            while (candidate := study.ask()) is not None and candidate.generation == 0:
                study.tell(candidate, fitness=-sum(x * x for x in candidate.genome))
            found = parsed(study._repr_html_())
            assert "1 of 2, with 4 candidates each" in found.words
            assert study.best_loss.formula() in found.words
            assert "<script>" in found.words

    def test_of_an_evolve(self, result: Result) -> None:
        with Study.load(result.directory, readonly=True) as study:
            found = parsed(study._repr_html_())
        assert "best validation accuracy" in found.words


class TestProgress:
    def test_one_output_is_written_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown: list[str] = []

        class Handle:
            def update(self, made: str) -> None:
                shown.append(f"anew {made}")

        def display(made: str, display_id: bool) -> Handle:
            assert display_id
            shown.append(made)
            return Handle()

        fake = SimpleNamespace(HTML=str, display=display)
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=fake))
        monkeypatch.setitem(sys.modules, "IPython.display", fake)
        monkeypatch.setattr(Plain, "__init__", in_a_notebook)
        with CompareProgress(quiet=False) as bar:
            bar.report(HOSTILE, 0.25)
            bar.report(HOSTILE, 0.26)
            bar.report("final", 1.0)
        assert [line.startswith("anew ") for line in shown] == [False, True]
        assert HOSTILE in parsed(shown[0]).words
        assert re.search(r" 25 %, 0:00:\d\d, 0:00:\d\d left  ", parsed(shown[0]).words)
        assert "100 %" in parsed(shown[1]).words

    def test_quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Plain, "__init__", in_a_notebook)
        monkeypatch.setitem(sys.modules, "IPython.display", None)
        with CompareProgress(quiet=True) as bar:
            bar.report("final", 1.0)


class TestMarkup:
    def test_only_elements_are_markup(self) -> None:
        assert element("p", HOSTILE, ["a", None, element("b", 1)], title='"', hidden=True, id=None) == (
            '<p title="&quot;" hidden>&lt;script&gt;alert(1)&lt;/script&gt;a<b>1</b></p>'
        )

    def test_no_text_controls_its_reader(self) -> None:
        assert "\x1b" not in escaped("\x1b[31m")

    def test_named_rows(self) -> None:
        found = parsed(named_rows("<b>", [("a", "<i>"), ("b", element("code", "x"))]))
        assert found.seen == ["table", "caption", "tbody", "tr", "th", "td", "tr", "th", "td", "code"]
