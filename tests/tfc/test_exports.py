"""What this stack exports, older releases of TensorFlow load; `make test-tfc` has 2.14."""

import subprocess
import sys
from pathlib import Path

import pytest
from against_original import write_exports


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.17.1", "2.21.0"])
def test_exports_load(version, tmp_path):
    """And give the same latents, and exactly the same choice of tables."""
    if version.startswith("2.17") and sys.version_info >= (3, 13):
        pytest.skip("TensorFlow 2.17 has no wheels for Python 3.13")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", f"tensorflow=={version}"], check=True)
    write_exports(tmp_path)
    script = Path(__file__).with_name("load_exports.py")
    subprocess.run([environment / "bin" / "python", script, tmp_path], check=True)
