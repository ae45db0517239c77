"""Commands are data: each must name a call that the API has, with fields that the call takes."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from holdfast import assembly
from holdfast.commands import stores, system
from holdfast.commands.verbs import Field, Verb, show_answer
from holdfast.gateway.cli import files, nouns
from holdfast.migrations import cli as migrations
from holdfast.tiers import cli as tiers

VERBS: dict[str, tuple[Verb, ...]] = {
    "pool": nouns.POOLS,
    "member": nouns.MEMBERS,
    "credential": nouns.CREDENTIALS,
    "vhost": nouns.VHOSTS,
    "route": nouns.ROUTES,
    "bucket": nouns.BUCKETS,
    "config": files.FILES,
    "": (files.REBUILD, system.WHOAMI, system.HEALTH),
    "migration": migrations.MIGRATIONS,
    "orphaned": (migrations.ORPHANED,),
    "job": system.JOBS,
    "schedule": system.SCHEDULES,
    "audit": system.AUDIT,
    "store": stores.STORES,
    "tier": tiers.TIERS,
}
CALLS = [
    pytest.param(verb, id=f"{noun} {verb.name}".strip())
    for noun, verbs in VERBS.items()
    for verb in verbs
    if not verb.pick
]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    app = FastAPI()
    for router in assembly.routers():
        app.include_router(router)
    return app.openapi()


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def operation(schema: dict[str, Any], verb: Verb) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, methods in schema["paths"].items():
        if shape(path) == shape(verb.path):
            found |= methods
    assert verb.method.lower() in found, f"the API has no {verb.method} {verb.path}"
    call: dict[str, Any] = found[verb.method.lower()]
    return call


def body_fields(schema: dict[str, Any], node: Any) -> Iterator[str]:
    """Names of the fields of a body, through references and alternatives."""
    if isinstance(node, list):
        for item in node:
            yield from body_fields(schema, item)
    elif isinstance(node, dict):
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[-1]
            yield from body_fields(schema, schema["components"]["schemas"][name])
        yield from node.get("properties", {})
        for key in ("anyOf", "allOf", "oneOf"):
            yield from body_fields(schema, node.get(key, []))


@pytest.mark.parametrize("verb", CALLS)
def test_a_command_is_a_call_of_the_api_with_its_fields(schema: dict[str, Any], verb: Verb) -> None:
    call = operation(schema, verb)
    query = {p["name"] for p in call.get("parameters", []) if p["in"] == "query"}
    content = call.get("requestBody", {}).get("content", {})
    body = set(body_fields(schema, [media["schema"] for media in content.values()]))
    others = {field.name for field in verb.with_argument.fields} if verb.with_argument else set()
    fields = [field for field in verb.fields if field.name not in others]
    sent = [(field.into or field.name, query if field.query else body) for field in fields]
    unknown = [name for name, taken in sent if name not in taken]
    assert not unknown, f"{verb.method} {verb.path} does not take {unknown}"
    assert {name for name, _ in verb.fixed} <= body


@pytest.mark.parametrize("verb", CALLS)
def test_what_a_call_needs_the_command_asks_for(schema: dict[str, Any], verb: Verb) -> None:
    call = operation(schema, verb)
    given = {field.name for field in verb.fields if asked(field)} | {name for name, _ in verb.fixed}
    needed = {p["name"] for p in call.get("parameters", []) if p["in"] == "query" and p["required"]}
    for media in call.get("requestBody", {}).get("content", {}).values():
        reference = media["schema"].get("$ref", "").rsplit("/", 1)[-1]
        needed |= set(schema["components"]["schemas"].get(reference, {}).get("required", []))
    assert needed <= given


def asked(field: Field) -> bool:
    return field.required or field.argument or field.kind == "secret"


def test_the_state_of_the_files_tells_people_what_is_not_live(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = {
        "files": [],
        "problem": "nothing is live: nginx does not run",
        "remedy": "start it",
        "reload_pending": True,
        "startup_differences": ["generation 4 is on disk, the database knew 3"],
    }
    status = next(verb for verb in files.FILES if verb.name == "status")
    show_answer(status, answer)
    told = capsys.readouterr().err
    for words in ("nothing is live", "start it", "holdfast config reload", "generation 4"):
        assert words in told
    show_answer(status, {"files": [], "problem": "", "reload_pending": False})
    assert "warning" not in capsys.readouterr().err
