-- The columns of a table or view: its type, its length in characters, its digits, and whether it has to be given a value.
SELECT
    c.COLUMN_NAME,
    c.DATA_TYPE,
    c.CHAR_LENGTH,
    c.DATA_PRECISION,
    CASE WHEN c.NULLABLE = 'N' AND c.DEFAULT_LENGTH IS NULL THEN 1 ELSE 0 END
FROM ALL_TAB_COLUMNS c
WHERE c.OWNER = :owner AND c.TABLE_NAME = :table_name
ORDER BY c.COLUMN_ID
