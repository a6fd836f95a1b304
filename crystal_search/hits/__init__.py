"""Crystals that people or the network found, with the conditions that gave them (P33)."""
