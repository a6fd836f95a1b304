"""``crystal-search server``: our part of a stock BOINC project."""

from __future__ import annotations

import re
from pathlib import Path

import click

from crystal_search.archives import MAX_IMAGES
from crystal_search.errors import UsageError
from server.install import Accounts, Wish, install, next_steps, remove
from server.limits import Replication, Workload
from server.project_files import open_project
from server.record import FILE as RECORD


@click.group()
def server() -> None:
    """What plugs into a stock BOINC server."""


@server.command(name="install")
@click.argument("project_dir", type=click.Path(path_type=Path))
@click.option("--remove", "take_out", is_flag=True, help="Take everything out again and restore what was there.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option(
    "--images-per-work-unit",
    type=click.IntRange(1, MAX_IMAGES),
    default=Workload.images,
    show_default=True,
    help="The most images in one work unit (generator.images_per_work_unit or more).",
)
@click.option(
    "--seconds-per-image",
    type=click.FloatRange(0, 3600, min_open=True),
    default=Workload.seconds_per_image,
    show_default=True,
    help="What an image takes on one core of the slowest computer that shall take part; `crystal-search plan` measures it.",
)
@click.option(
    "--replication",
    type=click.Choice([str(choice) for choice in Replication]),
    default=str(Replication.ONE),
    show_default=True,
    help="How many computers score a work unit; 2 must agree; adaptive: 2 until a computer has earned trust.",
)
@click.option(
    "--computers",
    type=click.Choice(["many", "few"]),
    default="many",
    show_default=True,
    help="How many take part; few (one or two): work that a computer has failed at or lost may go to the same one again.",
)
@click.option(
    "--jobs-per-core", type=click.IntRange(1, 100), default=Workload.jobs_per_core, show_default=True, help="Work units a core holds."
)
@click.option("--jobs-per-gpu", type=click.IntRange(1, 100), default=Wish.jobs_per_gpu, show_default=True, help="Work units a GPU holds.")
@click.option("--accounts", type=click.Choice([str(choice) for choice in Accounts]), help="Who may make an account [default: closed].")
@click.option("--invite-code", "invite_codes", multiple=True, help="A code that lets somebody make an account; may be given several times.")
@click.option("--validator", default=Wish.validator, show_default=True, help="Address of `crystal-search validate-service`.")
@click.option("--inbox", default="", help="Folder for results, as BOINC's daemons see it [default: results/inbox beside the project].")
def install_command(
    project_dir: Path,
    take_out: bool,
    dry_run: bool,
    images_per_work_unit: int,
    seconds_per_image: float,
    replication: str,
    computers: str,
    jobs_per_core: int,
    jobs_per_gpu: int,
    accounts: str | None,
    invite_codes: tuple[str, ...],
    validator: str,
    inbox: str,
) -> None:
    """Merge our templates, scripts, daemons and limits into the BOINC project in PROJECT_DIR. Doing it twice gives the same."""
    wish = Wish(
        Workload(images_per_work_unit, seconds_per_image, jobs_per_core, replication=Replication(replication)),
        jobs_per_gpu,
        _accounts(accounts, invite_codes),
        invite_codes,
        _line("--validator", validator),
        _line("--inbox", inbox),
        few_computers=computers == "few",
    )
    if wish.few_computers and wish.workload.replication is not Replication.ONE:
        raise UsageError("--computers few goes with --replication 1: results that are compared come from different computers")
    project = open_project(project_dir)
    lines = remove(project) if take_out else install(project, wish)
    if not dry_run:
        project.write(RECORD)
    would = "would be: " if dry_run else ""
    for line in lines:
        click.echo(f"{would}{line}")
    if not lines:
        click.echo(f"{project_dir}: nothing to {'remove' if take_out else 'change'}")
    elif not dry_run:
        click.echo("Now, in the project's folder:")
        for step in ["bin/stop && bin/start"] if take_out else next_steps(project):
            click.echo(f"  {step}")


def _accounts(given: str | None, codes: tuple[str, ...]) -> Accounts:
    accounts = Accounts(given) if given else Accounts.INVITE if codes else Accounts.CLOSED
    if (accounts is Accounts.INVITE) != bool(codes):
        raise UsageError("--accounts invite and --invite-code go together")
    for code in codes:
        if not re.fullmatch(r"[A-Za-z0-9_-]{6,64}", code):
            raise UsageError(f"--invite-code {code!r}: 6 to 64 letters, digits, - and _ only")
    return accounts


def _line(option: str, value: str) -> str:
    if value != value.strip() or not value.isprintable():
        raise UsageError(f"{option} {value!r}: one line without spaces around it")
    if option == "--validator" and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        raise UsageError(f"{option} {value!r}: not an address such as {Wish.validator}")
    if option == "--inbox" and value and not value.startswith("/"):
        raise UsageError(f"{option} {value!r}: give the whole path, for BOINC's daemons run in folders of their own")
    return value
