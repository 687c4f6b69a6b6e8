"""What steps measure: means of what was recorded, and times without pauses."""

import time

import keras
import numpy as np
import pytest

from codec_zoo.training.recorder import CLIPPED, GRADIENT_NORM, Recorder, StepClock

TARGETS = np.float32([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0], [0.0, 0.0]])


class Line(keras.Model):
    """Loss x·w: its gradient is x. Records twice the loss."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(shape=(2,), initializer="ones")
        self.built = True
        self.recorder = None

    def call(self, x):
        loss = keras.ops.sum(x * self.w)
        if self.recorder:
            self.recorder.add({"twice": 2 * loss})
        return loss

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return y_pred


@pytest.mark.parametrize("bound", [1.0, None])
def test_means_norms_and_clipped_steps(bound):
    model = Line()
    model.compile(optimizer=keras.optimizers.SGD(0.1, global_clipnorm=bound), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    recorder = model.recorder = Recorder(["twice"], model.optimizer)
    assert recorder.take() == {}
    for targets in (TARGETS, TARGETS[:1]):
        losses = [float(model.train_on_batch(target[None])) for target in targets]
        means = recorder.take()
        norms = np.linalg.norm(targets, axis=1)
        assert means["twice"] == pytest.approx(2 * np.mean(losses), rel=1e-5)
        assert means[GRADIENT_NORM] == pytest.approx(np.mean(norms), rel=1e-5)
        assert means.get(CLIPPED) == (pytest.approx(np.mean(norms > bound)) if bound else None)


def test_recorded_steps_are_the_same_steps():
    weights = []
    for recorded in (False, True):
        model = Line()
        model.compile(optimizer=keras.optimizers.Adam(0.1, global_clipnorm=1.0), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        if recorded:
            model.recorder = Recorder(["twice"], model.optimizer)
        for target in TARGETS:
            model.train_on_batch(target[None])
        weights.append([variable.numpy() for variable in (*model.variables, *model.optimizer.variables)])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_waiting_is_counted_and_pauses_are_not():
    def slow():
        for value in range(2):
            time.sleep(0.05)
            yield np.array(value)

    clock = StepClock()
    started = time.perf_counter()
    assert [int(value) for value in clock.waiting(slow())] == [0, 1]
    passed = time.perf_counter() - started
    with clock.paused():
        time.sleep(0.5)
    values = clock.take(10)
    assert 0.4 * 10 / passed < values["speed/images_per_second"] <= 10 / 0.1
    assert 0.1 / (passed + 0.4) < values["speed/data_wait"] <= 1
    assert clock.take(0)["speed/data_wait"] == 0
