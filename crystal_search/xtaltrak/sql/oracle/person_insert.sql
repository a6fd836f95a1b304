-- One score of one image under a person's own name. Other rows are not looked at: every person's stays beside it.
INSERT INTO {PEOPLE_SCORES} (
    {I_SCORES.SCOREID}, {I_SCORES.INSPECTID}, {I_SCORES.IMAGENAME}, {I_SCORES.SCORE}, {I_SCORES.SCOREDATE}, {I_SCORES.SCOREDBY}
)
SELECT :score_id, :inspection_id, :image_name, :score, TO_DATE(:scored_at, 'YYYY-MM-DD HH24:MI:SS'), :scorer
FROM DUAL
WHERE EXISTS (
        SELECT 1
        FROM {I_IMAGES} seen
        WHERE seen.{I_IMAGES.INSPECTID} = :inspection_id AND seen.{I_IMAGES.IMAGENAME} = :image_name
    )
    AND NOT EXISTS (SELECT 1 FROM {I_SCORES} taken WHERE taken.{I_SCORES.SCOREID} = :score_id)
