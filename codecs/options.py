"""The options of a codec around a model, each declared once.

The command line makes the options of ``compress`` and ``compress-corpus`` from these records. A codec's name,
``NAME,KEY=VALUE…:QUALITY``, is checked with the same records. A model's codec says which of them it takes, and may
narrow their range: a tile, for one, is a multiple of the model's stride.
"""

import dataclasses
import math
from typing import Any

from codec_zoo.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a codec.

    Attributes:
        name: the keyword of ``codec_for``, and the key in a codec's name.
        kind: ``int``, ``float`` or ``str``.
        group: the heading under which the command line lists it.
        help: full sentences for the command line.
        metavar: stands for the value, with its unit, on the command line; empty: the choices.
        default: what holds where the option is not given, in words.
        choices: of a text, where they are the same for all models; otherwise the model's codec checks the text.
        least: the smallest whole number.
        most: the largest whole number, or None.
        positive: whether a number must be above 0.
        short: a second spelling on the command line, e.g. ``"-q"``.
    """

    name: str
    kind: type
    group: str
    help: str
    metavar: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None
    positive: bool = False
    short: str = ""

    @property
    def flag(self) -> str:
        """The option as the command line spells it."""
        return flag(self.name)

    @property
    def range(self) -> str:
        """The values that the option takes, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is int:
            end = " or more" if self.most is None else f" … {self.most}"
            return f"a whole number, {self.least}{end}"
        if self.kind is float:
            return "a number above 0" if self.positive else "a finite number"
        return "a name"

    def parse(self, value: Any) -> Any:
        """The checked value, of type :attr:`kind`, from a value or its text.

        Raises:
            UsageError: the option does not take it.
        """
        if self.kind is int:
            # Python reads no number of thousands of digits.
            digits = str(value)
            fits = digits.isdecimal() and len(digits) < 20
            fits = fits and self.least <= int(value) <= (math.inf if self.most is None else self.most)
        elif self.kind is float:
            try:
                fits = math.isfinite(float(value)) and not (self.positive and float(value) <= 0)
            except (TypeError, ValueError):
                fits = False
        else:
            fits = value in self.choices if self.choices else isinstance(value, str) and value != ""
        if not fits:
            raise UsageError(f"{self.flag} is {self.range}. Received: {value!r}")
        return self.kind(value)


def flag(name: str) -> str:
    """An option as the command line spells it, also one that no record declares: ``--target-bpp``."""
    return f"--{name.replace('_', '-')}"


RATE, REFINEMENT, INSIDE = "Rate", "Refinement", "Standard codec inside"
HYBRID, MIXED, BLOCKS = "Hybrid (fu2019-*)", "Resolution (zhao2018-*, jiang2017-*)", "Blocks and tiles"

OPTIONS = {
    option.name: option
    for option in (
        Option(
            "quality",
            float,
            RATE,
            "Quality of a model of variable rate (-vbr): 0 to 255, higher is better. Or the quality of the standard "
            "codec inside the file, on its own scale. JPEG: 1 to 100, higher is better. BPG: 0 to 51, lower is "
            "better. SVAC: 0 to 63, lower is better.",
            "QUALITY",
            "the model's own",
            short="-q",
        ),
        Option(
            "target_bpp",
            float,
            RATE,
            "Write the best picture in at most this many bits a pixel. A note says where every file is larger.",
            "BPP",
            positive=True,
        ),
        Option(
            "target_psnr",
            float,
            RATE,
            "Write the smallest file that reaches this PSNR. A note says where no file reaches it.",
            "DB",
            positive=True,
        ),
        Option(
            "layers",
            int,
            RATE,
            "Write, decode or keep only this many layers, counted from the first.",
            "N",
            "all",
            least=1,
        ),
        Option(
            "search",
            int,
            REFINEMENT,
            "Refine the latents in this many rounds, for a smaller file or a better picture. 5 to 20 rounds pay, and "
            "each takes time.",
            "ROUNDS",
            "0",
            most=10_000,
        ),
        Option(
            "tune",
            str,
            REFINEMENT,
            "Fit the decoder of report2017-cnn-ae-ft to each picture. The file carries the changes.",
            default="yes",
            choices=("yes", "no"),
        ),
        Option(
            "codec",
            str,
            INSIDE,
            "Standard codec whose pictures hu2018-filter-* improves: bpg-ycbcr444, bpg-ycbcr420, jpeg-420, svac, "
            "svac-half, svac-quarter or svac-eighth.",
            "CODEC",
            "the codec of the training",
        ),
        Option(
            "filter",
            str,
            INSIDE,
            "Gain of the filter of bpg-filter and hu2018-filter-*. auto stores the best gain in each file. on stores "
            "the gain of the training. off writes the same file as on, and reports the picture that `decompress "
            "--no-filter` shows.",
            default="auto",
            choices=("auto", "on", "off"),
        ),
        Option(
            "residual_codec",
            str,
            HYBRID,
            "Codec of the residual layer: bpg-ycbcr444, bpg-ycbcr444-10bit, bpg-rgb444 or bpg-rgb444-10bit.",
            "CODEC",
            "bpg-ycbcr444",
        ),
        Option(
            "base_codec",
            str,
            HYBRID,
            "Lossless codec of the base layer: jxl-lossless or flif.",
            "CODEC",
            "jxl-lossless",
        ),
        Option(
            "mapping",
            str,
            HYBRID,
            "Mapping of the residual to 8 bits. auto chooses one for each picture.",
            default="auto",
            choices=("auto", "shift", "minmax", "clip"),
        ),
        Option(
            "resolution",
            str,
            MIXED,
            "Resolution of the picture in the file. low has half of the rows and columns, high all of them. auto "
            "chooses for a target of rate or PSNR, and is low without one. jiang2017-comcnn has low alone.",
            "RESOLUTION",
            "auto",
        ),
        Option(
            "tile",
            int,
            BLOCKS,
            "Side of the tiles in which a large picture goes through the model. Smaller tiles need less memory and "
            "more time. A side is a multiple of the model's stride, e.g. 512.",
            "PIXELS",
            "512 or 1024, by the model",
            least=16,
        ),
        Option(
            "overlap",
            int,
            BLOCKS,
            "Overlap of the blocks of report2017-cnn-* and report2017-gan-*: 0, 4, 8, 12 or 16. It hides their edges "
            "and makes the file larger.",
            "PIXELS",
            "0",
            most=16,
        ),
        Option(
            "coding",
            str,
            BLOCKS,
            "Entropy coding: jxl or fixed for the blocks of report2017-cnn-* and report2017-gan-*, range or huffman "
            "for the pixels of report2017-mlp.",
            "CODING",
            "jxl or range",
        ),
    )
}
