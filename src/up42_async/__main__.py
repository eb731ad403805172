"""Run the command `up42`: `python -m up42_async`."""

from _up42_command import main

if __name__ == "__main__":
    main()
