"""App versions for a BOINC project: what is in the folder, that BOINC would take its signatures, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from boinc_stub import write_keys
from tiny_model import write_model

SCRIPT = Path(__file__).resolve().parent.parent / "build" / "app_version.py"
LINUX = "x86_64-pc-linux-gnu"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a key pair."""
    return write_keys(tmp_path_factory.mktemp("keys")).parent


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with an executable, its licences and BOINC's wrapper, all of them made up."""
    (tmp_path / "client").write_bytes(b"\x7fELF the client")
    (tmp_path / "wrapper").write_bytes(b"\x7fELF the wrapper")
    (tmp_path / "THIRD-PARTY-LICENCES.txt").write_text("licences")
    return tmp_path


def make(lab: Path, keys: Path, version: str, *more: str | Path) -> subprocess.CompletedProcess[str]:
    files = ("--key", keys / "code_sign_private", "--executable", lab / "client", "--out", lab / "apps", "--platform", LINUX)
    return subprocess.run((sys.executable, SCRIPT, version, *files, *more), capture_output=True, text=True)


def made(lab: Path, keys: Path, version: str, *more: str | Path) -> list[Path]:
    """The folders of a version that can be made."""
    done = make(lab, keys, version, *more)
    assert (done.returncode, done.stderr) == (0, "")
    return [Path(line) for line in done.stdout.splitlines()]


def refused(lab: Path, keys: Path, version: str, *more: str | Path, code: int = 1) -> str:
    """The one line that a version is refused with."""
    before = sorted((lab / "apps").rglob("*"))
    done = make(lab, keys, version, *more)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert sorted((lab / "apps").rglob("*")) == before, "nothing is left half"
    return line


def files_in(folder: Path) -> dict[str, ElementTree.Element]:
    """The entries of ``version.xml`` by physical name."""
    entries = ElementTree.parse(folder / "version.xml").getroot().iter("file")
    return {str(entry.findtext("physical_name")): entry for entry in entries}


def test_without_a_wrapper_the_client_is_the_main_program(lab: Path, keys: Path) -> None:
    cpu, threads = made(lab, keys, "1.07")
    assert [folder.relative_to(lab / "apps") for folder in (cpu, threads)] == [
        Path("crystal_search/1.07") / LINUX,
        Path("crystal_search/1.07") / f"{LINUX}__mt",
    ]
    files = files_in(cpu)
    assert set(files) == {f"crystal-search-client_1.07_{LINUX}", f"crystal_search_licences_1.07_{LINUX}.txt"}
    main = files[f"crystal-search-client_1.07_{LINUX}"]
    assert main.find("main_program") is not None
    assert (cpu / f"crystal-search-client_1.07_{LINUX}").read_bytes() == b"\x7fELF the client"
    assert (cpu / f"crystal-search-client_1.07_{LINUX}").stat().st_mode & 0o111 == 0o111
    assert {path.name: path.read_bytes() for path in cpu.iterdir()} == {path.name: path.read_bytes() for path in threads.iterdir()}


def test_with_a_wrapper_the_client_is_what_the_job_runs(lab: Path, keys: Path) -> None:
    (folder,) = made(lab, keys, "1.00", "--wrapper", lab / "wrapper", "--plan-class", "cpu")
    digest = hashlib.sha256(b"\x7fELF the wrapper").hexdigest()[:12]
    files = files_in(folder)
    (main,) = [name for name, entry in files.items() if entry.find("main_program") is not None]
    assert main == f"wrapper_{digest}_{LINUX}"
    assert files[f"crystal-search-client_1.00_{LINUX}"].findtext("logical_name") == "crystal-search-client"
    assert files["crystal_search_job_1.00.xml"].findtext("logical_name") == "job.xml"
    assert ElementTree.parse(folder / "version.xml").getroot().find("is_wrapper") is not None
    (task,) = ElementTree.parse(folder / "crystal_search_job_1.00.xml").getroot().iter("task")
    told = {element.tag: element.text for element in task}
    assert told == {
        "application": "crystal-search-client",
        "command_line": "in.zip out.zip --nthreads $NTHREADS",
        "append_cmdline_args": None,
        "fraction_done_filename": "fraction_done",
        "checkpoint_filename": "fraction_done",
        "multi_process": None,
    }


