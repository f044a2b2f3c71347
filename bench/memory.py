"""Memory of each process of an idle platform with an empty catalogue: proportional set size, in MiB."""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil
from scripts.tour import Tour

LIMITS = {"web worker": 150.0}


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="loadstone-bench-"))
    tour = Tour(folder, None)
    try:
        tour.start()
        for _ in range(50):
            tour.http.get("/api/v1/games")
        time.sleep(3)
        assert tour.process is not None
        top = psutil.Process(tour.process.pid)
        found: dict[str, list[float]] = {}
        web = {c.pid for c in top.children(recursive=True) if " ".join(c.cmdline()).endswith("-m loadstone web")}
        for child in [top, *top.children(recursive=True)]:
            line = " ".join(child.cmdline())
            name = "postgres" if "postgres" in line else line.rsplit("loadstone ", 1)[-1]
            name = "web worker" if child.ppid() in web and "resource_tracker" not in line else name
            name = "other" if "python" in name else name
            found.setdefault(name, []).append(child.memory_full_info().pss / 2**20)
    finally:
        tour.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, values in sorted(found.items()):
        row = {"bench": f"memory {name}", "value": round(max(values), 1), "limit": LIMITS.get(name, 0.0)}
        ratio = round(max(values) / LIMITS[name], 3) if name in LIMITS else None
        print(json.dumps(row | {"ratio": ratio, "unit": "MiB", "processes": len(values)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
