"""Every so many days, as a schedule has it. No I/O."""

WEEK = 7
MONTH_DAYS, YEAR_DAYS = 28, 365
MOST_MONTHS = 11
AT = "0 3"
"""At night, when the server's clock says three (UTC)."""


def cron_of(days: int) -> tuple[str, str]:
    """A schedule that runs about so often, and what is not exact about it; empty: nothing is."""
    if days == WEEK:
        return f"{AT} * * 0", ""
    if days >= YEAR_DAYS:
        return f"{AT} 1 1 *", _note(days, "on 1 January of each year")
    if days >= MONTH_DAYS:
        months = max(1, min(days // 30, MOST_MONTHS))
        if months == 1:
            return f"{AT} 1 * *", _note(days, "on day 1 of each month")
        return f"{AT} 1 */{months} *", _note(days, f"on day 1 of each {months}th month of a year")
    shown = ", ".join(str(day) for day in range(1, 32, days))
    return f"{AT} */{days} * *", _note(days, f"on days {shown} of each month")


def _note(days: int, when: str) -> str:
    return f"auto_freeze_interval of {days} days is now: {when}"
