"""The page in a real browser: Chromium with a recording for a microphone and a film for a camera."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import microturn.server

WEB = Path(microturn.server.__file__).parent / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs PyPI playwright (make setup)")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
TSC = shutil.which("tsc")


@pytest.mark.skipif(TSC is None, reason="needs npm's typescript: npm install --global typescript")
def test_modules_are_typed() -> None:
    checked = subprocess.run([str(TSC), "-p", WEB / "jsconfig.json"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
