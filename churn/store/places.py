"""Files of a store by name: in a folder on this machine or in an object store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from churn.errors import StoreError
from churn.store import objects
from churn.store.files import write_atomically


@dataclass(frozen=True)
class Place:
    """A folder on this machine, or a prefix in an object store.

    Every method raises StoreError if the place can't be reached, read or written. Names
    are relative to the place, with "/" between their parts.

    Attributes
    ----------
    address: absolute path, or URL without a slash at its end.
    """

    address: str

    @property
    def is_local(self) -> bool:
        """Whether the place is a folder on this machine."""
        return not objects.is_url(self.address)

    def below(self, *parts: str) -> str:
        """Path or URL of a file or folder inside the place, which need not exist."""
        if self.is_local:
            return str(Path(self.address, *parts))
        names = filter(None, parts)
        return "/".join([self.address, *names])

    def read(self, name: str) -> bytes | None:
        """Content of a file; null if there is none."""
        found = self.tagged(name)
        if found is None:
            return None
        content, _ = found
        return content

    def tagged(self, name: str) -> tuple[bytes, str] | None:
        """Content of a file and its entity tag, for ``write_if``; null if none."""
        address = self.below(name)
        with self._explained(name):
            if not self.is_local:
                return objects.get(address)
            try:
                content = Path(address).read_bytes()
            except FileNotFoundError:
                return None
            digest = hashlib.sha256(content).hexdigest()
            return content, digest

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in one step: after a crash it is wholly old or wholly new."""
        address = self.below(name)
        with self._explained(name):
            if self.is_local:
                write_atomically(Path(address), content)
            else:
                objects.put(address, content)

    def create(self, name: str, content: bytes) -> None:
        """Write a file that nobody reads before ``Store.commit``, which syncs the disk.

        Its name must be new: after a crash it may be cut off.
        """
        address = self.below(name)
        with self._explained(name):
            if self.is_local:
                Path(address).parent.mkdir(parents=True, exist_ok=True)
                Path(address).write_bytes(content)
            else:
                objects.put(address, content)

    def write_if(self, name: str, content: bytes, tag: str | None) -> bool:
        """Replace a file if its entity tag is still ``tag``; null: if there is none.

        Returns whether the file was replaced. Two writers must not write the same
        content. In a folder, the check and the replacement are two steps, so the caller
        must hold the store's lock; in an object store they are one.
        """
        if not self.is_local:
            address = self.below(name)
            with self._explained(name):
                return objects.put_if(address, content, tag)
        found = self.tagged(name)
        current = found[1] if found else None
        if current != tag:
            return False
        self.write(name, content)
        return True

    def names(self, prefix: str = "") -> list[str]:
        """Sorted names of all files below a folder of the place, by default of all.

        Temporary files of ``write_atomically`` are left out.
        """
        with self._explained(prefix):
            if self.is_local:
                return sorted(self._local_names(prefix))
            _, root = objects.split(self.address)
            keys = [item["path"] for item in objects.listed(self.below(prefix))]
            return sorted(key.removeprefix(root).lstrip("/") for key in keys)

    def remove(self, *names: str) -> None:
        """Remove files; those that do not exist are passed over."""
        addresses = [self.below(name) for name in names]
        if not self.is_local:
            with self._explained(""):
                objects.delete(*addresses)
            return
        for name, address in zip(names, addresses, strict=True):
            with self._explained(name):
                Path(address).unlink(missing_ok=True)

    def remove_below(self, folder: str) -> None:
        """Remove a folder with all its files, as far as there is one."""
        if self.is_local:
            shutil.rmtree(self.below(folder), ignore_errors=True)
        else:
            self.remove(*self.names(folder))

    @property
    def delta_options(self) -> dict[str, str]:
        """Storage options for deltalake to open tables at this place."""
        if self.is_local:
            return {}
        objects.leave_the_proxy_out()
        return objects.DELTA_OPTIONS

    @property
    def polars_options(self) -> dict[str, int]:
        """Storage options for polars to scan Parquet files at this place."""
        if self.is_local:
            return {}
        objects.leave_the_proxy_out()
        return objects.POLARS_OPTIONS

    def _local_names(self, prefix: str) -> Iterator[str]:
        root = Path(self.address)
        for file in root.joinpath(prefix).rglob("*"):
            is_temporary = file.name.startswith(".") and file.suffix == ".tmp"
            if file.is_file() and not is_temporary:
                yield file.relative_to(root).as_posix()

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        address = self.below(name)
        if not self.is_local:
            with objects.explained(address, StoreError):
                yield
            return
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(f"{address} can't be used ({reason})") from None
