"""The settings of a whole study, and the TOML file that they live in."""

import json
import logging
import operator
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from lossmith.analysis import ObjectiveSettings
from lossmith.code import absolute_code, is_code, portable_code
from lossmith.data import DataSettings, absolute_noise, data_path, is_idle, is_noise_file, portable_noise
from lossmith.errors import InputError, brief
from lossmith.io import read_toml
from lossmith.nets import ModelSettings, check_name
from lossmith.search import SearchSettings
from lossmith.settings import Settings
from lossmith.study.legacy import modernized
from lossmith.study.places import found_again
from lossmith.training import Backend, Recipe

LOG = logging.getLogger("lossmith")
# The module of what is defined in a notebook: nobody else can import it.
NOTEBOOK = "__main__"
Model = TypeVar("Model", bound=BaseModel)
# Settings do not repeat the name of their part, but their flags stand without it.
FLAGS = {("data", "source"): "data", ("model", "name"): "model"}


def _training(text: str) -> str:
    """The name of a backend as it is today, or "auto"."""
    return text if text == "auto" else str(Backend.parse(text))


class RunSettings(Settings):
    """How candidates are trained and the winner is chosen."""

    training: Annotated[str, AfterValidator(_training)] = "auto"
    """How networks are run: "sequential", one after another; "population", all in one program, by the first of
    "mlp", "cnn" and "vmap" that can train the network; "sequential-channels-last"; "sequential-compiled",
    "sequential-channels-last-compiled", "vmap-compiled"; or "auto", whichever a short measurement finds fastest."""

    replicates: int = Field(default=1, ge=1, le=10**4)
    """Networks trained for each candidate, with seeds of their own; the fitness is their mean."""

    partial: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """Partial training: share of the schedule after which a candidate is judged; finalists are trained in full."""

    prune_at: float | None = Field(default=None, gt=0, lt=1, allow_inf_nan=False)
    """Share of the training of a candidate after which networks are given up that are no better than chance, or no
    longer finite; they are counted. Where learning begins slowly, give 0.3 or more (default: none is given up)."""

    tune: bool = True
    """Tune the learning rate of the search and of each finalist, and every known loss with its own numbers, by several
    hundred full trainings; --no-tune trains everything with --lr."""

    finalists: int = Field(default=5, ge=1, le=10**4)
    """How many of the best candidates are trained again, beside the mean of the search and known losses."""

    finalist_seeds: int = Field(default=10, ge=2, le=10**5)
    """Fresh seeds that each finalist is trained with; the best mean wins."""

    chunk: int = Field(default=256, ge=1, le=10**6)
    """Most networks trained in one program, and stored at once; a run that is killed loses what it had not stored. A
    chunk keeps one worker busy: with several, give at most the networks of a generation divided by the workers, as
    --executor auto does by itself."""

    device: str = "cpu"
    """Where networks are trained: "cpu", "cuda", or "cuda:1"."""


class EvolveSettings(Settings):
    """Everything that decides the outcome of a study."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    recipe: Recipe = Recipe()
    search: SearchSettings = SearchSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    run: RunSettings = RunSettings()

    @property
    def is_attacked(self) -> bool:
        """Whether the study attacks images, so that it needs some."""
        return self.objective.is_attacked or self.recipe.adversary != "none"


def with_data(settings: EvolveSettings, place: str, noise: str | None = None) -> EvolveSettings:
    """The same settings with the data, and the file of its noise, at another place."""
    places = {"source": place, "noise": settings.data.noise if noise is None else noise}
    return settings.model_copy(update={"data": settings.data.model_copy(update=places)})


def at_absolute_place(settings: EvolveSettings) -> EvolveSettings:
    """The same settings with the paths of data, noise and code made absolute: so a study goes on from anywhere."""
    path = data_path(settings.data.source)
    noise = absolute_noise(settings.data.noise)
    settings = with_metric(settings, absolute_code(settings.objective.metric))
    settings = with_model(settings, absolute_code(settings.model.name))
    return with_data(settings, settings.data.source if path is None else str(path.absolute()), noise)


def with_metric(settings: EvolveSettings, metric: str) -> EvolveSettings:
    """The same settings with another metric, or the same one under another name."""
    return settings.model_copy(update={"objective": settings.objective.model_copy(update={"metric": metric})})


def with_model(settings: EvolveSettings, name: str) -> EvolveSettings:
    """The same settings with another network, or the same one under another name."""
    return settings.model_copy(update={"model": settings.model.model_copy(update={"name": name})})


def without_own_metric(settings: EvolveSettings) -> EvolveSettings:
    """The same settings for what has no use for a metric: one of the user's own, which is code, is left out."""
    own = is_code(settings.objective.metric)
    return with_metric(settings, ObjectiveSettings().metric) if own else settings


