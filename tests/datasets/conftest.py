import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def offline(monkeypatch):
    """No network, wherever the tests run: a proxy at a port where nobody listens."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.fixture
def photos(tmp_path):
    """A folder with 3 + 1 noise images in train/ and val/, one of them smaller than 32x32."""
    shapes = {
        "train/a.png": (50, 70),
        "train/b.png": (70, 50),
        "train/c.png": (20, 90),
        "val/d.png": (40, 40),
    }
    for i, (name, shape) in enumerate(shapes.items()):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(256, size=(*shape, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"
