"""Manifests that run TensorFlow Serving: Docker Compose, Kubernetes, an autoscaler, and rules for Prometheus."""

from collections.abc import Mapping
from typing import Any

import yaml

COMPOSE, KUBERNETES, AUTOSCALER, RULES = FILES = (
    "docker-compose.yml",
    "kubernetes.yaml",
    "kubernetes-autoscaler.yaml",
    "prometheus-rules.yml",
)
IMAGE, GPU_IMAGE = "tensorflow/serving:2.17.0", "tensorflow/serving:2.17.0-gpu"
GRPC_PORT, REST_PORT = 8500, 8501
# `nobody` of the image: the server needs to read its models and nothing else.
USER = 65534
CPUS, GIBIBYTES = 4, 8
# Seconds from the start of the server until its models have to be ready: each is loaded and warmed up.
START = 600
# CPU in use, per cent of the request, above which the autoscaler adds a server, and servers at most.
BUSY, REPLICAS = 70, 4


def make(config: Mapping[str, str], base_path: str, first: str, gpu: bool) -> dict[str, str]:
    """The manifests.

    Args:
        config: the server's files of configuration and its probe, as texts by name.
        base_path: where the server sees the models.
        first: the model that the liveness probe asks for.
        gpu: whether the server runs on an NVIDIA GPU.

    Returns:
        Texts by the names in :data:`FILES`.
    """
    items = _kubernetes(config, base_path, first, gpu)
    return {
        COMPOSE: _yaml(_compose(base_path, gpu)),
        KUBERNETES: "---\n".join(map(_yaml, items)),
        AUTOSCALER: _yaml(_autoscaler()),
        RULES: _yaml(_rules()),
    }


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


def _compose(base_path: str, gpu: bool) -> dict[str, Any]:
    resources: dict[str, Any] = {"limits": {"cpus": str(CPUS), "memory": f"{GIBIBYTES}g"}}
    if gpu:
        resources["reservations"] = {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}
    return {
        "services": {
            "tensorflow-serving": {
                "image": GPU_IMAGE if gpu else IMAGE,
                "entrypoint": ["tensorflow_model_server"],
                "command": _arguments("/config"),
                "ports": [f"{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
                "volumes": [f"./models:{base_path}:ro", ".:/config:ro"],
                "healthcheck": {
                    "test": ["CMD", "bash", "/config/probe.sh"],
                    "interval": "10s",
                    "timeout": "5s",
                    "retries": 3,
                    "start_period": f"{START}s",
                },
                "user": f"{USER}:{USER}",
                "read_only": True,
                "tmpfs": ["/tmp"],
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "deploy": {"resources": resources},
                "restart": "unless-stopped",
            }
        }
    }


def _kubernetes(config: Mapping[str, str], base_path: str, first: str, gpu: bool) -> list[dict[str, Any]]:
    """Configuration, deployment and service; the models come from the volume claim ``codec-zoo-models``.

    The startup and readiness probes ask for every model. The liveness probe asks for one: a server that has lost a
    model takes no requests, but only one that no longer answers is started again.
    """
    labels = {"app": "codec-zoo"}
    every_model = {"exec": {"command": ["bash", "/config/probe.sh"]}, "timeoutSeconds": 5}
    limits: dict[str, Any] = {"cpu": str(CPUS), "memory": f"{GIBIBYTES}Gi"}
    if gpu:
        limits["nvidia.com/gpu"] = 1
    container = {
        "name": "tensorflow-serving",
        "image": GPU_IMAGE if gpu else IMAGE,
        "command": ["tensorflow_model_server"],
        "args": _arguments("/config"),
        "ports": [{"name": "grpc", "containerPort": GRPC_PORT}, {"name": "rest", "containerPort": REST_PORT}],
        "startupProbe": {**every_model, "periodSeconds": 5, "failureThreshold": START // 5},
        "readinessProbe": {**every_model, "periodSeconds": 10},
        "livenessProbe": {
            "httpGet": {"path": f"/v1/models/{first}", "port": "rest"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "models", "mountPath": base_path, "readOnly": True},
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "temporary", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": "codec-zoo-models", "readOnly": True}},
            {"name": "config", "configMap": {"name": "codec-zoo-serving"}},
            {"name": "temporary", "emptyDir": {}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "codec-zoo-serving"}, "data": dict(config)},
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


def _autoscaler() -> dict[str, Any]:
    """Servers by the use of the CPU; the volume of the models has to be one that several nodes may read."""
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "codec-zoo"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "codec-zoo"},
            "minReplicas": 1,
            "maxReplicas": REPLICAS,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }


def _rules() -> dict[str, Any]:
    """Alerts on the metrics that ``monitoring.config`` turns on."""
    count, latency = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency_bucket"
    failed = f'sum by (model_name) (rate({count}{{status!="OK"}}[5m]))'
    slow = f"histogram_quantile(0.95, sum by (model_name, le) (rate({latency}[5m])))"
    return {
        "groups": [
            {
                "name": "codec-zoo",
                "rules": [
                    {
                        "alert": "CodecZooRequestsFail",
                        "expr": f"{failed} / sum by (model_name) (rate({count}[5m])) > 0.05",
                        "for": "10m",
                        "labels": {"severity": "warning"},
                        "annotations": {
                            "summary": "{{ $labels.model_name }}: {{ $value | humanizePercentage }} of requests fail"
                        },
                    },
                    {
                        "alert": "CodecZooRequestsAreSlow",
                        "expr": f"{slow} > 5e6",  # microseconds
                        "for": "10m",
                        "labels": {"severity": "warning"},
                        "annotations": {"summary": "{{ $labels.model_name }}: a request in twenty takes over 5 s"},
                    },
                ],
            }
        ]
    }


class _Dumper(yaml.SafeDumper):
    """Texts of several lines in their own lines, and no cross references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def _yaml(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
