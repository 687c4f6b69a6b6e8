"""What every model of the zoo offers beyond ``keras.Model``."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from codec_zoo.entropy_models import FactorizedPrior
from codec_zoo.metrics import Probe


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function of an exported model.

    Attributes:
        function: ``keras.ops`` code from named tensors to a dict of named tensors.
        inputs: name → (dtype, shape), None for sides that vary.
    """

    function: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, tuple[str, tuple[int | None, ...]]]


@runtime_checkable
class ZooModel(Protocol):
    """The contract between models, the training loop and the export."""

    @property
    def stride(self) -> int:
        """Training patches must be multiples of this."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The exported functions; ``encode`` and ``decode`` at least."""

    @property
    def priors(self) -> Mapping[str, FactorizedPrior]:
        """Name of a latent → its learned prior; empty for a model without entropy models."""

    def initialize(self, images: np.ndarray) -> None:
        """Before fresh weights train: adapt them to training patches, ``uint8 [N, P, P, 3]``."""

    def scalars(self, loss: float) -> dict[str, float]:
        """What a training loss says in the field's units."""

    def probe(self, image: np.ndarray) -> Probe:
        """Code one held-out picture and reconstruct it."""
