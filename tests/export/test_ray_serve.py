"""Exported models on Ray Serve: a second server, independent of the conformance server of the other tests.

It needs `pip install 'ray[serve-grpc]==2.60.0'`, which is too large for the packages of the tests.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codec_zoo.codecs import container
from codec_zoo.codecs.specs import codec_for
from codec_zoo.export.runtime import open_model
from codec_zoo.export.server import ServedModel, find_served, open_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray_server(serving, tmp_path_factory):
    """Ray Serve with the models of the session: its URL."""
    pytest.importorskip("ray.serve", reason="pip install 'ray[serve-grpc]==2.60.0'")
    with socket.create_server(("localhost", 0)) as first, socket.create_server(("localhost", 0)) as second:
        ports = [str(free.getsockname()[1]) for free in (first, second)]
    process = subprocess.Popen(
        [sys.executable, Path(__file__).parents[1] / "ray_server.py", serving / "models", *ports],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        assert process.stdout is not None
        assert any(line.strip() == "ready" for line in process.stdout), "Ray Serve did not start"
        yield f"grpc://localhost:{ports[0]}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)


def test_every_kind_of_codec_writes_and_reads_the_same_bytes(ray_server, serving, kinds, photo):
    picture = photo[:200, :333]
    for name in kinds.values():
        local = codec_for(open_model(str(serving / "models" / name)))
        server = open_server(ray_server)
        data = codec_for(ServedModel(server, name)).encode(picture)
        assert data == local.encode(picture), name
        found = find_served(server, container.read(data))
        assert np.array_equal(codec_for(found).decode(data), local.decode(data)), name
