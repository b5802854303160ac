"""Copying a live environment to a file without crowding out other writes to the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 1 << 20
PIECE = 4 * CHUNK  # bytes that may wait for the disk


def paced_copy(copy: Callable[[int], object], target: Path, *, mib_s: float) -> None:
    """Write what `copy` sends, piece by piece, each on disk before the next.

    Args:
        copy: writes everything to a file descriptor, in order.
        target: the file to make.
        mib_s: most MiB in a second.

    Raises:
        OSError: the disk is full or refuses; then `copy` is told that nobody reads any more.
    """
    source, sink = os.pipe()

    def send() -> None:
        try:
            copy(sink)
        finally:
            os.close(sink)

    with ThreadPoolExecutor(1, thread_name_prefix="muma-copy") as pool:
        sending = pool.submit(send)
        with os.fdopen(source, "rb", buffering=0) as stream, target.open("wb", buffering=0) as out:
            began, written, synced = time.monotonic(), 0, 0
            while chunk := stream.read(CHUNK):
                view = memoryview(chunk)
                while view:
                    view = view[out.write(view) :]
                written += len(chunk)
                if written - synced >= PIECE:
                    os.fdatasync(out.fileno())
                    synced = written
                    time.sleep(max(began + written / (mib_s * (1 << 20)) - time.monotonic(), 0))
        sending.result()
