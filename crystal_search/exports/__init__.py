"""Scores out of the ledger, in forms that other systems read."""
