"""The folder that TensorFlow Serving runs from, against the official protos."""

import http.server
import json
import shutil
import subprocess
import threading

import kubernetes_validate
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from codec_zoo.errors import UsageError
from codec_zoo.export import serving_config
from codec_zoo.export.serving_config import write_serving

PRESET = "fu2019-hybrid-s16-prelu"


@pytest.fixture(scope="module")
def written(exports, tmp_path_factory):
    """Two versions of a model, served together."""
    directory = tmp_path_factory.mktemp("serving")
    for version in (1, 10, 9):
        shutil.copytree(exports / PRESET / "1", directory / "models" / PRESET / str(version))
    # As on a mounted volume, in a folder that was looked at, and where an export was interrupted.
    for other in ("lost+found", "another-preset"):
        (directory / "models" / other).mkdir()
    (directory / "models" / ".DS_Store").write_text("")
    write_serving(directory, [PRESET])
    return directory


def official(message: str):
    """Messages that tensorflow-serving-api leaves out, with the fields of the project's .proto files."""
    proto = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="s", syntax="proto3")
    proto.dependency.append("google/protobuf/wrappers.proto")
    kinds = {"bool": 8, "string": 9, "message": 11}

    def add(name, fields):
        made = proto.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            simple = kind if kind in kinds else "message"
            made.field.add(
                name=field, number=number, label=1, type=kinds[simple], type_name=None if simple == kind else kind
            )

    wrapper = ".google.protobuf."
    add(
        "BatchingParameters",
        {
            "max_batch_size": f"{wrapper}Int64Value",
            "batch_timeout_micros": f"{wrapper}Int64Value",
            "max_enqueued_batches": f"{wrapper}Int64Value",
            "num_batch_threads": f"{wrapper}Int64Value",
            "enable_large_batch_splitting": f"{wrapper}BoolValue",
            "max_execution_batch_size": f"{wrapper}Int64Value",
        },
    )
    add("PrometheusConfig", {"enable": "bool", "path": "string"})
    add("MonitoringConfig", {"prometheus_config": ".s.PrometheusConfig"})
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"s.{message}"))


def test_models_config(written):
    text = (written / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (PRESET, f"/models/{PRESET}", "tensorflow")
    assert list(model.model_version_policy.specific.versions) == [1, 9, 10]
    assert dict(model.version_labels) == {"stable": 9, "canary": 10}
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("base_path", "path"), model_server_config_pb2.ModelServerConfig())


def test_batching_and_monitoring(written):
    text = (written / "batching_parameters.txt").read_text()
    batching = text_format.Parse(text, official("BatchingParameters")())
    assert batching.max_execution_batch_size.value == 1 and batching.enable_large_batch_splitting.value
    monitoring = text_format.Parse((written / "monitoring.config").read_text(), official("MonitoringConfig")())
    assert monitoring.prometheus_config.enable


def test_compose_and_kubernetes_name_the_files(written):
    service = yaml.safe_load((written / "docker-compose.yml").read_text())["services"]["tensorflow-serving"]
    config_map, deployment, kubernetes_service = kubernetes(written)
    pod = deployment["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert service["image"] == container["image"] and service["command"] == container["args"]
    for argument in service["command"]:
        name = argument.partition("=/config/")[2]
        if name:
            assert config_map["data"][name] == (written / name).read_text()
    assert config_map["data"]["probe.sh"] == (written / "probe.sh").read_text()
    assert service["healthcheck"]["test"][1:] == container["readinessProbe"]["exec"]["command"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    ports = {port["containerPort"] for port in container["ports"]}
    assert ports == {port["port"] for port in kubernetes_service["spec"]["ports"]} == {8500, 8501}
    assert {f"--port={min(ports)}", f"--rest_api_port={max(ports)}"} <= set(container["args"])
    assert container["livenessProbe"]["httpGet"] == {"path": f"/v1/models/{PRESET}", "port": "rest"}
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels == pod["metadata"]["labels"] == kubernetes_service["spec"]["selector"]
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        command = ["docker", "compose", "-f", written / "docker-compose.yml", "config", "--quiet"]
        subprocess.run(command, check=True)


def kubernetes(directory):
    """The objects of the manifests."""
    return list(yaml.safe_load_all((directory / "kubernetes.yaml").read_text()))


@pytest.mark.parametrize("gpu", [False, True])
def test_kubernetes_takes_the_manifests(written, tmp_path, gpu):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    write_serving(tmp_path, [PRESET], gpu=gpu)
    objects = kubernetes(tmp_path)
    [autoscaler] = yaml.safe_load_all((tmp_path / "kubernetes-autoscaler.yaml").read_text())
    for item in (*objects, autoscaler):
        kubernetes_validate.validate(item, "1.31", strict=True)
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == objects[1]["metadata"]["name"]
    [container] = objects[1]["spec"]["template"]["spec"]["containers"]
    compose = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]["tensorflow-serving"]
    assert container["image"] == compose["image"] and container["image"].endswith("-gpu") == gpu
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == gpu
    assert ("reservations" in compose["deploy"]["resources"]) == gpu
    broken = json.loads(json.dumps(objects[1]).replace("containerPort", "containerPorts"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


def test_the_probe_asks_for_every_model(written, tmp_path, capfd):
    """The server's own answers are in test_server.py."""
    states = {f"/v1/models/{PRESET}": "AVAILABLE"}

    class Rest(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in states else 404)
            self.end_headers()
            state = {"model_version_status": [{"version": "1", "state": states.get(self.path)}]}
            self.wfile.write(json.dumps(state).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_port)
        for state, status in (("AVAILABLE", 0), ("LOADING", 1), ("AVAILABLE", 0)):
            states[f"/v1/models/{PRESET}"] = state
            assert subprocess.run(["bash", written / "probe.sh", port]).returncode == status, state
        two = tmp_path / "probe.sh"
        two.write_text(serving_config.probe([PRESET, "another"]))
        assert subprocess.run(["bash", two, port]).returncode == 1
        server.shutdown()
    assert "another is not available" in capfd.readouterr().out
    assert subprocess.run(["bash", written / "probe.sh", port], capture_output=True).returncode == 1


def test_prometheus_rules(written):
    [group] = yaml.safe_load((written / "prometheus-rules.yml").read_text())["groups"]
    assert all({"alert", "expr", "for", "annotations"} <= set(rule) for rule in group["rules"])
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "rules", written / "prometheus-rules.yml"], check=True)


def test_an_export_of_an_older_schema_gets_a_successor(exports, tmp_path, monkeypatch):
    folder = tmp_path / "models" / PRESET / "3"
    shutil.copytree(exports / PRESET / "1", folder)
    card = json.loads((folder / "assets" / "model_card.json").read_text())
    (folder / "assets" / "model_card.json").write_text(json.dumps({**card, "schema": card["schema"] - 1}))
    made = []
    monkeypatch.setattr(serving_config, "export_pretrained", lambda *arguments: made.append(arguments))
    write_serving(tmp_path, [PRESET])
    assert made == [(PRESET, tmp_path / "models", 4)]


def test_writing_again_keeps_versions(written):
    before = {path: path.stat().st_mtime_ns for path in (written / "models").rglob("*.pb")}
    write_serving(written, [PRESET])
    assert {path: path.stat().st_mtime_ns for path in (written / "models").rglob("*.pb")} == before
    with pytest.raises(UsageError, match="no preset"):
        write_serving(written, ["nothing"])
