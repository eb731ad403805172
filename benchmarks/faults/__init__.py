"""Everything goes wrong at once while clients work; at the end the books of both sides must agree.

    python -m benchmarks.faults --seed 7

What is where, in the order in which it happens:

    __main__          runs both loops, each with a sandbox of its own, and writes docs/reliability.md
    run               one loop: the sandbox in another process, the clients in this one
    plan, troubles    which troubles come when, drawn from the seed | what each of them does
    platform          the sandbox, its troubles, and at the end what it knows
    callers           calls, a tenth of them cancelled, in every way a loop has
    buying, following, fetching, reading   execute | list and track | download | look things up
    desk, books       what one client has in hand | what the clients know
    leaks             descriptors, tasks, connections, objects and memory
    ledger            both sides compared, line by line
    report, picture   the page and its picture
"""
