"""The slopes of sums of powers as numbers: the formula of the table is the slope."""

import pytest
import torch
from torch import Tensor

from lossmith import Loss, PowerLoss, find, taylor
from lossmith.losses import Term, slope_table
from lossmith.losses.sums import LARGEST

CLASSES = 4
NAMES = (
    *("cross-entropy", "label-smoothing:0.3", "mse", "baikal", "focal:1", "focal:7", "focal:40", "gce:0.3", "mae"),
    *("bootstrapping:0.6", "smoothing-squares:0.5:2", "negative-smoothing:-2"),
)
# Powers that are no part of a polynomial of degree 8, some with log h, for all outputs and for the label's.
RARE: tuple[dict[Term, float], ...] = (
    {Term(2.5, 0, 0): 1.0, Term(12, 0, 0): -1.0, Term(0.3, 1, 0): 2.0},
    {Term(2, 1, 1): 1.0, Term(11, 0, 1): -0.5, Term(2.5, 0, 1): 1.0, Term(2.5, 0, 0): 3.0},
    {Term(-0.5, 1, 0): 1.0, Term(0.5, 0, 0): -1.0, Term(-2, 2, 1): 0.1, Term(1, 1, 0): -3.0},
    {Term(1, 0, 0): 1e9, Term(0, 1, 1): 1.0},
)


def losses() -> list[PowerLoss]:
    members = [find(name, CLASSES) for name in NAMES]
    members.append(taylor(torch.linspace(-1, 1, 12).tolist(), 4))
    members += [PowerLoss(tuple(terms), torch.tensor(list(terms.values()))) for terms in RARE]
    found = [member for member in members if isinstance(member, PowerLoss)]
    assert len(found) == len(members)
    return found


def value(side: Tensor, x: Tensor) -> Tensor:
    """The slope that one row of a table says."""
    powers, logs, (looked, count) = (
        side[: LARGEST + 1],
        side[LARGEST + 1 : 2 * LARGEST + 2],
        side[2 * LARGEST + 2 :][:2],
    )
    h, degrees = x.exp(), torch.arange(LARGEST + 1)
    total = (powers * h[:, None] ** degrees).sum(-1) + x * (logs * h[:, None] ** degrees).sum(-1)
    rows = side[2 * LARGEST + 4 :].reshape(-1, 4)
    assert bool(looked) == (bool(logs.any()) or count > 0)
    assert not rows[int(count) :].any()
    for i, a, b, near in rows[: int(count)].tolist():
        if near:
            total += a * (-torch.expm1(x)) ** (i - 1) * (-torch.expm1(x) - i * h * x)
        else:
            z = x.clamp(min=40 / i) if i < 0 else x
            total += (a + b * z) * torch.exp(i * z)
    return total


@pytest.mark.parametrize("together", [False, True])
def test_the_table_is_the_slope(together: bool) -> None:
    x = torch.tensor([-1e18, -300.0, -40.0, -5.0, -1.0, -0.1, -1e-3, -1e-9, 0.0], dtype=torch.float64)
    members = losses()
    whole = slope_table(Loss.stack(members))
    for place, member in enumerate(members):
        table = whole[place] if together else slope_table(Loss.stack([member]))[0]
        kept = member.acting()
        free, both = (kept.slope(x, torch.full_like(x, y)) for y in (0.0, 1.0))
        torch.testing.assert_close(value(table[0], x), free.expand_as(x), rtol=1e-9, atol=1e-12, msg=member.name)
        # Both were added up, so that what is small beside the other's numbers is rounding.
        tied, size = value(table[1], x), 1e-12 + 1e-12 * free.abs() + 1e-9 * (both - free).abs()
        assert bool(((tied - (both - free)).abs() <= size).all()), member.name


def test_a_member_is_the_same_in_any_company() -> None:
    members = losses()
    whole, other = (slope_table(Loss.stack(list(chosen))) for chosen in (members, reversed(members)))
    for place, member in enumerate(members):
        (alone,) = slope_table(Loss.stack([member]))
        for table in (whole[place], other[-1 - place]):
            assert torch.equal(table[:, : alone.shape[-1]], alone)
            assert not table[:, alone.shape[-1] :].any()
