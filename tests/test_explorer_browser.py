"""The explorer in Chromium: its mathematics beside Python's, and its page as somebody uses it."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch

import lossmith
from lossmith.errors import InputError
from lossmith.losses import (
    CATALOG,
    Expression,
    Forward,
    Loss,
    PowerLoss,
    Sum,
    baikal,
    cross_entropy,
    find,
    mae,
    mnist,
    mse,
    polynomial,
    save,
    schedule,
    taylor,
)
from lossmith.losses.expressions import OPERATORS
from lossmith.report import explorer, plain_words, write_explorer
from lossmith.report.web.document import Section, asset, document
from lossmith.report.web.explorer import COMPUTED
from lossmith.report.web.explorer import OPERATORS as KNOWN
from lossmith.search import residual
from lossmith.theory import (
    attraction,
    bias_growth,
    explain,
    logit_steps,
    margin,
    null_epoch,
    regime,
    symmetric_values,
    zero_error_limits,
    zones,
)

pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.integration

EXTREMES = [1e-30, 1e-15, 1e-9, 1e-4, 0.01, 0.99, 0.9999, 1 - 1e-9, 1 - 1e-14]
FORMULAS = (
    "expr:exp(tanh(h))*y - square(h-y)/(0.1+h)",
    "expr:y*log(h) + tanh(3*h)*y - sqrt(1-h)",
    "expr:y*h/(log(h)-2)",
)
HOSTILE = "<script>document.title='x'</script><img src=x onerror=alert(1)>\u202e"

HEAD: dict[str, Any] = {"format": "lossmith.loss", "version": 2, "name": "l", "classes": None}
POWER = {**HEAD, "kind": "power", "terms": [[0, 1, 1]], "coefficients": [1.0]}
LINK: dict[str, Any] = {
    **{"source": "named", "name": "focal", "numbers": [3], "classes": 5, "smoothing": 0},
    **{"against": "cross-entropy", "at": 0.5},
}
DEEP = POWER
for _ in range(20):
    DEEP = {**HEAD, "kind": "clipped", "base": DEEP, "threshold": 1.0}


@pytest.fixture(scope="module")
def mathematics(browser: Any) -> Any:
    """A page that has the mathematics and nothing else."""
    page = browser.new_page()
    for name in ("losses.js", "documents.js", "smoothing.js", "words.js"):
        page.add_script_tag(content=asset(name))
    return page


class Page:
    """The explorer as somebody sees it; whatever it complains of or asks the network for is kept."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, scheme: str = "light", mark: str = "") -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda said: self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda one: self.wrong.extend([] if one.url.startswith("file:") else [one.url]))
        self.page.goto(path.absolute().as_uri() + mark)
        self.page.wait_for_selector("#explorer-facts dt")
        self.settle()

    def settle(self) -> None:
        """Wait until what was changed is drawn, the zones included."""
        self.page.evaluate("() => new Promise((done) => setTimeout(done, 20))")
        self.page.wait_for_selector(".explorer[aria-busy=false]")

    def text(self, name: str) -> str:
        found: str = self.page.locator(f"#explorer-{name}").inner_text()
        return found

    def entry(self) -> str:
        """What the menu of losses says."""
        found: str = self.page.locator("#explorer-loss option:checked").inner_text()
        return found

    def fact(self, term: str) -> str:
        found: str = self.page.locator(f"#explorer-facts dt:text-is('{term}') + dd").inner_text()
        said, gloss = found.split("\n")
        assert len(gloss.split()) > 5
        return said

    def curve(self, chart: int = 0) -> str:
        """The line of the loss in a chart."""
        found = self.page.locator(".explorer figure svg").nth(chart).locator("path.line").last
        path: str = found.get_attribute("d")
        return path

    def fill(self, name: str, value: object) -> None:
        self.page.fill(f"#explorer-{name}", str(value))
        self.settle()

    def choose(self, value: str, name: str = "loss") -> None:
        self.page.select_option(f"#explorer-{name}", value)
        self.settle()

    def by(self, source: str) -> None:
        """Change the loss by other numbers."""
        self.page.check(f"[name=explorer-source][value={source}]")
        self.settle()

    def python(self) -> Loss:
        """What the code on the page gives in Python."""
        namespace: dict[str, Any] = {}
        exec(self.page.locator("#explorer-python").input_value(), namespace)  # noqa: S102
        assert isinstance(namespace["criterion"], lossmith.Criterion)
        loss: Loss = namespace["loss"]
        return loss

    def python_of_given(self) -> Loss:
        """The same for a loss that Python drew."""
        namespace: dict[str, Any] = {}
        exec(self.page.locator("#explorer-python").input_value(), namespace)  # noqa: S102
        loss: Loss = namespace["loss"]
        return loss

    def fine(self) -> None:
        assert self.wrong == []
        self.page.context.close()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Page]:
    opened = Page(browser, write_explorer([], tmp_path / "page.html"))
    yield opened
    opened.fine()


