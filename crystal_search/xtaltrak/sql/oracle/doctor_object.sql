-- What a name stands for, as far as our account may see it: owner, name and kind; a synonym stands for a name of another owner.
SELECT o.OWNER, o.OBJECT_NAME, o.OBJECT_TYPE
FROM ALL_OBJECTS o
WHERE o.OWNER = :owner AND o.OBJECT_NAME = :table_name AND o.OBJECT_TYPE IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'SEQUENCE')
UNION ALL
SELECT s.TABLE_OWNER, s.TABLE_NAME, 'SYNONYM'
FROM ALL_SYNONYMS s
WHERE s.OWNER IN (:owner, 'PUBLIC') AND s.SYNONYM_NAME = :table_name
