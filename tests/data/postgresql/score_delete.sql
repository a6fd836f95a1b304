-- Takes back a row that we inserted, if it is still as we wrote it.
DELETE FROM {ARTSCORES_OWN}
WHERE {I_SCORES.SCOREID} = :score_id
    AND {I_SCORES.SCOREDBY} = :scorer
    AND {I_SCORES.INSPECTID} = :inspection_id
    AND {I_SCORES.IMAGENAME} = :image_name
    AND {I_SCORES.SCORE} = :score
    AND {I_SCORES.SCOREDATE} = CAST(:scored_at AS TIMESTAMP)
