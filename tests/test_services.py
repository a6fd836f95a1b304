"""Services as processes: health, metrics, one instance, JSON logs, a stop between two steps."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from scored_lab import Lab
from small_disk import small_disk
from sqlalchemy import text

from crystal_search.errors import EXIT_DONE, EXIT_SETTINGS, EXIT_TRY_LATER, TryAgainLater
from crystal_search.ledger.counts import ImageCounts
from crystal_search.ledger.images import retry
from crystal_search.ledger.progress import quantile
from crystal_search.ledger.schema import ImageState
from crystal_search.services.alone import only_instance
from finalizer.cli import finalize
from work_generator.cli import work_generator

PATIENCE_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@dataclass
class Service:
    """A running ``finalize``."""

    lab: Lab
    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics().get((f"crystal_search_{name}", frozenset(labels.items())))

    @property
    def log(self) -> list[str]:
        return (self.lab.root / "log.txt").read_text().splitlines()


def write_settings(lab: Lab, more: str) -> Path:
    file = lab.root / "crystal-search.toml"
    file.write_text(f'[paths]\nstate = "state"\nimages = "images"\n[generator]\npoll_seconds = 0.1\n{more}')
    return file


def start(lab: Lab, *arguments: str) -> subprocess.Popen[bytes]:
    with (lab.root / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "crystal_search", *arguments, "--settings", str(lab.root / "crystal-search.toml")]
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TZ": "Europe/Berlin"})


@contextmanager
def finalizing(lab: Lab) -> Iterator[Service]:
    port = free_port()
    services = f'[services]\nlog = "json"\nports = {{ finalize = {port} }}\nrefresh_seconds = 0.1\nlongest_pause_seconds = 0.3\n'
    write_settings(lab, services)
    service = Service(lab, start(lab, "finalize"), port)
    try:
        until(lambda: service.get("/health")[0] == 200 and bool(service.metric("ledger_up")))
        yield service
    finally:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(PATIENCE_SECONDS) == EXIT_DONE


#: Local time in Berlin, one hour ahead of UTC, and what the ledger notes in UTC.
INSPECTED, SCORED, WRITTEN = "2024-03-08 09:30:00.000000", "2024-03-08 09:00:00.000000", "2024-03-08 10:30:00.000000"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A lab with an imported real-time batch, an open archive batch, a work unit that was given up and a refused result."""
    lab = Lab(tmp_path_factory.mktemp("lab")).create()
    shots = [(f"{row}0{column}a", 1) for row in "ABC" for column in (1, 2, 3, 4)]
    lab.inspect(*shots)
    answers = ["crystals_harvestable", "clear", "unsure", "no_drop", "failed", "precipitate"]
    lab.batch(dict(zip(shots, answers, strict=False)))
    lab.finish()
    lab.start(*shots[6:9])
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET priority = 100 WHERE id = 1"))
        connection.execute(text("UPDATE images SET inspected_at = :at"), {"at": INSPECTED})
        connection.execute(text("UPDATE artscores SET scored_at = :at"), {"at": SCORED})
        connection.execute(text("UPDATE writes SET written_at = :at"), {"at": WRITTEN})
        connection.execute(text("INSERT INTO refusals (work_unit, reason, file, at) VALUES ('wu_x_1', 'no ZIP', 'f', :at)"), {"at": SCORED})
    with finalizing(lab) as running:
        yield running


def test_the_metrics_say_what_the_ledger_holds(service: Service) -> None:
    images = {"claimed": 0, "in_work": 3, "scored": 3, "unsure": 1, "no_drop": 1, "failed": 1, "refused": 0}
    assert {state: service.metric("images", state=state) for state in images} == images
    assert service.metric("images_returned_total") == 5
    assert service.metric("work_units", state="packed") == 1
    assert service.metric("work_units", state="assimilated") == 1
    assert service.metric("batches", state="imported") == 1
    assert service.metric("batches", state="open") == 1
    assert service.metric("refused_results_total") == 1
    oldest = service.metric("oldest_open_batch_seconds", work="archive")
    assert oldest is not None
    assert 0 < oldest < 3600
    assert service.metric("oldest_open_batch_seconds", work="realtime") is None


