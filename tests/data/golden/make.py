"""Make the golden files anew, after new weights or a new version of the format: python tests/data/golden/make.py."""

from pathlib import Path

from codec_zoo.harness import evaluation, images
from codec_zoo.harness.exported import open_model
from codec_zoo.harness.hybrid import HybridCodec

folder = Path(__file__).parent
picture = images.read_image(evaluation.find_pictures("kodak")[22])[100:231, 200:390]
codec = HybridCodec(open_model("fu2019-hybrid-s16-prelu"), 30)
data = codec.encode(picture)
(folder / "kodim23-crop.czoo").write_bytes(data)
images.write_image(folder / "kodim23-crop.png", codec.decode(data))
