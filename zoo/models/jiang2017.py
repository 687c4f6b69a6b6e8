"""Compact representation for JPEG: Jiang et al. 2017, "An end-to-end compression framework based on convolutional
neural networks" (IEEE TCSVT), the comparator of ``zhao2018``.

    image ─▶ description (ComCNN) ─▶ Y ─▶ JPEG ─▶ Z ─▶ upscale ─▶ post (RecCNN) ─▶ image
    [N,H,W,1]                   [N,H/2,W/2,1]          [N,H,W,1]                [N,H,W,1]

Reproduced: both networks, their training in turn (the description through the post network, by squared error, as if
nothing were coded), Tables I and II. Start, data and recipe are those of ``zhao2018``, whose codec this is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from codec_zoo.convolutions import Conv2D
from codec_zoo.models.zhao2018 import RECIPE, Branch, MixedResolution, convolutions, last_layer
from codec_zoo.presets import Paper, Preset, register

# === Layers ===


def com_cnn(channels: int, scale: int) -> keras.Sequential:
    """ComCNN: three 3×3 convolutions, the second with stride ``scale``."""
    layers = [*convolutions("conv", 3, channels, 1, scale), last_layer("conv2", 3)]
    return keras.Sequential([keras.Input((None, None, 1)), *layers], name="description")


def rec_cnn(channels: int) -> keras.Sequential:
    """RecCNN: 20 3×3 convolutions on the upscaled image, batch normalisation in layers 2 … 19."""
    layers: list[keras.layers.Layer] = [keras.Input((None, None, 1))]
    layers.append(Conv2D(channels, 3, padding="same", activation="relu", name="conv0"))
    for i in range(1, 19):
        layers.append(Conv2D(channels, 3, padding="same", use_bias=False, name=f"conv{i}"))
        layers.append(keras.layers.BatchNormalization(name=f"norm{i}"))
        layers.append(keras.layers.ReLU(name=f"relu{i}"))
    return keras.Sequential([*layers, last_layer("conv19", 3)], name="post")


@keras.saving.register_keras_serializable("codec_zoo")
class JiangBranch(Branch):
    """ComCNN and RecCNN.

    Args:
        scale: 2 for low resolution, 1 for high.
        qualities: of JPEG, for which it learns.
        channels: inside the networks.
    """

    upscales_first: ClassVar[bool] = True

    def __init__(self, scale: int, qualities: Sequence[int], channels: int = 64, **kwargs: Any):
        super().__init__(scale, qualities, **{**kwargs, "method": "jiang"}, channels=channels)

    def make_networks(self, channels: int, scale: int) -> tuple[keras.Sequential, keras.Sequential]:
        """The description and the post network."""
        return com_cnn(channels, scale), rec_cnn(channels)


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class CompactRepresentation(MixedResolution):
    """Jiang's networks around JPEG.

    Args:
        branches: name → arguments of its :class:`JiangBranch`.
    """

    branch_class: ClassVar[type[Branch]] = JiangBranch
    weights_layout: ClassVar[Mapping[str, str]] = {"branches/jiang_branch": "branches/branch"}


# === Presets ===

_PAPER = Paper(
    authors="Feng Jiang, Wen Tao, Shaohui Liu, Jie Ren, Xun Guo, Debin Zhao",
    title="An end-to-end compression framework based on convolutional neural networks",
    year=2017,
    url="https://arxiv.org/abs/1708.00838",
)
register(
    Preset(
        name="jiang2017-comcnn",
        paper=_PAPER,
        model=CompactRepresentation,
        config={"branches": {"low": {"scale": 2, "qualities": (5, 10, 20)}}},
        recipe=RECIPE,
        reproduces="Tables I and II",
        data="luma",
    )
)
