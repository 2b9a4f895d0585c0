"""Records of analyses: to JSON and back, they are what they were, NaN and infinity included."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from lossmith.analysis import AttackPlan, Basin, Comparison, Corruption, Masking, Pair, Robustness, Row, Trace
from lossmith.analysis.corruption import INPUT, WEIGHT, corruption_document, corruptions_of
from lossmith.analysis.robustness import attack_document
from lossmith.losses import Loss, cross_entropy, mse
from lossmith.metrics.statistics import Difference, contrasts_with_first

RNG = np.random.default_rng(0)
DIVERGED = np.array([False, True, False])


def lost(values: Any, axis: int = 0) -> Any:
    """The same values with those of the second network gone."""
    np.moveaxis(values, axis, 0)[1] = np.nan
    return values


def assert_equal(one: Any, other: Any) -> None:
    """The same types, shapes, dtypes and values all the way down; NaN equals NaN."""
    assert type(one) is type(other)
    if is_dataclass(one):
        for part in fields(one):
            if not part.compare:
                continue
            assert_equal(getattr(one, part.name), getattr(other, part.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_equal(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_equal(first, second)
    else:
        assert one == other


def corruption(kind: str, levels: tuple[float, ...]) -> Corruption:
    clean = np.array([0.5, np.nan, 1 / 3])
    return Corruption(kind, np.array(levels), clean, lost(RNG.random((3, len(levels), 2))))


def basin(hessian: bool) -> Basin:
    t = np.linspace(-1, 1, 5)
    t[2] = 0
    entropy = lost(RNG.random((3, 2, 5)))
    entropy[2, 1, 0] = np.inf
    eigenvalue = np.array([1.5, np.nan, -2.0]) if hessian else np.full(3, np.nan)
    return Basin(t, lost(RNG.random((3, 2, 5))), entropy, eigenvalue, np.array([True, False, False]), DIVERGED)


def robustness(name: str, library: bool) -> Robustness:
    names = ("fgsm-loss", "fgsm", "square", "worst") if library else ("fgsm-loss", "fgsm", "worst")
    masking = Masking({"loss": 0.25, "cross-entropy": 0.0}, 0.5, 0.4, None, None, None, None, 1 / 3)
    return Robustness(
        name,
        (0.0, 1 / 3),
        RNG.random(3),
        {one: RNG.random((2, 3)) for one in names},
        dict.fromkeys(names, 20),
        RNG.random(3) if library else None,
        [masking, Masking({"loss": 0.0}, None, None, None, None, None, None, None)],
        DIVERGED,
    )


def trace() -> Trace:
    strengths = {name: lost(RNG.normal(size=(2, 3, 4)).astype(np.float32)) for name in ("exact", "published", "vector")}
    output = lost(RNG.random((2, 3, 4)).astype(np.float32))
    return Trace(np.arange(12).reshape(3, 4), output, **strengths, accuracy=lost(RNG.random((2, 3))))


def comparison() -> Comparison:
    row = Row("mine", False, "", 0.05, 4, 3, 9, 0.9, cross_entropy().to_json(), [{"seed": 3, "test": 0.5, "nll": None}])
    return Comparison([row], [Pair("mine", "other", Difference(0.1, -0.1, 0.3, 0.2), 0.4)], "other")


RECORDS: dict[str, Any] = {
    "corruption": corruption(INPUT, (0.1, 1 / 3)),
    "basin": basin(hessian=True),
    "basin without Hessian": basin(hessian=False),
    "robustness": robustness("MSE", library=False),
    "robustness with the library": robustness("MSE", library=True),
    "trace": trace(),
    "comparison": comparison(),
}


@pytest.mark.parametrize("name", RECORDS)
def test_to_json_and_back(name: str) -> None:
    record = RECORDS[name]
    text = json.dumps(record.to_json(), allow_nan=False)
    assert_equal(type(record).from_json(json.loads(text)), record)


def test_a_comparison_is_read_from_its_file_with_what_stands_beside_it() -> None:
    document = {"settings": {}, "digest": "0", **comparison().to_json()}
    assert Comparison.from_json(document) == comparison()


def test_several_kinds_of_corruption_are_one_document() -> None:
    kinds = [corruption(INPUT, (0.0, 0.1)), corruption(WEIGHT, (0.5,))]
    document = json.loads(json.dumps(corruption_document(kinds), allow_nan=False))
    assert document["diverged"] == [False, True, False]
    assert [(row["kind"], row["level"], row["n"]) for row in document["damage"]] == [
        (INPUT, 0.0, 2),
        (INPUT, 0.1, 2),
        (WEIGHT, 0.5, 2),
    ]
    assert_equal(corruptions_of(document), kinds)
    assert kinds[0].measures().keys() == {"input noise 0.1"}


def test_the_document_of_several_attacked_losses() -> None:
    results = [robustness("MSE", library=True), robustness("MAE", library=True)]
    found = attack_document(results, AttackPlan(epsilons=(0.0, 1 / 3), attacks=("fgsm",)))
    assert list(found) == [
        "clean_accuracy",
        "accuracy",
        "masking",
        "tests",
        "clean_accuracy_of_library_images",
        "samples",
        "diverged",
        "plan",
    ]
    assert found["accuracy"]["MAE"]["0.333333"]["worst"]["values"] == results[1].accuracy["worst"][1].tolist()
    assert found["diverged"] == {"MSE": 1, "MAE": 1}
    (test,) = found["tests"]
    assert (test["loss"], test["against"], test["measure"], test["n"]) == ("MAE", "MSE", "ε = 0.333333", [3, 3])
    bare = attack_document([robustness("MSE", library=False)], AttackPlan(epsilons=(0.0, 1 / 3), attacks=("fgsm",)))
    assert bare["clean_accuracy_of_library_images"] == {}


def test_the_summary_of_a_trace() -> None:
    found = trace()
    losses = [cross_entropy(), mse()]
    rows = json.loads(json.dumps(found.summary(losses), allow_nan=False))
    assert [row["name"] for row in rows] == [loss.name for loss in losses]
    assert Loss.from_json(rows[1]["loss"]) == mse()
    assert rows[0]["mean_strength"]["vector"] == found.vector[0].mean(-1, dtype=float).tolist()
    assert rows[1]["repelled"]["exact"] == rows[1]["accuracy"] == [None] * 3


def test_a_contrast_names_both_losses() -> None:
    samples = [{"width": np.array(values)} for values in ([1.0, 2.0], [3.0, 4.5], [0.0, np.nan])]
    (found,) = contrasts_with_first(samples)
    document = found.to_json(["first", "second", "third"])
    assert (document["loss"], document["against"], document["n"]) == ("second", "first", [2, 2])
    assert document["interval"] == [found.result.low, found.result.high]
    assert document["difference"] == 2.25
