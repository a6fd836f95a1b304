-- What has to be unique: each index's name with its columns. SQLite has no owners.
SELECT k.name, upper(c.name)
FROM pragma_index_list(:table_name) k
JOIN pragma_index_info(k.name) c
WHERE k."unique" = 1 AND :owner = :owner
ORDER BY 1, 2
