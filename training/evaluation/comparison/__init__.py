"""The paper's comparison of networks (its Tables 2 and 3) from run files and scores: ``crystal-search evaluate --compare``."""
