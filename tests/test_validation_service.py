"""The validation service, asked by the entry scripts as BOINC calls them: dash and curl, for real."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scored_lab import MODEL, results_of

from assimilator.service import ValidationServer
from crystal_search.archives import FORMAT_VERSION, Manifest, Results, WorkImage, write_results, write_work_unit

SCRIPTS = Path(__file__).parent.parent / "server/files/bin"
IMAGES = {f"{number:032x}": answer for number, answer in enumerate(["crystals_harvestable", "unsure", "no_drop", "failed"])}
UNIT = "wu_20260301-1_7"


@dataclass
class Grid:
    """BOINC's side: an upload folder, and the entry scripts in a project's ``bin``; a service behind them."""

    root: Path
    address: str = ""

    @property
    def work_units(self) -> Path:
        return self.root / "state/work_units"

    @property
    def inbox(self) -> Path:
        return self.root / "results/inbox"

    def create(self) -> Grid:
        self.pack(UNIT)
        (self.root / "project/upload/3f").mkdir(parents=True)
        (self.root / "project/tmp_host").mkdir()
        shutil.copytree(SCRIPTS, self.root / "project/bin")
        return self

    def pack(self, name: str, threshold: float | None = None) -> None:
        images = [WorkImage(id=key, file=f"{key}.jpg", sha256="0" * 64) for key in IMAGES]
        manifest = Manifest(format_version=FORMAT_VERSION, name=name, model=MODEL, images=images, threshold=threshold)
        write_work_unit(self.work_units / f"{name}.zip", manifest, {image.file: b"" for image in images})

    def upload(self, results: Results | bytes, unit: str = UNIT, copy: int = 0) -> Path:
        """A file as BOINC's upload handler leaves it."""
        path = self.root / f"project/upload/3f/{unit}_{copy}_r1804289383_0"
        if isinstance(results, bytes):
            path.write_bytes(results)
        else:
            write_results(path, results, {})
        return path

    def environment(self, wait: str = "0") -> dict[str, str]:
        found = {"PATH": os.environ["PATH"], "CRYSTAL_SEARCH_WAIT": wait}
        return found | ({"CRYSTAL_SEARCH_VALIDATOR": self.address} if self.address else {})

    def run(self, script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Call a script as BOINC does: from a folder beside bin, by a relative path."""
        return subprocess.run(
            ["dash", f"../bin/crystal_search_{script}", *map(str, arguments)],
            cwd=self.root / "project/tmp_host",
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return Grid(tmp_path).create()


@pytest.fixture
def service(grid: Grid) -> Iterator[ValidationServer]:
    with_options: dict[str, Any] = {"silence": 2.0, "spool": grid.root}
    server = ValidationServer(("127.0.0.1", 0), grid.work_units, **with_options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    grid.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.stop()
    thread.join()
    assert not list(grid.root.glob("crystal-search-*")), "a body was left behind"


def good(unit: str = UNIT) -> Results:
    return results_of(unit, IMAGES)


def changed(number: int, **fields: Any) -> Results:
    """The good result with one image's fields changed."""
    images = list(good().images)
    images[number] = msgspec.structs.replace(images[number], **fields)
    return msgspec.structs.replace(good(), images=images)


# ---- the validator's script -----------------------------------------------------------------------------------------


def test_a_valid_result_is_valid(grid: Grid, service: ValidationServer) -> None:
    path = grid.upload(good())
    done = grid.run("validate", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for form in ([path, 17], [17, path, "12.5"], [f"../upload/3f/{path.name}"]):  # ids and run times of older releases; a relative path
        assert grid.run("validate", *form).returncode == 0, form


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a readable ZIP"),
        (b"PK\x03\x04" + b"x" * 3_000_000, "not a readable ZIP"),
        (msgspec.structs.replace(good(), model=msgspec.structs.replace(MODEL, sha256="b" * 64)), "scored with model"),
        (msgspec.structs.replace(good(), images=good().images[:-1]), "1 missing"),
        (changed(0, score="11"), "score 11 is not that of crystals_harvestable"),
    ],
)
def test_garbage_is_invalid_and_the_reason_is_in_the_log(grid: Grid, service: ValidationServer, body: Any, reason: str) -> None:
    done = grid.run("validate", grid.upload(body))
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_was_refused_does_not_stay_on_the_disk(grid: Grid, service: ValidationServer) -> None:
    """BOINC's file deleter passes over it. Two that are compared are needed for the third one, and deleted by BOINC."""
    first, second = grid.upload(good()), grid.upload(changed(1, crystal_probability=0.5), copy=1)
    assert grid.run("compare", first, second).returncode == 1
    assert first.exists()
    assert second.exists()
    garbage = grid.upload(b"garbage", copy=2)
    assert grid.run("validate", garbage).returncode == 1
    assert not garbage.exists()
    assert grid.run("validate", first).returncode == 0
    assert first.exists()


