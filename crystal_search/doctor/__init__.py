"""``crystal-search doctor``: whether XtalTrak, its database and the images are as we think, looked at without changing anything.

What forbids writing (write-back rule 6) is also asked by whoever writes scores: ``guard.py``.
"""
