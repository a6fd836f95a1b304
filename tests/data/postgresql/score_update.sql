-- Our own row with another score, if it is as we saw it and no person has scored. :by_drop is 1 where that protects the whole drop.
-- :own_ids is ,1,2, for our rows on the drop: whoever else uses our name is a person.
UPDATE {ARTSCORES_OWN}
SET {I_SCORES.SCORE} = :score, {I_SCORES.SCOREDATE} = CAST(:scored_at AS TIMESTAMP)
WHERE {I_SCORES.SCOREID} = :score_id
    AND {I_SCORES.SCOREDBY} = :scorer
    AND {I_SCORES.INSPECTID} = :inspection_id
    AND {I_SCORES.IMAGENAME} = :image_name
    AND COALESCE({I_SCORES.SCORE}, '-') = COALESCE(:before_score, '-')
    AND NOT EXISTS (
        SELECT 1
        FROM {I_INSPECTIONS} mine
        JOIN {I_INSPECTIONS} other
            ON other.{I_INSPECTIONS.BARCODEID} = mine.{I_INSPECTIONS.BARCODEID}
            AND other.{I_INSPECTIONS.COL} = mine.{I_INSPECTIONS.COL}
            AND other.{I_INSPECTIONS.I_ROW} = mine.{I_INSPECTIONS.I_ROW}
            AND other.{I_INSPECTIONS.SUBWELL} = mine.{I_INSPECTIONS.SUBWELL}
        JOIN {I_SCORES} person ON person.{I_SCORES.INSPECTID} = other.{I_INSPECTIONS.INSPECTID}
        WHERE mine.{I_INSPECTIONS.INSPECTID} = :inspection_id
            AND (
                person.{I_SCORES.SCOREDBY} IS NULL OR person.{I_SCORES.SCOREDBY} <> :scorer
                OR STRPOS(:own_ids, ',' || person.{I_SCORES.SCOREID} || ',') = 0
            )
            AND (:by_drop = 1 OR (
                person.{I_SCORES.INSPECTID} = :inspection_id
                AND (person.{I_SCORES.IMAGENAME} IS NULL OR person.{I_SCORES.IMAGENAME} = :image_name)
            ))
    )