def test_the_wrapper_passes_threads_and_gpu_on_where_the_job_names_them(lab: Path, keys: Path) -> None:
    """BOINC's wrapper replaces ``$GPU_DEVICE_NUM`` only where a GPU was given, and a file's name stands for one content."""
    classes = ("cpu", "mt", "cuda", "directml_amd", "coreml")
    folders = made(lab, keys, "1.00", "--wrapper", lab / "wrapper", *(f"--plan-class={name}" for name in classes))
    found = {}
    for name, folder in zip(classes, folders, strict=True):
        (job,) = folder.glob("crystal_search_job_*.xml")
        found[name] = (job.name, ElementTree.parse(job).getroot().findtext("task/command_line"))
    threads = "in.zip out.zip --nthreads $NTHREADS"
    gpu = ("crystal_search_job_1.00_gpu.xml", f"{threads} --device $GPU_DEVICE_NUM")
    assert found == {
        "cpu": ("crystal_search_job_1.00.xml", threads),
        "mt": ("crystal_search_job_1.00.xml", threads),
        "cuda": gpu,
        "directml_amd": gpu,
        "coreml": ("crystal_search_job_1.00_coreml.xml", f"{threads} --provider coreml"),
    }


def test_openssl_finds_the_md5_in_every_signature(lab: Path, keys: Path) -> None:
    """As BOINC's client checks a file: the signature holds the MD5's hexadecimal digits."""
    (folder,) = made(lab, keys, "1.00", "--wrapper", lab / "wrapper", "--plan-class", "cpu", "--model", write_model(lab / "next"))
    files = [path for path in folder.iterdir() if path.suffix != ".sig" and path.name != "version.xml"]
    assert len(files) == 7
    for path in files:
        text = (folder / f"{path.name}.sig").read_text()
        *digits, end, after = text.split("\n")
        assert (end, after, [len(line) for line in digits]) == (".", "", [64] * 4), "128 bytes, 32 on each line, as sign_executable prints"
        (lab / "raw").write_bytes(bytes.fromhex("".join(digits)))
        openssl = ("openssl", "pkeyutl", "-verifyrecover", "-inkey", keys / "key.pem", "-in", lab / "raw")
        found = subprocess.run(openssl, check=True, capture_output=True).stdout
        assert found.decode() == hashlib.md5(path.read_bytes()).hexdigest()


