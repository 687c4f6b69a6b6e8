"""What every model of the zoo offers beyond ``keras.Model``, and how its parts learn."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import keras
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

    def learners(self) -> Sequence[keras.Model]:
        """What the loop gives an optimizer each: the model itself, or a :class:`Learner` for each loss."""

    def learn(self, learners: Sequence[keras.Model], batch: np.ndarray, step: int) -> Mapping[str, Any]:
        """Do step number ``step`` with the compiled learners; the losses that it had, by name."""

    def initialize(self, images: np.ndarray) -> None:
        """Before fresh weights train: adapt them to training patches, ``uint8 [N, P, P, 3]``."""

    def scalars(self, losses: Mapping[str, float]) -> dict[str, float]:
        """What mean training losses say in the field's units."""

    def probe(self, image: np.ndarray) -> Probe:
        """Code one held-out picture and reconstruct it."""


class LearnsAsOne:
    """For models with one loss, on all that is trainable."""

    def learners(self):
        """The model itself."""
        return [self]

    def learn(self, learners, batch, step):
        """One step on the batch."""
        return {"loss": learners[0].train_on_batch(batch)}


class Learner(keras.Model):
    """One of several losses of a model, which trains some of its layers and leaves the others as they are.

    Args:
        model: the model; all its variables may be used.
        trained: the layers that learn.
        loss: named inputs → the loss, a scalar.
        name: for the curves.

    Call: what ``train_on_batch`` gets, a dict of arrays → the loss.
    """

    def __init__(
        self,
        model: keras.Model,
        trained: Sequence[keras.layers.Layer],
        loss: Callable[[Mapping[str, Any]], Any],
        name: str,
    ):
        super().__init__(name=name)
        self.model = model
        self._loss_of = loss
        ids = {id(variable) for layer in trained for variable in layer.trainable_variables}
        self._learns = lambda variable: id(variable) in ids  # in a closure, where Keras does not track it
        self.built = True

    @property
    def trainable_variables(self):
        """Variables of the layers that learn."""
        return [variable for variable in self.model.variables if self._learns(variable)]

    @property
    def trainable_weights(self):
        """The same."""
        return self.trainable_variables

    @property
    def non_trainable_variables(self):
        """All others."""
        return [variable for variable in self.model.variables if not self._learns(variable)]

    def call(self, inputs, training=None):
        """The loss; see the class."""
        return self._loss_of(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What ``call`` gave."""
        return y_pred
