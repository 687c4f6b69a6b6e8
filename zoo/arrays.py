"""The type of what NumPy and every Keras backend compute with."""

from typing import Any

Array = Any  # an array of NumPy, or a tensor of any Keras backend: they share no type
