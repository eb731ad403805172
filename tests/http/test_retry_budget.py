"""The retry budget of a client: what it starts with, what a success adds, and its upper bound."""

from up42_async import RetryPolicy
from up42_async._http.throttling import RetryBudget


def test_the_retries_at_the_start_are_spent_once() -> None:
    budget = RetryBudget(RetryPolicy(budget=3))
    assert [budget.try_withdraw() for _ in range(5)] == [True, True, True, False, False]


def test_each_success_earns_a_share_of_a_retry() -> None:
    budget = RetryBudget(RetryPolicy(budget=0, budget_share=0.1))
    assert not budget.try_withdraw()
    for _ in range(11):
        budget.deposit()
    assert [budget.try_withdraw(), budget.try_withdraw()] == [True, False]


def test_the_budget_grows_to_ten_times_its_start_at_most() -> None:
    budget = RetryBudget(RetryPolicy(budget=3))
    for _ in range(10_000):
        budget.deposit()
    assert [budget.try_withdraw() for _ in range(32)] == [True] * 30 + [False] * 2
