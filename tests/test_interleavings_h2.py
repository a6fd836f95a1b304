"""Non-interference in Oracle's own statements, on H2: thousands of random schedules, and mutants that they have to find (P28).

``CRYSTAL_SEARCH_SCHEDULES=2000`` runs as many as the project promises, ``500-1000`` a part of them; `make test` runs the first 60, CI all.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from h2_xtaltrak import H2Lab
from interleaving import H2ScoredLab, Mutation, play

from crystal_search.ledger import open_ledger

_ASKED = os.environ.get("CRYSTAL_SEARCH_SCHEDULES", "60").split("-")
SCHEDULES = range(int(_ASKED[0]) if len(_ASKED) == 2 else 0, int(_ASKED[-1]))
#: A mutant that so many schedules do not find counts as not found.
PATIENCE = 400


@pytest.fixture(scope="module")
def lab() -> Iterator[H2ScoredLab]:
    shared_memory = Path("/dev/shm")  # the ledger brings every commit to the disk, which is not what is tried here
    folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    h2 = H2Lab()
    scored = H2ScoredLab(folder)
    with open_ledger(scored.settings.ledger_url) as ledger:
        yield scored.start_h2(h2, ledger)
    h2.close()
    shutil.rmtree(folder)


def test_people_and_importer_at_random(lab: H2ScoredLab) -> None:
    for seed in SCHEDULES:
        try:
            play(lab, seed)
        except Exception as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


def without(pattern: str, replacement: str = "") -> Mutation:
    def change(sql: str) -> str:
        changed, count = re.subn(pattern, replacement, sql, flags=re.DOTALL)
        assert count == 1, "the mutant is out of date"
        return changed

    return change


NO_PERSON = r"\n    AND NOT EXISTS \(\n        SELECT 1\n        FROM I_INSPECTIONS mine.*$"
SCORER = r"\n    AND SCOREDBY = :scorer(?=\n    AND INSPECTID)"


def anybodys(sql: str) -> str:
    return without(NO_PERSON)(without(SCORER)(sql))


MUTANTS: dict[str, Mapping[str, Mutation]] = {
    # the three of the write-back rules
    "the scorer left out of the key": {"score_update": anybodys},
    "a plain UPDATE": {"score_update": without(r"\nWHERE .*$", "\nWHERE SCOREID = :score_id")},
    "NOT EXISTS left out": {"score_insert": without(NO_PERSON)},
    # and of ours
    "protection of the image instead of the drop": {"score_insert": without(":by_drop = 1", ":by_drop = 2")},
    "undo of whatever has our number": {"score_delete": without(r"\nWHERE .*$", "\nWHERE SCOREID = :score_id")},
    "taking out of whatever has our number": {"score_take_out": without(r"\nWHERE .*$", "\nWHERE SCOREID = :score_id")},
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(lab: H2ScoredLab, mutant: str) -> None:
    with pytest.raises(AssertionError, match=r"person|people") as found:  # noqa: PT012 the first that finds it
        for seed in range(PATIENCE):
            play(lab, seed, MUTANTS[mutant])
    print(f"{mutant}: schedule {seed}: {found.value}")
