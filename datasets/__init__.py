"""TFDS builders that TFDS lacks, and the tf.data pipelines that feed training."""

if __name__ != "codec_zoo.datasets":
    raise ImportError(
        "this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.datasets`"
    )
