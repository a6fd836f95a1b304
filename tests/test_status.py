"""`crystal-search status`: how far each stage is, and why images stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from generator_lab import Lab, image_name, make_lab
from sqlalchemy import text

from crystal_search.errors import UsageError
from crystal_search.status import status


def told(lab: Lab, *options: str) -> str:
    result = CliRunner().invoke(status, ["--settings", str(lab.settings_file), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_without_a_ledger_it_says_so_and_makes_none(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    with pytest.raises(UsageError, match="no ledger at"):
        told(lab)
    assert not list(tmp_path.rglob("ledger.sqlite"))


def test_before_anything_has_happened(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.ledger().close()
    found = json.loads(told(lab, "--json"))
    assert set(found["images"].values()) | set(found["work_units"].values()) | set(found["batches"].values()) == {0}
    assert found["reasons"] == found["refused_results"] == found["last_writes"] == []


def test_counts_and_reasons(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.image(1, 1, 1).unlink()
    lab.image(1, 2, 1).unlink()
    lab.image(1, 3, 1).write_bytes(b"")
    lab.round()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(
            text("UPDATE images SET state = 'failed', reason = 'the client [red]stopped[/red]' WHERE image_name = :name"),
            {"name": image_name(2, 1, 1)},
        )
        connection.execute(
            text("INSERT INTO refusals (work_unit, reason, file, at) VALUES ('wu_x_1', 'not a ZIP', 'f', '2026-01-01 00:00:00')")
        )
        connection.execute(
            text(
                "INSERT INTO writes (batch_id, image_id, score_id, inspection_id, action, after, payload_sha256, state, written_at) "
                "VALUES (1, 1, 1, 1, 'insert', '{}', '', 'written', '2026-01-02 03:04:05')"
            )
        )
    found = json.loads(told(lab, "--json"))
    assert found["images"] == {"claimed": 0, "in_work": 2, "scored": 0, "unsure": 0, "no_drop": 0, "failed": 1, "refused": 3}
    assert (found["work_units"]["submitted"], found["batches"]["open"]) == (1, 1)
    assert [(reason["state"], reason["kind"], reason["count"]) for reason in found["reasons"]] == [
        ("refused", "missing", 2),
        ("failed", "the client [red]stopped[/red]", 1),
        ("refused", "empty", 1),
    ]
    assert [reason["example"] for reason in found["refused_results"]] == ["not a ZIP"]
    assert [(write["rows"], write["last_at"]) for write in found["last_writes"]] == [(1, "2026-01-02 03:04:05")]
    tables = told(lab)
    assert "[red]" in tables  # a reason comes from a volunteer: it is shown, not obeyed
    assert "no such file below the image root" in tables


def test_a_batch_on_the_way_says_what_comes_next(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.round()
    (batch,) = json.loads(told(lab, "--json"))["waiting"]
    assert (batch["state"], batch["next"]) == ("open", "assimilate, then finalize")
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET state = 'held'"))
    (batch,) = json.loads(told(lab, "--json"))["waiting"]
    assert batch["next"].endswith(f"crystal-search approve {batch['batch']}")
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET state = 'imported'"))
    assert json.loads(told(lab, "--json"))["waiting"] == []
