-- Every score on the drop of one inspection, ours and people's; one row of NULLs when it has none, no row when XtalTrak has no such inspection.
SELECT
    score.{I_SCORES.SCOREID},
    score.{I_SCORES.INSPECTID},
    score.{I_SCORES.IMAGENAME},
    score.{I_SCORES.SCORE},
    TO_CHAR(score.{I_SCORES.SCOREDATE}, 'YYYY-MM-DD HH24:MI:SS'),
    score.{I_SCORES.SCOREDBY}
FROM {I_INSPECTIONS} mine
JOIN {I_INSPECTIONS} other
    ON other.{I_INSPECTIONS.BARCODEID} = mine.{I_INSPECTIONS.BARCODEID}
    AND other.{I_INSPECTIONS.COL} = mine.{I_INSPECTIONS.COL}
    AND other.{I_INSPECTIONS.I_ROW} = mine.{I_INSPECTIONS.I_ROW}
    AND other.{I_INSPECTIONS.SUBWELL} = mine.{I_INSPECTIONS.SUBWELL}
LEFT JOIN {I_SCORES} score ON score.{I_SCORES.INSPECTID} = other.{I_INSPECTIONS.INSPECTID}
WHERE mine.{I_INSPECTIONS.INSPECTID} = :inspection_id
ORDER BY score.{I_SCORES.SCOREID}
