"""`python -m bnexp` is the command `bnexp`."""

from bnexp.cli import main

if __name__ == "__main__":
    main()
