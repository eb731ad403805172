"""The processes that can be run: their inputs, prices and EULAs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from up42_async import _clock
from up42_async._client import Client, current_client, display
from up42_async._client.pagination import Page, next_page
from up42_async._client.readable_list import ReadableList, entry_id
from up42_async._client.services import CachedCall, Service
from up42_async._config.arguments import is_number
from up42_async._errors import NotFoundError, UnexpectedResponseError
from up42_async._http.requests import ApiRequest, answered_segment, check_answered_id, segment

PROCESSES: Final = "/v2/processing/processes"


@attrs.frozen(kw_only=True)
class ProcessInput:
    """One input of a process."""

    name: str
    """Its key in the inputs."""
    title: str | None = None
    """Its title."""
    description: str | None = None
    """Its description."""
    min_occurs: int = 1
    """The least number of values: 0 for an input that may be left out."""
    max_occurs: int | None = 1
    """The greatest number of values; None for no limit."""
    schema: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """JSON schema of its value, as UP42 sends it."""

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.min_occurs > 0


@attrs.frozen(kw_only=True)
class ProcessPrice:
    """The price of a process for each unit; `template.evaluate()` returns the price of an execution."""

    credits: float
    """Credits for each unit."""
    unit: str | None = None
    """The unit, such as `SQ_KM`."""


@attrs.frozen(kw_only=True)
class Process:
    """A process of UP42's catalogue, as it was when it was asked for."""

    id: str
    """The id by which it is executed, such as `detection-trees-spacept`."""
    title: str | None = None
    """Its title."""
    description: str | None = None
    """Its description."""
    inputs: Mapping[str, ProcessInput] = attrs.field(factory=dict, repr=False)
    """Its inputs by name."""
    prices: tuple[ProcessPrice, ...] = ()
    """Its prices; empty where UP42 sends none."""
    eula_id: str | None = None
    """Id of the EULA that must be accepted, once, in the UP42 console; None where there is none."""
    eula_accepted: bool | None = None
    """Whether the account has accepted that EULA; None where there is none, or UP42's response cannot be read."""
    metadata: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The whole record, as UP42 sent it."""

    def __repr__(self) -> str:
        """Return the process in one line of at most 200 characters."""
        return display.attributes(self, "id", "title", "eula_accepted")

    @classmethod
    async def get(cls, process_id: str, *, client: Client | None = None) -> "Process":
        """Ask for a process; one request, and one for its EULA unless that is known to be accepted.

        Args:
            process_id: The process's id.
            client: The client to use; the current one when left out.

        Raises:
            NotFoundError: There is no such process.
            APIError: UP42 could not be asked.
            RuntimeError: There is no client.
            TypeError: The id is no string.
            ValueError: It cannot be an id.
        """
        user, request = current_client(client), _process_request(process_id)
        process = read_process(await user._session.call(request), request)
        check_answered_id("process", process.id, process_id, request)
        return await user._service(ProcessCache).with_acceptance(process, _clock.now())

    @classmethod
    def all(cls, *, client: Client | None = None) -> "ProcessList":
        """List the processes: an async iterator; one request for each page, and one for each EULA not known yet.

        Args:
            client: The client to use; the current one when left out.

        Raises:
            RuntimeError: There is no client.
        """
        return ProcessList(current_client(client))


class ProcessList(ReadableList[Process]):
    """An asynchronous iterator over the processes; `errors` has those that could not be read."""

    def __init__(self, client: Client) -> None:
        """Send nothing yet; see `Process.all`.

        Args:
            client: The client to use.
        """
        self._client = client
        self._unread: list[Process] = []
        request = ApiRequest(method="GET", path=PROCESSES)
        super().__init__(client._session, request, self._split, read_process, key=entry_id)

    async def __anext__(self) -> Process:
        """Return the next process, asking whether its EULA is accepted.

        Raises:
            APIError: A page, or the state of the EULA, was not received; the next call asks for it again.
            StopAsyncIteration: There are no more.
        """
        process = self._unread.pop() if self._unread else await super().__anext__()
        try:
            return await self._client._service(ProcessCache).with_acceptance(process, _clock.now())
        except UnexpectedResponseError as error:
            self._mention(error)
            return process
        except BaseException:
            self._unread.append(process)
            raise

    def _split(self, answer: Any, request: ApiRequest) -> Page[Any]:
        """Read a page. Its shape is not documented: a list, or an object with a list, with or without links."""
        content = answer if isinstance(answer, dict) else {}
        lists = {name: one for name, one in content.items() if isinstance(one, list) and name != "links"}
        listed = answer if isinstance(answer, list) else lists.get("processes", next(iter(lists.values()), None))
        if listed is None:
            raise UnexpectedResponseError("an answer without a list of processes", request=str(request))
        return Page(items=listed, next=next_page(content, self._client._session.api, request))


def read_process(content: Any, request: ApiRequest) -> Process:
    """Read a process; whether its EULA is accepted is not part of the record.

    Args:
        content: The decoded JSON.
        request: The request, for the error.

    Raises:
        UnexpectedResponseError: It has no id. Everything else may be missing or odd.
    """
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise UnexpectedResponseError("an answer that is no process: it has no id", request=str(request))
    inputs = content.get("inputs")
    return Process(
        id=content["id"],
        title=_text(content.get("title")),
        description=_text(content.get("description")),
        inputs={str(name): _input(str(name), one) for name, one in inputs.items()} if isinstance(inputs, dict) else {},
        prices=tuple(_prices(_parameter(content, "price"))),
        eula_id=next((one for one in _parameter(content, "eula-id") if isinstance(one, str) and one), None),
        metadata=content,
    )


def _input(name: str, content: Any) -> ProcessInput:
    described = content if isinstance(content, dict) else {}
    least, most, schema = (described.get(key) for key in ("minOccurs", "maxOccurs", "schema"))
    return ProcessInput(
        name=name,
        title=_text(described.get("title")),
        description=_text(described.get("description")),
        min_occurs=least if type(least) is int else 1,
        max_occurs=most if type(most) is int else None if most == "unbounded" else 1,
        schema=schema if isinstance(schema, dict) else {},
    )


def _prices(values: Iterable[Any]) -> Iterator[ProcessPrice]:
    for value in _objects(list(values)):
        if is_number(value.get("credits")):
            yield ProcessPrice(credits=value["credits"], unit=_text(value.get("unit")))


def _parameter(content: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values of an additional parameter of a process; none where the process does not have it."""
    additional = content.get("additionalParameters")
    parameters = _objects(additional.get("parameters")) if isinstance(additional, dict) else ()
    value: Any = next((one.get("value") for one in parameters if one.get("name") == name), [])
    return value if isinstance(value, list) else [value]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


