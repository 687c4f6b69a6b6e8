"""Errors that a user can act on: each message names the cause, what was received, and the remedy."""


class CodecZooError(Exception):
    """Something failed that is not a bug: the command line prints the message and no traceback.

    ``exit_code`` is 1 for a failure (disk, codec, server) and 2 for a user's mistake.
    """

    exit_code = 1


class UsageError(CodecZooError):
    """A name, option or path is not one that exists."""

    exit_code = 2


class ImageError(CodecZooError):
    """The input is not a picture that can be coded."""

    exit_code = 2


class BitstreamError(CodecZooError):
    """A coded file is foreign, cut, damaged, or made by another model.

    Args:
        cause: what is wrong with it.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, cause: str, remedy: str = "Fetch the file again."):
        super().__init__(cause, remedy)  # both, so that a worker process can send it
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause.rstrip('.')}. {self.remedy}"


class MemoryLimitError(CodecZooError):
    """The work would take more memory than the limit allows; see ``codec_zoo.memory``.

    Args:
        cause: the work, the memory that it needs, and the limit.
        remedy: what to do about it.
    """

    def __init__(self, cause: str, remedy: str):
        super().__init__(cause, remedy)  # both, so that a worker process can send it
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause}. {self.remedy}"


class ModelError(CodecZooError):
    """A model, its weights or its export is missing or not the one asked for."""


class DamagedModelError(ModelError):
    """Files of an exported model are missing, or are not as they were written.

    Args:
        cause: what is wrong, with the name of the folder or server.
        remedy: what to do about it.
    """

    def __init__(self, cause: str, remedy: str = "Copy it again, or export it again: `codec-zoo export`."):
        super().__init__(cause, remedy)  # both, so that a worker process can send it
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause.rstrip('.')}. {self.remedy}"


class DownloadError(CodecZooError):
    """A mirror cannot be reached, or what it sends is not what its index promises."""


class ServerError(CodecZooError):
    """A model server cannot be reached, does not answer in time, or refuses a request."""


class MessageTooLargeError(ServerError):
    """A request is larger than the server takes: smaller tiles may pass."""
