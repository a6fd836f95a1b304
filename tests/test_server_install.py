"""``crystal-search server install``: our part goes into an admin's project once, and out of it without a trace."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from boinc_project import make_project
from click.testing import CliRunner, Result

from crystal_search.errors import CrystalSearchError, UsageError
from server.cli import server
from server.install import SCRIPTS
from server.limits import Replication, Workload


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def run(project: Path, *options: str) -> list[str]:
    """What the command says; it must end well."""
    result = call(project, *options)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output.splitlines()


def call(project: Path, *options: str) -> Result:
    return CliRunner().invoke(server, ["install", str(project), *options])


def files(project: Path) -> dict[str, tuple[bytes, int]]:
    """Everything in the project: content and rights."""
    return {
        str(path.relative_to(project)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(project.rglob("*"))
        if path.is_file()
    }


def config(project: Path) -> ElementTree.Element:
    return ElementTree.parse(project / "config.xml").getroot()


def commands(project: Path) -> list[str]:
    return [element.text or "" for element in config(project).iterfind("daemons/daemon/cmd")]


def value(project: Path, name: str) -> str | None:
    return config(project).findtext(f"config/{name}")


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


# ---- what is there afterwards ---------------------------------------------------------------------------------------


def test_a_stock_project_gets_all_that_a_grid_needs(project: Path) -> None:
    lines = run(project)
    assert {name: value(project, name) for name in ("ignore_upload_certificates", "dont_generate_upload_certificates")} == {
        "ignore_upload_certificates": "0",
        "dont_generate_upload_certificates": "0",
    }
    assert value(project, "max_wus_in_progress") == "2"
    assert value(project, "disable_account_creation") == "1"
    assert value(project, "db_passwd") == "hidden & secret"
    assert commands(project) == [
        "feeder -d 3 --priority_order_create_time",
        "transitioner -d 3 ",
        "file_deleter -d 3 ",
        'script_validator -d 3 --app crystal_search --init_script "crystal_search_validate"',
        'script_assimilator -d 3 --app crystal_search --script "crystal_search_assimilate"',
    ]
    for script in ("crystal_search_validate", "crystal_search_compare", "crystal_search_assimilate"):
        assert os.access(project / "bin" / script, os.X_OK)
        assert (project / "bin" / script).read_text().startswith("#!/bin/sh\n")
    assert 'define("USE_STOPFORUMSPAM", false);' in (project / "html/project/project.inc").read_text()
    assert "config.xml: ignore_upload_certificates 1 -> 0" in lines
    assert "  bin/xadd                        # once: tells BOINC's database of the application" in lines


def test_the_daemons_have_logs_and_process_ids_of_their_own(project: Path) -> None:
    run(project)
    for program in ("script_validator", "script_assimilator"):
        (daemon,) = [e for e in config(project).iterfind("daemons/daemon") if (e.findtext("cmd") or "").startswith(program)]
        assert daemon.findtext("output") == f"{program}_crystal_search.log"
        assert daemon.findtext("pid_file") == f"{program}_crystal_search.pid"


def test_the_application_and_every_platform_are_in_project_xml_once(project: Path) -> None:
    run(project)
    root = ElementTree.parse(project / "project.xml").getroot()
    assert [app.findtext("name") for app in root.iterfind("app")] == ["crystal_search"]
    names = [platform.findtext("name") for platform in root.iterfind("platform")]
    assert sorted(map(str, names)) == [
        "aarch64-unknown-linux-gnu",
        "arm64-apple-darwin",
        "windows_x86_64",
        "x86_64-apple-darwin",
        "x86_64-pc-linux-gnu",
    ]
    assert root.findtext("platform[name='windows_x86_64']/user_friendly_name") == "Windows", "the admin's own words"


def test_plan_classes_name_their_gpu_so_that_the_scheduler_finds_it(project: Path) -> None:
    """BOINC tells a GPU's maker from the plan class's name (cuda, nvidia, amd, intel_gpu), and offers no work to others."""
    run(project)
    classes = {str(c.findtext("name")): c for c in ElementTree.parse(project / "plan_class_spec.xml").getroot().iterfind("plan_class")}
    assert set(classes) == {"mt", "cuda", "directml_nvidia", "directml_amd", "directml_intel_gpu", "coreml"}
    makers = {name: c.findtext("gpu_type") for name, c in classes.items()}
    assert makers == {
        "mt": None,
        "cuda": "nvidia",
        "directml_nvidia": "nvidia",
        "directml_amd": "amd",
        "directml_intel_gpu": "intel_gpu",
        "coreml": "apple",
    }
    assert classes["mt"].find("nthreads_cmdline") is not None


def test_the_templates_name_the_clients_files(project: Path) -> None:
    run(project)
    asked = ElementTree.parse(project / "templates/crystal_search_in").getroot()
    assert asked.findtext("workunit/file_ref/open_name") == "in.zip"
    assert asked.find("workunit/file_ref/copy_file") is not None
    answered = (project / "templates/crystal_search_out").read_text()
    assert re.search(r"<open_name>out\.zip</open_name>\s*<copy_file/>", answered)
    assert "gzip" not in answered
    assert "$" not in answered + (project / "templates/crystal_search_in").read_text()


def number(project: Path, name: str) -> int:
    return int(ElementTree.parse(project / "templates/crystal_search_in").getroot().findtext(f"workunit/{name}") or "")


def test_limits_follow_from_the_work_unit(project: Path) -> None:
    """64 images of 5 s, two work units a core, a quarter of the day: 2 x 2 x 320 s / 0.25 is far below a day."""
    run(project)
    assert number(project, "delay_bound") == 86_400
    assert number(project, "max_error_results") == 2, "the third error ends it"
    assert "<max_nbytes>67108864</max_nbytes>" in (project / "templates/crystal_search_out").read_text()
    run(project, "--seconds-per-image", "1200", "--images-per-work-unit", "8")
    assert number(project, "delay_bound") == 43 * 3600  # 2 x 2 x 9600 s / 0.25 = 153 600 s = 42.7 h
    assert number(project, "rsc_memory_bound") == 1280 * 2**20


def test_limits_by_hand() -> None:
    slow = Workload(images=64, seconds_per_image=300.0, jobs_per_core=2)
    assert slow.seconds == 19_200
    assert slow.delay_bound == 86 * 3600  # 2 x 2 x 19 200 / 0.25 = 307 200 s = 85.3 h
    assert slow.daily_quota == 500
    assert Workload(images=32, seconds_per_image=0.5).daily_quota == 108_000  # 16 s; 1.6 s on the fast one; 54 000 a day
    assert Workload(images=32).result_bytes == 36 * 2**20
    assert Workload(replication=Replication.TWO).numbers()["max_error_results"] == "5"


def test_two_computers_when_machines_are_not_trusted(project: Path) -> None:
    run(project, "--replication", "2")
    assert number(project, "min_quorum") == number(project, "target_nresults") == 2
    assert '--compare_script "crystal_search_compare"' in commands(project)[3]
    assert value(project, "one_result_per_host_per_wu") == "1"


def test_adaptive_replication_says_what_is_left_to_do(project: Path) -> None:
    lines = run(project, "--replication", "adaptive")
    assert number(project, "target_nresults") == 1
    assert '--compare_script "crystal_search_compare"' in commands(project)[3]
    script = project / "bin/crystal_search_replication"
    assert "\ncopies=2\n" in script.read_text(), "a computer without merit is compared with another one"
    steps = [line.split("#")[0].strip() for line in lines[-3:]]
    assert steps == ["bin/xadd", "bin/crystal_search_replication", "bin/stop && bin/start"], "the daemons read the database at their start"
    run(project)
    assert "\ncopies=0\n" in script.read_text(), "and is not any more"


def test_a_lab_with_one_computer_may_send_it_the_same_work_again(project: Path) -> None:
    """BOINC counts every copy that a computer ever had of a work unit, also one that it lost or failed at."""
    run(project, "--computers", "few")
    assert value(project, "one_result_per_host_per_wu") == "0"
    run(project)
    assert value(project, "one_result_per_host_per_wu") == "1"


def test_invitation_codes(project: Path) -> None:
    inc = project / "html/project/project.inc"
    said = run(project, "--invite-code", "spring-2026", "--invite-code", "xtal-lab")
    assert "html/project/project.inc: INVITE_CODES changed" in said
    assert "xtal-lab" not in "".join(said), "it would stay in the log of the container that installs"
    assert 'define("INVITE_CODES", "/^(spring-2026|xtal-lab)$/");' in inc.read_text()
    assert '//define("INVITE_CODES", "/^an-example$/");' in inc.read_text()
    assert value(project, "disable_account_creation") == "0"
    run(project)
    assert inc.read_text().count("INVITE_CODES") == 1, "closed again"
    assert value(project, "disable_account_creation") == "1"


# ---- twice, and out again -------------------------------------------------------------------------------------------


def test_twice_gives_the_same(project: Path) -> None:
    run(project)
    once = files(project)
    assert run(project) == [f"{project}: nothing to change"]
    assert files(project) == once


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--replication", "2", "--invite-code", "xtal-lab", "--inbox", "/results/inbox"),
        ("--accounts", "open", "--seconds-per-image", "1"),
    ],
)
def test_it_goes_out_without_a_trace(project: Path, options: tuple[str, ...]) -> None:
    before = files(project)
    run(project, *options)
    assert files(project) != before
    run(project)  # other options in between
    run(project, *options)
    run(project, "--remove")
    assert files(project) == before
    assert run(project, "--remove") == [f"{project}: nothing to remove"]


def test_a_project_without_web_pages(project: Path) -> None:
    (project / "html/project/project.inc").unlink()
    assert "html/project/project.inc: not there; the web pages stay as they are" in run(project)
    assert run(project) == [f"{project}: nothing to change"]


def test_a_dry_run_says_everything_and_changes_nothing(project: Path) -> None:
    before = files(project)
    said = run(project, "--dry-run")
    assert files(project) == before
    done = run(project)
    assert [line.removeprefix("would be: ") for line in said] == done[: len(said)]
    installed = files(project)
    assert any("as before" in line for line in run(project, "--remove", "--dry-run"))
    assert files(project) == installed


def test_the_admins_own_elements_and_comments_stay(project: Path) -> None:
    path = project / "config.xml"
    edit(path, "<show_results>", "<!-- ours since 2019: do not touch -->\n        <show_results>")
    edit(path, "feeder -d 3 ", "feeder -d 3 --allapps --random_order")
    edit(path, "<tasks>", "<tasks><!-- nightly -->")
    edit(path, "<ignore_upload_certificates>1</ignore_upload_certificates>", "<ignore_upload_certificates/>")
    before = files(project)
    run(project)
    text = path.read_text()
    assert "<!-- ours since 2019: do not touch -->\n        <show_results>" in text
    assert "<tasks><!-- nightly -->" in text
    assert commands(project)[0] == "feeder -d 3 --allapps --priority_order_create_time"
    untouched = [line for line in before["config.xml"][0].decode().splitlines() if line not in text.splitlines()]
    assert len(untouched) == 5, untouched  # the feeder and the four values that the stock file has otherwise
    run(project, "--remove")
    assert files(project) == before


def test_what_the_admin_changed_since_stays(project: Path) -> None:
    run(project)
    edit(project / "config.xml", "<max_wus_in_progress>2<", "<max_wus_in_progress>7<")
    edit(project / "templates/crystal_search_in", "<delay_bound>86400<", "<delay_bound>7200<")
    edit(project / "plan_class_spec.xml", "<max_threads>4<", "<max_threads>32<")
    lines = run(project, "--images-per-work-unit", "32")
    assert "templates/crystal_search_in: was changed by hand and stays; delete it to get the new one" in lines
    assert number(project, "delay_bound") == 7200
    edit(project / "config.xml", "<max_wus_in_progress>2<", "<max_wus_in_progress>7<")
    lines = run(project, "--remove")
    assert "config.xml: max_wus_in_progress was changed since and stays" in lines
    assert "templates/crystal_search_in: was changed by hand and stays" in lines
    assert "plan_class_spec.xml: plan_class mt was changed since and stays" in lines
    assert value(project, "max_wus_in_progress") == "7"
    assert (project / "templates/crystal_search_in").exists()
    assert value(project, "ignore_upload_certificates") == "1"


def test_a_value_that_was_the_admins_own_is_not_taken_away(project: Path) -> None:
    edit(project / "config.xml", "<ignore_upload_certificates>1<", "<ignore_upload_certificates>0<")
    before = files(project)
    run(project)
    run(project, "--remove")
    assert files(project) == before


def test_plan_classes_and_daemons_of_others_stay(project: Path) -> None:
    theirs = "<plan_classes>\n  <plan_class>\n    <name> cuda </name>\n    <gpu_type>nvidia</gpu_type>\n  </plan_class>\n</plan_classes>\n"
    (project / "plan_class_spec.xml").write_text(theirs)
    edit(project / "config.xml", "<daemons>", '<daemons><daemon><cmd>script_validator --app other --init_script "x"</cmd></daemon>')
    before = files(project)
    assert "plan_class_spec.xml: plan_class cuda was there already and stays as it is" in run(project)
    assert (project / "plan_class_spec.xml").read_text().count("<name>cuda</name>") == 0
    assert commands(project)[0] == 'script_validator --app other --init_script "x"'
    run(project, "--remove")
    assert files(project) == before


def test_the_file_with_the_password_keeps_its_rights_and_a_copy(project: Path) -> None:
    before = (project / "config.xml").read_bytes()
    run(project)
    for name in ("config.xml", "config.xml.before_crystal_search"):
        assert stat.S_IMODE((project / name).stat().st_mode) == 0o640
    assert (project / "config.xml.before_crystal_search").read_bytes() == before
    run(project, "--replication", "2")
    assert (project / "config.xml.before_crystal_search").read_bytes() == before, "the first one, not the last"


def test_a_kill_between_two_files_is_mended_by_the_next_call(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(project)
    real = os.replace
    for survives in range(1, 14):
        left = survives

        def killed(*arguments: Any, **options: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", lambda self, target: killed(self, target))
            call(project)
        for leftover in project.rglob(".*.part"):
            leftover.unlink()
        run(project)
        run(project, "--remove")
        assert files(project) == before, f"killed after {survives} files"


# ---- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda project: (project / "config.xml").unlink(), "not a BOINC project, it has no config.xml"),
        (lambda project: (project / "config.xml").write_text("<boinc><config></boinc>"), "not well-formed XML"),
        (lambda project: (project / "config.xml").write_text("<rss/>"), "not a BOINC project, its config.xml lacks"),
        (lambda project: (project / "config.xml").write_bytes(b"<boinc>\xff</boinc>"), "not in UTF-8"),
        (lambda project: (project / "templates").rmdir(), "not a BOINC project, it has no folder templates/"),
    ],
)
def test_a_folder_that_is_no_project_is_refused_with_one_line(project: Path, spoil: Any, line: str) -> None:
    spoil(project)
    before = files(project)
    error = call(project).exception
    assert isinstance(error, UsageError)
    assert line in str(error)
    assert "\n" not in str(error)
    assert files(project) == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no config.xml" in str(call(tmp_path / "nowhere").exception)


@pytest.mark.parametrize(
    "options",
    [
        ("--accounts", "invite"),
        ("--accounts", "closed", "--invite-code", "xtal-lab"),
        ("--invite-code", "$/.*"),
        ("--validator", "validator:8470"),
        ("--validator", "http://validator:8470/\nx"),
        ("--inbox", " /results"),
        ("--inbox", "results/inbox"),
        ("--computers", "few", "--replication", "2"),
    ],
)
def test_impossible_options_are_refused(project: Path, options: tuple[str, ...]) -> None:
    before = files(project)
    assert isinstance(call(project, *options).exception, UsageError)
    assert files(project) == before


def test_a_file_that_can_not_be_deleted_is_told_in_one_line_and_the_next_call_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(project)
    run(project)

    def refused(path: Path, **_: bool) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        error = call(project, "--remove").exception
    assert isinstance(error, CrystalSearchError)
    assert str(error).endswith("can not be deleted (Permission denied); run the command again as the project's user")
    run(project, "--remove")
    assert files(project) == before


def test_a_broken_list_or_record_stops_before_anything_is_written(project: Path) -> None:
    (project / "project.xml").write_text("<boinc><app>")
    before = files(project)
    assert "project.xml: not well-formed XML" in str(call(project).exception)
    assert files(project) == before
    (project / "crystal_search_install.json").write_text("{")
    error = call(project, "--remove").exception
    assert isinstance(error, CrystalSearchError)
    assert "crystal_search_install.json: can not be understood" in str(error)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_plain_posix_shell(script: str) -> None:
    path = Path(__file__).parent.parent / "server/files/bin" / script
    assert subprocess.run(["dash", "-n", path], check=False).returncode == 0
    text = path.read_text()
    assert not re.search(r"\[\[|\blocal\b|\bfunction\b|<<<|\$'|\becho\b|==", text), "not POSIX, or not the same everywhere"
