"""Run the command `up42`: `python -m up42_async`."""

from up42_async.cli.main import main

if __name__ == "__main__":
    main()
