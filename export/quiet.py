"""TensorFlow without the lines that it logs while it is imported."""

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType


def quiet_tensorflow() -> None:
    """Keep TensorFlow quiet in this process, whoever imports it; if the import fails, its lines are shown.

    TensorFlow 2.21 logs to standard error before it looks at ``TF_CPP_MIN_LOG_LEVEL``.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3" and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds TensorFlow as the other finders do, to be imported by :func:`_import_quietly`.

    An ``importlib.abc.MetaPathFinder`` in all but the base class, whose import would slow down ``--help``.
    """

    _searching = False

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> "importlib.machinery.ModuleSpec | None":
        """See ``importlib.abc.MetaPathFinder``."""
        if fullname != "tensorflow" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec and spec.loader:
            execute = functools.partial(_import_quietly, spec.loader.exec_module)
            spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


def _import_quietly(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    import tempfile  # not for --help

    with tempfile.TemporaryFile() as lines:
        try:
            shown = os.dup(2)
        except OSError:  # standard error is closed
            return execute(module)
        os.dup2(lines.fileno(), 2)
        try:
            execute(module)
        except BaseException:
            lines.seek(0)
            os.write(shown, lines.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
    return None
