"""Processes that work for this one and end with it, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Left in the middle of the work, it leaves nobody behind."""
    others = set(multiprocessing.active_children())
    workers = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_attend)
    try:
        yield workers
        workers.shutdown()
    except BaseException:
        workers.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise


def _attend() -> None:
    """A parent that was killed cannot say so: its workers wait for its end, each in a thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
