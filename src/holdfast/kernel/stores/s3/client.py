"""The S3 client: everything that Holdfast asks of an S3 server, in one class."""

from holdfast.kernel.stores.s3.buckets import BucketCalls
from holdfast.kernel.stores.s3.multipart import MultipartCalls


class S3Client(BucketCalls, MultipartCalls):
    """A client of one endpoint, path style, keys sent raw; use it as an async context manager.

    Failures: ``S3Error`` (the server refused, with its code and status), ``S3Unreachable`` (no
    answer, or not all of it), ``BadGateway`` (an answer that is not S3). What can be done twice
    without harm is tried again after server errors and lost connections; a streamed body is sent
    once, and the caller decides.
    """
