-- Takes back an update of our own row, if it is still as we wrote it.
UPDATE {ARTSCORES_OWN}
SET {I_SCORES.SCORE} = :before_score, {I_SCORES.SCOREDATE} = CAST(:before_scored_at AS TIMESTAMP)
WHERE {I_SCORES.SCOREID} = :score_id
    AND {I_SCORES.SCOREDBY} = :scorer
    AND {I_SCORES.INSPECTID} = :inspection_id
    AND {I_SCORES.IMAGENAME} = :image_name
    AND {I_SCORES.SCORE} = :score
    AND {I_SCORES.SCOREDATE} = CAST(:scored_at AS TIMESTAMP)
