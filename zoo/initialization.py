"""Where the weights of a transform code with GDN start: at the principal components of the training patches."""

import keras
import numpy as np
from keras import ops

from codec_zoo.layers.gdn import GDN

# Factor of the channels inside the transforms at the start, while the pools of GDN are its own. On a Kodak image at
# λ = 3, four stages, 128 and 192 channels, the start gives 39.9 dB with 0.25 and 26.0 dB with 1.
SMALL = 0.25


def start_from_principal_components(
    analysis: keras.Sequential, synthesis: keras.Sequential, inputs: np.ndarray, step: float
) -> np.ndarray:
    """Make the transforms a linear transform code of the data: principal components of blocks, stage by stage.

    Stage i merges the block of its stride into the principal components of the output of stage i − 1; channels
    beyond these keep a tenth of their random values. The synthesis is the transpose.

    Args:
        analysis: convolutions ``conv0`` …, with GDN between them.
        synthesis: its mirror.
        inputs: float32 ``[N, H, W, 3]``, sides multiples of the analysis's stride.
        step: the standard deviation of the inputs that becomes one quantisation step of the latents.

    Returns:
        The standard deviation of each latent channel at the start, in quantisation steps: float32 ``[C]``.
    """
    outputs = inputs
    stages = [layer for layer in analysis.layers if not isinstance(layer, GDN)]
    last = len(stages) - 1
    for i, convolution in enumerate(stages):
        kernel, stride = convolution.kernel_size[0], convolution.strides[0]
        count, height, width, channels = outputs.shape
        blocks = outputs.reshape(count, height // stride, stride, width // stride, stride, channels)
        blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, stride * stride * channels)
        _, components = np.linalg.eigh(blocks.T @ blocks / len(blocks))
        kept = min(convolution.filters, components.shape[0])
        components = components[:, ::-1][:, :kept]
        # Inside, channels stay small: there GDN is almost linear and the transpose an inverse.
        gain = (1 / step if i == last else 1.0) * (SMALL if i == 0 else 1.0) / (SMALL if i == last else 1.0)
        first = (kernel - stride) // 2  # where "same" padding puts the block inside the kernel
        inside = slice(first, first + stride)
        for stage, factor in ((convolution, gain), (synthesis.get_layer(f"conv{i}"), 1 / gain)):
            weights = 0.1 * ops.convert_to_numpy(stage.kernel)
            weights[..., :kept] = 0
            weights[inside, inside, :, :kept] = components.reshape(stride, stride, channels, kept)
            stage.kernel.assign(factor * weights)
        outputs = np.zeros((count, height // stride, width // stride, convolution.filters), np.float32)
        outputs[..., :kept] = (blocks @ components).reshape(*outputs.shape[:3], kept)
    return outputs.std((0, 1, 2)) / step


def normalize_activations(network: keras.Sequential, inputs: np.ndarray) -> None:
    """Scale the channels inside a network to a root mean square of 1, and the pools of its GDN layers against it.

    The output stays the same. But where activations are small GDN is a linear map, and its pools are far from the
    values at which they would not be: an optimizer moves each weight by about its rate, however little that changes.

    Args:
        network: convolutions with GDN, or its inverse, between them.
        inputs: of the network, float32 ``[N, H, W, C]``.
    """
    last = [layer for layer in network.layers if not isinstance(layer, GDN)][-1]
    outputs, before = inputs, 1.0  # the factor of these outputs already
    for stage in network.layers:
        outputs = ops.cast(stage(outputs), "float32")
        if isinstance(stage, GDN):
            roots = ops.abs(stage.gamma_root) / before  # those below 0 have the same squares
            stage.gamma_root.assign(ops.maximum(roots, GDN.OFF_DIAGONAL))
            continue
        size = float(ops.convert_to_numpy(ops.sqrt(ops.mean(ops.square(outputs)))))
        after = 1 / size if size and stage is not last else 1.0
        stage.kernel.assign(stage.kernel * (after / before))
        stage.bias.assign(stage.bias * after)
        before = after
