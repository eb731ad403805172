"""Stand in for UP42's jobs behind an httpx transport: jobs that live on the clock of the loop, virtual or not."""

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
"""Moments in seconds, never falling, each with the status that begins there; the first holds before it too."""

Trouble = Callable[[Sequence[str]], httpx.Response | Exception | None]
"""What happens instead of an answer for some ids, None for the answer."""


class JobPlatform(httpx.AsyncBaseTransport):
    """Answer for jobs by list and by id, and count what was asked.

    Args:
        latency: Seconds between a request and its answer.
        page_cap: Jobs on a page at the most.
        ids_max: Ids in a list at the most; more of them get 414.
        price: Credits of every job, None for none.
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
        """When it was asked for how many jobs; empty the list to forget."""
        self.queries: Counter[str] = Counter()
        """Answers, by job."""
        self.in_flight = 0
        self.peak_in_flight = 0
        self.logins = 0
        self.downloads = 0
        """Files that were asked for; they never come."""
        self._lives: dict[str, tuple[list[float], list[str]]] = {}

    def live(self, job_id: str, life: Life) -> str:
        """Let a job live from now on; returns its id."""
        self._lives[job_id] = ([at for at, _ in life], [status for _, status in life])
        return job_id

    def live_all(self, number: int, life: Life) -> list[str]:
        """Let some jobs live alike; returns their ids."""
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
        """Log in, or answer for jobs after the latency; the state is that of the moment in which the request came."""
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
        """Return by how many the requests of a round were more than one for each 100 jobs, in the worst round."""
        requests, jobs = Counter(at for at, _ in self.asked), Counter[float]()
        for at, number in self.asked:
            jobs[at] += number
        return max(requests[at] - ceil(jobs[at] / 100) for at in requests)

    def client(self, retry: RetryPolicy = ONE_TRY, polling: Polling | None = None) -> Client:
        """Return a client of this platform that does not try again by itself."""
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
    """Return what answers 503 during some spans of time, in seconds."""

    def trouble(_: Iterable[str]) -> httpx.Response | None:
        now = anyio.current_time()
        return httpx.Response(503) if any(start <= now < end for start, end in spans) else None

    return trouble
