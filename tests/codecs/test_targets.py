"""One search for all targets: the best file within a rate, the smallest of a quality, with few encodings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec_zoo.codecs import container
from codec_zoo.codecs.learned import LearnedCodec
from codec_zoo.codecs.targets import Candidates, least_above, most_within
from codec_zoo.errors import UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.metrics import psnr

# Sizes and PSNR of one alternative: both rise with the quality.
points = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=12).map(
    lambda steps: [tuple(map(int, total)) for total in np.cumsum(steps, axis=0)]
)


def candidates(points):
    return Candidates(
        range(len(points)),
        lambda quality: bytes(points[quality][0]),
        lambda quality: points[quality][0],
        lambda quality: float(points[quality][1]),
    )


@given(st.lists(st.lists(points, min_size=1, max_size=3), min_size=1, max_size=3), st.integers(1, 400))
@settings(max_examples=300, deadline=None)
def test_what_the_search_finds_is_the_best(layers, target):
    """Against all files there are."""
    found = most_within(target, [[candidates(points) for points in alternatives] for alternatives in layers])
    fitting = [
        [(p, size) for points in alternatives for size, p in points if size <= target] for alternatives in layers
    ]
    most = next((files for files in reversed(fitting) if files), None)
    if most:
        assert len(found) in {size for p, size in most if p == max(p for p, _ in most)}
    else:
        assert len(found) == min(points[0][0] for points in layers[0])

    found = least_above(target, [[candidates(points) for points in alternatives] for alternatives in layers])
    reaching = [[size for points in alternatives for size, p in points if p >= target] for alternatives in layers]
    fewest = next((sizes for sizes in reaching if sizes), None)
    if fewest:
        assert len(found) == min(fewest)
    else:
        best = max(points[-1][1] for points in layers[-1])
        assert len(found) in {points[-1][0] for points in layers[-1] if points[-1][1] == best}


def counted(model, monkeypatch):
    """Names of the signatures that run from now on."""
    names, run = [], model.run
    monkeypatch.setattr(model, "run", lambda name, **inputs: names.append(name) or run(name, **inputs))
    return names


@pytest.mark.parametrize("preset", ["fu2019-hybrid-s16-prelu", "hu2018-filter-jpeg-q20", "report2017-cnn-rnn-ae"])
def test_targets_are_met_as_well_as_can_be(preset, photo, monkeypatch):
    """A step more of the dial, or a layer more, would be too much, or one less too little."""
    model, image = open_model(preset), photo[64:192, 64:256]
    pixels = image.shape[0] * image.shape[1]
    whole = LearnedCodec(model).encode(image)
    names = counted(model, monkeypatch)

    def code(**options):
        codec = LearnedCodec(model, **options)
        lines, data = [], None
        codec.progress = lines.append
        names.clear()
        data = codec.encode(image)
        return data, psnr(image, codec.decode(data)), lines

    wanted = 8 * len(whole) / pixels
    data, _, lines = code(target_bpp=wanted)
    assert 0.9 * len(whole) < len(data) <= len(whole) and not lines  # bytes alone decide: nothing is decoded
    assert sum(name.startswith("decode") for name in names) <= 4  # the last is the test's own
    smaller, _, _ = code(target_bpp=0.6 * wanted)
    assert len(smaller) <= 0.6 * len(whole)
    reached = psnr(image, LearnedCodec(model).decode(whole))
    data, found, lines = code(target_psnr=reached)
    assert reached <= found < reached + 0.5 and len(data) <= len(whole) and 1 <= len(lines) <= 9
    tiny, _, _ = code(target_bpp=1e-9)
    best, most, _ = code(target_psnr=99)
    assert len(tiny) <= len(smaller) <= len(best) and most >= found
    assert len(container.read(tiny).layers) == 1


def test_models_without_a_dial_and_with_one_layer_have_none():
    with pytest.raises(
        UsageError, match="--target-bpp chooses how many layers to write, and report2017-cnn-ae has one"
    ):
        LearnedCodec(open_model("report2017-cnn-ae"), target_bpp=1)
