"""Evaluation: score files against people's labels (P19-P21). ``measures`` are pure functions on arrays, ``report`` makes the outputs."""
