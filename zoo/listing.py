"""What a list says of each preset, known without Keras, whose import takes seconds.

:data:`FILE` has the facts of the zoo's own presets. ``experiments/readme_tables.py`` writes it from the presets, and
``tests/docs/test_readme_tables.py`` compares the two.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from codec_zoo import weights
from codec_zoo.presets import OWN_PACKAGE, Preset, list_presets, only_own, package_of

FILE = Path(__file__).resolve().parent / "listing.json"


@dataclasses.dataclass(frozen=True)
class Listing:
    """A line of a list.

    Attributes:
        name: of the preset.
        paper: as texts cite it.
        reproduces: figure or table of the paper, and its row or curve.
        trains: False where each file brings weights of its own.
        package: the distribution that the preset comes in.
        steps: of training behind its published weights; 0 without weights.
    """

    name: str
    paper: str
    reproduces: str
    trains: bool
    package: str
    steps: int

    @property
    def trained(self) -> bool:
        """Whether the preset compresses as it is."""
        return not self.trains or self.steps > 0

    @property
    def training(self) -> str:
        """The training in words, such as "11,400 steps"."""
        if not self.trains:
            return "by each file"
        return f"{self.steps:,} steps" if self.steps else "not yet"


def listing_of(preset: Preset) -> Listing:
    """The line of a preset."""
    return Listing(
        preset.name, preset.paper.short, preset.reproduces, preset.trains, package_of(preset), weights.steps(preset)
    )


def list_lines() -> list[Listing]:
    """The lines of all presets, by name; see :func:`codec_zoo.presets.list_presets`."""
    if not only_own():
        return [listing_of(preset) for preset in list_presets()]
    records = weights.index()
    return [
        Listing(**facts, package=OWN_PACKAGE, steps=weights.steps_of(records.get(facts["name"])))
        for facts in json.loads(FILE.read_bytes())
    ]


def facts(presets: Iterable[Preset]) -> str:
    """The text of :data:`FILE` for these presets."""
    kept = [
        {"name": preset.name, "paper": preset.paper.short, "reproduces": preset.reproduces, "trains": preset.trains}
        for preset in presets
    ]
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