def test_a_truncated_upload_is_invalid(grid: Grid, service: ValidationServer) -> None:
    path = grid.upload(good())
    path.write_bytes(path.read_bytes()[:-30])
    assert grid.run("validate", path).returncode == 1


def test_a_file_that_is_too_large_is_invalid_and_not_asked_about_for_ever(grid: Grid, service: ValidationServer) -> None:
    path = grid.upload(b"")
    with path.open("r+b") as file:
        file.truncate(65 * 2**20)
    done = grid.run("validate", path)
    assert done.returncode == 1
    assert "68157440 bytes, at most 67108864 are allowed" in done.stderr


def test_the_answer_to_another_work_unit_is_a_forgery(grid: Grid, service: ValidationServer) -> None:
    """A computer may not choose which work unit it answers: the name of the file is BOINC's."""
    grid.pack("wu_20260301-1_8")
    done = grid.run("validate", grid.upload(good("wu_20260301-1_8")))
    assert done.returncode == 1
    assert "answers wu_20260301-1_8, not wu_20260301-1_7" in done.stderr


def test_work_that_was_sent_again_has_a_name_of_its_own(grid: Grid, service: ValidationServer) -> None:
    """BOINC takes a name only once: BoincGrid sends wu_x_7 again as wu_x-r2_7; the work unit inside is the same."""
    assert grid.run("validate", grid.upload(good(), "wu_20260301-1-r2_7")).returncode == 0
    assert grid.run("compare", grid.upload(good()), grid.upload(good(), "wu_20260301-1-r2_7", 1)).returncode == 0
    assert grid.run("validate", grid.upload(good(), "wu_20260301-1-rx_7")).returncode == 1
    grid.pack("wu_a-r2_7")  # a batch that happens to be called so
    assert grid.run("validate", grid.upload(good("wu_a-r2_7"), "wu_a-r2_7")).returncode == 0


def test_a_result_of_a_cancelled_work_unit_is_invalid(grid: Grid, service: ValidationServer) -> None:
    done = grid.run("validate", grid.upload(good("wu_20260301-1_9"), "wu_20260301-1_9"))
    assert done.returncode == 1
    assert "none of that name is out" in done.stderr


def test_a_file_that_was_never_uploaded_is_invalid_but_a_missing_disk_is_not(grid: Grid, service: ValidationServer) -> None:
    assert grid.run("validate", grid.root / f"project/upload/3f/{UNIT}_0_r1_0").returncode == 1
    assert grid.run("validate", grid.root / f"project/upload/away/{UNIT}_0_r1_0").returncode == 3


def test_no_result_is_lost_while_the_service_is_away(grid: Grid) -> None:
    path = grid.upload(good())
    assert grid.run("validate", path).returncode == 3, "no address"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        grid.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = grid.run("validate", path)
    assert done.returncode == 3
    assert f"no answer from {grid.address}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert grid.run("compare", path, path).returncode == 3
    assert grid.run("validate").returncode == grid.run("compare", path).returncode == 3


