-- Its triggers go with it.
DROP VIEW IF EXISTS {ARTSCORES_OWN}
