"""pause and resume: what rests does nothing, says who asked for it, and goes on where it was."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from answering_grid import AnsweringGrid
from click.testing import CliRunner, Result
from generator_lab import Lab, make_lab
from test_work_generator import TWO_SEARCHES, add_new_plate

from assimilator.assimilate import assimilate
from crystal_search.cli import crystal_search
from crystal_search.errors import Paused
from crystal_search.ledger import open_ledger
from crystal_search.service import Stop
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round


def command(lab: Lab, *arguments: str) -> Result:
    return CliRunner().invoke(crystal_search, [*arguments, "--settings", str(lab.settings_file)])


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = make_lab(tmp_path, settings=TWO_SEARCHES.replace("max_open_work_units = 4\n", ""))
    made.grid = AnsweringGrid(made.grid.folder)
    add_new_plate(made, 1)
    return made


def test_archive_work_rests_and_real_time_work_does_not(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert command(lab, "pause", "archive").output == "archive is paused\n"
    assert command(lab, "pause", "archive").output == "archive was paused already\n"
    assert not lab.round()
    assert [priority for _, priority in lab.grid.submitted] == [100]
    assert "archive is paused by " in caplog.text
    assert "crystal-search resume archive" in caplog.text
    shown = command(lab, "status").output
    assert "Paused, until crystal-search resume" in shown
    assert "archive" in shown
    assert command(lab, "resume", "archive").output == "archive goes on\n"
    lab.round()
    assert sorted(priority for _, priority in lab.grid.submitted) == [0] * 6 + [100]


def test_a_pause_in_the_middle_of_a_turn_ends_it_between_two_groups(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("work_generator.generate.GROUP", 2)
    lab.grid.before = lambda _: command(lab, "pause", "work-generator") if len(lab.grid.submitted) == 2 else None  # type: ignore[assignment,return-value]
    lab.round()
    assert len(lab.grid.submitted) == 3, "the real-time one, and the group that was begun"
    lab.grid.before = lambda _: None
    with pytest.raises(Paused, match=r"work-generator is paused by .*; `crystal-search resume work-generator` lets it go on"):
        lab.round()
    command(lab, "resume")
    lab.round()
    assert len(lab.grid.submitted) == 7


@pytest.mark.parametrize("what", ["everything", "the service itself"])
def test_each_service_rests_and_goes_on(lab: Lab, what: str) -> None:
    with open_ledger(lab.settings.ledger_url) as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        table = ScoreTable(xtaltrak, "drop")
        rounds = {
            "work-generator": lab.round,
            "assimilate": lambda: assimilate(lab.settings, ledger, lab.grid),
            "finalize": lambda: finalize_round(lab.settings, ledger, table, Stop()),
            "set-autoscore": lambda: set_autoscore_round(lab.settings, ledger, table, Stop()),
        }
        for service, one_round in rounds.items():
            asked = "everything" if what == "everything" else service
            command(lab, "pause", asked)
            before = (lab.counts(), lab.counts("batches"), lab.counts("writes"))
            with pytest.raises(Paused, match=f"{asked} is paused by"):
                one_round()
            assert (lab.counts(), lab.counts("batches"), lab.counts("writes")) == before
            command(lab, "resume", asked)
            one_round()
            assert (lab.counts(), lab.counts("batches"), lab.counts("writes")) != before
    assert lab.counts("writes") == {"written": 7}


def test_only_what_there_is_can_be_paused(lab: Lab) -> None:
    refused = command(lab, "pause", "the coffee machine")
    assert refused.exit_code == 2
    assert "archive" in refused.output
    assert command(lab, "resume").output == "nothing was paused\n"
    assert command(lab, "resume", "finalize").output == "finalize was not paused\n"
    for what in ("finalize", "archive"):
        command(lab, "pause", what)
    assert command(lab, "resume").output == "archive goes on\nfinalize goes on\n"
