"""Name the balance of the account when a job was rejected, since UP42 rejects jobs for lack of credits."""

import logging

from up42_async._client import Client
from up42_async._errors import Up42Error
from up42_async._jobs.job import Job, JobFailedError
from up42_async._jobs.models import JobStatus

logger = logging.getLogger("up42_async")


async def raise_for_status(job: Job, client: Client) -> None:
    """Raise unless the job was successful; one request for the balance when it was rejected.

    Args:
        job: The job.
        client: The client to ask with.

    Raises:
        JobFailedError: The job ended without a result.
        UnfinishedJob: The job is still under way.
    """
    try:
        job.raise_for_status()
    except JobFailedError as error:
        if job.status is not JobStatus.REJECTED:
            raise
        raise JobFailedError(f"{error}; {await _balance_words(client)}", job=job) from None


async def warn_of_rejection(job: Job, client: Client) -> None:
    """Log a job that was rejected at once, with the balance; one request.

    Args:
        job: The job.
        client: The client to ask with.
    """
    logger.warning("job %s (%s) is rejected; %s", job.id, job.process_id, await _balance_words(client))


async def _balance_words(client: Client) -> str:
    """Return a clause that says how many credits the account has left; one request."""
    try:
        balance = await client.balance()
    except Up42Error as error:
        return f"the balance could not be asked for ({error})"
    return f"the balance of the account is {balance.credits:g} {balance.unit.lower()}s"
