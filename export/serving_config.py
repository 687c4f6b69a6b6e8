"""A folder that TensorFlow Serving runs from: models, its configuration, and manifests for Docker and Kubernetes."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from codec_zoo.errors import ModelError
from codec_zoo.export import mirror
from codec_zoo.export.runtime import check_export, list_versions
from codec_zoo.export.saved_model import export_pretrained
from codec_zoo.files import atomic_folder, refuse_foreign, write_atomic

FILES = ("models.config", "batching_parameters.txt", "monitoring.config", "docker-compose.yml", "kubernetes.yaml")
# The first line of each, by which it is known to be ours when it is written again.
MARK = "# Written by codec-zoo serve-config\n"
IMAGE = "tensorflow/serving:2.17.0"
GRPC_PORT, REST_PORT = 8500, 8501

# Images differ in size, and TF Serving fails a batch of unequal ones: a request is never joined with another,
# one with several images goes through one by one. Batching is on for its bounded queue.
BATCHING = """\
max_batch_size { value: 64 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 1 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 256 }
num_batch_threads { value: 4 }
"""

MONITORING = """\
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
    force: bool = False,
) -> list[Path]:
    """Write models and configuration; versions that are there stay, and are served too.

    Args:
        directory: new, or written before.
        names: presets; all that are trained, without any.
        source: URL or folder of a mirror for the models; None: exported from the packaged weights.
        base_path: where the server sees ``directory/models``.
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
    config, batching, monitoring, compose, kubernetes = FILES
    written = {
        config: MARK + models_config(models, base_path),
        batching: MARK + BATCHING,
        monitoring: MARK + MONITORING,
    }
    written[compose] = MARK + _yaml(_compose(base_path))
    written[kubernetes] = MARK + "---\n".join(
        _yaml(item) for item in _kubernetes(written, base_path, _bases(models)[0].name)
    )
    for name, text in written.items():
        write_atomic(directory / name, text.encode())
    return [directory / name for name in written]


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


def _arguments(folder: str) -> list[str]:
    """Of ``tensorflow_model_server``, with the configuration in ``folder``."""
    return [
        f"--model_config_file={folder}/models.config",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={folder}/batching_parameters.txt",
        f"--monitoring_config_file={folder}/monitoring.config",
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
    ]


def _compose(base_path: str) -> dict[str, Any]:
    return {
        "services": {
            "tensorflow-serving": {
                "image": IMAGE,
                "entrypoint": ["tensorflow_model_server"],
                "command": _arguments("/config"),
                "ports": [f"{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
                "volumes": [f"./models:{base_path}:ro", ".:/config:ro"],
                "restart": "unless-stopped",
            }
        }
    }


def _kubernetes(files: dict[str, str], base_path: str, probed: str) -> list[dict[str, Any]]:
    """Configuration, deployment and service; the models come from the volume claim ``codec-zoo-models``."""
    labels = {"app": "codec-zoo"}
    configs = {name: files[name] for name in ("models.config", "batching_parameters.txt", "monitoring.config")}
    container = {
        "name": "tensorflow-serving",
        "image": IMAGE,
        "command": ["tensorflow_model_server"],
        "args": _arguments("/config"),
        "ports": [{"name": "grpc", "containerPort": GRPC_PORT}, {"name": "rest", "containerPort": REST_PORT}],
        "readinessProbe": {
            "httpGet": {"path": f"/v1/models/{probed}", "port": REST_PORT},
            "periodSeconds": 5,
        },
        "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
        "volumeMounts": [
            {"name": "models", "mountPath": base_path, "readOnly": True},
            {"name": "config", "mountPath": "/config", "readOnly": True},
        ],
    }
    pod = {
        "containers": [container],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": "codec-zoo-models", "readOnly": True}},
            {"name": "config", "configMap": {"name": "codec-zoo-serving"}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "codec-zoo-serving"}, "data": configs},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "codec-zoo", "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "codec-zoo"},
            "spec": {
                "selector": labels,
                "ports": [{"name": "grpc", "port": GRPC_PORT}, {"name": "rest", "port": REST_PORT}],
            },
        },
    ]


class _Dumper(yaml.SafeDumper):
    """Files in their own lines, and no cross references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def _yaml(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
