"""Write ``golden.json`` anew, after other weights or another encoder: python tests/contract/make.py [NAME …].

Without names, of all trained presets. A quality floor rises by itself; lowering one takes ``--lower NAME``.
"""

import argparse
import json
import sys
from collections.abc import Sequence

import golden

from codec_zoo import weights
from codec_zoo.codecs.specs import open_codec
from codec_zoo.files import write_atomic
from codec_zoo.presets import list_presets


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="presets; all that have weights by default")
    parser.add_argument("--lower", metavar="NAME", action="append", default=[], help="accept what NAME reaches now")
    options = parser.parse_args(arguments)
    able = [preset.name for preset in list_presets() if preset.name in weights.index() or not preset.trains]
    if unknown := {*options.names, *options.lower} - {*able}:
        parser.error(f"no weights for {', '.join(sorted(unknown))}")
    records = golden.load() if golden.FILE.exists() else {}
    chosen = {*options.names, *options.lower} or {*able}
    refused = []
    for name in sorted(chosen):
        found = golden.measure(name, open_codec(name))
        before = records.get(name, {}).get("golden")
        print(f"{name}: {'as before' if found == before else f'{before} → {found}'}")
        try:
            golden.renew(records, name, found, name in options.lower)
        except ValueError as error:
            refused.append(str(error))
    if refused:
        sys.exit("\n".join(["Nothing is written.", *refused]))
    kept = {name: records[name] for name in sorted(records) if name in able}
    write_atomic(golden.FILE, (json.dumps(kept, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
