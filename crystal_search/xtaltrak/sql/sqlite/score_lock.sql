-- Nothing to do: a writing transaction of SQLite is alone from its BEGIN IMMEDIATE on.
SELECT 1
