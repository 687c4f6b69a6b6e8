"""Presets of Jia 2019."""

from contract import Contract


class TestJia(Contract):
    share = "jia"
