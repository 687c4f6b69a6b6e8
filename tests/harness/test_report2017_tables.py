"""What stands beside a paper's numbers: how bytes are counted, and what a transform can give at most."""

import numpy as np
import pytest

from codec_zoo.codecs.images import write_image
from codec_zoo.codecs.standard import get_codec
from codec_zoo.errors import UsageError
from codec_zoo.harness.papers import report2017
from codec_zoo.metrics import psnr


@pytest.mark.parametrize("codec", ["jpeg-420:30", "jpeg2000:30"])
def test_headers_and_tables_are_not_counted(codec, photo):
    """What is counted depends on the picture; the rest of the file hardly does."""
    files = [get_codec(codec).encode(photo[:size, :size]) for size in (32, 256)]
    counted = [report2017.entropy_coded_bytes(data) for data in files]
    rest = [len(data) - count for data, count in zip(files, counted, strict=True)]
    assert 0 < counted[0] < counted[1] / 8
    assert min(rest) > 50 and max(rest) < 1.5 * min(rest)
    with pytest.raises(UsageError, match="JPEG"):
        report2017.entropy_coded_bytes(get_codec("webp:30").encode(photo[:32, :32]))


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000"])
def test_at_ratio_is_the_best_that_fits(name, photo, tmp_path):
    picture = photo[:96, :128]
    write_image(tmp_path / "a.png", picture)
    found, _ = report2017._at_ratio(name, [tmp_path / "a.png"])
    codec, qualities = report2017.STANDARD[name]
    fitting = []
    for quality in qualities:
        step = get_codec(f"{codec}:{quality}")
        data = step.encode(picture)
        if 8 * len(data) <= 1.5 * 96 * 128:
            fitting.append(psnr(picture, step.decode(data)))
    assert found == pytest.approx(max(fitting), abs=0.05)


def test_principal_components():
    """Blocks that four numbers describe lose nothing; of noise 4 of 48 dimensions are kept."""
    random = np.random.default_rng(0)
    basis = random.normal(size=(4, 48))
    blocks = (random.normal(size=(4000, 4)) @ basis).reshape(4000, 4, 4, 3)
    assert report2017._principal_components(list(blocks), 4) > 100
    noise = list(random.normal(0, 10, (40, 64, 64, 3)))
    expected = 10 * np.log10(255**2 / (100 * 44 / 48))
    assert report2017._principal_components(noise, 4) == pytest.approx(expected, abs=0.2)


def test_verdicts_are_of_one_encoder_each():
    """The networks' own numbers alone count: neither standard codecs nor the other encoder's."""
    networks = report2017.trained(report2017.REPORT_TABLE_2)
    of_kodak = {name: (30.0, 0.9) for name in networks}
    found = {"jpeg": 28.0, "jpeg2000": 40.0}
    for called, best, others in zip(report2017.ENCODERS.values(), (27.0, 29.0), (25.0, 28.5), strict=True):
        found |= {name + called: best if name == "report2017-gan-ae-l2-w" else others for name in networks}
    rounded, refined = (report2017._network_verdicts(found, of_kodak, e) for e in report2017.ENCODERS.values())
    assert [verdict.ours for verdict in rounded[::2]] == [
        "27.00 dB; the best is report2017-gan-ae-l2-w, 27.00 dB",
        f"JPEG 28.00 dB; 0 of {len(networks)} networks are better",
    ]
    assert refined[2].ours == f"JPEG 28.00 dB; {len(networks)} of {len(networks)} networks are better"
    assert [verdict.verdict for verdict in refined] == ["ordering holds", "not reached", "not reached"]
    assert [name for name, _ in report2017._further(found, of_kodak)] == [
        f"With refined latents, for the claim “{verdict.claim}”" for verdict in refined
    ]
