"""How noisy labels are, which known loss is best, and whether a search is worth its cost."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import lossmith
from lossmith.analysis import Gain, WrongLabels, best_gain, probed_families, wrong_labels
from lossmith.analysis.known import paired
from lossmith.cli.evolve import Evolve
from lossmith.cli.flags import read
from lossmith.cli.probe import flags_of, next_line
from lossmith.data import DataSettings, Source, search_parts, seen_samples
from lossmith.errors import InputError
from lossmith.study import EvolveSettings, NoiseFloor, Probe, Size, evolve, gain_text, probe_data
from lossmith.study.budget import amount_text, time_text
from lossmith.training import executor

Command = Callable[..., tuple[str, str]]
QUICK = ("--epochs", "3", "--networks", "1", "--folds", "3", "--seeds", "3", "--hidden", "16")
SMALL = Size(folds=2, networks=1, seeds=3)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def clouds(count: int = 150, wrong: float = 0.0, seed: int = 0) -> tuple[Any, Any]:
    """Three classes far apart, and labels of which a share is another one."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    inputs = (random.normal(0, 0.3, (count, 4)) + 3 * np.eye(3, 4)[labels]).astype(np.float32)
    rows = random.permutation(count)[: round(wrong * count)]
    labels[rows] = (labels[rows] + 1) % 3
    return inputs, labels


def source(wrong: float = 0.0, **more: Any) -> Source:
    inputs, labels = clouds(wrong=wrong)
    return Source.from_tensors(torch.from_numpy(inputs), torch.from_numpy(labels), name="clouds", **more)


def settings(**data: Any) -> EvolveSettings:
    return EvolveSettings.model_validate({"data": data, "recipe": {"epochs": 3, "batch_size": 20}})


def without_time(found: Probe) -> dict[str, Any]:
    return {**found.to_json(), "seconds": 0, "search_seconds": 0}


@pytest.fixture(scope="module")
def found() -> Probe:
    return probe_data(settings(), source(0.3), size=SMALL)


def worthy(found: Probe) -> Probe:
    """The same where a search is worth its cost."""
    return replace(
        found,
        best_known=replace(found.known[1], gain=0.05),
        wrong=WrongLabels(0.3, 0.4, 0.6),
        noise_floor=NoiseFloor(0.01, 0.01, 0.02),
    )


class TestShare:
    def test_by_hand(self) -> None:
        """Thresholds 0.55 and 0.9: rows 0 and 4 are sure of their label, 1 is of the other one, 2 and 3 of none."""
        beliefs = np.array([[0.9, 0.1], [0.05, 0.95], [0.7, 0.3], [0.5, 0.5], [0.0, 1.0]])
        given = np.array([0, 0, 0, 1, 1])
        beliefs[3] = [0.45, 0.55]
        found = wrong_labels(beliefs, given)
        # Of class 0 the thresholds keep rows 0, 1 and 2 (0.55 and 0.775), of class 1 row 4 alone.
        assert found.low == pytest.approx(1 / 5)
        assert found.high == pytest.approx((1 / 3 * 3 + 0 * 2) / 5)
        assert found.share == pytest.approx(1 / 5)
        assert (found.agreement, found.trusted) == (0.8, True)

    def test_rows_that_are_sure_of_nothing_are_between_right_and_like_the_others(self) -> None:
        beliefs = np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9]])
        found = wrong_labels(beliefs, np.array([0, 0, 0, 1, 1]))
        assert (found.low, found.high) == pytest.approx((1 / 5, (1 / 2 * 3) / 5))
        assert found.share == pytest.approx((found.low + found.high) / 2)

    @pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
    def test_networks_that_know_the_classes_find_the_rate(self, rate: float) -> None:
        random = np.random.default_rng(1)
        right = np.arange(3000) % 5
        given = np.where(random.random(3000) < rate, (right + random.integers(1, 5, 3000)) % 5, right)
        beliefs = random.dirichlet(np.ones(5), 3000) * 0.2 + 0.8 * np.eye(5)[right]
        found = wrong_labels(beliefs, given)
        assert found.low <= (given != right).mean() + 1e-12
        assert found.share == pytest.approx((given != right).mean(), abs=0.05)

    def test_networks_that_do_not_know_the_classes_are_told(self) -> None:
        assert not wrong_labels(np.array([[0.6, 0.4], [0.6, 0.4], [0.4, 0.6]]), np.array([0, 1, 0])).trusted

    def test_a_class_that_nothing_is_given(self) -> None:
        found = wrong_labels(np.array([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1]]), np.array([0, 1]))
        assert (found.low, found.high) == (0, 0)


