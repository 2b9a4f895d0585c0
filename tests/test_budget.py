"""What a search and a comparison will train, the one clock of the whole, and the time limit."""

from __future__ import annotations

import importlib
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from lossmith import InputError
from lossmith.analysis import baselines, find_baselines, fixed
from lossmith.cli import main
from lossmith.losses import cross_entropy
from lossmith.study import (
    CompareSettings,
    DistillSettings,
    EvolveSettings,
    Progress,
    Store,
    compare_losses,
    distill_loss,
    evolve,
)
from lossmith.study.budget import (
    Budget,
    OneClock,
    comparison_budget,
    distillation_budget,
    function_comparison_budget,
    parsed_time,
    search_budget,
)
from lossmith.study.clock import Clock
from lossmith.study.comparison import PHASES
from lossmith.study.efforts import EFFORTS

clock_module: Any = importlib.import_module("lossmith.study.clock")
SIZES: dict[str, Any] = {
    "population": 16,
    "generations": 20,
    "replicates": 3,
    "finalists": 5,
    "finalist_seeds": 10,
    "known": baselines(),
    "swept": True,
    "rated": True,
    "share": 1.0,
    "seconds": 0.5,
}


def tiny(**changes: Any) -> EvolveSettings:
    document = {
        "data": {"train_size": 60, "validation_size": 60},
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1},
        "search": {"population": 4, "generations": 6},
        "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "mlp"},
    }
    return EvolveSettings.model_validate({**document, **changes}, strict=False)


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("30m", 1800),
            ("8h", 28800),
            ("1h30m", 5400),
            ("90s", 90),
            ("0.5 h", 1800),
            ("2d", 172800),
            (90, 90),
            (0.5, 0.5),
        ],
    )
    def test_of_a_text(self, text: Any, seconds: float) -> None:
        assert parsed_time(text) == seconds

    @pytest.mark.parametrize("text", ["", "30", "m", "-3m", "0s", "1h 30", "soon", True, 0, -1.0, float("nan"), "1e9h"])
    def test_what_is_none(self, text: Any) -> None:
        with pytest.raises(InputError, match=r"the time limit is .*; give a time, such as 30m, 8h or 1h30m"):
            parsed_time(text)


class TestBudget:
    def test_of_a_search(self) -> None:
        budget = search_budget(**SIZES, tune=True)
        assert budget.stages["search"] == 16 * 20 * 3
        assert budget.stages["final"] == (6 + 12) * 10
        # The demo's tuning took 618 networks, of which 60 were the sweep.
        tuning = budget.stages["sweep"] + budget.stages["known"] + budget.stages["rates"]
        assert tuning == pytest.approx(618, rel=0.2)
        untuned = search_budget(**SIZES, tune=False)
        assert untuned.stages["sweep"] == untuned.stages["known"] == untuned.stages["rates"] == 0
        assert untuned.stages["smoothing"] == 10 * 5
        assert untuned.stages["final"] == (6 + 2) * 10

    @pytest.mark.parametrize(("effort", "most"), [("quick", 0.1), ("standard", 0.3), ("thorough", 1.0)])
    def test_of_a_comparison(self, effort: Any, most: float) -> None:
        work = EFFORTS[effort]
        families = [
            *(baselines() if work.baselines is None else find_baselines(work.baselines)),
            fixed("x", cross_entropy()),
        ]
        thorough = EFFORTS["thorough"]
        whole = comparison_budget([*baselines(), fixed("x", cross_entropy())], thorough, 10, thorough.length, 0.0, 1.0)
        budget = comparison_budget(families, work, 10, work.length, 0.0, 1.0)
        assert budget.of("tuning", "again") <= most * whole.of("tuning", "again")
        # Cross-entropy has tried 6 to 7 settings in the kept comparisons, label smoothing 35.
        one = comparison_budget(find_baselines(["cross-entropy"]), EFFORTS["thorough"], 10, 1.0, 0.0, 1.0)
        assert one.stages["tuning"] / 2 == pytest.approx(6.5)

    def test_shares_go_up_to_one(self) -> None:
        budget = search_budget(**SIZES, tune=True)
        stages = ["sweep", "known", "search", "rates", "final", "done"]
        shares = [budget.share(stage, done) for stage in stages for done in (0.0, 0.5, 1.0)]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, 1.0)

    def test_in_words(self) -> None:
        assert Budget({"search": 960.0, "final": 180.0, "rates": 0.0}, 0.5).sentence() == (
            "about 1,100 trainings, about 9.5 min of training alone (search 960, final 180)"
        )


