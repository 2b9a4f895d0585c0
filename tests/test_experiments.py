"""The study files of `experiments/`, against the authors' settings; and the programs of the experiments."""

import ast
import json
import math
import re
import statistics
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lossmith.analysis import Comparison, Row, baselines
from lossmith.cli import main
from lossmith.data import Normalize, open_source
from lossmith.data.source import Source
from lossmith.errors import InputError
from lossmith.io import read_json, read_toml
from lossmith.losses import Loss, cross_entropy, mse, polynomial
from lossmith.metrics.statistics import holm, welch
from lossmith.nets import ModelSettings, check_network, network_factory
from lossmith.study import EvolveSettings, Study
from lossmith.study.config import check_effect, validated, with_data
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Recipe, Task, repeated, train

ROOT = Path(__file__).parents[1]
PAPER = sorted((ROOT / "experiments" / "paper").glob("*.toml"))
SMALL = sorted((ROOT / "experiments" / "small").glob("*.toml"))
FULL = sorted((ROOT / "experiments" / "noisy-labels").glob("*.toml"))
SHAPES = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28), "digits": (1, 8, 8)}


class Authors(NamedTuple):
    """A row of the authors' settings."""

    model: str
    samples: int
    lr: float
    length: int
    lowered: tuple[int, ...]
    factor: float
    weight_decay: float
    dropout: float | None
    partial: int
    parameters: float
    cutout: int = 0


CIFAR, MNIST = 45_000, 55_000
ALLCNN = Authors("allcnn-c", CIFAR, 0.01, 350, (200, 250, 300), 0.1, 1e-3, 0.5, 35, 1.37e6)
SETTINGS = {
    "alexnet": Authors("alexnet", CIFAR, 0.1, 164, (81, 122), 0.1, 5e-4, None, 16, 2.47e6),
    "preresnet-20": Authors("preresnet-20", CIFAR, 0.1, 200, (100, 150), 0.1, 1e-4, None, 20, 0.27e6),
    "allcnn-c": ALLCNN,
    "allcnn-c-cutout": ALLCNN._replace(cutout=16),
    "wrn-16-8": Authors("wrn-16-8", CIFAR, 0.1, 200, (60, 120, 160), 0.2, 5e-4, 0.3, 20, 10.96e6),
    "wrn-28-5": Authors("wrn-28-5", CIFAR, 0.1, 200, (60, 120, 160), 0.2, 5e-4, 0.3, 20, 9.13e6),
    "mnist": Authors("mnist-cnn", MNIST, 0.01, 20_000, (), 0.1, 0.0, 0.4, 2_000, 3.27e6),
}
FEW_VARIANTS = ("CMA-ES 8", "CMA-ES 8 from the known loss", "CMA-ES 8, known losses first")
STUDIES = {
    *(
        f"{name}-{form}"
        for name in ("alexnet", "preresnet-20", "allcnn-c", "allcnn-c-cutout")
        for form in ("none", "published")
    ),
    *(f"{name}-robust" for name in ("allcnn-c", "allcnn-c-cutout", "wrn-16-8", "wrn-28-5")),
    *("wrn-16-8-none", "wrn-28-5-none", "mnist-none"),
}


def settings_of(path: Path) -> EvolveSettings:
    return validated(EvolveSettings, read_toml(path), str(path))


def named(path: Path) -> str:
    return path.stem


def inputs_of(settings: EvolveSettings, count: int = 4) -> Tensor:
    shape = (count, *SHAPES[settings.data.source])
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_every_study_of_the_paper_has_its_file() -> None:
    assert {path.stem for path in PAPER} == STUDIES


@pytest.mark.parametrize("path", PAPER, ids=named)
class TestPaper:
    def test_the_recipe_is_that_of_the_authors(self, path: Path) -> None:
        name, _, form = path.stem.rpartition("-")
        authors, settings = SETTINGS[name], settings_of(path)
        recipe, run = settings.recipe, settings.run
        assert (recipe.optimizer, recipe.momentum, recipe.batch_size) == ("sgd", 0.9, 128)
        assert (recipe.lr, recipe.weight_decay, recipe.cutout) == (authors.lr, authors.weight_decay, authors.cutout)
        assert (settings.model.name, settings.model.dropout) == (authors.model, authors.dropout)
        in_steps = name == "mnist"
        assert (recipe.crop, recipe.flip) == ((0, False) if in_steps else (4, True))
        epoch = 1 if in_steps else authors.samples // 128
        total = recipe.total_steps(authors.samples)
        assert total == authors.length * epoch
        rates = [recipe.rate(step, total) for step in range(total)]
        lowered = [step for step, (before, after) in enumerate(pairwise(rates), 1) if after != before]
        assert lowered == [number * epoch for number in authors.lowered]
        for number, step in enumerate(lowered, 1):
            assert rates[step] == pytest.approx(authors.lr * authors.factor**number)
        judged = authors.partial if form == "none" else authors.length
        assert round(run.partial * total) == judged * epoch

    def test_the_search_is_that_of_the_authors(self, path: Path) -> None:
        name, _, form = path.stem.rpartition("-")
        settings = settings_of(path)
        search, objective = settings.search, settings.objective
        assert (search.space, search.order, search.sigma, search.generations) == ("taylor", 3, 1.2, 100)
        assert search.population == {"none": 28 if name == "mnist" else 20, "published": 40, "robust": 20}[form]
        assert (search.invariant, search.untrainable) == ("published" if form == "published" else "none", "worst")
        assert (settings.run.replicates, search.lr_adapt, settings.run.prune_at) == (1, False, None)
        assert settings.data.validation_size == 5000
        assert settings.data.train_size is None
        if form == "robust":
            assert (objective.metric, objective.epsilon, objective.gradient) == ("robust-accuracy", 0.1, "loss")
        else:
            assert objective.metric == "accuracy"

    def test_the_network_can_be_built(self, path: Path) -> None:
        authors, settings = SETTINGS[path.stem.rpartition("-")[0]], settings_of(path)
        inputs = inputs_of(settings)
        factory = network_factory(settings.model, Normalize.fit(inputs), inputs.shape[1:], 10)
        with torch.device("meta"):
            parameters = sum(value.numel() for value in factory().parameters())
        assert parameters == pytest.approx(authors.parameters, rel=0.01)


def test_the_protocol_of_noisy_labels_is_the_published_one() -> None:
    """Ma et al. (2020) and Wang et al. (2024), for CIFAR-10."""
    noises = {}
    for path in FULL:
        settings = settings_of(path)
        recipe, data = settings.recipe, settings.data
        assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
        assert (recipe.epochs, recipe.batch_size, recipe.schedule, recipe.clip) == (120, 128, "cosine", 5.0)
        assert (recipe.crop, recipe.flip, settings.model.name) == (4, True, "cnn-8")
        assert (data.source, data.validation_size, data.train_size, data.test_size) == ("cifar10", 5000, None, None)
        assert round(settings.run.partial * recipe.epochs) == 12
        noises[path.stem] = (data.noise, data.label_noise)
    shares = {f"symmetric-{round(100 * share)}": ("symmetric", share) for share in (0.2, 0.4, 0.6, 0.8)}
    more = {"asymmetric-40": ("asymmetric:cifar10", 0.4), "worst": ("cifar10n.npz:worst", 0.0)}
    assert noises == {**shares, **more}