def losses_of(classes: int) -> list[Loss]:
    """Every named loss, random polynomials, and kinds within kinds."""
    rows = np.random.default_rng(classes).normal(0, 2, (10, 8))
    found = [entry.build(None, classes) for _, entry in CATALOG.items()]
    found += [taylor(row.tolist()) for row in rows]
    found += [residual(torch.tensor(row[:5]), classes) for row in rows]
    found += [find(text, classes) for text in ("focal:0.5", "focal:5", "focal:30", "gce:0.1", "logit-clip:0.5")]
    found += [find(text, classes) for text in FORMULAS]
    found += [Sum((mae(), find("agce", classes)), torch.tensor([1.0, 2.0])), baikal().smoothed(0.2, classes)]
    return [one.simplest() for one in found]


def close(found: Any, wanted: Any, size: Any = 0.0) -> None:
    """Equal to nine digits, or to rounding of what they are sums of."""
    found, wanted = (np.asarray(one, dtype=float) for one in (found, wanted))
    assert found.shape == wanted.shape
    with np.errstate(invalid="ignore"):
        near = np.abs(found - wanted) <= 1e-9 * np.abs(wanted) + 1e-13 * np.asarray(size)
    same = (found == wanted) | (near & np.isfinite(wanted))
    assert same.all(), (found[~same], wanted[~same])


CURVES = """([documents, epsilon, n]) => documents.map((document) => {
  const it = LOSSES.model(DOCUMENTS.checked(document)), steps = epsilon.map((e) => LOSSES.steps(it, e, n));
  const strength = (form) => epsilon.map((e) => LOSSES.attraction(it, e, n, form));
  return {
    b: steps.map((one) => one[0]), a: steps.map((one) => one[1]), size: steps.map((one) => one[2]),
    exact: strength("exact"), published: it.sums ? strength("published") : null,
    value: epsilon.map((e) => LOSSES.value(it, e, n)), sums: Boolean(it.sums),
    margin: LOSSES.margin(it, n), null: LOSSES.nullEpoch(it, n), growth: LOSSES.biasGrowth(it, n),
    end: LOSSES.zeroError(it),
  };
})"""


