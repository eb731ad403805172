"""Which requests a fault hits."""

import re
from typing import Any

import httpx
import pytest

from tests.sandbox.asking import JOBS
from up42_async.sandbox import Sandbox, faults

EULA = "/v2/eulas/none"


async def statuses(client: httpx.AsyncClient, number: int, path: str = JOBS) -> list[int]:
    return [(await client.get(path)).status_code for _ in range(number)]


async def test_hits_every_request_until_it_is_removed(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    fault = sandbox.faults.add(faults.Status(503))
    assert await statuses(client, 3) == [503, 503, 503]
    fault.remove()
    fault.remove()
    assert (await statuses(client, 1), fault.hits, fault.kind) == ([200], 3, faults.Status(503))


async def test_hits_as_often_as_told_after_as_many_as_told(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    fault = sandbox.faults.add(faults.Status(503), times=2, after=1)
    assert (await statuses(client, 5), fault.hits) == ([200, 503, 503, 200, 200], 2)


async def test_hits_only_inside_its_block(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    with sandbox.faults.during(faults.Status(503)) as fault:
        assert await statuses(client, 1) == [503]
    assert (await statuses(client, 1), fault.hits) == ([200], 1)


async def test_all_faults_can_be_ended_at_once(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Status(503))
    sandbox.faults.add(faults.Status(502))
    sandbox.faults.clear()
    assert await statuses(client, 1) == [200]


@pytest.mark.parametrize(
    ("rule", "hits"),
    [
        ({"path": JOBS}, [True, True, False]),
        ({"path": f"{JOBS}$"}, [True, False, False]),
        ({"path": r"/v2/(eulas|realms)"}, [False, False, True]),
        ({"query": r"\bids="}, [True, False, False]),
        ({"method": "get"}, [True, True, True]),
        ({"method": "POST"}, [False, False, False]),
        ({"path": "jobs"}, [False, False, False]),
    ],
)
async def test_hits_what_its_rule_describes(
    sandbox: Sandbox, client: httpx.AsyncClient, rule: dict[str, Any], hits: list[bool]
) -> None:
    sandbox.faults.add(faults.Status(503), **rule)
    answers = [await client.get(path) for path in (f"{JOBS}?ids=x", f"{JOBS}/x", EULA)]
    assert [answer.status_code == 503 for answer in answers] == hits


async def test_the_first_added_is_outermost_and_spares_the_others(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    first = sandbox.faults.add(faults.Status(503), times=1)
    second = sandbox.faults.add(faults.Status(502), times=1)
    assert (await statuses(client, 3), first.hits, second.hits) == ([503, 502, 200], 1, 1)


async def test_faults_can_be_combined(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults.add(faults.Truncate(keep=4))
    sandbox.faults.add(faults.Rewrite(lambda _: "whatever"))
    with pytest.raises(httpx.RemoteProtocolError, match=re.escape("(received 4 bytes, expected 10)")):
        await client.get(JOBS)


async def test_the_seed_repeats_which_requests_are_hit() -> None:
    runs: list[list[int]] = []
    for seed in (1, 1, 2):
        sandbox = Sandbox(seed=seed)
        sandbox.faults.add(faults.Status(503), probability=0.5)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app), base_url="http://sandbox") as client:
            runs.append(await statuses(client, 40, EULA))
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {401, 503}


@pytest.mark.parametrize("rule", [{"times": 0}, {"after": -1}, {"probability": 1.5}, {"probability": -0.1}], ids=str)
def test_a_number_out_of_its_range_is_refused_by_name(rule: dict[str, Any]) -> None:
    (name,) = rule
    with pytest.raises(ValueError, match=name):
        Sandbox().faults.add(faults.Status(503), **rule)
