"""Codec Zoo: learned and hybrid image compression models in Keras 3, for any Keras backend.

    import codec_zoo as cz

    data = cz.compress("photo.jpg")  # the bytes of a .czoo file
    image = cz.decompress(data)      # uint8 [H, W, 3]

``docs/python-api.md`` describes each function.
"""

import importlib
from typing import TYPE_CHECKING, Any

if __name__ != "codec_zoo":
    raise ImportError("this is the source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo`")

if TYPE_CHECKING:
    from codec_zoo.codecs.api import FileInfo, compress, decompress, load, open, register_pillow
    from codec_zoo.errors import CodecZooError
    from codec_zoo.harness.own_codecs import measure
    from codec_zoo.presets import list_presets
    from codec_zoo.weights import create

__all__ = [
    "CodecZooError",
    "FileInfo",
    "__version__",
    "compress",
    "create",
    "decompress",
    "list_presets",
    "load",
    "measure",
    "open",
    "register_pillow",
]
__version__ = "0.2.0"

# Where each name of the front door is defined. The front door alone points to rooms above it, when it is used.
_HOMES = {
    **dict.fromkeys(("FileInfo", "compress", "decompress", "load", "open", "register_pillow"), "codecs.api"),
    "CodecZooError": "errors",
    "measure": "harness.own_codecs",
    "create": "weights",
    "list_presets": "presets",
}


def __getattr__(name: str) -> Any:
    """Import a name of the front door when it is first used: ``import codec_zoo`` alone imports no library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
