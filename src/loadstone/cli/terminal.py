"""How commands speak: colours and tables where a person looks, plain text elsewhere."""

import sys
from typing import Final

from rich.console import Console

out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)


def fail(sentence: str, status: int = 1) -> int:
    """One sentence on stderr, and the exit status to return."""
    err.print("[bold red]loadstone:[/] ", end="")
    err.print(sentence, markup=False, soft_wrap=True)
    sys.stderr.flush()
    return status
