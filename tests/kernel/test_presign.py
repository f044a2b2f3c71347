"""Query-signed links, compared with those that AWS's own client signs for the same request and second."""

import datetime as dt
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.config import Config as BotoConfig

from loadstone.kernel.blobs import content_disposition
from loadstone.kernel.presign import presign_get

NOW = dt.datetime(2013, 5, 24, 1, 2, 3, tzinfo=dt.UTC)
KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def settings(**more: str) -> dict[str, Any]:
    return {"bucket": "mods", "region": "eu-west-1", "access_key_id": KEY, "secret_access_key": SECRET} | more


def fields(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


@pytest.fixture
def aws_at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the clock of AWS's client."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))


@pytest.mark.usefixtures("aws_at_now")
@pytest.mark.parametrize(
    ("given", "prefix", "file_name"),
    [
        (settings(), None, "a.zip"),
        (settings(), "some/prefix", "schärfer & 'besser' (2) ~v1.0+x=y.zip"),
        (settings(endpoint="http://127.0.0.1:8333"), "p", "100%.zip"),
        (settings(endpoint="https://s3.example.org"), None, "剣.7z"),
        (settings(token="session/token+with=signs"), "p", "a.zip"),
    ],
)
def test_the_signature_is_the_one_that_aws_makes(given: dict[str, Any], prefix: str | None, file_name: str) -> None:
    ours = presign_get(given, prefix, "blobs/ab/cd/abcd", seconds=60, file_name=file_name, now=NOW)
    client = boto3.client(
        "s3", endpoint_url=given.get("endpoint"), region_name=given["region"], aws_access_key_id=KEY,
        aws_secret_access_key=SECRET, aws_session_token=given.get("token"),
        config=BotoConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    key = f"{prefix}/blobs/ab/cd/abcd" if prefix else "blobs/ab/cd/abcd"
    theirs = client.generate_presigned_url(
        "get_object",
        Params={"Bucket": "mods", "Key": key, "ResponseContentDisposition": content_disposition(file_name)},
        ExpiresIn=60,
    )
    assert ours.partition("?")[0] == theirs.partition("?")[0]
    assert fields(ours) == fields(theirs)


def test_another_name_key_or_second_makes_another_signature() -> None:
    def signature(**changed: Any) -> str:
        options: dict[str, Any] = {"key": "k", "file_name": "a.zip", "now": NOW} | changed
        url = presign_get(settings(), None, options.pop("key"), seconds=60, **options)
        return fields(url)["X-Amz-Signature"]

    variants: list[dict[str, Any]] = [{}, {"key": "l"}, {"file_name": "b.zip"}, {"now": NOW + dt.timedelta(seconds=1)}]
    assert len({signature(**v) for v in variants}) == len(variants)


def test_the_secret_is_not_in_the_link() -> None:
    assert SECRET not in presign_get(settings(), None, "k", seconds=60, file_name="a.zip", now=NOW)