class TestMathematics:
    """The JavaScript beside Python, at outputs from nearly 0 to nearly 1."""

    @pytest.mark.parametrize("classes", [2, 3, 10, 1000, 10**6])
    def test_curves(self, mathematics: Any, classes: int) -> None:
        losses = [one for one in losses_of(classes) if one.sums_over_classes or classes <= 1000]
        epsilon = torch.tensor([*EXTREMES, *np.random.default_rng(0).uniform(0.001, 0.999, 40)], dtype=torch.float64)
        found = mathematics.evaluate(CURVES, [[one.to_json() for one in losses], epsilon.tolist(), classes])
        for loss, got in zip(losses, found, strict=True):
            size = np.array(got["size"])
            b, a = logit_steps(loss, epsilon, classes)
            close(got["a"], a, size)
            close(got["b"], b, size)
            room = 10 * size * torch.minimum(epsilon, 1 - epsilon).numpy()
            close(got["exact"], attraction(loss, epsilon, classes), room)
            assert got["sums"] == loss.sums_over_classes
            if loss.sums_over_classes:
                close(got["published"], attraction(loss, epsilon, classes, "published"), 10 * size)
            value = symmetric_values(loss, epsilon, classes)
            close(got["value"], value, value.abs().max() + 1)

    @pytest.mark.parametrize("classes", [2, 3, 10, 1000])
    def test_the_null_epoch_and_zero_error(self, mathematics: Any, classes: int) -> None:
        losses = losses_of(classes)
        found = mathematics.evaluate(CURVES, [[one.to_json() for one in losses], [0.5], classes])
        for loss, got in zip(losses, found, strict=True):
            close(got["margin"], margin(loss, classes), classes)
            close(got["null"], torch.stack(null_epoch(loss, classes)), classes)
            if not isinstance(loss, PowerLoss):
                assert got["end"] is None
                continue
            # Thirty-one terms that cancel: of those Python keeps as few digits.
            if loss.name != "focal 30":
                close(np.nan_to_num(got["growth"], nan=-1e9), bias_growth(loss, classes).nan_to_num(-1e9), 10)
            other, target = zero_error_limits(loss)
            close([got["end"]["other"], got["end"]["target"]], torch.stack([other, target]), 1e4)
            assert got["end"]["sign"] == regime(loss)

    @pytest.mark.parametrize("classes", [2, 10, 1000])
    def test_zones(self, mathematics: Any, classes: int) -> None:
        losses = losses_of(classes)
        program = """([documents, n]) => documents.map((document) => {
          const it = LOSSES.model(DOCUMENTS.checked(document));
          return (it.sums ? ["exact", "published"] : ["exact"]).map((form) => LOSSES.zones(it, n, form));
        })"""
        found = mathematics.evaluate(program, [[one.to_json() for one in losses], classes])
        signs = 0
        for loss, got in zip(losses, found, strict=True):
            for form, intervals in zip(("exact", "published"), got, strict=False):
                wanted = zones(loss, classes, form)  # type: ignore[arg-type]
                assert [one["sign"] for one in intervals] == [one.sign for one in wanted], (loss.name, form)
                close([one["low"] for one in intervals], [one.low for one in wanted], 1)
                signs += len(wanted)
        assert signs > 100

    @pytest.mark.parametrize("classes", [2, 10, 1000])
    def test_words(self, mathematics: Any, classes: int) -> None:
        """The sentences of the page are those of a report, each number included."""
        losses = losses_of(classes)
        losses += [one.smoothed(0.2, classes) for one in (mse(), cross_entropy(), mnist())]
        program = """([documents, classes]) => documents.map((document) => {
          const loss = DOCUMENTS.checked(document), it = LOSSES.model(loss), margin = LOSSES.margin(it, classes);
          return WORDS.sentences({ loss, it, classes, margin }, LOSSES.zones(it, classes, "exact"));
        })"""
        found = mathematics.evaluate(program, [[one.to_json() for one in losses], classes])
        for loss, got in zip(losses, found, strict=True):
            assert got == plain_words(loss, explain(loss, classes)), loss.name
        assert len({sentence for got in found for sentence in got}) > 20

    def test_it_knows_every_kind_that_is_sent_to_it(self, mathematics: Any) -> None:
        assert set(mathematics.evaluate("[...LOSSES.kinds]")) == COMPUTED
        assert set(mathematics.evaluate("Object.keys(LOSSES.OPERATORS)")) == KNOWN == set(OPERATORS)

    @pytest.mark.parametrize("classes", [2, 10, 100])
    def test_named_losses(self, mathematics: Any, classes: int) -> None:
        """Each is built for any numbers as Python builds it."""
        built = mathematics.evaluate("Object.keys(DOCUMENTS.NAMED)")
        assert set(built) == {name for name, entry in CATALOG.items() if entry.parameters}
        epsilon = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
        for name in built:
            entry = CATALOG[name]
            usual = [one.default for one in entry.parameters]
            for numbers in (usual, [0.9 * one for one in usual], [1.01 * one for one in usual]):
                program = "([name, numbers, n]) => DOCUMENTS.documentOf(DOCUMENTS.NAMED[name][1](numbers, n))"
                got = Loss.from_json(mathematics.evaluate(program, [name, numbers, classes]))
                wanted = find(":".join([name, *map(repr, numbers)]), classes)
                assert (got.kind, got.classes) == (wanted.kind, wanted.classes)
                torch.testing.assert_close(
                    logit_steps(got, epsilon, classes)[1], logit_steps(wanted, epsilon, classes)[1], rtol=1e-12, atol=0
                )

    def test_losses_by_numbers(self, mathematics: Any) -> None:
        epsilon = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
        program = "([how, numbers, n]) => DOCUMENTS.documentOf(DOCUMENTS.BY_NUMBERS[how].build(numbers, n))"
        for row in np.random.default_rng(0).normal(0, 2, (20, 8)).tolist():
            acting = dict(zip(("ch", "chh", "chy", "cy"), row, strict=False))
            for how, numbers, wanted in (
                ("lambda", row, taylor(row)),
                ("acting", row[:4], polynomial(**acting)),
                ("residual", row[:5], residual(torch.tensor(row[:5], dtype=torch.float64), 7)),
            ):
                got = Loss.from_json(mathematics.evaluate(program, [how, numbers, 7]))
                assert got.classes == wanted.classes
                torch.testing.assert_close(
                    logit_steps(got, epsilon, 7)[1], logit_steps(wanted, epsilon, 7)[1], rtol=1e-9, atol=1e-12
                )

    def test_numbers_of_a_loss(self, mathematics: Any) -> None:
        """A loss that has a place among some numbers is built by them again, but for what reaches no gradient."""
        program = """([document, how, n]) => {
          const by = DOCUMENTS.BY_NUMBERS[how], place = by.place(DOCUMENTS.checked(document), n);
          return place && DOCUMENTS.documentOf(by.build(place, n));
        }"""
        epsilon = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
        places = {"lambda": (mse(), mnist(), mae()), "acting": (mse(), mnist(), mae())}
        for how, held in {**places, "residual": (cross_entropy(), find("noise-robust:0.3", 10))}.items():
            for loss in held:
                got = Loss.from_json(mathematics.evaluate(program, [loss.to_json(), how, 10]))
                torch.testing.assert_close(
                    logit_steps(got, epsilon, 10)[1], logit_steps(loss, epsilon, 10)[1], rtol=1e-9, atol=1e-11
                )
        for how in ("lambda", "acting"):
            assert mathematics.evaluate(program, [cross_entropy().to_json(), how, 10]) is None
        assert mathematics.evaluate(program, [mse().to_json(), "residual", 10]) is None

    @pytest.mark.parametrize("alpha", [0.05, 0.3, 0.99])
    def test_smoothing(self, mathematics: Any, alpha: float) -> None:
        program = (
            "([document, alpha]) => DOCUMENTS.documentOf(DOCUMENTS.smoothed(DOCUMENTS.checked(document), alpha, 10))"
        )
        for loss in (cross_entropy(), mse(), baikal(), mnist()):
            wanted = loss.smoothed(alpha, 10)
            got = Loss.from_json(mathematics.evaluate(program, [loss.to_json(), alpha]))
            assert isinstance(got, PowerLoss)
            assert got.terms == wanted.terms
            torch.testing.assert_close(got.coefficients, wanted.coefficients, rtol=1e-12, atol=1e-12)
            assert got.classes == wanted.classes == 10


