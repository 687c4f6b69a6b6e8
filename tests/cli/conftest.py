"""Commands in the process of the tests."""

import pytest

from codec_zoo.cli.main import run


@pytest.fixture
def here(capsys):
    """Run ``codec-zoo`` as ``cli`` does, but in this process, which has TensorFlow loaded already."""

    def call(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call
