-- The triggers that are on, of a table that is our own.
SELECT t.TRIGGER_NAME
FROM ALL_TRIGGERS t
WHERE t.TABLE_OWNER = :owner AND t.TABLE_NAME = :table_name AND t.STATUS = 'ENABLED'
ORDER BY t.TRIGGER_NAME
