"""AWS Signature Version 4 for one query-signed GET, with ``response-content-disposition``.

obstore signs plain URLs only; S3 takes the download's name as a signed query parameter. Source: AWS
Signature Version 4, "Authenticating Requests: Using Query Parameters".
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit


def presign_get(
    settings: Mapping[str, Any],
    prefix: str | None,
    key: str,
    *,
    seconds: int,
    file_name: str,
    now: dt.datetime | None = None,
) -> str:
    """The signed URL of an object. ``settings`` is an obstore ``S3Config``."""
    from loadstone.kernel.blobs import content_disposition

    now = now or dt.datetime.now(dt.UTC)
    region = settings["region"]
    bucket = settings["bucket"]
    endpoint = settings.get("endpoint") or f"https://s3.{region}.amazonaws.com"
    parts = urlsplit(endpoint)
    path = "/".join(p for p in (parts.path.strip("/"), bucket, prefix or "", key) if p)
    canonical_path = "/" + quote(path, safe="/-_.~")
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{settings['access_key_id']}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
        "response-content-disposition": content_disposition(file_name),
    }
    if settings.get("token"):
        query["X-Amz-Security-Token"] = settings["token"]
    canonical_query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
    request = f"GET\n{canonical_path}\n{canonical_query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signing_key = f"AWS4{settings['secret_access_key']}".encode()
    for part in (stamp[:8], region, "s3", "aws4_request"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
    return f"{parts.scheme}://{parts.netloc}{canonical_path}?{canonical_query}&X-Amz-Signature={signature}"
