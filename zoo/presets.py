"""Presets: a name fixes the architecture, the paper's training recipe, and the codec steps around it.

Each family's file in ``codec_zoo.models`` registers its presets; lists, model cards, tables and the
command line are made from these records.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codec_zoo.errors import UsageError
from codec_zoo.stream import Stream

if TYPE_CHECKING:
    from codec_zoo.contract import CompressionModel

# What `codec-zoo compress` uses where no model is named.
DEFAULT_PRESET = "hu2018-filter-bpg444-q34"
# The share of a run over which λ rises.
RISE = 0.4


@dataclasses.dataclass(frozen=True)
class Paper:
    """Where a model comes from."""

    authors: str
    title: str
    year: int
    url: str

    @property
    def short(self) -> str:
        """As texts cite it: "Ballé et al. 2018"."""
        return f"{self.authors.split(',')[0].split()[-1]} et al. {self.year}"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the paper trains the model; each field can be overridden by ``codec-zoo train``.

    Attributes:
        patch_size: side of the square training patches, pixels.
        batch_size: patches a step.
        steps: optimizer steps in all.
        learning_rate: of the optimizer.
        schedule: ``"constant"``, ``"cosine"`` (decays to 0 at the last step) or ``"halving"`` (half from 3/5 of the
            steps on, a quarter from 4/5).
        warmup_steps: steps over which the rate rises from 0.
        clip_norm: bound on the norm of all gradients together, or None.
        optimizer: ``"adam"``, ``"rmsprop"`` or ``"muon"`` (``codec_zoo.training.optimizers``).
        beta_1: decay of Adam's mean gradient.
        momentum: decay of Muon's.
        adam_ratio: with Muon, the learning rate of what it leaves to Adam, in multiples of the kernels'.
        rate_rise: by how much the weight λ of the rate is smaller at the start; over :data:`RISE` of the steps it
            rises to its own, evenly in the logarithm. For models with a rate in their loss.
        note: what the paper leaves open and how it was settled.
    """

    patch_size: int
    batch_size: int
    steps: int
    learning_rate: float
    schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float | None = None
    optimizer: str = "adam"
    beta_1: float = 0.9
    momentum: float = 0.95
    adam_ratio: float = 1.0
    rate_rise: float = 1.0
    note: str = ""

    def rate_share(self, step: int) -> float:
        """Of λ at a step, by :attr:`rate_rise`."""
        return self.rate_rise ** min(0.0, step / (RISE * self.steps) - 1)


@dataclasses.dataclass(frozen=True)
class Preset:
    """One model of one paper.

    Attributes:
        name: ``<paper>-<model>-<variant>``.
        paper: source.
        model: the class, a ``codec_zoo.contract.CompressionModel``.
        config: its constructor's arguments.
        recipe: the paper's training.
        reproduces: figure or table of the paper, and its row or curve.
        starts_from: the preset whose trained weights its training starts from, or None.
        trains: False where each file brings weights of its own.
        inner: the standard codec that the model stands behind and its quality, or None.
        data: the training patches: ``"rgb"`` (``uint8 [N, P, P, 3]``, of images scaled at random), ``"rgb-unscaled"``
            (the same of images as they are), ``"luma"`` (``[N, P, P, 1]``) or ``"decoded-luma"`` (``[N, P, P, 2]``:
            decoded by ``inner``, and true).
        significant_bits: that large arrays of published weights keep of their 11 (``codec_zoo.weights``).
            7 of transforms that carry the brightness of the image through all their layers, where an error of one
            weight in a hundred shows, and of luma filters, which are small; 5 of networks that mend an image or have
            an image codec behind them (``docs/training.md``).
    """

    name: str
    paper: Paper
    model: "type[CompressionModel]"
    config: Mapping[str, Any]
    recipe: Recipe
    reproduces: str
    starts_from: str | None = None
    trains: bool = True
    inner: tuple[str, float] | None = None
    data: str = "rgb"
    significant_bits: int = 5

    @property
    def stream(self) -> Stream | None:
        """How its files are coded; None for a model with a codec of its own."""
        return self.model.make_stream(*(self.inner or ()), **self.config)

    def require_training(self) -> None:
        """Raise ``UsageError`` for a preset that has nothing to train or to export."""
        if not self.trains:
            raise UsageError(
                f"{self.name} learns each picture while it compresses: there is nothing to train or to export. "
                f"Use it: `codec-zoo compress --model {self.name}`."
            )

    def create(self) -> "CompressionModel":
        """Build the model with fresh weights."""
        return self.model(**self.config, name=self.name.replace("-", "_"))


_PRESETS: dict[str, Preset] = {}


def register(preset: Preset) -> Preset:
    """Add ``preset`` to the zoo; names are unique."""
    if preset.name in _PRESETS:
        raise ValueError(f"two presets are called {preset.name!r}")
    _PRESETS[preset.name] = preset
    return preset


def list_presets() -> list[Preset]:
    """All presets, by name."""
    from codec_zoo import models

    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"codec_zoo.models.{module.name}")
    return [_PRESETS[name] for name in sorted(_PRESETS)]


def get_preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    presets = {preset.name: preset for preset in list_presets()}
    if name not in presets:
        close = difflib.get_close_matches(name, presets, n=3, cutoff=0.4) or list(presets)[:3]
        raise UsageError(
            f"there is no preset called {name!r}. Close to it: {', '.join(close)}. `codec-zoo list` shows all."
        )
    return presets[name]
