"""Presets of all other papers."""

from contract import Contract


class TestOthers(Contract):
    share = "others"