def test_the_private_key_stays_where_it_is(lab: Path, keys: Path) -> None:
    made(lab, keys, "1.00", "--wrapper", lab / "wrapper")
    secret = (keys / "code_sign_private").read_text().splitlines()[9]
    assert not [path for path in (lab / "apps").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_model_travels_in_files_whose_names_do_not_change_with_the_version(lab: Path, keys: Path) -> None:
    model = write_model(lab / "anything", name='"next-1"')
    digest = hashlib.sha256((model / "model.toml").read_bytes()).hexdigest()[:12]
    expected = {f"crystal_search_model_next-1_{digest}_{file}": file for file in ("model.toml", "chops.onnx", "drop.onnx")}
    for version in ("1.00", "1.01"):
        (folder,) = made(lab, keys, version, "--plan-class", "cpu", "--model", model)
        files = files_in(folder)
        assert set(expected) < set(files)
        for name, file in expected.items():
            assert files[name].findtext("logical_name") == f"models/next-1/{file}"
            assert files[name].find("copy_file") is not None
            assert (folder / name).read_bytes() == (model / file).read_bytes()


def test_the_plan_classes_are_those_that_the_server_knows(lab: Path, keys: Path) -> None:
    known = ElementTree.parse(SCRIPT.parents[1] / "server" / "files" / "plan_class_spec.xml").getroot().iter("name")
    names = [str(name.text) for name in known]
    assert len(made(lab, keys, "1.00", *(f"--plan-class={name}" for name in names))) == len(names) > 3


def test_the_platforms_are_those_that_the_server_knows(lab: Path, keys: Path) -> None:
    known = ElementTree.parse(SCRIPT.parents[1] / "server" / "files" / "project.xml").getroot().iter("platform")
    names = [str(platform.findtext("name")) for platform in known]
    for name in names:
        (folder,) = made(lab, keys, "1.00", "--plan-class", "cpu", "--platform", name)
        assert folder.name == name
    assert len(names) == 5


def test_names_for_windows_end_as_windows_wants_it(lab: Path, keys: Path) -> None:
    command = ("--platform", "windows_x86_64", "--wrapper", lab / "wrapper", "--plan-class", "directml_amd")
    (folder,) = made(lab, keys, "1.00", *command)
    assert folder.name == "windows_x86_64__directml_amd"
    assert sorted(path.name[-19:] for path in folder.glob("*.exe")) == ["_windows_x86_64.exe"] * 2


def test_a_higher_version_is_made_beside_the_old_one(lab: Path, keys: Path) -> None:
    made(lab, keys, "1.00")
    (lab / "client").write_bytes(b"\x7fELF the new client")
    made(lab, keys, "1.01")
    assert sorted(path.name for path in (lab / "apps" / "crystal_search").iterdir()) == ["1.00", "1.01"]


def test_the_same_version_twice_is_refused(lab: Path, keys: Path) -> None:
    made(lab, keys, "1.00")
    assert "version 1.00 is there already" in refused(lab, keys, "1.00")
    assert "version 1.00 is there already" in refused(lab, keys, "1.00", "--plan-class", "cuda", "--plan-class", "mt")


def test_a_version_that_boinc_would_never_send_is_refused(lab: Path, keys: Path) -> None:
    made(lab, keys, "1.10")
    assert "1.10 is there, and BOINC sends the highest" in refused(lab, keys, "1.09")
    made(lab, keys, "1.09", "--plan-class", "cuda")


def test_one_name_never_stands_for_two_files(lab: Path, keys: Path) -> None:
    made(lab, keys, "1.00", "--plan-class", "cpu")
    (lab / "client").write_bytes(b"\x7fELF another client")
    assert "another file of this name" in refused(lab, keys, "1.00", "--plan-class", "mt")


@pytest.mark.parametrize("version", ["1", "1.0", "1.000", "v1.00", "0.00", "1.00/../..", ""])
def test_what_boinc_does_not_count_as_a_version_is_wrong_usage(lab: Path, keys: Path, version: str) -> None:
    assert "is not a version as BOINC counts them" in refused(lab, keys, version, code=2)


def test_a_wrong_key_is_refused_in_one_line(lab: Path, keys: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    private = (keys / "code_sign_private").read_text()
    key = wrong / "code_sign_private"
    assert "No such file" in refused(lab, wrong, "1.00")
    key.write_text((keys / "code_sign_public").read_text())
    assert "this is the public key" in refused(lab, wrong, "1.00")
    key.write_text((keys / "key.pem").read_text())
    assert "not a key of BOINC's" in refused(lab, wrong, "1.00")
    lines = private.splitlines(keepends=True)
    key.write_text("".join([*lines[:9], lines[8], *lines[10:]]))  # a line of the private exponent
    assert "do not fit together" in refused(lab, wrong, "1.00")
    key.write_text("".join([*lines[:9], *lines[10:]]))
    assert "not a private key" in refused(lab, wrong, "1.00")


def test_what_is_missing_or_damaged_is_named(lab: Path, keys: Path) -> None:
    assert "nowhere" in refused(lab, keys, "1.00", "--wrapper", lab / "nowhere")
    assert "not a model folder" in refused(lab, keys, "1.00", "--model", lab)
    model = write_model(lab / "model")
    (model / "drop.onnx").write_bytes(b"cut off")
    assert "drop.onnx: not the file that model.toml tells of" in refused(lab, keys, "1.00", "--model", model)
    (lab / "THIRD-PARTY-LICENCES.txt").unlink()
    assert "THIRD-PARTY-LICENCES.txt: missing" in refused(lab, keys, "1.00")
