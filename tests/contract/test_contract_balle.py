"""Presets of Ballé 2017 and 2018."""

from contract import Contract


class TestBalle(Contract):
    share = "balle"