class TestClock:
    def clock(self, monkeypatch: pytest.MonkeyPatch, times: list[float], limit: float | None) -> Clock:
        moments = iter(times)
        monkeypatch.setattr(clock_module.time, "perf_counter", lambda: next(moments))
        return Clock(Budget({"search": 100.0, "final": 20.0}, 1.0), limit)

    def test_the_search_ends_where_the_finalists_just_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Ten generations of 10 s; two of them took 10 s each, as was estimated.
        clock = self.clock(monkeypatch, [0.0, 20.0, 20.0], 50.0)
        assert not clock.is_up(2, 10)
        clock = self.clock(monkeypatch, [0.0, 20.0, 20.0], 49.0)
        assert clock.is_up(2, 10)

    def test_it_learns_how_fast_it_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = self.clock(monkeypatch, [0.0, 40.0, 40.0], 99.0)
        assert clock.is_up(2, 10)
        clock = self.clock(monkeypatch, [0.0, 40.0, 40.0], 100.0)
        assert not clock.is_up(2, 10)

    def test_without_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not self.clock(monkeypatch, [0.0], None).is_up(2, 10)

    def test_what_one_training_takes_is_heard_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        clock = Clock(Budget({"search": 100.0}, 0.0))
        clock.heard(36.0)
        clock.heard(99.0)
        assert clock.budget.total == 3600.0
        assert [record.message for record in caplog.records] == ["one training takes 36 s: all of them about 1 h"]