class TestSeenSamples:
    def test_they_are_training_and_validation_part(self) -> None:
        cut = DataSettings(label_noise=0.2, train_size=70)
        seen, parts = seen_samples(source(), cut), search_parts(source(), cut)
        assert torch.equal(seen.inputs, torch.cat([parts.train.inputs, parts.validation.inputs]))
        assert torch.equal(seen.targets, torch.cat([parts.train.targets, parts.validation.targets]))
        assert seen.test_inputs is seen.validation_inputs is seen.noise is None

    def test_groups_stay_with_their_samples(self) -> None:
        inputs, labels = clouds()
        numbers = torch.arange(150) // 10
        given = Source.from_tensors(
            torch.from_numpy(inputs + 100 * numbers[:, None].numpy()), torch.from_numpy(labels), groups=numbers
        )
        seen = seen_samples(given, DataSettings())
        assert seen.groups is not None
        assert torch.equal((seen.inputs[:, 3] / 100).round().long(), seen.groups)


class TestGains:
    def test_the_interval_is_that_of_a_paired_t_test(self) -> None:
        random = np.random.default_rng(0)
        first, second = random.normal(1, 1, 8).tolist(), random.normal(0, 1, 8).tolist()
        expected = stats.ttest_rel(first, second).confidence_interval()
        assert paired(first, second) == pytest.approx((np.subtract(first, second).mean(), expected.low, expected.high))
        assert paired([1.0, 2.0], [0.5, 1.5]) == (0.5, 0.5, 0.5)

    def test_cross_entropy_gains_nothing_on_itself(self, found: Probe) -> None:
        assert [one.tuned.family.name for one in found.known] == [family.name for family in probed_families(0.4)]
        plain = found.known[0]
        assert (plain.gain, plain.low, plain.high, plain.error, plain.least) == (0, 0, 0, 0, 0)

    def test_figures_are_of_their_values(self, found: Probe) -> None:
        plain = found.known[0]
        for one in found.known:
            assert len(one.values) == 3
            assert one.gain == pytest.approx(np.mean(one.values) - np.mean(plain.values))
            spread = stats.sem(np.subtract(one.values, plain.values))
            assert one.least == pytest.approx(1.96 * np.hypot(spread, one.error))
        assert found.noise_floor.seeds == pytest.approx(np.std(plain.values, ddof=1))
        share = np.mean(plain.values)
        assert found.noise_floor.samples == pytest.approx(
            np.sqrt(share * (1 - share) / len(found.problem.validation[1]))
        )

    def test_the_best_is_chosen_by_the_tuning(self, found: Probe) -> None:
        gains = [replace(one, tuned=replace(one.tuned, validation=0.1 * k)) for k, one in enumerate(found.known)]
        assert best_gain(gains) is gains[-1]
        assert best_gain(gains, -1.0) is gains[0]
        assert best_gain([*gains[:-1], replace(gains[-1], gain=float("nan"))]) is gains[-2]

    @pytest.mark.parametrize(("gain", "low"), [(-0.01, -0.02), (0.01, -0.002), (0.0, 0.0), (np.nan, np.nan)])
    def test_what_gains_nothing_clearly_is_not_recommended(
        self, monkeypatch: pytest.MonkeyPatch, found: Probe, gain: float, low: float
    ) -> None:
        worse = replace(found.known[1], gain=gain, low=low)
        monkeypatch.setattr("lossmith.study.probe.best_gain", lambda *_: worse)
        again = probe_data(settings(), source(0.3), size=SMALL)
        assert again.best_known == again.known[0]
        assert again.noise_floor.value == pytest.approx(worse.least, nan_ok=True)
        assert not again.worth_searching
        assert again.use == 'criterion = lossmith.Criterion("cross-entropy")'
        assert "keep it" in again.why

    def test_what_gains_clearly_is_recommended(self, monkeypatch: pytest.MonkeyPatch, found: Probe) -> None:
        better = replace(found.known[1], gain=0.01, low=0.001)
        monkeypatch.setattr("lossmith.study.probe.best_gain", lambda *_: better)
        assert probe_data(settings(), source(0.3), size=SMALL).best_known == better

    def test_the_shipped_loss_is_told_the_estimate(self, monkeypatch: pytest.MonkeyPatch, found: Probe) -> None:
        def told(probe: Probe) -> float:
            (shipped,) = (one.tuned for one in probe.known if one.tuned.family.name == "noise-robust")
            return shipped.family.strengths(shipped.place)[0]

        assert told(found) == pytest.approx(found.wrong_labels, abs=0.005)
        doubtful = replace(found.wrong, agreement=0.3)
        assert not doubtful.trusted
        monkeypatch.setattr("lossmith.study.probe.wrong_labels", lambda *_: doubtful)
        assert told(probe_data(settings(), source(0.3), size=SMALL)) == 0.4

    def test_what_is_typed_is_the_loss(self, found: Probe) -> None:
        random = torch.Generator().manual_seed(0)
        logits = torch.randn(9, 3, generator=random, dtype=torch.float64)
        labels = torch.arange(9) % 3
        for one in found.known:
            text, by_classes = one.typed
            assert by_classes == (one.tuned.family.named in ("label-smoothing", "smoothing-squares", "noise-robust"))
            criterion = lossmith.Criterion(text, classes=3)
            again, own = (lossmith.Criterion(loss)(logits, labels) for loss in (lossmith.find(text, 3), loss_of(one)))
            assert float(criterion(logits, labels)) == pytest.approx(float(again))
            assert float(again) == pytest.approx(float(own), rel=1e-4)


