"""Commands of the kernel over the API: jobs, schedules, audit, events, who am I."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from holdfast.commands import output
from holdfast.commands.contexts import connect
from holdfast.commands.follow import follow_log
from holdfast.commands.output import Form
from holdfast.commands.verbs import DRY_RUN, Field, Verb, choose_form, noun

JOB_COLUMNS = ("id", "kind", "title", "state", "created_at", "finished_at", "error")
SCHEDULE_COLUMNS = ("name", "kind", "cron", "timezone", "enabled", "next_run_at", "last_run_at")
AUDIT_COLUMNS = ("id", "created_at", "actor", "action", "entity_type", "entity_id")
_JOB, _SCHEDULE = "/api/jobs/{job}", "/api/schedules/{schedule}"

JOBS = (
    Verb(
        name="list",
        path="/api/jobs",
        columns=JOB_COLUMNS,
        fields=(
            Field(name="state", kind="texts", query=True, help="Only this state; repeatable."),
            Field(name="kind", query=True, help="Only this kind."),
            Field(name="schedule", query=True, help="Only jobs of this schedule."),
            Field(name="sort", query=True, help="Like title, -started; the newest first."),
            Field(name="limit", kind="number", query=True, help="At most so many."),
        ),
        help="List jobs, newest first.",
    ),
    Verb(name="show", path=_JOB, help="Show a job and its steps."),
    Verb(
        name="cancel", method="POST", path=f"{_JOB}/cancel", follow="job", help="End a job early."
    ),
    Verb(
        name="retry",
        method="POST",
        path=f"{_JOB}/retry",
        follow="job",
        help="Run a failed job again from the step in which it ended.",
    ),
    Verb(
        name="dismiss",
        method="POST",
        path=f"{_JOB}/dismiss",
        help="Let a failed job wait on the overview for nobody any more.",
    ),
    Verb(
        name="dismiss-all",
        method="POST",
        path="/api/jobs/dismiss",
        help="The same with every failed job that there is now.",
    ),
)
SCHEDULES = (
    Verb(
        name="list",
        path="/api/schedules",
        columns=SCHEDULE_COLUMNS,
        fields=(
            Field(name="search", query=True, help="Only those with this in name, title or kind."),
            Field(name="sort", query=True, help="Like next, -last; by name."),
            Field(name="limit", kind="number", query=True, help="At most so many."),
        ),
        help="List schedules.",
    ),
    Verb(name="show", path=_SCHEDULE, help="Show a schedule."),
    Verb(
        name="create",
        method="POST",
        path="/api/schedules",
        fields=(
            Field(name="name", argument=True, help="Its name."),
            Field(name="kind", required=True, help="The kind of job it runs."),
            Field(name="cron", required=True, help="minute hour day month weekday."),
            Field(name="args", kind="json", help="Arguments of the job, as a JSON object."),
            Field(name="timezone", help="Like Europe/Berlin; UTC by default."),
            Field(name="title", help="Title of its jobs."),
            Field(name="enabled", kind="flag", help="Whether it runs."),
            DRY_RUN,
        ),
        help="Let a job run by itself.",
    ),
    Verb(
        name="update",
        method="PATCH",
        path=_SCHEDULE,
        fields=(
            Field(name="cron", help="minute hour day month weekday."),
            Field(name="args", kind="json", help="Arguments of the job, as a JSON object."),
            Field(name="timezone", help="Like Europe/Berlin."),
            Field(name="enabled", kind="flag", help="Whether it runs."),
            DRY_RUN,
        ),
        help="Change when and with what it runs.",
    ),
    Verb(
        name="pause",
        method="PATCH",
        path=_SCHEDULE,
        fixed=(("enabled", False),),
        help="Run it no more until it is resumed.",
    ),
    Verb(
        name="resume",
        method="PATCH",
        path=_SCHEDULE,
        fixed=(("enabled", True),),
        help="Run it again.",
    ),
    Verb(
        name="trigger",
        method="POST",
        path=f"{_SCHEDULE}/trigger",
        follow="job",
        help="Run its job now.",
    ),
    Verb(
        name="delete",
        method="DELETE",
        path=_SCHEDULE,
        confirm=True,
        done="deleted",
        help="Delete a schedule; its jobs stay.",
    ),
)
AUDIT = (
    Verb(
        name="list",
        path="/api/audit",
        columns=AUDIT_COLUMNS,
        paged=False,
        fields=(
            Field(name="page", kind="number", query=True, help="Which page, from 1."),
            Field(name="per_page", kind="number", query=True, help="Rows of a page, at most 200."),
            Field(name="entity_type", query=True, help="Only this sort of thing."),
            Field(name="entity_id", query=True, help="Only this thing."),
            Field(name="from", query=True, help="Not before this moment."),
            Field(name="to", query=True, help="Not after this moment."),
            Field(name="sort", query=True, help="Like who, -what; the newest first."),
        ),
        help="List who changed what, newest first.",
    ),
)
_MESSAGE = "/api/notifications/{notification}"
NOTIFICATIONS = (
    Verb(
        name="list",
        path="/api/notifications",
        columns=("id", "created_at", "subject", "kinds", "state", "attempts", "problem"),
        fields=(
            Field(name="state", query=True, help="waiting, sent or 'given up'."),
            Field(name="limit", kind="number", query=True, help="At most so many."),
        ),
        help="List messages to people and programs, newest first.",
    ),
    Verb(
        name="retry",
        method="POST",
        path=f"{_MESSAGE}/retry",
        help="Try a message again that was given up.",
    ),
    Verb(
        name="delete",
        method="DELETE",
        path=_MESSAGE,
        confirm=True,
        done="deleted",
        help="Forget a message that was given up.",
    ),
)


def job_log(
    job: Annotated[str, typer.Argument(help="the job")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    context: Annotated[str, typer.Option(help="Which server.")] = "",
) -> None:
    """Print a job's log."""
    with connect(context) as client:
        if follow:
            follow_log(client, job, _write)
            return
        offset = 0
        while True:
            chunk = client.get(f"/api/jobs/{job}/log", offset=offset)
            _write(chunk["text"])
            if chunk["next_offset"] in (offset, chunk["size_bytes"]):
                return
            offset = chunk["next_offset"]


