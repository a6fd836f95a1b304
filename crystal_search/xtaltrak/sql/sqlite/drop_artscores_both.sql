-- It is made anew for another scorer or other names.
DROP VIEW IF EXISTS {ARTSCORES_BOTH}