def loss_of(one: Gain) -> lossmith.Loss:
    return one.tuned.loss(3)


class TestProbe:
    def test_test_samples_are_not_touched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> Any:
            raise AssertionError("test data is read")

        monkeypatch.setattr("lossmith.study.problem.test_part", refuse)
        nothing = torch.full((9, 4), torch.inf)
        own = replace(source(0.3), test_inputs=nothing, test_targets=torch.arange(9) % 3)
        assert probe_data(settings(), own, size=SMALL).wrong_labels == pytest.approx(0.3, abs=0.1)

    def test_rates_that_are_known(self, found: Probe) -> None:
        assert found.wrong_labels == pytest.approx(0.3, abs=0.1)
        assert found.wrong_labels_known is None
        noisy = probe_data(settings(label_noise=0.4), source(), size=SMALL)
        assert noisy.wrong_labels_known == pytest.approx(0.4, abs=0.02)

    def test_the_same_seed_gives_the_same_figures(self, found: Probe) -> None:
        again = probe_data(settings(), source(0.3), size=SMALL)
        assert without_time(found) == without_time(again)
        other = probe_data(settings(), source(0.3), size=SMALL, seed=1)
        assert without_time(found) != without_time(other)

    def test_worker_processes_find_the_same(self, found: Probe) -> None:
        with executor("processes", 2) as workers:
            there = probe_data(settings(), source(0.3), size=SMALL, executor=workers)
        assert without_time(there) == without_time(found)

    def test_another_metric(self) -> None:
        own = settings().model_copy(
            update={"objective": EvolveSettings().objective.model_copy(update={"metric": "nll"})}
        )
        found = probe_data(own, source(), size=SMALL)
        assert (found.deciding.name, found.deciding.sign) == ("nll", -1)
        assert found.noise_floor.samples is None
        plain, *others = found.known
        for one in others:
            assert one.gain == pytest.approx(np.mean(plain.values) - np.mean(one.values))

    def test_the_rule(self, found: Probe) -> None:
        best = replace(found.known[1], gain=0.05)
        noisy = replace(
            found, best_known=best, wrong=WrongLabels(0.3, 0.4, 0.6), noise_floor=NoiseFloor(0.04, 0.01, 0.02)
        )
        assert noisy.worth_searching
        assert "came first in 4 of 9 searches" in noisy.why
        clean = replace(noisy, wrong=WrongLabels(0.0, 0.19, 0.9))
        assert not clean.worth_searching
        assert "drew with known ones: take label smoothing" in clean.why
        level = replace(noisy, noise_floor=NoiseFloor(0.05, 0.01, 0.02))
        assert not level.worth_searching
        assert "could not be told from noise" in level.why

    def test_a_time_limit_takes_networks_away(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("lossmith.study.probe.step_seconds", lambda *_: 0.01)
        with caplog.at_level("INFO", "lossmith"):
            small = probe_data(settings(), source(), size=Size(networks=8), time_limit=22.0)
        assert (small.size.networks, small.size.seeds) == (4, 5)
        assert "the time limit allows 4 networks for each fold and 5 seeds for each loss, not 8 and 10" in caplog.text
        assert "the probe takes about " in caplog.text
        with pytest.raises(InputError, match="time limit is 1 s, and the smallest probe takes about"):
            probe_data(settings(), source(), time_limit=1.0)

    @pytest.mark.parametrize(
        ("size", "words"),
        [
            (Size(folds=1), "folds is 1; give a whole number from 2"),
            (Size(networks=0), "networks is 0; give a whole number from 1"),
            (Size(seeds=2), "seeds is 2; give a whole number from 3"),
        ],
    )
    def test_numbers(self, size: Size, words: str) -> None:
        with pytest.raises(InputError, match=words):
            probe_data(settings(), source(), size=size)


class TestCommand:
    def test_the_cost_comes_first_and_a_line_to_go_on_last(self, command: Command) -> None:
        out, err = command("probe", "digits", "--label-noise", "0.4", *QUICK)
        assert err.splitlines()[0].startswith("the probe takes about ")
        last = out.splitlines()[-1]
        assert last.startswith(("lossmith evolve --out study --data digits", "criterion = lossmith.Criterion("))
        for words in (
            "Wrong labels:",
            "40.0 % were made wrong here (--label-noise)",
            "depending on how uncertain labels are counted",
            "points could be chance",
            "* what to take: the best by the tuning",
            "Best known loss:",
            "rule of thumb",
        ):
            assert words in " ".join(out.split())
        assert not re.search(r"\d%|-0\.0\b|\+0\.0\b", out)
        assert ("Use it now:       criterion = lossmith.Criterion(" in out) == last.startswith("lossmith evolve")

    def test_where_a_search_is_worth_it_its_cost_and_the_best_known_loss_are_told(
        self, command: Command, found: Probe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worth = worthy(found)
        monkeypatch.setattr("lossmith.cli.probe.probe_data", lambda *_, **__: worth)
        out, _ = command("probe", "digits", "--epochs", "3")
        *others, last = out.splitlines()
        assert shlex.split(last)[:2] == ["lossmith", "evolve"]
        assert f"Use it now:       {worth.use}" in others
        trainings, seconds = amount_text(worth.search_trainings), time_text(worth.search_seconds)
        assert f"Its cost: about {trainings} trainings, about {seconds} of training" in " ".join(out.split())

    def test_the_cost_of_the_search_is_what_the_search_says(
        self, found: Probe, caplog: pytest.LogCaptureFixture
    ) -> None:
        class EnoughError(Exception):
            pass

        def stop(progress: Any) -> None:
            raise EnoughError

        with caplog.at_level("INFO", "lossmith"), pytest.raises(EnoughError):
            evolve("study", settings(), source(0.3), report=stop)
        assert f"about {amount_text(found.search_trainings)} trainings, about " in caplog.text
        assert found.search_seconds == pytest.approx(found.search.seconds * found.search_trainings)

    def test_what_is_rounded_to_nothing_has_no_sign(self, found: Probe) -> None:
        none = replace(found.known[1], gain=-0.0001, low=-0.0004, high=0.0004)
        assert gain_text(none, True) == "0.0 [0.0, 0.0]"
        assert gain_text(replace(none, gain=-0.0, high=2.0), False) == "0 [-0.0004, +2]"

    def test_json(self, command: Command) -> None:
        out, err = command("probe", "digits", "--json", *QUICK)
        document = json.loads(out)
        assert err == ""
        assert document["wrong_labels"] < 0.1
        assert document["worth_searching"] is False
        assert document["next"].startswith("criterion = lossmith.Criterion(")
        assert {"value", "seeds", "samples"} == document["noise_floor"].keys()
        assert {"loss", "strengths", "lr", "gain", "interval"} < document["best_known"].keys()
        assert not list(Path().iterdir())

    def test_the_search_has_the_flags_that_were_given(self, found: Probe) -> None:
        own = EvolveSettings.model_validate(
            {
                "data": {"label_noise": 0.4, "noise": "pairs"},
                "model": {"hidden": (64, 32), "name": "nets.py:Net with space"},
                "recipe": {"epochs": 30, "class_weight": "balanced"},
                "objective": {"metric": "macro-f1"},
                "run": {"training": "sequential"},
            }
        )
        words = shlex.split(next_line(worthy(found), "my data.csv", own))
        assert words[:6] == ["lossmith", "evolve", "--out", "study", "--data", "my data.csv"]
        again = read(Evolve, words[2:], "evolve", lambda _: (EvolveSettings(), None)).settings
        assert flags_of(again) == flags_of(own.model_copy(update={"model": again.model}))
        assert again.run.training == "sequential"
        assert (again.model.hidden, again.data.noise, again.objective.metric) == ((64, 32), "pairs", "macro-f1")

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("nothing.npz",), "nothing.npz"),
            (("few.npz", "--folds", "50"), "fewer than the 50 folds"),
            (("digits", "--folds", "1"), "folds is 1"),
            (("digits", "--seeds", "2"), "seeds is 2"),
            (("digits", "--noise", "pairs"), "--noise has no effect here"),
            (("digits", "--metric", "nonsense"), "nonsense"),
            (("digits", "--time-limit", "soon"), "the time limit is 'soon'"),
            (("digits", "--epochs", "1000000", "--time-limit", "1s"), "the time limit is 1 s, and the smallest probe"),
            (("digits", "--seed", "9" * 30), "--seed"),
        ],
    )
    def test_what_is_bad_is_told(self, command: Command, words: tuple[str, ...], sentence: str) -> None:
        inputs, labels = clouds()
        np.savez("few.npz", x_train=inputs, y_train=labels)
        out, err = command("probe", *words, code=2)
        assert out == ""
        assert sentence in err
        assert len(err.splitlines()) == 1


