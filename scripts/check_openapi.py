"""Compares the OpenAPI document of the code with the committed one, so that no change of the API is silent."""

import difflib
import json
import sys
from pathlib import Path

from loadstone.http.app import openapi_document

COMMITTED = Path(__file__).parents[1] / "docs" / "openapi.json"


def main(*, write: bool) -> int:
    now = json.dumps(openapi_document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if write:
        COMMITTED.write_text(now, "utf-8")
        return 0
    before = COMMITTED.read_text("utf-8") if COMMITTED.exists() else ""
    if now == before:
        return 0
    lines = list(difflib.unified_diff(before.splitlines(), now.splitlines(), "committed", "code", lineterm="", n=2))
    print("\n".join(lines[:80]))
    print(f"The API changed ({len(lines)} lines of difference). If that is meant: make openapi, and commit.")
    return 1


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv))
