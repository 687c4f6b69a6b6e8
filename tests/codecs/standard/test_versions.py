"""A standard codec that writes other bytes than before must have another version: rows of the old one are stale."""

import hashlib
import json
from pathlib import Path

import pytest

from codec_zoo.codecs.images import read_image
from codec_zoo.codecs.standard import codec_qualities, default_quality, list_codecs, make_codec
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.harness.rows import libraries

# Written by `python tests/codecs/standard/test_versions.py`.
KNOWN = Path(__file__).parents[2] / "data" / "standard_codecs.json"
# These packages may be missing, and the bytes of lossy JPEG XL depend on the processor.
LEFT_OUT = ("flif", "jpeg-bm3d", "jxl")
CODECS = [name for name in list_codecs() if name not in LEFT_OUT]


def fingerprint(name: str) -> dict:
    """What a codec makes of a piece of a photograph."""
    image = read_image(find_pictures("kodak")[22])[100:164, 200:296]
    codec = make_codec(name, default_quality(name) if codec_qualities(name) else None)
    data = codec.encode(image)
    return {
        "version": codec.version,
        "options": codec.options,
        "libraries": libraries(codec),
        "file": hashlib.sha256(data).hexdigest(),
        "pixels": hashlib.sha256(codec.decode(data).tobytes()).hexdigest(),
    }


@pytest.mark.parametrize("name", CODECS)
def test_other_bytes_are_another_version(name):
    known, now = json.loads(KNOWN.read_text())[name], fingerprint(name)
    if now["libraries"] != known["libraries"]:
        pytest.skip(f"recorded with {known['libraries']}")
    assert now == known, f"raise the version of {name}, and write {KNOWN.name} anew"


if __name__ == "__main__":
    found = {name: fingerprint(name) for name in CODECS}
    KNOWN.write_text(json.dumps(found, indent=1) + "\n")
