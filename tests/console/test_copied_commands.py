"""What a page copies as a command is one: the command line takes it, the API has its address."""

import json
import re
import shlex
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute
from typer.main import get_command

from docs.console_pages import PAGES
from docs.console_site import edit_by_hand
from holdfast.assembly import routers
from holdfast.cli import app
from holdfast.demo.fleet import Fleet
from tests.console.browser import Console

A_FORM = re.compile(r"new|edit|keys|setup|/pull|/freeze")
FORMS = {name: path for name, path in PAGES.items() if A_FORM.search(path)}
FORMS |= {"promote": PAGES["bucket-promote"], "role": PAGES["user"]}
FORMS |= {"import": PAGES["config-import"]}
GATHER = """() => {
  const copied = [];
  Object.defineProperty(navigator, "clipboard",
    { value: { writeText: async (text) => { copied.push(text); } }, configurable: true });
  for (const field of document.querySelectorAll("main form [required]"))
    if (field.value === "")
      field.value = field.tagName === "SELECT" ? field.options[1].value
        : field.type === "number" ? "1" : field.placeholder || "given";
  for (const button of document.querySelectorAll("main [data-copy-form]")) button.click();
  return copied;
}"""
GATHER_CHOSEN = GATHER.replace("[data-copy-form]", "[data-copy-chosen]")
ROUTES = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
BUTTON = re.compile(
    r'<button[^>]*?data-copy="(?P<cli>holdfast [^"]*)"'
    r'|<button[^>]*?data-copy-curl="(?P<curl>[^"]*)"(?: data-body="(?P<body>[^"]*)")?'
)

POSTED = re.compile(
    r'<form[^>]* method="post"[^>]* action="([^"?]*).*?</form>(?:\s*<details.*?</details>)?',
    re.DOTALL,
)
ACTS = re.compile(r'<button(?![^>]*(?:type="button"|formnovalidate))[^>]*>([^<]*)')
COPIES = {
    "CLI": re.compile(r'data-copy="|data-copy-(?:form|chosen)="cli"'),
    "curl": re.compile(r'data-copy-(?:curl=|(?:form|chosen)="curl")'),
}
NOT_COPIED = {
    ("/login", "CLI"): "a login is a browser's",
    ("/login", "curl"): "a login is a browser's",
    ("/logout", "CLI"): "a login is a browser's",
    ("/logout", "curl"): "a login is a browser's",
    ("/web/account/password", "CLI"): "the command line has the key of the machine, no password",
    ("/web/account/end-others", "CLI"): "the command line has no login",
    ("/web/config/import", "curl"): "for a Holdfast that is empty: by its page or its command",
}
"""Address of a form, what it does not copy, and why."""


def not_copied(page: str) -> set[tuple[str, str]]:
    """Forms of a page with more buttons that act than commands, or calls, that are copied."""
    found = set()
    for form in POSTED.finditer(page):
        acts = ACTS.findall(form[0])
        for kind, copy in COPIES.items():
            if len(copy.findall(form[0])) < len(acts):
                found.add((form[1], kind))
    return found


def parse_command(text: str) -> None:
    """Have the real command line read it, without running it. Raises what it complains of."""
    program, *words = shlex.split(text)
    assert program == "holdfast"
    command: Any = get_command(app)
    context, name = None, program
    while hasattr(command, "resolve_command"):
        context = command.context_class(command, parent=context, info_name=command.name)
        name, command, words = command.resolve_command(context, words)
    command.make_context(name, words, parent=context)


def check_call(method: str, address: str, body: object) -> None:
    """The API has this address, and the body fits its schema."""
    path = urlsplit(address).path
    found = [
        route
        for route in ROUTES
        if method in (route.methods or ()) and route.path_regex.fullmatch(path)
    ]
    assert found, f"no route takes {method} {path}"
    wanted = found[0].body_field
    if wanted is None:
        assert body is None, f"{method} {path} takes no body"
    elif body is not None or wanted.field_info.is_required():
        _, errors = wanted.validate(body, loc=("body",))
        assert not errors, f"{method} {path}: {errors}"


