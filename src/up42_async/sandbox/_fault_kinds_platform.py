"""Faults of the platform: valid JSON with unusual content."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

from up42_async.sandbox import _answers
from up42_async.sandbox import _fault_checks as checks
from up42_async.sandbox._exchange import Act, Exchange, Reply, reply_of
from up42_async.sandbox._fault_kinds_entries import ChangeJobs
from up42_async.sandbox._listing import LIST_PATH, offset_link, offset_of
from up42_async.sandbox._seeding import Seeds, seed
from up42_async.sandbox._stac import SEARCH_PATH


def _lists_only(change: Callable[[Any], Any], *keys: str) -> Callable[[Any], Any]:
    """Return a change that applies only to lists of jobs, or to answers with one of these keys."""

    def change_list(body: Any) -> Any:
        return change(body) if body.keys() & {"jobs", *keys} else body

    return change_list


@attrs.frozen
class UnknownStatus:
    """Do the work, and change the status of every job in the answer.

    Args:
        word: The status.
    """

    word: str = attrs.field(default="paused", validator=checks.text)

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and change the statuses."""
        return await ChangeJobs({"status": self.word}).apply(exchange, act)


@attrs.frozen
class OmitJobs:
    """Leave jobs out of a list.

    Args:
        ids: The ids of these jobs; None for the first job of each page.
    """

    ids: Collection[str] | None = attrs.field(default=None, validator=checks.optional(checks.strings))

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and leave them out."""
        return (await act()).rewritten(_lists_only(self._change))

    def _change(self, body: Any) -> Any:
        jobs = body["jobs"]
        body["jobs"] = jobs[1:] if self.ids is None else [job for job in jobs if job["jobID"] not in self.ids]
        return body


class OmitKeys:
    """Leave keys out of the answer's JSON object, or make them null.

    Args:
        *names: The keys of the outermost object, such as `"links"` or `"jobs"`.
        null: Make them null instead.
    """

    def __init__(self, *names: str, null: bool = False) -> None:
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"OmitKeys: names must be strings, not {names!r}.")
        self.names = names
        self.null = null

    async def apply(self, _: Exchange, act: Act) -> Reply:
        """Act, and leave them out."""
        return (await act()).rewritten(self._change)

    def _change(self, body: Any) -> Any:
        for name in self.names:
            if self.null:
                body[name] = None
            else:
                body.pop(name, None)
        return body


@attrs.frozen
class NextLink:
    """Replace the next link of every page of jobs or items.

    Args:
        href: The link, which need not be valid; None for the page itself.
    """

    href: str | None = attrs.field(default=None, validator=checks.optional(checks.text))

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Act, and change the link."""
        href = f"{exchange.path}?{exchange.query}" if self.href is None else self.href
        link = {"rel": "next", "href": href}
        if exchange.path == SEARCH_PATH:
            link |= {"method": "POST", "body": json.loads(await exchange.body())}
        return (await act()).rewritten(_lists_only(lambda body: {**body, "links": [link]}, "features"))


@attrs.frozen
class EmptyPages:
    """Answer every list of jobs or items with an empty page and a next link, a new one each time."""

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Answer lists without acting; other requests pass."""
        if exchange.path == LIST_PATH:
            query = dict(parse_qsl(exchange.query, keep_blank_values=True))
            link: Mapping[str, Any] = {"rel": "next", "href": offset_link(query, offset_of(query) + 1)}
            return _empty_page({"jobs": []}, link)
        if exchange.path == SEARCH_PATH:
            number = int(json.loads(await exchange.body()).get("token", "next:0").removeprefix("next:")) + 1
            link = {"rel": "next", "href": SEARCH_PATH, "method": "POST", "body": {"token": f"next:{number}"}}
            return _empty_page({"type": "FeatureCollection", "features": []}, link)
        return await act()


def _empty_page(body: Mapping[str, Any], link: Mapping[str, Any]) -> Reply:
    return reply_of(200, _answers.JSON, _answers.json_bytes({**body, "links": [link]}))


@attrs.frozen
class ShiftPages:
    """Page by offset, and let the list change between pages.

    Jobs created since the page before move the others back, so that some appear twice; removed jobs move the others
    forward, so that some never appear. Without this fault the sandbox pages by key, where neither happens.

    Args:
        inserted: Jobs created before each page but the first, 0 or more.
        removed: Newest jobs that are removed before each page but the first, 0 or more.
    """

    inserted: int = attrs.field(default=1, kw_only=True, validator=checks.whole(0))
    removed: int = attrs.field(default=0, kw_only=True, validator=checks.whole(0))

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Change the list if this is not its first page, and go on by offset."""
        query = dict(parse_qsl(exchange.query, keep_blank_values=True))
        if "cursor" in query:
            self._shift(exchange)
        return (await act()).rewritten(_lists_only(self._by_offset(query)))

    def _shift(self, exchange: Exchange) -> None:
        world = exchange.world
        with world.lock:
            for job in list(world.jobs.in_order(None, descending=True))[: self.removed]:
                world.jobs.remove(job)
            for _ in range(self.inserted):
                seed(world, Seeds(workspace_id=world.account.workspace_id), 0.0)

    @staticmethod
    def _by_offset(query: dict[str, str]) -> Callable[[Any], Any]:
        def change(body: Any) -> Any:
            for link in body["links"]:
                link["href"] = offset_link(query, offset_of(query) + len(body["jobs"]))
            return body

        return change


@attrs.frozen
class ExpireTokens:
    """Revoke all access tokens when the request arrives, so that it and later ones are refused."""

    async def apply(self, exchange: Exchange, act: Act) -> Reply:
        """Revoke the tokens, and act."""
        with exchange.world.lock:
            exchange.world.tokens.revoke_all()
        return await act()
