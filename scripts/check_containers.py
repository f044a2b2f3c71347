"""Lints the Dockerfile, and checks the compose file and the Kubernetes manifests as far as that goes without an
engine: their structure, the names that they refer to, and that each LOADSTONE_ variable is a key of the
configuration with a value that it takes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from loadstone.kernel.config import ENVIRONMENT_PREFIX, Config, ConfigError, load

ROOT = Path(__file__).parents[1]
CONTAINERS = ROOT / "containers"
MANIFESTS = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.34"
"""The version that the manifests are validated for; each kind in them is stable since 1.30 or longer."""
COMMANDS = frozenset({"web", "worker", "migrate"})
CONDITIONS = frozenset({"service_started", "service_healthy", "service_completed_successfully"})
SERVICE_KEYS = frozenset(
    {
        "image", "build", "command", "entrypoint", "environment", "ports", "volumes", "networks", "depends_on",
        "healthcheck", "restart", "init", "read_only", "cap_drop", "security_opt", "tmpfs", "shm_size",
        "stop_grace_period",
    }
)  # fmt: skip
"""What of the Compose specification is used here; another key is a slip, or belongs into this list."""
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?::?([-?])([^}]*))?\}")
_GRACE = re.compile(r"(\d+)s")
_DEFAULT_SHUTDOWN = Config().shutdown_seconds

Document = Mapping[str, Any]


def main() -> int:
    problems = [
        *dockerfile_problems(CONTAINERS / "Dockerfile"),
        *compose_problems(_yaml(CONTAINERS / "compose.yaml"), read_env(CONTAINERS / "env.example")),
        *kubernetes_problems(*manifests(MANIFESTS)),
    ]
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    return 1 if problems else 0


def manifests(folder: Path) -> tuple[Document, dict[str, list[Document]]]:
    """The kustomization, and the documents of each other file in the folder."""
    files = sorted(folder.glob("*.yaml"))
    found = {path.name: [d for d in yaml.safe_load_all(path.read_text("utf-8")) if d] for path in files}
    (kustomization,) = found.pop("kustomization.yaml")
    return kustomization, found


def read_env(path: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def dockerfile_problems(path: Path) -> Iterator[str]:
    """What hadolint finds."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(hadolint), "--no-color", str(path)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        yield (done.stdout + done.stderr).strip() or f"hadolint ended with {done.returncode}"


# -- compose


