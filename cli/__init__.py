"""The command line codec-zoo, one file for each group of commands."""

if __name__ != "codec_zoo.cli":
    raise ImportError("this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.cli`")
