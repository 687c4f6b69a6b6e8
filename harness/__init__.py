"""Measuring: rows, rate-distortion curves, Bjøntegaard deltas, the papers' tables and the report."""

if __name__ != "codec_zoo.harness":
    raise ImportError("this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.harness`")