class TestPage:
    """What somebody does with it."""

    def test_it_begins_with_cross_entropy(self, page: Page) -> None:
        assert "It pulls as cross-entropy does." in page.text("words")
        assert page.fact("Margin at the start, m") == "10 (cross-entropy: 10)"
        assert page.fact("Pull and push over h_T, exact") == "pulls from 0 to 1"
        assert page.python() == cross_entropy()

    def test_every_named_loss(self, page: Page) -> None:
        for name in CATALOG:
            loss = find(name, 10)
            page.choose(f"named:{name}")
            assert page.fact("Gain, m/n") == f"{margin(loss, 10).item() / 10:.4g}".replace("-", "−")
            assert page.python() == loss
            assert page.text("message") == ""

    def test_sliders_move_curves_and_words(self, page: Page) -> None:
        page.by("residual")
        before, words = page.curve(), page.text("words")
        slider = page.page.locator("#explorer-number-1-slider")
        slider.focus()
        for _ in range(60):
            page.page.keyboard.press("ArrowRight")
        page.settle()
        moved = float(page.page.locator("#explorer-number-1").input_value())
        assert moved > 0.5
        assert page.curve() != before
        assert page.text("words") != words
        wanted = residual(torch.tensor([0, moved, 0, 0, 0], dtype=torch.float64), 10)
        assert page.python() == wanted
        assert page.fact("Gain, m/n") == f"{margin(wanted, 10).item() / 10:.4g}"

    def test_classes_and_smoothing(self, page: Page) -> None:
        for classes in (2, 3, 1000, 10**6):
            page.fill("classes", classes)
            assert page.fact("Margin at the start, m") == f"{classes} (cross-entropy: {classes})"
        page.fill("classes", 10)
        page.fill("smoothing", 0.1)
        assert page.python() == cross_entropy().smoothed(0.1, 10)
        assert page.fact("Gain, m/n") == "0.9"
        assert "it pushes it down again" in page.text("words")
        assert "label smoothing, α = 0.1" in page.text("words")
        page.choose("named:nce")
        assert page.page.locator("#explorer-smoothing").is_disabled()

    def test_the_taylor_coefficients(self, page: Page) -> None:
        page.choose("named:paper/mnist")
        page.by("lambda")
        assert page.fact("Gain, m/n") == f"{margin(mnist(), 10).item() / 10:.4g}"
        assert "fails" in page.fact("Trainability invariant")
        assert page.python() == mnist()
        lam = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7]
        page.fill("number-7", 7)
        assert page.python() == taylor(lam)
        (repels,) = (zone for zone in zones(taylor(lam), 10) if zone.sign < 0)
        assert f"pushes from {1 - repels.high:.4g} to {1 - repels.low:.4g}" in page.fact(
            "Pull and push over h_T, exact"
        )
        assert page.page.locator(".explorer figure svg").first.locator("rect.pushes").count() == 1
        page.choose("named:taylor-ce")
        page.by("lambda")
        assert page.python() == find("taylor-ce", 10)

    def test_a_loss_that_has_no_such_numbers(self, page: Page) -> None:
        page.by("lambda")
        assert "begin at the mean squared error" in page.text("begins")
        loss = page.python()
        assert isinstance(loss, PowerLoss)
        assert loss.acting() == mse().acting()
        page.by("own")
        assert page.python() == cross_entropy()

    @pytest.mark.parametrize("source", ["residual", "acting"])
    def test_a_loss_outside_of_a_family(self, page: Page, source: str) -> None:
        """The menu says that it is shown no longer, a sentence says why, and choosing it is the way back."""
        page.choose("named:baikal")
        page.by(source)
        assert "cannot express Baikal" in page.text("begins")
        assert "Choose Baikal again" in page.text("begins")
        assert page.entry().startswith("your own (")
        assert page.python() != baikal()
        page.choose("named:baikal")
        assert page.python() == baikal()
        assert (page.text("begins"), page.entry()) == ("", "baikal – Baikal loss")
        assert page.page.locator("#explorer-loss option[value=own]").count() == 0

    @pytest.mark.parametrize(
        ("name", "source"),
        [
            ("taylor-ce", "acting"),
            ("mse", "acting"),
            ("mae", "lambda"),
            ("poly", "residual"),
            ("label-smoothing", "residual"),
        ],
    )
    def test_a_loss_within_a_family(self, page: Page, name: str, source: str) -> None:
        """The sliders begin at its own numbers; a loss that is moved away from it has an entry of its own."""
        loss = find(name, 10)
        page.choose(f"named:{name}")
        page.by(source)
        epsilon = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
        step, factor = logit_steps(loss, epsilon, 10)[1], 1.0
        if name == "label-smoothing":
            assert "divided by 0.9" in page.text("begins")
            assert page.entry().startswith("your own (")
            factor = 0.9
        else:
            assert "begin at the numbers of" in page.text("begins")
            assert page.page.locator("#explorer-loss").input_value() == f"named:{name}"
        torch.testing.assert_close(logit_steps(page.python(), epsilon, 10)[1] * factor, step, rtol=1e-9, atol=1e-11)
        page.fill("number-1", 0.75)
        assert "changed from" in page.entry()
        page.by("own")
        assert page.python() == loss

    def test_the_terms_of_a_loss_without_parameters(self, page: Page) -> None:
        page.choose("named:baikal")
        labels = page.page.locator("#explorer-numbers label").all_inner_texts()
        assert [one.split(" how")[0] for one in labels] == ["log h", "h⁻¹ y"]
        page.fill("number-1", -2)
        loss = page.python()
        assert isinstance(loss, PowerLoss)
        assert dict(zip(loss.terms, loss.coefficients.tolist(), strict=True)) == {(0, 0, 1): 1.0, (-1, 1, 0): -2.0}
        assert page.entry() == "your own (changed from Baikal)"
        page.fill("number-0", 0.5)
        assert page.entry() == "your own (changed from Baikal)"
        page.choose("named:baikal")
        assert page.python() == baikal()
        assert page.page.locator("#explorer-number-1").input_value() == "-1"

    def test_the_numbers_of_a_formula(self, browser: Any, tmp_path: Path) -> None:
        page = Page(browser, write_explorer([find(FORMULAS[1], 10)], tmp_path / "page.html"))
        assert page.text("numbers").count("c1") > 1
        page.fill("number-0", 4)
        assert page.python() == find(FORMULAS[1].replace("3*h", "4*h"), 10)
        page.choose("given:0")
        assert page.python() == find(FORMULAS[1], 10)
        page.choose("named:nce")
        assert "No single number of it can be moved" in page.text("hint")
        page.fine()

    def test_it_says_what_it_is_for_and_what_its_terms_mean(self, page: Page) -> None:
        assert "Pick a loss, compare its pull on labels" in page.page.locator("#explorer > p").inner_text()
        terms = page.page.locator("#explorer-facts dt").count()
        glosses = page.page.locator("#explorer-facts dd small").all_inner_texts()
        assert len(glosses) == terms > 5
        assert all(len(one.split()) > 5 for one in glosses)
        assert page.page.locator("option[value='named:aul']").inner_text() == "aul – Asymmetric unhinged loss"

    @pytest.mark.parametrize(
        ("loss", "field", "value", "words"),
        [
            ("gce", "number-0", 1.5, "gce takes q above 0 to 1, not 1.5"),
            ("forward", "number-0", 0.9, "share of wrong labels below"),
            ("mse", "classes", 1, "whole number from 2"),
            ("mse", "classes", "2.5", "takes a whole number"),
            ("mse", "smoothing", 1, "from 0 to below 1"),
            ("poly", "number-0", 2e30, "takes a number up to"),
        ],
    )
    def test_numbers_that_cannot_be(self, page: Page, loss: str, field: str, value: object, words: str) -> None:
        page.choose(f"named:{loss}")
        before = page.curve()
        page.fill(field, value)
        assert words in page.text("message")
        assert page.curve() == before

    def test_reading_the_curves(self, page: Page) -> None:
        page.choose("named:baikal")
        page.choose("mse", "against")
        page.fill("at-value", 0.25)
        rows = page.page.locator("#explorer-values tr").all_inner_texts()
        # Where the page computes curves, nearest to 0.25.
        epsilon = torch.tensor([1 - (0.002 + 0.996 * round((0.25 - 0.002) / 0.996 * 249) / 249)], dtype=torch.float64)
        for loss, column in ((baikal(), 1), (mse(), 2)):
            wanted = attraction(loss, epsilon, 10).item()
            assert rows[0].split("\t")[column] == f"{wanted:.4g}".replace("-", "−")
        page.page.hover(".explorer figure svg", position={"x": 300, "y": 60})
        page.settle()
        assert page.page.locator("#explorer-at-value").input_value() != "0.25"

    def test_a_link_restores_the_state(self, page: Page, browser: Any, tmp_path: Path) -> None:
        page.choose("named:smoothing-squares")
        page.fill("number-1", 3.25)
        page.fill("classes", 7)
        page.choose("mae", "against")
        page.page.click("#explorer-link")
        mark = page.page.evaluate("location.hash")
        again = Page(browser, tmp_path / "page.html", mark=mark)
        assert again.python() == page.python() == find("smoothing-squares:0.5:3.25", 7)
        assert again.text("words") == page.text("words")
        assert again.page.locator("#explorer-against").input_value() == "mae"
        again.fine()

    @pytest.mark.parametrize("source", ["residual", "acting", "lambda", "document"])
    def test_links_of_other_losses(self, page: Page, browser: Any, tmp_path: Path, source: str) -> None:
        page.choose("named:mse")
        if source == "document":
            save(find("anl:2", 10), tmp_path / "loss.json")
            page.page.set_input_files("#explorer-file", tmp_path / "loss.json")
        else:
            page.by(source)
            page.page.fill("#explorer-number-2", "0.375")
        page.settle()
        page.page.click("#explorer-link")
        again = Page(browser, tmp_path / "page.html", mark=page.page.evaluate("location.hash"))
        assert again.python() == page.python()
        assert again.curve() == page.curve()
        again.fine()

    def test_a_file_copies_what_others_can_use_of_its_address(self, page: Page) -> None:
        page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.choose("named:focal")
        page.page.click("#explorer-link")
        page.page.wait_for_selector("#explorer-copied:has-text('behind the address of any explorer page')")
        copied = page.page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("#explore=")
        assert page.page.evaluate("location.hash") == copied

    def test_copying(self, page: Page) -> None:
        page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.choose("named:focal")
        page.page.click("#explorer-copy")
        page.page.wait_for_selector("#explorer-copied:has-text('Python copied')")
        copied = page.page.evaluate("navigator.clipboard.readText()")
        assert copied == page.page.locator("#explorer-python").input_value()
        assert 'lossmith.find("focal:2", classes=10)' in copied

    def test_a_browser_that_does_not_copy(self, page: Page) -> None:
        page.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
        page.page.click("#explorer-copy")
        page.page.wait_for_selector("#explorer-copied:has-text('Ctrl+C')")
        selected = "getSelection().toString() || document.activeElement.id"
        assert page.page.evaluate(selected) in ("explorer-python", page.page.locator("#explorer-python").input_value())


