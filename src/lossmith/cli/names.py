"""What the commands know by name, as words alone: a mistyped one is answered before anything that takes long loads.

`tests/test_spelling.py` compares all of it with the commands and their registries.
"""

from lossmith.code import FORMS

# Of older versions.
OLD_COMMANDS = {"damage": "corruption"}
OLD_FLAGS = ("white", "objective", "hopeless", "front")

_DATA = (
    *("data", "kind", "target", "drop", "categories", "missing", "padding-id", "train-size", "validation-size"),
    *("test-size", "label-noise", "noise", "split", "groups", "split-seed", "noise-seed", "max-pixel", "image-size"),
    "channels",
)
_MODEL = ("model", "hidden", "dropout", "normalize")
_RECIPE = (
    *("optimizer", "lr", "momentum", "weight-decay", "epochs", "steps", "batch-size", "schedule", "milestones"),
    *("decay", "clip", "crop", "flip", "no-flip", "cutout", "mixup", "cutmix", "flooding", "class-weight"),
    *("sampling", "patience", "precision", "adversary", "adversary-epsilon", "adversary-steps"),
)
_MACHINE = ("threads", "executor", "workers", "ray-address", "gpus-per-chunk", "training", "device")
_TRAINED = (*_DATA, *_MODEL, *_RECIPE, *_MACHINE, "time-limit", "quiet", "json")
_METRIC = ("metric", "costs", "epsilon", "gradient", "weight")
_COMPARED = (
    *("effort", "seeds", "comparison-seed", "tuning-seeds", "tuning-epochs", "tuning-finalists"),
    *("tuning-finalist-seeds", "out", "svg", "chunk"),
)
_LOOKING = (*_TRAINED, "seed", "seeds", "figure")
FLAGS: dict[str, tuple[str, ...]] = {
    "evolve": (
        *(*_TRAINED, *_METRIC, "record", "out", "svg", "space", "engine", "depth", "coefficients", "order", "knots"),
        *("gain", "scale", "no-scale", "known-first", "no-known-first", "start", "population", "generations", "sigma"),
        *("lr-adapt", "no-lr-adapt", "invariant", "untrainable", "seed", "replicates", "partial", "prune-at", "tune"),
        *("no-tune", "finalists", "finalist-seeds", "chunk"),
    ),
    "compare": (*_TRAINED, *_METRIC, *_COMPARED, "baselines", "no-rival"),
    "distill": (*_TRAINED, *_METRIC, *_COMPARED, "margin"),
    "explain": ("classes", "epsilon", "figure", "figure3", "latex", "json"),
    "explore": ("html", "classes"),
    "export": ("to", "classes", "out"),
    "trace": (*_TRAINED, "out", "samples", "seed", "svg"),
    "attack": (*(*_LOOKING, "epsilon", "attacks", "pgd-steps", "samples", "library-samples", "iterations", "queries"),),
    "corruption": (*_LOOKING, "input-noise", "weight-noise", "silenced", "draws"),
    "basin": (*_LOOKING, "directions", "points", "hessian-samples"),
    "probe": (
        *(one for one in _TRAINED if one not in ("data", "patience")),
        *_METRIC,
        "record",
        "seed",
        "seeds",
        "folds",
        "networks",
    ),
    "suspects": (
        *(one for one in _TRAINED if one not in ("data", "patience", "train-size", "validation-size", "test-size")),
        *("out", "figure", "loss", "folds", "networks", "seed"),
    ),
    "show": ("pareto", "json"),
    "report": ("watch", "port"),
}

DATA = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")
# What else stands for data, as the sentence says that tells what can be given.
OTHER_DATA = (
    "an .npz file, a directory of images, a table (.csv, .tsv or .parquet) or data that lossmith.evolve kept "
    "(.lossmith)"
)
MODELS = (
    *("mlp", "conv", "mnist-cnn", "alexnet", "allcnn-c", "cnn-8", "preresnet-DEPTH", "wrn-DEPTH-WIDTH", "embedding"),
)
OLD_MODELS = ("cnn",)
# Names with numbers for the words in capitals, which a mistyped name may have been meant for.
NUMBERED = {
    "preresnet-DEPTH": ("preresnet-20", "preresnet-32", "preresnet-56"),
    "wrn-DEPTH-WIDTH": ("wrn-16-8", "wrn-28-5", "wrn-28-10"),
}
EXECUTORS = ("auto", "local", "processes", "ray")
LOSSES = (
    *("cross-entropy", "mse", "baikal", "mae", "poly", "focal", "gce", "label-smoothing", "bootstrapping"),
    *("taylor-ce", "nce", "logit-clip", "paper/allcnnc", "paper/mnist", "noise-robust", "smoothing-squares"),
    *("agce", "aul", "nce-rce", "nce-agce", "anl", "epsilon-softmax", "negative-smoothing", "forward"),
    "jensen-shannon",
)
METRICS = (
    *("accuracy", "balanced-accuracy", "macro-f1", "auc", "average-precision", "nll", "calibration-error"),
    *("expected-cost", "robust-accuracy", "weighted"),
)
WAYS = (
    *("population", "sequential", "sequential-compiled", "sequential-channels-last"),
    *("sequential-channels-last-compiled", "mlp", "cnn", "vmap", "vmap-compiled"),
)
# What settings take besides: of older versions, and what is no entry of a registry.
BESIDES = {
    "training": (
        *("auto", "plain", "plain-channels-last", "plain-compiled", "plain-channels-last-compiled"),
        "population-compiled",
    ),
    "kind": ("auto",),
    "split": ("auto",),
}
# What each is called, its names, and what may be given besides, as the sentence ends.
SETTINGS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "space": (
        "search space",
        (
            "residual",
            "canonical",
            "taylor",
            "smoothed-mae",
            "residual-schedule",
            "noise-robust",
            "expression",
            "expression-residual",
        ),
        "",
    ),
    "engine": ("search engine", ("cma", "genetic"), ""),
    "metric": ("metric", METRICS, f", or your own as {FORMS}"),
    "training": ("way of training", WAYS, ""),
    "kind": ("kind of data", ("image", "tabular", "tokens", "dict"), ""),
    "split": ("split", ("stratified", "random", "time", "groups"), ""),
    "noise": (
        "noise",
        ("symmetric", "uniform", "pairs", "asymmetric:cifar10", "asymmetric:mnist"),
        ", or a matrix or labels in a file of NumPy: FILE.npy, FILE.npz:ARRAY",
    ),
}
EXPORTS = ("torch", "latex", "jax", "numpy")
# Values of settings that take no others.
CHOICES: dict[str, tuple[str, ...]] = {
    "categories": ("one-hot", "ordinal"),
    "missing": ("refuse", "impute"),
    "normalize": ("auto", "none"),
    "optimizer": ("sgd", "adamw"),
    "schedule": ("constant", "step", "cosine", "one-cycle"),
    "sampling": ("uniform", "balanced"),
    "precision": ("float32", "bfloat16"),
    "adversary": ("none", "fgsm", "pgd"),
    "gain": ("free", "fixed"),
    "invariant": ("none", "published", "exact"),
    "untrainable": ("worst", "redraw"),
    "gradient": ("worst", "loss", "cross-entropy", "margin"),
    "effort": ("quick", "standard", "thorough"),
}
