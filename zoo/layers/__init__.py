"""Layers that models of several papers share: GDN and its transforms, resampling."""

# Gray levels for 1 at the output of a network that adds detail to an image: about the amplitude that it learns.
# At 255 each step of Adam would move the image by whole gray levels, the last layer would overshoot, and the ReLUs
# before it would die.
DETAIL = 16.0
