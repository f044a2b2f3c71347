"""Runs every bench, one after the other, and prints their JSON lines together at the end.

``python -m bench`` runs all, ``python -m bench upload mod_page`` some.
"""

import json
import subprocess
import sys
import time

BENCHES = ("memory", "mod_page", "download", "upload", "import_ckan", "compat", "archives")


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        print(f"There is no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    lines, status = [], 0
    for name in wanted or BENCHES:
        began = time.monotonic()
        print(f"• {name} …", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], capture_output=True, text=True, check=False)
        found = [line for line in done.stdout.splitlines() if line.startswith('{"bench"')]
        lines += found
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
        if done.returncode != 0 or not found:
            status = 1
            print(done.stdout[-1000:], done.stderr[-2000:], file=sys.stderr)
    for line in lines:
        row = json.loads(line)
        print(f"{row['bench']:<28} {row['value']:>14} of {row['limit']:>14}   ratio {row['ratio']}", file=sys.stderr)
        print(line)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
