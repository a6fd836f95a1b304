"""The digest of new crystals: each is told once, by mail and in files, and nothing hinders the scores."""

from __future__ import annotations

import csv
import email.policy
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from click.testing import CliRunner
from scored_lab import Lab
from sqlalchemy import text

from crystal_search.digest_memory import is_due, next_digest, read_told
from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from crystal_search.ledger import open_ledger
from crystal_search.settings import Settings, load_settings
from crystal_search.status import read_next_digest
from finalizer.digest.cli import DailyDigest, digest
from finalizer.digest.make import Made, make_digest

NOW = datetime(2026, 3, 2, 7, 30)


class Mailbox:
    """What a real SMTP server was given."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.answer = "250 taken"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(envelope.content.replace(b"\r\n", b"\n"))
            self.mails.append((envelope.rcpt_tos, message))
        return self.answer


@pytest.fixture(scope="module")
def server() -> Iterator[Controller]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    controller = Controller(Mailbox(), hostname="127.0.0.1", port=port)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def mailbox(server: Controller) -> Mailbox:
    server.handler.__init__()
    return server.handler


@pytest.fixture
def lab(tmp_path: Path, server: Controller) -> Lab:
    lab = Lab(tmp_path).create()
    settings(lab, server)
    lab.inspect(*((f"A{column:02d}a", number) for column in range(1, 9) for number in (1, 2)))
    lab.inspect(*((f"B{column:02d}c", 1) for column in range(1, 4)), barcode="XY2")
    return lab


def settings(lab: Lab, server: Controller, more: str = "") -> Settings:
    file = lab.root / "crystal-search.toml"
    file.write_text(
        f'[paths]\nstate = "state"\nimages = "images"\n'
        f'[digest]\nto = ["berta@lab.example", "jan@lab.example"]\nsmtp = "127.0.0.1:{server.port}"\n{more}'
    )
    return load_settings(file)


def make(lab: Lab, now: datetime = NOW) -> Made:
    configured = load_settings(lab.root / "crystal-search.toml")
    with open_ledger(configured.ledger_url) as ledger:
        return make_digest(configured, ledger, now)


def csv_rows(mail: EmailMessage) -> list[dict[str, str]]:
    (attached,) = mail.iter_attachments()
    assert attached.get_content_type() == "text/csv"
    return list(csv.DictReader(attached.get_content().splitlines()))


def test_a_mail_with_the_plates_the_wells_and_where_to_look(lab: Lab, mailbox: Mailbox) -> None:
    first = lab.batch({("A01a", 1): "crystals_harvestable", ("A02a", 1): "clear", ("A03a", 1): "crystals_bad_form", ("A04a", 1): "unsure"})
    lab.batch({("B01c", 1): "crystals_overnucleated"}, barcode="XY2")
    lab.finish()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE artscores SET crystal_probability = 0.99 WHERE class_name = 'crystals_bad_form'"))
    made = make(lab)
    ((to, mail),) = mailbox.mails
    assert to == ["berta@lab.example", "jan@lab.example"]
    assert mail["Subject"] == made.subject == "Crystal Search: 3 new crystals on 2 plates"
    rows = csv_rows(mail)
    assert [(row["barcode"], row["well"], row["drop"], row["inspection"], row["class"]) for row in rows] == [
        ("CI000001", "A01", "a", "1", "crystals_harvestable"),
        ("CI000001", "A03", "a", "1", "crystals_bad_form"),
        ("XY2", "B01", "c", "1", "crystals_overnucleated"),
    ]
    assert [float(row["crystal_probability"]) for row in rows] == [0.90625, 0.99, 0.90625]
    assert rows[0]["inspected_at"] == "2024-03-08 09:30:00"
    archive, _, inside = rows[0]["overlay"].rpartition(":")
    assert archive == str(lab.settings.results / first / f"wu_{first}_1.zip")
    ((public_id,),) = lab.ledger_rows("SELECT lower(hex(public_id)) FROM images WHERE plate_column = 1 AND barcode = 'CI000001'")
    assert inside == f"overlays/{public_id}.jpg"
    body = mail.get_body().get_content()
    assert "  CI000001: 2\n  XY2: 1\n" in body
    wells = [line.split()[2] for line in body.splitlines() if line.startswith("  0.9")]
    assert wells == ["A03a,", "A01a,", "B01c,"]  # the likeliest first
    assert made.file is not None
    assert made.file.read_text() == body
    assert made.file.with_suffix(".csv").read_text().splitlines()[1:] == [",".join(row.values()) for row in rows]


def test_nothing_is_told_twice_and_nothing_is_forgotten(lab: Lab, mailbox: Mailbox) -> None:
    """Batches end in another order than they began."""
    early, queued = lab.start(("A01a", 1))
    lab.batch({("A02a", 1): "crystals_harvestable"})
    lab.finish()
    with lab.ledger() as ledger, ledger.begin() as connection:  # so long ago that no number can show up late any more
        connection.execute(text("UPDATE batches SET created_at = '2020-01-01 00:00:00.000000'"))
    assert make(lab).crystals == 1
    assert make(lab).crystals == 0
    lab.batch({("A03a", 1): "crystals_harvestable"})
    lab.finish()
    assert make(lab).crystals == 1
    with lab.ledger() as ledger, ledger.begin() as connection:  # the early one ends at last
        connection.execute(text("UPDATE work_units SET state = 'assimilated' WHERE name = :name"), {"name": early.name})
        connection.execute(text("UPDATE images SET state = 'scored' WHERE id = :id"), {"id": queued[0].id})
        connection.execute(
            text(
                "INSERT INTO artscores (image_id, status, class_name, score, probability, crystal_probability, scored_at) "
                "VALUES (:id, 'scored', 'crystals_harvestable', '23', 0.9, 0.9, '2026-03-01 00:00:00.000000')"
            ),
            {"id": queued[0].id},
        )
    lab.finish()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET created_at = '2020-01-01 00:00:00.000000'"))
    assert make(lab).crystals == 1
    assert len(mailbox.mails) == 3
    told = read_told(lab.settings.digest_memory)
    assert told is not None
    assert (told.through, told.beyond) == (3, [])
    assert make(lab).crystals == 0


def test_a_batch_whose_number_shows_up_late_is_told(lab: Lab, mailbox: Mailbox) -> None:
    """Its transaction ends after that of a batch with a larger number."""
    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.batch({("A02a", 1): "crystals_harvestable"})
    lab.finish()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        (hidden,) = connection.execute(text("SELECT * FROM batches WHERE id = 1")).mappings().all()
        for table in ("images", "work_units", "writes"):
            connection.execute(text(f"UPDATE {table} SET batch_id = 2 WHERE batch_id = 1"))
        connection.execute(text("UPDATE images SET state = 'refused' WHERE id = 1"))
        connection.execute(text("DELETE FROM batches WHERE id = 1"))
    assert make(lab).crystals == 1
    with lab.ledger() as ledger, ledger.begin() as connection:
        names = ", ".join(hidden)
        connection.execute(text(f"INSERT INTO batches ({names}) VALUES ({', '.join(':' + name for name in hidden)})"), dict(hidden))
        connection.execute(text("UPDATE images SET state = 'scored', batch_id = 1 WHERE id = 1"))
    assert make(lab).crystals == 1


def test_the_first_digest_tells_of_the_last_day_only(lab: Lab, mailbox: Mailbox) -> None:
    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.batch({("A02a", 1): "crystals_bad_form"})
    lab.finish()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET changed_at = '2020-01-01 00:00:00.000000' WHERE id = 1"))
    assert make(lab).crystals == 1
    assert csv_rows(mailbox.mails[0][1])[0]["well"] == "A02"
    assert make(lab).crystals == 0


def test_a_batch_that_was_undone_is_no_news(lab: Lab, mailbox: Mailbox) -> None:
    make(lab)  # a first digest takes everything that has ended for told
    batch = lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.finish()
    lab.undo(batch)
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET created_at = '2020-01-01 00:00:00.000000'"))
    assert make(lab).crystals == 0
    assert mailbox.mails == []
    told = read_told(lab.settings.digest_memory)
    assert told is not None
    assert told.through == 1  # it is not waited for either


@pytest.mark.parametrize("answer", ["550 no", "451 later"])
def test_a_mail_that_is_not_taken_is_told_the_next_time(lab: Lab, mailbox: Mailbox, answer: str) -> None:
    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.finish()
    mailbox.answer = answer
    with pytest.raises(TryAgainLater, match=r"^digest\.smtp [^\n]*could not be sent"):
        make(lab)
    assert not list(lab.settings.digest_folder.iterdir())
    mailbox.answer = "250 taken"
    assert make(lab).crystals == 1
    assert len(mailbox.mails) == 1


def test_a_server_that_is_away_is_one_line_in_the_loop_and_asked_again_later(
    lab: Lab, server: Controller, mailbox: Mailbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.finish()
    away = settings(lab, server, "hour = 0\n").model_copy(
        update={"digest": load_settings(lab.root / "crystal-search.toml").digest.model_copy(update={"smtp": "127.0.0.1:1"})}
    )
    daily = DailyDigest(away)
    with lab.ledger() as ledger:
        daily.if_due(ledger)
        daily.if_due(ledger)  # not yet again
        daily._not_before = 0
        daily.if_due(ledger)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        back = DailyDigest(settings(lab, server, "hour = 0\n"))
        back.if_due(ledger)
        back.if_due(ledger)
    assert len(mailbox.mails) == 1


def test_a_link_into_the_viewer_and_a_limit_to_the_text(lab: Lab, server: Controller, mailbox: Mailbox) -> None:
    settings(lab, server, 'link = "http://viewer/{barcode}/{inspection}/{well}"\nlines = 2\n')
    lab.batch(dict.fromkeys([("A01a", 1), ("A02a", 2), ("A03a", 1)], "crystals_harvestable"))
    lab.finish()
    make(lab)
    mail = mailbox.mails[0][1]
    assert [row["link"] for row in csv_rows(mail)][1] == "http://viewer/CI000001/2/A02"
    assert mail.get_body().get_content().count("http://viewer/") == 2
    assert "  and 1 more\n" in mail.get_body().get_content()


def test_crystals_below_the_settings_probability_stay_out(lab: Lab, server: Controller, mailbox: Mailbox) -> None:
    settings(lab, server, "min_probability = 0.95\n")
    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.finish()
    assert make(lab).crystals == 0


def test_a_large_csv_stays_where_it_is(lab: Lab, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finalizer.digest.mail.MAX_ATTACHED_BYTES", 100)
    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.finish()
    made = make(lab)
    mail = mailbox.mails[0][1]
    assert not list(mail.iter_attachments())
    assert made.file is not None
    assert f"All of them: {made.file.with_suffix('.csv')}\n" in mail.get_content()


def test_the_command(lab: Lab, mailbox: Mailbox) -> None:
    def say(*options: str) -> str:
        result = CliRunner().invoke(digest, ["--settings", str(lab.root / "crystal-search.toml"), *options], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    lab.batch({("A01a", 1): "crystals_harvestable"})
    lab.finish()
    assert "CI000001 A01a, inspection 1: Crystals harvestable (0.91)" in say("--show")
    assert mailbox.mails == []
    assert say().startswith("Crystal Search: 1 new crystal on 1 plate: ")
    assert say() == "no new crystals\n"
    assert say("--show") == "no new crystals\n"
    assert "1 new crystal" in say("--show", "--since", "2024-01-01")
    with pytest.raises(UsageError, match="--since goes with --show"):
        say("--since", "2024-01-01")


def test_a_damaged_memory_is_one_line(lab: Lab, mailbox: Mailbox) -> None:
    lab.settings.digest_memory.write_text("{")
    with pytest.raises(SettingsError, match=r"^[^\n]*digest\.json: not what the digest wrote"):
        make(lab)


def test_when_it_is_due() -> None:
    seven = datetime(2026, 3, 2, 7)
    assert not is_due(seven - timedelta(minutes=1), None, 7)
    assert is_due(seven, None, 7)
    assert is_due(seven, seven - timedelta(hours=3), 7)  # one by hand in the night is none of today's
    assert not is_due(seven + timedelta(hours=5), seven, 7)
    assert is_due(seven + timedelta(days=1), seven, 7)
    assert not is_due(seven, None, None)
    assert is_due(seven, seven + timedelta(days=400), 7)  # the clock was wrong then
    assert not is_due(seven, seven + timedelta(minutes=59), 7)  # it was set back, as in autumn
    assert next_digest(seven, None, None) is None
    assert next_digest(seven - timedelta(hours=1), None, 7) == seven
    assert next_digest(seven + timedelta(hours=1), seven, 7) == seven + timedelta(days=1)
    assert next_digest(seven + timedelta(hours=1), seven - timedelta(days=1), 7) == seven + timedelta(hours=1)


def test_the_status_knows_the_next_one(lab: Lab, server: Controller) -> None:
    configured = settings(lab, server, "hour = 23\n")
    assert read_next_digest(configured, NOW) == NOW.replace(hour=23, minute=0)


@pytest.mark.parametrize(
    "line", ['link = "{plate}"', 'link = "{0}"', 'link = "{"', 'to = ["a@b\\nBcc: c@d"]', 'smtp = "localhost"', "hour = 24"]
)
def test_wrong_settings_are_one_line(lab: Lab, server: Controller, line: str) -> None:
    with pytest.raises(SettingsError, match=r"^[^\n]*: digest\.[^\n]*$"):
        settings(lab, server, line + "\n") if not line.startswith(("to", "smtp")) else load_settings(_only(lab, line))


def _only(lab: Lab, line: str) -> Path:
    file = lab.root / "other.toml"
    file.write_text(f"[digest]\n{line}\n")
    return file