def test_boincs_validator_waits_for_the_service(grid: Grid) -> None:
    """ "Later" makes BOINC send the work to one more computer for each result, and give it up after six."""
    path = grid.upload(good())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    grid.address = f"http://127.0.0.1:{port}"
    folder = grid.root / "project/tmp_host"
    asked = subprocess.Popen(
        ["dash", "../bin/crystal_search_validate", str(path)], cwd=folder, env=grid.environment("1"), stderr=subprocess.PIPE, text=True
    )
    assert asked.stderr is not None
    assert "BOINC's validator waits" in asked.stderr.readline()
    server = ValidationServer(("127.0.0.1", port), grid.work_units)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        assert asked.wait(timeout=120) == 0
    finally:
        server.stop()
        thread.join()
    asked.stderr.close()


def test_who_waits_ends_when_boinc_is_stopped(grid: Grid) -> None:
    (grid.root / "project/stop_daemons").touch()  # as bin/stop does
    done = grid.run("validate", grid.upload(good()), CRYSTAL_SEARCH_WAIT="1", CRYSTAL_SEARCH_VALIDATOR="http://127.0.0.1:9")
    assert done.returncode == 3


def test_one_result_that_the_service_can_not_judge_holds_up_no_other(grid: Grid, service: ValidationServer) -> None:
    grid.address += "/elsewhere"  # answered 404
    done = grid.run("validate", grid.upload(good()), CRYSTAL_SEARCH_WAIT="1")
    assert done.returncode == 3
    assert "answered 404" in done.stderr


def test_a_signal_is_no_verdict(grid: Grid) -> None:
    """BOINC takes a script that a signal has ended for one that said no."""
    grid.address = "http://127.0.0.1:9"
    command = ["dash", "../bin/crystal_search_validate", str(grid.upload(good()))]
    with subprocess.Popen(command, cwd=grid.root / "project/tmp_host", env=grid.environment("1"), stderr=subprocess.PIPE) as asked:
        assert asked.stderr is not None
        assert b"waits" in asked.stderr.readline()
        asked.terminate()
        assert asked.wait(timeout=120) == 3


def test_no_result_is_lost_while_the_work_units_are_away(grid: Grid, service: ValidationServer) -> None:
    path = grid.upload(good())
    grid.work_units.rename(grid.root / "away")
    done = grid.run("validate", path)
    assert done.returncode == 3
    assert "answered 503" in done.stderr
    (grid.root / "away").rename(grid.work_units)
    assert grid.run("validate", path).returncode == 0


def test_a_full_disk_means_later(grid: Grid, service: ValidationServer) -> None:
    service.spool = grid.root / "no such folder"
    assert grid.run("validate", grid.upload(good())).returncode == 3


def test_the_address_may_stand_beside_the_script(grid: Grid, service: ValidationServer) -> None:
    (grid.root / "project/bin/validator_address").write_text(f"{grid.address}/")  # without a line end, with a slash
    grid.address = ""
    assert grid.run("validate", grid.upload(good())).returncode == 0


# ---- two results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "threshold", "code"),
    [
        (good(), None, 0),
        (changed(1, crystal_probability=0.29), None, 0),  # 0.25 on the first computer; 0.05 is allowed
        (changed(1, crystal_probability=0.31), None, 1),
        (changed(0, probability=0.87, crystal_probability=0.87), None, 0),  # 0.90625
        (changed(0, probability=0.80, crystal_probability=0.87), None, 1),
        (changed(2, status="failed", reason="not an image"), None, 1),
        (changed(0, status="unsure", class_name=None, score=None, probability=None), 0.88, 0),  # 0.90625 is just above the threshold
        (changed(0, status="unsure", class_name=None, score=None, probability=None), 0.80, 1),
        (changed(0, status="unsure", class_name=None, score=None, probability=None), None, 1),
    ],
)
def test_two_results_agree_within_a_tolerance(
    grid: Grid, service: ValidationServer, other: Results, threshold: float | None, code: int
) -> None:
    grid.pack(UNIT, threshold)
    first, second = grid.upload(good()), grid.upload(other, copy=1)
    for pair in ((first, second), (second, first)):
        done = grid.run("compare", *pair)
        assert done.returncode == code, done.stderr
        assert ("the results differ: image 0000" in done.stderr) == bool(code)


