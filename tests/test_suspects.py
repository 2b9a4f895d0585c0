"""Labels that are probably wrong: every row is judged, by networks that did not learn from it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

import lossmith
from lossmith.analysis import Suspects, margin, ranked, rivalry, self_confidence, suspects
from lossmith.data import DataSettings, Folds, Source, folded, open_source
from lossmith.errors import InputError
from lossmith.losses import cross_entropy
from lossmith.report import plot_suspects, save_figure
from lossmith.study import EvolveSettings, Suspicion, find_suspects
from lossmith.training import Job, Local, executor

Command = Callable[..., tuple[str, str]]
COLUMNS = ["index", "given", "suggested", "score"]
QUICK = ("--epochs", "3", "--networks", "1", "--folds", "3", "--hidden", "16")
BELIEFS = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.4, 0.5, 0.1]])
GIVEN = np.array([0, 1, 0, 2])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def clouds(count: int = 120, wrong: tuple[int, ...] = (5, 17, 60), seed: int = 0) -> tuple[Any, Any]:
    """Three classes far apart, and the label of some rows another one."""
    labels = np.arange(count) % 3
    inputs = (np.random.default_rng(seed).normal(0, 0.3, (count, 4)) + 3 * np.eye(3, 4)[labels]).astype(np.float32)
    labels[list(wrong)] = (labels[list(wrong)] + 1) % 3
    return inputs, labels


def source(**more: Any) -> Source:
    inputs, labels = clouds()
    return Source.from_tensors(torch.from_numpy(inputs), torch.from_numpy(labels), name="clouds", **more)


def settings(**data: Any) -> EvolveSettings:
    return EvolveSettings.model_validate({"data": data, "recipe": {"epochs": 5, "batch_size": 20}})


def table(text: str | bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode() if isinstance(text, bytes) else text)))


class Seen(Local):
    """In this process; keeps the jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Any] = []

    def run(self, jobs: Any, progress: Any = None) -> Any:
        self.jobs.extend(jobs)
        return super().run(jobs, progress)


def rows_of(inputs: torch.Tensor, all_inputs: torch.Tensor) -> set[int]:
    """Which rows of some data, which has none twice, are in others."""
    same = (inputs[:, None] == all_inputs[None]).flatten(2).all(-1)
    assert bool((same.sum(1) == 1).all())
    return set(same.int().argmax(1).tolist())


class TestScores:
    def test_they_are_what_their_formulas_say(self) -> None:
        assert self_confidence(BELIEFS, GIVEN) == pytest.approx([0.3, 0.8, 0.9, 0.9])
        assert margin(BELIEFS, GIVEN) == pytest.approx([-0.5, 0.5, 0.5, 0.4])
        assert rivalry(BELIEFS, GIVEN) == pytest.approx([0.2 / 0.9, 0.7 / 0.9, 0.6 / 0.7, 0.5 / 0.6])

    def test_a_belief_in_neither_is_even(self) -> None:
        assert rivalry(np.array([[0.0, 0.0]]), np.array([0])).tolist() == [0.5]

    def test_the_area_is_that_of_scikit_learn(self) -> None:
        random = np.random.default_rng(3)
        score, wrong = random.normal(size=200).round(1), random.random(200) < 0.3
        assert ranked(score, wrong) == pytest.approx(average_precision_score(wrong, score), abs=1e-12)
        assert ranked(score, np.zeros(200, dtype=bool)) is None

    def test_the_most_suspicious_come_first_and_ties_in_the_order_of_rows(self) -> None:
        found = suspects(np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8]]), np.array([0, 0, 0, 0]))
        assert found.index.tolist() == [1, 3, 0, 2]
        assert found.suggested.tolist() == [1, 1, 0, 0]
        assert found.score.tolist() == [0.8, 0.8, 0.1, 0.1]
        assert (len(found), found.differing, found.average_precision) == (4, 2, None)

    def test_a_score_above_a_half_is_another_class(self) -> None:
        random = np.random.default_rng(0)
        beliefs = random.dirichlet(np.full(5, 0.3), 500)
        found = suspects(beliefs, random.integers(0, 5, 500))
        assert ((found.score > 0.5) == (found.given != found.suggested)).all()
        assert (np.diff(found.score) <= 0).all()


