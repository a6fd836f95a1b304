"""`crystal-search status`: how far each stage is, and why images stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_boinc import FakeBoinc
from generator_lab import Lab, image_name, make_lab
from sqlalchemy import text

from crystal_search.backfill import read_backfill
from crystal_search.errors import UsageError
from crystal_search.grid import open_grid
from crystal_search.ledger.pace import Pace, read_pace
from crystal_search.settings import load_settings
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


NOON = datetime(2026, 3, 2, 12)


def came_back(lab: Lab, unit: int, at: str) -> None:
    """A result of the six images of a work unit was received then."""
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO results (work_unit_id, sha256, client_version, runtime, provider, received_at) "
                "VALUES (:unit, '', '', '', '', :at)"
            ),
            {"unit": unit, "at": at},
        )
        connection.execute(text("UPDATE images SET state = 'scored' WHERE work_unit_id = :unit"), {"unit": unit})


def pace(lab: Lab) -> Pace:
    with lab.ledger() as ledger, ledger.read() as connection:
        return read_pace(connection, NOON)


def test_the_pace_and_the_expected_end(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings="[generator]\nimages_per_work_unit = 2\n")
    lab.round()
    assert pace(lab) == Pace(images=0, images_per_hour=0.0, on_the_way=6, end=None)
    came_back(lab, 1, "2026-03-01 11:00:00.000000")  # longer ago than a day
    assert pace(lab) == Pace(images=0, images_per_hour=0.0, on_the_way=4, end=None)
    came_back(lab, 2, "2026-03-02 08:00:00.000000")
    assert pace(lab) == Pace(images=2, images_per_hour=0.5, on_the_way=2, end=datetime(2026, 3, 2, 16))
    came_back(lab, 3, "2026-03-02 10:00:00.000000")
    assert pace(lab) == Pace(images=4, images_per_hour=1.0, on_the_way=0, end=None)


def backfill(lab: Lab) -> dict[str, Any]:
    with lab.ledger() as ledger, ledger.read() as connection:
        return asdict(read_backfill(load_settings(lab.settings_file), connection, read_pace(connection, NOON), NOON))


#: After a round the first half of the drops is claimed and the mark of open work units reached.
HALF_READ = "[generator]\nimages_per_work_unit = 3\npage = 3\nmax_open_work_units = 1\n"


def test_the_end_of_a_backfill_counts_what_still_lies_in_xtaltrak(tmp_path: Path) -> None:
    """Three of six images went out: three are left. Two hours after three came back the other three need two hours more."""
    lab = make_lab(tmp_path, settings=HALF_READ)
    assert backfill(lab) == {"images_left": {}, "end": None, "trouble": None}
    lab.round()
    assert pace(lab).on_the_way == 3
    assert backfill(lab) == {"images_left": {"everything unscored": 3}, "end": None, "trouble": None}
    came_back(lab, 1, "2026-03-02 10:00:00.000000")
    assert backfill(lab)["end"] == datetime(2026, 3, 2, 14)
    assert "not read yet" in told(lab)
    lab.assimilated()
    lab.round()
    lab.assimilated()
    lab.round()
    assert backfill(lab)["images_left"] == {}, "all is read"


def test_what_is_left_is_as_dense_as_what_was_read_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of INSPECTIDs 1 to 4 the search found images in 1, 3 and 4: by the last two of them all that follow match, by three 3 of 4."""
    drops = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 1, 1), (2, 2, 1), (2, 3, 1), (3, 1, 1), (3, 2, 1)]
    lab = make_lab(tmp_path, drops, HALF_READ.replace("page = 3", "page = 4"))
    lab.round()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("DELETE FROM images WHERE inspection_id = 2"))
    assert backfill(lab)["images_left"] == {"everything unscored": 3}
    monkeypatch.setattr("crystal_search.ledger.backfill.SAMPLE", 2)
    assert backfill(lab)["images_left"] == {"everything unscored": 4}


def test_a_search_that_has_not_begun_and_an_xtaltrak_that_is_away_are_said(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings=HALF_READ)
    lab.round()
    with lab.settings_file.open("a") as file:
        file.write('[[search]]\nname = "later"\nbarcode = "C*"\n')
    assert backfill(lab) == {"images_left": {"later": None}, "end": None, "trouble": None}
    assert "not known yet" in told(lab)
    lab.settings.xtaltrak.database.unlink()
    assert "is not there any more" in backfill(lab)["trouble"]
    assert json.loads(told(lab, "--json"))["backfill"]["images_left"] == {"later": None}


