-- The text of a view (a LONG), and how many check options it has.
SELECT
    v.TEXT,
    (
        SELECT COUNT(*)
        FROM ALL_CONSTRAINTS k
        WHERE k.OWNER = :owner AND k.TABLE_NAME = :table_name AND k.CONSTRAINT_TYPE = 'V' AND k.STATUS = 'ENABLED'
    )
FROM ALL_VIEWS v
WHERE v.OWNER = :owner AND v.VIEW_NAME = :table_name
