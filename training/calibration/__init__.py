"""Probabilities that mean what they say, and the threshold that belongs to them: ``crystal-search calibrate``."""