@pytest.mark.parametrize("path", [*PAPER, *SMALL, *FULL], ids=named)
class TestFiles:
    def test_no_setting_is_idle(self, path: Path) -> None:
        check_effect(settings_of(path))

    def test_every_setting_is_one_that_acts(self, path: Path) -> None:
        """What `check_effect` does not ask: settings of a schedule, an optimiser or a network that is not there."""
        document = read_toml(path)
        recipe, model = document["recipe"], document["model"]
        assert recipe.get("schedule", "constant") == "step" or not {"milestones", "decay"} & recipe.keys()
        assert not {"epochs", "steps"} <= recipe.keys()
        assert ("hidden" in model) == (model["name"] in ("mlp", "conv"))
        assert document["search"]["space"] == "taylor" or "order" not in document["search"]

    def test_the_head_says_how_to_run_it(self, path: Path) -> None:
        head = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("# "):
                break
            head.append(line)
        shown = path.relative_to(ROOT).as_posix()
        assert any(line.startswith(("# lossmith evolve ", "# python ")) and shown in line for line in head)
        study = path.stem.startswith(("table1", "regularizers"))
        assert study or re.fullmatch(rf"# lossmith (compare|attack) .*studies/{path.stem}/best\.json.*", head[-1])

    def test_the_commands_of_the_head_exist(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each flag is one of its command; a study that is not there is what stops it."""
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"# lossmith (compare|attack) (.*)", line)
            if found is not None:
                with pytest.raises(SystemExit):
                    main([found[1], *found[2].split()])
                error = capsys.readouterr().err
                assert "best.json cannot be read" in error, error


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=named)
def test_an_experiment_uses_the_library_and_not_the_command_line(path: Path) -> None:
    """What a reader can do with a study, an experiment does the same way."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    imports = [node for node in tree if isinstance(node, ast.ImportFrom) and node.module is not None]
    assert [node.module for node in imports if f"{node.module}.".startswith("lossmith.cli.")] == []
    names = [alias.name for node in imports for alias in node.names if f"{node.module}.".startswith("lossmith.")]
    assert [name for name in names if name.startswith("_") or name == "cli"] == []


@pytest.mark.parametrize("path", SMALL, ids=named)
def test_a_small_network_fits_its_data(path: Path) -> None:
    settings = settings_of(path)
    inputs = inputs_of(settings)
    check_network(network_factory(settings.model, Normalize.fit(inputs), inputs.shape[1:], 10), inputs, 10)
    assert settings.data.train_size is not None
    assert settings.data.train_size <= 2000


def tiny(**changes: Any) -> EvolveSettings:
    """A study that takes a second."""
    document: dict[str, Any] = {
        "data": {"train_size": 100, "validation_size": 100},
        "model": {"hidden": [8]},
        "recipe": {"epochs": 1},
        "search": {"space": "taylor", "sigma": 1.2, "population": 4, "generations": 3, "invariant": "none"},
        "run": {"training": "population", "finalists": 2, "finalist_seeds": 2, "tune": False},
    }
    for part, values in changes.items():
        document[part] |= values
    return EvolveSettings.model_validate(document)


@pytest.fixture(scope="module")
def table1(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("table1")


@pytest.fixture(scope="module")
def table1_runs(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("table1_runs")


@pytest.fixture(scope="module")
def regularizers(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("regularizers")


@pytest.fixture(scope="module")
def regularizers_runs(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("regularizers_runs")


@pytest.fixture(scope="module")
def program(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("program")


@pytest.fixture(scope="module")
def evidence(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("evidence")


@pytest.fixture(scope="module")
def networks(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("networks")


class TestProgram:
    def test_what_is_kept_is_made_once_and_of_one_job(self, program: ModuleType, tmp_path: Path) -> None:
        path = tmp_path / "work" / "0-none.json"
        assert program.kept(path, "one", lambda: {"a": 1}) == {"a": 1}
        assert program.kept(path, "one", lambda: {"a": 2}) == {"a": 1}
        with pytest.raises(SystemExit, match="another job"):
            program.kept(path, "two", lambda: {"a": 1})

    def test_what_could_not_be_made_is_not_kept(self, program: ModuleType, tmp_path: Path) -> None:
        def stopped() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            program.kept(tmp_path / "part.json", "one", stopped)
        assert program.kept(tmp_path / "part.json", "one", lambda: 3) == 3

    def test_the_key_does_not_know_where_the_data_lies(self, program: ModuleType) -> None:
        keys = [
            program.Plan(tiny(**changes), digest, networks).key
            for changes, digest, networks in (
                ({}, "digest", 3),
                ({"data": {"source": "elsewhere.npz"}}, "digest", 3),
                ({}, "other", 3),
                ({}, "digest", 4),
                ({"recipe": {"lr": 0.1}}, "digest", 3),
            )
        ]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 4

    @pytest.mark.integration
    def test_the_fields_of_a_larger_plan_are_in_its_key(self, experiment: Callable[[str], ModuleType]) -> None:
        runs = experiment("robustness_runs")
        plan = runs.plan_of("digits", "digits", "digest")
        others = [
            replace(plan, points=9),
            replace(plan, attacks=replace(plan.attacks, steps=3)),
            replace(plan, settings=with_data(plan.settings, "elsewhere.npz")),
        ]
        assert [other.key == plan.key for other in others] == [False, False, True]

    def test_settings_are_changed_in_parts_and_checked(self, program: ModuleType) -> None:
        found = program.changed(tiny(), data={"split_seed": 3}, search={"seed": 4})
        assert (found.data.split_seed, found.search.seed) == (3, 4)
        back = program.changed(found, data={"split_seed": 0}, search={"seed": 0})
        assert back == tiny()
        with pytest.raises(InputError, match=r"recipe\.lr"):
            program.changed(tiny(), recipe={"lr": -1.0})

    def test_parts_run_in_processes_of_one_thread(self, program: ModuleType) -> None:
        with program.processes(1) as pool:
            assert program.each(pool, pow, [(2, 3), (3, 2), (5, 1)]) == [8, 9, 5]
            assert program.each(pool, torch.get_num_threads, [()]) == [1]
            with pytest.raises(ZeroDivisionError):
                program.each(pool, divmod, [(1, 1), (1, 0)])

    @pytest.mark.parametrize(
        ("words", "command"),
        [
            (["a.toml", "results/x"], "a.toml results/x --searches 3 --workers 1"),
            (
                ["a.toml", "results/x", "--workers", "2", "--data", "/far/b.npz", "--work", "w", "--again"],
                "a.toml results/x --data b.npz --searches 3 --workers 2",
            ),
        ],
    )
    def test_the_command_that_is_told_makes_the_results_again(
        self, program: ModuleType, monkeypatch: pytest.MonkeyPatch, words: list[str], command: str
    ) -> None:
        monkeypatch.setattr("sys.argv", ["any.py", *words])
        given = program.arguments("Head.", "any", {"file": {"type": Path}}, {"searches": (3, 1, "searches")})
        assert given.command == f"python experiments/any.py {command}"
        assert given.work.name == "x"

    def test_a_number_that_is_too_small_is_refused(
        self, program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["any.py", "results/x", "--networks", "1"])
        with pytest.raises(SystemExit):
            program.arguments("Head.", "any", {}, {"networks": (10, 2, "networks")})
        assert "--networks is 1; take at least 2" in capsys.readouterr().err

    def test_the_document_of_a_run_is_read_back_and_holds_no_place(self, program: ModuleType, tmp_path: Path) -> None:
        plan = program.Plan(with_data(tiny(), "/home/somebody/mnist.npz"), "digest", 3)
        program.keep(tmp_path, program.raw(Namespace(command="python x"), plan, runs=[{"a": 1.5}]))
        document = read_json(tmp_path / "runs.json")
        assert (document["command"], document["digest"], document["runs"]) == ("python x", "digest", [{"a": 1.5}])
        assert document["versions"]["torch"] == torch.__version__
        assert document["machine"]["cores"] >= 1
        assert settings_of(tmp_path / "study.toml") == with_data(tiny(), "mnist.npz")
        assert "somebody" not in (tmp_path / "runs.json").read_text(encoding="utf-8")


NO_DIFFERENCE = "no difference larger than 0.5 points"


class TestVerdicts:
    """The rule that stands at the heads of the experiments."""

    @pytest.mark.parametrize(
        ("differences", "p", "thirds", "fifths"),
        [
            ([0.1, 0.1, 0.1], [0.01, 0.01, 0.01], "held", "held"),
            ([0.1, 0.1, 0.1], [0.01, 0.01, 0.06], "held", "not shown"),
            ([0.1, 0.1, 0.1], [0.01, 0.06, 0.06], "not shown", "not shown"),
            ([0.1, 0.1, -0.1], [0.01, 0.01, 0.01], "not shown", "not shown"),
            ([0.1, 0.1, 0.0], [0.01, 0.01, 0.01], "not shown", "not shown"),
            ([0.1, -0.1], [0.01, 0.9], "not shown", "not shown"),
            ([0.1, -0.3], [0.01, 0.9], "not shown", "not shown"),
            ([0.1] * 5, [0.01] * 4 + [0.05], "held", "held"),
            ([0.1] * 5, [0.01] * 4 + [0.9], "held", "held"),
            ([0.1] * 5, [0.01] * 3 + [0.9] * 2, "not shown", "not shown"),
            ([0.1], [0.01], "held", "held"),
            ([0.1], [0.05], "not shown", "not shown"),
        ],
    )
    def test_the_rule(
        self, evidence: ModuleType, differences: list[float], p: list[float], thirds: str, fifths: str
    ) -> None:
        assert evidence.TWO_THIRDS(differences, p) == thirds
        assert evidence.FOUR_FIFTHS(differences, p) == fifths

    @pytest.mark.parametrize("corrected", [True, False])
    def test_all_tests_that_are_judged_together_are_one_family(self, evidence: ModuleType, corrected: bool) -> None:
        rng = np.random.default_rng(0)
        runs = [{name: rng.normal(mean, 1, 9).tolist() for name, mean in (("a", 2), ("b", 1), ("c", 0))} for _ in "123"]
        pairs = [("a", "b"), ("b", "c"), ("c", "a")]
        claims = [evidence.Claim(one + other, "", itemgetter(one), itemgetter(other)) for one, other in pairs]
        found = evidence.judge(claims, runs, corrected)
        tests = [welch(run[one], run[other]) for one, other in pairs for run in runs]
        assert [value for one in found for value in one.p] == [test.p for test in tests]
        assert [value for one in found for value in one.low] == [test.low for test in tests]
        counted = holm([test.p for test in tests]) if corrected else [test.p for test in tests]
        assert [value for one in found for value in one.counted] == counted
        assert ("holm" in found[0].to_json()) is corrected
        assert found[2].word == "failed"
        assert [one.shown for one in found] == [one.word == "held" for one in found]

    @pytest.mark.parametrize(
        ("interval", "one_sided", "two_sided", "without_margin"),
        [
            ((0.001, 0.004), NO_DIFFERENCE, NO_DIFFERENCE, "not shown"),
            ((-0.004, 0.004), NO_DIFFERENCE, NO_DIFFERENCE, "not shown"),
            ((-0.004, -0.001), NO_DIFFERENCE, NO_DIFFERENCE, "failed"),
            ((0.0, 0.0), NO_DIFFERENCE, NO_DIFFERENCE, "not shown"),
            ((-0.005, 0.004), "failed", "not shown", "not shown"),
            ((-0.2, 0.004), "failed", "not shown", "not shown"),
            ((-0.2, -0.1), "failed", "not shown", "failed"),
            ((-0.004, 0.005), "not shown", "not shown", "not shown"),
            ((-0.2, 0.005), "not shown", "not shown", "not shown"),
            ((-0.2, 0.0), "failed", "not shown", "not shown"),
            ((0.1, 0.2), "not shown", "not shown", "not shown"),
            ((-math.inf, math.inf), "not shown", "not shown", "not shown"),
        ],
    )
    def test_what_is_said_where_nothing_is_shown(
        self, evidence: ModuleType, interval: tuple[float, float], one_sided: str, two_sided: str, without_margin: str
    ) -> None:
        """Strictly within the margins; failed is a gain that matters excluded, which a claim of both sides has not."""
        claim = evidence.Claim("a", "", itemgetter(0), itemgetter(1), margin=0.005)
        assert claim.unshown(interval) == one_sided
        assert replace(claim, two_sided=True).unshown(interval) == two_sided
        assert replace(claim, margin=None).unshown(interval) == without_margin

    def test_the_margin_is_told_in_points(self, evidence: ModuleType) -> None:
        claim = evidence.Claim("a", "", itemgetter(0), itemgetter(1), margin=0.02)
        assert claim.unshown((-0.01, 0.01)) == "no difference larger than 2 points"

    @pytest.mark.parametrize(
        ("shifts", "word"),
        [
            ([0.04, 0.05, 0.06], "held"),
            ([0.04, 0.05, -0.2], "not shown"),
            ([0.001, -0.001, 0.0], NO_DIFFERENCE),
            ([-0.04, -0.05, -0.06], "failed"),
            # Two searches far apart say little, whatever their mean is.
            ([-0.3, 0.1], "not shown"),
            ([0.05], "held"),
            ([0.0], NO_DIFFERENCE),
            ([-0.05], "failed"),
            # Above 0, but the interval of the networks, ± 0.0038, reaches from 0 to what matters.
            ([0.003], "not shown"),
        ],
    )
    def test_the_four_words(self, evidence: ModuleType, shifts: list[float], word: str) -> None:
        """Over searches the unit is a search, in one search a network."""
        noise = np.linspace(-0.005, 0.005, 6)
        runs = [((0.5 + shift + noise).tolist(), (0.5 + noise).tolist()) for shift in shifts]
        claim = evidence.Claim("a", "", itemgetter(0), itemgetter(1), margin=0.005)
        (found,) = evidence.judge([claim], runs)
        assert found.word == word
        assert found.shown is (word == "held")
        if len(shifts) == 1:
            assert found.interval == (found.low[0], found.high[0])
        else:
            ends = stats.ttest_1samp(shifts, 0).confidence_interval(0.95)
            assert found.interval == (pytest.approx(ends.low), pytest.approx(ends.high))
        document = found.to_json()
        assert (document["interval"], document["margin"]) == (list(found.interval), 0.005)

    def test_equal_searches_have_an_interval_of_one_point(self, evidence: ModuleType) -> None:
        same = ([0.5, 0.5], [0.5, 0.5])
        claim = evidence.Claim("a", "", itemgetter(0), itemgetter(1), margin=0.005)
        (found,) = evidence.judge([claim], [same, same, same])
        assert (found.interval, found.word) == ((0, 0), NO_DIFFERENCE)

    def test_an_interval_is_open_where_a_search_lacks_figures(self, evidence: ModuleType) -> None:
        """The 0 that stands for a search without figures is no measurement."""
        claim = evidence.Claim("a", "", itemgetter(0), itemgetter(1))
        lower = ([0.1, 0.11], [0.5, 0.51])
        assert evidence.judge([claim], [lower, lower])[0].word == "failed"
        (found,) = evidence.judge([claim], [lower, lower, ([None, None], [0.5, 0.51])])
        assert (found.word, found.to_json()["interval"]) == ("not shown", [None, None])
        assert evidence.spread(found.interval) == evidence.spread([None, None]) == "open"

    def test_an_interval_in_a_table(self, evidence: ModuleType) -> None:
        assert evidence.spread((-0.00123, 0.5)) == "[-0.12, +50.00]"
        assert evidence.spread((-0.25, 0.5), scale=1, digits=1) == "[-0.2, +0.5]"

    def test_what_there_is_no_figure_of_is_left_out(self, evidence: ModuleType) -> None:
        """A network that diverged has no basin."""
        assert evidence.compared([1.0, None, 3.0], [0.5, 0.75, None]) == welch([1.0, 3.0], [0.5, 0.75])
        alone = evidence.compared([1.0, None], [0.5, 0.75])
        assert (alone.difference, alone.p) == (0.375, 1)
        assert evidence.compared([None], [0.5]).difference == 0
        claim = evidence.Claim("a", "", itemgetter(0), itemgetter(1))
        document = evidence.judge([claim], [([1.0, None], [0.5, 0.75])])[0].to_json()
        assert (document["low"], document["high"], document["verdict"]) == ([None], [None], "not shown")

    def test_one_search_has_no_p_over_searches(self, evidence: ModuleType) -> None:
        assert evidence.paired([0.1]) is None
        assert evidence.paired([0.1, 0.1]) == 0
        assert evidence.paired([0.0, 0.0]) == 0.5
        assert evidence.paired([0.1, 0.3]) == pytest.approx(stats.ttest_rel([0.1, 0.3], [0, 0]).pvalue / 2)

    def test_a_loss_is_not_rounded(self, evidence: ModuleType) -> None:
        third = 1 / 3
        found = evidence.finite({"loss": {"coefficients": [third]}, "test": [third, math.nan, -math.inf, 7, "x"]}, 3)
        assert found == {"loss": {"coefficients": [third]}, "test": [0.333, None, None, 7, "x"]}


class TestNetworks:
    def test_networks_are_in_the_order_of_the_losses_and_one_that_diverged_is_wrong(self, networks: ModuleType) -> None:
        settings = tiny()
        job = Problem.open(settings)
        losses = [cross_entropy(), 1e39 * mse()]
        found = networks.trained(job.task, losses, [1, 2], settings.recipe, "population")
        right = networks.scores(found, job.validation)
        alone = networks.trained(job.task, losses[:1], [1, 2], settings.recipe, "population")
        assert right[:2] == networks.scores(alone, job.validation)
        assert found.diverged.tolist() == [False, False, True, True]
        assert right[2:] == [0, 0]
        assert min(right[:2]) > 0

    def test_the_winner_is_the_candidate_with_the_best_mean(self, networks: ModuleType, tmp_path: Path) -> None:
        """Not cross-entropy or label smoothing, whatever they reach."""
        loss = networks.evolved(tiny(), tmp_path / "study")
        with Store(tmp_path / "study", readonly=True) as store:
            rows = [row for row in store.finalists("final") if "genome" in row["origin"]]
        assert len(rows) >= 2
        best = max(rows, key=lambda row: row["mean"])
        assert Loss.from_json(best["loss"]) == loss


class TestTable1:
    def plan(self, table1_runs: ModuleType) -> Any:
        return table1_runs.Budget(tiny(), "digest", 3)

    @pytest.mark.parametrize("arm", ["none", "published", "exact"])
    def test_every_form_trains_as_many_candidates(
        self, table1: ModuleType, table1_runs: ModuleType, tmp_path: Path, arm: str
    ) -> None:
        plan = self.plan(table1_runs)
        found = table1_runs.searched(plan, 0, arm, tmp_path)
        assert found["trained"] == plan.budget == 12
        status = found["status"]
        assert len(status) - status.count("untrainable") == 12
        assert ("untrainable" in status) == (arm != "none")
        assert [fitness is None for fitness in found["fitness"]] == [one == "untrainable" for one in status]
        assert len(table1.progress(found)) == 12
        assert len(found["finalists"]) == 3

    def test_a_stopped_search_goes_on_to_the_same_end(
        self, table1_runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = self.plan(table1_runs)
        whole = table1_runs.searched(plan, 0, "exact", tmp_path / "whole")
        record = Study.record
        calls: list[None] = []

        def stopping(study: Study, results: Any) -> None:
            calls.append(None)
            if len(calls) == 2:
                raise KeyboardInterrupt
            record(study, results)

        with monkeypatch.context() as patched:
            patched.setattr(Study, "record", stopping)
            with pytest.raises(KeyboardInterrupt):
                table1_runs.searched(plan, 0, "exact", tmp_path / "stopped")
        again = table1_runs.searched(plan, 0, "exact", tmp_path / "stopped")
        whole["seconds"] = again["seconds"] = 0
        assert again == whole

    def test_the_arms_of_a_search_share_their_data_and_the_first_candidates(self, table1_runs: ModuleType) -> None:
        plan = self.plan(table1_runs)
        arms = {arm: plan.of(2, arm) for arm in table1_runs.FACTOR}
        assert len({settings.data.model_dump_json() for settings in arms.values()}) == 1
        assert {arm: settings.search.population for arm, settings in arms.items()} == {
            "none": 4,
            "published": 8,
            "exact": 8,
        }
        assert {settings.search.seed for settings in arms.values()} == {2}

    def test_the_best_so_far_counts_trained_candidates_only(self, table1: ModuleType) -> None:
        part = {"fitness": [0.2, None, 0.1, None, 0.5], "status": ["ok", "untrainable", "ok", "diverged", "ok"]}
        assert table1.progress(part) == [0.2, 0.2, 0.2, 0.5]

    def test_claims(self, table1: ModuleType) -> None:
        def run(shift: float) -> dict[str, Any]:
            scores = {"cross-entropy": 0.5, "none": 0.6, "published": 0.6 + shift, "exact": 0.4}
            noise = np.linspace(-0.01, 0.01, 10)
            return {"losses": {name: {"test": (value + noise).tolist()} for name, value in scores.items()}}

        runs = [run(0.05), run(0.04), run(0.001)]
        found = {one.claim.name: one for one in table1.claims(runs)}
        assert {name: one.word for name, one in found.items()} == {
            "published > none": "held",
            "exact > none": "failed",
            "none > cross-entropy": "held",
            "published > cross-entropy": "held",
            "exact > cross-entropy": "failed",
        }
        one = found["published > none"]
        first, second = (runs[2]["losses"][name]["test"] for name in ("published", "none"))
        assert one.p[2] == welch(first, second).p
        assert one.over_searches == pytest.approx(stats.ttest_rel([0.05, 0.04, 0.001], [0, 0, 0]).pvalue / 2)
        assert all(after >= before for row in found.values() for before, after in zip(row.p, row.holm, strict=True))
        assert found["published > none"].holm[2] > 0.05
        below = table1.claims([run(0.05), run(0.04), run(-0.001)])[0]
        assert (below.claim.name, below.word) == ("published > none", "not shown")


def test_a_margin_is_one_of_accuracy(experiment: Callable[[str], ModuleType]) -> None:
    """Half a point for every accuracy; a width or an eigenvalue has no number that would not matter."""
    robustness = experiment("robustness")
    claims = robustness.claims_of("TaylorGLO", "") + robustness.claims_of("residual", " (residual)")
    without = {one.name.split()[0] for one in claims if one.margin is None}
    assert without == {"basin", "basin-robust", "eigenvalue"}
    others = [*claims, *experiment("table1").CLAIMS, experiment("regularizers").ahead("clean", None)]
    assert {one.margin for one in others} == {None, 0.005}


class TestRegularizers:
    def test_the_span_of_known_losses(self, regularizers_runs: ModuleType) -> None:
        low, null = regularizers_runs.span(cross_entropy(), 10)
        assert low == pytest.approx(0, abs=1e-8)
        assert null == pytest.approx(math.log(10))
        # −h² + 2 h y: 0.9² + 9 · 0.1² − 1 at equal outputs, −1 at the label itself.
        low, null = regularizers_runs.span(polynomial(ch=-2, cy=2), 10)
        assert low == pytest.approx(-1, abs=1e-8)
        assert null == pytest.approx(0.9**2 + 9 * 0.1**2 - 1)
        smoothed = regularizers_runs.span(cross_entropy().smoothed(0.2, 10), 10)[0]
        target = torch.tensor([0.82] + [0.02] * 9, dtype=torch.float64)
        assert smoothed == pytest.approx(float(-(target * target.log()).sum()), abs=1e-4)

    @pytest.mark.parametrize("backend", ["plain", "population"])
    def test_flooding_of_cross_entropy_is_flooding(self, regularizers_runs: ModuleType, backend: Any) -> None:
        """A constant and another level give the same training as the level itself."""
        source = Source.from_tensors(
            torch.randn(60, 6, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 4
        )
        factory = network_factory(ModelSettings(hidden=(8,)), Normalize.fit(source.inputs), source.inputs.shape[1:], 4)
        task = Task(lambda: factory().double(), source.inputs.double(), source.targets, 4)
        recipe = Recipe(lr=0.2, epochs=20, batch_size=10)
        setup = regularizers_runs.flooded(regularizers_runs.Setup(cross_entropy(), recipe, None, 4, 0), 0.25)
        seeds = [1, 2]
        ours = train(task, repeated(Loss.stack([setup.loss]), 2), seeds, setup.recipe, backend)
        level = recipe.model_copy(update={"flooding": 0.25 * math.log(4)})
        theirs, dry = (
            train(task, repeated(Loss.stack([cross_entropy()]), 2), seeds, one, backend) for one in (level, recipe)
        )
        logits = [trained.networks.logits(task.inputs) for trained in (ours, theirs, dry)]
        assert (logits[0] - logits[1]).abs().max() < 1e-6
        assert (logits[0] - logits[2]).abs().max() > 1e-2

    def test_flooding_means_the_same_for_a_loss_scaled_and_shifted(self, regularizers_runs: ModuleType) -> None:
        """At the share of the way down, the loss with its constant is at the level of the recipe."""
        for loss in (cross_entropy(), 3 * mse(), cross_entropy().smoothed(0.3, 5)):
            setup = regularizers_runs.flooded(regularizers_runs.Setup(loss, Recipe(), None, 5, 0), 0.5)
            low, null = regularizers_runs.span(setup.loss, 5)
            assert (low + null) / 2 == pytest.approx(setup.recipe.flooding)

    def test_every_regularizer_changes_the_training(self, regularizers_runs: ModuleType) -> None:
        settings = tiny(recipe={"epochs": 20, "batch_size": 10, "lr": 0.1})
        job = Problem.open(settings)
        plain = regularizers_runs.Setup(cross_entropy(), settings.recipe, None, 10, 8)
        changed = []
        for one in regularizers_runs.REGULARIZERS:
            found = one.applied(plain, one.axis.value(one.axis.first))
            validated(Recipe, found.recipe.model_dump(mode="json"), one.name)
            factory = network_factory(
                settings.model.model_copy(update={"dropout": found.dropout}),
                Normalize.fit(job.task.inputs),
                job.task.inputs.shape[1:],
                10,
            )
            task = Task(factory, job.task.inputs, job.task.targets, 10, None, job.validation)
            trained = train(task, Loss.stack([found.loss]), [1], found.recipe, "population")
            changed.append(trained.networks.logits(job.validation[0]))
        others = [float((logits - changed[0]).abs().max()) for logits in changed[1:]]
        assert min(others) > 1e-3, dict(zip(list(regularizers_runs.BY_NAME)[1:], others, strict=True))

    def test_both_losses_get_the_same_settings(
        self, regularizers_runs: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The best of one loss at an edge makes both try the next place."""
        bench = regularizers_runs.Bench.__new__(regularizers_runs.Bench)
        bench.losses = {"cross-entropy": cross_entropy(), "evolved": mse()}

        def measured(wanted: Any, seeds: Any) -> Any:
            def score(one: Any) -> float:
                peak = (6, 0) if one.loss == "evolved" else (2, 1)
                return -float(abs(one.strength - peak[0]) + abs(one.rate - peak[1]))

            return {one: {"validation": [score(one)] * len(seeds)} for one in wanted}

        monkeypatch.setattr(bench, "measured", measured)
        row = regularizers_runs.tuned(bench, 0, [regularizers_runs.BY_NAME["dropout"]], lambda _: None)["dropout"]
        places = {loss: {(s, r) for s, r, _ in found["tried"]} for loss, found in row.items()}
        assert places["evolved"] == places["cross-entropy"]
        assert (6, 0) in places["cross-entropy"]
        assert (row["evolved"]["setting"].strength, row["evolved"]["setting"].rate) == (6, 0)
        assert (row["cross-entropy"]["setting"].strength, row["cross-entropy"]["setting"].rate) == (2, 1)
        assert len(row["evolved"]["again"]) == regularizers_runs.FINALISTS

    def test_what_was_trained_is_found_again(
        self, regularizers_runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = tiny()
        job = Problem.open(settings)
        wanted = [
            regularizers_runs.Setting("cross-entropy", name, 1, 0) for name in ("none", "dropout", "weight decay")
        ]
        bench = regularizers_runs.Bench(job, settings, {"cross-entropy": cross_entropy()}, tmp_path, "key")
        first = bench.measured(wanted, [1, 2], job.test())

        def refused(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(bench, "trained", refused)
        assert bench.measured(wanted, [1, 2], job.test()) == first
        with pytest.raises(KeyboardInterrupt):
            bench.measured(wanted, [1, 3], job.test())
        for row in first.values():
            assert [len(row["validation"]), len(row["test"])] == [2, 2]

    def test_the_interaction_is_a_difference_of_differences(self, regularizers: ModuleType) -> None:
        rng = np.random.default_rng(0)
        a, b, c, d = (rng.normal(mean, spread, 12) for mean, spread in ((3, 1), (2, 0.5), (4, 2), (1, 1)))
        found = regularizers.interaction([a, b], [c, d])
        assert found.difference == pytest.approx(a.mean() - b.mean() - (c.mean() - d.mean()))
        assert (found.low + found.high) / 2 == pytest.approx(found.difference)
        assert regularizers.interaction([c, d], [a, b]).difference == pytest.approx(-found.difference)
        # Without spread in two of the samples it is Welch's test of the others.
        still = [0.5] * 12
        alone, known = regularizers.interaction([a, b], [still, still]), welch(a.tolist(), b.tolist())
        assert (alone.low, alone.high) == (pytest.approx(known.low), pytest.approx(known.high))
        assert alone.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
        assert regularizers.interaction([still, still], [still, still]).p == 1

    def test_claims(self, regularizers: ModuleType) -> None:
        noise = np.linspace(-0.005, 0.005, 20)

        def row(base: float, ours: float) -> dict[str, Any]:
            found = {"cross-entropy": base, "evolved": ours}
            return {
                loss: {"test": (value + noise).tolist(), "again": [[0, 0, [value]]]} for loss, value in found.items()
            }

        table = {"none": row(0.5, 0.7), "mixup": row(0.6, 0.7), "dropout": row(0.4, 0.65)}
        runs = [{"search": 0, "condition": name, "table": table} for name in ("clean", "noisy")]
        tests, crossed = regularizers.claims(runs)
        verdicts = {name: one.word for (condition, name), one in tests.items() if condition == "noisy"}
        assert verdicts == {
            "evolved > cross-entropy": "held",
            "cross-entropy with mixup > cross-entropy": "held",
            "evolved with mixup > evolved": NO_DIFFERENCE,
            "cross-entropy with dropout > cross-entropy": "failed",
            "evolved with dropout > evolved": "failed",
            "evolved > cross-entropy, each with its best": "held",
        }
        best = tests["clean", "evolved > cross-entropy, each with its best"]
        assert best.differences == [pytest.approx(0.1)]
        assert {(name, one.word) for (_, name), one in crossed.items()} == {
            ("mixup", "less together"),
            ("dropout", "more together"),
        }
        assert [one.differences[0] for one in crossed.values()][:2] == [pytest.approx(-0.1), pytest.approx(0.05)]
        assert regularizers.table(runs)[2].startswith("| none | 50.00 (")
        mixup = "+10.00** | *+0.00* | **-10.00**"
        assert regularizers.compact((tests, crossed))[2] == f"| mixup | **{mixup} | **{mixup} |"

    def test_the_best_row_is_chosen_among_those_judged_alike(self, regularizers: ModuleType) -> None:
        """With early stopping the validation accuracy is the highest of many epochs, on the samples that choose."""
        validation = {"none": 0.90, "early stopping": 0.95, "mixup": 0.92, "dropout": 0.91}
        table = {
            name: {loss: {"test": [value, value], "again": [[0, 0, [value]]]} for loss in ("cross-entropy", "evolved")}
            for name, value in validation.items()
        }
        assert regularizers.best_of(table, "evolved") == "mixup"
        assert regularizers.figures("clean", None, "evolved")({"clean": {"table": table}}) == [0.92, 0.92]
        del table["mixup"], table["dropout"]
        assert regularizers.best_of(table, "evolved") == "none"

    def test_an_interaction_has_either_sign_and_cannot_fail(self, regularizers: ModuleType) -> None:
        noise = np.linspace(-0.005, 0.005, 20)

        def row(base: float, ours: float) -> dict[str, Any]:
            means = {"cross-entropy": base, "evolved": ours}
            return {loss: {"test": (mean + noise).tolist(), "again": [[0, 0, [mean]]]} for loss, mean in means.items()}

        def words(ours: float) -> list[str]:
            table = {"none": row(0.5, 0.5), "mixup": row(0.5, ours)}
            runs = [{"search": 0, "condition": name, "table": table} for name in ("clean", "noisy")]
            tests, crossed = regularizers.claims(runs)
            return [tests["clean", "evolved with mixup > evolved"].word, crossed["clean", "mixup"].word]

        assert words(0.5) == [NO_DIFFERENCE, NO_DIFFERENCE]
        assert words(0.4975) == [NO_DIFFERENCE, "not shown"]
        assert words(0.4969) == ["failed", "not shown"]
        assert words(0.4) == ["failed", "less together"]

    def test_the_claim_of_the_best_says_what_it_leaves_out(self, regularizers: ModuleType) -> None:
        assert "early stopping" in regularizers.ahead("clean", None).sentence
        assert "early stopping" not in regularizers.ahead("clean", "none").sentence


class TestSearches:
    @pytest.mark.parametrize(
        ("accuracies", "samples", "error"),
        [([0.98], 449, "0.66"), ([0.97, 0.99], 449, "0.66"), ([0.98], 3000, "0.26"), ([0.9], 10_000, "0.30")],
    )
    def test_what_a_test_part_is_too_small_for(
        self, experiment: Callable[[str], ModuleType], accuracies: list[float], samples: int, error: str
    ) -> None:
        rows = [{"evolved": accuracy, "test_samples": samples} for accuracy in accuracies]
        text = "\n".join(experiment("searches_page").coarse(rows))
        assert f"has {samples} samples: one is {100 / samples:.2f} points" in text
        assert f"is {error} points, more than half of what matters here,\n0.5 points." in text
        assert "is in no p of networks, and only in part\nin those of searches" in text

    @pytest.mark.parametrize(("accuracy", "samples"), [(0.98, 3200), (0.98, 10_000), (1.0, 100)])
    def test_nothing_is_said_of_a_large_test_part(
        self, experiment: Callable[[str], ModuleType], accuracy: float, samples: int
    ) -> None:
        assert experiment("searches_page").coarse([{"evolved": accuracy, "test_samples": samples}]) == []

    def test_the_page_is_written_again_from_the_rows(
        self, experiment: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is trained: the study file need not even be there."""
        program, kept = experiment("searches"), ROOT / "results" / "noisy-digits" / "summary.json"
        (tmp_path / "summary.json").write_bytes(kept.read_bytes())
        monkeypatch.setattr("sys.argv", ["searches.py", "nowhere.toml", str(tmp_path), "--again"])
        program.main()
        page = (tmp_path / "summary.md").read_text(encoding="utf-8")
        assert page == program.summary(read_json(kept)["searches"], Path("nowhere.toml"), tmp_path)
        assert read_json(tmp_path / "summary.json") == read_json(kept)

    def test_a_gain_is_paired_by_network(self, experiment: Callable[[str], ModuleType]) -> None:
        scores = {"evolved": [0.97, 0.96, 0.99], "a": [0.95, 0.95, 0.96], "b": [0.9, 0.9, 0.9]}
        rows = [
            Row(name, name != "evolved", "", 0.1, 1, 1, 1, 0.5, {}, [{"test": value} for value in values])
            for name, values in scores.items()
        ]
        found = experiment("searches").gain(Comparison(rows, [], "a"), "evolved")
        gaps = [0.02, 0.01, 0.03]
        assert (found["over"], found["n"]) == ("a", 3)
        assert found["mean"] == pytest.approx(0.02)
        assert found["p"] == pytest.approx(stats.ttest_1samp(gaps, 0, alternative="greater").pvalue)
        assert (found["low"], found["high"]) == pytest.approx(
            tuple(stats.ttest_1samp(gaps, 0).confidence_interval(0.95))
        )

    @staticmethod
    def row(evolved: float, best: float, **baselines: float) -> dict[str, Any]:
        figures = {name: {"validation": value, "test": value, "sd": 0.01} for name, value in baselines.items()}
        return {
            "evolved": evolved,
            "best_baseline_test": best,
            "strongest_on_test_test": max(baselines.values()),
            "baselines": figures,
        }

    def test_gains_are_paired_by_search(self, experiment: Callable[[str], ModuleType]) -> None:
        rows = [
            self.row(0.97, 0.95, a=0.95, b=0.96),
            self.row(0.98, 0.97, a=0.97, b=0.9),
            self.row(0.9, 0.92, a=0.9, b=0.92),
        ]
        found = experiment("searches_page").over_searches(rows)
        gaps = [0.02, 0.01, -0.02]
        one, result = found["best baseline on validation"], stats.ttest_1samp(gaps, 0)
        assert (one["n"], one["ahead"]) == (3, 2)
        assert one["mean"] == pytest.approx(statistics.mean(gaps))
        assert (one["low"], one["high"]) == pytest.approx(tuple(result.confidence_interval(0.95)))
        assert one["p"] == pytest.approx(stats.ttest_1samp(gaps, 0, alternative="greater").pvalue)
        assert found["a"]["mean"] == pytest.approx(statistics.mean([0.02, 0.01, 0.0]))
        best = ["best baseline on validation", "best earlier baseline on validation", "best baseline on test"]
        assert list(found) == [*best, "a", "b"]
        earlier = [0.97 - 0.96, 0.98 - 0.97, 0.9 - 0.92]
        assert found["best earlier baseline on validation"]["mean"] == pytest.approx(statistics.mean(earlier))
        assert len(experiment("searches_page").gains_table(found)) == 7


class TestMeasures:
    """The page of what measures are worth."""

    @staticmethod
    def row(variant: str, search: int, scores: list[float], other: list[float] | None = None) -> dict[str, Any]:
        numbers = {"spearman": 0.5, "collapsed": 0.1, "candidates with one": 0.3, "generations": 20, "trainings": 960}
        chosen = {"mean": 0, "mean and quantile": 0 if other is None else 1}
        test = {"mean": scores, "mean and quantile": scores if other is None else other}
        return {"variant": variant, "search": search, "test": test, "chosen": chosen, **numbers}

    def test_gains_are_paired_by_search(self, experiment: Callable[[str], ModuleType]) -> None:
        rows = [
            *(self.row("as it was", search, [0.9 + 0.01 * search, 0.8]) for search in range(3)),
            *(self.row("race", search, [0.92 + 0.02 * search, 0.82], [1.0, 0.9]) for search in range(3)),
        ]
        lines = experiment("measures_page").page(rows, "the command")
        (found,) = [line for line in lines if line.startswith("| race |") and "20.0" in line]
        cells = [cell.strip() for cell in found.strip("|").split("|")]
        gaps = [0.02, 0.025, 0.03]
        assert cells[2] == f"{100 * statistics.mean(gaps):+.2f}"
        assert cells[3] == f"{stats.ttest_1samp(gaps, 0, alternative='greater').pvalue:.2g}"
        assert cells[4:6] == ["82.0", "+2.00"]
        (rule,) = [line for line in lines if line.startswith("| race | 3 of 3 |")]
        assert rule == "| race | 3 of 3 | +7.00 | +8.00 |"

    def test_half_the_mean_and_half_the_lower_tenth(self, experiment: Callable[[str], ModuleType]) -> None:
        scores = np.array([[0.9, 0.9, 0.1], [0.8, 0.8, 0.8]])
        found = experiment("measures")._careful(scores)
        assert found.argmax() == 1
        assert found[1] == pytest.approx(0.8)


class TestFew:
    """Searches with few trainings: what each method asks for, and the page."""

    CLASSES = 10

    @staticmethod
    def asked(methods: ModuleType, name: str, most: int, number: int = 3) -> list[list[Any]]:
        """The rounds of a method whose fitness is the nearness of a point to (2, 2, 0, 0, 0)."""
        running, rounds = methods.METHODS[name](number, TestFew.CLASSES, most), list[list[Any]]()
        try:
            wishes = next(running)
            while True:
                rounds.append(wishes)
                wishes = running.send([TestFew.nearness(methods, wish) for wish in wishes])
        except StopIteration:
            return rounds

    @staticmethod
    def nearness(methods: ModuleType, wish: Any) -> float:
        found = methods.space(TestFew.CLASSES).place(wish.loss, TestFew.CLASSES)
        return -100.0 if found is None else -float(np.sum((np.array(found[0]) - [2, 2, 0, 0, 0]) ** 2))

    @pytest.mark.parametrize(
        "name",
        [
            "CMA-ES 16",
            "CMA-ES 8",
            "CMA-ES 8 from the known loss",
            "CMA-ES 8, known losses first",
            "successive halving",
            "no search",
        ],
    )
    def test_a_method_asks_for_its_trainings_alike_each_time(
        self, experiment: Callable[[str], ModuleType], name: str
    ) -> None:
        methods = experiment("few_methods")
        first, again = (self.asked(methods, name, 48) for _ in range(2))
        trainings = sum(wish.share for wishes in first for wish in wishes)
        assert trainings <= 48 if name == "successive halving" else 48 <= trainings < 48 + 16
        told = [[wish.loss.to_json() for wishes in rounds for wish in wishes] for rounds in (first, again)]
        assert told[0] == told[1]
        if name != "no search":
            assert all(methods.passes(wish.loss, self.CLASSES) for wishes in first for wish in wishes)

    def test_todays_search_asks_as_a_study_does(self, experiment: Callable[[str], ModuleType], tmp_path: Path) -> None:
        methods = experiment("few_methods")
        rounds = self.asked(methods, "CMA-ES 16", 48)
        with Study(tmp_path, self.CLASSES, population=16, generations=3, seed=3) as study:
            for wishes in rounds[:3]:
                waiting = study.pending()
                assert [one.loss.to_json() for one in waiting] == [wish.loss.to_json() for wish in wishes]
                for candidate, wish in zip(waiting, wishes, strict=True):
                    study.tell(candidate, self.nearness(methods, wish))

    def test_where_searches_begin(self, experiment: Callable[[str], ModuleType]) -> None:
        methods = experiment("few_methods")
        points = methods.known_points(self.CLASSES)
        assert points[0] == [0] * 5
        assert points[-1] == pytest.approx([math.e, 2 / (1 - 1 / (1 + math.exp(-1))) / 2.5, 0, 0, 0])
        assert np.abs(points).max() < methods.BOX
        begun = [
            self.asked(methods, f"CMA-ES 8{how}", 8)[0] for how in (" from the known loss", ", known losses first")
        ]
        places = [[methods.space(10).place(wish.loss, 10)[0] for wish in wishes] for wishes in begun]
        assert np.mean(places[0], axis=0)[:2] == pytest.approx(points[-1][:2], abs=1.2)
        np.testing.assert_allclose(places[1], points, atol=1e-12)

    def test_halving_promotes_the_best_quarter_within_its_trainings(
        self, experiment: Callable[[str], ModuleType]
    ) -> None:
        methods = experiment("few_methods")
        for budget in methods.BUDGETS:
            count = methods.entrants(budget)
            assert methods.cost(count) <= budget < methods.cost(count + 1)
            rungs = self.asked(methods, "successive halving", budget)
            assert [len(rung) for rung in rungs] == [count, count // 4, count // 16]
            assert [rung[0].share for rung in rungs] == [1 / 4, 1 / 2, 1]
            for before, after in pairwise(rungs):
                near = sorted((self.nearness(methods, wish) for wish in before), reverse=True)
                kept = sorted((self.nearness(methods, wish) for wish in after), reverse=True)
                assert kept == near[: len(after)]

    def test_no_search_tries_every_baseline_before_one_again(self, experiment: Callable[[str], ModuleType]) -> None:
        methods = experiment("few_methods")
        ((*wishes,),) = self.asked(methods, "no search", 24)
        names = [wish.group for wish in wishes]
        families = {family.name for family in baselines()}
        assert len(families) == 12
        assert set(names[:12]) == families
        assert len({json.dumps(wish.loss.to_json()) for wish in wishes}) == len(wishes)

    @pytest.mark.integration
    @pytest.mark.parametrize("kind", ["TPE", "GP"])
    def test_samplers_ask_for_eight_at_a_time_in_the_box(
        self, experiment: Callable[[str], ModuleType], kind: str
    ) -> None:
        pytest.importorskip("optuna")
        methods = experiment("few_methods")
        rounds = self.asked(methods, f"{kind}, known losses first", 16)
        assert [len(wishes) for wishes in rounds] == [8, 8]
        places = [[methods.space(10).place(wish.loss, 10)[0] for wish in wishes] for wishes in rounds]
        np.testing.assert_allclose(places[0], methods.known_points(10), atol=1e-9)
        assert np.abs(places[1]).max() <= methods.BOX

    def test_what_is_trained_together_is_what_would_be_alone(self, experiment: Callable[[str], ModuleType]) -> None:
        methods, few = experiment("few_methods"), experiment("few")
        tiny = {"data": {"train_size": 50, "validation_size": 50}, "recipe": {"epochs": 2, "lr": 0.05}}
        settings = validated(EvolveSettings, {**tiny, "model": {"name": "mlp", "hidden": [8]}}, "the test")
        bench = few.Bench(settings, 5)
        losses = methods.losses_of(methods.known_points(10)[:2], 10)
        wishes = [methods.Wish(losses[0], 0), methods.Wish(losses[1], 1), methods.Wish(losses[1], 0, 0.5)]
        wishes.append(methods.Wish(mse(), 0, group="MSE"))
        together = bench.scores(wishes, "search")
        assert together == [bench.scores([wish], "search")[0] for wish in wishes]
        again = few.fresh(bench, wishes[:2], 2, "final")
        assert again[id(wishes[1])] == [bench.scores([methods.Wish(losses[1], k)], "final")[0] for k in range(2)]

    def test_the_best_of_the_first_trainings(self, experiment: Callable[[str], ModuleType]) -> None:
        methods, few = experiment("few_methods"), experiment("few")
        wishes = [methods.Wish(mse(), 0, share) for share in (0.5, 1, 1, 1, 1, 1)]
        history = list(zip(wishes, [9.0, 0.1, 0.3, 0.3, 0.2, 0.8], strict=True))
        found = few.best(history, 4)
        assert [value for _, value in found] == [0.3, 0.3, 0.2]
        assert found[0][0] is wishes[2]

    def test_a_compact_document_is_the_same(self, experiment: Callable[[str], ModuleType]) -> None:
        document = {"command": "it α", "runs": [{"search": 1, "found": []}, {"search": 2, "found": [{"test": [0.5]}]}]}
        text = experiment("few").compact(document).decode()
        assert json.loads(text) == document
        assert text.count("\n") == 7

    @staticmethod
    def documents(gains: dict[str, list[float]]) -> dict[str, Any]:
        """Two jobs, where methods are better than today's by so much in each search."""
        others = {"TPE": [0.0] * 3, "no search": [-0.01, 0.0, 0.01], **gains}
        names = {"CMA-ES 16": [0.0] * 3, **dict.fromkeys(FEW_VARIANTS, [-0.02] * 3), **others}
        rows = [
            {
                "search": search,
                "found": [
                    {"method": name, "trainings": look, "test": [0.5 + gain[search], 0.7 + gain[search]]}
                    for name, gain in names.items()
                    for look in ((24, 48, 96, 320) if name == "CMA-ES 16" else (24, 48, 96))
                ],
            }
            for search in range(3)
        ]
        return {job: {"command": "it", "versions": {"torch": "2"}, "runs": rows} for job in ("a", "b")}

    @pytest.mark.parametrize(
        ("gain", "passes"), [([0.01, 0.012, 0.011], True), ([0.03, -0.02, 0.0], False), ([-0.01] * 3, False)]
    )
    def test_the_default_follows_the_rule(
        self, experiment: Callable[[str], ModuleType], gain: list[float], passes: bool
    ) -> None:
        pages = experiment("few_page")
        documents = self.documents({FEW_VARIANTS[1]: gain})
        scores = pages.Scores(documents)
        assert pages.strongest(scores) == FEW_VARIANTS[1]
        assert pages.chosen(scores) == (FEW_VARIANTS[1] if passes else None)
        gap = pages.known_gap(scores, (FEW_VARIANTS[1], 48), ("CMA-ES 16", 48))
        expected = stats.ttest_1samp(gain, 0).confidence_interval(0.95) if np.ptp(gain) else (gain[0], gain[0])
        assert gap.interval == pytest.approx(tuple(expected))
        text = "\n".join(pages.page(documents))
        assert ("it becomes" in text) == passes
        assert f"| {FEW_VARIANTS[1]} | {100 * np.mean(gain):+.2f} [" in text

    def test_a_loss_on_one_data_set_keeps_the_default(self, experiment: Callable[[str], ModuleType]) -> None:
        pages = experiment("few_page")
        documents = self.documents({FEW_VARIANTS[0]: [0.05, 0.051, 0.052]})
        worse = self.documents({FEW_VARIANTS[0]: [-0.0051] * 3})
        scores = pages.Scores({"a": documents["a"], "b": worse["b"]})
        assert scores.gap((FEW_VARIANTS[0], 48), ("CMA-ES 16", 48)).interval[0] > 0
        assert pages.chosen(scores) is None

    def test_only_searches_that_ran_both_are_compared(self, experiment: Callable[[str], ModuleType]) -> None:
        pages = experiment("few_page")
        documents = self.documents({FEW_VARIANTS[0]: [0.01, 0.02, 0.06]})
        rows = documents["a"]["runs"]
        documents["a"]["runs"] = [
            *rows[:2],
            {**rows[2], "found": [one for one in rows[2]["found"] if one["trainings"] == 48]},
        ]
        scores = pages.Scores(documents)
        assert scores.gap((FEW_VARIANTS[0], 48), ("CMA-ES 16", 48)).values == pytest.approx([0.01, 0.02, 0.06])
        assert scores.gap((FEW_VARIANTS[0], 48), ("CMA-ES 16", 320)).values == pytest.approx([0.01, 0.02])
        assert scores.head(96) == "96 (2 searches)"
        assert scores.gap(("GP", 48), ("CMA-ES 16", 48)) is None

    def test_what_is_run_of_a_search(self, experiment: Callable[[str], ModuleType]) -> None:
        few, methods = experiment("few"), experiment("few_methods")
        whole, ruled, reference = (few.runs_of("table", part) for part in ("whole", "ruled", "reference"))
        assert {name for name, _ in whole} == set(methods.METHODS)
        assert ("CMA-ES 16", 320) in whole
        assert [most for name, most in whole if name == "successive halving"] == [24, 48, 96]
        assert {name for name, _ in ruled} == {name for name in methods.METHODS if not name.startswith("GP")}
        assert {most for _, most in ruled} == {48}
        assert reference == [("CMA-ES 16", 320)]
        assert not any(name.startswith("GP") for name, _ in few.runs_of("mnist", "whole"))

    def test_parts_of_a_search_are_one_row(self, experiment: Callable[[str], ModuleType]) -> None:
        few = experiment("few")
        first = {"search": 1, "found": ["a", "b"], "searches": [{"method": "a", "n": 48}, {"method": "b", "n": 48}]}
        second = {"search": 1, "found": ["c"], "searches": [{"method": "a", "n": 320}]}
        row = few.joined([first, second])
        assert row["found"] == ["a", "b", "c"]
        assert row["searches"] == [{"method": "a", "n": 320}, {"method": "b", "n": 48}]
        halving = {"search": 1, "found": [], "searches": [{"method": "h", "n": 24}, {"method": "h", "n": 48}]}
        assert few.joined([halving]) == halving

    def test_words_of_claims(self, experiment: Callable[[str], ModuleType]) -> None:
        pages = experiment("few_page")
        gaps = [pages.Gap(values) for values in ((0.02, 0.021), (-0.02, -0.021), (-0.02, 0.021), (0.001,))]
        assert [pages.better(gap) for gap in gaps] == ["held", "failed", "not shown", "not shown"]
        assert [pages.no_better(gap) for gap in gaps] == ["failed", "held", "not shown", "not shown"]


class TestEverywhere:
    @pytest.mark.parametrize(("ranks", "bests", "held"), [((1, 1), "ab", (True, True)), ((1, 2), "aa", (False, False))])
    def test_a_page_judges_what_was_written_down(
        self, experiment: Callable[[str], ModuleType], ranks: tuple[int, int], bests: str, held: tuple[bool, bool]
    ) -> None:
        program = experiment("everywhere")
        names = dict(zip("ab", program.TWO_STRENGTHS, strict=False))
        rows = [
            {
                **TestSearches.row(0.9, 0.8, **dict.fromkeys(program.TWO_STRENGTHS, 0.5) | {names[best]: 0.8}),
                **{"job": f"job {place}", "rank": rank, "losses": 14, "evolved_sd": 0.01, "best_baseline": names[best]},
                **{"p_best_baseline": 0.01, "strongest_on_test": names[best], "cross_entropy": 0.7, "networks": 20},
            }
            for place, (rank, best) in enumerate(zip(ranks, bests, strict=True))
        ]
        text = "\n".join(program.page(rows, "the command"))
        words = {True: "Held", False: "Failed"}
        assert f"**(1) {words[held[0]]}**" in text
        assert f"**(2) {words[held[1]]}**" in text
        assert ", ".join(names[best] for best in bests) in text


class TestRates:
    def test_a_page_tells_who_is_within_a_point(self, experiment: Callable[[str], ModuleType]) -> None:
        rows = [
            {
                "job": "digits",
                "tuned": tuned,
                "factor": factor,
                "winner": "evolved",
                "lr": 0.05,
                "test": [score, score + 0.01],
            }
            for tuned, scores in ((True, (0.95, 0.955, 0.96)), (False, (0.9, 0.95, 0.1)))
            for factor, score in zip((1 / 16, 1.0, 16.0), scores, strict=True)
        ]
        lines = experiment("rates").page(rows, "the command")
        assert "| digits | tuned | 0.05 × 16 | +0.50 | yes |" in lines
        assert "| digits | tuned | 0.05 / 16 | -0.50 | yes |" in lines
        assert "| digits | as in the recipe | 0.05 × 16 | -85.00 | no |" in lines
        assert any(line.startswith("With tuning, 2 of 2 are within 1 point.") for line in lines)

    def test_an_image_of_half_the_side_has_the_means_of_four_pixels(
        self, experiment: Callable[[str], ModuleType], tmp_path: Path
    ) -> None:
        images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
        labels = np.array([0, 1])
        np.savez(tmp_path / "whole.npz", x_train=images, y_train=labels, x_test=images[::-1], y_test=labels)
        source = open_source(str(experiment("jobs").halved(str(tmp_path / "whole.npz"), tmp_path / "work")))
        expected = images.reshape(2, 3, 2, 2, 2, 2).astype(float).mean((3, 5))
        assert source.inputs.shape == (2, 3, 2, 2)
        assert source.test_inputs is not None
        found = source.inputs.numpy().astype(float)
        assert np.abs(found - expected).max() <= 0.5
        assert np.abs(source.test_inputs.numpy().astype(float)[::-1] - expected).max() <= 0.5

    @pytest.mark.parametrize(("name", "classes"), [("table-12", 12), ("table-26", 26)])
    def test_a_table_is_the_same_whoever_makes_it(
        self, experiment: Callable[[str], ModuleType], tmp_path: Path, name: str, classes: int
    ) -> None:
        first, second = (open_source(str(experiment("jobs").table(name, tmp_path / place))) for place in "ab")
        assert first.digest == second.digest
        assert first.classes == classes


@pytest.fixture(scope="module")
def pruning(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("pruning")


class TestPruning:
    @staticmethod
    def one(
        kind: str, theta: list[float] | None, seconds: float = 2.0, mean: float = 0.5, **more: Any
    ) -> dict[str, Any]:
        return {
            "origin": {"kind": kind, **more},
            "theta": theta,
            "validation": {"mean": mean},
            "candidates": {"dropped trainings": 3, "trainings": 12},
            "seconds": {"training": seconds},
        }

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            (("cross-entropy", None, {}), ("cross-entropy", None, {}), True),
            (("label smoothing", None, {"alpha": 0.1}), ("label smoothing", None, {"alpha": 0.2}), False),
            (("candidate", [1.0], {"generation": 1}), ("candidate", [1.0], {"generation": 1}), True),
            (("candidate", [1.0], {"generation": 1}), ("candidate", [1.1], {"generation": 1}), False),
            (("candidate", [1.0], {"generation": 1}), ("candidate", [1.0], {"generation": 2}), False),
            (("mean", [1.0], {}), ("cross-entropy", None, {}), False),
        ],
    )
    def test_what_is_an_unchanged_winner(self, pruning: ModuleType, first: Any, second: Any, same: bool) -> None:
        pair = {"without": self.one(*first[:2], **first[2]), "with": self.one(*second[:2], **second[2])}
        assert pruning.unchanged(pair) is same

    def test_the_table(self, pruning: ModuleType) -> None:
        pairs = [
            {
                "space": space,
                "without": self.one("mean", [0.0], 4.0, 0.5),
                "with": self.one("mean", [shift], seconds, 0.5 + shift),
            }
            for space in ("residual", "taylor")
            for shift, seconds in ((0.0, 1.0), (0.02, 3.0), (0.04, 2.0))
        ]
        rows = pruning.table({"pairs": pairs})
        half = stats.t.ppf(0.975, 2) * 2 / math.sqrt(3)
        expected = f"| 3 | 1 | 9 of 36 (25%) | 0.50 (0.25–0.75) | +2.00 ± {half:.2f} points |"
        assert rows[2] == "| residual, exact " + expected
        assert rows[3] == "| taylor, none " + expected

    def test_a_pair_differs_in_one_setting(self, pruning: ModuleType) -> None:
        one, other = (pruning.settings_of(3, "taylor", "none", share, 5) for share in (None, 0.2))
        assert one.run.prune_at is None
        assert other.run.prune_at == 0.2
        assert one.model_copy(update={"run": other.run}) == other
        assert one.data.split_seed == one.data.noise_seed == one.search.seed == 3
