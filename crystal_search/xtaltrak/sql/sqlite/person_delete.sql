-- Takes back a person's own row, if it is still exactly as that person entered it here.
DELETE FROM {PEOPLE_SCORES}
WHERE {I_SCORES.SCOREID} = :score_id
    AND {I_SCORES.SCOREDBY} = :scorer
    AND {I_SCORES.INSPECTID} = :inspection_id
    AND {I_SCORES.IMAGENAME} = :image_name
    AND {I_SCORES.SCORE} = :score
    AND {I_SCORES.SCOREDATE} = :scored_at
