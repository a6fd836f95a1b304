-- The triggers that are on. An account that does not own the table sees them only here, and only by a grant of its own.
SELECT t.TRIGGER_NAME
FROM SYS.DBA_TRIGGERS t
WHERE t.TABLE_OWNER = :owner AND t.TABLE_NAME = :table_name AND t.STATUS = 'ENABLED'
ORDER BY t.TRIGGER_NAME
