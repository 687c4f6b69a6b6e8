"""A folder that TensorFlow Serving runs from: models, its configuration, and manifests for Docker and Kubernetes.

The manifests are in ``serving_manifests.py``.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from codec_zoo.errors import ModelError
from codec_zoo.export import mirror, serving_manifests
from codec_zoo.export.runtime import check_export, list_versions
from codec_zoo.export.saved_model import export_pretrained
from codec_zoo.files import atomic_folder, refuse_foreign, write_atomic

MODELS, BATCHING, MONITORING, PROBE = (
    "models.config",
    "batching_parameters.txt",
    "monitoring.config",
    "probe.sh",
)
FILES = (MODELS, BATCHING, MONITORING, PROBE, *serving_manifests.FILES)
# A line of each, by which it is known to be ours when it is written again.
MARK = "# Written by codec-zoo serve-config\n"

# Images differ in size, and TF Serving fails a batch of unequal ones: a request is never joined with another,
# one with several images goes through one by one. Batching is on for its bounded queue.
BATCHING_TEXT = """\
max_batch_size { value: 64 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 1 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 256 }
num_batch_threads { value: 4 }
"""

MONITORING_TEXT = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write_serving(
    directory: Path,
    names: Iterable[str] = (),
    source: str | None = None,
    base_path: str = "/models",
    gpu: bool = False,
    force: bool = False,
) -> list[Path]:
    """Write models and configuration; versions that are there stay, and are served too.

    Args:
        directory: new, or written before.
        names: presets; all that are trained, without any.
        source: URL or folder of a mirror for the models; None: exported from the packaged weights.
        base_path: where the server sees ``directory/models``.
        gpu: the manifests ask for one NVIDIA GPU and the image for it.
        force: replace files of these names that something else wrote.

    Returns:
        The files of configuration.

    Raises:
        UsageError: no such preset, or the mirror does not have it; or a file that something else wrote is in the way.
        ModelError: not trained.
        CodecZooError: the folder cannot be written.
    """
    if not force:
        for file in FILES:
            refuse_foreign(directory / file, MARK)
    models = directory / "models"
    for name in mirror.list_models(source, names) if source else mirror.trained_presets(names):
        if source:
            _copy(mirror.download(name, source), models / name)
        else:
            _export(name, models)
    served = [base.name for base in _bases(models)]
    written = {
        MODELS: MARK + models_config(models, base_path),
        BATCHING: MARK + BATCHING_TEXT,
        MONITORING: MARK + MONITORING_TEXT,
        PROBE: f"#!/bin/bash\n{MARK}{probe(served)}",
    }
    manifests = serving_manifests.make(written, base_path, served[0], gpu)
    written |= {name: MARK + text for name, text in manifests.items()}
    for name, text in written.items():
        write_atomic(directory / name, text.encode())
    return [directory / name for name in written]


def probe(names: Iterable[str]) -> str:
    """A Bash program that succeeds if each of these models is ready on the server of this machine.

    The server's image has no HTTP client: Bash opens the connection. A model that is loading or was unloaded has
    another state than ``AVAILABLE``, and one that is unknown has the HTTP status 404.
    """
    return f"""\
# Succeeds if the server answers that every model is available. Argument: the REST port.
for model in {" ".join(names)}; do
    exec 3<>"/dev/tcp/localhost/${{1:-{serving_manifests.REST_PORT}}}" || exit 1
    printf 'GET /v1/models/%s HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' "$model" >&3
    grep -q '"state": "AVAILABLE"' <&3 || {{ echo "$model is not available"; exit 1; }}
    exec 3>&-
done
"""


def _copy(folder: Path, base: Path) -> None:
    target = base / folder.name
    if not target.exists():
        with atomic_folder(target) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)


def _export(name: str, models: Path) -> None:
    """Export a preset as its next version, unless one that this version of the zoo can run has the same weights."""
    known = {int(folder.name): _hash_of(folder) for folder in list_versions(models / name)}
    version, new = mirror.number_version(name, known)
    if new:
        export_pretrained(name, models, version)


def _hash_of(folder: Path) -> str:
    """The weights' hash of an export; empty for one that is damaged, or of another version of the zoo."""
    try:
        return check_export(folder)["weights_sha256"]
    except ModelError:
        return ""


def _bases(models: Path) -> list[Path]:
    """The folders of the models; beside them there may be other things, such as ``lost+found``."""
    return [path for path in sorted(models.iterdir()) if path.is_dir() and list_versions(path)]


def models_config(models: Path, base_path: str) -> str:
    """``models.config``: all versions of all models in a folder.

    Label ``stable`` is the newest version but one, ``canary`` the newest; with one version ``stable`` is that.

    Args:
        models: with ``<preset>/<version>/``.
        base_path: where the server sees it.
    """
    config = model_server_config_pb2.ModelServerConfig()
    for base in _bases(models):
        versions = [int(folder.name) for folder in list_versions(base)]
        model = config.model_config_list.config.add(
            name=base.name, base_path=f"{base_path.rstrip('/')}/{base.name}", model_platform="tensorflow"
        )
        model.model_version_policy.specific.versions.extend(versions)
        model.version_labels["stable"] = versions[-2:][0]
        if len(versions) > 1:
            model.version_labels["canary"] = versions[-1]
    return text_format.MessageToString(config)
