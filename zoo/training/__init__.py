"""Training: the loop, optimizers, workers that train together, steps compiled by JAX."""

if __name__ != "codec_zoo.training":
    raise ImportError(
        "this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.training`"
    )
