"""What the documents say of commands, files, tests and tables is true of the code."""

import subprocess
import sys
from pathlib import Path

CHECK = Path(__file__).parents[2] / "scripts" / "check_docs.py"


def test_the_documents_are_true_of_the_code() -> None:
    """In a process of its own: other tests make problems and jobs that no client ever sees."""
    done = subprocess.run([sys.executable, str(CHECK)], capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
