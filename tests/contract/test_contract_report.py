"""Presets of the report of 2017."""

from contract import Contract


class TestReport(Contract):
    share = "report"
