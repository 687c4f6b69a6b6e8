"""The Kodak test set: its 24 images, and in ``builder.py`` the TFDS builder.

Importing this package does not import TensorFlow.
"""
