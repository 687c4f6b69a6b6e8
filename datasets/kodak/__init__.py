"""The Kodak test set: TFDS builder and its 24 pictures."""
