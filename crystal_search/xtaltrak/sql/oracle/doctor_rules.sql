-- What a column's values have to be: C for a condition with its text (a LONG, hence the old kind of join), R for another table's key.
SELECT k.CONSTRAINT_NAME, k.CONSTRAINT_TYPE, c.COLUMN_NAME, k.SEARCH_CONDITION
FROM ALL_CONSTRAINTS k, ALL_CONS_COLUMNS c
WHERE c.OWNER = k.OWNER
    AND c.CONSTRAINT_NAME = k.CONSTRAINT_NAME
    AND k.OWNER = :owner
    AND k.TABLE_NAME = :table_name
    AND k.CONSTRAINT_TYPE IN ('C', 'R')
    AND k.STATUS = 'ENABLED'
