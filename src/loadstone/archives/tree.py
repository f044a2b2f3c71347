"""The folder that an archive would become: every name in it once, on every file system."""

from __future__ import annotations

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import canonical, collision_key, shown


class PathTree:
    """Collects an archive's names and refuses the first that meets another.

    Law: no two names are one file anywhere. A file is met by a file or folder of the same key; a folder may
    be implied by many files, but declared only once.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._files: dict[str, str] = {}
        self._declared: dict[str, str] = {}
        self._implied: dict[str, str] = {}
        self.mixed_case: str = ""
        """A folder that is spelled in two ways by its files, which is one folder on Windows and two on Linux.
        """

    @property
    def directories(self) -> int:
        return len(self._declared)

    def __len__(self) -> int:
        return len(self._files) + len(self._declared)

    def add_file(self, name: str) -> str:
        """The canonical path of a file. Raises RefusedError for a bad or colliding name."""
        path = canonical(name, self._limits)
        if not path:
            raise RefusedError("path-empty", "A file has no name.")
        key = collision_key(path)
        self._meet(self._files, key, path)
        self._meet(self._implied, key, path)
        self._files[key] = path
        self._count()
        self._imply(path, key)
        return path

    def add_directory(self, name: str) -> str:
        """The canonical path of a folder, empty for the root itself."""
        path = canonical(name, self._limits)
        if not path:
            return path
        key = collision_key(path)
        self._meet(self._files, key, path)
        self._meet(self._declared, key, path)
        self._declared[key] = path
        self._count()
        self._imply(f"{path}/", f"{key}/")
        return path

    def _count(self) -> None:
        if len(self) > self._limits.max_entries:
            raise RefusedError("too-many-entries", f"The archive has more than {self._limits.max_entries} entries.")

    def _imply(self, path: str, key: str) -> None:
        """Note the parents of `path`, nearest first, until one is known."""
        while True:
            path, slash, _ = path.rpartition("/")
            if not slash:
                return
            key = key.rpartition("/")[0]
            known = self._implied.get(key)
            if known is not None:
                if known != path:
                    self.mixed_case = path
                return
            self._meet(self._files, key, path)
            self._implied[key] = path

    @staticmethod
    def _meet(names: dict[str, str], key: str, path: str) -> None:
        other = names.get(key)
        if other is None:
            return
        if other == path:
            raise RefusedError("path-duplicate", f"{shown(path)} occurs twice in the archive.")
        raise RefusedError("path-collision", f"{shown(path)} and {shown(other)} are the same name on Windows or macOS.")
