"""A plan as plain text: it looks the same on a terminal, in a file and in a mail."""

from __future__ import annotations

from collections.abc import Sequence

from crystal_search.planning.capacity import Plan, Platform

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def number_text(number: float, decimals: int = 0) -> str:
    """With a space between thousands: ``"15 666 284"``."""
    return f"{number:,.{decimals}f}".replace(",", " ")


def count_text(number: int, noun: str) -> str:
    """``"1 plate"``, ``"650 plates"``."""
    return f"{number_text(number)} {noun}{'' if number == 1 else 's'}"


def days_text(days: float) -> str:
    """Days with as many digits as help.

    >>> days_text(6473.1), days_text(64.73), days_text(6.473), days_text(0.00654)
    ('6 473', '64.7', '6.47', '0.0065')
    """
    if days < 0.995:
        return f"{days:.2g}"
    return number_text(days, 0 if days >= 99.95 else 1 if days >= 9.995 else 2)


def bytes_text(count: float) -> str:
    """Three digits in the units in which disks are sold, 1 kB = 1000 bytes.

    >>> bytes_text(1_316e9), bytes_text(20.37e9), bytes_text(999_600), bytes_text(12)
    ('1.32 TB', '20.4 GB', '1.00 MB', '12 bytes')
    """
    power = 0
    while count >= 999.5 and power < len(_UNITS) - 1:
        count, power = count / 1000, power + 1
    return f"{days_text(count) if power else number_text(count)} {_UNITS[power]}"


def table_text(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The title, a line of names and a line for each row; the first column starts at the left, the others end at the right.

    >>> print(table_text("Days", ("machines", "days"), [("1", "100"), ("20", "5")]))
    Days
      machines  days
      --------------
      1          100
      20           5
    """
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in (columns, *rows)
    ]
    return "\n".join([title, *(f"  {line}" for line in (lines[0], "-" * len(lines[0]), *lines[1:]))])


def plan_text(plan: Plan) -> str:
    """Keeping up, scoring the images, the machines for a day, and the disk: a table each, with what it rests on."""
    return "\n\n".join((_real_time(plan), _finish(plan), _deadlines(plan), _storage(plan)))


def _real_time(plan: Plan) -> str:
    rows = [
        (
            rate.rate,
            number_text(rate.seconds_between, 2),
            number_text(rate.images_a_day),
            number_text(rate.one_imager, 2),
            number_text(rate.all_imagers, 2),
            number_text(rate.machines),
        )
        for rate in plan.real_time
    ]
    columns = ("rate", "s an image", "images a day", "one imager", "all imagers", "rounded up")
    title = f"Machines that keep up with {count_text(plan.platform.imagers, 'imager')}"
    return f"{table_text(title, columns, rows)}\n{_rates(plan.platform)}"


def _rates(platform: Platform) -> str:
    """What the two rates mean, and whether the imagers reach the full one."""
    if platform.full_seconds < platform.imaging_seconds:
        reached = (
            f"At {platform.imaging_seconds:g} s an image the imagers keep up with only "
            f"{count_text(platform.plates_kept_up, 'plate')} in each incubator."
        )
    else:
        reached = f"At {platform.imaging_seconds:g} s an image the imagers keep up with that."
    return (
        "standard: no imager ever stops.\n"
        f"full: {count_text(platform.plates_per_incubator, 'plate')} in each of {count_text(platform.incubators, 'incubator')}, "
        f"{count_text(platform.inspections, 'inspection')} in {platform.days:g} days.\n{reached}"
    )


def _finish(plan: Plan) -> str:
    rows = [(number_text(finish.machines), days_text(finish.days)) for finish in plan.finish]
    return table_text(f"Scoring {count_text(plan.images, 'image')}", ("machines", "days"), rows)


def _deadlines(plan: Plan) -> str:
    rows = [
        (
            f"{count_text(deadline.days, 'day')}{f', before {deadline.by}' if deadline.by else ''}",
            number_text(deadline.exact, 2),
            number_text(deadline.machines),
        )
        for deadline in plan.deadlines
    ]
    table = table_text("Machines that finish in time", ("within", "exactly", "rounded up"), rows)
    return f"{table}\nThose that keep up with new images come on top. A machine scores one image at a time, day and night."


def _storage(plan: Plan) -> str:
    rows = [
        (row.what, number_text(row.images), bytes_text(row.results), bytes_text(row.overlays), bytes_text(row.crystal_overlays))
        for row in plan.storage
    ]
    table = table_text("Storage", ("for", "images", "results", "all overlays", "crystals' only"), rows)
    sizes = plan.sizes
    return (
        f"{table}\nA result has {number_text(sizes.result_bytes)} bytes and an overlay {number_text(sizes.overlay_bytes)}; "
        f"{100 * sizes.crystal_share:.3g} % of the images are taken to be crystals."
    )