def test_a_comparison_with_garbage_is_no_agreement(grid: Grid, service: ValidationServer) -> None:
    assert grid.run("compare", grid.upload(good()), grid.upload(b"x" * 5000, copy=1)).returncode == 1


# ---- the assimilator's script ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        ["17", "PATH"],  # 1.6.2, with the script's name alone
        [UNIT, "PATH"],
        ["17", UNIT, "PATH", "out.zip"],
        ["17", "PATH", "23", "41.5"],
        ["--wu_name", UNIT, "PATH"],  # the first releases
    ],
)
def test_a_result_reaches_the_inbox_whole(grid: Grid, form: list[str]) -> None:
    path = grid.upload(good())
    for _ in range(2):  # BOINC asks again when it was killed
        done = grid.run("assimilate", *[str(path) if word == "PATH" else word for word in form])
        assert (done.returncode, done.stderr) == (0, "")
        assert [entry.name for entry in grid.inbox.iterdir()] == [f"{UNIT}.zip"]
        assert (grid.inbox / f"{UNIT}.zip").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (["--error", "2", UNIT, "17", "0"], "given up by BOINC: too many computers returned errors (error mask 2)"),
        (["--error", "24", UNIT, "17", "5"], "given up by BOINC: it was sent out too often, it was cancelled (error mask 24)"),
        (["--wu_name", UNIT, "--error", "1"], "given up by BOINC: it could not be sent to any computer (error mask 1)"),
    ],
)
def test_a_work_unit_that_failed_for_good_is_told(grid: Grid, form: list[str], line: str) -> None:
    assert grid.run("assimilate", *form).returncode == 0
    assert {entry.name: entry.read_text() for entry in grid.inbox.iterdir()} == {f"{UNIT}.failed": line + "\n"}


def test_a_release_that_gives_a_number_only(grid: Grid) -> None:
    assert grid.run("assimilate", "--error", "2", "17").returncode == 0
    assert [entry.name for entry in grid.inbox.iterdir()] == ["id_17.failed"]


def test_an_accepted_result_that_is_gone_does_not_stop_the_others(grid: Grid) -> None:
    path = grid.upload(good())
    path.unlink()
    assert grid.run("assimilate", "17", path).returncode == 0
    assert (grid.inbox / f"{UNIT}.failed").read_text() == f"the uploaded result {path.name} is gone\n"
    assert grid.run("assimilate", "17", grid.root / f"away/{path.name}").returncode == 1


def test_the_inbox_may_be_elsewhere(grid: Grid) -> None:
    path = grid.upload(good())
    (grid.root / "project/bin/inbox_path").write_text(f"{grid.root}/mine\n")
    assert grid.run("assimilate", "17", path).returncode == 0
    assert grid.run("assimilate", "17", path, CRYSTAL_SEARCH_INBOX=f"{grid.root}/ours").returncode == 0
    assert [(grid.root / name / f"{UNIT}.zip").is_file() for name in ("mine", "ours")] == [True, True]
    assert not grid.inbox.exists()


def test_an_inbox_that_can_not_be_written_is_tried_again(grid: Grid) -> None:
    path = grid.upload(good())
    (grid.root / "file").write_text("")
    done = grid.run("assimilate", "17", path, CRYSTAL_SEARCH_INBOX=f"{grid.root}/file/inbox")
    assert done.returncode == 1
    assert "this folder can not be made" in done.stderr
    assert grid.run("assimilate", "17", path).returncode == 0


def test_a_hostile_name_reaches_no_other_folder(grid: Grid) -> None:
    assert grid.run("assimilate", "--error", "2", "--wu_name", "../../bin/x").returncode == 1
    assert grid.run("assimilate").returncode == 1
    assert not grid.inbox.exists()


# ---- the service itself ---------------------------------------------------------------------------------------------


