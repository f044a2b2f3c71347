"""Prometheus metrics of one process. ``/metrics`` of the web worker that answers adds its process id."""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client import generate_latest as _latest

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

REQUESTS: Final = Counter("loadstone_requests", "Answered requests.", ["operation", "status"], registry=REGISTRY)
REQUEST_SECONDS: Final = Histogram(
    "loadstone_request_seconds",
    "Time from the request's head to the answer's end.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
    registry=REGISTRY,
)
IN_FLIGHT: Final = Gauge("loadstone_requests_in_flight", "Requests being answered.", registry=REGISTRY)
JOBS_DONE: Final = Counter("loadstone_jobs", "Finished job runs.", ["job", "outcome"], registry=REGISTRY)
JOBS_SECONDS: Final = Histogram("loadstone_job_seconds", "Time of one job run.", ["job"], registry=REGISTRY)
UPLOADED: Final = Counter("loadstone_uploaded_bytes", "Bytes received by uploads.", registry=REGISTRY)
GRANTS: Final = Counter("loadstone_download_grants", "Download tickets granted.", registry=REGISTRY)
SERVED: Final = Counter("loadstone_served_bytes", "Artifact bytes sent by this process.", registry=REGISTRY)
FAILED_OPEN: Final = Counter(
    "loadstone_failed_open", "Comforts left out because their engine failed.", ["what"], registry=REGISTRY
)
FAILED_CLOSED: Final = Counter(
    "loadstone_failed_closed",
    "Requests refused because a safety check could not run.",
    ["what"],
    registry=REGISTRY,
)


def exposition() -> bytes:
    """The text that Prometheus scrapes."""
    return _latest(REGISTRY)
