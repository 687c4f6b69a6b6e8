"""LPIPS (Zhang et al. 2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

The package ``lpips`` of its authors computes it, on PyTorch: ``pip install 'codec-zoo[lpips]'``. Its network is
AlexNet, whose weights torchvision downloads at the first use.
"""

import contextlib
import functools
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codec_zoo.errors import CodecZooError, needing_packages

SIDE = 64  # of the patches whose differences people judged for LPIPS


@functools.cache
@needing_packages
def network() -> Any:
    """The network, loaded once.

    Raises:
        MissingPackageError: ``lpips`` or PyTorch is not installed.
        CodecZooError: PyTorch does not load, or the weights of AlexNet are missing or damaged.
    """
    # lpips names the weights as old releases of torchvision did, which warns; of a download it tells on stdout.
    with _without_triton(), warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        try:
            import lpips
            import torch
            import torchvision
        except (OSError, RuntimeError) as error:
            raise CodecZooError(
                f"PyTorch, which LPIPS needs, does not load ({error}). Install releases of torch and torchvision "
                "that belong together."
            ) from error
        url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        try:
            return lpips.LPIPS(net="alex", verbose=False).eval()
        except (EOFError, KeyError, OSError, RuntimeError, pickle.UnpicklingError) as error:
            state = "is damaged" if path.exists() else f"is missing, and its download failed ({error})"
            raise CodecZooError(
                f"{path} {state}: the weights of AlexNet, which LPIPS needs. Download {url} and put the file there, "
                "under this name. The environment variable TORCH_HOME chooses another folder."
            ) from error


@contextlib.contextmanager
def _without_triton() -> Iterator[None]:
    """Hide the compiler of PyTorch for GPUs while PyTorch loads after TensorFlow: the two crash in one process."""
    hidden = "tensorflow" in sys.modules and "triton" not in sys.modules
    if hidden:
        sys.modules["triton"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["triton"]


def lpips(a: np.ndarray, b: np.ndarray) -> float | None:
    """LPIPS of two images, 0 for equal ones; None where a side is below :data:`SIDE`.

    Args:
        a: ``uint8 [H, W, 3]``.
        b: the same shape.
    """
    if min(a.shape[:2]) < SIDE:
        return None
    import torch

    tensors = [torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1) for image in (a, b)]
    with torch.no_grad():
        return float(network()(*tensors))
