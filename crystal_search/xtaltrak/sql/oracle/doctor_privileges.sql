-- What our account may do to a table, view or sequence, by its own grants, its roles' and everybody's; and what it may do to all.
SELECT p.PRIVILEGE
FROM ALL_TAB_PRIVS p
WHERE p.TABLE_SCHEMA = :owner
    AND p.TABLE_NAME = :table_name
    AND (p.GRANTEE IN (USER, 'PUBLIC') OR p.GRANTEE IN (SELECT r.ROLE FROM SESSION_ROLES r))
UNION
SELECT s.PRIVILEGE FROM SESSION_PRIVS s WHERE s.PRIVILEGE LIKE '% ANY TABLE' OR s.PRIVILEGE = 'SELECT ANY SEQUENCE'
