"""The reader of a process: which generation is current, is it still the newest commit, one thread pool."""

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from loadstone.discovery.generations import Generations
from loadstone.discovery.index import TantivyIndex, open_index, reraise_if_ours
from loadstone.discovery.models import After, Found, IndexMissingError, SearchBuildingError, Sort, Wanted
from loadstone.kernel.errors import UnavailableError
from loadstone.kernel.platform import Platform

_log = structlog.get_logger()

THREADS: Final = 2
MOST_WAITING: Final = 64
"""Searches that may wait for a thread; more are turned away before any work is done."""
MOST_OPEN: Final = 4
"""Data folders whose index one process keeps open: one in service, a few in tests."""


class Searcher:
    """Searches the current generation of a data folder and follows its commits and switches."""

    def __init__(self, data: Path) -> None:
        self._generations = Generations(data)
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="search")
        self._waiting = 0
        self._name: str | None = None
        self._mark: tuple[int, int, int] | None = None
        self._index: TantivyIndex | None = None

    async def find(self, wanted: Wanted, sort: Sort, after: After, limit: int) -> Found:
        """Raises :class:`SearchBuildingError` without an index, :class:`UnavailableError` when overrun."""
        if self._waiting >= MOST_WAITING:
            raise UnavailableError("Too many searches at once; try again shortly.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._find, wanted, sort, after, limit)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _find(self, wanted: Wanted, sort: Sort, after: After, limit: int) -> Found:
        index = self._current()
        try:
            return index.find(wanted, sort, after, limit)
        except BaseException as error:
            reraise_if_ours(error)
            self._judge(index)
            raise RuntimeError(f"the search failed on a sound index: {str(error)[:200]}") from error

    def _judge(self, index: TantivyIndex) -> None:
        """Is it the index or the question that is at fault? Raises when it is the index."""
        try:
            index.check()
        except BaseException as error:
            reraise_if_ours(error)
            raise self._broken(error) from error

    def _current(self) -> TantivyIndex:
        """The index as of its last commit: two looks at the disk, and no more when nothing changed."""
        with self._lock:
            name = self._generations.current()
            mark = self._generations.mark(name) if name is not None else None
            if name is None or mark is None:
                self._index = None
                raise SearchBuildingError()
            try:
                if self._index is None or name != self._name:
                    self._index = open_index(self._generations.path(name))
                elif mark != self._mark:
                    self._index.refresh()
            except BaseException as error:
                reraise_if_ours(error)
                self._name = name
                raise self._broken(error) from error
            self._name, self._mark = name, mark
            return self._index

    def _broken(self, error: BaseException) -> SearchBuildingError:
        self._index = None
        name = self._name
        if name is not None and self._generations.current() == name:
            self._generations.call_broken(name)
        why = error.__cause__ if isinstance(error, IndexMissingError) else error
        _log.error("search_index_broken", generation=name, error=str(why)[:300])
        return SearchBuildingError()


_SEARCHERS: Final[OrderedDict[Path, Searcher]] = OrderedDict()


def open_searcher(platform: Platform) -> Searcher:
    """The process's searcher for the platform's data folder, opened on first use.

    It holds memory-mapped files and two threads, so it is shared by all requests; it is kept here and not in
    the platform because the kernel knows nothing of searching.
    """
    data = platform.config.data.absolute()
    searcher = _SEARCHERS.get(data)
    if searcher is None:
        searcher = _SEARCHERS[data] = Searcher(data)
        while len(_SEARCHERS) > MOST_OPEN:
            _SEARCHERS.popitem(last=False)[1].close()
    return searcher
