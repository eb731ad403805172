"""Know one template: what to run on what, checked and priced by `evaluate`, and run by `execute`."""

import abc
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

import attrs

from up42_async import _clock
from up42_async._client import Client, current_client
from up42_async._errors import Up42Error
from up42_async._jobs.job import Job
from up42_async._jobs.models import ValidationError
from up42_async._processing.cost import Cost
from up42_async._processing.credit_budget import Allowance
from up42_async._processing.evaluation import Evaluation, evaluate_inputs
from up42_async._processing.execution import Purchase, describe


class InvalidTemplateError(Up42Error):
    """UP42 has something against a template, so nothing was sent.

    Attributes:
        errors: What it has against it.
    """

    def __init__(self, message: str, *, errors: frozenset[ValidationError] = frozenset()) -> None:
        """Say what is wrong with which template."""
        super().__init__(message)
        self.errors = set(errors)


TemplateT = TypeVar("TemplateT", bound="JobTemplate")


@attrs.frozen
class ExecutionResult(Generic[TemplateT]):
    """What came of executing a template: either a job or an error."""

    template: TemplateT
    """The template."""
    job: Job | None = None
    """The job that was made."""
    error: Exception | None = None
    """Why there is none, or why it is not known: see `ExecutionUncertainError`."""
    recovered: bool = attrs.field(default=False, kw_only=True)
    """Whether UP42's answer was lost, and the job was found in the list of jobs."""

    def __attrs_post_init__(self) -> None:
        """Refuse what is neither, or both."""
        if (self.job is None) == (self.error is None):
            message = "an ExecutionResult has either a job or an error"
            raise ValueError(message)


@attrs.frozen(kw_only=True)
class _Evaluated:
    """An evaluation, and what it holds for."""

    inputs: Mapping[str, Any]
    client: Client | None
    evaluation: Evaluation


def _fits_workspace_id(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str | None):
        message = f"workspace_id must be a string, not {value!r}"
        raise TypeError(message)
    if value == "":
        message = "workspace_id must not be empty; leave it out for the client's workspace"
        raise ValueError(message)


