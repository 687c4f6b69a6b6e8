"""The hashes of an export's files, so that damage is noticed before it shows as wrong pictures.

TensorFlow does not notice a changed bit in ``saved_model.pb``.
"""

import json
from pathlib import Path

from codec_zoo.errors import DamagedModelError
from codec_zoo.weights import hash_file

# Beside the model's own files, where TF Serving looks at nothing but its warm-up requests.
FILE = "assets.extra/files.json"


def write_manifest(folder: Path) -> None:
    """Write ``assets.extra/files.json``: the SHA-256 of each file in the SavedModel ``folder``, by its path there."""
    text = json.dumps(_hash_files(folder), indent=1, sort_keys=True)
    (folder / FILE).parent.mkdir(exist_ok=True)
    (folder / FILE).write_text(text)


def check_files(folder: Path) -> None:
    """Compare the files of a SavedModel with the manifest in it. Files that the manifest does not name are ignored.

    Raises:
        DamagedModelError: a file is missing, cut or changed, or the manifest is.
    """
    try:
        manifest = json.loads((folder / FILE).read_bytes())
        found = _hash_files(folder)
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedModelError(f"{folder} is damaged: {FILE} cannot be read ({error})") from error
    if not isinstance(manifest, dict) or not manifest:
        raise DamagedModelError(f"{folder} is damaged: {FILE} names no files")
    if missing := sorted(manifest.keys() - found.keys()):
        raise DamagedModelError(f"{folder} is damaged: {', '.join(missing)} missing")
    if changed := sorted(name for name in manifest if manifest[name] != found[name]):
        raise DamagedModelError(f"{folder} is damaged: {', '.join(changed)} cut or changed")


def _hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of all plain files in ``folder`` but the manifest, by path."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: hash_file(path) for name, path in paths.items() if name != FILE}
