"""Jobs that live as 863 real ones were recorded to live."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from random import Random
from statistics import quantiles
from typing import Any

import httpx
import pytest

from tests.sandbox.asking import JOBS, Clock, executed, listed, logged_in
from up42_async.sandbox import Sandbox
from up42_async.sandbox._recorded_lives import Deck, Times

QUEUE_QUARTILES = (8.655, 10.738, 34.485)
"""Creation to start of the 313 recorded jobs that ended, in seconds."""
RUN_QUARTILES = (36.077, 53.792, 135.47)
"""Start to finish of the same jobs."""
STARTED_QUARTILES = (8.80, 11.05, 37.48)
"""Creation to start of all 367 that had started, those included that hang or were restarted."""
FOREVER = 10**8


def seconds(job: dict[str, Any], since: str, until: str) -> float:
    return (datetime.fromisoformat(job[until]) - datetime.fromisoformat(job[since])).total_seconds()


def close(values: Sequence[float], expected: Sequence[float]) -> bool:
    return quantiles(values, n=4, method="inclusive") == pytest.approx(expected, rel=0.05)


async def recorded(clock: Clock, seed: int) -> list[dict[str, Any]]:
    """Return the answers about ten thousand seeded jobs when everything that ends has ended."""
    async with (
        Sandbox(clock=clock, lives="recorded", seed=seed, token_lifetime=1e12) as sandbox,
        logged_in(sandbox) as client,
    ):
        sandbox.seed_jobs(10_000)
        clock.seconds = FOREVER
        return await listed(client, limit="1000")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.slow
async def test_ten_thousand_jobs_have_the_recorded_times_and_shares(clock: Clock, seed: int) -> None:
    jobs = await recorded(clock, seed)
    ended = [job for job in jobs if job["status"] in {"captured", "released", "successful", "failed"}]
    assert close([seconds(job, "created", "started") for job in ended], QUEUE_QUARTILES)
    assert close([seconds(job, "started", "finished") for job in ended], RUN_QUARTILES)
    assert close([seconds(job, "created", "started") for job in jobs if job["started"]], STARTED_QUARTILES)

    shares = {status: number / len(jobs) * 432 for status, number in Counter(job["status"] for job in jobs).items()}
    recorded_shares = {
        "captured": 196, "released": 64, "successful": 39, "failed": 14, "invalid": 44,
        "running": 54, "accepted": 17, "valid": 3, "created": 1,
    }  # fmt: skip
    assert shares == pytest.approx(recorded_shares, abs=0.6)

    with_credits = Counter(job["status"] for job in jobs if job["creditConsumption"])
    assert with_credits.keys() == {"captured", "released", "successful", "running", "accepted"}
    assert with_credits["released"] == sum(job["status"] == "released" for job in jobs)
    assert with_credits["successful"] / len(jobs) * 432 == pytest.approx(2, abs=0.3)
    for status, results in [("invalid", "errors"), ("captured", "collection"), ("successful", "collection")]:
        assert all(job["results"][results] for job in jobs if job["status"] == status)

    errors = [error for job in jobs if job["status"] == "invalid" for error in job["results"]["errors"]]
    assert Counter(error["name"] for error in errors).keys() == {"InvalidDataProduct", "NotFound"}
    not_found = [error["message"] for error in errors if error["name"] == "NotFound"]
    assert len(not_found) / len(errors) == pytest.approx(11 / 41, abs=0.02)
    assert all(re.fullmatch(r"item=https?://\S+/items/\S+ is not found", message) for message in not_found)


@pytest.mark.slow
async def test_invalid_jobs_with_several_items_say_that_these_do_not_match() -> None:
    sandbox = Sandbox()
    ids = sandbox.seed_jobs(6, status="invalid", process_id="sandbox-mosaic")
    jobs = [sandbox._world.jobs.get(id_) for id_ in ids]
    names = Counter(error["name"] for job in jobs if job is not None for error in job.errors)
    assert names == {"NotMatchingProducts": 4, "InvalidDataProduct": 2}


async def test_restarted_jobs_finished_before_they_started_and_never_end(clock: Clock) -> None:
    restarted = [job for job in await recorded(clock, 0) if job["status"] == "running" and job["finished"]]
    assert len(restarted) / 10_000 * 432 == pytest.approx(12, abs=0.5)
    assert all(job["created"] < job["finished"] < job["started"] == job["updated"] for job in restarted)
    with_collection = [job for job in restarted if job["results"]]
    assert len(with_collection) / len(restarted) == pytest.approx(1 / 6, abs=0.06)
    assert all(job["results"]["collection"] for job in with_collection)


async def test_a_restarted_job_looks_like_any_running_job_before_its_restart(clock: Clock) -> None:
    sandbox = Sandbox(clock=clock, lives="recorded", token_lifetime=1e12)
    sandbox.seed_jobs(432)
    (job, *_) = [job for job in sandbox.jobs.values() if [word for _, word in job.timeline].count("running") == 2]
    *_, (first, _), (second, _) = job.timeline
    async with sandbox, logged_in(sandbox) as client:
        seen = []
        for clock.seconds in (first, second - 0.001, second):
            answer = (await client.get(f"{JOBS}/{job.id}")).json()
            seen.append((answer["status"], answer["started"] is not None, answer["finished"] is not None))
    assert seen == [("running", True, False), ("running", True, False), ("running", True, True)]


@pytest.mark.slow
async def test_few_released_jobs_have_a_collection_that_is_not_there(clock: Clock) -> None:
    async with (
        Sandbox(clock=clock, lives="recorded", token_lifetime=1e12) as sandbox,
        logged_in(sandbox) as client,
    ):
        sandbox.seed_jobs(10_000)
        clock.seconds = FOREVER
        released = await listed(client, status="released", limit="1000")
        with_collection = [job for job in released if job["results"]]
        assert len(with_collection) / len(released) == pytest.approx(1 / 132, abs=0.006)
        path = httpx.URL(with_collection[0]["results"]["collection"]).path
        assert (await client.get(path)).status_code == 404


@pytest.mark.slow
async def test_executed_jobs_live_as_those_recorded_ones_that_were_in_order(clock: Clock) -> None:
    async with (
        Sandbox(clock=clock, lives="recorded", token_lifetime=1e12) as sandbox,
        logged_in(sandbox) as client,
    ):
        for _ in range(328):
            await executed(client)
        jobs = list(sandbox.jobs.values())
        ends = Counter(job.timeline[-1][1] for job in jobs)
        assert ends == {
            "captured": 196, "successful": 2, "released": 64, "running": 49, "accepted": 13, "valid": 3, "created": 1,
        }  # fmt: skip
        clock.seconds = FOREVER
        jobs, balance = list(sandbox.jobs.values()), sandbox.balance
        assert balance.captured == sum(job.price for job in jobs if job.status in {"captured", "successful"})
        hanging = [job for job in jobs if job.status in {"created", "valid", "accepted", "running"}]
        assert balance.available == 1_000_000 - balance.captured - sum(job.price for job in hanging)


async def test_executed_jobs_without_credits_end_as_such_jobs_did(clock: Clock) -> None:
    async with (
        Sandbox(clock=clock, lives="recorded", token_lifetime=1e12) as sandbox,
        logged_in(sandbox) as client,
    ):
        sandbox.set_rate("detection-trees-spacept", 0)
        for _ in range(60):
            await executed(client)
        sandbox.seed_jobs(60, process_id="detection-trees-spacept")
        ends = Counter(job.timeline[-1][1] for job in sandbox.jobs.values())
        assert ends == {"successful": 74, "failed": 28, "running": 10, "accepted": 8}
        clock.seconds = FOREVER
        assert {job.credits for job in sandbox.jobs.values()} == {None}


async def test_a_refused_execution_is_refused_in_recorded_lives_too(clock: Clock) -> None:
    async with (
        Sandbox(clock=clock, lives="recorded", balance=0, token_lifetime=1e12) as sandbox,
        logged_in(sandbox) as client,
    ):
        await executed(client, inputs={})
        await executed(client)
        clock.seconds = FOREVER
        invalid, rejected = sandbox.jobs.values()
        assert [word for _, word in invalid.timeline] == ["created", "licensed", "invalid"]
        assert rejected.status == "rejected"


def test_a_deck_deals_every_card_once_before_any_comes_again() -> None:
    deck = Deck(Random(0), "abcd")  # noqa: S311 - repeatable
    hands = [[deck.deal() for _ in "abcd"] for _ in range(20)]
    assert {"".join(sorted(hand)) for hand in hands} == {"abcd"}
    assert len({"".join(hand) for hand in hands}) > 5


def test_times_have_the_quantiles_of_their_table() -> None:
    times = Times(Random(0), [1.0, 2.0, 8.0, 64.0, 100.0])  # noqa: S311 - repeatable
    drawn = [times.draw() for _ in range(1000)]
    assert quantiles(drawn, n=4, method="inclusive") == pytest.approx([2, 8, 64], rel=0.02)
    assert 1 <= min(drawn) < max(drawn) <= 100