class TestFiles:
    """Loss files: data, whatever they hold."""

    def opened(self, page: Page, content: Any, tmp_path: Path) -> None:
        written = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "l.json").write_text(written, encoding="utf-8")
        page.page.set_input_files("#explorer-file", tmp_path / "l.json")
        page.settle()

    def test_a_best_json(self, page: Page, tmp_path: Path) -> None:
        loss = residual(torch.tensor([0.1, 0.5, -0.2, 0.3, 0.4]), 5).named("evolved")
        save(loss, tmp_path / "best.json", provenance={"finalists": []})
        page.page.set_input_files("#explorer-file", tmp_path / "best.json")
        page.settle()
        assert page.python() == loss
        assert page.page.locator("#explorer-classes").input_value() == "5"
        page.by("residual")
        close(float(page.page.locator("#explorer-number-1").input_value()), 0.5, 1)

    def test_it_can_be_dropped(self, page: Page) -> None:
        program = """(text) => {
          const carried = new DataTransfer();
          carried.items.add(new File([text], "best.json"));
          const event = new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
          document.querySelector(".explorer-view").dispatchEvent(event);
        }"""
        page.page.evaluate(program, json.dumps(find("aul:2", 10).to_json()))
        page.settle()
        assert page.python() == find("aul:2", 10)

    @pytest.mark.parametrize("classes", [10])
    def test_every_kind(self, page: Page, tmp_path: Path, classes: int) -> None:
        for loss in losses_of(classes)[::3]:
            self.opened(page, loss.to_json(), tmp_path)
            assert page.text("message") == "", loss
            assert page.python() == loss

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{", "not a JSON file"),
            ("[]", "not a loss file"),
            ({"format": "lossmith.loss", "version": 9}, "version 9"),
            ({**POWER, "kind": "constructor"}, "no kind of loss"),
            ({**POWER, "kind": ["power"]}, "no kind of loss"),
            ({**POWER, "name": 7}, "must be a text"),
            ({**POWER, "classes": 1}, '"classes"'),
            ({**POWER, "terms": [[0, 1.5, 1]]}, '"terms"'),
            ({**POWER, "terms": [[0, 1, 1], [0, 1, 1]], "coefficients": [1, 2]}, "twice"),
            ({**POWER, "coefficients": ["1"]}, '"coefficients"'),
            ({**POWER, "coefficients": [[1.0], [2.0]]}, "population"),
            ({**POWER, "coefficients": [1e300]}, "too large to be drawn"),
            (json.dumps(POWER).replace("[1.0]", "[1e999]"), '"coefficients"'),
            ({**HEAD, "kind": "shifted-power", "shift": -1, "power": 1}, '"shift"'),
            ({**HEAD, "kind": "expression", "tree": ["__proto__", "h"]}, "no operator"),
            ({**HEAD, "kind": "expression", "tree": ["log", "y"]}, "no h"),
            ({**HEAD, "kind": "sum", "parts": [POWER], "weights": []}, '"weights"'),
            (DEEP, "nests more than"),
            (Forward(cross_entropy(), torch.eye(3)).to_json(), "lossmith explore FILE"),
        ],
    )
    def test_bad_ones(self, page: Page, tmp_path: Path, content: Any, words: str) -> None:
        self.opened(page, content, tmp_path)
        assert words in page.text("message")
        assert page.python() == cross_entropy()

    def test_a_hostile_name_stays_text(self, browser: Any, tmp_path: Path) -> None:
        loss = mse().named(HOSTILE)
        unknown = Forward(mse(), torch.eye(10)).named(HOSTILE + "</script>")
        page = Page(browser, write_explorer([loss, unknown], tmp_path / "page.html"))
        for step in ("given", "opened", "drawn by Python"):
            if step == "opened":
                self.opened(page, loss.to_json(), tmp_path)
            elif step == "drawn by Python":
                page.choose("given:1")
            assert HOSTILE.replace("\u202e", "") in page.text("words")
            assert page.page.locator(".explorer script, .explorer img").count() == 0
            assert page.page.title() != "x"
        page.choose("opened")
        assert page.python() == loss
        page.fine()


