-- Our score of one image, unless a person's or our own is there. :by_drop is 1 where a person's score protects the whole drop.
-- :own_ids is ,1,2, for our rows on the drop: whoever else uses our name is a person.
INSERT INTO {ARTSCORES_OWN} (
    {I_SCORES.SCOREID}, {I_SCORES.INSPECTID}, {I_SCORES.IMAGENAME}, {I_SCORES.SCORE}, {I_SCORES.SCOREDATE}, {I_SCORES.SCOREDBY}
)
SELECT :score_id, :inspection_id, :image_name, :score, :scored_at, :scorer
WHERE EXISTS (
        SELECT 1 FROM {I_IMAGES} seen WHERE seen.{I_IMAGES.INSPECTID} = :inspection_id AND seen.{I_IMAGES.IMAGENAME} = :image_name
    )
    AND NOT EXISTS (SELECT 1 FROM {I_SCORES} taken WHERE taken.{I_SCORES.SCOREID} = :score_id)
    AND NOT EXISTS (
        SELECT 1
        FROM {I_SCORES} own
        WHERE own.{I_SCORES.INSPECTID} = :inspection_id
            AND own.{I_SCORES.IMAGENAME} = :image_name
            AND own.{I_SCORES.SCOREDBY} = :scorer
    )
    AND NOT EXISTS (
        SELECT 1
        FROM {I_INSPECTIONS} mine
        CROSS JOIN {I_INSPECTIONS} other
            ON other.{I_INSPECTIONS.BARCODEID} = mine.{I_INSPECTIONS.BARCODEID}
            AND other.{I_INSPECTIONS.COL} = mine.{I_INSPECTIONS.COL}
            AND other.{I_INSPECTIONS.I_ROW} = mine.{I_INSPECTIONS.I_ROW}
            AND other.{I_INSPECTIONS.SUBWELL} = mine.{I_INSPECTIONS.SUBWELL}
        CROSS JOIN {I_SCORES} person ON person.{I_SCORES.INSPECTID} = other.{I_INSPECTIONS.INSPECTID}
        WHERE mine.{I_INSPECTIONS.INSPECTID} = :inspection_id
            AND (
                person.{I_SCORES.SCOREDBY} IS NULL OR person.{I_SCORES.SCOREDBY} <> :scorer
                OR INSTR(:own_ids, ',' || person.{I_SCORES.SCOREID} || ',') = 0
            )
            AND (:by_drop = 1 OR (
                person.{I_SCORES.INSPECTID} = :inspection_id
                AND (person.{I_SCORES.IMAGENAME} IS NULL OR person.{I_SCORES.IMAGENAME} = :image_name)
            ))
    )
