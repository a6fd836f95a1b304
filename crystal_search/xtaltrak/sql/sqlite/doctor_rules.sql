-- What a column's values have to be: R for another table's key. SQLite tells no conditions, and has no owners.
SELECT "table", 'R', upper("from"), NULL FROM pragma_foreign_key_list(:table_name) WHERE :owner = :owner
