"""Pictures a second of `codec-zoo compress` on Kodak's 24: in processes here, and through a model server.

    python experiments/throughput.py [PRESET …]

Each line is one command: ``compress FOLDER --no-check --workers N``, with ``--server`` or without. The start of the
command is left out: the rate is that from the first picture that every worker has finished to the last picture. A
worker that uses the server has one request in flight. The server is ``tensorflow_model_server`` where the PATH has
it, otherwise ``tests/conformance_server.py``. Server and workers share the cores.

Let nothing else run meanwhile. Rows are added to ``docs/throughput.jsonl``; ``experiments/readme_tables.py`` makes
the table of ``docs/speed.md`` from them.
"""

import argparse
import contextlib
import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from codec_zoo.harness.evaluation import describe

ROOT = Path(__file__).resolve().parents[1]
KODAK = ROOT / "datasets" / "kodak"
ROWS = ROOT / "docs" / "throughput.jsonl"
STAND_IN = ROOT / "tests" / "conformance_server.py"
PRESETS = ("bpg-filter", "balle2018-hyperprior-mse-3", "jia2019-sae-mse-base")
HERE, ON_SERVER = (1, 2), (1, 2, 4)
CODEC_ZOO = (sys.executable, "-m", "codec_zoo.cli.main")
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving(presets: Sequence[str], folder: Path) -> Iterator[tuple[str, str]]:
    """A server with the models of presets: its URL, and the name of its program."""
    command = [*CODEC_ZOO, "serve-config", str(folder), *presets, "--base-path", str(folder / "models")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    real, port = shutil.which("tensorflow_model_server"), free_port()
    program = [real] if real else [sys.executable, "-I", str(STAND_IN)]
    command = [
        *program,
        f"--port={port}",
        f"--rest_api_port={free_port()}",
        f"--model_config_file={folder / 'models.config'}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as server:
        try:
            while True:
                if server.poll() is not None:
                    raise SystemExit(f"the server ended: {command}")
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
                    break
                time.sleep(0.5)
            yield f"grpc://localhost:{port}", Path(program[-1]).name
        finally:
            server.terminate()


def measure(preset: str, workers: int, folder: Path, server: str | None) -> dict[str, Any]:
    """The rate of one command, and its seconds."""
    command = [*CODEC_ZOO, "compress", str(folder), "--model", preset, "--no-check"]
    command += ["--workers", str(workers), "--json", "-o", str(folder / "coded"), "--force"]
    command += ["--server", server] if server else []
    started = time.perf_counter()
    finished = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as running:
        assert running.stdout
        for _ in running.stdout:
            finished.append(time.perf_counter())
    if running.returncode or len(finished) != len(list(folder.glob("*.png"))):
        raise SystemExit(f"exit code {running.returncode}: {command}")
    first = finished[workers - 1 :]
    return {
        "preset": preset,
        "workers": workers,
        "pictures_per_second": (len(first) - 1) / (first[-1] - first[0]),
        "command_s": time.perf_counter() - started,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"default: {', '.join(PRESETS)}")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--output", type=Path, default=ROWS, help="rows are added to this file")
    options = parser.parse_args()
    presets = options.presets or PRESETS
    with tempfile.TemporaryDirectory() as scratch:
        pictures = Path(scratch) / "pictures"
        pictures.mkdir()
        for path in sorted(KODAK.glob("*.png"))[: options.pictures]:
            shutil.copy(path, pictures)

        def add(row: dict[str, Any], server: str | None) -> None:
            conditions = {"load": os.getloadavg()[0], "date": datetime.date.today().isoformat(), **describe()}
            line = json.dumps({**row, "server": server, "pictures": options.pictures, **conditions})
            print(line, flush=True)
            with open(options.output, "a") as file:
                print(line, file=file)

        for preset in presets:
            for workers in HERE:
                add(measure(preset, workers, pictures, None), None)
        with serving(presets, Path(scratch) / "serving") as (address, program):
            for preset in presets:
                for workers in ON_SERVER:
                    add(measure(preset, workers, pictures, address), program)


if __name__ == "__main__":
    main()
