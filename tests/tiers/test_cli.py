"""The commands of tiers, as far as they need no server."""

import os
import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from holdfast.tiers.api import router
from holdfast.tiers.cli import OPTIONS, TIERS, absolute
from holdfast.tiers.model import TierOptions
from holdfast.tiers.names import from_text
from holdfast.tiers.schemas import TierChange, TierIn, absolute_path


def test_a_path_is_taken_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b/") == f"{tmp_path}/b"
    assert absolute("/x//y") == "/x/y"
    assert absolute("-dash") == f"{tmp_path}/-dash"


def test_a_name_of_any_bytes_survives_the_way_to_the_server() -> None:
    for name in (b"/t/\xdf\xff", b"/t/new\nline", "/t/\u00e9\u201bDF".encode(), b"/t/'\"$(x)"):
        assert absolute_path(absolute(os.fsdecode(name))) == name


def test_every_command_is_a_call_of_the_api() -> None:
    calls = {
        (method, re.sub(r"\{\w+\}", "{}", route.path))
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    for verb in TIERS:
        assert (verb.method, re.sub(r"\{\w+\}", "{}", verb.path)) in calls, verb.name


def test_every_option_of_a_tier_has_a_word_on_the_command_line() -> None:
    words = {field.name for field in OPTIONS}
    options = set(TierOptions.__dataclass_fields__)
    assert options <= words
    assert words <= set(TierIn.model_fields)
    assert set(TierIn.model_fields) == set(TierChange.model_fields)


def test_the_defaults_of_the_api_are_those_of_the_model() -> None:
    body = TierIn(name="t", path="/t", store_id=1)
    assert body.draft().options == TierOptions()
    assert from_text("") == b""
