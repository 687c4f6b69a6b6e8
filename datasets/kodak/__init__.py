"""The Kodak test set: its 24 pictures, and in ``builder.py`` the TFDS builder.

Importing this package does not import TensorFlow.
"""
