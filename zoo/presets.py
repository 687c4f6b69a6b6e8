"""Presets: a name fixes the architecture, the paper's training recipe, and the codec steps around it.

Each family's file in ``codec_zoo.models`` registers its presets; lists, model cards, tables and the
command line are made from these records.

Other packages register presets in the same way (``docs/own-model.md``). The zoo imports their modules: the ones that
an installed package names as entry points of the group :data:`GROUP`, and the one in a name ``MODULE:NAME``.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import re
import struct
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec_zoo.errors import MissingPackageError, UsageError, needing_packages
from codec_zoo.notices import notice
from codec_zoo.stream import Stream

if TYPE_CHECKING:
    from codec_zoo.contract import CompressionModel

# What `codec-zoo compress` uses where no model is named.
DEFAULT_PRESET = "bpg-filter"
# The share of a run over which λ rises.
RISE = 0.4
# Entry points of this group name modules that register presets.
GROUP = "codec_zoo.presets"
# The distribution that this package comes in.
OWN_PACKAGE = "codec-zoo"
_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
_QUALIFIED = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[a-z][a-z0-9-]*)")


@dataclasses.dataclass(frozen=True)
class Paper:
    """Where a model comes from; without a ``url``, if it is nowhere on the web."""

    authors: str
    title: str
    year: int
    url: str = ""

    @property
    def short(self) -> str:
        """As texts cite it: "Ballé et al. 2018", or the whole name of one author."""
        first, *others = self.authors.split(", ")
        return f"{first.split()[-1]} et al. {self.year}" if others else f"{first} {self.year}"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the paper trains the model; each field can be overridden by ``codec-zoo train``.

    Attributes:
        patch_size: side of the square training patches, pixels.
        batch_size: patches a step.
        steps: optimizer steps in all.
        learning_rate: of the optimizer.
        schedule: ``"constant"``, ``"cosine"`` (decays to 0 at the last step), ``"halving"`` (half from 3/5 of the
            steps on, a quarter from 4/5) or ``"trapezoid"`` (constant, then straight down to 0 from 3/4 of the steps
            on: a run that is resumed with fewer steps in all comes to its end at once).
        warmup_steps: steps over which the rate rises from 0.
        clip_norm: bound on the norm of all gradients together, or None.
        optimizer: ``"adam"``, ``"rmsprop"`` or ``"muon"`` (``codec_zoo.training.optimizers``).
        beta_1: decay of Adam's mean gradient.
        momentum: decay of Muon's.
        adam_ratio: with Muon, the learning rate of what it leaves to Adam, in multiples of the kernels'.
        rate_rise: by how much the weight λ of the rate is smaller at the start; over :data:`RISE` of the steps it
            rises to its own, evenly in the logarithm. For models with a rate in their loss.
        average: decay of the moving average of the weights, which is evaluated and published in their place; 0: none.
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
    average: float = 0.0
    note: str = ""

    def rate_share(self, step: int) -> float:
        """The share of λ that counts at a step."""
        return self.rate_rise ** min(0.0, step / (RISE * self.steps) - 1)


@dataclasses.dataclass(frozen=True)
class Preset:
    """One model of one paper.

    Attributes:
        name: ``<paper>-<model>-<variant>``: lower case, digits and dashes, a letter first.
        paper: source.
        model: the class, a ``codec_zoo.contract.CompressionModel``.
        config: its constructor's arguments.
        recipe: the paper's training.
        reproduces: figure or table of the paper, and its row or curve.
        starts_from: the preset whose trained weights its training starts from, or None.
        trains: False where each file brings weights of its own.
        inner: the standard codec that the model stands behind and its quality, or None.
        inner_qualities: of ``"decoded-rgb"``: the lowest and the highest quality that images are coded at, or None.
        data: the training patches: ``"rgb"`` (``uint8 [N, P, P, 3]``, of images scaled at random), ``"rgb-unscaled"``
            (the same of images as they are), ``"luma"`` (``[N, P, P, 1]``), ``"decoded-luma"`` (``[N, P, P, 2]``:
            decoded by ``inner``, and true) or ``"decoded-rgb"`` (``[N, P, P, 7]``: RGB decoded by the codec of
            ``inner``, true RGB, and the quality).
        significant_bits: that large arrays of published weights keep of their 11 (``codec_zoo.weights``).
            7 of transforms that carry the brightness of the image through all their layers, where an error of one
            weight in a hundred shows, and of luma filters, which are small; 5 of networks that mend an image or have
            an image codec behind them (``experiments/weight_bits.py`` measures what fewer cost).
        licence: SPDX name, of the weights; None: the zoo's own, Apache-2.0; of another package it is not stated.
        weights: for a preset of another package, the folder of its trained weights, which ``codec-zoo publish``
            fills; None: it has none. The zoo's own presets have theirs in ``zoo/pretrained``.
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
    inner_qualities: tuple[int, int] | None = None
    data: str = "rgb"
    significant_bits: int = 5
    licence: str | None = None
    weights: Path | None = None

    @property
    def stream(self) -> Stream | None:
        """How its files are coded; None for a model with a codec of its own."""
        return self.model.make_stream(*(self.inner or ()), **self.config)

    @property
    def trained(self) -> bool:
        """Whether it compresses as it is: it has trained weights, or each file brings weights of its own."""
        from codec_zoo import weights  # which imports this module

        return not self.trains or weights.is_trained(self.name)

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
# The module that registered each preset.
_MODULES: dict[str, str] = {}


