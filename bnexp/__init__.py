"""bnexp: which normalization, where in the network, and why?"""

__version__ = "0.1.0"