class TestLimit:
    def test_a_search_that_is_out_of_time_goes_on(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        shares: list[float] = []
        for number in range(6):
            caplog.clear()
            evolve(tmp_path / "a", tiny(), report=lambda standing: shares.append(standing.share), time_limit=1e-9)
            with Store(tmp_path / "a", readonly=True) as store:
                assert store.generations() == number + 1
            assert (f"the time limit ends the search after generation {number + 1} of 6" in caplog.text) is (number < 5)
            assert (tmp_path / "a" / "best.json").exists()
            with Store(tmp_path / "a", readonly=True) as store:
                assert store.finalists("final")
        evolve(tmp_path / "b", tiny())
        contents = []
        for name in ("a", "b"):
            with Store(tmp_path / name, readonly=True) as store:
                rows = [*store.candidates(), *store.finalists("final")]
            contents.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
        assert contents[0] == contents[1]
        assert all(0 <= share <= 1 for share in shares)

    def test_tuning_that_takes_too_long_is_left_out_for_good(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = tiny(run={"finalists": 1, "finalist_seeds": 2, "training": "mlp"})
        evolve(tmp_path, settings, time_limit=1e-9)
        assert "too much of the time limit" in caplog.text
        outcome = evolve(tmp_path, settings)
        assert outcome.provenance["tuning"] is None
        assert outcome.provenance["candidates"]["candidates"] == 24
        with Store(tmp_path, readonly=True) as store:
            assert store.setting("untuned") is True

    def test_what_is_told_before(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        reports: list[Progress] = []
        evolve(tmp_path, tiny(), report=reports.append)
        first = next(record.message for record in caplog.records if "trainings" in record.message)
        # 6 generations of 4; 10 strengths of label smoothing; 4 finalists with 2 seeds.
        assert first.startswith("about 42 trainings, about ")
        assert "(search 24, smoothing 10, final 8)" in first
        shares = [one.share for one in reports]
        assert all(early <= late + 1e-9 for early, late in itertools.pairwise(shares))
        assert shares[-1] == 1.0

    def test_known_losses_come_first_under_a_limit_too(self, tmp_path: Path) -> None:
        run = {"finalists": 1, "finalist_seeds": 2, "training": "mlp"}
        search = {"population": 4, "generations": 1, "known_first": True}
        evolve(tmp_path, tiny(run=run, search=search), time_limit=10000)
        with Store(tmp_path, readonly=True) as store:
            assert store.setting("first candidates")
            assert store.setting("untuned") is None


def test_of_a_comparison_by_a_function() -> None:
    plain, smoothed = find_baselines(["cross-entropy", "label-smoothing"])
    assert function_comparison_budget([plain], 1, 3, 5, False, 1.0).stages == {"tuning": 1 + 3, "final": 5}
    assert function_comparison_budget([plain], 2, 3, 5, True, 1.0).stages == {"tuning": 2 * 5 + 2 * 3, "final": 5}
    assert function_comparison_budget([smoothed], 1, 3, 5, False, 1.0).stages == {"tuning": 3.5 + 2 * 3, "final": 5}


class TestOneClock:
    def test_phases_are_parts_of_the_whole(self) -> None:
        seen: list[tuple[str, float]] = []
        budget = Budget({"rival": 20.0, "tuning": 40.0, "again": 20.0, "final": 20.0}, 1.0)
        clock = OneClock(budget, lambda phase, share: seen.append((phase, round(share, 6))), PHASES)
        for phase, done in (
            *(("searching label smoothing + MAE", 0.5), ("tuning", 0.0), ("tuning", 1.0)),
            *(("tuning beyond the grids, round 1", 0.0), ("tuning beyond the grids, round 1", 1.0)),
            *(("tuning beyond the grids, round 3", 1.0), ("the best settings, fresh seeds", 1.0)),
            *(("the best losses, more seeds", 1.0), ("final networks", 0.5), ("final networks", 1.0), ("other", 0.2)),
        ):
            clock(phase, done)
        shares = [share for _, share in seen]
        assert shares == [0.1, 0.2, 0.52, 0.52, 0.56, 0.58, 0.76, 0.8, 0.9, 1.0, 1.0]
        assert [phase for phase, _ in seen][-1] == "other"

    def test_a_comparison_has_one(self, tmp_path: Path) -> None:
        seen: list[tuple[str, float]] = []
        options = CompareSettings(effort="quick", seeds=2, tuning_finalists=1, tuning_finalist_seeds=1)
        compare_losses(["mae"], tiny(), tmp_path, options, report=lambda *told: seen.append(told))
        shares = [share for _, share in seen]
        assert shares == sorted(shares)
        assert shares[0] < 0.5
        assert shares[-1] == 1.0
        assert {"tuning", "the best settings, fresh seeds", "final networks"} <= {phase for phase, _ in seen}


class TestOthers:
    """What the other commands say that train, and their time limits."""

    def test_of_a_distillation(self) -> None:
        thorough = EFFORTS["thorough"]
        one = distillation_budget(1, thorough, 30, 2.0, 1.0)
        # One loss of one term: five rates, those beyond, with two seeds of twice the length; the test trains it again.
        assert one.stages == {"tuning": 6.5 * 2 * 2, "again": 50, "final": 90}
        # Of three terms: the whole, three that lack one, two that lack two.
        three = distillation_budget(3, thorough, 30, 2.0, 1.0)
        assert three.stages["again"] == (1 + 3 + 2) * 50
        assert three.stages["final"] == (1 + 3 + 2 + 2) * 30
        ran_off = EFFORTS["standard"].run_off
        assert ran_off is not None
        short = distillation_budget(3, EFFORTS["standard"], 30, 1.0, 1.0)
        assert short.stages["again"] == 6 * (5 * 3 + ran_off.finalists * ran_off.seeds)

    @pytest.mark.parametrize(("limit", "effort"), [(None, "thorough"), ("3d", "thorough"), (8, "quick")])
    def test_a_distillation_keeps_to_its_time(
        self,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        limit: Any,
        effort: Any,
    ) -> None:
        seen: list[Any] = []

        def stopped(*given: Any, **_: Any) -> None:
            seen.append(given[4])
            raise KeyboardInterrupt

        monkeypatch.setattr(importlib.import_module("lossmith.study.distillation"), "distill", stopped)
        # At a tenth of a second for each network, quick takes 6 seconds, standard 14.
        monkeypatch.setattr(importlib.import_module("lossmith.study.estimates"), "step_seconds", lambda *_: 0.1)
        caplog.set_level(logging.INFO)
        with pytest.raises(KeyboardInterrupt):
            distill_loss("mse", tiny(), tmp_path, DistillSettings(seeds=2), time_limit=limit)
        assert seen[0].finalists == EFFORTS[effort].finalists
        assert f"the time limit allows the effort {effort}" in caplog.text or effort == "thorough"
        assert "the distillation takes about" in caplog.text

    def test_a_distillation_that_cannot_fit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # However fast the machine is.
        monkeypatch.setattr("lossmith.study.estimates.step_seconds", lambda *_: 1e-3)
        out = tmp_path / "out"
        with pytest.raises(InputError, match=r"the time limit is 0\.001 s, and the smallest distillation takes about"):
            distill_loss("mse", tiny(), out, DistillSettings(seeds=2), time_limit=0.001)
        assert not out.exists()

    @pytest.mark.parametrize("command", ["trace", "attack", "basin", "corruption"])
    def test_what_a_look_trains_is_told_and_limited(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        small = ["--epochs", "1", "--hidden", "4", "--train-size", "60", "--training", "sequential"]
        count = [] if command == "trace" else ["--seeds", "3"]
        words = [command, "mse", "focal", *small, *count]

        def told(limit: str, code: int) -> str:
            try:
                main([*words, "--time-limit", limit])
                ended: Any = 0
            except SystemExit as end:
                ended = end.code
            assert ended == code
            return capsys.readouterr().err

        assert "the time limit is '1ms'; give a time, such as 30m" in told("1ms", 2)
        assert "the time limit is 0.0001 s, and training the networks takes about 1 s; give" in told("0.0001s", 2)
        assert not list(tmp_path.iterdir())
        networks = 2 if command == "trace" else 6
        assert f"{command} trains {networks} networks, about " in told("2h", 0)