def check_curl(text: str) -> None:
    """A copied call of curl."""
    words = shlex.split(text)
    body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
    check_call(words[words.index("-X") + 1], words[-1], body)


async def test_every_act_can_be_copied_as_what_the_command_line_and_the_api_take(
    fleet: Fleet, names: dict[str, str]
) -> None:
    edit_by_hand(fleet)
    headers = {"Authorization": f"Bearer {fleet.token}", "Accept": "text/html"}
    faults, count, allowed = [], 0, set(NOT_COPIED)
    async with httpx.AsyncClient(base_url=fleet.api_url, headers=headers, timeout=30) as client:
        for path in PAGES.values():
            page = (await client.get(path.format(**names))).text
            for found in BUTTON.finditer(page):
                cli, curl, body = (unescape(text or "") for text in found.groups())
                count += 1
                try:
                    if cli:
                        parse_command(cli)
                    else:
                        method, address = curl.split(" ", 1)
                        check_call(method, address, json.loads(body) if body else None)
                except Exception as error:  # noqa: BLE001 - all of them are told at once
                    faults.append(f"{path}: {cli or curl}: {error}")
            faults += [f"{path}: {form}: no {kind}" for form, kind in not_copied(page) - allowed]
        await client.post("/api/config/rewrite-file", json={"path": "pools/old.conf"})
    assert count > 40
    assert not faults, "\n".join(sorted(set(faults)))


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_copies_what_the_command_line_and_the_api_take(
    console: Console, names: dict[str, str], name: str
) -> None:
    await console.go(FORMS[name].format(**names))
    for text in await console.page.evaluate(GATHER):
        if text.startswith("curl"):
            check_curl(text)
        else:
            parse_command(text)


@pytest.mark.parametrize(
    ("name", "trials"),
    [
        ("tier-freeze", [True, False]),
        ("tier-pull", [False, True]),
        ("migration-new", [True]),
        ("vhost-edit", [False, True]),
    ],
)
async def test_what_is_copied_beside_a_button_is_a_dry_run_when_the_button_is(
    console: Console, names: dict[str, str], name: str, trials: list[bool]
) -> None:
    await console.go(PAGES[name].format(**names))
    copied = await console.page.evaluate(GATHER)
    assert ["--dry-run" in text for text in copied[::2]] == trials
    assert ["dry_run" in text for text in copied[1::2]] == trials


async def test_the_edit_form_of_a_schedule_copies_a_change_not_a_new_one(
    console: Console, fleet: Fleet, names: dict[str, str]
) -> None:
    assert names
    async with fleet.api() as api:
        made = {"name": "copied", "kind": "migrations.move", "cron": "0 3 * * 1", "enabled": False}
        assert (await api.post("/api/schedules", json=made)).is_success
        await console.go("/web/schedules/copied/edit")
        await console.check_in_every_look()
        command, call, *tried = await console.page.evaluate(GATHER)
        assert command.startswith("holdfast schedule update copied --cron '0 3 * * 1'")
        assert call.startswith("curl -X PATCH")
        parse_command(command)
        check_curl(call)
        parse_command(tried[0])
        assert "dry_run" in tried[1]
        assert (await api.delete("/api/schedules/copied")).is_success


@pytest.mark.parametrize("name", ["pool", "vhost", "vhosts"])
async def test_what_is_done_with_chosen_rows_copies_a_batch(
    console: Console, fleet: Fleet, names: dict[str, str], name: str
) -> None:
    await console.go(PAGES[name].format(**names))
    await console.page.get_by_label("Select all shown").check()
    copied = await console.page.evaluate(GATHER_CHOSEN)
    assert [text.split()[0] for text in copied] == ["holdfast", "curl"] * 2
    for text in copied:
        if text.startswith("curl"):
            check_curl(text)
            body = json.loads(shlex.split(text)[shlex.split(text).index("-d") + 1])
            async with fleet.api() as api:
                tried = await api.post("/api/config/batch?dry_run=true", json=body)
            assert tried.status_code in {200, 409}, tried.text  # 409: its bucket is moving
        else:
            parse_command(text)