def test_the_lag_counts_from_the_local_time_of_the_inspection(service: Service) -> None:
    """09:30 in Berlin is 08:30 UTC: half an hour to the score, two hours to XtalTrak."""
    for share in ("0.5", "0.95"):
        assert service.metric("lag_seconds", until="score", quantile=share) == 1800
        assert service.metric("lag_seconds", until="xtaltrak", quantile=share) == 7200


def test_the_metrics_follow_the_ledger(service: Service) -> None:
    shots = [("D01a", 1), ("D02a", 1)]
    service.lab.inspect(*shots)
    service.lab.batch(dict.fromkeys(shots, "clear"))
    until(lambda: service.metric("images", state="scored") == 5)
    until(lambda: service.metric("batches", state="approved") == 1)


def test_what_a_service_tells_of_itself(service: Service) -> None:
    done = service.metric("rounds_total", service="finalize", outcome="done")
    assert done is not None
    until(lambda: (service.metric("rounds_total", service="finalize", outcome="done") or 0) > done)
    last = service.metric("last_success_timestamp_seconds", service="finalize")
    assert last is not None
    assert abs(time.time() - last) < PATIENCE_SECONDS
    assert service.metric("well", service="finalize") == 1
    assert ("process_resident_memory_bytes", frozenset()) in service.metrics()
    assert service.get("/elsewhere")[0] == 404


def test_health_turns_bad_while_a_folder_is_away_and_good_when_it_is_back(service: Service) -> None:
    folder = service.lab.settings.csv
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("in the way")
    until(lambda: service.get("/health")[0] == 503)  # the approved batch's CSV is to be written anew
    assert "can not be written" in service.get("/health")[1]
    assert service.metric("well", service="finalize") == 0
    failed = service.metric("rounds_total", service="finalize", outcome="failed") or 0
    until(lambda: (service.metric("rounds_total", service="finalize", outcome="failed") or 0) > failed + 2)
    folder.unlink()
    aside.rename(folder)
    until(lambda: service.get("/health") == (200, "well\n"))
    lines = [json.loads(line)["message"] for line in service.log]
    (gone,) = (index for index, line in enumerate(lines) if "can not be written" in line)
    (back,) = (index for index, line in enumerate(lines) if line.startswith("works again after"))
    assert gone < back


def test_a_second_one_is_refused_by_a_line_that_names_the_first(service: Service) -> None:
    settings = str(service.lab.root / "crystal-search.toml")
    with pytest.raises(TryAgainLater, match=rf"^another finalize runs already \(process {service.process.pid} on [^\n]*$") as caught:
        CliRunner().invoke(finalize, ["--settings", settings, "--once"], catch_exceptions=False)
    assert caught.value.exit_code == EXIT_TRY_LATER


def test_every_line_of_a_json_log_is_an_object(service: Service) -> None:
    records = [json.loads(line) for line in service.log]
    assert all(record.keys() == {"time", "level", "service", "message"} for record in records)
    assert {record["service"] for record in records} >= {"finalize"}
    assert all(record["time"].endswith("+00:00") for record in records)


def test_a_dead_ones_lock_holds_nobody_up(tmp_path: Path) -> None:
    with only_instance(tmp_path, "assimilate"):
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        with pytest.raises(TryAgainLater), only_instance(tmp_path, "assimilate"):
            pass
        with only_instance(tmp_path, "finalize"):
            pass
    with only_instance(tmp_path, "assimilate"):
        pass


def test_a_full_disk_hinders_no_start(tmp_path: Path) -> None:
    """The lock holds all the same."""
    with small_disk(tmp_path / "state", 64) as disk:
        disk.fill()
        twice = pytest.raises(TryAgainLater, match="another finalize runs already")
        with only_instance(disk.path, "finalize"), twice, only_instance(disk.path, "finalize"):
            pass
        disk.free()
        with only_instance(disk.path, "finalize"):
            assert str(os.getpid()) in (disk.path / "finalize.instance").read_text()


