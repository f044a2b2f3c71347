"""The check of the container files: what ships passes, and each slip is named where it is."""

import copy
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_containers", ROOT / "scripts" / "check_containers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compose(check: ModuleType) -> dict[str, Any]:
    loaded: dict[str, Any] = copy.deepcopy(check._yaml(check.CONTAINERS / "compose.yaml"))
    return loaded


@pytest.fixture
def env(check: ModuleType) -> dict[str, str]:
    return dict(check.read_env(check.CONTAINERS / "env.example"))


@pytest.fixture
def shipped(check: ModuleType) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    kustomization, files = check.manifests(check.MANIFESTS)
    return kustomization, copy.deepcopy(files)


def pod(files: dict[str, list[dict[str, Any]]], file: str = "web.yaml") -> dict[str, Any]:
    found: dict[str, Any] = files[file][0]["spec"]["template"]["spec"]
    return found


def test_what_ships_passes(check: ModuleType, compose: Any, env: Any, shipped: Any) -> None:
    assert list(check.dockerfile_problems(check.CONTAINERS / "Dockerfile")) == []
    assert list(check.compose_problems(compose, env)) == []
    assert list(check.kubernetes_problems(*shipped)) == []


def test_a_dockerfile_that_installs_what_is_not_pinned_is_refused(check: ModuleType, tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN pip install requests\n")
    (problem,) = check.dockerfile_problems(bad)
    assert "DL3006" in problem
    assert "DL3013" in problem


def test_a_misspelt_variable_in_the_compose_file_is_named(check: ModuleType, compose: Any, env: Any) -> None:
    compose["services"]["web"]["environment"]["LOADSTONE_BLOB_URL"] = "s3://loadstone"
    problems = list(check.compose_problems(compose, env))
    assert any("blob_url" in p and "did you mean blobs_url" in p and p.startswith("compose: web") for p in problems)


def test_a_value_that_the_configuration_refuses_is_named(check: ModuleType, compose: Any, env: Any) -> None:
    env["LOADSTONE_SECRET_KEY"] = "short"
    problems = list(check.compose_problems(compose, env))
    assert problems
    assert all("secret_key" in problem for problem in problems)


def test_a_variable_without_an_example_is_named(check: ModuleType, compose: Any, env: Any) -> None:
    del env["S3_SECRET_KEY"]
    assert "compose: ${S3_SECRET_KEY} is not in env.example" in list(check.compose_problems(compose, env))


def test_waiting_for_a_service_without_a_health_check_is_named(check: ModuleType, compose: Any, env: Any) -> None:
    del compose["services"]["postgres"]["healthcheck"]
    problems = list(check.compose_problems(compose, env))
    assert problems == ["compose: migrate: waits until postgres is healthy, which has no health check"]


def test_an_image_without_a_tag_is_named(check: ModuleType, compose: Any, env: Any) -> None:
    compose["services"]["postgres"]["image"] = "registry.example:5000/postgres"
    (problem,) = check.compose_problems(compose, env)
    assert "not pinned" in problem


def test_a_container_that_gets_no_time_to_stop_is_named(check: ModuleType, compose: Any, env: Any) -> None:
    del compose["services"]["worker"]["stop_grace_period"]
    (problem,) = check.compose_problems(compose, env)
    assert problem.startswith("compose: worker: stop_grace_period")


def test_an_unknown_field_in_a_manifest_is_named(check: ModuleType, shipped: Any) -> None:
    pod(shipped[1])["containers"][0]["livenesProbe"] = {"httpGet": {"path": "/livez", "port": "http"}}
    (problem,) = check.kubernetes_problems(*shipped)
    assert problem.startswith("web.yaml: Deployment loadstone-web: spec.template.spec.containers.0")
    assert "livenesProbe" in problem


def test_pods_that_take_service_links_are_refused(check: ModuleType, shipped: Any) -> None:
    del pod(shipped[1])["enableServiceLinks"]
    (problem,) = check.kubernetes_problems(*shipped)
    assert "enableServiceLinks" in problem


def test_a_grace_period_shorter_than_stopping_takes_is_refused(check: ModuleType, shipped: Any) -> None:
    shipped[1]["configmap.yaml"][0]["data"]["LOADSTONE_SHUTDOWN_SECONDS"] = "60"
    problems = list(check.kubernetes_problems(*shipped))
    assert {p.partition(":")[0] for p in problems} == {"web.yaml", "worker.yaml"}
    assert any("more than the 65 s" in p for p in problems)


def test_names_that_lead_nowhere_are_named(check: ModuleType, shipped: Any) -> None:
    kustomization, files = shipped
    files["secret.example.yaml"][0]["metadata"]["name"] = "other"
    files["service.yaml"][0]["spec"]["selector"]["app.kubernetes.io/component"] = "site"
    files["autoscaling.yaml"][0]["spec"]["scaleTargetRef"]["name"] = "site"
    text = "\n".join(check.kubernetes_problems({**kustomization, "resources": ["gone.yaml"]}, files))
    for expected in (
        "there is no gone.yaml",
        "there is no secret loadstone",
        "Service loadstone-web: it selects no pods",
        "there is no Deployment site to scale",
    ):
        assert expected in text
