"""What goes out late: images whose files have come since they were refused, and work units that the grid has lost."""

from __future__ import annotations

import logging
from contextlib import suppress

from crystal_search.ledger import images as queue
from work_generator.files import RefusedImageError
from work_generator.generator import Generator

_log = logging.getLogger("work-generator")


def send_lost(generator: Generator) -> None:
    """Give the grid again what it should have; a spool may be lost with its disk.

    The packed ZIP of a work unit that has ended goes before the grid forgets it, so that none runs twice.
    """
    with generator.ledger.read() as connection:
        out = queue.submitted_units(connection)
    lost = 0
    for name, priority in out:
        with suppress(FileNotFoundError):  # it has ended meanwhile
            lost += generator.files.is_packed(name) and generator.grid.submit(generator.files.path(name), priority)
    if lost:
        _log.warning("%d work units that the grid had lost are sent again", lost)
        generator.did["sent"] += lost


def claim_late(generator: Generator, scoring: int) -> None:
    """Claim refused images of new inspections whose files are there by now. A file that did not change is not read again."""
    settings = generator.settings.generator
    with generator.ledger.read() as connection:
        missed = queue.late_images(connection, scoring, settings.retry_hours, settings.page)
    come: list[int] = []
    for image in missed:
        if generator.stop.is_set():
            break
        mark = generator.files.mark(image)
        if mark is None or generator.marks.get(image.id) == mark:
            continue
        generator.marks[image.id] = mark
        with suppress(RefusedImageError):
            generator.files.read(image)
            come.append(image.id)
    if come:
        with generator.ledger.begin() as connection:
            count = queue.claim_late(connection, come)
        _log.info("%d images have come late and go out now", count)
        generator.did["claimed"] += count
