"""Tests of the executable need a build that takes minutes: they run when they are asked for, ``make test-client``."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "executable" in config.getoption("markexpr"):
        return
    left_out = [item for item in items if "executable" in item.keywords]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
