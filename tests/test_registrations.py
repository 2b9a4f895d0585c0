"""A loss that is registered once is known by its name everywhere."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import lossmith
from lossmith.analysis import BASELINES
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.losses import CATALOG, Loss, Named, Parameter, cross_entropy, mae, mse, save
from lossmith.study import CompareSettings, EvolveSettings, compare_losses, origin_of

TINY = ["--train-size", "40", "--hidden", "3", "--epochs", "1", "--training", "population", "--chunk", "9999"]
QUICK = [
    *("--seeds", "2", "--tuning-seeds", "1", "--tuning-finalists", "1", "--tuning-finalist-seeds", "1"),
    *("--tuning-epochs", "1", "--no-rival"),
]
WITH_LOSSES = ("explain", "export", "compare", "trace", "attack", "corruption", "basin")


def mixed(weight: float = 0.5) -> Loss:
    """Cross-entropy and some MAE, ``φ = y log h + w y (h − 1)``."""
    return Loss.from_json({**(cross_entropy() + weight * mae()).to_json(), "name": f"mixed {weight:g}"})


@pytest.fixture
def registered(register: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss "mixed"; comparisons have one baseline, since all of them are trained."""
    monkeypatch.chdir(tmp_path)
    register(CATALOG, "mixed", Named("mixed", mixed, "φ = y log h + w y (h − 1)", "this test", Parameter("w", 0.5)))
    register(BASELINES, "MAE", BASELINES["MAE"], only=["cross-entropy"])


@pytest.mark.usefixtures("registered")
class TestOneRegistration:
    def test_in_python_and_in_files(self, tmp_path: Path) -> None:
        assert lossmith.find("mixed", 10) == mixed()
        assert lossmith.find("mixed:2", 10) == mixed(2)
        lossmith.save(lossmith.find("mixed:2", 10), tmp_path / "mixed.json")
        assert lossmith.find(str(tmp_path / "mixed.json"), 10) == lossmith.load(tmp_path / "mixed.json") == mixed(2)
        with pytest.raises(InputError, match=r"no loss 'mixd' \(did you mean mixed"):
            lossmith.find("mixd", 10)

    def test_on_the_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["explain", "mixed:2", "cross-entropy", "--json"])
        assert [page["name"] for page in json.loads(capsys.readouterr().out)["losses"]] == ["mixed 2", "cross-entropy"]

    @pytest.mark.parametrize("command", [*WITH_LOSSES, "suspects"])
    def test_in_the_help_of_each_command(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert "mixed:0.5" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize("command", WITH_LOSSES)
    def test_in_the_sentence_that_asks_for_a_loss(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main([command])
        assert "no loss is given; name a loss file, λ, or one of cross-entropy, " in (said := capsys.readouterr().err)
        assert said.endswith(", mixed\n")

    def test_in_a_comparison(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Beside λ and a file, all of them by the names that they have or, where these are taken, by what was typed."""
        lossmith.save(mixed(2), "other.json")
        losses = ["mixed:2", "other.json", "-0.1, 0, 0, -1, 0, 2, 0, 0"]
        main(["compare", *losses, "--out", "found", *TINY, *QUICK])
        out = capsys.readouterr().out
        assert "mixed:2" in out
        assert "Note:      other.json does not say what it was evolved on" in out
        document = json.loads(Path("found/comparison.json").read_text())
        names = {row["name"]: row["baseline"] for row in document["rows"]}
        assert [name for name, baseline in names.items() if baseline] == [
            name for name in names if name in ("cross-entropy", "MAE")
        ]
        assert {"mixed:2", "other.json"} < names.keys()
        assert len(names) == 5
        (row,) = [row for row in document["rows"] if row["name"] == "mixed:2"]
        assert Loss.from_json(row["loss"]) == mixed(2)
        settings = EvolveSettings.model_validate_json(json.dumps(document["settings"]))
        options = CompareSettings.model_validate(document["options"])
        again = compare_losses(losses, settings, Path("found"), options)
        assert json.loads(json.dumps(again.to_json()))["rows"] == document["rows"]


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        (["gce:0.7"], r"no directory is given; add --out DIR, since no loss is a file \(data, model and recipe are"),
        (["gce:2", "--out", "new"], r"takes q in \(0, 1\], not 2"),
        (["gc", "--out", "new"], r"there is no loss 'gc' \(did you mean gce"),
        (["cross-entropy", "--out", "new"], "a baseline of the comparison is called 'cross-entropy', too; leave yours"),
        (["mae", "mae", "--out", "new"], "the loss mae is given twice"),
    ],
)
def test_what_is_refused(
    losses: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["compare", *losses, *TINY, *QUICK])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(sentence, said)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_a_search_whose_parts_are_not_registered_is_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it needs of its search is data, model and recipe."""
    settings = EvolveSettings().model_dump(mode="json")
    settings["search"] |= {"space": "trees", "engine": "swarm"}
    settings["objective"]["metric"] = "mine"
    path = tmp_path / "best.json"
    save(mse(), path, provenance={"digest": "abc", "settings": settings})
    found = origin_of([str(path)])
    assert found is not None
    assert found.settings == EvolveSettings()
    for words in ("search space 'trees'", "search engine 'swarm'", "metric 'mine'"):
        assert f"its search had the {words}, which is not registered here" in caplog.text
