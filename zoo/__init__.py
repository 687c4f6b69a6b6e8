"""Codec Zoo: learned and hybrid image compression models in Keras 3, for any Keras backend."""

from typing import TYPE_CHECKING

if __name__ != "codec_zoo":
    raise ImportError("this is the source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo`")

if TYPE_CHECKING:
    from codec_zoo.export.runtime import ExportedModel


def pretrained(preset: str, source: str | None = None, version: int | None = None) -> "ExportedModel":
    """A trained model, exported and ready to run; see ``codec_zoo.export.mirror.pretrained``. Needs TensorFlow.

    The Keras model, for any backend, is ``codec_zoo.weights.pretrained(preset)``.
    """
    from codec_zoo.export import mirror  # the one import of the front door that points upwards

    return mirror.pretrained(preset, source, version)
