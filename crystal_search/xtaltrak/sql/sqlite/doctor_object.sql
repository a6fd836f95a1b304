-- Whether a table or view of that name is there. SQLite has no owners.
SELECT :owner, name, upper(type) FROM sqlite_master WHERE name = :table_name COLLATE NOCASE AND type IN ('table', 'view')
