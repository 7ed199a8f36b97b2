"""The table [app.NAME.cron.CRON]."""

from __future__ import annotations

from substitute.config.tables import Table, key, optional
from substitute.config.values import Command, PositiveDuration, Switch, Times, Zone


class CronConfig(Table):
    """A command that runs at fixed times in the live version. See docs/cron.md.

    CRON is made of a-z, 0-9 and -, begins with a letter, and has at most 32 characters.
    """

    at = key(
        Times,
        "When: minute, hour, day of the month, month and day of the week, as in a crontab, or `@hourly`, `@daily`, "
        "`@weekly`, `@monthly`, `@yearly`.",
        example="30 6 * * 1-5",
    )
    command = key(
        Command,
        "The shell command. It runs in the app's directory of the live slot, as the app's user, with the variables of "
        "the app but no $PORT. SUBSTITUTE_CRON is its name.",
        example="python manage.py digest",
    )
    timezone = optional(
        Zone, "The time zone of `at`. Without it: that of the machine.", example="Europe/Berlin"
    )
    timeout = key(
        PositiveDuration,
        "After this time it gets SIGTERM, and then SIGKILL, with all that it has started.",
        default="1h",
    )
    overlap = key(
        Switch,
        "Whether it may begin while an earlier run goes on. Otherwise that time is skipped, which the history shows.",
        default=False,
    )