class ProcessCache(Service):
    """The processes and EULAs of one client: each process is asked for once, each EULA until it is accepted."""

    def __init__(self, client: Client) -> None:
        """Ask for nothing yet.

        Args:
            client: The client to ask with.
        """
        self._client = client
        self._descriptions: dict[str, CachedCall[Process | None]] = {}
        self._acceptances: dict[str, CachedCall[bool]] = {}

    async def find(self, process_id: str, since: float) -> Process | None:
        """Return a process, or None when there is no such process; up to two requests.

        Args:
            process_id: The process.
            since: Monotonic time in seconds; when the process was missing, or its EULA not accepted, after this time,
                it is not asked for again.

        Raises:
            APIError: UP42 could not be asked.
        """
        described = self._descriptions.setdefault(process_id, CachedCall())
        process = await described.get(lambda: self._describe(process_id), keep=bool, since=since)
        return None if process is None else await self.with_acceptance(process, since)

    async def with_acceptance(self, process: Process, since: float) -> Process:
        """Return a process with the state of its EULA; one request unless the EULA is known to be accepted.

        Args:
            process: The process.
            since: Monotonic time in seconds; when the EULA was not accepted after this time, it is not asked for again.

        Raises:
            APIError: UP42 could not be asked.
        """
        eula_id = process.eula_id
        if eula_id is None:
            return process
        acceptance = self._acceptances.setdefault(eula_id, CachedCall())
        accepted = await acceptance.get(lambda: self._is_accepted(eula_id), keep=bool, since=since)
        return attrs.evolve(process, eula_accepted=accepted)

    async def _describe(self, process_id: str) -> Process | None:
        request = _process_request(process_id)
        try:
            answer = await self._client._session.call(request)
        except NotFoundError:
            return None
        # an odd record is no error here, since UP42's validation decides
        return read_process({**(answer if isinstance(answer, dict) else {}), "id": process_id}, request)

    async def _is_accepted(self, eula_id: str) -> bool:
        described = ApiRequest(method="GET", path=PROCESSES)
        request = ApiRequest(method="GET", path=f"/v2/eulas/{answered_segment(eula_id, 'EULA id', described)}")
        answer = await self._client._session.call(request)
        accepted = answer.get("isAccepted") if isinstance(answer, dict) else None
        if not isinstance(accepted, bool):
            message = f"an answer that does not say whether the EULA {eula_id} is accepted (`isAccepted`)"
            raise UnexpectedResponseError(message, request=str(request))
        return accepted


def _process_request(process_id: str) -> ApiRequest:
    return ApiRequest(method="GET", path=f"{PROCESSES}/{segment(process_id, 'process_id')}")
