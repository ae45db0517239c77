"""The bounded part of the model check; `make model` checks all of it."""

import pytest

from tests.migrations.protocol_model import NAIVE, SOME, Scenario, Task, check, check_all
from tests.migrations.protocol_model_holdfast import SAFEGUARDS

ONE_STALE_READ = "stale or resurrected get"
LISTING = "stale or resurrected list"
LOST = "acknowledged write lost, or delete undone, at the end"
MISSED = {
    "first barrier": ONE_STALE_READ,
    "default recheck": ONE_STALE_READ,
    "recheck": ONE_STALE_READ,
    "reread": ONE_STALE_READ,
    "gate": ONE_STALE_READ,
    "gate rule": "deadlock: the migration never ends",
    "drain": ONE_STALE_READ,
    "log order": ONE_STALE_READ,
    "fence": ONE_STALE_READ,
    "full pass": "lost get",
    "pins": "failed request",
    "read settle": ONE_STALE_READ,
}
OURS = [scenario for scenario in SOME if scenario.reader == "get"]


def name(scenario: Scenario) -> str:
    return " and ".join(",".join(writer) for writer in scenario.writers)


@pytest.mark.parametrize("scenario", OURS, ids=name)
def test_no_interleaving_breaks_a_promise_of_ours(scenario: Scenario) -> None:
    found = check(Task("Holdfast", scenario))
    assert found.states > 10_000
    assert found.broken == {}


@pytest.mark.parametrize("safeguard", SAFEGUARDS)
def test_each_safeguard_is_missed_when_it_is_gone(safeguard: str) -> None:
    found = check_all("Holdfast", OURS, without=safeguard)
    assert set(found.broken) == {MISSED[safeguard]}


@pytest.mark.parametrize("design", NAIVE)
def test_a_design_that_splits_reads_and_writes_breaks_every_promise(design: str) -> None:
    found = check_all(design, SOME)
    assert {ONE_STALE_READ, LISTING, LOST, "failed request"} <= set(found.broken)


def test_a_broken_promise_comes_with_the_story_that_leads_to_it() -> None:
    found = check_all("Holdfast", OURS, without="default recheck")
    story = found.broken[ONE_STALE_READ]
    assert story.index("writer 0: starts, first read: none") < story.index("flag hold")
    assert story.index("flag hold") < story.index("writer 0: applied on S")
