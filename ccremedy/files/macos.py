"""macOS: swaps by renamex_np, everything beside the bytes by fcopyfile, and syncs that reach the disk."""

from __future__ import annotations

import errno
import os
import sys

assert sys.platform == "darwin"

from ccremedy.files.posix import Posix

_NO_REPLACE, _EXCHANGE = 4, 2  # sys/stdio.h: RENAME_EXCL, RENAME_SWAP
_METADATA = 1 << 0 | 1 << 1 | 1 << 2  # copyfile.h: COPYFILE_ACL, COPYFILE_STAT, COPYFILE_XATTR


class Macos(Posix):
    def folder_obstacle(self, path: str) -> str:
        fixed = 0x2 | 0x4 | 0x20000 | 0x40000  # sys/stat.h: UF_IMMUTABLE, UF_APPEND, SF_IMMUTABLE, SF_APPEND
        return "is immutable (chflags uchg)" if os.lstat(path).st_flags & fixed else ""

    def exchange(self, scratch: str, target: str) -> bool:
        """Swap two files in one step. False where the file system cannot (HFS+, network drives)."""
        return renamex_np(scratch, target, _EXCHANGE)

    def rename_to_free(self, source: str, destination: str) -> bool:
        """Rename, and FileExistsError rather than overwrite. False where the file system cannot."""
        return renamex_np(source, destination, _NO_REPLACE)
