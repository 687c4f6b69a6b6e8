"""The contract between a model and the training loop, the export and the codecs: :class:`CompressionModel`.

A model fills in the hooks that it needs; the others have defaults. Nothing outside a model's file asks for its class.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from codec_zoo.entropy_models import FactorizedPrior
from codec_zoo.metrics import EvaluatedImage
from codec_zoo.receptive_field import Window
from codec_zoo.stream import Stream
from codec_zoo.training.recorder import Recorder

# Name of a tensor → its dtype and shape, None for sides that vary.
TensorSpecs = Mapping[str, tuple[str, tuple[int | None, ...]]]
# A batch of RGB images.
IMAGES: tuple[str, tuple[int | None, ...]] = ("uint8", (None, None, None, 3))
# Height and width of each image of a batch.
SIZE: tuple[str, tuple[int | None, ...]] = ("int32", (None, 2))
# k of the quantisation step of each image (``codec_zoo.stream.Step``).
STEP: tuple[str, tuple[int | None, ...]] = ("int32", (None,))


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function of an exported model.

    Attributes:
        function: ``keras.ops`` code from named tensors to a dict of named tensors.
        inputs: name → (dtype, shape), None for sides that vary.
        outputs: likewise. Those of ``encode`` and the codec's image are the inputs of ``decode``.
    """

    function: Callable[..., Mapping[str, Any]]
    inputs: TensorSpecs
    outputs: TensorSpecs


@dataclasses.dataclass(frozen=True)
class RefinementTask:
    """The latents of one layer for some images, as a problem that the encoder can solve better than by rounding.

    All functions are differentiable ``keras.ops`` code; images are in units of 255 gray levels.

    Attributes:
        start: the latents that ``encode`` gives: float32 ``[N, h, w, C]``.
        target: what the synthesis should give: float32 ``[N, H, W, 3]``.
        synthesis: latents → float32 ``[N, H, W, 3]``.
        rate: latents → bits of each, the same shape; None where their length is fixed.
        coded: latents → the outputs of the signature, as ``encode`` names them.
        rate_weight: λ of integer latents: the squared error on the 0 … 255 scale that one bit a pixel is worth; a
            number, or float32 ``[N, 1, 1, 1]``.
    """

    start: Any
    target: Any
    synthesis: Callable[[Any], Any]
    rate: Callable[[Any], Any] | None
    coded: Callable[[Any], Mapping[str, Any]]
    rate_weight: Any = 0.0


@dataclasses.dataclass(frozen=True)
class Refinement:
    """How the encoder may refine the latents of one layer (``codec_zoo.export.search``).

    Attributes:
        begin: padded images, float32 ``[N, H, W, 3]``, 0 … 255, and the ``lower`` latents by name → the task.
        lower: the further inputs of ``begin``: latents of lower layers, and ``step`` of a model that has one.
        levels: of latents of fixed length, which have no rate: they are multiples of 1/levels in 0 … 1.
    """

    begin: Callable[..., RefinementTask]
    lower: TensorSpecs
    levels: int = 1


