"""Processes of a benchmark that was stopped do not outlive it, however it was stopped."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from microturn.bench.pool import pool

ABANDONED = """
import time
from microturn.bench.pool import pool
if __name__ == "__main__":
    with pool(1) as workers:
        workers.submit(print, "at work", flush=True).result()
        workers.submit(time.sleep, 600).result()
"""


def stopped() -> None:
    with pool(1) as workers:
        assert workers.submit(abs, -1).result() == 1
        workers.submit(time.sleep, 600)
        raise KeyboardInterrupt


def test_who_is_left_in_the_middle_of_the_work_ends() -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped()
    for child in multiprocessing.active_children():
        child.join(20)
        assert not child.is_alive()


def test_who_was_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    """The output ends when nobody is left who could write."""
    script = tmp_path / "abandoned.py"
    script.write_text(ABANDONED)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.kill()
    assert process.communicate(timeout=60)[0] == ""
