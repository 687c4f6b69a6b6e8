"""Mean, scale and context: Minnen et al. 2018, "Joint Autoregressive and Hierarchical Priors for Learned Image
Compression" (NeurIPS), with the channel-wise context of Minnen and Singh 2020 (ICIP) for decoding in parallel.

    image ─▶ analysis ─▶ y ─────── y/Δ − μ/Δ ── round ─▶ r ── μ + Δ·r ─▶ ŷ ─▶ synthesis ─▶ image
    [N,H,W,3]       [N,H/16,W/16,C]    │                   │
                     │ |y|, y         μ, σ/Δ of a group ◀──┤
                     ▼                 ▲                   │ Δ·r of the groups before
               hyper_analysis ─▶ z ─ round ─▶ hyper_synthesis        z: factorized prior
                            [N,H/64,W/64,M]

Reproduced: the Gaussians of y have a mean and a standard deviation of their own, both from the hyperprior (2018, §3).
A context of values that are decoded already corrects both. The context of 2018 is autoregressive: a decoder computes
it value by value. Here it is channel-wise (2020, §2): the channels of y are in groups, and a network sees all lower
groups at once. So a decoder needs one step for each group.

Differences:

- **The context has r, not ŷ.** A group's mean is in the residual integers r of lower groups, times Δ, and in the
  hyperprior. So the networks that choose tables see integers alone, and run in exact integers
  (``codec_zoo.hyper_synthesis``). Means run in float32, since no table depends on them.
- **No latent residual prediction** (2020, §3), and fewer groups. The first ones are smaller and have more bits.
- **z sees y beside |y|**: a mean has a sign.
- **Variable rate**, as in ``codec_zoo.models.balle2018``: one network for all rates.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from codec_zoo.contract import Signature
from codec_zoo.convolutions import Conv2D
from codec_zoo.entropy_models import (
    bits,
    bits_above_next,
    gaussian_likelihood,
    quantisation_step,
    quantisation_step_integers,
    round_straight_through,
    scale_table,
    to_scale,
)
from codec_zoo.hyper_synthesis import HyperSynthesis
from codec_zoo.models.balle2018 import STRIDES, VariableRateHyperprior, hyper_analysis
from codec_zoo.presets import Paper, Recipe
from codec_zoo.rate_points import register_variable_rate
from codec_zoo.receptive_field import Window, window
from codec_zoo.stream import Latent, Step, StreamLayer
from codec_zoo.stream_coders import RangeCoder, Rows
from codec_zoo.transform_coding import latent_layer, total

# The groups' names: those of the latents in files, before the number of the layer.
NAMES = ("y", *(f"y_{letter}" for letter in "bcdefghij"))

# === Layers ===


@keras.saving.register_keras_serializable("codec_zoo")
class ContextualHyperSynthesis(HyperSynthesis):
    """ẑ and the lower groups of y → mean and standard deviation of each latent of the next group.

    Args:
        groups: channels of each group of y.
        hyper_channels: channels of z.
        context_channels: inside the context of a group.

    Call: the standard deviations without a context, as :class:`codec_zoo.hyper_synthesis.HyperSynthesis`.
    """

    def __init__(self, groups: Sequence[int], hyper_channels: int, context_channels: int, **kwargs: Any):
        super().__init__(sum(groups), hyper_channels, **kwargs)
        self.groups = tuple(groups)
        self.context_channels = context_channels
        self.means = Conv2D(sum(groups), 3, padding="same", kernel_initializer="zeros", dtype="float32", name="means")
        # One for each group but the first. They start without an effect.
        self.contexts = [
            Conv2D(context_channels, 3, padding="same", dtype="float32", name=f"context{i}")
            for i in range(1, len(groups))
        ]
        self.corrections = [
            Conv2D(2 * count, 1, kernel_initializer="zeros", dtype="float32", name=f"correction{i}")
            for i, count in enumerate(groups[1:], 1)
        ]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build the parts, so that weights load before the first call."""
        super().build(input_shape)
        self.means.build((None, None, None, self.hyper_channels))
        below = itertools.accumulate(self.groups[:-1])
        for context, correction, count in zip(self.contexts, self.corrections, below, strict=True):
            context.build((None, None, None, self.hyper_channels + count))
            correction.build((None, None, None, self.context_channels))

    def channels_of(self, group: int) -> slice:
        """The channels of a group of y."""
        first = sum(self.groups[:group])
        return slice(first, first + self.groups[group])

    def parameters(self, features: Any, lower: Sequence[Any], delta: Any) -> tuple[Any, Any]:
        """Mean and standard deviation of the group after ``lower``, in float32.

        Args:
            features: of ẑ, :meth:`features`: float32 ``[N, h, w, hyper_channels]``.
            lower: Δ·r of each lower group: float32 ``[N, h, w, channels of the group]``.
            delta: Δ, float32 ``[N, 1, 1, 1]``.

        Returns:
            The mean; the standard deviation in quantisation steps: float32 ``[N, h, w, channels of the group]``.
        """
        channels, last = self.channels_of(len(lower)), self.stages[-1]
        mean, logits = (
            ops.conv(features, layer.kernel[..., channels], padding="same") + layer.bias[channels]
            for layer in (self.means, last)
        )
        if lower:
            hidden = ops.relu(self.contexts[len(lower) - 1](ops.concatenate([features, *lower], axis=-1)))
            of_mean, of_scale = ops.split(self.corrections[len(lower) - 1](hidden), 2, axis=-1)
            mean, logits = mean + of_mean, logits + of_scale
        return mean, to_scale(logits, delta)

    def exact_rows(self, hyper_latents: Any, lower: Sequence[Any], step: Any) -> Any:
        """Rows of the scale table of the group after ``lower``, as :meth:`HyperSynthesis.exact` has them.

        Args:
            hyper_latents: int32 ``[N, h/4, w/4, hyper_channels]``.
            lower: r of each lower group: int32 ``[N, h, w, channels of the group]``.
            step: k of each image, int32 ``[N]``.

        Returns:
            0 … 63: int32 ``[N, h, w, channels of the group]``.
        """
        channels = self.channels_of(len(lower))
        features = self.exact_features(hyper_latents)
        kernel, bias = self.integers(self.stages[-1])
        sums = ops.conv(features, kernel[..., channels], padding="same") + bias[channels]
        if lower:
            delta = quantisation_step_integers(step, self.VALUE_BITS)
            known = [ops.clip(ops.cast(r, "float64") * delta, -self.MAX_VALUE, self.MAX_VALUE) for r in lower]
            kernel, bias = self.integers(self.contexts[len(lower) - 1])
            seen = ops.concatenate([features, *known], axis=-1)
            hidden = self.activate(ops.conv(seen, kernel, padding="same") + bias)
            kernel, bias = self.integers(self.corrections[len(lower) - 1])
            count = self.groups[len(lower)]
            sums = sums + ops.conv(hidden, kernel[..., count:], padding="same") + bias[count:]
        return self.rows(sums, step)

    def check_exact(self) -> None:
        """Raise ``ValueError`` if a sum of :meth:`exact_rows` could pass 2^53 with these weights."""
        super().check_exact()
        for context, correction in zip(self.contexts, self.corrections, strict=True):
            self.check_sums(self.MAX_VALUE, context)
            self.check_sums(self.MAX_VALUE, correction, parts=2)
        self.check_sums(self.MAX_VALUE, self.stages[-1], parts=2)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, without the dtype, which is fixed."""
        config = super().get_config()
        config.pop("latent_channels")
        config.update(groups=self.groups, context_channels=self.context_channels)
        return config


# === Model ===


@keras.saving.register_keras_serializable("codec_zoo")
class ContextHyperprior(VariableRateHyperprior):
    """Groups of channels of y, each Gaussian with mean and scale from z and from the groups before it.

    Args:
        groups: channels of each of 1 to 10 groups; their sum is ``latent_channels``. One group: mean and scale from z
            alone.
        context_channels: inside the context of a group.
        kwargs: see :class:`codec_zoo.models.balle2018.VariableRateHyperprior`.

    Call: see :class:`codec_zoo.models.balle2018.VariableRateHyperprior`.
    """

    def __init__(self, groups: Sequence[int], context_channels: int = 64, **kwargs: Any):
        # Before the constructor of the base, which calls :meth:`hyper_transforms`.
        self.groups, self.context_channels = tuple(groups), context_channels
        super().__init__(**kwargs)
        if not 1 <= len(groups) <= len(NAMES):
            raise ValueError(f"there are 1 … {len(NAMES)} groups. Received: {groups!r}")
        if sum(groups) != self.latent_channels:
            raise ValueError(f"groups add up to latent_channels, {self.latent_channels}. Received: {groups!r}")

    def hyper_transforms(self, latent_channels: int, hyper_channels: int) -> tuple[keras.Sequential, HyperSynthesis]:
        """The hyper-analysis of |y| and y, and the hyper-synthesis."""
        synthesis = ContextualHyperSynthesis(
            self.groups, hyper_channels, self.context_channels, name="hyper_synthesis"
        )
        return hyper_analysis(2 * latent_channels, hyper_channels), synthesis

    @classmethod
    def make_stream_layer(
        cls,
        k: int,
        refined: bool,
        latent_channels: int,
        hyper_channels: int,
        strides: Sequence[int] = STRIDES,
        groups: Sequence[int] = (),
        **config: Any,
    ) -> StreamLayer:
        """The quantisation step, z, then the groups of y."""
        stride = math.prod(strides)
        latents = [Latent(f"z{k}", RangeCoder(f"z{k}"), 4 * stride, hyper_channels)]
        for name, count in zip(NAMES, groups, strict=False):
            rows = Rows(_signature(name, k), tuple(latent.name for latent in latents))
            latents.append(Latent(f"{name}{k}", RangeCoder("y", rows), stride, count))
        layer = latent_layer(k, refined, *latents)
        return dataclasses.replace(layer, entries=(Step(cls.CURVE), *layer.entries))

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Of the groups of y."""
        return NAMES[: len(self.groups)]

    @property
    def latent_channels_of(self) -> dict[str, int]:
        """The groups of y, then z."""
        return {**dict(zip(self.latent_names, self.groups, strict=True)), "z": self.hyper_channels}

    @property
    def decoder_latents(self) -> tuple[str, ...]:  # type: ignore[override]
        """All of them: means come from z."""
        return (*self.latent_names, "z")

    def join(self, coded: Mapping[str, Any]) -> Any:
        """The groups of y, one behind the other: ``[N, h, w, C]``."""
        return ops.concatenate([coded[name] for name in self.latent_names], axis=-1)

    def split(self, y: Any) -> dict[str, Any]:
        """The opposite of :meth:`join`."""
        channels = (self.hyper_synthesis.channels_of(i) for i in range(len(self.groups)))
        return {name: y[..., of_group] for name, of_group in zip(self.latent_names, channels, strict=True)}

    def latents(self, residual: Any) -> dict[str, Any]:
        """float32 ``[N, H, W, 3]`` → y: float32 ``[N, H/16, W/16, C]``, z: float32 ``[N, H/64, W/64, M]``."""
        y = ops.cast(self.analysis(residual), "float32")
        both = ops.concatenate([ops.abs(y), y], axis=-1)
        return {"y": y, "z": ops.cast(self.hyper_analysis(both), "float32")}

    def follow(
        self, z: Any, step: Any, residual: Callable[[str, Any, Any, Any], Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Go through the groups in the order of decoding.

        Args:
            z: integers, float32 ``[N, h/4, w/4, M]``.
            step: k of each image, int32 ``[N]``.
            residual: name of a group, its mean, its standard deviation in quantisation steps, Δ → r, float32
                ``[N, h, w, channels of the group]``.

        Returns:
            By the groups' names: r, ŷ, and the standard deviations in quantisation steps.
        """
        delta = quantisation_step(step)
        features = self.hyper_synthesis.features(z)
        found: dict[str, Any] = {}
        decoded: dict[str, Any] = {}
        scales: dict[str, Any] = {}
        for name in self.latent_names:
            lower = [delta * r for r in found.values()]
            mean, scales[name] = self.hyper_synthesis.parameters(features, lower, delta)
            found[name] = residual(name, mean, scales[name], delta)
            decoded[name] = mean + delta * found[name]
        return found, decoded, scales

    def train_latents(self, latents: Mapping[str, Any], **dials: Any) -> tuple[Any, dict[str, Any]]:
        """ŷ of rounded r; bits of z, and of the groups of y, with noise."""
        z, groups = latents["z"], self.split(latents["y"])
        unrounded: dict[str, Any] = {}

        def residual(name: str, mean: Any, scale: Any, delta: Any) -> Any:
            unrounded[name] = (groups[name] - mean) / delta
            return round_straight_through(unrounded[name])

        _, decoded, scales = self.follow(round_straight_through(z), dials["step"], residual)
        spent = {
            name: total(bits(gaussian_likelihood(self.noise(value), scales[name])))
            for name, value in unrounded.items()
        }
        return self.join(decoded), {**spent, "z": total(bits(self.prior(self.noise(z))))}

    def quantise(self, latents: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """z, and each group's r, the integers that files hold: int32.

        r is one step further towards zero where bits are worth it, as in all models of variable rate.
        """
        z, groups = ops.round(latents["z"]), self.split(latents["y"])

        def residual(name: str, mean: Any, scale: Any, delta: Any) -> Any:
            def bits_saved(nearest: Any, lower: Any) -> Any:
                return bits_above_next(ops.abs(nearest), scale)

            return self.round_by_rate((groups[name] - mean) / delta, bits_saved, dials["step"])

        found, _, _ = self.follow(z, dials["step"], residual)
        return {name: ops.cast(value, "int32") for name, value in {**found, "z": z}.items()}

    def reconstruct(self, coded: Mapping[str, Any], **dials: Any) -> Any:
        """Integer latents → the residual: float32 ``[N, H, W, 3]``."""
        values = {name: ops.cast(coded[name], "float32") for name in self.decoder_latents}
        _, decoded, _ = self.follow(values["z"], dials["step"], lambda name, *_: values[name])
        return ops.cast(self.synthesis(self.join(decoded)), "float32")

    def rate(self, coded: Mapping[str, Any], **dials: Any) -> Callable[[Any], Any]:
        """r of all groups → bits of each value, under the tables that ``coded`` chooses.

        A refined value moves the tables of higher groups. These bits leave that out.
        """
        table = scale_table().astype("float32")
        scale = ops.concatenate([ops.take(table, rows) for rows in self._rows(coded, **dials).values()], axis=-1)
        return lambda r: bits(gaussian_likelihood(r, scale))

    def cross_entropies(self, coded: Mapping[str, Any], **dials: Any) -> dict[str, Any]:
        """Bits of z and of the groups of y, int32: float32 ``[N]`` each."""
        spent = self.split(self.rate(coded, **dials)(ops.cast(self.join(coded), "float32")))
        hyper = total(bits(self.prior(ops.cast(coded["z"], "float32"))))
        return {**{name: total(value) for name, value in spent.items()}, "z": hyper}

    def _rows(self, coded: Mapping[str, Any], step: Any) -> dict[str, Any]:
        """The rows of each group's table."""
        names = self.latent_names
        lower = ([coded[name] for name in names[:i]] for i in range(len(names)))
        return {
            name: self.hyper_synthesis.exact_rows(coded["z"], below, step)
            for name, below in zip(names, lower, strict=True)
        }

    def table_signatures(self, k: int) -> dict[str, Signature]:
        """``entropy_parameters_k``: ``zk``, ``step`` → ``indexes``, rows of the scale table, int32, of ``yk``.

        ``entropy_parameters_b_k`` takes ``yk``, too, and has the rows of ``y_bk``, and so on.

        Raises:
            ValueError: with these weights the exact hyper-synthesis could overflow.
        """
        self.hyper_synthesis.check_exact()
        found: dict[str, Signature] = {}
        known = {f"z{k}": ("int32", (None, None, None, self.hyper_channels))}
        for i, (name, count) in enumerate(zip(self.latent_names, self.groups, strict=True)):
            lower = tuple(f"{below}{k}" for below in self.latent_names[:i])

            def rows(lower: tuple[str, ...] = lower, **given: Any) -> dict[str, Any]:
                values = [given[below] for below in lower]
                return {"indexes": self.hyper_synthesis.exact_rows(given[f"z{k}"], values, given["step"])}

            values = ("int32", (None, None, None, count))
            found[_signature(name, k)] = Signature(rows, {**known, **self.dials}, {"indexes": values})
            known[f"{name}{k}"] = values
        return found

    def latent_windows(self) -> dict[str, Window]:
        """A group looks at its mean, which looks at z and at the lower groups; z looks at y."""
        y = window(self.analysis)
        z = y.then(window(self.hyper_analysis))
        found = {"z": z}
        seen = y | z.then(window(self.hyper_synthesis))
        for i, name in enumerate(self.latent_names):
            if i:
                seen = seen.then(window(self.hyper_synthesis.contexts[i - 1]))
            found[name] = seen
        return found

    def reconstruction_windows(self) -> dict[str, Window]:
        """Through the synthesis, and through the means of higher groups."""
        synthesis = window(self.synthesis)
        contexts = [window(context) for context in self.hyper_synthesis.contexts] or [Window()]
        y = contexts[0].then(synthesis).of_latents(self.latent_stride)
        z = window(self.hyper_synthesis).then(synthesis).of_latents(self.stride)
        return {**dict.fromkeys(self.latent_names, y), "z": z}

    def table_windows(self, k: int) -> dict[str, list[Window]]:
        """Of z, and of the lower groups."""
        of_z = window(self.hyper_synthesis).of_latents(self.stride)
        windows = map(window, self.hyper_synthesis.contexts)
        lower = [[], *([context.of_latents(self.latent_stride)] for context in windows)]
        return {
            _signature(name, k): [of_z, *of_lower] for name, of_lower in zip(self.latent_names, lower, strict=True)
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "groups": self.groups, "context_channels": self.context_channels}


def _signature(name: str, k: int) -> str:
    """The signature that has the rows of a group: ``entropy_parameters_b_1`` of ``y_b1``."""
    return f"entropy_parameters{name[1:]}_{k}"


# === Presets ===

register_variable_rate(
    "minnen2018-context",
    Paper(
        authors="David Minnen, Johannes Ballé, George Toderici",
        title="Joint Autoregressive and Hierarchical Priors for Learned Image Compression",
        year=2018,
        url="https://arxiv.org/abs/1809.02736",
    ),
    Recipe(
        patch_size=256,
        batch_size=8,
        steps=1_000_000,
        learning_rate=1e-4,
        note="§4: crops of 256×256, batch 8, a million steps or more.",
    ),
    ContextHyperprior,
    {"channels": 128, "latent_channels": 192, "hyper_channels": 128, "groups": (16, 32, 48, 96)},
    distortions=("mse",),
)
