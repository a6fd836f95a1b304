"""How long results stay: by age and by what they show, never before XtalTrak has them, and what was killed in the middle goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scored_lab import Lab, Shot
from sqlalchemy import select, update

from assimilator.cli import retention
from assimilator.retention import delete_expired, is_over
from crystal_search.classes import CLASSES
from crystal_search.errors import TryAgainLater
from crystal_search.ledger.expiry import StoredResult
from crystal_search.ledger.schema import batches, results, work_units
from crystal_search.service import Stop
from crystal_search.settings import Retention, Settings

NOW = datetime(2026, 6, 1, 12)
DAYS: dict[str, Any] = {"clear": 30, "no_drop": 10, "crystal": 3650}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path).create()


def came(lab: Lab, answers: dict[Shot, str], days_ago: float, *, through: bool = True) -> Path:
    """A result that came so many days before NOW, with its archive; ``through``: XtalTrak has the batch."""
    lab.inspect(*answers)
    batch = lab.batch(answers)
    if through:
        lab.finalize()
        lab.set_autoscore()
    with lab.ledger() as ledger, ledger.begin() as connection:
        unit = connection.execute(select(work_units).join(batches).where(batches.c.name == batch)).one()
        connection.execute(update(results).where(results.c.work_unit_id == unit.id).values(received_at=NOW - timedelta(days=days_ago)))
    path = lab.settings.results / batch / f"{unit.name}.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"pictures")
    return path


def settings_of(lab: Lab, **retention_settings: Any) -> Settings:
    return lab.settings.model_copy(update={"retention": Retention(**({"days": DAYS} | retention_settings))})


def look(lab: Lab, **retention_settings: Any) -> int:
    with lab.ledger() as ledger:
        return delete_expired(settings_of(lab, **retention_settings), ledger, NOW, Stop())


def test_an_archive_of_dull_images_goes_after_its_days_and_not_before(lab: Lab) -> None:
    old = came(lab, {("A01a", 1): "clear", ("A01b", 1): "no_drop"}, 30.5)
    young = came(lab, {("A02a", 1): "clear"}, 29.5)
    assert look(lab) == 1
    assert not old.exists()
    assert young.exists()


def test_the_longest_of_its_images_decides(lab: Lab) -> None:
    with_crystal = came(lab, {("A01a", 1): "clear", ("A01b", 1): "crystals_bad_form"}, 3000)
    older = came(lab, {("A02a", 1): "crystals_bad_form"}, 3651)
    assert look(lab) == 1
    assert with_crystal.exists()
    assert not older.exists()


def test_a_group_that_is_not_named_stays_for_ever(lab: Lab) -> None:
    archives = [came(lab, {(f"A0{n}a", 1): answer}, 36500) for n, answer in enumerate(["precipitate", "unsure", "spherulites"], 1)]
    assert look(lab) == 0
    assert all(path.exists() for path in archives)


def test_nothing_is_deleted_unless_the_settings_say_so(lab: Lab) -> None:
    archive = came(lab, {("A01a", 1): "clear"}, 36500)
    refused = refuse(lab, 36500)
    with lab.ledger() as ledger:
        assert delete_expired(lab.settings, ledger, NOW, Stop()) == 0
    assert archive.exists()
    assert refused.exists()


def test_what_xtaltrak_does_not_have_yet_is_never_deleted(lab: Lab) -> None:
    archive = came(lab, {("A01a", 1): "clear"}, 36500, through=False)
    assert look(lab) == 0
    lab.finalize()  # the CSV is written, the scores are not in XtalTrak
    assert look(lab) == 0
    assert archive.exists()
    lab.set_autoscore()
    assert look(lab) == 1
    assert not archive.exists()


def test_a_failed_image_counts_under_its_own_name(lab: Lab) -> None:
    archive = came(lab, {("A01a", 1): "clear", ("A01b", 1): "failed"}, 100)
    assert look(lab) == 0
    assert look(lab, days=DAYS | {"failed": 101}) == 0
    assert look(lab, days=DAYS | {"failed": 99}) == 1
    assert not archive.exists()


def test_files_that_the_ledger_does_not_know_are_left_alone(lab: Lab) -> None:
    known = came(lab, {("A01a", 1): "clear"}, 100)
    strangers = [
        known.parent / "wu_other_1.zip",
        known.parent / "notes.txt",
        lab.settings.results / "no-batch" / known.name,
        lab.settings.results / "loose.zip",
    ]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"?")
    assert look(lab) == 1
    assert all(path.exists() for path in strangers)


def test_a_second_look_and_one_after_a_kill_find_what_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = [came(lab, {(f"A0{n}a", 1): "clear"}, 100) for n in (1, 2, 3)]
    unlink, calls = Path.unlink, iter(range(10))

    def killed(path: Path, missing_ok: bool = False) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            look(lab)
    assert sum(path.exists() for path in archives) == 2
    assert look(lab) == 2
    assert look(lab) == 0
    assert not any(path.exists() for path in archives)


def test_scores_stay_in_the_ledger_and_in_xtaltrak(lab: Lab) -> None:
    came(lab, {("A01a", 1): "clear"}, 100)
    before = lab.scores()
    assert before
    look(lab)
    lab.finalize()
    lab.set_autoscore()
    assert lab.scores() == before


def refuse(lab: Lab, days_ago: float) -> Path:
    path = lab.settings.refused / f"wu_x_1-{days_ago:.0f}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"garbage")
    at = (NOW - timedelta(days=days_ago) - datetime(1970, 1, 1)).total_seconds()  # NOW is UTC
    os.utime(path, (at, at))
    return path


def test_refused_results_have_days_of_their_own(lab: Lab) -> None:
    old, young = refuse(lab, 91), refuse(lab, 89)
    assert look(lab) == 0
    assert look(lab, refused_days=90) == 1
    assert not old.exists()
    assert young.exists()


def test_asked_to_stop_it_deletes_nothing_more(lab: Lab) -> None:
    archive = came(lab, {("A01a", 1): "clear"}, 100)
    stop = Stop()
    stop.set()
    with lab.ledger() as ledger:
        assert delete_expired(settings_of(lab), ledger, NOW, stop) == 0
    assert archive.exists()


def test_a_disk_that_is_away_is_told_in_one_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    came(lab, {("A01a", 1): "clear"}, 100)

    def away(path: Path) -> Iterator[Path]:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "iterdir", away)
    with pytest.raises(TryAgainLater, match=r"results: can not be read or deleted \(Input/output error\)"):
        look(lab)


def test_every_class_falls_under_a_group_that_the_settings_know() -> None:
    for row in CLASSES:
        assert Retention(days={row.group.value: 1}).days == {row.group.value: 1}  # type: ignore[dict-item]


def test_an_archive_without_images_is_never_over() -> None:
    assert not is_over(StoredResult("wu_x_1", NOW - timedelta(days=9999), frozenset()), DAYS, NOW)


def test_a_clock_that_was_wrong_deletes_nothing() -> None:
    assert not is_over(StoredResult("wu_x_1", NOW + timedelta(days=9999), frozenset({"clear"})), DAYS, NOW)


def test_the_command_lists_before_it_deletes(lab: Lab) -> None:
    archive = came(lab, {("A01a", 1): "clear", ("A01b", 1): "no_drop"}, 100)
    file = lab.root / "crystal-search.toml"
    file.write_text('[paths]\nstate = "state"\n[retention]\ndays = { clear = 30, no_drop = 30 }\n')
    listed = CliRunner().invoke(retention, ["--settings", str(file), "--dry-run"])
    assert listed.exit_code == 0
    assert listed.stdout == f"{archive}  8 bytes  clear, no_drop\nfiles: 1, 0.0 MB\n"
    assert archive.exists()
    assert CliRunner().invoke(retention, ["--settings", str(file), "--once"]).exit_code == 0
    assert not archive.exists()
