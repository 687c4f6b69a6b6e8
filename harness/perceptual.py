"""LPIPS (Zhang et al. 2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

The package ``lpips`` of its authors computes it, on PyTorch: ``pip install 'codec-zoo[lpips]'``. Its network is
AlexNet, whose weights torchvision downloads at the first use.
"""

import functools
from typing import Any

import numpy as np

from codec_zoo.errors import CodecZooError, needing_packages

SIDE = 64  # the least that leaves AlexNet's last layer a pixel


@functools.cache
@needing_packages
def network() -> Any:
    """The network, loaded once.

    Raises:
        MissingPackageError: ``lpips`` or PyTorch is not installed.
        CodecZooError: its weights cannot be loaded.
    """
    import lpips

    try:
        return lpips.LPIPS(net="alex", verbose=False).eval()
    except (OSError, RuntimeError) as error:
        raise CodecZooError(
            f"the weights of AlexNet, which LPIPS needs, cannot be loaded ({error}). torchvision downloads them into "
            "its cache (TORCH_HOME) at the first use: connect to the network, or copy that cache."
        ) from error


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
