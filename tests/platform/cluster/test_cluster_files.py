"""The node image and the manifests fit the schemas of Ray and Kubernetes, and the files of this checkout."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import mosar
from mosar.errors import InputError
from mosar.jobs import hydra_main, serve
from mosar.platform import cluster
from mosar.platform.cluster import local_autoscaler

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
CLUSTERS = (ROOT / "ray_cluster.yaml", ROOT / "deploy" / "on_premise.yaml")
MANIFESTS = {path.stem: path for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml")}
NODE_TYPES = ("data", "train")


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(MANIFESTS[name].read_text())
    return found


def ray_cluster(name: str) -> dict[str, Any]:
    """The RayCluster in a manifest, which may be the manifest itself."""
    found = manifest(name)
    spec = {"RayCluster": found["spec"], "RayJob": found["spec"].get("rayClusterSpec")}
    spec["RayService"] = found["spec"].get("rayClusterConfig")
    return {"metadata": found["metadata"], "spec": spec[found["kind"]]}


def groups(name: str) -> Iterator[dict[str, Any]]:
    spec = ray_cluster(name)["spec"]
    yield spec["headGroupSpec"]
    yield from spec["workerGroupSpecs"]


def env(name: str) -> list[dict[str, str]]:
    """Environment variables of a manifest's head."""
    found: list[dict[str, str]] = next(groups(name))["template"]["spec"]["containers"][0]["env"]
    return found


def project() -> dict[str, Any]:
    import tomllib

    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def test_the_image_copies_what_exists_and_installs_the_projects_pins() -> None:
    copied = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY")]
    assert copied == ["pyproject.toml"]
    extras = re.findall(r"\['optional-dependencies'\]\['(\w+)'\]", DOCKERFILE)
    assert set(extras) <= set(project()["optional-dependencies"])
    for line in project()["dependencies"] + [r for extra in extras for r in project()["optional-dependencies"][extra]]:
        assert re.fullmatch(r"==[\w.]+", str(Requirement(line).specifier)), line
    further = re.findall(r"pip install .*requirements\.txt (.*?) \\", DOCKERFILE)
    assert all("==" in word for words in further for word in words.split())


