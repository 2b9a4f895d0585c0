"""``python -m lossmith``: the command line."""

from lossmith.cli import main

if __name__ == "__main__":
    main()
