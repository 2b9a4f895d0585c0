"""A loss as a function of JAX or NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import NamedTuple

from lossmith.losses.base import Loss
from lossmith.losses.exports.expressions import (
    CONSTANTS,
    PHI,
    Parts,
    labeled_source,
    literal,
    parts_of,
    shared_source,
    told,
)
from lossmith.losses.exports.trees import tree_source


class Library(NamedTuple):
    """How a library writes what the libraries do not write alike.

    Args:
        name: What is exported to.
        title: What it is called.
        imports: Its imports.
        prefix: Of its functions.
        halves: Its types of half precision.
        log_softmax: A function that gives log outputs, where the library has none.
        constant: A number that no gradient goes through, of ``value``.
        outside: What is done with class indices that are none; ``each`` is the loss of each sample.
    """

    name: str
    title: str
    imports: str
    prefix: str
    halves: str
    log_softmax: str
    constant: str
    outside: str


NUMPY = Library(
    "numpy",
    "NumPy",
    "import numpy as np",
    "np",
    "(np.float16,)",
    '''
def log_softmax(f):
    """The logarithm of the outputs."""
    f = f - f.max(-1, keepdims=True)
    return f - np.log(np.exp(f).sum(-1, keepdims=True))

''',
    "value",
    """        if not known.all():
            raise ValueError(f"a target is no class from 0 to {classes - 1}")
""",
)
JAX = Library(
    "jax",
    "JAX",
    "import jax\nimport jax.numpy as jnp\nfrom jax.nn import log_softmax",
    "jnp",
    "(jnp.float16, jnp.bfloat16)",
    "",
    "jax.lax.stop_gradient(value)",
    """        # A program that is traced cannot stop: what is no class gives NaN.
        each = jnp.where(known, each, jnp.nan)
""",
)


def array_source(library: Library, loss: Loss, weight: Sequence[float] | None) -> str:
    """A module with a function ``loss(logits, targets)``, the mean over a batch."""
    parts = parts_of(loss, library.name)
    ours = {**CONSTANTS, **library._asdict()}
    called = shared_source(parts, "") + labeled_source(parts, "")
    helpers = [text for name, text in HELPERS.items() if f"{name}(" in called]
    tree = tree_source(parts.tree, library.prefix, loss.name, library.name)
    return HEAD.substitute(
        ours,
        name=literal(loss.name),
        told=told(parts),
        classes=loss.classes,
        weight=None if weight is None else tuple(weight),
        helpers=tree + "".join(text.substitute(ours) for text in [*helpers, *[CLIPPED][: len(parts.thresholds)]]),
        shared=shared_source(parts, library.prefix),
        labeled=labeled_source(parts, library.prefix),
        logits="".join(f"    f = clipped(f, {threshold!r})\n" for threshold in parts.thresholds),
        each=_each(parts),
    )


def _each(parts: Parts) -> str:
    """The loss of each sample, from ``x``, ``h``, labels ``y``, and weights ``w`` of classes, ``own`` of the sample."""
    if parts.is_plain:
        rest = "shared(x, h).sum(-1)"
        comment = ""
        if parts.linear:
            comment = f"    # phi holds {parts.linear!r} * h, too: the outputs sum to 1.\n"
            rest = f"({rest} + {parts.linear!r})"
        return f"{comment}    each = -(labeled(x, h, y) * w).sum(-1) - own * {rest}\n"
    lines = ["    each = -(shared(x, h) + labeled(x, h, y)).sum(-1)" + (f" - {parts.linear!r}" if parts.linear else "")]
    if parts.normalized:
        lines.append("    # Divided by the sum of the loss over all labels.")
        lines.append("    each = each / -(labeled(x, h, 1.0) + classes * shared(x, h)).sum(-1)")
    return "\n".join([*lines, "    each = own * each", ""])


HEAD = Template(
    '''"""A loss function of $title arrays, which needs $title alone.

Its value may rise while a network learns, so it shows no progress: for early stopping use cross-entropy or a metric.
With h = softmax(logits), x = log h and a label y of each class, the loss of a sample is minus the sum over the classes
of phi = shared(x, h) + labeled(x, h, y), times the class weight of its label.$told
"""

$imports

'''
    + PHI
    + '''

def at_least(x, low):
    """Not ``maximum``, which halves a gradient where both are equal."""
    return $prefix.where(x < low, low, x)

$log_softmax
def loss(logits, targets):
    """The mean loss of logits [..., K] and class indices [...], or class probabilities [..., K].

    With class indices the mean is weighted by the class weights.
    """
    f, targets = $prefix.asarray(logits), $prefix.asarray(targets)
    classes = f.shape[-1]
    if CLASSES is not None and classes != CLASSES:
        raise ValueError(f"the loss is made for {CLASSES} classes and was called with {classes}")
    hard = targets.shape == f.shape[:-1] and $prefix.issubdtype(targets.dtype, $prefix.integer)
    if not hard and not (targets.shape == f.shape and $prefix.issubdtype(targets.dtype, $prefix.floating)):
        raise ValueError(f"targets {targets.dtype}{targets.shape} do not fit logits {f.shape}: give class indices")
    # Half precision is computed in float32.
    f = f.astype($prefix.float32) if f.dtype in $halves else f
$logits    # A logit of minus infinity counts as a log output of $lowest, where a gradient goes on.
    x = at_least(log_softmax(at_least(f, $lowest)), $lowest)
    h = $prefix.exp(x)
    y = targets.astype(x.dtype)
    if hard:
        y = (targets[..., None] == $prefix.arange(classes)).astype(x.dtype)
        known = (targets >= 0) & (targets < classes)
    # Of each class, and of the label of each sample.
    w = own = 1.0
    if WEIGHT is not None:
        w = $prefix.asarray(WEIGHT, x.dtype)
        own = (y * w).sum(-1)
$each    if hard:
$outside    return each.sum() / own.sum() if hard and WEIGHT is not None else each.mean()
'''
)
HELPERS = {
    "expm1": Template('''

def expm1(x):
    """exp(x) - 1, with the digits that the difference would lose."""
    return $prefix.expm1(x)
'''),
    "steep": Template('''

def steep(x, power, log):
    """h**power * x**log for a power below 0, continued along its tangent where h**power would exceed exp($steepest)."""
    start = $prefix.maximum(x, $steepest / power)
    value = $prefix.exp(power * start)
    if log:
        return value * start + value * (power * start + 1) * (x - start)
    return value + power * value * (x - start)
'''),
}
CLIPPED = Template('''

def clipped(f, threshold):
    """Logits scaled down to a norm; a masked class (a logit of minus infinity) is left out of it."""
    known = $prefix.where($prefix.isfinite(f), f, 0.0)
    # The largest logit taken out, since a square of it need not fit into float32.
    value = $prefix.maximum($prefix.abs(known).max(-1, keepdims=True), $smallest)
    largest = $constant
    rest = $prefix.sqrt($prefix.maximum(((known / largest) ** 2).sum(-1, keepdims=True), 1e-30))
    return $prefix.where($prefix.isfinite(f), known * $prefix.minimum(threshold / largest / rest, 1.0), f)
''')
