"""Make the golden files that are missing: python tests/data/golden/make.py.

Those that are there prove that files of earlier commits still decode: remove one only where it must be made anew.
"""

from pathlib import Path

from codec_zoo.codecs import images
from codec_zoo.codecs.specs import open_codec
from codec_zoo.harness import evaluation

# One of each kind of file.
SPECS = {
    "hybrid": "fu2019-hybrid-s16-prelu:30",
    "hyperprior": "balle2018-hyperprior-mse-3",
    "variable-rate": "balle2018-hyperprior-mse-vbr:90",
    "layered": "jia2019-sae-mse-e2",
    "filter": "hu2018-filter-svac-q48",
    "filter-rgb": "bpg-filter:38",
    "blocks": "report2017-cnn-ae-ft",
    "thumbnail": "report2017-gan-w",
    "mixed-low": "zhao2018-mixed,resolution=low:20",
    "mixed-high": "zhao2018-mixed,resolution=high:20",
    "compact": "jiang2017-comcnn:20",
    "perceptron": "report2017-mlp",
    "perceptron-huffman": "report2017-mlp,coding=huffman",
}

if __name__ == "__main__":
    folder = Path(__file__).parent
    picture = images.read_image(evaluation.find_pictures("kodak")[22])[100:231, 200:390]
    for name, spec in SPECS.items():
        if (folder / f"{name}.czoo").exists():
            continue
        codec = open_codec(spec)
        data = codec.encode(picture)
        (folder / f"{name}.czoo").write_bytes(data)
        images.write_image(folder / f"{name}.png", codec.decode(data))
