"""The Kubernetes manifests: their parts fit together, and fit the program and its image. Nothing asks a cluster."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import daemon
from daemon import config
from tests.harness import sample_data

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VARIANTS = ("base", "sqlite")
API_VERSIONS = {
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "PodDisruptionBudget": "policy/v1",
    "Service": "v1",
}
SECRETS = "/run/secrets/pagerelay/"
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
Manifest = dict[str, Any]
KUBERNETES = ("1.25", "1.37")  # the oldest and the newest version that the manifests are checked for


def load(path: Path) -> Any:
    """Return the content of a file with one document."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def merge(old: Any, patch: Any) -> Any:
    """Return a strategic merge: lists of named entries are merged by their names, null removes."""
    if isinstance(old, dict) and isinstance(patch, dict):
        merged = old | {key: merge(old.get(key), value) for key, value in patch.items()}
        return {key: value for key, value in merged.items() if value is not None}
    keys = [key for key in ("mountPath", "name") if isinstance(patch, list) and patch and key in patch[0]]
    if not isinstance(old, list) or not keys:
        return patch
    ours = {entry[keys[0]]: entry for entry in patch}
    known = {entry[keys[0]] for entry in old}
    changed = [merge(entry, ours[entry[keys[0]]]) if entry[keys[0]] in ours else entry for entry in old]
    return changed + [entry for name, entry in ours.items() if name not in known]


def build(folder: Path) -> dict[str, Manifest]:
    """Return the manifests by kind, as kustomize builds them, but without a hash in the ConfigMap's name."""
    rules = load(folder / "kustomization.yaml")
    manifests: dict[str, Manifest] = {}
    for resource in rules["resources"]:
        path = (folder / resource).resolve()
        manifests |= build(path) if path.is_dir() else {load(path)["kind"]: load(path)}
    for generator in rules["configMapGenerator"]:
        assert ("ConfigMap" in manifests) == (generator.get("behavior") == "replace")
        data = {name: (folder / name).read_text(encoding="utf-8") for name in generator["files"]}
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}}
        manifests["ConfigMap"] = merge(manifests.get("ConfigMap", {}), head) | {"data": data}
    for patch in rules.get("patches", ()):
        change = load(folder / patch["path"])
        assert change["metadata"]["name"] == manifests[change["kind"]]["metadata"]["name"]
        manifests[change["kind"]] = merge(manifests[change["kind"]], change)
    for image in rules.get("images", ()):
        container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == image["name"]
        container["image"] = f"{image['newName']}:{image['newTag']}"
    for label in rules.get("labels", ()):
        for manifest in manifests.values():
            manifest["metadata"]["labels"] = manifest["metadata"].get("labels", {}) | label["pairs"]
        manifests["Deployment"]["spec"]["template"]["metadata"]["labels"] |= label["pairs"]
    return manifests


@pytest.fixture(params=VARIANTS)
def manifests(request: pytest.FixtureRequest) -> dict[str, Manifest]:
    return build(DEPLOY / request.param)


