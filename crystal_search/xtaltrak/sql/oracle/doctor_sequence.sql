-- The next number that a sequence may give (after those that it keeps ready), its last one, and its step.
SELECT q.LAST_NUMBER, q.MAX_VALUE, q.INCREMENT_BY
FROM ALL_SEQUENCES q
WHERE q.SEQUENCE_OWNER = :owner AND q.SEQUENCE_NAME = :table_name
