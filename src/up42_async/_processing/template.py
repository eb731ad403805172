"""One template: a process and its inputs, checked and priced by `evaluate`, run by `execute`."""

import abc
import copy
import hashlib
import json
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import attrs

from up42_async import _clock
from up42_async._client import Client, current_client, display
from up42_async._jobs.job import Job
from up42_async._jobs.models import ValidationError
from up42_async._processing.cost import Cost
from up42_async._processing.evaluation import Evaluation, InvalidTemplateError, ask_price, evaluate_inputs
from up42_async._processing.executor import CostLimitError, ExecutionResult, Executor
from up42_async._processing.order import Order
from up42_async._storage.stac import client_of

TemplateT = TypeVar("TemplateT", bound="JobTemplate")


def _fits_workspace_id(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str | None):
        message = f"workspace_id must be a string, not {value!r}"
        raise TypeError(message)
    if value == "":
        message = "workspace_id must not be empty; leave it out for the client's workspace"
        raise ValueError(message)


@attrs.define(slots=False, repr=False)
class JobTemplate(abc.ABC):
    """A process and its inputs: a plain value, which sends nothing until it is evaluated or executed.

    For a process without a class in `processing_templates`, derive one with its id and inputs:

        @attrs.define
        class CloudMask(processing_templates.SingleItemJobTemplate):
            process_id = "cloud-mask"
            threshold: float = 0.5

            @property
            def inputs(self) -> dict[str, Any]:
                return {**super().inputs, "threshold": self.threshold}
    """

    process_id: ClassVar[str]
    """The process ID in a name format."""
    workspace_id: str | None = attrs.field(default=None, kw_only=True, validator=_fits_workspace_id)
    """The workspace in which jobs are made; the client's when left out, and then filled in by `execute`."""
    client: Client | None = attrs.field(default=None, kw_only=True, repr=False, eq=False)
    """The client to use; when left out, the one that the items came from, or else the current one."""
    _filled_workspace_id: str | None = attrs.field(default=None, init=False, repr=False, eq=False)
    _evaluated: Evaluation | None = attrs.field(default=None, init=False, repr=False, eq=False)
    _executions: tuple[ExecutionResult[Any], ...] = attrs.field(default=(), init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse a class without a `process_id`."""
        if not isinstance(getattr(type(self), "process_id", None), str):
            message = f'{type(self).__name__} has no process; set it in the class: process_id = "..."'
            raise TypeError(message)

    def __repr__(self) -> str:
        """Return the template in one line of at most 200 characters."""
        fields = [field.name for field in attrs.fields(type(self)) if field.repr and field.name != "workspace_id"]
        return display.attributes(self, *fields, "workspace_id")

    @property
    @abc.abstractmethod
    def inputs(self) -> dict[str, Any]:
        """The inputs of the process, as they are sent."""

    @property
    def fingerprint(self) -> str:
        """What makes two executions equal: the process, the workspace it was given, and the inputs.

        64 hexadecimal digits; the same in every run. It changes with the title, so that a title of its own makes an
        execution one of its own.
        """
        return execution_key(self.process_id, self._given_workspace_id, _plain(self.inputs))

    @property
    def is_valid(self) -> bool:
        """Whether UP42 accepts the template.

        Raises:
            RuntimeError: It was not evaluated yet, or has changed since.
        """
        return not self._evaluation("is_valid").errors

    @property
    def errors(self) -> set[ValidationError]:
        """Why UP42 does not accept the template; empty when it does.

        The names are `ProcessNotFound`, `EulaNotAccepted`, `InvalidSchema`, and those of UP42's validation.

        Raises:
            RuntimeError: It was not evaluated yet, or has changed since.
        """
        return set(self._evaluation("errors").errors)

    @property
    def cost(self) -> Cost:
        """The price.

        Raises:
            RuntimeError: It was not evaluated yet, has changed since, or is not valid.
        """
        evaluation = self._evaluation("cost")
        if evaluation.cost is None:
            message = f"{self} has no cost, since it is not valid: {_listed(evaluation.errors)}"
            raise RuntimeError(message)
        return evaluation.cost

    @property
    def executions(self) -> tuple[ExecutionResult[Self], ...]:
        """The results of all executions so far that made, or may have made, a job; also of cancelled calls."""
        return self._executions

    async def evaluate(self) -> Self:
        """Ask UP42 whether the template is valid, and for its price; returns the template itself.

        One request for the validation and one for the price of a valid template. For the first template of a process up
        to two more, for the process and its EULA.

        Raises:
            APIError: UP42 could not be asked.
            RuntimeError: There is no client.
            ValueError: The items came from two clients.
        """
        await self._ask(self._client_to_use(), _clock.now())
        return self

    async def execute(self, *, max_credits: float | None = None, budget_id: str | None = None) -> Job:
        """Run the process on the inputs: this spends credits, once.

        One request, after those of `evaluate()` if that was not done; one for the price when it was last asked more
        than 60 seconds ago, or when there is a limit; one for the user's own workspace the first time that no other is
        given; and one for the balance when the job is rejected at once. It is never sent again unless it certainly did
        not arrive or was refused unprocessed. If the response is lost, the job it may have made is looked for
        (`Polling.recover`, 60 seconds by default), and is returned when it is the only one with these inputs; an equal
        execution by another program in the same seconds cannot be told apart, which a title of its own for each
        execution prevents.

        Cancelled before it is sent, nothing is bought. Cancelled later, the response is still waited for
        (`Timeouts.cancel_grace`), and its result is in `executions`, in the log and in a note on the cancellation.

        Args:
            max_credits: The highest price to accept, in credits.
            budget_id: The ID of the budget that pays.

        Raises:
            InvalidTemplateError: UP42 does not accept the template; it was not executed.
            CostLimitError: The price is above `max_credits`, or above the one that was evaluated; it was not executed,
                and `cost` is the new price.
            ExecutionUncertainError: The response was lost, and it is not certain whether it made a job, or which.
            APIError: UP42 refused, or could not be reached: nothing was bought.
            RuntimeError: There is no client.
            TypeError: `max_credits` is not a number, or `budget_id` is no string.
            ValueError: `max_credits` is negative, `budget_id` cannot be right, or the items came from two clients.
        """
        executor = Executor(max_credits, budget_id=budget_id)
        client = self._client_to_use()
        async with executor.opened(client):
            return (await executor.execute(self, client)).job

    def __copy__(self) -> Self:
        return _revive(type(self), {**self._state(), "client": self.client})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _revive(type(self), {**copy.deepcopy(self._state(), memo), "client": self.client})

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the client out of pickles: it holds a password, and connections that cannot be copied."""
        return _revive, (type(self), self._state())

    def _state(self) -> dict[str, Any]:
        """Return the fields of a copy: all but the clients and the executions."""
        state = {**self.__dict__, **{field.name: getattr(self, field.name) for field in attrs.fields(type(self))}}
        evaluated = self._evaluated and attrs.evolve(self._evaluated, client=None)
        return {**state, "client": None, "_evaluated": evaluated, "_executions": ()}

    def __str__(self) -> str:
        """Return the process, and the title if there is one."""
        return _label(self.process_id, getattr(self, "title", None))

    def _evaluation(self, name: str) -> Evaluation:
        """Return the evaluation of the inputs as they are now.

        Args:
            name: The property that needs it, for the error.

        Raises:
            RuntimeError: The template was not evaluated, or its inputs have changed since.
        """
        if self._evaluated is None:
            message = f"{name} is not known yet; `await template.evaluate()` first ({self})"
            raise RuntimeError(message)
        if self._evaluated.inputs != _plain(self.inputs):
            message = f"{self} has changed since it was evaluated; `await template.evaluate()` again to know {name}"
            raise RuntimeError(message)
        return self._evaluated

    @property
    def _given_workspace_id(self) -> str | None:
        """The workspace that the user gave, None when `execute` filled one in."""
        return None if self.workspace_id == self._filled_workspace_id else self.workspace_id

    def _client_to_use(self, given: Client | None = None) -> Client:
        """Return the client to use: the one given, the template's own, the one its items came from, or the current one.

        Raises:
            RuntimeError: There is none.
            ValueError: The items came from two clients.
        """
        own = self.client if given is None else given
        return current_client(self._client_of_items() if own is None else own)

    def _client_of_items(self) -> Client | None:
        fields = [getattr(self, field.name) for field in attrs.fields(type(self))]
        values = [one for value in fields for one in (value if isinstance(value, list | tuple) else (value,))]
        clients = set(map(client_of, values)) - {None}
        if len(clients) > 1:
            message = f"the items of {self} came from two clients; say which one to use with client="
            raise ValueError(message)
        return next(iter(clients), None)

    async def _ask(self, client: Client, since: float, inputs: Mapping[str, Any] | None = None) -> Evaluation:
        """Evaluate inputs, those of the template when left out; `since` as for `evaluate_inputs`."""
        wanted = _plain(self.inputs) if inputs is None else inputs
        self._evaluated = await evaluate_inputs(client, self.process_id, wanted, since=since)
        return self._evaluated

    async def _price(self, client: Client, order: Order | None, *, since: float, asked_since: float) -> Cost:
        """Return the price; it is asked when it is not known yet, or was asked at or before `asked_since`.

        An evaluation by another client does not count: another account may have other prices.

        Args:
            client: The client to ask with.
            order: The execution to be sent, whose inputs the template may not have any more; None for its inputs now.
            since: When the call began (monotonic, in seconds), see `evaluate_inputs`.
            asked_since: A price that was asked later than this is used (monotonic, in seconds).

        Raises:
            InvalidTemplateError: UP42 does not accept the template.
            CostLimitError: The price is above the one that was evaluated.
        """
        known, before = self._evaluated, None
        inputs = _plain(self.inputs) if order is None else order.inputs
        if known is None or known.inputs != inputs or known.client not in {client, None}:
            known = await self._ask(client, since, inputs)
        elif known.client is None:  # a copy, maybe from another process of the operating system
            before = known.cost
            known = await self._ask(client, since, inputs)
        elif known.cost is not None and known.asked_at <= asked_since:
            before = known.cost
            cost = await ask_price(client, self.process_id, inputs)
            known = self._evaluated = attrs.evolve(known, cost=cost, asked_at=_clock.now())
        if known.cost is None:
            raise self._invalid(known.errors)
        if before is not None and known.cost.credits > before.credits:
            raise self._risen(known.cost, before)
        return known.cost

    async def _order(self, client: Client) -> Order:
        """Return the execution to be sent, with the inputs as they are now.

        Raises:
            APIError: The user's own workspace could not be asked.
        """
        inputs = _plain(self.inputs)
        workspace_id = self._given_workspace_id or await client.workspace_id()
        return Order(
            process_id=self.process_id,
            workspace_id=workspace_id,
            inputs=inputs,
            fingerprint=self.fingerprint,
            key=execution_key(self.process_id, workspace_id, inputs),
            label=_label(self.process_id, inputs.get("title")),
        )

    def _keep(self, result: ExecutionResult[Any], order: Order) -> None:
        """Keep the result of an execution that made, or may have made, a job, and the workspace that was used."""
        self._filled_workspace_id = None if self._given_workspace_id else order.workspace_id
        self.workspace_id = order.workspace_id
        self._executions = (*self._executions, result)

    def _risen(self, cost: Cost, before: Cost) -> CostLimitError:
        price = display.counted(cost.credits, "credit")
        message = (
            f"{self} costs {price} now, and was evaluated at {before.credits:,}. Nothing was sent; `cost`"
            " is the new price, and executing it again accepts that"
        )
        return CostLimitError(message, cost=cost, evaluated=before)

    def _invalid(self, errors: frozenset[ValidationError]) -> InvalidTemplateError:
        message = (
            f"{self} is not valid, so nothing was sent: {_listed(errors)}. When the cause is removed,"
            " `await template.evaluate()` again"
        )
        return InvalidTemplateError(message, errors=errors)


def execution_key(process_id: str, workspace_id: str | None, inputs: Mapping[str, Any]) -> str:
    """Return a digest of process, workspace and inputs, the same for equal executions: 64 hexadecimal digits.

    Args:
        process_id: The process.
        workspace_id: The workspace.
        inputs: The inputs, as JSON has them.
    """
    text = json.dumps([process_id, workspace_id, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _label(process_id: str, title: Any) -> str:
    """Return what messages call an execution: the process, and the title if there is one."""
    return f"{process_id} ({title!r})" if isinstance(title, str) else process_id


def _revive(kind: type[TemplateT], state: Mapping[str, Any]) -> TemplateT:
    """Make a template from its fields, for copies and pickles."""
    template = kind.__new__(kind)
    for name, value in state.items():
        object.__setattr__(template, name, value)
    return template


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of inputs as JSON has them, which does not change with the template."""
    plain: dict[str, Any] = json.loads(json.dumps(inputs, allow_nan=False, default=_number))
    return plain


def _number(value: object) -> int | float:
    """Return a number of another library, such as NumPy's, as a number that JSON has."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    message = f"inputs must be JSON: {value!r:.80} is a {type(value).__name__}"
    raise TypeError(message)


def _listed(errors: frozenset[ValidationError]) -> str:
    return "; ".join(sorted(f"{error.name}: {error.message}" for error in errors))
