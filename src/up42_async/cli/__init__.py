"""The command `up42` (extra `cli`): a thin layer over the library, with data on stdout and messages on stderr.

main         the entry point
application  all commands, and the options given before them
running      exit codes, errors, Ctrl-C and the log
settings     the options given before a command: credentials, region, addresses
output       rows as a table, JSON, NDJSON or CSV
arguments    ids from the command line or stdin, periods, statuses
jobs         `up42 jobs ...`
runs         `up42 run` and `up42 journal`
run_items    the items that `up42 run` reads, and the templates made of them
storage      `up42 assets`, `up42 items`
account      `up42 auth`, `up42 processes`, `up42 balance`, `up42 budgets`
local        `up42 sandbox`, `up42 completion`
"""
