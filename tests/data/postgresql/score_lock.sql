-- The view stands for its table: PostgreSQL wants more than SELECT for such a lock, and our account may write the view only.
LOCK TABLE {ARTSCORES_OWN} IN EXCLUSIVE MODE
