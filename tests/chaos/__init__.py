"""Many faults at once while clients work; at the end the records of server and clients must agree.

    python -m tests.chaos --seed 7

What is where, in the order in which it happens:

    __main__          runs both loops, each with a sandbox of its own, and writes docs/reliability.md
    run               one event loop: the sandbox in another process, the clients in this one
    plan, faults      which faults come when, drawn from the seed | what each of them does
    platform          the sandbox, its faults, and at the end what it knows
    callers           calls, a tenth of them cancelled, in every way the event loop has
    executing, tracking, downloading, reading   the calls that are made
    worker            the jobs that one client has to track and to download
    client_state      what the clients know
    leaks             descriptors, tasks, connections, objects and memory
    checks            both sides compared
    report, pictures  the page and its pictures
"""
