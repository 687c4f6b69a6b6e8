"""Codec steps: standard image codecs behind one interface."""
