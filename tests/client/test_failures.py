"""A failure of the server arrives as the error that was raised there."""

import httpx
import pytest

from holdfast.client.failures import UnknownFailure, raise_for_failure
from holdfast.kernel import errors
from holdfast.kernel.errors import AppError, Invalid, NginxRefused


def answer(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body)


@pytest.mark.parametrize(
    "kind",
    [
        errors.BadRequest,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.Invalid,
        errors.NginxRefused,
        errors.TooMany,
        errors.BadGateway,
        errors.Unavailable,
    ],
)
def test_every_error_comes_back_as_itself(kind: type[AppError]) -> None:
    raised = kind("what and where", hint="what to do", details={"line": 3})
    with pytest.raises(kind) as caught:
        raise_for_failure(answer(raised.http_status, raised.body()))
    assert type(caught.value) is kind
    assert caught.value.body() == raised.body()


def test_two_errors_of_one_status_are_told_apart_by_their_code() -> None:
    with pytest.raises(NginxRefused) as caught:
        raise_for_failure(answer(422, NginxRefused("refused", details="emerg: no").body()))
    assert caught.value.details == "emerg: no"


def test_an_unknown_code_is_read_by_its_status() -> None:
    with pytest.raises(errors.Conflict):
        raise_for_failure(answer(409, {"detail": "later", "code": "of_tomorrow"}))


def test_complaints_about_fields_become_one_line() -> None:
    body = {
        "detail": [
            {"type": "missing", "loc": ["body", "name"], "msg": "Field required"},
            {"type": "int_type", "loc": ["query", "limit"], "msg": "should be an integer"},
        ],
        "code": "invalid",
    }
    with pytest.raises(Invalid, match=r"^name: Field required; limit: should be an integer$"):
        raise_for_failure(answer(422, body))


def test_an_answer_of_a_proxy_is_a_failure_too() -> None:
    response = httpx.Response(502, text="<html>Bad Gateway</html>")
    with pytest.raises(errors.BadGateway, match="Bad Gateway"):
        raise_for_failure(response)
    with pytest.raises(UnknownFailure):
        raise_for_failure(httpx.Response(418, text="teapot"))


def test_success_raises_nothing() -> None:
    raise_for_failure(httpx.Response(204))
