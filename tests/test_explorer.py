"""The explorer as Python writes it; tests/test_explorer_browser.py opens it."""

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import lossmith
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.losses import (
    CATALOG,
    Expression,
    Forward,
    Loss,
    Named,
    PowerLoss,
    Term,
    cross_entropy,
    find,
    mae,
    mse,
    save,
    schedule,
)
from lossmith.losses.expressions import OPERATORS, Operator
from lossmith.report import explorer
from lossmith.theory import attraction, margin


class Reader(html.parser.HTMLParser):
    """What a browser makes of a page: its elements, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.policy, self.data, self.inside = "", "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append(tag)
        self.inside = given.get("id") or "" if tag == "script" else ""
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        assert not {"src", "href", "srcset", "action"} & {name for name, value in attrs if value and value[0] != "#"}

    def handle_data(self, data: str) -> None:
        self.data += data if self.inside == "data-explorer" else ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""


def given(losses: list[Loss], classes: int = 10) -> list[dict[str, Any]]:
    """What the page is told of some losses."""
    data = explorer(losses, classes).data
    json.dumps(data, allow_nan=False)
    found: list[dict[str, Any]] = data["given"]
    return found


def test_every_named_loss_is_there() -> None:
    data = explorer([], 7).data
    assert (data["classes"], data["given"]) == (7, [])
    assert [one["name"] for one in data["named"]] == list(CATALOG)
    for one in data["named"]:
        assert Loss.from_json(one["document"]) == find(one["name"], 7)
        assert one["formula"] == CATALOG[one["name"]].formula


def test_a_loss_is_given_as_its_document() -> None:
    (one,) = given([mse().named("mine")])
    assert Loss.from_json(one["document"]) == mse()
    assert (one["name"], one["formula"]) == ("mine", mse().formula())


def test_a_formula_that_is_a_sum_of_powers_is_one() -> None:
    (one,) = given([Expression((("*", "y", ("log", "h")),))])
    assert Loss.from_json(one["document"]) == cross_entropy()


def test_what_the_page_cannot_compute_is_computed() -> None:
    loss = Forward(cross_entropy(), 0.7 * torch.eye(4) + 0.075, name="behind noise")
    (one,) = given([loss], 4)
    samples = one["samples"]
    assert one["document"] is None
    assert samples["classes"] == 4
    assert samples["margin"] == margin(loss, 4).item()
    assert samples["published"] is None
    assert [zone["sign"] for zone in samples["zones"]["exact"]] == [1]
    epsilon = 1 - torch.tensor(samples["output"], dtype=torch.float64)
    assert samples["exact"] == attraction(loss, epsilon, 4).tolist()
    namespace: dict[str, Any] = {}
    exec(one["python"], namespace)  # noqa: S102
    assert namespace["loss"] == loss


def test_so_are_kinds_operators_and_names_of_ones_own(register: Any) -> None:
    register(OPERATORS, "cube", Operator(1, lambda a: a**3, lambda _, a, slope: 3 * a * a * slope))
    cubes = Expression((("*", "y", ("cube", "h")),), name="cubes")
    register(CATALOG, "cubes", Named("cubes", lambda: cubes, "φ = y h³", "a test"))

    class Strange(PowerLoss):
        kind = "strange"

    strange = Strange((Term(1, 1, 0),), torch.tensor([1.0]), None, "strange")
    first, second = given([strange])
    assert (first["name"], first["document"], first["python"]) == ("strange", None, "")
    assert (second["name"], second["document"]) == ("cubes", None)
    assert "from_json" in second["python"]


def test_a_loss_that_changes_is_shown_at_its_moments() -> None:
    changing = schedule([(0.0, mse()), (1.0, cross_entropy())])
    assert [one["name"] for one in given([changing])] == [one.name for one in changing.moments()]


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss.stack([mse(), mae()]), "population"),
        (find("label-smoothing", 5), "made for 5 classes"),
        (1e150 * mse(), "too large"),
        (PowerLoss((Term(2000, 1, 0),), torch.tensor([1.0])), "within ±1000"),
    ],
)
def test_losses_that_cannot_be_shown(loss: Loss, words: str) -> None:
    with pytest.raises(InputError, match=words):
        explorer([loss])


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><img src=x>"
    page = lossmith.explore(mse().named(name), tmp_path / "page.html")
    read = Reader(page.read_text(encoding="utf-8"))
    assert "default-src 'none'" in read.policy
    assert "img" not in read.elements
    assert json.loads(read.data)["given"][0]["name"] == name
    assert page.stat().st_size < 1_000_000


class TestCall:
    def test_names_files_and_losses(self, tmp_path: Path) -> None:
        save(find("label-smoothing:0.2", 5), tmp_path / "loss.json")
        page = lossmith.explore(["focal:3", str(tmp_path / "loss.json"), mse()], tmp_path / "page.html")
        data = json.loads(Reader(page.read_text(encoding="utf-8")).data)
        assert data["classes"] == 5
        assert [one["name"] for one in data["given"]] == ["focal 3", "cross-entropy smoothed 0.2", "MSE"]

    def test_nothing_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert lossmith.explore() == Path("explorer.html")
        assert Path("explorer.html").is_file()

    @pytest.mark.parametrize(
        ("losses", "more", "words"),
        [
            ("nothing", {}, "no loss 'nothing'"),
            (5, {}, "a name, or a list"),
            ([5], {}, "a name, or a list"),
            ([find("label-smoothing", 5), find("label-smoothing", 6)], {}, "different numbers of classes"),
            (find("label-smoothing", 5), {"classes": 6}, "different numbers of classes"),
            ("mse", {"classes": 1}, "at least 2"),
            (mse(), {"classes": 1}, "at least 2"),
            ((), {"classes": 0}, "at least 2"),
            (mse(), {"classes": 2.5}, "whole number"),
        ],
    )
    def test_what_cannot_be_used(self, tmp_path: Path, losses: Any, more: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            lossmith.explore(losses, tmp_path / "page.html", **more)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("name", "words"), [("page.txt", "ends in .html"), ("no/page.html", "no")])
    def test_places_that_cannot_be(self, tmp_path: Path, name: str, words: str) -> None:
        with pytest.raises(InputError, match=re.escape(words)):
            lossmith.explore("mse", tmp_path / name)
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        save(find("label-smoothing:0.2", 5).named("evolved"), "best.json")

    def test_a_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["explore", "best.json", "-1, 0, 0, -1, 0, 2, 0, 0", "--html", "page.html"])
        told = capsys.readouterr()
        assert re.fullmatch(r"Page: page\.html \(\d+ kB\); open it in a browser\n", told.out)
        assert told.err == ""
        data = json.loads(Reader(Path("page.html").read_text(encoding="utf-8")).data)
        assert data["classes"] == 5
        assert [one["name"] for one in data["given"]] == ["evolved", "Taylor order 3"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["mse"], "--html FILE"),
            (["nothing", "--html", "page.html"], "no loss 'nothing'"),
            (["mse", "--html", "page.png"], "ends in .html"),
            (["mse", "--html", "no/page.html"], "no/page.html"),
            (["mse", "--html", "page.html", "--classes", "1"], "at least 2"),
            (["--html", "page.html", "--classes", "1"], "at least 2"),
            (["best.json", "--html", "page.html", "--classes", "6"], "made for 5 classes"),
            (["expr:y*", "--html", "page.html"], "expr"),
        ],
    )
    def test_what_cannot_be_used(self, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
        with pytest.raises(SystemExit) as end:
            main(["explore", *arguments])
        told = capsys.readouterr()
        assert (end.value.code, told.out) == (2, "")
        assert words in told.err
        assert told.err.startswith("lossmith: ")
        assert told.err.count("\n") == 1
        assert [path.name for path in Path().iterdir()] == ["best.json"]
