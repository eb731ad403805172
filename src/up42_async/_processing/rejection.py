"""Say of a job that was rejected how many credits the account has left."""

import logging

from up42_async._client import Client
from up42_async._errors import Up42Error
from up42_async._jobs.job import Job, JobFailedError
from up42_async._jobs.models import JobStatus

logger = logging.getLogger("up42_async")


async def raise_for_status(job: Job, client: Client) -> None:
    """Raise unless the job was successful; one request when it was rejected, which is for want of credits.

    Args:
        job: The job.
        client: Whom to ask for the balance.

    Raises:
        JobFailedError: It ended without a result.
        UnfinishedJob: It is still under way.
    """
    try:
        job.raise_for_status()
    except JobFailedError as error:
        if job.status is not JobStatus.REJECTED:
            raise
        raise JobFailedError(f"{error}; {await balance_words(client)}", job=job) from None


async def warn_of_rejection(job: Job, client: Client) -> None:
    """Name the balance in the log when a job was rejected at once; one request.

    Args:
        job: The job.
        client: Whom to ask for the balance.
    """
    logger.warning("job %s (%s) is rejected; %s", job.id, job.process_id, await balance_words(client))


async def balance_words(client: Client) -> str:
    """Return how many credits the account has left, in words; one request."""
    try:
        balance = await client.balance()
    except Up42Error as error:
        return f"the balance could not be asked for ({error})"
    return f"the balance of the account is {balance.credits:g} {balance.unit.lower()}s"
