"""How well a model finds drops, against outlines that a person drew (P7): ``crystal-search evaluate-drops``."""
