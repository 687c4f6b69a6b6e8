"""Exported models: SavedModels of stock ops with encode and decode signatures, and their cards."""

if __name__ != "codec_zoo.export":
    raise ImportError("this is a source folder of codec_zoo: run `pip install -e .`, then `import codec_zoo.export`")
