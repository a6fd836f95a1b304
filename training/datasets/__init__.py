"""Data sets: images that people scored, from a lab's XtalTrak, a folder or MARCO's files, cut into chops to train from (P1-P11)."""
