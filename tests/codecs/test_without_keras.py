"""What codes and measures without a model starts at once: neither TensorFlow nor Keras is imported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PROGRAM = """
import sys
from codec_zoo.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
loaded = {"jax", "keras", "numba", "tensorflow", "torch"} & sys.modules.keys()
assert not loaded, loaded
"""


@pytest.mark.parametrize(
    "command",
    [
        f"inspect {GOLDEN / 'layered.czoo'}",
        f"truncate {GOLDEN / 'layered.czoo'} --layers 1 -o cut.czoo",
        f"decompress --no-filter {GOLDEN / 'filter.czoo'} -o plain.png",
        "evaluate jpeg:50 bpg-ycbcr444:40 jxl:4 --pictures pictures --workers 1",
    ],
    ids=lambda command: command.split()[0],
)
def test_command(command, photo, tmp_path):
    from codec_zoo.codecs.images import write_image

    (tmp_path / "pictures").mkdir()
    write_image(tmp_path / "pictures" / "photo.png", np.ascontiguousarray(photo[:192, :192]))
    subprocess.run([sys.executable, "-c", PROGRAM, *command.split()], check=True, cwd=tmp_path)
