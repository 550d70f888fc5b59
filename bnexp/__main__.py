"""`python -m bnexp` is the command `bnexp`."""

import os
import sys

if sys.path[:1] == [os.getcwd()]:
    del sys.path[0]  # where somebody works may hold a numpy.py that is not numpy

from bnexp.cli import main

if __name__ == "__main__":
    main()