def preset_id(name: str) -> bytes:
    """The 4 bytes that stand for a preset's name in a file: its CRC-32, big-endian."""
    return struct.pack(">I", zlib.crc32(name.encode()))


def is_name(text: str) -> bool:
    """Whether a preset may be called ``text``."""
    return bool(_NAME.fullmatch(text))


def register(preset: Preset) -> Preset:
    """Add ``preset`` to the zoo, for the module whose import calls this.

    Raises:
        UsageError: the name is not of the form that names have; another preset has the name or its
            :func:`preset_id`; or it is of another package, and has no stream or does not
            train.
    """
    module = _importing_module()
    if _top(module) != "codec_zoo":
        _load_own()  # first, so that the zoo's own names stay its own
        if preset.stream is None or not preset.trains:
            raise UsageError(
                f"{preset.name} in {module} needs a stream and training: models of other packages have both. "
                "Let make_stream of its model return a stream, and leave trains as it is."
            )
    if not is_name(preset.name):
        raise UsageError(
            "a preset's name has lower case letters, digits and single dashes, a letter first. "
            f"Received: {preset.name!r} in {module}"
        )
    for name, other in _MODULES.items():
        if preset_id(name) == preset_id(preset.name):
            what = (
                f"two presets are called {name}"
                if name == preset.name
                else f"the presets {name} and {preset.name} have the same id in files, {preset_id(name).hex()}"
            )
            raise UsageError(f"{what}: of {other} and of {module}. Give the second another name.")
    _PRESETS[preset.name] = preset
    _MODULES[preset.name] = module
    return preset


def _importing_module() -> str:
    """The module whose import calls :func:`register`, through functions of other modules or not."""
    frame = sys._getframe(2)
    while frame.f_code.co_name != "<module>" and frame.f_back:
        frame = frame.f_back
    return frame.f_globals["__name__"]


def _top(module: str) -> str:
    """The top-level package of a module."""
    return module.partition(".")[0]


def onnx_alone() -> bool:
    """Whether only ONNX Runtime runs models here: it is installed, and no backend of Keras is.

    No preset is known then, since their modules need Keras: models are folders (``codec_zoo.export.runtime``).
    """
    backends = ("tensorflow", "jax", "torch")
    return bool(importlib.util.find_spec("onnxruntime")) and not any(map(importlib.util.find_spec, backends))


def only_own() -> bool:
    """Whether Keras runs here, no package brings presets, and no preset has been registered so far.

    Then :func:`list_presets` would import Keras to give the zoo's own presets.
    """
    return not (onnx_alone() or _MODULES or _entry_points())


@functools.cache
@needing_packages
def _load_own() -> None:
    """Import the zoo's families."""
    if onnx_alone():
        return
    from codec_zoo import models

    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"codec_zoo.models.{module.name}")