class CompressionModel(keras.Model):
    """Base class of the zoo's models.

    A constructor builds all parts, so that weights load before the first call, and ends with ``self.built = True``.
    A model must have :attr:`signatures` and :meth:`evaluate_image`, and either ``compute_loss`` or its own
    :meth:`learners` and :meth:`learn`.
    """

    # Group of weights in Keras's walk over the model's attributes → the group in files. For models whose published
    # files were written when the attributes were arranged otherwise. "" is the model itself. A group's name
    # also stands for those that Keras numbers: ``codecs/coder`` for ``codecs/coder_1``.
    weights_layout: ClassVar[Mapping[str, str]] = {}
    # Whether :meth:`reset_dormant_channels` does anything.
    resets_dormant_channels: ClassVar[bool] = False
    # The fraction of λ that counts at this step, set by the loop before each step (``Recipe.rate_rise``). None: there
    # is no rate in the loss.
    rate_share: float | None = None
    # Set by the loop where curves are wanted.
    recorder: Recorder | None = None

    @classmethod
    def make_stream(cls, *inner: Any, **config: Any) -> Stream | None:
        """How the files of a model are coded, known without building it.

        Args:
            inner: name and quality of the codec in ``Preset.inner``, if there is one.
            config: arguments of the constructor.

        Returns:
            The stream; None for a model with a codec of its own.
        """
        raise NotImplementedError

    @property
    def stride(self) -> int:
        """Sides of training patches, and of padded images, are multiples of this number of pixels."""
        return 1

    @property
    def min_side(self) -> int:
        """The least side of patches and held-out images, in pixels."""
        return 1

    @property
    def priors(self) -> Mapping[str, FactorizedPrior]:
        """Name of a latent → its learned prior; the export makes a table of each. Empty without entropy models."""
        return {}

    @property
    def prior_steps(self) -> Sequence[float]:
        """The quantisation steps that the tables of :attr:`priors` are for, in the order of their rows."""
        return (1.0,)

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The exported functions: ``encode`` and ``decode`` at least. Empty for a model that is not exported."""
        raise NotImplementedError

    def windows(self) -> Mapping[str, Sequence[Window]]:
        """Signature → the windows from each of its inputs to each of its outputs (``codec_zoo.receptive_field``).

        A signature without a bounded receptive field is missing.
        """
        return {}

    def refinements(self) -> Sequence[Refinement]:
        """For each layer, base first, how the encoder may refine its latents. Empty: ``encode`` is all there is.

        The export makes the signature ``search_k`` of the k-th.
        """
        return []

    def load_lower_layers(self, lower: keras.Model) -> None:
        """Take over the layers of ``lower``, the trained model of the preset in ``Preset.starts_from``.

        The loop calls it once, before the first step, also after weights to start from were loaded.
        """
        raise NotImplementedError(f"{type(self).__name__} has no lower layers.")

    def initialize(self, images: np.ndarray) -> None:
        """Adapt fresh weights to training patches; called once, before the first step. Default: leave them.

        Args:
            images: about 64 patches as :meth:`learn` gets them, ``uint8 [N, P, P, C]``.
        """

    def reset_dormant_channels(self, images: np.ndarray, seed: int = 0) -> int:
        """Give channels that hardly ever fire new weights, instead of :meth:`initialize`; on request
        (``--reset-dormant-channels``).

        Args:
            images: as in :meth:`initialize`.
            seed: of the new weights.

        Returns:
            How many channels were dormant.
        """
        return 0

    def normalize_activations(self, images: np.ndarray) -> None:
        """Rescale weights that training is to start from, without a change of the output. Default: leave them.

        The loop calls it after :meth:`initialize`, or after weights to start from were loaded.

        Args:
            images: as in :meth:`initialize`.
        """

    def learners(self) -> Sequence[keras.Model]:
        """What the loop compiles with an optimizer each: the model itself, or a :class:`Learner` for each loss."""
        return [self]

    def learn(self, learners: Sequence[Any], batch: np.ndarray, step: int) -> Mapping[str, Any]:
        """Do one training step.

        Args:
            learners: those of :meth:`learners`, compiled; on JAX stand-ins with the same ``train_on_batch``.
            batch: ``uint8 [N, P, P, C]``; C and the values are those of the preset's data.
            step: number of the step, from 0.

        Returns:
            The losses of this step by name, scalars.
        """
        return {"loss": learners[0].train_on_batch(batch)}

    @property
    def recorded(self) -> Sequence[str]:
        """The names of the scalars that a training step gives to :meth:`record`."""
        return ()

    def record(self, values: Mapping[str, Any]) -> None:
        """Add scalars of the training step in progress to the curves; nothing where there are none.

        Args:
            values: by the names in :attr:`recorded`, each once a step.
        """
        if self.recorder:
            self.recorder.add(values)

    def scalars(self, means: Mapping[str, float]) -> dict[str, float]:
        """Further curves beside the losses, such as ``psnr`` in dB.

        Args:
            means: over the last steps, of the losses and, where curves are wanted, of :attr:`recorded`.
        """
        return {}

    def evaluate_image(self, image: np.ndarray) -> EvaluatedImage:
        """Code and decode one held-out image.

        Args:
            image: ``uint8 [H, W, C]``, of the preset's data; sides of :attr:`min_side` or more.
        """
        raise NotImplementedError


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
    def trainable_variables(self) -> list[keras.Variable]:
        """Variables of the layers that learn."""
        return [variable for variable in self.model.variables if self._learns(variable)]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """Another name of Keras for :attr:`trainable_variables`."""
        return self.trainable_variables

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """All others."""
        return [variable for variable in self.model.variables if not self._learns(variable)]

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> Any:
        """Compute the loss, a scalar, of named inputs."""
        return self._loss_of(inputs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Pass on the output of :meth:`call`."""
        return y_pred
