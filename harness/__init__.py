"""Codecs around exported models: codec steps, the bitstream, evaluation, the command line."""

if __name__ != "codec_zoo.harness":
    raise ImportError("this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.harness`")
