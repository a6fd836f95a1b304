-- The columns of a table or view: its type, and whether it has to be given a value. SQLite has no lengths and no owners.
SELECT upper(name), upper(type), NULL, NULL, "notnull" = 1 AND dflt_value IS NULL
FROM pragma_table_info(:table_name)
WHERE :owner = :owner
ORDER BY cid
