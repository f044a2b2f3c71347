"""Brings the Debian packages that tests need a real program of; says in one sentence what is missing."""

import os
import shutil
import subprocess
import sys

PROGRAMS = {  # program → (where it may lie, Debian package)
    "chromium": (["chromium", "chromium-browser", "google-chrome"], "chromium"),
    "nginx": (["nginx", "/usr/sbin/nginx"], "nginx-light"),
}


def main(wanted: list[str]) -> int:
    missing = [name for name in wanted if not any(shutil.which(p) for p in PROGRAMS[name][0])]
    if not missing:
        return 0
    packages = [PROGRAMS[name][1] for name in missing]
    if shutil.which("apt-get") and os.geteuid() == 0:
        print(f"• installing {', '.join(packages)} with apt-get", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *packages]):
            done = subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
            if done.returncode != 0:
                break
        else:
            return 0
    print(f"Not here: {', '.join(missing)}. Tests that need one are skipped; install {' '.join(packages)} to run them.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
