"""Errors that a user can act on: each message names the cause, what was received, and the remedy."""

import difflib
import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class CodecZooError(Exception):
    """Something failed that is not a bug: the command line prints the message and no traceback.

    ``exit_code`` is 1 for a failure (disk, codec, server) and 2 for a user's mistake.
    """

    exit_code = 1


class _CauseAndRemedy(CodecZooError):
    """An error whose cause and remedy are known apart, so that a caller can name the file before the cause.

    Args:
        cause: what is wrong.
        remedy: what to do about it; None: the remedy of the class.
    """

    remedy: str

    def __init__(self, cause: str, remedy: str | None = None):
        self.cause = cause
        self.remedy = remedy or type(self).remedy
        super().__init__(cause, self.remedy)  # both, so that a worker process can send it

    def __str__(self) -> str:
        return f"{self.cause.rstrip('.')}. {self.remedy}"


class UsageError(CodecZooError):
    """A name, option or path is not one that exists."""

    exit_code = 2


class ImageError(CodecZooError):
    """The input is not a picture that can be coded."""

    exit_code = 2


class BitstreamError(_CauseAndRemedy):
    """A coded file is foreign, cut, damaged, or made by another model."""

    exit_code = 2
    remedy = "Fetch the file again."


class MemoryLimitError(_CauseAndRemedy):
    """The work would take more memory than the limit allows; see ``codec_zoo.memory``.

    ``cause`` names the work, the memory that it needs, and the limit.
    """


class ModelError(CodecZooError):
    """A model, its weights or its export is missing or not the one asked for."""


class DamagedModelError(_CauseAndRemedy, ModelError):
    """Files of an exported model are missing, or are not as they were written.

    ``cause`` names the folder or the server.
    """

    remedy = "Copy it again, or export it again: `codec-zoo export`."


class DownloadError(CodecZooError):
    """A mirror cannot be reached, or what it sends is not what its index promises."""


class ServerError(CodecZooError):
    """A model server cannot be reached, does not answer in time, or refuses a request."""


class MessageTooLargeError(ServerError):
    """A request is larger than the server takes: smaller tiles may pass."""


class MissingPackageError(CodecZooError):
    """A package that an extra of this one installs is missing.

    Args:
        package: its name.
    """

    def __init__(self, package: str):
        self.package = package
        super().__init__(package)  # so that a worker process can send it

    def __str__(self) -> str:
        extras = {"apache_beam": "corpus", "gradio": "app", "lpips": "lpips", "onnxruntime": "onnx"}
        extras |= dict.fromkeys(("onnx", "tf2onnx", "ai_edge_litert"), "convert")
        extras |= dict.fromkeys(("torch", "torchvision"), "lpips")
        extra = extras.get(self.package, "tf")
        return f"this needs the package {self.package}, which is not installed: `pip install 'codec-zoo[{extra}]'`."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to an error about an unknown name, or an empty string where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def needing_packages(function: Callable[P, T]) -> Callable[P, T]:
    """Make a missing package of another distribution a :class:`MissingPackageError` of ``function``."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("codec_zoo"):
                raise
            raise MissingPackageError(error.name.partition(".")[0]) from error

    return call
