"""What all tests share: where the reference data lies, and settings of the property tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the reference data, which is not part of the repository; the test is skipped without it."""
    path = Path(os.environ.get("DR_PERCEPTION_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"reference data not found at {path} (set DR_PERCEPTION_SHARED)")
    return path
