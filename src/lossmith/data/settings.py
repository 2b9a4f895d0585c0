"""What the user chooses about the data."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from lossmith.data.arrays import LARGEST_INPUT
from lossmith.data.kinds import KINDS, checked_kind
from lossmith.data.noise import checked_noise, known_noises
from lossmith.data.readers import known_data
from lossmith.data.splits import checked_split, known_splits
from lossmith.registry import Listed
from lossmith.settings import Settings

LARGEST_SIDE = 2**16


class DataSettings(Settings):
    """Which data, how large each part is, and how many labels are replaced at random.

    Equal settings and an equal source give equal parts on every machine. ``label_noise`` and ``noise_seed`` never
    change which samples a part holds, and ``train_size`` and ``validation_size`` never change the test part.
    A smaller ``train_size`` gives a subset of the larger one's samples.
    """

    source: Annotated[str, Listed(known_data)] = "digits"
    """Data to learn: {names}. An .npz file has x_train and y_train, and may have x_val, y_val, x_test and y_test. A
    directory has a folder of images for each class; or train, and perhaps val and test, which hold such folders or are
    tables. Downloads are kept; ./mnist is a directory called mnist."""

    kind: Annotated[str, AfterValidator(checked_kind), Listed(lambda: ", ".join(KINDS))] = "auto"
    """What the inputs are: {names}; or auto, which tells images from feature vectors by their shape. Tokens are whole
    numbers [N, length]; dicts of tensors come from Python."""

    target: str | None = None
    """Column of a table that holds the labels; text labels are classes in sorted order."""

    drop: Annotated[tuple[str, ...], Field(strict=False, max_length=10**4)] = ()
    """Columns of a table that are left out, such as ids and dates."""

    categories: Literal["one-hot", "ordinal"] = "one-hot"
    """How texts in a table become numbers: a feature for each category, or its number in sorted order."""

    missing: Literal["refuse", "impute"] = "refuse"
    """Empty cells of a table: refuse them, or impute the training part's median (of texts and truth values, the most
    frequent one)."""

    padding_id: int | None = Field(default=None, ge=0, lt=2**63)
    """Token id that only pads sequences: the embedding network ignores it, and a function of yours gets it as
    padding_id if it takes that (default: none does)."""

    train_size: PositiveInt | None = None
    """Number of training samples (default: all that the validation and test parts leave)."""

    validation_size: PositiveInt | None = None
    """Number of validation samples (default: the data's own, or else all that train_size leaves, or else 20 % of what
    the test part leaves, at most 5000 of both)."""

    test_size: PositiveInt | None = None
    """Number of test samples (default: the file's own test arrays, or else 25 % of all samples)."""

    label_noise: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training and validation labels that noise changes, from 0 to below 1; test labels stay clean."""

    noise: Annotated[str, AfterValidator(checked_noise), Listed(known_noises)] = "symmetric"
    """How noise changes a label: {names}. Or, without --label-noise, FILE.npy or FILE.npz:ARRAY: the probabilities [K,
    K] of the labels of each class, or a noisy label for each sample, except those of validation and test parts that the
    data has itself."""

    split: Annotated[str, AfterValidator(checked_split), Listed(known_splits)] = "auto"
    """How samples are split into parts: {names}; or auto, by groups where the data has them, else stratified."""

    groups: str | None = None
    """Column of a table, or array of an .npz file, with the group of each sample, such as its patient: no group is in
    two parts, so that their sizes are only nearly as wanted."""

    split_seed: int = Field(default=0, gt=-(2**128), lt=2**128)
    """Seed of the split into training, validation and test samples."""

    noise_seed: int = Field(default=0, gt=-(2**128), lt=2**128)
    """Seed of the label noise."""

    max_pixel: float | None = Field(default=None, gt=0, le=LARGEST_INPUT, allow_inf_nan=False)
    """Value of a white pixel; the strengths of attacks and noise are shares of it (default: 16 for digits, 255 for
    other uint8 images, 1 for floating images)."""

    image_size: PositiveInt | None = Field(default=None, le=LARGEST_SIDE)
    """Height and width of the images of a directory: the shorter side is resized, the longer one cropped in the middle
    (default: as they are; all must have one size)."""

    channels: Literal[1, 3] | None = None
    """Channels that images are converted to: 1 for gray, 3 for color (default: as they are; a directory becomes color
    if one of its images is)."""
