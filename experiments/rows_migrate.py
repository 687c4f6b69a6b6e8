"""Write into rows the codec's version and options, as they are today.

    python experiments/rows_migrate.py docs/*/*.jsonl

For changes that leave every file's bytes as they were: a new option, another name of an option, a field that rows did
not have. Prove that with `rows_reproduce.py`. After any other change, measure again (`codec-zoo reproduce`).
Rows of weights that are not published any more, and of specs that no codec takes any more, are left out.
"""

import argparse
import functools
import json
from pathlib import Path

from codec_zoo.errors import UsageError
from codec_zoo.files import write_atomic
from codec_zoo.harness.rows import Row, describe_codec


@functools.cache
def described(spec: str) -> Row | None:
    """The codec's fields; None where there is no such codec any more."""
    try:
        return describe_codec(spec)
    except UsageError as error:
        print(f"{spec}: {error}")
        return None


def migrated(row: Row) -> Row | None:
    """The row with the codec's fields behind that of its weights; None if it is of no use."""
    codec = described(row["spec"])
    if codec is None or codec["weights_sha256"] != row["weights_sha256"]:
        return None
    names = [name for name in row if name not in codec]
    place = names.index("quality") + 1
    return {name: {**row, **codec}[name] for name in [*names[:place], *codec, *names[place:]]}


def main() -> None:
    """Rewrite the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [row for row in map(migrated, rows) if row is not None]
        write_atomic(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
        print(f"{path}: {len(kept)} rows, {len(rows) - len(kept)} left out", flush=True)


if __name__ == "__main__":
    main()
