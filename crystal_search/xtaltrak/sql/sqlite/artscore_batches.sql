-- Which batches have ARTscores here, and how many rows.
SELECT own.{ARTSCORES.BATCH}, COUNT(*)
FROM {ARTSCORES} own
GROUP BY own.{ARTSCORES.BATCH}
ORDER BY own.{ARTSCORES.BATCH}
