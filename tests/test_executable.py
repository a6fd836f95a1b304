"""The volunteer's program as one file, where volunteers run it: ``make test-client`` builds it and runs these tests.

Nothing here is skipped for want of a build: without one every test fails.
"""

from __future__ import annotations

import io
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from tiny_model import encoded, picture, write_model

from client_app.model import load_model
from client_app.model_folders import default_model_folder
from client_app.run import run
from client_app.self_test import PICTURE
from crystal_search import __version__
from crystal_search.archives import Manifest, WorkImage, read_overlay, read_results, sha256_hex, write_work_unit

pytestmark = [pytest.mark.executable, pytest.mark.skipif(sys.platform == "win32", reason="signals and roots as on Unix")]

BUILT = Path(__file__).resolve().parent.parent / "dist" / "crystal-search-client"
PASSED = r"self-test passed: model [^\n]+\n"


@pytest.fixture(scope="module")
def executable() -> Path:
    if not BUILT.is_file():
        pytest.fail(f"{BUILT} is missing: make client builds it")
    return BUILT


@pytest.fixture(scope="module")
def warm(executable: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with a cache into which the executable has unpacked itself."""
    variables = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    subprocess.run((executable, "--version"), env=variables, check=True, capture_output=True)
    return variables


@pytest.fixture
def open_folder(executable: Path) -> Iterator[Path]:
    """A folder with a copy of the executable that every account may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        shutil.copy(executable, name)
        yield Path(name)


def start(program: Path | str, *arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen((program, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def passes(program: Path | str, **more: Any) -> None:
    """The self-test passes, in one line."""
    done = subprocess.run((program, "--self-test"), capture_output=True, text=True, timeout=120, **more)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(PASSED, done.stdout)


def work_unit(path: Path, model: Path, *images: tuple[str, bytes]) -> Manifest:
    """Write a work unit of these images (ending of the file's name, content) for a model."""
    files = {f"{number:032x}.{ending}": content for number, (ending, content) in enumerate(images)}
    listed = [WorkImage(id=name[:32], file=name, sha256=sha256_hex(content)) for name, content in files.items()]
    manifest = Manifest(format_version=1, name="wu_test_1", model=load_model(model).reference, images=listed)
    write_work_unit(path, manifest, files)
    return manifest


def builds_in(cache: str) -> list[str]:
    """The unpacked builds in a cache."""
    return sorted(path.name for path in (Path(cache) / "crystal-search-client").iterdir() if path.is_dir())


def finished(checkpoint: Path) -> int:
    return len(list(checkpoint.glob("*.checkpoint")))


# ---- where it runs ----------------------------------------------------------------------------------------------


def test_version_and_help(executable: Path, warm: dict[str, str]) -> None:
    done = subprocess.run((executable, "--version"), env=warm, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"crystal-search-client {__version__}\n", "")
    done = subprocess.run((executable, "--help"), env=warm, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--self-test" in done.stdout


def test_it_leaves_nothing_in_the_home_and_speaks_to_nobody(executable: Path, tmp_path: Path) -> None:
    """onnxruntime's makers would like to know who uses it; a volunteer has not been asked."""
    home = tmp_path / "home"
    home.mkdir()
    passes(executable, env={"HOME": str(home)}, cwd=tmp_path)
    assert [path.name for path in home.iterdir()] == [".cache"]
    assert [path.name for path in (home / ".cache").iterdir()] == ["crystal-search-client"]


def test_with_no_environment_variable_at_all(executable: Path) -> None:
    cache = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "crystal-search-client"
    before = set(builds_in(str(cache.parent))) if cache.is_dir() else set()
    try:
        passes(executable, env={})
    finally:
        for build in set(builds_in(str(cache.parent))) - before:
            shutil.rmtree(cache / build)


def test_in_a_folder_with_blanks_and_umlauts(executable: Path, warm: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "Zöglings Ordner (neu) 晶"
    folder.mkdir()
    shutil.copy(executable, folder / "Kristall suche")
    passes(folder / "Kristall suche", cwd=folder, env=warm)
    cache = folder / "Zwischen speicher ü"
    passes(folder / "Kristall suche", cwd=folder, env={"XDG_CACHE_HOME": str(cache)})
    model = write_model(folder / "Modell ö")
    work_unit(folder / "Auftrag ä.zip", model, ("png", encoded(picture(("crystals_harvestable", 96, 64)))))
    command = (folder / "Kristall suche", "Auftrag ä.zip", "Ergebnis ß.zip", "--model", "Modell ö")
    done = subprocess.run(command, cwd=folder, env=warm, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read_results(folder / "Ergebnis ß.zip").images[0].score == "23"


def test_for_an_account_without_a_home_in_a_folder_that_it_can_not_write_to(open_folder: Path) -> None:
    """As under a service manager or in a container: it unpacks itself into a folder of its own below TMPDIR."""
    place = open_folder / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    here = open_folder / "here"
    here.mkdir()
    here.chmod(0o555)
    account: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    passes(open_folder / BUILT.name, cwd=here, env={"HOME": "/nonexistent", "TMPDIR": str(place)}, **account)
    (private,) = place.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700
    if account:
        assert private.stat().st_uid == 65534


def test_a_private_folder_of_somebody_else_is_not_trusted(open_folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make another account's folder")
    place = open_folder / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    foreign = place / "crystal-search-65534"
    foreign.mkdir()
    foreign.chmod(0o777)
    variables = {"HOME": "/nonexistent", "TMPDIR": str(place)}
    process = start(open_folder / BUILT.name, "--version", env=variables, user=65534, group=65534, extra_groups=[])
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (4, "")
    assert re.fullmatch(r"crystal-search-client: [^\n]*XDG_CACHE_HOME[^\n]*\n", errors)
    assert list(foreign.iterdir()) == []


#: Part of every Debian, and all that the executable may need of it: the C and C++ libraries and zlib.
BARE = ("base-files", "libc6", "libgcc-s1", "libstdc++6", "zlib1g")


@pytest.fixture(scope="module")
def bare_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian of five packages, without a shell and without Python."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Debian's apt-get and dpkg-deb")
    packages, root = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("root")
    packages.chmod(0o777)
    subprocess.run(("apt-get", "download", "-q", *BARE), cwd=packages, check=True, capture_output=True)
    for package in packages.glob("*.deb"):
        subprocess.run(("dpkg-deb", "--extract", package, root), check=True)
    for folder in ("proc", "tmp", "root"):
        (root / folder).mkdir(exist_ok=True)
    return root


def test_in_a_bare_debian_without_python(executable: Path, bare_root: Path) -> None:
    assert not list(bare_root.rglob("*python3*"))
    shutil.copy(executable, bare_root / "client")
    who = () if os.getuid() == 0 else ("--user", "--map-root-user")
    enter = f"mount -t proc proc '{bare_root}/proc' && exec env -i \"$(command -v chroot)\" '{bare_root}' /client --self-test"
    passes_in = subprocess.run(
        ("unshare", *who, "--mount", "--pid", "--fork", "sh", "-c", enter), capture_output=True, text=True, timeout=120
    )
    assert (passes_in.returncode, passes_in.stderr) == (0, "")
    assert re.fullmatch(PASSED, passes_in.stdout)


# ---- what it does -----------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_the_same_scores_as_from_a_checkout(executable: Path, warm: dict[str, str], tmp_path: Path) -> None:
    """Every kind of file that a client reads, and some that it does not: each has a decoder that the build may have lost."""
    jpeg = PICTURE.read_bytes()
    colour = Image.open(io.BytesIO(jpeg)).convert("RGB")
    gray = colour.convert("L")
    tiff = ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "lzma", "zstd")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 16)
    images = [
        ("jpg", jpeg),
        ("jpg", saved(gray, "JPEG", quality=90, progressive=True)),
        ("jpg", saved(colour.convert("CMYK"), "JPEG")),
        ("jpg", saved(colour, "MPO", save_all=True, append_images=[gray])),
        ("jpg", jpeg[: len(jpeg) // 2]),
        ("png", saved(colour, "PNG")),
        ("png", saved(deep, "PNG")),
        ("png", saved(colour.quantize(64), "PNG")),
        *(("tif", saved(colour, "TIFF", compression=kind)) for kind in tiff),
        ("tif", saved(deep, "TIFF")),
        ("png", saved(colour, "GIF")),
        ("png", saved(colour, "WEBP")),
        ("png", saved(colour, "BMP")),
    ]
    manifest = work_unit(tmp_path / "in.zip", default_model_folder(), *images)
    run(tmp_path / "in.zip", tmp_path / "python.zip", None, threads=1)
    done = subprocess.run((executable, tmp_path / "in.zip", tmp_path / "out.zip"), env=warm, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected, found = (read_results(tmp_path / name) for name in ("python.zip", "out.zip"))
    without_time = [[msgspec.structs.replace(image, seconds=0.0) for image in result.images] for result in (found, expected)]
    assert without_time[0] == without_time[1]
    assert [image.status.value for image in found.images].count("failed") == 4
    assert (found.runtime, found.provider, found.model) == (expected.runtime, expected.provider, expected.model)
    for image in manifest.images:
        assert read_overlay(tmp_path / "out.zip", image.id) == read_overlay(tmp_path / "python.zip", image.id)


def test_as_boinc_starts_it_with_a_new_model_beside_it(executable: Path, warm: dict[str, str], tmp_path: Path) -> None:
    """The program lies in the project's folder and runs in a slot; the work unit's model is found by its hash."""
    project, slot = tmp_path / "projects" / "lab", tmp_path / "slots" / "0"
    slot.mkdir(parents=True)
    project.mkdir(parents=True)
    shutil.copy(executable, project / "client_1.0")
    write_model(project / "models" / "another", threshold="0.9")
    model = write_model(project / "models" / "next")
    work_unit(slot / "in.zip", model, ("png", encoded(picture(("crystals_harvestable", 96, 64)))))
    arguments = ("in.zip", "out.zip", "--nthreads", "1.500000")
    done = subprocess.run(("../../projects/lab/client_1.0", *arguments), cwd=slot, env=warm, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_results(slot / "out.zip").model == load_model(model).reference


def test_a_model_beside_the_link_through_which_it_was_started(executable: Path, warm: dict[str, str], tmp_path: Path) -> None:
    model = write_model(tmp_path / "slot" / "models" / "next")
    (tmp_path / "slot" / "client").symlink_to(executable)
    work_unit(tmp_path / "in.zip", model, ("png", encoded(picture())))
    for called, path in (("slot/client", "/usr/bin:/bin"), ("client", f"{tmp_path / 'slot'}:/usr/bin:/bin")):
        out = tmp_path / "out.zip"
        out.unlink(missing_ok=True)
        command = ("/bin/sh", "-c", f"exec {called} in.zip out.zip")
        done = subprocess.run(command, cwd=tmp_path, env=warm | {"PATH": path}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert read_results(out).model == load_model(model).reference


def test_a_model_that_is_not_here_is_asked_for_by_name(executable: Path, warm: dict[str, str], tmp_path: Path) -> None:
    work_unit(tmp_path / "in.zip", write_model(tmp_path / "elsewhere"), ("png", encoded(picture())))
    done = subprocess.run((executable, tmp_path / "in.zip", tmp_path / "out.zip"), env=warm, capture_output=True, text=True)
    assert done.returncode == 3
    assert re.fullmatch(r"crystal-search-client: wu_test_1 asks for model [^\n]+\n", done.stderr)


# ---- stopped and started again ----------------------------------------------------------------------------------


@pytest.fixture
def long_work(tmp_path: Path) -> Path:
    """A work unit of many images that takes some seconds."""
    path = tmp_path / "in.zip"
    content = PICTURE.read_bytes()
    work_unit(path, default_model_folder(), *[("jpg", content)] * 30)
    return path


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["one", "group"])  # BOINC stops the process it started, systemd all of a service's at once
def test_asked_to_stop_it_keeps_its_work(
    executable: Path, warm: dict[str, str], tmp_path: Path, long_work: Path, stop: signal.Signals, whom: str
) -> None:
    out, checkpoint = tmp_path / "out.zip", tmp_path / "out.zip.checkpoint"
    process = start(executable, long_work, out, env=warm, start_new_session=True)
    while finished(checkpoint) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    (os.kill if whom == "one" else os.killpg)(process.pid, stop)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (4, "crystal-search-client: stopped; start it again and it continues\n")
    done_before = finished(checkpoint)
    assert done_before >= 2
    assert not out.exists()
    again = subprocess.run((executable, "-v", long_work, out), env=warm, capture_output=True, text=True)
    assert again.returncode == 0
    assert len(read_results(out).images) == 30
    assert not checkpoint.exists()


def test_killed_it_leaves_no_process_and_no_files_behind(executable: Path, warm: dict[str, str], tmp_path: Path, long_work: Path) -> None:
    """Killing the outer process can not be noticed by it; the inner one sees that its parent is gone."""
    before = builds_in(warm["XDG_CACHE_HOME"])
    out, checkpoint = tmp_path / "out.zip", tmp_path / "out.zip.checkpoint"
    process = start(executable, long_work, out, env=warm)
    while finished(checkpoint) < 1:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    process.communicate(timeout=120)  # ends when the inner process closes its end
    assert not out.exists()
    assert finished(checkpoint) >= 1
    assert builds_in(warm["XDG_CACHE_HOME"]) == before


def test_many_first_starts_at_once(executable: Path, tmp_path: Path) -> None:
    """BOINC starts a task for each processor; none may see another's half-written files."""
    for attempt in range(3):
        variables = {"XDG_CACHE_HOME": str(tmp_path / f"cache-{attempt}")}
        processes = [start(executable, "--self-test", env=variables) for _ in range(6)]
        for process in processes:
            out, errors = process.communicate(timeout=120)
            assert (process.returncode, errors) == (0, "")
            assert re.fullmatch(PASSED, out)
        assert len(builds_in(variables["XDG_CACHE_HOME"])) == 1


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_while_it_unpacks_itself(executable: Path, tmp_path: Path, stop: signal.Signals) -> None:
    variables = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = start(executable, "--self-test", env=variables)
    folder = tmp_path / "cache" / "crystal-search-client"
    while not folder.is_dir() or not builds_in(variables["XDG_CACHE_HOME"]):
        time.sleep(0.001)
    process.send_signal(stop)
    out, errors = process.communicate(timeout=120)
    assert out == ""
    if stop == signal.SIGTERM:
        assert (process.returncode, errors) == (4, "crystal-search-client: stopped; start it again and it continues\n")
    passes(executable, env=variables)


def test_damaged_files_in_the_cache_are_replaced(executable: Path, tmp_path: Path) -> None:
    variables = {"XDG_CACHE_HOME": str(tmp_path)}
    passes(executable, env=variables)
    library = max(tmp_path.rglob("*.so*"), key=lambda path: path.stat().st_size)
    library.write_bytes(library.read_bytes()[:1000])
    passes(executable, env=variables)


def test_builds_that_nobody_starts_any_more_are_deleted(executable: Path, tmp_path: Path) -> None:
    variables = {"XDG_CACHE_HOME": str(tmp_path)}
    folder = tmp_path / "crystal-search-client"
    for name, days in (("0.0.1-old", 31), ("0.0.2-recent", 29)):
        (folder / name).mkdir(parents=True)
        (folder / name / "library.so").write_bytes(b"")
        (folder / name / "last-used").write_bytes(b"")
        then = time.time() - days * 24 * 3600
        os.utime(folder / name / "last-used", (then, then))
    passes(executable, env=variables)
    names = builds_in(str(tmp_path))
    assert len(names) == 2
    assert "0.0.2-recent" in names