class TestFolds:
    @pytest.mark.parametrize("split", ["stratified", "random", "time"])
    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_each_row_is_in_one_fold(self, split: str, count: int) -> None:
        folds = folded(source(), DataSettings(split=split), count)
        assert sorted(torch.cat(folds.held).tolist()) == list(range(120))
        assert len(folds.held) == count
        sizes = [len(held) for held in folds.held]
        assert max(sizes) - min(sizes) <= 1
        for number, held in enumerate(folds.held):
            apart = folds.apart(number)
            assert apart.validation_inputs is not None
            assert torch.equal(apart.validation_inputs, folds.source.inputs[held])
            assert len(apart.inputs) == 120 - len(held)
            assert not rows_of(apart.inputs, folds.source.inputs) & set(held.tolist())

    def test_stratified_folds_have_each_class_in_proportion(self) -> None:
        folds = folded(source(), DataSettings(), 4)
        counts = torch.stack([folds.labels[held].bincount(minlength=3) for held in folds.held])
        assert int((counts.amax(0) - counts.amin(0)).max()) <= 1

    def test_time_cuts_the_rows_in_their_order(self) -> None:
        held = folded(source(), DataSettings(split="time"), 3).held
        assert [rows.tolist() for rows in held[::-1]] == [list(range(k, k + 40)) for k in (0, 40, 80)]

    def test_no_group_is_in_two_folds(self) -> None:
        groups = torch.arange(120) // 8
        folds = folded(source(groups=groups), DataSettings(), 4)
        assert sorted(torch.cat(folds.held).tolist()) == list(range(120))
        seen = [set(groups[held].tolist()) for held in folds.held]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 15

    def test_noise_is_of_all_rows(self) -> None:
        folds = folded(source(), DataSettings(label_noise=0.25), 3)
        assert folds.wrong is not None
        assert int(folds.wrong.sum()) == 30
        assert torch.equal(folds.labels != folds.source.targets, folds.wrong)
        assert folded(source(), DataSettings(), 3).wrong is None

    def test_labels_of_a_file(self) -> None:
        noisy = source().targets.numpy().copy()
        noisy[:9] = (noisy[:9] + 1) % 3
        np.save("noisy.npy", noisy)
        folds = folded(source(), DataSettings(noise="noisy.npy"), 3)
        assert folds.wrong is not None
        assert folds.wrong.nonzero()[:, 0].tolist() == list(range(9))

    @pytest.mark.parametrize(
        ("labels", "groups", "split", "words"),
        [
            ([0] * 30 + [1] * 2, None, "auto", "class 1 of tensors has 2 samples, fewer than the 3 folds: give fewer"),
            (
                [0] * 30 + [1],
                None,
                "auto",
                "class 1 of tensors has 1 sample, fewer than the 3 folds: give more samples",
            ),
            ([0] * 30 + [1] * 9, None, "time", "class 1 of tensors are in fold 1 of 3"),
            ([0, 1] * 15, [0] * 20 + [1] * 10, "auto", "groups of tensors are too few or too uneven for 3 folds"),
        ],
    )
    def test_what_cannot_be_cut(self, labels: list[int], groups: Any, split: str, words: str) -> None:
        inputs = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
        given = Source.from_tensors(inputs, torch.tensor(labels), groups=groups)
        with pytest.raises(InputError, match=words):
            folded(given, DataSettings(split=split), 3)