def event_list(
    *,
    topics: Annotated[str, typer.Option(help="Names with commas between; empty: all.")] = "",
    after: Annotated[str, typer.Option(help="Begin after the event of this id.")] = "",
    form: Annotated[Form, typer.Option("--output", "-o", help="Form of the result.")] = Form.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    context: Annotated[str, typer.Option(help="Which server.")] = "",
) -> None:
    """Print events as they happen, until interrupted."""
    choose_form(form, as_json=as_json)
    with connect(context) as client:
        for event in client.events(topics, after=after):
            if output.chosen() is Form.TABLE:
                _write(f"{event.id} {event.topic} {event.kind} {json.dumps(event.data)}\n")
            else:
                body = {"id": event.id, "topic": event.topic, "kind": event.kind}
                _write(json.dumps({**body, "data": event.data}) + "\n")


def nouns() -> Sequence[typer.Typer]:
    """The kernel's nouns that speak to the API."""
    jobs = noun("job", "Durable work that runs in the background.", JOBS)
    jobs.command("log")(job_log)
    events = typer.Typer(name="event", help="What happens, as it happens.", no_args_is_help=True)
    events.callback()(_group)
    events.command("list")(event_list)
    audit = noun("audit", "Who changed what.", AUDIT)
    audit.callback()(_group)
    schedules = noun("schedule", "Jobs that run by themselves.", SCHEDULES)
    messages = noun("notification", "Who was told of the end of a job.", NOTIFICATIONS)
    return (jobs, schedules, messages, audit, events)


WHOAMI = Verb(name="whoami", path="/api/whoami", help="Show who this token speaks for.")
HEALTH = Verb(name="health", path="/api/health", help="Show whether the server is well.")


def _group() -> None:
    """A group with one command stays a group."""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
