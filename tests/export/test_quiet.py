"""What TensorFlow logs while it is imported does not reach a user of the command line."""

import os
import subprocess
import sys

import pytest

QUIET = "from codec_zoo.export.quiet import quiet_tensorflow; quiet_tensorflow()"


def run(code, **environment):
    clean = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | environment)


@pytest.mark.parametrize("module", ["tensorflow", "keras"])
def test_an_import_is_quiet_and_errors_after_it_are_not(module):
    process = run(f"{QUIET}; import {module}, sys, tensorflow as tf; print(tf.add(1, 2).numpy()); sys.exit('after')")
    assert (process.returncode, process.stdout, process.stderr) == (1, "3\n", "after\n")


def test_lines_are_shown_where_the_user_asked_for_them_or_the_import_fails(tmp_path):
    assert "oneDNN" in run(f"{QUIET}; import tensorflow", TF_CPP_MIN_LOG_LEVEL="0").stderr
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'the cause'); raise ImportError('broken')")
    failed = run(f"{QUIET}; import tensorflow", PYTHONPATH=str(tmp_path))
    assert "the cause" in failed.stderr and "ImportError: broken" in failed.stderr


def test_a_closed_standard_error_is_no_obstacle():
    assert run(f"import os; os.close(2); {QUIET}; import tensorflow; print('done')").stdout == "done\n"
