"""Claims: each image once for a model and its settings, whoever asks at the same time."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

from crystal_search.archives import ModelReference
from crystal_search.ledger import Ledger, open_ledger, searches
from crystal_search.ledger import images as queue
from crystal_search.ledger.schema import images
from crystal_search.plate import Drop, Inspection, InspectionImage, Well
from crystal_search.settings import Scoring, Search
from crystal_search.xtaltrak.images import Key

MODEL = ModelReference(name="m", sha256="0" * 64)


def some_images(count: int) -> list[tuple[InspectionImage, str | None]]:
    inspection = Inspection("P", 1, datetime(2024, 1, 1, 12))
    return [(InspectionImage(number, f"{number}.jpg", Drop("P", Well(1, 1), 1), inspection), None) for number in range(count)]


#: A PostgreSQL database that may be emptied; these tests then run on both.
POSTGRESQL = os.environ.get("CRYSTAL_SEARCH_TEST_POSTGRESQL")


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRESQL else ["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger's URL."""
    if request.param == "sqlite" or POSTGRESQL is None:
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with open_ledger(POSTGRESQL) as ledger, ledger.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return POSTGRESQL


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as opened:
        yield opened


def scoring(ledger: Ledger, settings_json: str = "{}") -> int:
    with ledger.begin() as connection:
        return queue.scoring_id(connection, MODEL, settings_json)


def test_a_scoring_is_its_model_and_settings(ledger: Ledger) -> None:
    assert scoring(ledger) == scoring(ledger)
    assert scoring(ledger, '{"step":50}') != scoring(ledger)


def test_the_same_request_is_the_same_text() -> None:
    assert queue.scoring_json(Scoring()) == '{"chops":5,"overlays":["all"],"step":null,"threshold":null}'
    assert queue.scoring_json(Scoring(overlays=["crystal", "clear"])) == queue.scoring_json(Scoring(overlays=["clear", "crystal", "clear"]))
    assert queue.scoring_json(Scoring(threshold=0.8)) != queue.scoring_json(Scoring(threshold=0.85))


def test_claiming_twice_claims_once(ledger: Ledger) -> None:
    number = scoring(ledger)
    with ledger.begin() as connection:
        first = queue.claim(connection, number, "s", 0, some_images(4))
    assert first is not None
    assert (first.claimed, first.refused) == (4, ())
    with ledger.begin() as connection:
        assert queue.claim(connection, number, "s", 0, some_images(4)) is None
        more = queue.claim(connection, number, "s", 0, some_images(6))
        assert more is not None
        assert more.claimed == 2
    with ledger.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM batches")).scalar() == 2  # an empty claim leaves no batch


def test_another_model_or_setting_is_another_pass(ledger: Ledger) -> None:
    for settings_json in ("{}", '{"step":50}'):
        number = scoring(ledger, settings_json)
        with ledger.begin() as connection:
            claimed = queue.claim(connection, number, "s", 0, some_images(3))
            assert claimed is not None
            assert claimed.claimed == 3


def test_the_name_of_a_batch_can_be_part_of_a_work_units_name(ledger: Ledger) -> None:
    number = scoring(ledger)
    with ledger.begin() as connection:
        claimed = queue.claim(connection, number, "s", 0, some_images(1))
        batch = queue.next_batch(connection, 0)
        assert claimed is not None
        assert batch is not None
        unit = queue.start_unit(connection, batch, queue.claimed_images(connection, batch, 5))
    assert unit.name == f"wu_{claimed.batch}_1"


def claim_in_pages(url: str, pages: Iterable[int], together: Barrier) -> None:
    with open_ledger(url) as ledger:
        number = scoring(ledger)
        for page in pages:
            together.wait(120)
            with ledger.begin() as connection:
                queue.claim(connection, number, f"by {os.getpid()}", 0, some_images(300)[20 * page : 20 * page + 20])


def test_two_programs_claim_no_image_twice(url: str) -> None:
    open_ledger(url).close()
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(2)  # each page at the same moment, in the middle the same page
    both = [processes.Process(target=claim_in_pages, args=(url, pages, together)) for pages in (range(15), range(14, -1, -1))]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    with open_ledger(url) as ledger, ledger.read() as connection:
        names = connection.execute(select(images.c.image_name)).scalars().all()
        searches = connection.execute(text("SELECT search, count(*) FROM batches GROUP BY search")).all()
    assert Counter(names) == Counter({f"{number}.jpg": 1 for number in range(300)})
    assert len(searches) == 2  # both have claimed some


def test_a_cursor_never_moves_back(ledger: Ledger) -> None:
    number = scoring(ledger)
    with ledger.begin() as connection:
        assert searches.read_cursor(connection, number, "s") is None
        for key, stays in [(Key(5, "b"), Key(5, "b")), (Key(5, "a"), Key(5, "b")), (Key(4, "z"), Key(5, "b")), (Key(6, "a"), Key(6, "a"))]:
            searches.move_cursor(connection, number, "s", key)
            assert searches.read_cursor(connection, number, "s") == stays
        assert searches.read_cursor(connection, number, "other") is None
        searches.forget_cursors(connection, number)
        assert searches.read_cursor(connection, number, "s") is None


def test_a_search_is_known_by_what_it_restricts() -> None:
    first = Search(name="a", priority="archive")
    assert searches.search_sha256(first, "drop") == searches.search_sha256(Search(name="b", priority="realtime"), "drop")
    assert searches.search_sha256(first, "drop") != searches.search_sha256(Search(name="a", barcode="CI*"), "drop")
    assert searches.search_sha256(first, "drop") != searches.search_sha256(first, "image")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_waiting_images_are_found_by_index(ledger: Ledger) -> None:
    # not by reading fifteen million rows, nor the ten thousand of a batch for each work unit
    number = scoring(ledger)
    asked: list[tuple[str, object]] = []
    with ledger.begin() as connection:
        event.listen(connection, "before_cursor_execute", lambda c, cursor, sql, parameters, *_: asked.append((sql, parameters)))
        queue.claim(connection, number, "s", 0, some_images(2))
        connection.exec_driver_sql("ANALYZE")  # of a young table: what SQLite then believes has misled it before
        asked.clear()
        batch = queue.next_batch(connection, 0)
        assert batch is not None
        assert len(queue.claimed_images(connection, batch, 5)) == 2
        plans = [str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).all()) for sql, parameters in list(asked)]
    assert len(plans) == 2
    for plan in plans:
        assert "images USING COVERING INDEX ix_images_batch (batch_id=? AND state=?)" in plan.replace("USING INDEX", "USING COVERING INDEX")
        assert "SCAN images" not in plan
