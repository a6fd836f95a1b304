"""The ledger's PostgreSQL killed in the middle of every stage and started again: nothing is lost, nothing doubled, and the log says why."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path

import pytest
from answering_grid import AnsweringGrid
from generator_lab import Lab, image_name, make_lab, picture
from killable_postgres import KillablePostgres
from sqlalchemy import Engine, event

from assimilator.assimilate import assimilate
from crystal_search.ledger import open_ledger
from crystal_search.service import Stop, run_service
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.embedded import load_images
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from work_generator.generate import run_round
from work_generator.generator import Generator

SEED = 20261125
#: Kills in each stage; 20 and more show it better, and take their time.
KILLS = int(os.environ.get("CRYSTAL_SEARCH_TEST_KILLS", "5"))
STAGES = ("work-generator", "assimilate", "finalize", "set-autoscore")


@dataclass
class Chain:
    """A lab whose ledger is on the server, and the services as loops over it."""

    lab: Lab
    grid: AnsweringGrid
    server: KillablePostgres
    new: Iterator[tuple[int, ...]] = field(default_factory=lambda: iter(product(range(1, 13), range(1, 9), (1, 2, 3))))

    def image(self) -> None:
        """An imager takes one more image."""
        drop = next(self.new)
        path = self.lab.image(*drop)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(sum(drop)))
        with open_xtaltrak(self.lab.settings.xtaltrak) as xtaltrak:
            load_images(xtaltrak, self.lab.settings.paths.images)

    def run(self, stage: str, kill_at: int = 0) -> int:
        """The service until a round goes well; the server dies before the ``kill_at``-th look or commit. Returns how many there were."""
        steps = count(1)
        taken = 0

        def step(*_: object) -> None:
            nonlocal taken
            taken = next(steps)
            if taken == kill_at:
                self.server.kill()
                self.server.start()

        with open_ledger(self.lab.settings.ledger_url) as ledger, listening("before_cursor_execute", step), listening("commit", step):

            def once(stop: Stop) -> bool:
                with open_xtaltrak(self.lab.settings.xtaltrak) as xtaltrak:
                    table = ScoreTable(xtaltrak, "drop")
                    match stage:
                        case "work-generator":
                            run_round(Generator(self.lab.settings, ledger, xtaltrak, self.grid, stop))
                        case "assimilate":
                            assimilate(self.lab.settings, ledger, self.grid)
                        case "finalize":
                            finalize_round(self.lab.settings, ledger, table, stop)
                        case "set-autoscore":
                            assert set_autoscore_round(self.lab.settings, ledger, table, stop) == []
                stop.set()
                return False

            run_service(stage, once, once=False, seconds=0.01)
        return taken

    def scores(self) -> list[str]:
        """The images with a row in the score table, once for each row."""
        with open_xtaltrak(self.lab.settings.xtaltrak) as xtaltrak:
            return sorted(row.image_name or "" for row in ScoreTable(xtaltrak, "drop").between(0, 2**62))


class listening:  # noqa: N801
    """A hook for the time of a block."""

    def __init__(self, name: str, hook: Callable[..., None]) -> None:
        self._arguments = (Engine, name, hook)

    def __enter__(self) -> None:
        event.listen(*self._arguments)

    def __exit__(self, *_: object) -> None:
        event.remove(*self._arguments)


def test_killed_in_every_stage_and_started_again(tmp_path: Path, postgres: KillablePostgres, caplog: pytest.LogCaptureFixture) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    postgres.empty()
    (tmp_path / "images").mkdir()
    lab = make_lab(tmp_path, [], f'[generator]\nimages_per_work_unit = 1\n[ledger]\nurl = "{postgres.url}"\n')
    grid = AnsweringGrid(tmp_path / "taken")
    chain = Chain(lab, grid, postgres)
    steps = {}
    for _ in range(2):  # undisturbed, to know how many steps there are to be killed at
        chain.image()
        for stage in STAGES:
            steps[stage] = chain.run(stage)
    caplog.set_level(logging.INFO)
    for _ in range(KILLS):
        chain.image()
        for stage in STAGES:
            caplog.clear()
            chain.run(stage, kill_at=chance.randint(1, steps[stage]))
            assert "the database is away or busy" in caplog.text, "one line says what happened"
            assert "works again" in caplog.text
    images = KILLS + 2
    print(steps)
    expected = sorted(image_name(*drop) for drop, _ in zip(product(range(1, 13), range(1, 9), (1, 2, 3)), range(images), strict=False))
    assert chain.scores() == expected, "one row for each image"
    assert len(grid.submitted) == len({name for name, _ in grid.submitted}) == images, "each went out once"
    assert lab.counts() == {"scored": images}
    assert lab.counts("work_units") == {"assimilated": images}
    assert lab.counts("batches") == {"imported": images}
    assert lab.counts("writes") == {"written": images}
    assert len(lab.rows("SELECT image_id FROM artscores")) == len(lab.rows("SELECT sha256 FROM results")) == images
    assert lab.rows("SELECT name FROM batches WHERE leased_by IS NOT NULL") == []
    assert not list(lab.settings.work_units.glob("*")), "no packed work unit is left over"