class TestCall:
    def test_it_is_what_the_command_finds(self, command: Command) -> None:
        inputs, labels = clouds(wrong=0.3)
        np.savez("flat.npz", x_train=inputs, y_train=labels)
        out, _ = command("probe", "flat.npz", *QUICK, "--batch-size", "20", "--json")
        more: dict[str, Any] = {"epochs": 3, "networks": 1, "folds": 3, "seeds": 3, "hidden": [16], "batch_size": 20}
        called = lossmith.probe((inputs, labels), quiet=True, **more)
        document = json.loads(out)
        assert called.wrong_labels == document["wrong_labels"]
        assert called.worth_searching == document["worth_searching"]
        assert called.best_known.tuned.family.name == document["best_known"]["loss"]
        assert called.best_known.gain == document["best_known"]["gain"]
        for name in document.keys() - {"seed", "next"}:
            assert hasattr(called, name)
        assert called.wrong_labels_between == document["wrong_labels_between"]
        assert (called.search_trainings, called.use) == (document["search_trainings"], document["use"])

    def test_printed_it_is_a_few_sentences(self, found: Probe) -> None:
        for one in (found, worthy(found)):
            assert str(one) == repr(one)
            assert str(one).splitlines()[-1] == f"Use it now:       {one.use}"
            assert len(str(one).splitlines()) <= 6
            assert len(str(one)) < 1500

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ({"population": 3}, "takes no population"),
            ({"seeds": 1}, "seeds is 1"),
            ({"patience": 2}, "early stopping"),
        ],
    )
    def test_what_has_no_effect(self, words: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            lossmith.probe(clouds(), quiet=True, **words)
