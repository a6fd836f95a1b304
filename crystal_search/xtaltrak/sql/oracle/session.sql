-- Paging compares keys as it sorts them, whatever the client's or the lab's language.
ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY NLS_NUMERIC_CHARACTERS = '.,'