def ask(service: ValidationServer, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", service.server_address[1], timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_requests_by_hand(grid: Grid, service: ValidationServer) -> None:
    body = grid.upload(good()).read_bytes()
    assert ask(service, "GET", "/health") == (200, "ok\n")
    assert ask(service, "POST", "/validate", body) == (200, "valid\n")
    assert ask(service, "POST", f"/validate?work_unit={UNIT}", body) == (200, "valid\n")
    assert ask(service, "POST", "/validate?work_unit=../x", body)[0] == 422
    assert ask(service, "GET", "/")[0] == ask(service, "POST", "/else", body)[0] == 404
    assert ask(service, "PUT", "/validate", body)[0] == 501
    assert ask(service, "POST", f"/compare?work_unit={UNIT}&first={len(body)}", body)[0] == 400
    assert ask(service, "POST", f"/compare?first={len(body)}", body + body)[0] == 400


def send(service: ValidationServer, text: bytes) -> bytes:
    """What a raw connection gets; it sends nothing after ``text``, and stays open."""
    with socket.create_connection(("127.0.0.1", service.server_address[1]), timeout=120) as connection:
        connection.sendall(text)
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        return received


def test_what_is_too_large_is_refused_before_it_is_sent(service: ValidationServer) -> None:
    head = b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    answer = send(service, head % (10**12))
    assert answer.startswith(b"HTTP/1.1 422")
    assert b"100 Continue" not in answer


def test_a_peer_that_stops_in_the_middle_is_not_waited_for(service: ValidationServer) -> None:
    started = time.monotonic()
    answer = send(service, b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nPK")
    assert answer.startswith(b"HTTP/1.1 400")
    assert send(service, b"POST /val") == b""
    assert 2.0 <= time.monotonic() - started < 20.0  # two silences of 2 s
    assert ask(service, "GET", "/health")[0] == 200


def test_a_length_must_be_given(service: ValidationServer) -> None:
    assert send(service, b"POST /validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_a_hundred_uploads_at_once(grid: Grid, service: ValidationServer) -> None:
    """Every fifth is garbage; each gets its own answer, and nothing stays behind."""
    units = [f"wu_many_{number}" for number in range(100)]
    bodies = []
    for number, unit in enumerate(units):
        grid.pack(unit)
        body = grid.upload(good(unit), unit).read_bytes()
        bodies.append(body[:-1] if number % 5 == 0 else body)
    barrier = threading.Barrier(100)

    def one(number: int) -> int:
        barrier.wait()
        return ask(service, "POST", f"/validate?work_unit={units[number]}", bodies[number])[0]

    with ThreadPoolExecutor(100) as pool:
        codes = list(pool.map(one, range(100)))
    assert codes == [422 if number % 5 == 0 else 200 for number in range(100)]


def test_the_command_stops_cleanly_and_finishes_what_it_has_begun(grid: Grid) -> None:
    (grid.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\n')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "import logging; logging.basicConfig(level=logging.INFO); from assimilator.cli import validate_service; validate_service()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--settings", str(grid.root / "crystal-search.toml"), "--listen", f"127.0.0.1:{port}"],
        cwd=SCRIPTS.parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while f"listening on 127.0.0.1:{port}" not in (line := process.stderr.readline()):
            assert line, "it ended"
        body = grid.upload(good()).read_bytes()
        with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
            head = f"POST /validate?work_unit={UNIT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:100])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[100:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        rest = process.stderr.read()
        assert process.wait(timeout=120) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert f"validate {UNIT}: valid" in rest
    assert "stopped by a signal" in rest
    assert "Traceback" not in rest


def test_every_refusal_is_logged(grid: Grid, service: ValidationServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "validate"):
        grid.run("validate", grid.upload(good()))
        grid.run("validate", grid.upload(b"forged"))
    assert [record.getMessage() for record in caplog.records] == [
        f"validate {UNIT}: valid",
        f"validate {UNIT}: refused: result.zip: not a readable ZIP archive (no plain end of a ZIP file)",
    ]