def pod_of(manifests: dict[str, Manifest]) -> Manifest:
    """Return the specification of the Deployment's pods."""
    pod: Manifest = manifests["Deployment"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_file_is_part_of_its_kustomization(variant: str) -> None:
    rules = load(DEPLOY / variant / "kustomization.yaml")
    named = {*rules["resources"], *(each["path"] for each in rules.get("patches", ()))} - {"../base"}
    named |= {file for each in rules["configMapGenerator"] for file in each["files"]}
    assert {path.name for path in (DEPLOY / variant).iterdir()} == named | {"kustomization.yaml"}


def test_every_manifest_has_the_right_version_of_the_api_and_a_valid_name(manifests: dict[str, Manifest]) -> None:
    assert {kind: manifest["apiVersion"] for kind, manifest in manifests.items()}.items() <= API_VERSIONS.items()
    assert all(NAME.fullmatch(manifest["metadata"]["name"]) for manifest in manifests.values())


def test_every_selector_matches_the_pods(manifests: dict[str, Manifest]) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in pod_of(manifests)["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
        assert "app.kubernetes.io/version" not in selector, "a selector cannot be changed by an upgrade"


def test_every_named_port_is_the_containers_and_the_one_that_the_daemon_listens_on(
    manifests: dict[str, Manifest],
) -> None:
    (container,) = pod_of(manifests)["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    probes = [container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")]
    policy = [port["port"] for rule in manifests["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    assert {*probes, *policy, *(each["targetPort"] for each in manifests["Service"]["spec"]["ports"])} == set(ports)
    listen = yaml.safe_load(manifests["ConfigMap"]["data"]["config.yaml"])["api"]["listen"]
    assert listen == f"[::]:{ports['http']}"
    assert f"EXPOSE {ports['http']}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_probe_asks_for_a_path_that_needs_no_token(manifests: dict[str, Manifest]) -> None:
    (container,) = pod_of(manifests)["containers"]
    probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    described = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    for path in probes.values():
        assert not described["paths"][path]["get"].get("security")


def test_every_volume_exists_and_is_used(manifests: dict[str, Manifest]) -> None:
    pod = pod_of(manifests)
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert volumes["config"]["configMap"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
    assert f"{mounts['config']}/config.yaml" in pod["containers"][0]["args"]
    assert f"{mounts['secrets']}/" == SECRETS
    if "data" in volumes:
        claim = volumes["data"]["persistentVolumeClaim"]["claimName"]
        assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]


def test_every_secret_of_the_configuration_is_a_key_of_the_secret_that_the_documentation_creates(
    manifests: dict[str, Manifest],
) -> None:
    (volume,) = (each["secret"] for each in pod_of(manifests)["volumes"] if "secret" in each)
    keys = re.findall(rf"\$\{{file:{SECRETS}(\w+)\}}", manifests["ConfigMap"]["data"]["config.yaml"])
    assert sorted(each["path"] for each in volume["items"]) == sorted(keys)
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    created = re.findall(r"--from-(?:literal|file)=(\w+)", text)
    assert f"create secret generic {volume['secretName']}" in text
    assert {each["key"] for each in volume["items"]} <= set(created)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_configuration_is_valid(variant: str, tmp_path: Path) -> None:
    text = (DEPLOY / variant / "config.yaml").read_text(encoding="utf-8")
    for name in re.findall(rf"{SECRETS}(\w+)", text):
        (tmp_path / name).write_text(f"{sample_data.SECRET if name == 'ops_secret' else 'canary'}\n", encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace(SECRETS, f"{tmp_path}/"), encoding="utf-8")
    settings = config.load(path, {})
    url = settings.database.url.get_secret_value()
    assert url.startswith("sqlite:////var/lib/pagerelay/" if variant == "sqlite" else "postgresql://pagerelay:canary@")
    assert settings.api is not None
    assert settings.api.hosts is None, "probes ask for the pod's address"


def test_pods_run_without_rights_that_the_daemon_does_not_need(manifests: dict[str, Manifest]) -> None:
    pod = pod_of(manifests)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "PAGERELAY_PORT would look like a part of the configuration"
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert pod["terminationGracePeriodSeconds"] > 10


def test_image_and_labels_have_the_version_of_the_package(manifests: dict[str, Manifest]) -> None:
    assert pod_of(manifests)["containers"][0]["image"].endswith(f"/pagerelay:{daemon.__version__}")
    changing = [manifest for kind, manifest in manifests.items() if kind != "PersistentVolumeClaim"]
    for manifest in (*changing, manifests["Deployment"]["spec"]["template"]):
        assert manifest["metadata"]["labels"]["app.kubernetes.io/version"] == daemon.__version__


def test_postgresql_has_two_replicas_and_sqlite_one_that_ends_before_the_next_starts() -> None:
    replicated, alone = (build(DEPLOY / variant)["Deployment"]["spec"] for variant in VARIANTS)
    assert (replicated["replicas"], replicated["strategy"]["type"]) == (2, "RollingUpdate")
    assert (alone["replicas"], alone["strategy"]) == (1, {"type": "Recreate"})
    assert build(DEPLOY / "sqlite")["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_a_node_can_be_drained_with_one_replica_too(manifests: dict[str, Manifest]) -> None:
    assert manifests["PodDisruptionBudget"]["spec"].keys() == {"maxUnavailable", "selector"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_kustomize_builds_the_same_where_it_is_installed(variant: str) -> None:
    program = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    if shutil.which(program[0]) is None:
        return
    done = subprocess.run([*program, DEPLOY / variant], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r"pagerelay-config-\w+", "pagerelay-config", done.stdout)
    built = {each["kind"]: each for each in yaml.safe_load_all(text)}
    expected = build(DEPLOY / variant)
    for manifest in (built, expected):
        for part in ("volumes", "containers"):
            pod_of(manifest)[part].sort(key=lambda each: each["name"])
        pod_of(manifest)["containers"][0]["volumeMounts"].sort(key=lambda each: each["mountPath"])
    assert built == expected


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_schemas_of_the_kubernetes_api_accept_every_manifest_where_they_are_installed(
    manifests: dict[str, Manifest], version: str, tmp_path: Path
) -> None:
    program = shutil.which("kubernetes-validate")  # from PyPI; too large for everybody to install it
    if program is None:
        return
    built = tmp_path / "manifests.yaml"
    built.write_text(yaml.safe_dump_all(manifests.values()), encoding="utf-8")
    command = [program, "--strict", "--kubernetes-version", version, str(built)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