def compose_problems(compose: Document, env: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a compose file whose variables have the values of ``env``."""
    services: Mapping[str, Document] = compose.get("services", {})
    used = {match[1] for match in _VARIABLE.finditer(yaml.safe_dump(services))}
    for name in sorted(used - env.keys()):
        yield f"compose: ${{{name}}} is not in env.example"
    for name in sorted(env.keys() - used):
        yield f"env.example: {name} is used nowhere in compose.yaml"
    for name, service in services.items():
        for problem in _service_problems(name, service, compose, env):
            yield f"compose: {name}: {problem}"


def _service_problems(name: str, service: Document, compose: Document, env: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(service.keys() - SERVICE_KEYS):
        yield f"{key} is no key that this file uses"
    yield from _image_problems(str(service.get("image", "")))
    for kind in ("volumes", "networks"):
        for given in service.get(kind, []):
            source = str(given).partition(":")[0]
            if source not in compose.get(kind, {}):
                yield f"{source} is not among the {kind} of the file"
    for other, wait in service.get("depends_on", {}).items():
        yield from _wait_problems(str(other), wait, compose["services"])
    environment = {key: expanded(str(value), env) for key, value in service.get("environment", {}).items()}
    if any(key.startswith(ENVIRONMENT_PREFIX) for key in environment):
        yield from _process_problems(service.get("command", []), environment)
        yield from _grace_problems(name, service, environment)


def _wait_problems(other: str, wait: Document, services: Mapping[str, Document]) -> Iterator[str]:
    condition = wait.get("condition")
    if other not in services:
        yield f"depends_on {other}, which is no service"
    elif condition not in CONDITIONS:
        yield f"depends_on {other} with the condition {condition}, which there is not"
    elif condition == "service_healthy" and "test" not in services[other].get("healthcheck", {}):
        yield f"waits until {other} is healthy, which has no health check"


def _grace_problems(name: str, service: Document, environment: Mapping[str, str]) -> Iterator[str]:
    if name == "migrate":
        return
    grace = _GRACE.fullmatch(str(service.get("stop_grace_period", "10s")))
    needed = int(environment.get("LOADSTONE_SHUTDOWN_SECONDS", _DEFAULT_SHUTDOWN))
    if grace is None or int(grace[1]) <= needed:
        yield f"stop_grace_period must be more than the {needed} s of LOADSTONE_SHUTDOWN_SECONDS"


def expanded(text: str, env: Mapping[str, str]) -> str:
    """A value with its ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?why}`` replaced."""

    def value(match: re.Match[str]) -> str:
        default = match[3] if match[2] == "-" else ""
        return env.get(match[1]) or default or ""

    return _VARIABLE.sub(value, text)


# -- Kubernetes


def kubernetes_problems(kustomization: Document, files: Mapping[str, Sequence[Document]]) -> Iterator[str]:
    """What is wrong with the manifests: against the schema, and with each other."""
    for name in kustomization.get("resources", []):
        if name not in files:
            yield f"kustomization.yaml: there is no {name}"
    there = [document for documents in files.values() for document in documents]
    for file, documents in files.items():
        for document in documents:
            kind, name = document.get("kind", "?"), document.get("metadata", {}).get("name", "?")
            schema = list(_schema_problems(document))
            for problem in schema or _meaning_problems(document, there):
                yield f"{file}: {kind} {name}: {problem}"


def _schema_problems(document: Document) -> Iterator[str]:
    try:
        kubernetes_validate.validate(dict(document), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path)) or 'top'}: {error.message[:300]}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield error.message


def _meaning_problems(document: Document, there: Sequence[Document]) -> Iterator[str]:
    spec = document.get("spec", {})
    if document["kind"] in {"Deployment", "Job"}:
        yield from _pod_problems(spec["template"]["spec"], there)
    if document["kind"] == "Deployment" and not _selects(spec["selector"]["matchLabels"], [document]):
        yield "its selector does not select its own pods"
    if document["kind"] == "Service" and spec.get("selector") and not _selects(spec["selector"], there):
        yield "it selects no pods"
    if document["kind"] in {"PodDisruptionBudget", "NetworkPolicy"}:
        labels = spec.get("selector", spec.get("podSelector", {})).get("matchLabels", {})
        if not _selects(labels, there):
            yield "it selects no pods"
    yield from _reference_problems(document["kind"], spec, there)


def _reference_problems(kind: str, spec: Document, there: Sequence[Document]) -> Iterator[str]:
    if kind == "Ingress":
        for path in (path for rule in spec["rules"] for path in rule["http"]["paths"]):
            service = path["backend"]["service"]["name"]
            if _find(there, "Service", service) is None:
                yield f"there is no Service {service}"
    if kind == "HorizontalPodAutoscaler":
        target = spec["scaleTargetRef"]
        if _find(there, target["kind"], target["name"]) is None:
            yield f"there is no {target['kind']} {target['name']} to scale"


def _pod_problems(pod: Document, there: Sequence[Document]) -> Iterator[str]:
    if pod.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not false: the links' LOADSTONE_… variables would be unknown keys"
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield "runAsNonRoot is not set"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        for problem in _container_problems(container, pod, volumes, there):
            yield f"{container['name']}: {problem}"


def _container_problems(
    container: Document, pod: Document, volumes: set[str], there: Sequence[Document]
) -> Iterator[str]:
    yield from _image_problems(container["image"])
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"mounts {mount['name']}, which is no volume of the pod"
    guarded = container.get("securityContext", {})
    if not guarded.get("readOnlyRootFilesystem") or guarded.get("allowPrivilegeEscalation") is not False:
        yield "its securityContext is not the restricted one"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield "it has no memory limit"
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        ((kind, reference),) = source.items()
        found = _find(there, {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"])
        if found is None:
            yield f"there is no {kind.removesuffix('Ref')} {reference['name']}"
            continue
        environment |= found.get("data", {}) | found.get("stringData", {})
    environment |= {given["name"]: given.get("value", "") for given in container.get("env", [])}
    yield from _process_problems(container.get("args", []), environment)
    if container.get("args") != ["migrate"]:
        stop = int(environment.get("LOADSTONE_SHUTDOWN_SECONDS", _DEFAULT_SHUTDOWN)) + _pause(container)
        if pod.get("terminationGracePeriodSeconds", 30) <= stop:
            yield f"terminationGracePeriodSeconds must be more than the {stop} s that stopping may take"


def _pause(container: Document) -> int:
    """The seconds that its preStop sleeps."""
    command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
    return int(command[1]) if command[:1] == ["sleep"] else 0


def _selects(labels: Mapping[str, str], documents: Sequence[Document]) -> bool:
    pods = [document["spec"]["template"] for document in documents if document["kind"] in {"Deployment", "Job"}]
    return any(labels.items() <= pod["metadata"].get("labels", {}).items() for pod in pods)


def _find(there: Sequence[Document], kind: str, name: str) -> Document | None:
    return next((d for d in there if d["kind"] == kind and d["metadata"]["name"] == name), None)


# -- both


def _process_problems(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Whether our configuration takes this environment, and the command is one of ours."""
    if not command or command[0] not in COMMANDS:
        yield f"{' '.join(command) or 'nothing'} is not one of {', '.join(sorted(COMMANDS))}"
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX):
            yield f"{name} is no variable of ours"
    try:
        config = load(environment).config
    except ConfigError as error:
        yield str(error)
        return
    for key in ("database_url", "secret_key", "blobs_url"):
        if not getattr(config, key):
            yield f"{ENVIRONMENT_PREFIX}{key.upper()} is missing: the processes share it"


def _image_problems(image: str) -> Iterator[str]:
    _, _, tag = image.rpartition("/")[2].partition(":")
    if tag in {"", "latest"}:
        yield f"the image {image or '(none)'} is not pinned by a tag"


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
