-- The triggers of a table. SQLite has no owners.
SELECT upper(name) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table_name COLLATE NOCASE AND :owner = :owner ORDER BY name