@functools.cache
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Of the presets of other packages that are installed."""
    return tuple(importlib.metadata.entry_points(group=GROUP))


@functools.cache
def _load_installed() -> None:
    """Import what other packages have; a note for each that does not import, of which no preset stays."""
    for point in _entry_points():
        before = set(_PRESETS)
        try:
            point.load()
        except (Exception, SystemExit) as error:
            for name in _PRESETS.keys() - before:
                del _PRESETS[name], _MODULES[name]
            notice(
                f"the presets of the package {_distribution(point)} are left out: {point.value} does not import "
                f"({type(error).__name__}: {error})."
            )


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.name


def split_name(text: str) -> tuple[str | None, str]:
    """``MODULE:NAME`` → the module and the preset's name; the module of a name alone is None."""
    qualified = _QUALIFIED.fullmatch(text)
    return (qualified["module"], qualified["name"]) if qualified else (None, text)


def start_with_module(text: str) -> str | None:
    """The ``MODULE:NAME`` that ``text`` begins with, up to its end, a comma or another colon; None without one."""
    found = _QUALIFIED.match(text)
    return found[0] if found and text[found.end() :][:1] in ("", ",", ":") else None


def package_of(preset: Preset) -> str:
    """The distribution that a preset comes in; of one that is not installed, its top-level package."""
    top = _top(_module_of(preset))
    if top == "codec_zoo":
        return OWN_PACKAGE
    return next((_distribution(point) for point in _entry_points() if _top(point.module) == top), top)


def qualified_name(preset: Preset) -> str:
    """``MODULE:NAME``, which finds a preset of another package whether it is installed or not.

    Of the zoo's own it is the name alone.
    """
    return preset.name if package_of(preset) == OWN_PACKAGE else f"{_module_of(preset)}:{preset.name}"


def _module_of(preset: Preset) -> str:
    """The module that registered a preset; of one that is not registered, its model's."""
    return _MODULES.get(preset.name, preset.model.__module__)


def list_presets() -> list[Preset]:
    """All presets, by name: the zoo's own, those of installed packages, and those of modules imported so far.

    Raises:
        MissingPackageError: no backend of Keras is installed, which their modules need.
    """
    if onnx_alone():
        raise MissingPackageError("tensorflow")
    return known_presets()


def known_presets() -> list[Preset]:
    """As :func:`list_presets`; without a backend of Keras the zoo's own are left out."""
    _load_own()
    _load_installed()
    return [_PRESETS[name] for name in sorted(_PRESETS)]


def find_preset(name: str) -> Preset | None:
    """The preset called ``name``, or None.

    Args:
        name: of a preset of the zoo or of an installed package; or ``MODULE:NAME``, of any module that Python finds.

    Raises:
        UsageError: the module does not import, or has no such preset.
    """
    module, name = split_name(name)
    if module:
        return _find_in(module, name)
    for load in (_load_own, _load_installed):
        load()
        if name in _PRESETS:
            return _PRESETS[name]
    return None


def _find_in(module: str, name: str) -> Preset:
    """The preset ``name`` of a module or of its package."""
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module called {module!r}: install its package, or add the package's folder to "
                f"PYTHONPATH. A folder of that name is written ./{module}:{name}."
            ) from error
        raise UsageError(f"{module} does not import ({type(error).__name__}: {error}).") from error
    names = [known for known, other in sorted(_MODULES.items()) if _top(other) == _top(module)]
    if name not in names:
        raise UsageError(f"{module} has no preset called {name!r}. It has {', '.join(names) or 'none'}.")
    return _PRESETS[name]


def get_preset(name: str) -> Preset:
    """The preset called ``name``; see :func:`find_preset`.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    found = find_preset(name)
    if not found:
        if "/" in name or os.sep in name:
            raise UsageError(
                f"there is no folder {name}. Name a preset (`codec-zoo list`) or the folder of an export."
            )
        presets = [preset.name for preset in list_presets()]
        close = difflib.get_close_matches(name, presets, n=3, cutoff=0.4) or presets[:3]
        raise UsageError(
            f"there is no preset called {name!r}. Close to it: {', '.join(close)}. `codec-zoo list --all` shows all; "
            "one of a module that is not installed is written MODULE:NAME."
        )
    return found