def portable(settings: EvolveSettings) -> dict[str, Any]:
    """Settings as a document for other machines, where a path says nothing: data, noise and code by their names."""
    document = settings.model_dump(mode="json")
    document["data"]["source"] = Path(settings.data.source).name
    document["data"]["noise"] = portable_noise(settings.data.noise)
    document["objective"]["metric"] = settings.objective.label
    document["model"]["name"] = portable_code(settings.model.name)
    return document


def is_moved(key: str, ours: Any, theirs: Any) -> bool:
    """Whether a setting says where data, noise or code lies: of data and noise, the digest outweighs it.

    A network of a notebook has no place, and may move to one.
    """
    if key in ("objective.metric", "model.name"):
        # A script is known by its file, and by its name once it is imported.
        names = [portable_code(str(one)).replace(".py:", ":") for one in (ours, theirs)]
        nowhere = any(one.startswith(f"{NOTEBOOK}:") for one in names)
        return names[0] == names[1] or (nowhere and names[0].rpartition(":")[2] == names[1].rpartition(":")[2])
    return key == "data.source" or (key == "data.noise" and all(map(is_noise_file, map(str, (ours, theirs)))))


def check_effect(settings: EvolveSettings) -> None:
    """Refuse settings of attacks, noise and the search that would have no effect.

    Raises:
        InputError: naming the flag of the first.
    """
    objective, recipe = settings.objective, settings.recipe
    usual, plain = ObjectiveSettings(), Recipe()
    idle = {
        **{
            f"--{name}": name not in objective.used and getattr(objective, name) != getattr(usual, name)
            for name in ("costs", "epsilon", "gradient", "weight")
        },
        "--adversary-epsilon": recipe.adversary == "none" and recipe.adversary_epsilon != plain.adversary_epsilon,
        "--adversary-steps": recipe.adversary != "pgd" and recipe.adversary_steps != plain.adversary_steps,
    }
    if settings.search.scale and recipe.optimizer != "sgd":
        raise InputError(
            f"--scale has no effect with --optimizer {recipe.optimizer}, whose steps do not depend on it; leave it out"
        )
    if settings.search.scale and (settings.search.space, settings.search.gain) == ("canonical", "free"):
        raise InputError("--scale has no effect in the canonical space, whose gain it is; leave it out")
    if settings.search.known_first and not settings.run.tune:
        raise InputError("--known-first has no effect with --no-tune, which tunes no known loss; leave one of them out")
    if is_idle(settings.data):
        raise InputError("--noise has no effect here; leave it out, or add --label-noise with the share of labels")
    for name, useless in idle.items():
        if useless:
            wanted = "--adversary" if name.startswith("--adversary") else "--metric robust-accuracy or weighted"
            wanted = "--metric expected-cost" if name == "--costs" else wanted
            raise InputError(f"{name} has no effect here; leave it out, or add {wanted}")


def settings_document(path: Path, model: str | None = None, metric: str | None = None) -> dict[str, Any]:
    """What a study file asks for, as a document with every setting; arguments and errors as :func:`read_settings`."""
    return read_settings(path, model, metric).model_dump(mode="json")


def read_settings(path: Path, model: str | None = None, metric: str | None = None) -> EvolveSettings:
    """What a study file asks for.

    Args:
        path: The file.
        model: The network of one's own that the file may name.
        metric: The metric of one's own that it may name.

    Raises:
        InputError: if it cannot be read, names something that is not a setting, or names other such code.
    """
    settings = file_settings(path)
    check_named(settings, model, path, metric)
    return settings


