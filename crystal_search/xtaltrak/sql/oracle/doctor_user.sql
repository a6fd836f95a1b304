-- Who we are there.
SELECT USER FROM DUAL
