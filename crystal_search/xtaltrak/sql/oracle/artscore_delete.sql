-- Takes the ARTscores of a batch back.
DELETE FROM {ARTSCORES} WHERE {ARTSCORES.BATCH} = :batch
