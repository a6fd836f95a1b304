-- Its triggers go with it.
DROP VIEW IF EXISTS {PEOPLE_SCORES}
