"""An object that a client deletes while it is copied is no refusal: the delete is copied."""

import pytest

from holdfast.kernel.errors import AppError, Forbidden, Unavailable
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.migrations.copier_model import may_pass


@pytest.mark.parametrize(
    ("error", "is_tried_again"),
    [
        (S3Error("GET /b/k", status=404, s3_code="NoSuchKey"), True),
        (S3Error("HEAD /b/k", status=404), True),
        (S3Error("GET /b/k", status=404, s3_code="NoSuchUpload"), True),
        (S3Error("PUT /b/k", status=404, s3_code="NoSuchBucket"), False),
        (S3Error("PUT /b/k", status=403, s3_code="AccessDenied"), False),
        (Unavailable("no answer"), True),
        (Forbidden("no"), False),
    ],
)
def test_what_may_be_gone_is_tried_again_and_what_is_refused_is_not(
    error: AppError, is_tried_again: bool
) -> None:
    assert may_pass(error) is is_tried_again
