"""The range coder against tensorflow-compression's golden strings, and our own tables."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codec_zoo.entropy_models import scale_table
from codec_zoo.errors import ModelError
from codec_zoo.export.tables import build_tables
from codec_zoo.harness import range_coder
from codec_zoo.harness.range_coder import Tables
from codec_zoo.presets import get_preset

VECTORS = Path(__file__).parents[1] / "data" / "tfc"


def test_strings_of_tensorflow_compression_indexed():
    stored = np.load(VECTORS / "gaussian_64_scales.npz")
    tables = Tables(stored["cdf"], stored["cdf_offset"])
    rows = stored["indexes"].astype(np.int32)
    for i in range(2):
        string = stored[f"string{i}"].tobytes()
        assert range_coder.encode(np.round(stored["y"][i]).astype(np.int32), rows[i], tables) == string
        assert np.array_equal(range_coder.decode(string, rows[i], tables), stored["decoded"][i])


def test_strings_of_tensorflow_compression_by_channel():
    stored = np.load(VECTORS / "deep_factorized.npz")
    tables = Tables(stored["cdf"], stored["cdf_offset"])
    rows = np.broadcast_to(np.arange(8, dtype=np.int32), stored["y"][0].shape)
    for i in range(2):
        string = stored[f"string{i}"].tobytes()
        values = np.round(stored["y"][i] - stored["quantization_offset"]).astype(np.int32)
        assert range_coder.encode(values, rows, tables) == string
        decoded = range_coder.decode(string, rows, tables) + stored["quantization_offset"]
        np.testing.assert_allclose(decoded, stored["decoded"][i], rtol=1e-6)


@pytest.fixture(scope="module")
def tables():
    arrays = build_tables(get_preset("jia2019-sae-mse-base").create())
    return {name: Tables(arrays[f"{name}.cdf"], arrays[f"{name}.offset"]) for name in ("y", "z1")}


def test_round_trips_with_escapes(tables):
    random = np.random.default_rng(0)
    rows = random.integers(0, 64, 20_000).astype(np.int32)
    values = np.rint(random.normal(size=rows.size) * scale_table()[rows]).astype(np.int32)
    values[::997] = random.integers(-(2**20), 2**20, values[::997].size)
    assert np.array_equal(
        range_coder.decode(range_coder.encode(values, rows, tables["y"]), rows, tables["y"]), values
    )


@given(arrays(np.int32, array_shapes(max_dims=4), elements=st.integers(-(2**29), 2**29)), st.data())
def test_any_integers_round_trip(tables, values, data):
    rows = data.draw(arrays(np.int32, values.shape, elements=st.integers(0, 63)))
    assert np.array_equal(
        range_coder.decode(range_coder.encode(values, rows, tables["y"]), rows, tables["y"]), values
    )


@pytest.mark.parametrize("value", [2**29 + 1, 2**31 - 1, -(2**31)])
def test_what_would_never_end_is_refused(tables, value):
    with pytest.raises(ModelError):
        range_coder.encode(np.array([value], np.int32), np.zeros(1, np.int32), tables["y"])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", [0, 30, 63])
def test_a_string_that_stops_at_an_escape_ends(tables, row):
    """The coder read the zeros behind it as the beginning of a gamma code, for ever."""
    (starts,) = np.nonzero(tables["y"].cdf < 0)
    escape = tables["y"].cdf[[*starts[1:], len(tables["y"].cdf)][row] - 2]
    precision = -tables["y"].cdf[starts[row]]
    string = int(escape << 16 - precision).to_bytes(2, "big")
    rows = np.full(3, row, np.int32)
    assert range_coder.decode(string, rows, tables["y"]).shape == rows.shape


@given(st.binary(max_size=40), st.data())
def test_any_string_ends(tables, string, data):
    rows = data.draw(arrays(np.int32, 30, elements=st.integers(0, 63)))
    assert range_coder.decode(string, rows, tables["y"]).shape == rows.shape


@pytest.mark.parametrize("row", [0, 10, 30, 63])
def test_cost_is_the_entropy(tables, row):
    """Within 0.5 % of the ideal on what the table was made for, or 0.002 bits a value where there is next to none."""
    scale = scale_table()[row]
    random = np.random.default_rng(row)
    values = np.rint(random.normal(size=50_000) * scale).astype(np.int32)
    spent = 8 * len(range_coder.encode(values, np.full(values.shape, row, np.int32), tables["y"])) / values.size
    counts = np.unique(values, return_counts=True)[1] / values.size
    entropy = -(counts * np.log2(counts)).sum()
    assert spent < entropy * 1.005 + 0.002


def test_rows_are_distributions(tables):
    for table in tables.values():
        starts = np.flatnonzero(table.cdf < 0)
        assert len(starts) == len(table.offset)
        for row in np.split(table.cdf, starts[1:]):
            assert row[0] == -16 and row[1] == 0 and row[-1] == 2**16 and (np.diff(row[1:]) > 0).all()
