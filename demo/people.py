"""People's scores in the demo, so that it shows what happens to drops that somebody has looked at."""

from __future__ import annotations
