-- The first and the last number; each is one look into the key's index.
SELECT
    (SELECT MIN(f.{I_INSPECTIONS.INSPECTID}) FROM {I_INSPECTIONS} f) LOWEST,
    (SELECT MAX(l.{I_INSPECTIONS.INSPECTID}) FROM {I_INSPECTIONS} l) HIGHEST
