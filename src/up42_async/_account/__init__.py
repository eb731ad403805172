"""What surrounds a job: the processes that can be run, their EULAs, and the budgets that pay for them."""