class TestJudging:
    def test_no_network_learns_from_what_it_judges(self) -> None:
        seen, given = Seen(), source()
        found = find_suspects(settings(), given, folds=4, networks=2, executor=seen)
        assert len(seen.jobs) == 4
        judged = list[int]()
        for job in seen.jobs:
            assert isinstance(job, Job)
            assert job.task.held_out is None
            assert len(job.seeds) == 2
            assert job.watch is not None
            watch: Any = job.watch()
            mine = rows_of(watch.inputs, given.inputs)
            judged += mine
            assert rows_of(job.task.inputs, given.inputs) == set(range(120)) - mine
        assert sorted(judged) == sorted(found.suspects.index.tolist()) == list(range(120))

    @pytest.mark.parametrize("split", ["auto", "random", "time"])
    @pytest.mark.parametrize("more", [{}, {"groups": torch.arange(120) // 6}, {"validation": clouds(30, (), 7)}])
    def test_known_wrong_labels_come_first_by_their_own_rows(self, split: str, more: dict[str, Any]) -> None:
        found = find_suspects(settings(split=split), source(**more), folds=3, networks=1)
        assert sorted(found.suspects.index[:3].tolist()) == [5, 17, 60]
        assert sorted(found.suspects.index.tolist()) == list(range(120))
        assert found.suspects.suggested[:3].tolist() == [k % 3 for k in found.suspects.index[:3].tolist()]

    def test_noisy_digits(self) -> None:
        found = find_suspects(settings(label_noise=0.4), open_source("digits"), networks=1)
        assert found.suspects.wrong is not None
        assert found.suspects.wrong.mean() == pytest.approx(0.4, abs=1e-3)
        assert found.suspects.average_precision is not None
        assert found.suspects.average_precision > 0.95
        assert found.beliefs.mean.sum(1) == pytest.approx(1)

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        first, again = (find_suspects(settings(), source(), folds=3, networks=2, seed=4).to_csv() for _ in range(2))
        assert first == again
        assert first != find_suspects(settings(), source(), folds=3, networks=2, seed=5).to_csv()

    def test_worker_processes_find_the_same(self) -> None:
        here = find_suspects(settings(), source(), folds=2, networks=2)
        with executor("processes", 2) as workers:
            there = find_suspects(settings(), source(), folds=2, networks=2, executor=workers)
        assert there.to_csv() == here.to_csv()

    def test_beliefs_are_averages_over_epochs_and_networks(self) -> None:
        """One network and one epoch: both averages are its outputs; of more epochs they differ."""
        short = EvolveSettings.model_validate({"recipe": {"epochs": 1, "batch_size": 20}})
        one = find_suspects(short, source(), folds=2, networks=1).beliefs
        assert np.array_equal(one.mean, one.last)
        more = find_suspects(settings(), source(), folds=2, networks=1).beliefs
        assert not np.array_equal(more.mean, more.last)

    def test_diverged_networks_are_told(self) -> None:
        wild = EvolveSettings.model_validate({"recipe": {"epochs": 3, "lr": 1e30}})
        with pytest.raises(InputError, match="diverged; give a lower learning rate"):
            find_suspects(wild, source(), loss="mse", folds=2, networks=1)

    def test_a_loss_and_a_network_of_ones_own(self) -> None:
        found = find_suspects(
            settings(), source(), loss=cross_entropy(), folds=2, networks=1, model=lambda: torch.nn.Linear(4, 3)
        )
        assert found.loss == cross_entropy()
        assert str(found.backend) == "mlp"

    def test_a_time_limit_takes_networks_away(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where a batch takes half a second, 15 of them for a network: 15 s for one of each of two folds."""
        monkeypatch.setattr("lossmith.study.suspects.step_seconds", lambda *_: 0.5)
        with caplog.at_level("INFO", "lossmith"):
            found = find_suspects(settings(), source(), folds=2, networks=10, time_limit=50.0)
        assert found.networks == 3
        assert "the time limit allows 3 networks for each fold, not 10" in caplog.text
        assert "suspects trains 6 networks, 3 for each of 2 folds: about 45 s of training" in caplog.text
        with pytest.raises(InputError, match="time limit is 14 s, and one network for each fold takes about 15 s"):
            find_suspects(settings(), source(), folds=2, networks=10, time_limit=14.0)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"folds": 1}, "folds is 1; give a whole number from 2"),
            ({"networks": 0}, "networks is 0; give a whole number from 1"),
            ({"networks": 1.5}, "networks is 1.5"),
        ],
    )
    def test_numbers(self, arguments: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            find_suspects(settings(), source(), **arguments)

    def test_early_stopping_would_look_at_what_is_judged(self) -> None:
        with pytest.raises(InputError, match="early stopping"):
            find_suspects(EvolveSettings.model_validate({"recipe": {"patience": 3}}), source())


class TestTable:
    def test_columns_names_and_order(self, command: Command) -> None:
        inputs, labels = clouds()
        names = np.array(["ant", "bee", 'wasp, "red"'])
        rows = [[*map(str, values), names[label]] for values, label in zip(inputs, labels, strict=True)]
        with Path("insects.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["a", "b", "c", "d", "kind"], *rows])
        out, _ = command("suspects", "insects.csv", "--target", "kind", "--out", "found.csv", *QUICK)
        head, *found = table(Path("found.csv").read_bytes())
        assert head == COLUMNS
        assert sorted(int(row[0]) for row in found) == list(range(120))
        assert all(names[labels[int(index)]] == given for index, given, _, _ in found)
        assert {row[2] for row in found} == set(names)
        scores = [float(row[3]) for row in found]
        assert scores == sorted(scores, reverse=True)
        assert "were made wrong" not in out
        assert "each by 1 network that did not learn from it" in " ".join(out.split())
        assert "found.csv" in out

    def test_the_same_command_writes_the_same_file(self, command: Command) -> None:
        for name in ("one.csv", "two.csv"):
            command("suspects", "digits", "--label-noise", "0.2", "--out", name, "--quiet", *QUICK)
        assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()

    def test_json_and_pictures(self, command: Command) -> None:
        words = ("--label-noise", "0.2", "--figure", "top.png", "--json", *QUICK)
        out, err = command("suspects", "digits", *words)
        document = json.loads(out)
        assert err == ""
        assert document["labels"] == 1797
        assert document["wrong"] == 359
        assert 0.5 < document["average_precision"] <= 1
        assert (document["folds"], document["networks"], document["out"]) == (3, 1, "suspects.csv")
        assert Path("top.png").read_bytes().startswith(b"\x89PNG")
        assert len(table(Path("suspects.csv").read_bytes())) == 1798

    def test_the_help_says_of_which_labels_noise_is(self, command: Command) -> None:
        told = {name: " ".join(command(name, "--help")[0].replace("│", "").split()) for name in ("suspects", "probe")}
        assert "Share of all labels that noise changes, from 0 to below 1: every row is judged" in told["suspects"]
        assert "test labels stay clean" not in told["suspects"]
        assert "test labels stay clean" in told["probe"]

    def test_the_cost_is_told_first(self, command: Command) -> None:
        _, err = command("suspects", "digits", *QUICK)
        assert err.splitlines()[0].startswith("suspects trains 3 networks, 1 for each of 3 folds: about ")
        assert err.splitlines()[0].endswith(" of training")

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("digits", "--out", "nowhere/found.csv"), "nowhere is no directory, so the table has no place"),
            (("digits", "--out", "."), "no file, so the table has no place"),
            (("digits", "--figure", "nowhere/top.png"), "nowhere is no directory"),
            (("digits", "--figure", "top.txt"), "top.txt"),
            (("flat.npz", "--figure", "top.png"), "--figure top.png shows images"),
            (("unlabeled.npz",), "y_train"),
            (("nothing.npz",), "nothing.npz"),
            (("few.npz",), "class 2 of few.npz has 2 samples, fewer than the 5 folds"),
            (("digits", "--folds", "1"), "folds is 1"),
            (("digits", "--networks", "0"), "networks is 0"),
            (("digits", "--noise", "pairs"), "--noise has no effect here"),
            (("digits", "--loss", "nonsense"), "nonsense"),
            (("digits", "--time-limit", "soon"), "the time limit is 'soon'"),
            (("digits", "--epochs", "1000000", "--time-limit", "1s"), "the time limit is 1 s, and one network"),
            (("digits", "--seed", "9" * 30), "--seed"),
        ],
    )
    def test_what_is_bad_is_told_and_nothing_is_written(
        self, command: Command, words: tuple[str, ...], sentence: str
    ) -> None:
        inputs, labels = clouds()
        np.savez("flat.npz", x_train=inputs, y_train=labels)
        np.savez("unlabeled.npz", x_train=inputs)
        np.savez("few.npz", x_train=inputs[:20], y_train=np.array([0, 1] * 9 + [2, 2]))
        before = set(Path().iterdir())
        out, err = command("suspects", *words, code=2)
        assert out == ""
        assert sentence in err
        assert len(err.splitlines()) == 1
        assert set(Path().iterdir()) == before


class TestSheet:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_every_image_has_its_row_and_classes(self, channels: int) -> None:
        images = np.random.default_rng(0).integers(0, 256, (9, channels, 5, 4)).astype(np.uint8)
        rows = [(10 + k, "a $long_name$ of a class", "b", 0.9) for k in range(9)]
        figure = plot_suspects(images, rows)
        drawn = [axes for axes in figure.axes if axes.images]
        assert [axes.get_title() for axes in drawn] == [f"{10 + k}\na $long_name$… → b" for k in range(9)]
        shown = np.asarray(drawn[3].images[0].get_array())
        assert shown.shape == ((5, 4) if channels == 1 else (5, 4, 3))
        assert (shown.min(), shown.max()) == (0, 1)
        save_figure(figure, Path("sheet.png"))


class TestCall:
    def test_it_is_what_the_command_writes(self, command: Command) -> None:
        inputs, labels = clouds()
        np.savez("flat.npz", x_train=inputs, y_train=labels)
        command("suspects", "flat.npz", "--out", "found.csv", "--epochs", "4", "--batch-size", "20")
        found = lossmith.suspects((inputs, labels), epochs=4, batch_size=20, out="called.csv", quiet=True)
        assert isinstance(found, Suspicion)
        assert isinstance(found.suspects, Suspects)
        assert isinstance(found.folds, Folds)
        assert Path("called.csv").read_bytes() == Path("found.csv").read_bytes() == found.to_csv()

    def test_printed_it_is_a_few_sentences(self) -> None:
        found = find_suspects(settings(label_noise=0.2), source(), folds=2, networks=2)
        first = found.rows()[0]
        assert str(found) == repr(found)
        assert "each by 2 networks that did not learn from it" in str(found)
        assert "Of these labels 20.0 % were made wrong here" in str(found)
        assert f"row {first[0]}: {first[1]}, or rather {first[2]}" in str(found)
        assert len(str(found)) < 800

    def test_names_of_texts(self) -> None:
        inputs, labels = clouds()
        names = np.array(["ant", "bee", "wasp"])
        found = lossmith.suspects((inputs, names[labels]), epochs=4, batch_size=20, networks=1, quiet=True)
        first = found.rows()[:3]
        assert sorted(row[0] for row in first) == [5, 17, 60]
        assert all((given, other) == (names[labels[k]], names[k % 3]) for k, given, other, _ in first)

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            ({"population": 3}, "takes no population"),
            ({"train_size": 30}, "train_size has no effect here, where every row is judged"),
            ({"loss": 3}, "loss is 3; give a loss"),
            ({"patience": 2}, "early stopping"),
        ],
    )
    def test_what_has_no_effect(self, words: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            lossmith.suspects(clouds(), quiet=True, **words)

    def test_words_and_places(self) -> None:
        with pytest.raises(InputError, match=r"lossmith\.suspects takes no epoch .did you mean"):
            lossmith.suspects(clouds(), epoch=3)
        with pytest.raises(InputError, match="nowhere is no directory"):
            lossmith.suspects(clouds(), out="nowhere/found.csv")
        with pytest.raises(InputError, match="without labels"):
            lossmith.suspects(clouds()[0])
