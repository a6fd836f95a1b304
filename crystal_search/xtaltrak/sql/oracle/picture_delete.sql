-- Takes the pictures of a batch back.
DELETE FROM {ARTSCORE_PICTURES} WHERE {ARTSCORE_PICTURES.BATCH} = :batch
