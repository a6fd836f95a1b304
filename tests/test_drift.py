"""Drift: what the latest week of an imager's plates looks like beside those before."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from generator_lab import image_name, make_lab
from sqlalchemy import Connection, insert

from crystal_search.cli import crystal_search
from crystal_search.drift import LEAST, SHIFT, Seen, Stratum, periods, read_seen, shifts, stability
from crystal_search.ledger.schema import artscores, batches, images, scorings

NOW = datetime(2026, 11, 25, 12)
A = Stratum("m", "222", "CI")


def seen(count: int, days: float, outcome: str = "clear", crystal: float = 0.1, area: float = 1e5) -> list[Seen]:
    """``count`` pictures of ``days`` days ago, of which each third has another outcome."""
    spread = np.linspace(0.5, 1.5, count)
    return [
        Seen(NOW - timedelta(days=days), outcome if n % 3 else "precipitate", crystal * spread[n], area * spread[n]) for n in range(count)
    ]


def test_the_index_by_hand() -> None:
    # shares 0.75, 0.25 and 0.5, 0.5 (half an image is added to each bin): 0.25 ln 1.5 - 0.25 ln 0.5
    assert stability(np.array([74.5, 24.5]), np.array([49.5, 49.5])) == pytest.approx(0.25 * math.log(1.5) + 0.25 * math.log(2))


def test_nothing_is_said_where_nothing_changed_or_too_little_is_known() -> None:
    assert shifts({A: seen(200, 30) + seen(200, 1)}) == []
    assert shifts({A: seen(200, 30) + seen(LEAST - 1, 1, "no_drop", 0.9, 9e5)}) == []
    assert shifts({A: seen(LEAST - 1, 30) + seen(200, 1, "no_drop", 0.9, 9e5)}) == []


def test_a_shift_of_each_figure_is_found_alone() -> None:
    before = seen(200, 30)
    (outcome,) = shifts({A: before + seen(200, 1, "no_drop")})
    assert (outcome.what, outcome.before, outcome.latest) in (
        ("share of no_drop", 0.0, pytest.approx(133 / 200)),
        ("share of clear", pytest.approx(133 / 200), 0.0),
    )
    (crystal,) = shifts({A: before + seen(200, 1, crystal=0.4)})
    assert (crystal.what, crystal.before, crystal.latest) == ("median crystal probability", pytest.approx(0.1), pytest.approx(0.4))
    (area,) = shifts({A: before + seen(200, 1, area=5e4)})
    assert (area.what, area.images, area.since) == ("median px of the drop's box", 200, NOW - timedelta(days=8))


def test_another_imager_is_compared_with_itself() -> None:
    other = Stratum("m", "223", "CI")
    assert shifts({A: seen(200, 30), other: seen(200, 1, "no_drop", 0.9, 9e5)}) == []


def test_two_samples_of_one_distribution_seldom_shift() -> None:
    rng = np.random.default_rng(0)
    names = ("crystal", "precipitate", "other", "clear", "unsure", "no_drop")

    def draw(days: float) -> list[Seen]:
        when = NOW - timedelta(days=days)
        return [Seen(when, str(rng.choice(names)), float(rng.random()), float(rng.normal(1e5, 1e4))) for _ in range(LEAST + 50)]

    found = [shift for _ in range(40) for shift in shifts({A: draw(30) + draw(1)})]
    assert len(found) <= 3
    assert SHIFT == 0.25


def fill(connection: Connection, days_ago: float, count: int, status: str, box: str | None, first: int) -> None:
    """Scores of ``count`` pictures in the ledger."""
    when = NOW - timedelta(days=days_ago)
    rows = [
        {
            "id": number, "scoring_id": 1, "batch_id": 1, "inspection_id": number, "image_name": image_name(1 + number % 12, 1, 1),
            "barcode": "CI022987", "plate_column": 1, "plate_row": 1, "subwell": 1, "inspection_number": 1,
            "inspected_at": when, "state": status,
        }
        for number in range(first, first + count)
    ]  # fmt: skip
    connection.execute(insert(images), rows)
    class_name = "clear" if status == "scored" else None
    connection.execute(
        insert(artscores),
        [
            {
                "image_id": row["id"],
                "status": status,
                "class_name": class_name,
                "crystal_probability": 0.1,
                "drop_box": box,
                "scored_at": NOW,
            }
            for row in rows
        ],
    )


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    lab = make_lab(tmp_path)
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(insert(scorings), {"id": 1, "model_name": "m", "model_sha256": "0" * 64, "settings": "{}", "created_at": NOW})
        batch = {"id": 1, "name": "b", "scoring_id": 1, "search": "s", "priority": 0, "state": "open", "created_at": NOW, "changed_at": NOW}
        connection.execute(insert(batches), batch)
        fill(connection, 30, 150, "scored", "0,0,400,300", 1)
        fill(connection, 1, 120, "no_drop", None, 1000)
        fill(connection, 1, 5, "failed", None, 2000)
    return lab.settings_file


def test_status_shows_one_line_and_json_has_it(settings_file: Path) -> None:
    done = CliRunner().invoke(crystal_search, ["status", "--settings", str(settings_file)])
    flat = " ".join(done.output.split())
    assert "drift: imager 222, plates CI, model m: share of" in flat
    assert "since 2026-11-17" in flat
    found = json.loads(CliRunner().invoke(crystal_search, ["status", "--settings", str(settings_file), "--json"]).output)
    assert len(found["drift"]) == 1


def test_the_command_shows_every_week(settings_file: Path) -> None:
    done = CliRunner().invoke(crystal_search, ["drift", "--settings", str(settings_file)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    weeks = [line.split()[:5] for line in done.output.splitlines() if line.startswith("2026-")]
    assert weeks == [["2026-10-26", "222", "CI", "m", "150"], ["2026-11-23", "222", "CI", "m", "120"]]


def test_weeks_begin_on_monday_and_failed_images_say_nothing(settings_file: Path) -> None:
    from crystal_search.ledger import open_existing_ledger
    from crystal_search.settings import load_settings

    with open_existing_ledger(load_settings(settings_file).ledger_url) as ledger, ledger.read() as connection:
        strata = read_seen(connection)
        assert len(read_seen(connection, 7)[A]) == 7
    assert {str(stratum) for stratum in strata} == {"imager 222, plates CI, model m"}
    first, second = periods(strata)
    assert (first.images, first.area, first.shares[3]) == (150, 120_000.0, 1.0)
    assert (second.images, second.shares[5]) == (120, 1.0)
    assert math.isnan(second.area)
