-- Rows under our own name where somebody of another name has scored. People's rows lead: they are fewer. :by_drop is 1 where theirs protect the whole drop.
SELECT DISTINCT
    own.{I_SCORES.SCOREID},
    own.{I_SCORES.INSPECTID},
    own.{I_SCORES.IMAGENAME},
    own.{I_SCORES.SCORE},
    TO_CHAR(own.{I_SCORES.SCOREDATE}, 'YYYY-MM-DD HH24:MI:SS'),
    own.{I_SCORES.SCOREDBY}
FROM {I_SCORES} person
JOIN {I_INSPECTIONS} other ON other.{I_INSPECTIONS.INSPECTID} = person.{I_SCORES.INSPECTID}
JOIN {I_INSPECTIONS} mine
    ON mine.{I_INSPECTIONS.BARCODEID} = other.{I_INSPECTIONS.BARCODEID}
    AND mine.{I_INSPECTIONS.COL} = other.{I_INSPECTIONS.COL}
    AND mine.{I_INSPECTIONS.I_ROW} = other.{I_INSPECTIONS.I_ROW}
    AND mine.{I_INSPECTIONS.SUBWELL} = other.{I_INSPECTIONS.SUBWELL}
JOIN {I_SCORES} own ON own.{I_SCORES.INSPECTID} = mine.{I_INSPECTIONS.INSPECTID} AND own.{I_SCORES.SCOREDBY} = :scorer
WHERE (person.{I_SCORES.SCOREDBY} IS NULL OR person.{I_SCORES.SCOREDBY} <> :scorer)
    AND own.{I_SCORES.IMAGENAME} IS NOT NULL
    AND (:by_drop = 1 OR (
        person.{I_SCORES.INSPECTID} = own.{I_SCORES.INSPECTID}
        AND (person.{I_SCORES.IMAGENAME} IS NULL OR person.{I_SCORES.IMAGENAME} = own.{I_SCORES.IMAGENAME})
    ))
ORDER BY 1
