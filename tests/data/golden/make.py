"""Make the golden files anew, after new weights or a new version of the format: python tests/data/golden/make.py."""

from pathlib import Path

from codec_zoo.codecs import images
from codec_zoo.codecs.specs import open_codec
from codec_zoo.harness import evaluation

# One of each kind of file.
SPECS = {
    "hybrid": "fu2019-hybrid-s16-prelu:30",
    "layered": "jia2019-sae-mse-e2",
    "filter": "hu2018-filter-svac-q48",
    "blocks": "report2017-cnn-ae-ft",
    "perceptron": "report2017-mlp",
    "perceptron-huffman": "report2017-mlp,coding=huffman",
}

if __name__ == "__main__":
    folder = Path(__file__).parent
    picture = images.read_image(evaluation.find_pictures("kodak")[22])[100:231, 200:390]
    for name, spec in SPECS.items():
        codec = open_codec(spec)
        data = codec.encode(picture)
        (folder / f"{name}.czoo").write_bytes(data)
        images.write_image(folder / f"{name}.png", codec.decode(data))
