"""Colour profiles of image files, and the conversion of their samples to sRGB."""

import contextlib
import functools
import io
import re
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from codec_zoo.codecs.icc import ADOBE_RGB, SRGB, WHITE_D65, matrix_profile
from codec_zoo.codecs.image_formats import EXIF_IFD, INTEROP_IFD, add_note, pillow_warnings
from codec_zoo.errors import ImageError

# Of ITU-T H.273: colour primaries, and exponents of transfer characteristics (None: sRGB's curve).
_CICP_PRIMARIES: dict[int, tuple[str, Any, Any]] = {
    1: ("BT.709", SRGB, WHITE_D65),
    5: ("BT.601", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), WHITE_D65),
    6: ("BT.601", ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)), WHITE_D65),
    9: ("BT.2020", ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046)), WHITE_D65),
    12: ("Display P3", ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), WHITE_D65),
}
_CICP_GAMMA = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
_HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}


def to_srgb(samples: np.ndarray, image: Image.Image, notes: list[str]) -> np.ndarray:
    """Apply the colour profile: ``uint8 [H, W, 1, 3 or 4]`` → sRGB ``[H, W, 1 or 3]``."""
    channels = samples.shape[2]
    transform = find_transform(image, channels, notes)
    if transform is None and channels != 4:
        return samples
    if channels == 1:
        return _gray_table(transform)[samples]
    height, width = samples.shape[:2]
    source = Image.frombytes("CMYK" if channels == 4 else "RGB", (width, height), samples.tobytes())
    return np.asarray(ImageCms.applyTransform(source, transform) if transform else source.convert("RGB"))


def find_transform(image: Image.Image, channels: int, notes: list[str]) -> Any:
    """The transform of the image's colours to sRGB and the note of it; None where the colours stay."""
    naive = "converted from CMYK to RGB without a colour profile"
    profile, name = _find_profile(image, notes)
    if not profile:
        if channels == 4:
            add_note(notes, naive)
        return None
    try:
        transform, described = _make_transform(profile, channels)
    except (ImageCms.PyCMSError, ImageError, ImportError, OSError, TypeError, ValueError) as error:
        reason = error if isinstance(error, ImageError | ImportError) else "it is damaged"
        add_note(notes, f"its colour profile is passed over: {reason}")
        if channels == 4:
            add_note(notes, naive)
        return None
    if transform is not None:
        add_note(notes, f"colours converted to sRGB from {name or described}")
    return transform


def _find_profile(image: Image.Image, notes: list[str]) -> tuple[bytes | None, str | None]:
    """The image's ICC profile, or one made from the file's other colour data; and its name, if known."""
    if image.mode == "LAB":
        return None, None  # Pillow's conversion to RGB is one to sRGB
    if len(image.info.get("cicp") or ()) == 2:
        primaries, transfer = image.info["cicp"]
        if transfer in _HDR:
            add_note(
                notes, f"its colours are {_HDR[transfer]}, of which sRGB holds a part: taken as sRGB, unconverted"
            )
            return None, None
        if primaries in _CICP_PRIMARIES and transfer in _CICP_GAMMA:
            name, points, white = _CICP_PRIMARIES[primaries]
            return matrix_profile(points, white, _CICP_GAMMA[transfer]), f"{name} (cICP)"
    if "icc_profile" in image.info:
        if image.info["icc_profile"]:
            return image.info["icc_profile"], None
        add_note(notes, "its colour profile is passed over: it is damaged")
        return None, None
    if image.format == "PNG" and "srgb" not in image.info:
        return _profile_of_gamma(image.info.get("gamma"), image.info.get("chromaticity"))
    if image.format != "PNG" and _is_adobe_rgb(image):
        return matrix_profile(ADOBE_RGB, WHITE_D65, 563 / 256), "Adobe RGB"
    return None, None


def _profile_of_gamma(gamma: float | None, chromaticity: tuple[float, ...] | None) -> tuple[bytes | None, str | None]:
    """Profile and name of a PNG's gAMA and cHRM; None where they say sRGB, or nothing that can be."""
    if gamma is not None and (gamma <= 0 or abs(gamma * 2.2 - 1) < 0.05):
        gamma = None  # 1/2.2 stands for sRGB's curve
    points, white = SRGB, WHITE_D65
    if chromaticity and min(chromaticity[1::2]) > 0:
        white, points = chromaticity[:2], (chromaticity[2:4], chromaticity[4:6], chromaticity[6:])
    if gamma is None and points is SRGB:
        return None, None
    parts = [f"gamma {gamma:.4g}"] if gamma is not None else []
    parts += ["primaries of the file"] if points is not SRGB else []
    return matrix_profile(points, white, None if gamma is None else 1 / gamma), " and ".join(parts)


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether a camera says so: an uncalibrated colour space in EXIF, with the interoperability index R03."""
    with contextlib.suppress(Exception), pillow_warnings([]):  # damaged EXIF data are noted elsewhere
        exif = image.getexif()
        uncalibrated = exif.get_ifd(EXIF_IFD).get(0xA001) == 0xFFFF
        return uncalibrated and exif.get_ifd(INTEROP_IFD).get(1) == "R03"
    return False


@functools.lru_cache(maxsize=16)
def _make_transform(profile: bytes, channels: int) -> tuple[Any, str]:
    """LittleCMS's transform of RGB or CMYK bytes to sRGB, or None if it changes nothing; and the profile's name.

    Relative colorimetric with black point compensation. Gray images with a profile of RGB go through RGB.

    Raises:
        ImageError: a profile for another kind of image.
        ImageCms.PyCMSError, OSError: it is damaged.
        ImportError: this Pillow has no LittleCMS.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    allowed = {1: ("GRAY", "RGB"), 3: ("RGB",), 4: ("CMYK",)}[channels]
    if space not in allowed:
        raise ImageError(f"it is for {space} pictures")
    mode = {"GRAY": "L"}.get(space, space)
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    described = re.sub(r"\s+", " ", source.profile.profile_description or "").strip()
    name = f'the profile "{described[:60]}"' if described.isprintable() and described else "its colour profile"
    return (None if _changes_nothing(transform, mode) else transform), name


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether a profile is sRGB: over the cube of colours and all grays, no value moves by more than 2 of 255."""
    if mode == "CMYK":
        return False
    grays = np.arange(256, dtype=np.uint8)
    if mode == "L":
        probe = np.repeat(grays[None, :, None], 3, axis=2)
        source = Image.fromarray(grays[None])
    else:
        cube = np.stack(np.meshgrid(*[grays[::15]] * 3), axis=-1).reshape(1, -1, 3)
        probe = np.concatenate([cube, np.repeat(grays[None, :, None], 3, axis=2)], axis=1)
        source = Image.fromarray(probe)
    moved = np.asarray(ImageCms.applyTransform(source, transform)).astype(int) - probe
    return bool(np.abs(moved).max() <= 2)


def _gray_table(transform: Any) -> np.ndarray:
    """The transform as a table of the 256 grays: ``uint8 [256]``, from the green channel."""
    grays = np.arange(256, dtype=np.uint8)[None]
    source = Image.fromarray(grays)
    if transform.input_mode == "RGB":
        source = source.convert("RGB")
    return np.asarray(ImageCms.applyTransform(source, transform))[0, :, 1]
