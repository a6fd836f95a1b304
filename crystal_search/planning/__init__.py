"""``crystal-search plan``: how many machines, how many days, how much disk (P30, P31)."""
