"""``python -m ethicclip`` is the command line."""

from ethicclip.cli import main

if __name__ == "__main__":
    main()
