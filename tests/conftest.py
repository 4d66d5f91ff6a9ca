"""Groups of tests: `fast` while one works, `browser` for what needs Chromium, `soak` for what takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

BROWSER = {"test_page", "test_background_page"}
SLOW = {  # seconds each: real models, real sockets, real clients
    f"test_{name}"
    for name in (
        *("background_backends", "bench_suites", "bench_targets", "client", "container", "demo", "docs"),
        *("engine_bench", "engine_model", "examples", "eyes", "journal", "model", "mouth", "mouth_voice"),
        *("rtc", "server_duplex", "server_live", "server_live_events", "server_pipecat", "shards"),
        *("speech_path", "traces", "train", "watch"),
    )
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = Path(item.path).stem
        if name in BROWSER:
            item.add_marker(pytest.mark.browser)
        elif name not in SLOW and item.get_closest_marker("soak") is None:
            item.add_marker(pytest.mark.fast)
