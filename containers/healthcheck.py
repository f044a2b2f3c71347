#!/opt/loadstone/bin/python -IS
"""Whether the web server in this container is alive: exit status 0 when /livez answers 200, else 1."""

import http.client
import os
import sys


def main() -> int:
    host = os.environ.get("LOADSTONE_HOST", "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(host, int(os.environ.get("LOADSTONE_PORT", "8000")), timeout=4)
    try:
        connection.request("GET", "/livez")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
