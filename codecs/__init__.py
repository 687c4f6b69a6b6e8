"""Pictures to bytes and back: container, entropy coding, codecs around exported models, standard codecs."""

if __name__ != "codec_zoo.codecs":
    raise ImportError("this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.codecs`")