def test_the_requirements_that_the_image_extracts_are_the_projects(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = re.search(r'python -c "(.*?)" >', DOCKERFILE, re.DOTALL)
    assert program
    code = program.group(1).replace("\\\n", "").replace("/tmp/pyproject.toml", str(ROOT / "pyproject.toml"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == project()["dependencies"] + project()["optional-dependencies"]["s3"]


def test_the_image_needs_no_root_and_holds_no_secret() -> None:
    lines = DOCKERFILE.splitlines()
    assert lines[-3:] == ["USER 1000", "WORKDIR /home/ray", 'CMD ["bash"]']
    assert "RAY_AUTH_MODE=token" in DOCKERFILE
    assert not re.search(r"(?i)(token|secret|password|key)\s*=\s*(?!token\b)\S", DOCKERFILE)
    assert not re.search(r"(?m)^(ARG|ADD)\b", DOCKERFILE)


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_cluster_files_fit_rays_schema_and_keep_the_token_out_of_commands(path: Path) -> None:
    config = local_autoscaler.load(path)
    starts = [c for c in config["head_start_ray_commands"] + config["worker_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in start and "RAY_AUTH_TOKEN" not in start for start in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert list(config["file_mounts"]) == ["/home/ray/.ray/auth_token"]
    assert "USER 1000" in DOCKERFILE
    assert "--uid 1000 ray" in DOCKERFILE


def test_every_node_on_aws_may_use_the_bucket_and_names_its_machine_image() -> None:
    """Without them, Ray gives only the head a profile (its default), and all nodes an image with an old driver."""
    guide = (ROOT / "docs" / "cluster.md").read_text()
    kinds = local_autoscaler.load(CLUSTERS[0])["available_node_types"]
    assert set(kinds) == {"head", *NODE_TYPES}
    for name, kind in kinds.items():
        profile = "mosar-head" if name == "head" else "mosar-node"
        assert kind["node_config"]["IamInstanceProfile"] == {"Arn": f"arn:aws:iam::ACCOUNT:instance-profile/{profile}"}
        assert profile in guide
        assert kind["node_config"]["ImageId"] == "AMI_ID"
    policies = re.findall(r"END'\n(\{.*?\})\nEND", guide, re.DOTALL)
    granted = {action for text in policies for s in json.loads(text)["Statement"] for action in _listed(s["Action"])}
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "iam:PassRole"} <= granted


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_every_node_runs_one_image_of_this_version() -> None:
    images = {yaml.safe_load(path.read_text())["docker"]["image"] for path in CLUSTERS}
    for name in MANIFESTS:
        images |= {group["template"]["spec"]["containers"][0]["image"] for group in groups(name)}
    assert images == {f"REGISTRY/mosar-node:{mosar.__version__}"}
    assert f"-t {images.pop()} ." in DOCKERFILE


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_rays_autoscaler_reads_the_manifests(name: str) -> None:
    """Uses the code that runs beside the head in Kubernetes; it checks the result against Ray's schema."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    resource = ray_cluster(name)
    ray = next(Requirement(line) for line in project()["dependencies"] if line.startswith("ray["))
    assert str(ray.specifier) == f"=={resource['spec']['rayVersion']}"
    assert resource["spec"]["authOptions"] == {"mode": "token"}
    derived = _derive_autoscaling_config_from_ray_cr(resource)["available_node_types"]
    shipped = local_autoscaler.load(CLUSTERS[0])["available_node_types"]
    for node_type in set(derived) & set(NODE_TYPES):
        resources = {k: v for k, v in derived[node_type]["resources"].items() if k in shipped[node_type]["resources"]}
        assert resources == shipped[node_type]["resources"]
        assert derived[node_type]["max_workers"] == shipped[node_type]["max_workers"]
    if name == "cluster":
        assert set(NODE_TYPES) <= set(derived)


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_pod_templates_fit_kubernetes_schema(name: str) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for group in groups(name):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **group["template"]}
        kubernetes.validate(pod, kubernetes.latest_version(), strict=True)


def test_the_job_manifest_starts_an_existing_job_with_existing_options() -> None:
    spec = manifest("job")["spec"]
    python, script, *options = shlex.split(spec["entrypoint"])
    assert python == "python"
    assert (ROOT / script).is_file()
    assert hydra_main.compose(Path(script).stem, options)["preset"] == "paper"
    assert "working_dir" in yaml.safe_load(spec["runtimeEnvYAML"])


@pytest.mark.parametrize("name", ["cluster", "job"])
def test_heads_tell_jobs_the_capacity_of_all_nodes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    derived = _derive_autoscaling_config_from_ray_cr(ray_cluster(name))
    kinds = derived["available_node_types"]
    (value,) = (each["value"] for each in env(name) if each["name"] == cluster.CAPACITY)
    monkeypatch.setenv(cluster.CAPACITY, value)
    for resource, room in cluster.growth().items():
        most = {n: 1 if n == derived["head_node_type"] else kind["max_workers"] for n, kind in kinds.items()}
        assert room == sum(kinds[n]["resources"].get(resource, 0) * count for n, count in most.items())


def test_the_service_deploys_the_endpoint_with_a_key(tmp_path: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    deploy = ServeDeploySchema.model_validate(yaml.safe_load(manifest("service")["spec"]["serveConfigV2"]))
    (application,) = deploy.applications
    module, name = application.import_path.split(":")
    assert getattr(serve, name) is serve.application
    assert module == "mosar.jobs.serve"
    args = application.args
    key_file = Path(args["serving"]["key_file"])
    mounts = [group["template"]["spec"]["containers"][0]["volumeMounts"] for group in groups("service")]
    assert all({str(key_file.parent)} == {mount["mountPath"] for mount in each} for each in mounts)
    with pytest.raises(InputError, match="there is no file /etc/mosar/key"):
        serve.application(args)
    (tmp_path / "key").write_text("a key of the test")
    args["serving"]["key_file"] = str(tmp_path / "key")
    from ray.serve import Application

    assert isinstance(serve.application(args), Application)