XML = """<?xml version="1.0" encoding="UTF-8" ?>
<server_status>
<daemon_status>
  <daemon><host>apache</host><command>feeder</command><status>running</status></daemon>
  <daemon><host>apache</host><command>transitioner</command><status>not running</status></daemon>
</daemon_status>
<database_file_states>
   <results_ready_to_send>9</results_ready_to_send>
   <workunits_waiting_for_validation>1</workunits_waiting_for_validation>
   <workunits_waiting_for_assimilation>2</workunits_waiting_for_assimilation>
   <hosts_with_recent_credit>17</hosts_with_recent_credit>
   <current_floating_point_speed>12.5</current_floating_point_speed>
   <tasks_by_app>
     <app><id>1</id><name>other</name><unsent>5</unsent><in_progress>6</in_progress></app>
     <app><id>2</id><name>crystal_search</name><unsent>4</unsent><in_progress>3</in_progress></app>
   </tasks_by_app>
</database_file_states>
</server_status>
"""


@contextmanager
def web_page(content: str) -> Iterator[str]:
    """The address of a server that answers with ``content``."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/grid/server_status.php?xml=1" else 404)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/grid/"
        finally:
            server.shutdown()
            thread.join()


def boinc_lab(folder: Path, url: str) -> Lab:
    """A lab whose six images are out as three work units: one at BOINC, one that came back, one that waits."""
    boinc = FakeBoinc(folder / "project")
    lab = make_lab(folder / "lab", settings="[generator]\nimages_per_work_unit = 2\n")
    lab.round()
    with lab.settings_file.open("a") as file:
        file.write(f'[grid]\nkind = "boinc"\n[boinc]\nproject = "{boinc.path}"\nurl = "{url}"\n')
    grid = open_grid(load_settings(lab.settings_file), lambda name, path: None)
    first, second, third = sorted(lab.grid.folder.glob("*.zip"))
    grid.submit(first)
    grid.submit(second)
    grid.poll()
    grid.submit(third)
    boinc.assimilate(second.stem, second)
    return lab


def test_a_boinc_grid_and_its_server(tmp_path: Path) -> None:
    with web_page(XML) as url:
        lab = boinc_lab(tmp_path, url)
        found = json.loads(told(lab, "--json"))["boinc"]
        tables = told(lab)
    assert found["progress"] == {"queued": 1, "at_boinc": 1, "in_inbox": 1}
    assert found["server"] == {
        "tasks_to_send": 4,
        "tasks_in_progress": 3,
        "waiting_for_validation": 1,
        "waiting_for_assimilation": 2,
        "computers": 17,
        "daemons_down": ["transitioner"],
    }
    assert "daemon transitioner" in tables


def php_says(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int = 0) -> None:
    """BOINC's database, as the script that asks it would tell."""
    folder.mkdir()
    (folder / "php").write_text(f"#!/bin/sh\ntest \"$4 $5\" = 'crystal_search 86400' || exit 9\ncat <<'END'\n{answer}\nEND\nexit {code}\n")
    (folder / "php").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_error_rate_and_who_makes_the_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tasks of four computers, by number, name, and how many were valid, refused, failed and lost."""
    php_says(tmp_path / "php", monkeypatch, '[[1,"fine",4,0,0,0],[2,"once",2,0,1,0],[3,"gar\\n[red]bage",0,2,0,0],[4,"gone",0,0,0,1]]')
    lab = boinc_lab(tmp_path, "")
    tasks = json.loads(told(lab, "--json"))["boinc"]["tasks"]
    assert [tasks[key] for key in ("computers", "valid", "refused", "errors", "lost")] == [4, 6, 2, 1, 1]
    assert [(computer["id"], computer["name"]) for computer in tasks["worst"]] == [(3, "gar [red]bage"), (2, "once"), (4, "gone")]
    tables = told(lab)
    assert "40.0 %" in tables
    assert "[red]bage" in tables  # a computer's name comes from a volunteer


@pytest.mark.parametrize(("answer", "code"), [("", 1), ("<br>Warning", 0), ('[["1"]]', 0)])
def test_a_database_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    php_says(tmp_path / "php", monkeypatch, answer, code)
    found = json.loads(told(boinc_lab(tmp_path, ""), "--json"))["boinc"]
    assert (found["tasks"], found["progress"]["at_boinc"]) == (None, 1)
    assert "can not be asked" in found["tasks_trouble"]


@pytest.mark.parametrize(("content", "says"), [("<html>", "not the XML of a BOINC server"), (None, "no answer"), ("<a/>", "not the XML")])
def test_a_boinc_server_that_does_not_tell(tmp_path: Path, content: str | None, says: str) -> None:
    with web_page(content or "") as url:
        lab = boinc_lab(tmp_path, url if content else url.replace("grid", "elsewhere"))
        found = json.loads(told(lab, "--json"))["boinc"]
    assert found["progress"]["at_boinc"] == 1
    assert found["server"] is None
    assert says in found["trouble"]


def test_a_local_grid_is_no_boinc(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.round()
    assert json.loads(told(lab, "--json"))["boinc"] is None
