"""Some tests need what takes minutes or an installation of its own; they run when they are asked for, and fail clearly without it.

``executable``: the built executable, ``make test-client``. ``compose``: docker compose, ``make test-compose``. ``docker``: an engine,
``make test-docker``. ``boinc_server``: a stock BOINC project that runs, ``make test-boinc``.
``oracle``: a live Oracle, ``make test-oracle``. ``mxnet``: MXNet in an environment of its own, ``make test-mxnet``.
``browser``: Chromium, ``make test-viewer``. ``torch``: Keras on torch, ``make test-torch``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from killable_postgres import KillablePostgres

#: How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_ASKED_FOR = ("executable", "compose", "docker", "mxnet", "browser", "boinc_server", "oracle", "torch")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("markexpr")
    not_asked = [name for name in _ASKED_FOR if name not in asked]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in not_asked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def postgres() -> Iterator[KillablePostgres]:
    """A PostgreSQL server for ledgers; whoever uses it empties it first."""
    server = KillablePostgres()
    try:
        yield server
    finally:
        server.close()
