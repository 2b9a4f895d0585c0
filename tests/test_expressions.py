"""Losses that are formulas: grammar, slopes, guards, the canonical form, and populations of them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import lossmith
from lossmith import InputError, Loss, PowerLoss, baikal, cross_entropy, find, focal, load, mae, mse, save
from lossmith.losses import Expression, expression
from lossmith.losses.expressions import (
    OPERATORS,
    Tree,
    depth,
    json_of,
    nodes,
    parse,
    simplified,
    size,
    text_of,
    tree_of,
    uses,
)
from lossmith.losses.expressions.conversion import powers_of
from lossmith.theory import explain

CLASSES = 4
NUMBERS = st.floats(-5, 5).filter(lambda one: one == 0 or abs(one) > 1e-3).map(lambda one: one + 0.0)
UNARY = [name for name, one in OPERATORS.items() if one.operands == 1]
BINARY = [name for name, one in OPERATORS.items() if one.operands == 2]
TREES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["h", "h", "y"]) | NUMBERS,
    lambda inner: st.tuples(st.sampled_from(UNARY), inner) | st.tuples(st.sampled_from(BINARY), inner, inner),
    max_leaves=10,
).filter(lambda tree: uses(simplified(tree), "h"))


def random_tree(source: random.Random, most: int) -> Tree:
    """A tree of any form, at most so deep."""
    if most == 0 or source.random() < 0.2:
        number = source.uniform(-3, 3) * source.choice([1.0, 1.0, 1.0, 1e6, 1e20, 3e29])
        leaves: list[Tree] = ["h", "y", float(f"{number:.4g}")]
        return source.choice(leaves)
    name = source.choice([*UNARY, *BINARY])
    return (name, *(random_tree(source, most - 1) for _ in range(OPERATORS[name].operands)))


def random_trees(count: int, most: int = 5) -> Iterator[Tree]:
    source = random.Random(f"trees {count}")
    while count:
        tree = random_tree(source, most)
        if uses(simplified(tree), "h"):
            count -= 1
            yield tree


def batch(scale: float, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(6, CLASSES, generator=source, dtype=torch.float64)
    return logits.to(dtype), torch.arange(6) % CLASSES


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "tree"),
        [
            ("h", "h"),
            ("log(h) - y/h", ("-", ("log", "h"), ("/", "y", "h"))),
            ("h - y - 1", ("-", ("-", "h", "y"), 1.0)),
            ("h - (y - 1)", ("-", "h", ("-", "y", 1.0))),
            ("h/y*2", ("*", ("/", "h", "y"), 2.0)),
            ("-h*y", ("*", ("neg", "h"), "y")),
            ("-(h*y)", ("neg", ("*", "h", "y"))),
            ("-h^2", ("neg", ("square", "h"))),
            ("-2*h", ("*", -2.0, "h")),
            ("-(2)*h", ("*", ("neg", 2.0), "h")),
            ("h*-2.5e-3", ("*", "h", -0.0025)),
            ("--h", ("neg", ("neg", "h"))),
            ("- -1 + h", ("+", ("neg", -1.0), "h")),
            ("h^1", "h"),
            ("h^3", ("*", "h", ("square", "h"))),
            ("h^4", ("square", ("square", "h"))),
            ("h^0.5", ("sqrt", "h")),
            ("−y·log(h) ÷ 2", ("/", ("*", ("neg", "y"), ("log", "h")), 2.0)),
            (" tanh( exp ( .5*h ) )", ("tanh", ("exp", ("*", 0.5, "h")))),
        ],
    )
    def test_a_text_is_a_tree(self, text: str, tree: Tree) -> None:
        assert parse(text) == tree

    @given(TREES)
    @settings(max_examples=300, deadline=None)
    def test_what_is_printed_is_read_again(self, tree: Tree) -> None:
        assert parse(text_of(tree)) == tree
        assert tree_of(json.loads(json.dumps(json_of(tree)))) == tree

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "the expression is empty; give a formula of h and y, such as y*log(h)"),
            ("  ", "the expression is empty"),
            ("log(h", "'log(h' cannot be read at its end: a ) is missing for the ( that is opened at character 4"),
            ("(h + y", "at its end: a ) is missing for the ( that is opened at character 1"),
            ("(h y)", "at character 4: 'y' has no place here"),
            ("h)", "at character 2: ')' is one too many"),
            ("h + * y", "at character 5: a number, h, y or ( is missing before '*'"),
            ("h +", "at its end: something is missing"),
            ("sin(h)", "at character 1: 'sin' is unknown; there are h, y, and the functions log, square, sqrt, exp, t"),
            ("h + neg(y)", "at character 5: 'neg' is unknown"),
            ("log h", "at character 5: a ( is missing after log"),
            ("2h", "at character 2: an operator is missing before 'h'"),
            ("h^9", "at character 3: after ^ comes 0.5 or a whole number from 1 to 8, not '9'"),
            ("h^-1", "at character 3: after ^ comes"),
            ("h^", "after ^ comes"),
            ("h^2^2", "at character 4: an operator is missing before '^'"),
            ("h  $ y", "at character 4: '$' has no place in a formula"),
            ("h[0]", "at character 2: '[' has no place"),
            ("__import__(h)", "at character 1: '__import__' is unknown"),
            ("y*2", "holds no h, the output, so nothing would learn from it; give one with h"),
            ("h + 1e999", "at character 5: the number '1e999' is above 1e+30"),
            ("h + 2e30*y", "at character 5: the number '2e30' is above 1e+30"),
            ("0*h", "simplified: the tree of the loss holds no h"),
            ("(" * 90 + "h" + ")" * 90, "at character 65: it is more than 64 deep; give a smaller one"),
            ("h" + "+h" * 400, "it has more than 256 operators; give a smaller one"),
            ("-" * 3000 + "h", "it has more than 256 operators"),
            ("h+" * 2500 + "h", "the expression has 5001 characters; give at most 4000"),
            ("sqrt(" * 65 + "h" + ")" * 65, "it is more than 64 deep"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(self, text: str, words: str) -> None:
        with pytest.raises(InputError) as error:
            expression(text)
        assert words in str(error.value)
        assert "\n" not in str(error.value)
        with pytest.raises(InputError):
            find(f"expr:{text}", CLASSES)

    @given(st.text(alphabet="hy0.5e+-*/^() logsqrtexpanh−²\n\0", max_size=40))
    @settings(max_examples=500, deadline=None)
    def test_any_text_is_a_loss_or_a_sentence(self, text: str) -> None:
        try:
            assert isinstance(expression(text), Loss)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017

    @pytest.mark.parametrize(
        "document",
        [
            None,
            [],
            ["log"],
            ["log", "h", "h"],
            ["+", "h"],
            ["sin", "h"],
            [["log"], "h"],
            "x",
            True,
            ["*", "h", False],
            ["*", "h", "nan"],
            ["*", "h", {}],
            ["neg", 2],
        ],
    )
    def test_bad_trees_of_files(self, document: Any) -> None:
        body = {"format": "lossmith.loss", "version": 2, "kind": "expression", "classes": None, "name": "a"}
        with pytest.raises(InputError, match=r"the tree of the loss"):
            Loss.from_json({**body, "tree": document})

    def test_a_file_of_a_deep_tree(self) -> None:
        deep: Any = "h"
        for _ in range(5000):
            deep = ["neg", deep]
        with pytest.raises(InputError, match="more than 256 nodes, or is more than 64 deep"):
            tree_of(deep)
        body = {"format": "lossmith.loss", "version": 2, "kind": "expression", "classes": None, "name": "a"}
        bad: list[Any] = [[], {}, "h", [["+", "h"]]]
        for trees in bad:
            with pytest.raises(InputError):
                Loss.from_json({**body, "trees": trees})


class TestSlope:
    """The rules for θ against autograd, operator by operator and as a whole."""

    @pytest.mark.parametrize("name", list(OPERATORS))
    def test_of_each_operator(self, name: str) -> None:
        operator = OPERATORS[name]
        x = torch.linspace(-6, -0.01, 41, dtype=torch.float64).requires_grad_()
        inner = [(0.3 + x.exp()) * 0.9 - 0.4, 1.3 - 2.2 * (0.5 * x).exp()][: operator.operands]
        thetas = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in inner]
        value = operator.value(*inner)
        wanted = torch.autograd.grad(value.sum(), x, retain_graph=True)[0]
        assert torch.allclose(operator.slope(value, *inner, *thetas), wanted, rtol=1e-12, atol=1e-12)
        for still in range(operator.operands if operator.operands > 1 else 0):
            fixed = [one.detach() if number == still else one for number, one in enumerate(inner)]
            given = [None if number == still else one for number, one in enumerate(thetas)]
            value = operator.value(*fixed)
            wanted = torch.autograd.grad(value.sum(), x, retain_graph=True)[0]
            assert torch.allclose(operator.slope(value, *fixed, *given), wanted, rtol=1e-12, atol=1e-12)

    @given(TREES, st.sampled_from([1.0, 10.0, 300.0]))
    @settings(max_examples=300, deadline=None)
    def test_of_any_tree(self, tree: Tree, scale: float) -> None:
        loss = Expression((tree,))
        x = torch.log_softmax(batch(scale)[0], -1).requires_grad_()
        y = torch.nn.functional.one_hot(torch.arange(6) % CLASSES, CLASSES) * 0.8 + 0.05
        value = loss.values(x, y)
        wanted = -torch.autograd.grad(value.sum(), x)[0]
        # Where numbers end at their bound, autograd has none.
        assume(wanted.abs().max() < 1e20)
        assert torch.allclose(loss.slope(x.detach(), y), wanted, rtol=1e-9, atol=1e-9 * (1 + wanted.abs().max().item()))

    @given(TREES)
    @settings(max_examples=150, deadline=None)
    def test_the_logit_gradient_is_that_of_the_value(self, tree: Tree) -> None:
        loss = Expression((tree,))
        logits, targets = batch(2.0)
        logits.requires_grad_()
        wanted = torch.autograd.grad(loss.value(logits, targets).sum(), logits)[0]
        assume(wanted.abs().max() < 1e20)
        found = loss.logit_gradient(logits.detach(), targets)
        # The gradient is a difference of slopes.
        one_hot = torch.nn.functional.one_hot(targets, CLASSES).double()
        largest = loss.slope(torch.log_softmax(logits.detach(), -1), one_hot).abs().max().item()
        assert torch.allclose(found, wanted, rtol=1e-8, atol=1e-12 * (1 + largest))

    def test_nothing_is_lost_where_outputs_underflow(self) -> None:
        logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
        targets = torch.tensor([1, 0])
        loss = Expression((parse("y*log(h)"),))
        assert torch.equal(loss.logit_gradient(logits, targets), cross_entropy().logit_gradient(logits, targets))
        assert torch.equal(loss.value(logits, targets), cross_entropy().value(logits, targets))
        for text in (
            "log(h*h*y + h*h)",
            "log(h^2/2)",
            "log(exp(log(h)))",
            "log(sqrt(1/h))",
            "log(tanh(h))",
            "log(h + h*h)",
        ):
            slope = expression(text, name="a").slope(torch.tensor([-2e4, -60.0, -1.0]), torch.zeros(3))
            assert bool((slope.abs() > 0.4).all()), text

    def test_digits_near_one(self) -> None:
        """1 − h is not a difference: close to the label, float32 has all digits of the slope."""
        loss = Expression((parse("-y*(1 - h)^2 - tanh(1 - h)"),))
        x = torch.tensor([-1e-6, -1e-4, -1e-2], dtype=torch.float64)
        y = torch.ones(3, dtype=torch.float64)
        exact = loss.slope(x, y)
        assert torch.allclose(loss.slope(x.float(), y.float()).double(), exact, rtol=1e-6)


class TestGuards:
    def test_ten_thousand_random_trees_train_a_step(self) -> None:
        """None raises, and none gives a value or gradient that is not finite, at whatever logits."""
        trees = list(random_trees(10_000))
        for start in range(0, len(trees), 500):
            losses = Expression(tuple(trees[start : start + 500]), population=True)
            for dtype, scale in ((torch.float32, 1.0), (torch.float32, 1e4), (torch.float64, 1e4)):
                logits, targets = batch(scale, dtype, start)
                logits[0, 1] = -math.inf
                value = losses.value(logits, targets)
                gradient = losses.logit_gradient(logits, targets)
                assert value.dtype == gradient.dtype == dtype
                assert bool(value.isfinite().all())
                assert bool(gradient.isfinite().all())

    @given(TREES)
    @settings(max_examples=200, deadline=None)
    def test_soft_labels_and_half_precision(self, tree: Tree) -> None:
        loss = Expression((tree,))
        logits, _ = batch(1e4)
        soft = torch.softmax(batch(1.0)[0], -1)
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            low = logits.clamp(-6e4, 6e4).to(dtype)
            assert bool(loss.value(low, soft.to(dtype)).isfinite().all())
            # Half precision has no place for a large gradient.
            assert dtype == torch.float16 or bool(loss.logit_gradient(low, soft.to(dtype)).isfinite().all())

    @pytest.mark.parametrize(
        "text",
        [
            *("log(h) - y/h", "1/h - log(h)", "tanh(h) - y/h", "y*exp(0 - log(h))", "tanh(h) - y/(h*h)"),
            *("tanh(h) - (y/h)^2", "tanh(h) - y/h^3", "tanh(h)/h^8", "1e5*y/(h*tanh(h))"),
        ],
    )
    def test_what_pushes_goes_on_pushing(self, text: str) -> None:
        """At a target whose output underflows, the slope is as large as before, and the value goes along it."""
        loss = Expression((parse(text),))
        x = torch.tensor([-34.0, -40.0, -60.0, -2e4], dtype=torch.float64)
        slope = loss.slope(x, torch.ones(4, dtype=torch.float64))
        assert bool((slope.abs() > 1e10).all())
        assert bool((slope.abs() < 1e20).all())
        assert torch.allclose(slope[1:], slope[1:2].expand(3), rtol=1e-9)
        values = loss.phi(torch.tensor([1e-30, 1e-25, 1e-18], dtype=torch.float64), torch.ones(3, dtype=torch.float64))
        assert bool(values.isfinite().all())

    def test_powers_go_on_alike(self) -> None:
        """A formula in a search, and the sum of powers that it becomes, push alike where outputs underflow."""
        for text in ("log(h) - y/h", "-y/(h*h)", "log(h)*y/h"):
            loss = Expression((parse(text),))
            powers = loss.simplest()
            assert isinstance(powers, PowerLoss)
            x = torch.tensor([-100.0, -2e4, -1.0], dtype=torch.float64)
            found, wanted = (one.slope(x, torch.ones(3, dtype=torch.float64)) for one in (loss, powers))
            assert torch.allclose(found, wanted, rtol=0.06)

    def test_a_population_equals_its_members(self) -> None:
        trees = tuple(random_trees(60, 4))
        losses = Expression(trees, population=True)
        logits, targets = batch(3.0)
        each = torch.stack([logits + 0.1 * number for number in range(60)])
        for number, tree in enumerate(trees):
            alone = Expression((tree,))
            assert torch.equal(losses.value(each, targets)[number], alone.value(each[number], targets))
            assert torch.equal(
                losses.logit_gradient(each, targets)[number], alone.logit_gradient(each[number], targets)
            )
            assert losses[number] == alone
        assert losses[2:4].shape == (2,)
        with pytest.raises(InputError, match="a population has no single formula"):
            losses.formula()

    def test_a_population_of_several_kinds(self) -> None:
        some = [expression("tanh(h) - y/h"), expression("y*log(h)*log(h)"), expression("h*exp(y)")]
        assert isinstance(Loss.stack(some), Expression)
        mixed = Loss.stack([*some, cross_entropy()])
        logits, targets = batch(1.0)
        assert torch.equal(mixed.value(logits, targets)[:3], Loss.stack(some).value(logits, targets))


def test_it_is_compiled_cold() -> None:
    torch._dynamo.reset()
    logits, targets = batch(1.0)
    criterion = lossmith.Criterion("expr:tanh(h) - y/h")
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(logits, targets), lossmith.Criterion("expr:tanh(h) - y/h")(logits, targets))


class TestSimplified:
    @given(TREES)
    @settings(max_examples=500, deadline=None)
    def test_it_is_the_same_function_and_is_its_own(self, tree: Tree) -> None:
        small = simplified(tree)
        assert simplified(small) == small
        logarithms = sum(1 for one in nodes(tree) if isinstance(one, tuple) and one[0] == "log")
        assert size(small) <= size(tree) + 100 * logarithms
        assert logarithms or depth(small) <= depth(tree) + 1
        h = torch.tensor([0.05, 0.3, 0.62, 0.97], dtype=torch.float64)
        y = torch.tensor([0.2, 0.9, 0.4, 0.7], dtype=torch.float64)
        before = _value(tree, h, y)
        # Where a guard acts, or digits cancel, there is nothing to compare.
        sizes = [_value(one, h, y).abs() for one in nodes(tree)]
        mild = torch.stack([(one < 1e6) & (one > 1e-4) for one in sizes]).all()
        if mild:
            assert torch.allclose(_value(small, h, y), before, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(
        ("text", "simple"),
        [
            ("h + 0", "h"),
            ("1*h*1", "h"),
            ("h*0 + h", "h"),
            ("2*3*h", "6*h"),
            ("h*2*3", "6*h"),
            ("h + h", "2*h"),
            ("h*h", "h^2"),
            ("h - -y", "h + y"),
            ("-(y - h)", "h - y"),
            ("-(-h)", "h"),
            ("(-h)*y", "-(h*y)"),
            ("y*h", "h*y"),
            ("h - 2", "-2 + h"),
            ("h/2", "0.5*h"),
            ("log(h*y)", "log(h) + log(y)"),
            ("log(h^2)", "2*log(h)"),
            ("log(-h)", "log(h)"),
            ("log(exp(h))", "h"),
            ("sqrt(h^2)", "h"),
            ("tanh(-h)", "-tanh(h)"),
            ("exp(log(2))*h", "2*h"),
            ("0 - h", "-h"),
            ("h - h + y*h", "h*y"),
        ],
    )
    def test_by_example(self, text: str, simple: str) -> None:
        assert simplified(parse(text)) == parse(simple)


def _value(tree: Tree, h: Tensor, y: Tensor) -> Tensor:
    """A tree node by node, without program and continuation."""
    if isinstance(tree, str):
        return h if tree == "h" else y
    if isinstance(tree, float):
        return torch.full_like(h, tree)
    return OPERATORS[tree[0]].value(*(_value(one, h, y) for one in tree[1:]))


class TestPowers:
    @pytest.mark.parametrize(
        ("text", "loss"),
        [
            ("y*log(h)", cross_entropy()),
            ("log(h)*y", cross_entropy()),
            ("log(h) - y/h", baikal()),
            ("log(h) - y*exp(-log(h))", baikal()),
            ("-(y - h)^2", mse()),
            ("y*h - h", mae()),
            ("(1 - h)^2*y*log(h)", focal(2)),
        ],
    )
    def test_a_formula_of_powers_is_that_loss(self, text: str, loss: PowerLoss) -> None:
        found = expression(text)
        assert isinstance(found, PowerLoss)
        logits, targets = batch(2.0)
        assert torch.allclose(found.logit_gradient(logits, targets), loss.logit_gradient(logits, targets), rtol=1e-12)

    def test_explained_like_the_loss_itself(self) -> None:
        for text, loss in (("log(h) - y/h", baikal()), ("y*log(h)", cross_entropy())):
            found, wanted = explain(expression(text), CLASSES).to_json(), explain(loss, CLASSES).to_json()
            assert {**found, "name": ""} == {**wanted, "name": ""}

    @given(TREES)
    @settings(max_examples=300, deadline=None)
    def test_converted_it_has_the_same_slope(self, tree: Tree) -> None:
        terms = powers_of(simplified(tree))
        assume(terms)
        assert terms is not None
        assume(all(abs(c) < 1e4 and abs(term.h) < 20 for term, c in terms.items()))
        loss = Expression((tree,)).simplest()
        assert isinstance(loss, PowerLoss)
        x = torch.log_softmax(batch(1.0)[0], -1)
        y = torch.nn.functional.one_hot(torch.arange(6) % CLASSES, CLASSES).double() * 0.7 + 0.1
        wanted = Expression((tree,)).slope(x, y).expand_as(x)
        scale = 1 + wanted.abs().max().item() + sum(abs(c) for c in terms.values())
        assert torch.allclose(loss.slope(x, y).expand_as(x), wanted, rtol=1e-6, atol=1e-8 * scale)

    @pytest.mark.parametrize("text", ["tanh(h)", "y*log(h)*log(h)", "log(h + y)", "h/y", "exp(h)", "sqrt(1 + h)"])
    def test_no_power_sum(self, text: str) -> None:
        found = expression(text)
        assert isinstance(found, Expression)
        assert found.formula() == text_of(simplified(parse(text)))
        about = explain(found, CLASSES)
        assert about.gamma is None
        assert about.missing is not None
        assert math.isfinite(about.margin)


class TestUse:
    def test_by_name_file_and_criterion(self, tmp_path: Any) -> None:
        loss = lossmith.expression("tanh(h) - y/h", name="mine")
        assert loss.name == "mine"
        assert find("expr:tanh(h) - y/h", CLASSES) == loss
        save(loss, tmp_path / "a.json")
        assert load(tmp_path / "a.json") == loss
        assert find(str(tmp_path / "a.json"), CLASSES) == loss
        logits, targets = batch(1.0)
        logits.requires_grad_()
        criterion = lossmith.Criterion("expr:tanh(h) - y/h")
        criterion(logits, targets).backward()
        assert logits.grad is not None
        assert torch.allclose(logits.grad, loss.logit_gradient(logits.detach(), targets) / len(logits))

    def test_a_file_of_a_power_sum_is_found_as_one(self, tmp_path: Any) -> None:
        save(Expression((parse("log(h) - y/h"),), name="found"), tmp_path / "a.json")
        assert isinstance(load(tmp_path / "a.json"), Expression)
        found = find(str(tmp_path / "a.json"), CLASSES)
        assert found == baikal()
        assert found.name == "found"

    def test_arithmetic(self) -> None:
        loss, (logits, targets) = Expression((parse("tanh(h) - y/h"),)), batch(1.0)
        sums: list[tuple[Any, Tensor]] = [
            (2 * loss, 2 * loss.value(logits, targets)),
            (loss + cross_entropy(), loss.value(logits, targets) + cross_entropy().value(logits, targets)),
            (mse() + loss, loss.value(logits, targets) + mse().value(logits, targets)),
            (loss + loss * -0.5, 0.5 * loss.value(logits, targets)),
        ]
        for found, wanted in sums:
            assert torch.allclose(found.value(logits, targets), wanted)
        both = Loss.stack([loss, loss])
        assert isinstance(both, Expression)
        assert torch.allclose(
            (both + Loss.stack([mae(), mse()]))[1].value(logits, targets), (mse() + loss).value(logits, targets)
        )
        with pytest.raises(InputError, match=r"populations \[\] and \[2\] cannot be added"):
            loss + both
        with pytest.raises(TypeError):
            loss + find("nce", CLASSES)

    def test_names_are_one_short_line(self) -> None:
        assert expression("y*tanh(h)\n +  h*y*tanh(h)").name == "y*tanh(h) + h*y*tanh(h)"
        assert len(expression("tanh(h)" + " + 0.3333333333333333*tanh(y)" * 38).name) == 1000

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"text": 3}, "a formula is a text"),
            ({"text": None}, "a formula is a text"),
            ({"text": "h", "classes": 1}, "the number of classes is 1"),
            ({"text": "h", "classes": "a"}, "the number of classes is 'a'"),
        ],
    )
    def test_of_another_type(self, given: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            expression(**given)

    def test_several_trees_of_one_loss(self) -> None:
        for trees, population in (((), True), (("h", "h"), False)):
            with pytest.raises(InputError, match="one loss has one, a population some"):
                Expression(trees, population)
