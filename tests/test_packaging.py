"""An installation has every file of the folders that ``setup.py`` maps to packages."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("zoo", "datasets", "export", "codecs", "harness", "cli")
# In a process of its own: setuptools changes the process that it runs in.
PROGRAM = """
import json, os, sys
import setuptools  # first: it brings the distutils that Python has no more
from distutils.core import run_setup
sys.stdout, printed = sys.stderr, sys.stdout
command = run_setup("setup.py", stop_after="init").get_command_obj("build_py")
command.ensure_finalized()
print(json.dumps([os.path.relpath(path) for path in command.get_output_mapping().values()]), file=printed)
"""


def test_every_file_is_installed():
    process = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    installed = set(json.loads(process.stdout))
    files = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert len(files) > 150
    assert installed == files