class TestLinks:
    def test_a_good_one(self, browser: Any, tmp_path: Path) -> None:
        page = self.followed(browser, tmp_path, json.dumps(LINK))
        assert page.python() == find("focal:3", 5)
        assert page.text("message") == ""
        page.page.evaluate("location.hash = '#explore=%7B'")
        page.settle()
        assert "cut or changed" in page.text("message")
        assert page.python() == find("focal:3", 5)
        page.fine()

    @pytest.mark.parametrize(
        "change",
        [
            {"source": "toString"},
            {"source": 5},
            {"name": "constructor"},
            {"name": "<img src=x>"},
            {"numbers": ["3"]},
            {"numbers": [3, 4]},
            {"numbers": [-1]},
            {"numbers": None},
            {"classes": 1},
            {"classes": "5"},
            {"smoothing": 1},
            {"at": 0},
            {"source": "lambda", "numbers": [1, 2]},
            {"source": "document", "numbers": [], "document": {"format": "lossmith.loss"}},
            {"source": "document", "numbers": [], "document": {"__proto__": POWER}},
            {"source": "sampled", "numbers": [], "index": 0},
        ],
    )
    def test_bad_ones(self, browser: Any, tmp_path: Path, change: dict[str, Any]) -> None:
        page = self.followed(browser, tmp_path, json.dumps({**LINK, **change}))
        assert page.text("message").endswith(".")
        assert page.python() == cross_entropy()
        page.fine()

    @pytest.mark.parametrize("text", ["", "{", "[]", "%E0%A4%A", "null", "x" * 30_000])
    def test_what_is_no_state(self, browser: Any, tmp_path: Path, text: str) -> None:
        page = self.followed(browser, tmp_path, text, quoted=True)
        assert "link" in page.text("message")
        assert page.python() == cross_entropy()
        page.fine()

    def followed(self, browser: Any, tmp_path: Path, text: str, quoted: bool = False) -> Page:
        mark = "#explore=" + (text if quoted else quote(text))
        return Page(browser, write_explorer([], tmp_path / "page.html"), mark=mark)


