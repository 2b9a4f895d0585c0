"""Every export: a text in ASCII with every digit, in which no name becomes code, or a sentence."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from lossmith import InputError, Loss, PowerLoss, find, mse
from lossmith.cli import main
from lossmith.losses import CATALOG, EXPORTS, Term, export

CLASSES = 5
POWERS = [name for name in CATALOG if isinstance(find(name, CLASSES), PowerLoss)]
every_export = pytest.mark.parametrize("to", EXPORTS)


@every_export
@pytest.mark.parametrize("name", POWERS)
def test_a_sum_of_powers_is_exported(to: str, name: str) -> None:
    loss = find(name, CLASSES)
    text = export(loss, to)
    assert text.isascii()
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) <= 120 or to == "latex"
    assert text == export(Loss.from_json(loss.to_json()), to)
    assert text != export(loss, to, [1.0, 2.0, 3.0, 4.0, 5.0])


@every_export
def test_every_digit_is_kept(to: str) -> None:
    """Also of what no short number is."""
    number = 0.1 + 0.2
    found = export(
        PowerLoss((Term(0, 1, 1), Term(1 / 3, 0, 0)), torch.tensor([number, -2 / 3], dtype=torch.float64)), to
    )
    assert all(repr(one) in found for one in (number, 2 / 3, 1 / 3))


HOSTILE = [
    '"""\nimport os; os.system("x")\n"""',
    "'''\nraise SystemExit\n'''",
    "\\",
    "'; raise SystemExit #",
    "a\nraise SystemExit",
    "a\rraise SystemExit",
    "a\u2028raise SystemExit\x0braise SystemExit\x85raise SystemExit",
    "$weight ${shared} {reduction} %s $",
    "}\\end{align*}\n\\input{/etc/passwd}",
    "^^M\\input{/etc/passwd}",
    "\ud800 half",
    "ünïcödé \u202e",
    "x" * 5000,
]


@every_export
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_never_becomes_code(name: str, to: str) -> None:
    plain, source = (export(mse().named(one), to, [0.5, 1.0]) for one in ("plain", name))
    assert source.isascii()
    assert len(source.splitlines()) == len(plain.splitlines())
    differing = [pair for pair in zip(plain.splitlines(), source.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 1
    ((old, new),) = differing
    if to == "latex":
        assert new.startswith("% ")
        return
    assert old == "NAME = 'plain'"
    (assignment,) = ast.parse(new).body
    assert isinstance(assignment, ast.Assign)
    assert ast.literal_eval(assignment.value) == name[:1000]


@every_export
def test_populations_and_unknown_names(to: str) -> None:
    with pytest.raises(InputError, match="is a population; export the one member"):
        export(Loss.stack([mse(), mse()]), to)
    with pytest.raises(InputError, match=f"no export '{to}2'"):
        export(mse(), f"{to}2")


@dataclass(frozen=True, eq=False, repr=False)
class Own(Loss):
    """Cross-entropy as a kind that no export knows, which may become MSE during the training."""

    kind: ClassVar[str] = "own"
    classes: int | None = None
    name: str = "mine"
    changes: bool = False

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        return -(log_h * y).sum(-1)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        return y.expand_as(log_h)

    def formula(self, digits: int = 4) -> str:
        return "mine"

    def body(self) -> dict[str, Any]:
        return {}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> "Own":
        return cls(classes, name)

    def at(self, progress: float) -> Loss:
        return mse() if self.changes and progress else self


@every_export
def test_kinds_that_it_does_not_know_say_so(to: str) -> None:
    with pytest.raises(InputError, match=r"'mine' .*(cannot be exported to|is no sum of powers)"):
        export(Own(), to)
    with pytest.raises(
        InputError, match=r"'mine' \(own\) changes during the training, .* use it by lossmith.Criterion"
    ):
        export(Own(changes=True), to)


def test_what_is_no_sum_of_powers_has_no_latex() -> None:
    for name in ("nce", "logit-clip"):
        with pytest.raises(InputError, match="is no sum of powers, so there is no LaTeX of it"):
            export(find(name, CLASSES), "latex")


def test_one_registration_is_enough(register: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    register(EXPORTS, "words", lambda loss, weight: f"{loss.formula()}\n")
    assert export(mse(), "words") == f"{mse().formula()}\n"
    main(["export", "mse", "--to", "words"])
    assert capsys.readouterr().out == f"{mse().formula()}\n"


def test_an_unknown_export_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", "mse", "--to", "torhc"])
    assert "no export 'torhc' (did you mean torch?); give one of torch, latex, jax, numpy" in capsys.readouterr().err
