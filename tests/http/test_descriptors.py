"""A program without free file descriptors: a call is an error of ours, and later calls work."""

import contextlib
import os
import resource
from collections.abc import Generator

import pytest

import up42_async as up42
from tests.job_answers import metadata
from tests.raw_server import answer, refusing_port, serve, token

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of descriptors are POSIX's")


@contextlib.contextmanager
def no_descriptors() -> Generator[None]:
    """Let no file or socket be opened in a block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # what is open stays open
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_call_without_file_descriptors_is_an_up42_error_and_the_next_one_works() -> None:
    quick = up42.RetryPolicy(attempts=3, wait_initial=0.001, wait_max=0.001)
    with refusing_port() as port:  # the server comes later, since it could not accept either
        endpoints = up42.Endpoints(api=f"http://127.0.0.1:{port}", auth=f"http://127.0.0.1:{port}")
        async with up42.Client("person@example.com", "password", endpoints=endpoints, retry=quick):
            with no_descriptors():
                with pytest.raises(up42.ConnectionFailedError, match="not sent to 127.0.0.1:") as caught:
                    await up42.Job.get("job-1")
                assert caught.value.transient
            async with serve(token(), answer(metadata()), port=port):
                assert (await up42.Job.get("job-1")).id == "job-1"
