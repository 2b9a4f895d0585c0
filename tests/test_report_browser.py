"""``report.html`` in a real browser: nothing is loaded, everything can be reached, and large studies open at once."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossmith
from lossmith.analysis import Masking, Robustness
from lossmith.report import write_report
from lossmith.report.web.findings import findings
from lossmith.report.web.page import page_of
from lossmith.study import Store, Study

pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.integration

HOSTILE = """</script><script>window.hacked=1</script>"><img src=x onerror="window.hacked=2">"""
LARGE, PER_GENERATION = 20_000, 100
# Of opening 20,000 candidates, in milliseconds by the page's own clock; a busy machine takes a half of one second.
LONGEST = 2000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with everything that one can have, and with hostile names where names are."""
    place = tmp_path_factory.mktemp("report") / "study"
    rng, labels = np.random.default_rng(0), np.arange(160) % 3
    inputs = (rng.normal(0, 1, (160, 4)) + 1.5 * np.eye(3, 4)[labels]).astype(np.float32)
    few: dict[str, Any] = {"hidden": [4], "epochs": 3, "population": 8, "generations": 6, "finalists": 1}
    few |= {"finalist_seeds": 2, "tune": False, "quiet": True, "record": ["nll"]}
    result = lossmith.evolve("mlp", (inputs, labels), out=place, **few)
    result.compare(baselines=["cross-entropy", "MSE"], seeds=3, effort="quick")
    text = (place / "comparison.json").read_text(encoding="utf-8")
    (place / "comparison.json").write_text(text.replace('"MSE"', json.dumps(HOSTILE)), encoding="utf-8")
    with Store(place) as store:
        store.set("data", {**store.setting("data"), "class_names": [HOSTILE, "b", "c"]})
    attacks = [[_attacked("plain", 0.0), _attacked(HOSTILE, 0.5)], [_attacked(HOSTILE, 0.1)]]
    path = place / "report.html"
    path.write_text(page_of(replace(findings(place), attacks=attacks)), encoding="utf-8")
    return path


def _attacked(name: str, zero: float) -> Robustness:
    figures = {attack: np.array([[0.9, 0.8], [0.5, 0.4], [0.2, 0.1]]) for attack in ("fgsm", "worst")}
    masking = [Masking({"loss": zero}, None, None, None, None, None, None, None)] * 3
    samples, diverged = {"fgsm": 9, "worst": 9}, np.zeros(2, bool)
    return Robustness(name, (0.0, 0.1, 0.2), np.array([0.9, 0.8]), figures, samples, None, masking, diverged)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study of 20,000 candidates, which nobody trained."""
    place, rng = tmp_path_factory.mktemp("large") / "study", np.random.default_rng(0)
    fixed = {"scores": [0.5], "exact": 1, "published": 1, "redrawn": 0, "seconds": 0.1, "figures": {}, "error": None}
    with Study(place, 10, population=PER_GENERATION, generations=LARGE // PER_GENERATION) as study:
        rows = []
        for number, genome in enumerate(rng.normal(0, 0.5, (LARGE, 5)).tolist()):
            generation, member = divmod(number, PER_GENERATION)
            placed = {"generation": generation, "member": member, "genome": genome, "status": "ok"}
            rows.append({**placed, **fixed, "fitness": 0.5 + 0.1 * np.tanh(genome[0]).item()})
        study.store.add_candidates(rows)
    return write_report(place)


class Tab:
    """A page, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        # Two frames: what is drawn has been drawn.
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def tab(browser: Any, report: Path) -> Iterator[Tab]:
    opened = Tab(browser, report)
    yield opened
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    opened.page.close()


def test_it_opens_alone(tab: Tab) -> None:
    names = ["verdict", "loss", "comparison", "search", "training", "calibration", "robustness"]
    names += ["explorer", "setup", "downloads"]
    assert tab.page.eval_on_selector_all("main > section", "all => all.map((one) => one.id)") == names
    charts = tab.page.locator("[data-chart]")
    assert charts.count() == 6
    assert tab.page.locator("[data-chart] canvas").count() == 6
    # Something is drawn in each.
    drawn = "all => all.map((one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(Boolean))"
    assert tab.page.eval_on_selector_all("[data-chart] canvas", drawn) == [True] * 6


def test_hostile_names_are_text(tab: Tab) -> None:
    assert tab.page.evaluate("window.hacked") is None
    assert tab.page.locator("img").count() == 0
    for section in ("comparison", "calibration", "robustness"):
        assert HOSTILE in tab.page.locator(f"#{section}").inner_text().replace("\n", " ")
    tab.page.locator("#comparison circle").last.hover(force=True)
    assert "network" in tab.page.locator(".tip").inner_text()
    assert tab.page.evaluate("window.hacked") is None


def test_candidates_tell_their_loss(tab: Tab, report: Path) -> None:
    chart = tab.page.locator('[data-chart="history"]')
    chart.focus()
    with Study.load(report.parent, readonly=True) as study:
        rows = study.candidates()
        losses = [study.loss_of(row) for row in rows]
    for number, loss in enumerate(losses):
        tab.page.keyboard.press("Home" if number == 0 else "ArrowRight")
        told = tab.page.locator(".tip").inner_text()
        head, _, formula = told.partition("\n")
        row = rows[number]
        figure = row["status"] if row["fitness"] is None else f"accuracy {100 * row['fitness']:.1f} %"
        assert head == f"generation {row['generation'] + 1}, candidate {row['member'] + 1}: {figure}"
        assert formula == f"φ = {loss.formula()}"
    assert chart.locator("[aria-live]").text_content() == told
    tab.page.keyboard.press("Escape")
    assert tab.page.locator(".tip").is_hidden()


def test_a_candidate_under_the_pointer(tab: Tab) -> None:
    chart = tab.page.locator('[data-chart="history"]')
    chart.focus()
    tab.page.keyboard.press("End")
    wanted = tab.page.locator(".tip").inner_text()
    chart.scroll_into_view_if_needed()
    over = chart.locator(".u-over").bounding_box()
    at = tab.page.evaluate(
        "() => { const line = document.querySelector('[data-chart=history] .u-cursor-x').style.transform;"
        " return Number(line.match(/[0-9.]+/)[0]); }"
    )
    tab.page.mouse.move(0, 0)
    found = set()
    for step in range(0, int(over["height"]), 6):
        tab.page.mouse.move(over["x"] + at, over["y"] + step)
        found.add(tab.page.locator(".tip").text_content())
    assert wanted in found


def test_lines_are_read_by_keyboard(tab: Tab) -> None:
    tab.page.locator('[data-chart="pull"]').focus()
    tab.page.keyboard.press("End")
    told = tab.page.locator(".tip").inner_text().splitlines()
    assert told[0].startswith("h = ")
    assert any(line.startswith("cross-entropy: 0.00") for line in told)


def test_what_is_folded_unfolds(tab: Tab) -> None:
    tests = tab.page.locator("#comparison details", has_text="Tests")
    assert tests.locator("table").is_hidden()
    tests.locator("summary").press("Enter")
    assert tests.locator("table").is_visible()
    assert "minus cross-entropy" in tests.inner_text()


def test_files_can_be_saved(tab: Tab, report: Path, tmp_path: Path) -> None:
    links = tab.page.locator("#downloads a")
    saved = {}
    for number in range(links.count()):
        with tab.page.expect_download() as download:
            links.nth(number).click()
        saved[download.value.suggested_filename] = Path(download.value.path()).read_bytes()
    assert saved.keys() == {"best.json", "my_loss.py", "study.toml", "comparison.csv"}
    assert saved["best.json"] == (report.parent / "best.json").read_bytes()
    compile(saved["my_loss.py"], "my_loss.py", "exec")
    with tab.page.expect_download() as download:
        tab.page.locator("[data-save]").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "generation,member,status,fitness,phi"
    assert len(lines) == 1 + 48
    with Store(report.parent, readonly=True) as store:
        row = store.candidates()[0]
    assert lines[1].startswith("0,0,ok,")
    assert float(lines[1].split(",")[3]) == pytest.approx(row["fitness"], rel=1e-6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nobody_is_left_out(browser: Any, report: Path, scheme: str, width: int) -> None:
    tab = Tab(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = axe.Axe().run(tab.page).response["violations"]
    grave = {
        one["id"]: [node["html"][:120] for node in one["nodes"]]
        for one in found
        if one["impact"] in ("serious", "critical")
    }
    assert grave == {}
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.said == []
    tab.page.close()


def test_it_prints(browser: Any, report: Path) -> None:
    tab = Tab(browser, report, color_scheme="dark")
    tab.page.emulate_media(media="print", color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert tab.page.evaluate(ground) == "rgb(255, 255, 255)"
    assert tab.page.locator("nav").is_hidden()
    assert tab.page.pdf()[:4] == b"%PDF"
    # What is folded is printed, and folded again, but for what was open before.
    tab.page.locator("#comparison details > summary").first.click()
    seen = "[...document.querySelectorAll('main details')].map((one) => one.open)"
    before = tab.page.evaluate(seen)
    assert tab.page.evaluate(f"(dispatchEvent(new Event('beforeprint')), {seen})") == [True] * len(before)
    assert tab.page.evaluate(f"(dispatchEvent(new Event('afterprint')), {seen})") == before
    assert any(before)
    assert not all(before)
    tab.page.close()


def test_many_candidates_open_at_once(browser: Any, large: Path) -> None:
    tab = Tab(browser, large)
    timing = tab.page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
    assert tab.said == []
    assert timing["loadEventEnd"] < LONGEST
    assert tab.page.evaluate("performance.now()") < 2 * LONGEST
    assert large.stat().st_size < 2**21
    tab.page.locator('[data-chart="history"]').focus()
    tab.page.keyboard.press("End")
    assert (
        tab.page.locator(".tip")
        .inner_text()
        .startswith(f"generation {LARGE // PER_GENERATION}, candidate {PER_GENERATION}: ")
    )
    tab.page.close()


def test_numbers_are_written_as_in_python(tab: Tab) -> None:
    rng = np.random.default_rng(0)
    values = [
        *(rng.uniform(1, 10, 60) * 10.0 ** rng.integers(-9, 9, 60)).tolist(),
        0.0,
        1.0,
        9.9996,
        99999.0,
        1e-4,
        0.5,
    ]
    written = tab.page.evaluate("(values) => values.map((one) => lossmith.brief(one))", values)
    assert written == [f"{value:.4g}".replace("-", "−") for value in values]


def test_columns_come_whole(tab: Tab) -> None:
    values = np.array([1.5, -2.25, np.nan], "<f4")
    given = {"f4": base64.b64encode(values.tobytes()).decode()}
    read = tab.page.evaluate("(given) => [...lossmith.column(given)].map(String)", given)
    assert read == ["1.5", "-2.25", "NaN"]
