-- Takes the regions of a batch back.
DELETE FROM {ARTSCORE_REGIONS} WHERE {ARTSCORE_REGIONS.BATCH} = :batch