def test_a_second_generator_may_work(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    (lab.root / "images").mkdir()
    (lab.root / "images" / "CI1").mkdir()
    settings = write_settings(lab, "")
    with only_instance(lab.settings.paths.state, "work-generator"):
        result = CliRunner().invoke(work_generator, ["--settings", str(settings), "--once"], catch_exceptions=False)
    assert result.exit_code == EXIT_DONE


def test_a_taken_port_is_a_line_and_the_work_goes_on(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    lab.inspect(("A01a", 1))
    batch = lab.batch({("A01a", 1): "clear"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write_settings(lab, f"[services]\nports = {{ finalize = {taken.getsockname()[1]} }}\n")
        process = start(lab, "finalize")
        try:
            until(lambda: lab.csv(batch).is_file())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == EXIT_DONE
    assert "can not listen on 127.0.0.1" in (lab.root / "log.txt").read_text()


def test_sigterm_ends_a_round_between_two_steps(tmp_path: Path) -> None:
    """Held up in the middle of the first batch by a lock, told to stop, released: it ends that step and begins no other."""
    lab = Lab(tmp_path).create()
    lab.inspect(("A01a", 1), ("A02a", 1))
    first, second = (lab.batch({(label, 1): "clear"}) for label in ("A01a", "A02a"))
    write_settings(lab, "")
    holder = sqlite3.connect(lab.settings.paths.state / "ledger.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    process = start(lab, "--log", "json", "finalize")
    until(lab.csv(first).is_file)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None  # it waits for the ledger, to note what it has done
    holder.execute("ROLLBACK")
    holder.close()
    assert process.wait(PATIENCE_SECONDS) == EXIT_DONE
    assert (lab.state(first), lab.state(second)) == ("approved", "open")
    assert not lab.csv(second).exists()
    assert not list(lab.settings.csv.glob(".*"))
    messages = [json.loads(line)["message"] for line in (lab.root / "log.txt").read_text().splitlines()]
    assert messages[-1] == "stopped by a signal"
    lab.finish()
    assert (lab.state(first), lab.state(second)) == ("imported", "imported")


def test_the_last_word_of_a_program_is_json_too(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    write_settings(lab, "nonsense = 1\n")
    process = start(lab, "--log", "json", "status")
    assert process.wait(PATIENCE_SECONDS) == EXIT_SETTINGS
    (line,) = (lab.root / "log.txt").read_text().splitlines()
    assert "generator.nonsense: unknown key" in json.loads(line)["message"]
    assert json.loads(line)["level"] == "error"


# ---- counts that are kept ---------------------------------------------------------------------------------------------


def counted(lab: Lab, counts: ImageCounts) -> dict[str, int]:
    with lab.ledger() as ledger, ledger.read() as connection:
        found = counts.read(connection)
        plain = {row[0]: row[1] for row in connection.execute(text("SELECT state, count(*) FROM images GROUP BY state"))}
    assert {state: count for state, count in found.items() if count} == plain
    return found


def test_kept_counts_are_those_of_a_full_count_whatever_happens(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    counts = ImageCounts()
    assert set(counted(lab, counts).values()) == {0}
    shots = [(f"A{column:02d}a", 1) for column in range(1, 9)]
    lab.inspect(*shots)
    lab.batch({shots[0]: "clear", shots[1]: "failed", shots[2]: "unsure"})
    assert counted(lab, counts)["failed"] == 1
    lab.finish()
    counted(lab, counts)
    lab.start(*shots[3:5])
    assert counted(lab, counts)["in_work"] == 2
    with lab.ledger() as ledger, ledger.begin() as connection:  # long ago: only what is open or has changed since is looked at
        connection.execute(text("UPDATE batches SET changed_at = '2020-01-01 00:00:00.000000' WHERE state = 'imported'"))
    counts = ImageCounts()
    counted(lab, counts)
    with lab.ledger() as ledger, ledger.begin() as connection:
        assert retry(connection, 1, ImageState.FAILED) == 1
    assert counted(lab, counts)["claimed"] == 1


def test_a_batch_that_has_ended_long_ago_is_not_counted_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    lab.inspect(("A01a", 1), ("A02a", 1))
    lab.batch({("A01a", 1): "clear"})
    lab.batch({("A02a", 1): "clear"})
    lab.finish()
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE batches SET changed_at = '2020-01-01 00:00:00.000000' WHERE id = 1"))
    counts = ImageCounts()
    counted(lab, counts)
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE images SET state = 'unsure'"))  # nobody does so without touching the batch: it shows who looks
    with lab.ledger() as ledger, ledger.read() as connection:
        found = counts.read(connection)
    assert (found["scored"], found["unsure"]) == (1, 1)


def test_quantiles_are_values_that_occurred() -> None:
    assert quantile([5.0], 0.95) == 5.0
    assert quantile([float(n) for n in range(1, 101)], 0.5) == 50.0
    assert quantile([float(n) for n in range(1, 101)], 0.95) == 95.0
