"""What every room of Crystal Search shares.

Importing this package loads nothing but the standard library: the volunteer's client imports from here too.
"""

__version__ = "0.1.0"
