"""Law 8 and the document: generated requests to every operation meet no server error and nothing undocumented."""

import threading

import pytest

from loadstone.kernel.config import Config
from tests.http import contract


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_operation_keeps_what_the_document_says(config: Config) -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(contract.check(config, examples=3, seed=1)))
    thread.start()  # its own event loops, apart from the session's
    thread.join()
    assert not found, "\n".join(found)