@attrs.define(slots=False)
class JobTemplate(abc.ABC):
    """What to run on what: a plain value, which sends nothing until it is evaluated or executed.

    For a process that is not among those of `processing_templates`, derive a class that says its id and its inputs:

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
    """The workspace in which jobs are made; the client's when left out."""
    client: Client | None = attrs.field(default=None, kw_only=True, repr=False, eq=False)
    """The client to use; the current one when left out."""
    _evaluated: _Evaluated | None = attrs.field(default=None, init=False, repr=False, eq=False)
    _executions: tuple[ExecutionResult[Any], ...] = attrs.field(default=(), init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse a class that does not say its process."""
        if not isinstance(getattr(type(self), "process_id", None), str):
            message = f'{type(self).__name__} has no process; set it in the class: process_id = "..."'
            raise TypeError(message)

    @property
    @abc.abstractmethod
    def inputs(self) -> dict[str, Any]:
        """The inputs of the process, as they are sent."""

    @property
    def is_valid(self) -> bool:
        """Whether UP42 has nothing against the template.

        Raises:
            RuntimeError: It was not evaluated yet, or has changed since.
        """
        return not self._evaluation("is_valid").errors

    @property
    def errors(self) -> set[ValidationError]:
        """What UP42 has against the template.

        `ProcessNotFound`, `EulaNotAccepted`, `InvalidSchema`, or what its validation of the inputs names.

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
        """What was, or may have been, bought with this template so far, also for callers who were cancelled."""
        return self._executions

    async def evaluate(self) -> Self:
        """Ask UP42 whether the template is valid, and for its price; returns the template itself.

        Two requests, and for the first template of a process two more for its description and its EULA.

        Raises:
            APIError: UP42 could not be asked.
        """
        await self._ask(current_client(self.client), _clock.now())
        return self

    async def execute(self, *, max_credits: float | None = None, budget_id: str | None = None) -> Job:
        """Run the process on the inputs: this spends credits, once.

        One request, after those of `evaluate()` if that was not done, and one for the user's own workspace the first
        time that no other is given. It is never sent again unless it certainly did not arrive or was refused
        unprocessed. If the answer is lost, the job it may have made is looked for, for about a minute, and is returned
        when it is the only one with these inputs; an identical execution by another program in the same seconds cannot
        be told apart, which a title of its own for each execution prevents.

        Cancelled before it is sent, nothing is bought. Cancelled later, the answer is still waited for
        (`Timeouts.cancel_grace`), and what came of it is in `executions`, in the log and in a note on the cancellation.

        Args:
            max_credits: The highest price to accept, in credits.
            budget_id: The budget that pays.

        Raises:
            InvalidTemplateError: UP42 has something against the template; nothing was sent.
            CostLimitError: The price is above `max_credits`; nothing was sent.
            ExecutionUncertainError: The answer was lost, and it is not certain whether it made a job, or which.
            APIError: UP42 refused, or could not be reached: nothing was bought.
            TypeError: `max_credits` is not a number.
            ValueError: `max_credits` is negative.
        """
        allowance = Allowance(max_credits)
        client = current_client(self.client)
        return await self._execute(client, allowance, budget_id, since=_clock.now(), keep=_ignore)

    def __copy__(self) -> Self:
        return _revive(type(self), {**self._state(), "client": self.client})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _revive(type(self), {**copy.deepcopy(self._state(), memo), "client": self.client})

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the client out of pickles: it holds a password, and connections that cannot be copied."""
        return _revive, (type(self), self._state())

    def _state(self) -> dict[str, Any]:
        """Return what copies take along: neither a client, nor who evaluated it, nor what was executed."""
        state = {**self.__dict__, **{field.name: getattr(self, field.name) for field in attrs.fields(type(self))}}
        evaluated = self._evaluated and attrs.evolve(self._evaluated, client=None)
        return {**state, "client": None, "_evaluated": evaluated, "_executions": ()}

    def __str__(self) -> str:
        """Return the process, and the title if there is one."""
        return describe(self.process_id, {"title": getattr(self, "title", None)})

    def _evaluation(self, name: str) -> Evaluation:
        """Return what UP42 said of the inputs as they are now.

        Raises:
            RuntimeError: It was not asked.
        """
        if self._evaluated is None:
            message = f"{name} is not known yet; `await template.evaluate()` first ({self})"
            raise RuntimeError(message)
        if self._evaluated.inputs != _plain(self.inputs):
            message = f"{self} has changed since it was evaluated; `await template.evaluate()` again to know {name}"
            raise RuntimeError(message)
        return self._evaluated.evaluation

    async def _ask(self, client: Client, since: float) -> _Evaluated:
        inputs = _plain(self.inputs)
        evaluation = await evaluate_inputs(client, self.process_id, inputs, since=since)
        self._evaluated = _Evaluated(inputs=inputs, client=client, evaluation=evaluation)
        return self._evaluated

    async def _evaluated_by(self, client: Client, since: float) -> _Evaluated:
        """Return the evaluation of the inputs as they are now by this client: another account may have other prices."""
        known = self._evaluated
        if known is not None and known.client is client and known.inputs == _plain(self.inputs):
            return known
        return await self._ask(client, since)

    async def _execute(
        self,
        client: Client,
        allowance: Allowance,
        budget_id: str | None,
        *,
        since: float,
        keep: Callable[[ExecutionResult[Self]], None],
    ) -> Job:
        """Execute within an allowance; whatever was or may have been bought is kept before anything else can happen."""
        evaluated = await self._evaluated_by(client, since)
        cost = evaluated.evaluation.cost
        if cost is None:
            raise self._invalid(evaluated.evaluation)
        workspace_id = self.workspace_id or await client.workspace_id()
        purchase = Purchase(
            client,
            process_id=self.process_id,
            inputs=evaluated.inputs,
            workspace_id=workspace_id,
            budget_id=budget_id,
        )
        reservation = await allowance.reserve(cost, str(self))
        try:
            return await purchase.make()
        finally:
            reservation.settle(_spent(purchase, cost))
            self._keep(purchase, keep)

    def _keep(self, purchase: Purchase, keep: Callable[[ExecutionResult[Self]], None]) -> None:
        if purchase.job is None and purchase.uncertain is None:
            return
        execution = ExecutionResult(self, purchase.job, purchase.uncertain, recovered=purchase.recovered)
        self._executions = (*self._executions, execution)
        keep(execution)

    def _invalid(self, evaluation: Evaluation) -> InvalidTemplateError:
        message = (
            f"{self} is not valid, so nothing was sent: {_listed(evaluation.errors)}. When the cause is removed,"
            " `await template.evaluate()` again"
        )
        return InvalidTemplateError(message, errors=evaluation.errors)


def _revive(kind: type[TemplateT], state: Mapping[str, Any]) -> TemplateT:
    """Make a template of its state, for copies and pickles."""
    template = kind.__new__(kind)
    for name, value in state.items():
        object.__setattr__(template, name, value)
    return template


def _ignore(_: object) -> None:
    """Keep nothing more than the template itself does."""


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs as JSON has them: what is evaluated is what is sent, whatever becomes of the template meanwhile."""
    plain: dict[str, Any] = json.loads(json.dumps(inputs, allow_nan=False))
    return plain


def _listed(errors: frozenset[ValidationError]) -> str:
    return "; ".join(sorted(f"{error.name}: {error.message}" for error in errors))


def _spent(purchase: Purchase, cost: Cost) -> int:
    """Return the credits to count as spent: none if it is certain that nothing was bought, more if the job says so."""
    if purchase.job is not None:
        return max(cost.credits, purchase.job.credits or 0)
    return cost.credits if purchase.uncertain is not None else 0
