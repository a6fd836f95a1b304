"""Inputs as an enemy would make them, by the hundred thousand: ``python -m tests.fuzz`` (README.md)."""

import sys
from pathlib import Path

# Where the tests' own helpers lie, also for a program that is not pytest.
if (_helpers := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, _helpers)
