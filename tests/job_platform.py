"""A fake of UP42's jobs as an httpx transport: statuses change on the clock of the event loop, virtual or real."""

import functools
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from urllib.parse import unquote, urlencode

import anyio
import httpx

from tests.fake_platform import client_of
from up42_async import Client, Job
from up42_async._config import Polling, RetryPolicy

JOBS = "/v2/processing/jobs"
CREATED = "2026-01-01T00:00:00Z"
ONE_TRY = RetryPolicy(attempts=1)

Life = Sequence[tuple[float, str]]
"""Times in seconds, in ascending order, each with the status that begins then; the first also applies before it."""

Trouble = Callable[[Sequence[str]], httpx.Response | Exception | None]
"""Returns the error response or exception for a request for these ids, None to answer it normally."""


class JobPlatform(httpx.AsyncBaseTransport):
    """Answer requests for lists of jobs and single jobs, and count them.

    Args:
        latency: Seconds between a request and its answer.
        page_cap: The largest number of jobs on a page.
        ids_max: The largest number of ids in a request; more are answered with 414.
        price: Credits of every job, None for jobs without credits.
    """

    def __init__(
        self, *, latency: float = 0.0, page_cap: int = 1000, ids_max: int = 1000, price: int | None = 7
    ) -> None:
        self.latency = latency
        self.page_cap = page_cap
        self.ids_max = ids_max
        self.price = price
        self.trouble: Trouble = lambda _: None
        self.login: Callable[[], httpx.Response] = self._grant
        self.requests = 0
        self.asked: list[tuple[float, int]] = []
        """Time of each request and the number of ids in it; clear the list to start again."""
        self.queries: Counter[str] = Counter()
        """Number of answers for each job."""
        self.in_flight = 0
        self.peak_in_flight = 0
        self.logins = 0
        self.downloads = 0
        """Number of requested files; they are never answered."""
        self._lives: dict[str, tuple[list[float], list[str]]] = {}

    def live(self, job_id: str, life: Life) -> str:
        """Add a job with these statuses; return its id."""
        self._lives[job_id] = ([at for at, _ in life], [status for _, status in life])
        return job_id

    def live_all(self, number: int, life: Life) -> list[str]:
        """Add several jobs with the same statuses; return their ids."""
        return [self.live(f"job-{n}", life) for n in range(number)]

    def job(self, job_id: str) -> Job:
        """Return a job as it is now, without a request."""
        return Job.from_metadata(json.loads(metadata(job_id, self.status(job_id), self.price)))

    def final(self, job_id: str) -> str:
        """Return the status in which a job ends."""
        return self._lives[job_id][1][-1]

    def status(self, job_id: str) -> str:
        """Return the status of a job now."""
        return self._status(job_id, anyio.current_time())

    def _status(self, job_id: str, now: float) -> str:
        moments, words = self._lives[job_id]
        return words[max(0, bisect_right(moments, now) - 1)]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a login, or, after the latency, with the state of the jobs when the request arrived."""
        if request.url.path.endswith("/token"):
            self.logins += 1
            return self.login()
        if request.url.path == "/endless":
            self.downloads += 1
            await anyio.sleep_forever()
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            answer = self._answer(request)
            await anyio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        return answer

    def _grant(self) -> httpx.Response:
        return httpx.Response(200, json={"access_token": f"token-{self.logins}", "expires_in": 300})

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode().partition("?")
        if path != JOBS:
            return self._one(unquote(path.removeprefix(f"{JOBS}/")))
        asked = dict(pair.split("=", 1) for pair in unquote(query).split("&"))
        ids = asked["ids"].split(",")
        if (trouble := self._trouble(ids)) is not None:
            return trouble
        if len(ids) > self.ids_max:
            return httpx.Response(414)
        return self._page([id_ for id_ in ids if id_ in self._lives], asked)

    def _page(self, ids: Sequence[str], asked: dict[str, str]) -> httpx.Response:
        start, size = int(asked.get("cursor", 0)), min(self.page_cap, int(asked.get("limit", 50)))
        shown = ids[start : start + size]
        self.queries.update(shown)
        links = []
        if start + size < len(ids):
            href = f"{JOBS}?{urlencode({**asked, 'cursor': start + size}, safe=',')}"
            links.append({"rel": "next", "href": href})
        now = anyio.current_time()
        jobs = ",".join([metadata(id_, self._status(id_, now), self.price) for id_ in shown])
        return httpx.Response(200, text=f'{{"jobs": [{jobs}], "links": {json.dumps(links)}}}')

    def _one(self, job_id: str) -> httpx.Response:
        if (trouble := self._trouble([job_id])) is not None:
            return trouble
        if job_id not in self._lives:
            return httpx.Response(404, json={"title": "no such job"})
        self.queries[job_id] += 1
        return httpx.Response(200, text=metadata(job_id, self.status(job_id), self.price))

    def _trouble(self, ids: Sequence[str]) -> httpx.Response | None:
        self.asked.append((anyio.current_time(), len(ids)))
        trouble = self.trouble(ids)
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    def most_requests_beyond_need(self) -> int:
        """Return the largest number of requests at one time beyond one for each 100 jobs."""
        requests, jobs = Counter(at for at, _ in self.asked), Counter[float]()
        for at, number in self.asked:
            jobs[at] += number
        return max(requests[at] - ceil(jobs[at] / 100) for at in requests)

    def client(self, retry: RetryPolicy = ONE_TRY, polling: Polling | None = None) -> Client:
        """Return a client of this platform, by default one that makes no retries."""
        return client_of(self, retry=retry, polling=polling)


@functools.cache
def metadata(job_id: str, status: str, price: int | None) -> str:
    """Return a job as UP42 sends it."""
    return json.dumps(
        {
            "processID": "detection-trees-spacept",
            "jobID": job_id,
            "accountID": "account",
            "workspaceID": "workspace",
            "definition": {"inputs": {"title": "Trees"}},
            "creditConsumption": None if price is None else {"credits": price},
            "status": status,
            "created": CREATED,
            "updated": CREATED,
        }
    )


def outage(*spans: tuple[float, float]) -> Trouble:
    """Return a `Trouble` that answers with 503 during these spans of time, in seconds."""

    def trouble(_: Iterable[str]) -> httpx.Response | None:
        now = anyio.current_time()
        return httpx.Response(503) if any(start <= now < end for start, end in spans) else None

    return trouble
