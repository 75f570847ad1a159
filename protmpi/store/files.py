"""The files of a store: they are written whole or not at all, and read as untrusted.

Every write of a run goes through `put`: it writes a draft, forces it to the disk and renames it. A kill or a power cut
at any moment leaves the old file or the new one, and at worst a `.NAME.draft`, which the next write replaces.
`Files.sync` forces folders to the disk before a commit counts their files.

A store may come from any source. So only plain files inside it are read, of bounded size, and only chunks that declare
their unpacked size.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from protmpi.errors import StoreError

LARGEST_CHUNK = 1 << 31  # bytes of one chunk in memory
LARGEST_METADATA = 1 << 27  # bytes of one JSON file
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def put(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all. Its folder is not yet forced to the disk."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def publish(path: Path, text: str) -> None:
    """Write a small file. Once this returns, the file survives a power cut."""
    put(path, text.encode())
    sync_folders([path.parent])


def sync_folders(folders: Iterable[Path]) -> None:
    """Force the entries of folders to the disk."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def inspect(path: Path, largest: int) -> None:
    """Raise StoreError unless this is a plain file of at most `largest` bytes; OSError if there is none."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path}: is not a plain file")
    if found.st_size > largest:
        raise StoreError(f"{path}: has {found.st_size} bytes, at most {largest} are allowed")


def read(path: Path, largest: int) -> bytes:
    """Content of a plain file."""
    inspect(path, largest)
    return path.read_bytes()


class Files(LocalStore):
    """The folder of one Zarr store."""

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._touched: set[Path] = set()

    async def set(self, key: str, value: Any) -> None:
        path = self.root / key
        self.root.stat()  # raises if the store was deleted: it is not created again
        await asyncio.to_thread(put, path, value.as_buffer_like())
        self._touched.update(folder for folder in path.parents if folder.is_relative_to(self.root))

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        if not (self.root / key).exists():
            await self.set(key, value)

    def sync(self) -> None:
        """Force every folder that was written into to the disk."""
        sync_folders(sorted(self._touched))
        self._touched.clear()

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        await asyncio.to_thread(self._inspect, key)
        return await super().get(key, prototype, byte_range)

    def _inspect(self, key: str) -> None:
        """Raise StoreError if a file is not what a run writes. A missing file is left to zarr."""
        path = self.root / key
        if not path.exists() or path.is_dir():
            return
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StoreError(f"{path}: leads out of the store")
        if path.name == "zarr.json":
            return inspect(path, LARGEST_METADATA)
        inspect(path, LARGEST_CHUNK)
        with path.open("rb") as file:
            size = unpacked_size(file.read(18))
        if size is None:
            raise StoreError(f"{path}: is damaged; `protmpi verify` reports what is whole")
        if size > LARGEST_CHUNK:
            raise StoreError(f"{path}: unpacks to {size} bytes, at most {LARGEST_CHUNK} are allowed")


def unpacked_size(head: bytes) -> int | None:
    """Unpacked size that a zstd frame declares, None if it declares none (RFC 8878, section 3.1.1.1).

    The decoder allocates this size before it reads the content.
    """
    if len(head) < 6 or head[:4] != ZSTD_MAGIC:
        return None
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    length = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single_segment) + dictionary
    if not length or len(head) < start + length:
        return None
    return int.from_bytes(head[start : start + length], "little") + (256 if length == 2 else 0)
