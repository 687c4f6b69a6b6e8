"""Optimizers beyond Keras's own."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("codec_zoo")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon, for convolutions too: each update of a kernel is made orthogonal, as a matrix of taps.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". Keras leaves every array that is
    not a matrix to Adam. Here a kernel ``[h, w, i, o]`` is the matrix ``[h·w·i, o]``; a transposed one, ``[h, w, o,
    i]``, likewise: its last axis is what each place puts in. Updates have the size of Adam's (Liu et al. 2025, "Muon
    is scalable for LLM training"), so that one learning rate serves both.

    Adam keeps biases, priors, the pools of GDN (not linear maps), and kernels with a side of less than
    :data:`SMALLEST`.
    """

    SMALLEST = 4

    def __init__(self, learning_rate=0.001, **kwargs):
        kwargs = {"weight_decay": None, "adam_weight_decay": None, **kwargs}
        super().__init__(learning_rate, **kwargs)

    def _should_use_adamw(self, variable):
        shape = variable.shape
        return len(shape) != 4 or min(shape[-1], shape[0] * shape[1] * shape[2]) < self.SMALLEST

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign(m, self.momentum * m + gradient)
        direction = gradient + self.momentum * m if self.nesterov else m
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, variable.shape))
