"""Groups of tests: `fast` while one works, `browser` for what needs Chromium, `soak` for what takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

BROWSER = {"test_page"}
SLOW = {  # seconds each: real models, real sockets, real clients
    *(
        "test_bench_suites",
        "test_model",
        "test_engine_bench",
        "test_engine_model",
        "test_demo",
        "test_client",
    ),
    *("test_examples", "test_docs", "test_eyes", "test_train", "test_mouth", "test_mouth_voice", "test_rtc"),
    *(
        "test_server_live",
        "test_server_live_events",
        "test_server_duplex",
        "test_server_pipecat",
        "test_shards",
    ),
    *("test_background_backends", "test_speech_path", "test_container", "test_watch", "test_traces"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = Path(item.path).stem
        if name in BROWSER:
            item.add_marker(pytest.mark.browser)
        elif name not in SLOW and item.get_closest_marker("soak") is None:
            item.add_marker(pytest.mark.fast)
