"""Codec Zoo: learned and hybrid image compression models in Keras 3, for any Keras backend."""

if __name__ != "codec_zoo":
    raise ImportError("this is the source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo`")