def check_named(settings: EvolveSettings, model: str | None, file: Path, metric: str | None = None) -> None:
    """See that the user names the network and the metric of one's own that a file names: code, where a file is data.

    Args:
        settings: What is about to be opened.
        model: The network that the user names.
        file: Where the settings come from.
        metric: The metric that the user names.

    Raises:
        InputError: if the user does not.
    """
    name = settings.model.name
    if is_code(name) and (model is None or absolute_code(name) != absolute_code(model)):
        check_name(name)
        if name.startswith(f"{NOTEBOOK}:"):
            raise InputError(
                f"the network {name.rpartition(':')[2]} of {file} was defined in a notebook or a function; put it into "
                f"a file, and name it: --model FILE.py:{name.rpartition(':')[2]}"
            )
        raise InputError(
            f"{file} names the network {name}, which is Python code, and a file alone starts none; if you trust that "
            f"code, name it, too: --model {quote(name)}"
        )
    name = settings.objective.metric
    if is_code(name) and (metric is None or absolute_code(name) != absolute_code(metric)):
        raise InputError(
            f"{file} names the metric {name}, which is Python code, and a file alone starts none; if you trust that "
            f"code, name it, too: --metric {quote(name)}"
        )


def file_settings(path: Path) -> EvolveSettings:
    """What a study file asks for, its network not yet checked by :func:`check_named`."""
    document, notes = modernized(read_toml(path))
    for note in notes:
        LOG.warning("%s: %s", path, note)
    document.pop("digest", None)
    if "classes" in document:
        raise InputError(f"{path} belongs to a study that is trained from Python; go on with it there")
    settings = validated(EvolveSettings, document, str(path))
    return with_data(settings, found_again(settings.data.source, path.parent))


def validated(model: type[Model], document: dict[str, Any], source: str | None) -> Model:
    """Settings from a document.

    Args:
        model: Which settings.
        document: Their values, as in JSON.
        source: What the document is, for messages; None for the flags of a command.

    Raises:
        InputError: one sentence that names the key and what is wrong with it.
    """
    try:
        return model.model_validate_json(json.dumps(document, default=lambda value: [str(value)]))
    except ValidationError as error:
        if source is None:
            raise InputError(first_problem(error, flags=True)) from None
        raise InputError(f"{source}: {first_problem(error)}") from None


def checked_classes(classes: Any) -> int:
    """A number of classes.

    Raises:
        InputError: if it is none.
    """
    try:
        count = operator.index(classes)
    except TypeError:
        raise InputError(f"a classifier has a whole number of classes, at least 2, not {classes!r}") from None
    if count < 2:
        raise InputError(f"a classifier has at least 2 classes, not {count}")
    return count


def rechecked(settings: Model) -> Model:
    """Settings that the flags of a command were copied into, which checks nothing.

    Raises:
        InputError: one sentence that names the flag and what is wrong with it.
    """
    return validated(type(settings), settings.model_dump(mode="json", warnings=False), None)


def flag(part: str, name: str) -> str:
    """The flag of a setting."""
    return "--" + FLAGS.get((part, name), name).replace("_", "-")


def first_problem(error: ValidationError, flags: bool = False) -> str:
    """The first problem of a validation, as a sentence that names the key, or the flag of a command."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {key!r}; remove it or mend its name"
    given = problem["input"]
    shown = f" (it is {brief(given)})" if isinstance(given, str | int | float | bool | list) else ""
    # What a check of our own says is a sentence already.
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if flags:
        named = [part for part in problem["loc"] if isinstance(part, str)]
        # What is wrong with a whole part, its sentence names.
        named = [] if named and named[-1] in EvolveSettings.model_fields else named
        return f"{flag('.'.join(named[:-1]), named[-1])} is wrong{shown}: {message}" if named else message
    return f"the setting {key!r} is wrong{shown}: {message}"


def differences(wanted: dict[str, Any], stored: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Settings in which two documents differ: (dotted key, wanted, stored)."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys((*wanted, *stored)):
        ours, theirs = wanted.get(key), stored.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found += differences(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs:
            found.append((f"{prefix}{key}", ours, theirs))
    return found