class TestLossesOfPython:
    """What the page cannot compute is drawn as Python computed it."""

    def test_a_noise_matrix(self, browser: Any, tmp_path: Path) -> None:
        matrix = 0.7 * torch.eye(4) + 0.075
        loss = Forward(cross_entropy(), matrix, name="behind noise")
        page = Page(browser, write_explorer([loss, mse()], tmp_path / "page.html", classes=4))
        assert "Python computed these curves" in page.text("hint")
        assert page.fact("Gain, m/n") == f"{margin(loss, 4).item() / 4:.4g}"
        assert page.python_of_given() == loss
        before = page.curve()
        page.fill("classes", 5)
        assert "computed for 4 classes" in page.text("message")
        assert page.curve() == before
        page.choose("given:1")
        assert page.python() == mse()
        page.fine()

    def test_a_schedule_is_its_moments(self, browser: Any, tmp_path: Path) -> None:
        changing = schedule([(0.0, mse()), (1.0, cross_entropy())])
        page = Page(browser, write_explorer([changing], tmp_path / "page.html"))
        assert page.page.locator("#explorer-loss option[value^=given]").count() == len(changing.moments()) > 1
        page.fine()

    def test_an_operator_of_ones_own(self, browser: Any, tmp_path: Path, register: Any) -> None:
        from lossmith.losses.expressions import Operator

        register(OPERATORS, "cube", Operator(1, lambda a: a**3, lambda _, a, slope: 3 * a * a * slope))
        loss = Expression((("*", "y", ("cube", "h")),), name="cubes")
        page = Page(browser, write_explorer([loss], tmp_path / "page.html"))
        assert "Python computed these curves" in page.text("hint")
        page.fine()


class TestForEverybody:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [400, 1280])
    def test_it_fits_and_axe_finds_nothing_serious(self, browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
        page = Page(browser, write_explorer([mnist().named("w" * 150)], tmp_path / "page.html"), width, scheme)
        for source in ("own", "lambda"):
            page.by(source)
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width
            found = axe.Axe().run(page.page).response["violations"]
            assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        page.fine()

    def test_a_narrow_page_has_words_then_controls_then_all_charts(self, browser: Any, tmp_path: Path) -> None:
        page = Page(browser, write_explorer([], tmp_path / "page.html"), 400)
        boxes = [page.page.locator(one).bounding_box() for one in ("#explorer-words", ".explorer-controls")]
        boxes += [page.page.locator(".explorer figure").nth(k).bounding_box() for k in range(4)]
        for above, below in pairwise(boxes):
            assert above["y"] + above["height"] <= below["y"]
        assert boxes[-1]["y"] - boxes[2]["y"] < 1000
        page.fine()

    def test_in_a_report_it_is_as_wide_as_other_sections(self, browser: Any, tmp_path: Path) -> None:
        other = Section(name="other", title="Other", html="<p>Words</p>")
        (tmp_path / "page.html").write_text(document("Report", [other, explorer([])]), encoding="utf-8")
        page = Page(browser, tmp_path / "page.html")
        wanted = page.page.locator("#other").bounding_box()
        for place in ("#explorer", ".explorer"):
            found = page.page.locator(place).bounding_box()
            assert (found["x"], found["width"]) == (wanted["x"], wanted["width"])
        page.fine()

    def test_each_control_is_reached_by_keyboard_and_has_a_name(self, page: Page) -> None:
        page.by("residual")
        program = """() => [...document.querySelectorAll(".explorer :is(input, select, textarea, button)")]
          .map((one) => [one.id || one.value,
            Boolean(one.labels?.length || one.ariaLabel || one.textContent.trim()), one.tabIndex])"""
        controls = page.page.evaluate(program)
        assert len(controls) > 20
        assert [name for name, is_named, place in controls if not is_named or place < 0] == []


def test_the_page_has_no_room_for_a_population(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="population"):
        write_explorer([Loss.stack([mse(), mae()])], tmp_path / "page.html")
