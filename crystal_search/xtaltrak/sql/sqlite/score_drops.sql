-- Every score on the drops of the inspections from :first to :last, ours and people's, each beside the inspection whose drop it is on.
SELECT
    mine.{I_INSPECTIONS.INSPECTID},
    score.{I_SCORES.SCOREID},
    score.{I_SCORES.INSPECTID},
    score.{I_SCORES.IMAGENAME},
    score.{I_SCORES.SCORE},
    score.{I_SCORES.SCOREDATE},
    score.{I_SCORES.SCOREDBY}
FROM {I_INSPECTIONS} mine
CROSS JOIN {I_INSPECTIONS} other
    ON other.{I_INSPECTIONS.BARCODEID} = mine.{I_INSPECTIONS.BARCODEID}
    AND other.{I_INSPECTIONS.COL} = mine.{I_INSPECTIONS.COL}
    AND other.{I_INSPECTIONS.I_ROW} = mine.{I_INSPECTIONS.I_ROW}
    AND other.{I_INSPECTIONS.SUBWELL} = mine.{I_INSPECTIONS.SUBWELL}
CROSS JOIN {I_SCORES} score ON score.{I_SCORES.INSPECTID} = other.{I_INSPECTIONS.INSPECTID}
WHERE mine.{I_INSPECTIONS.INSPECTID} BETWEEN :first AND :last
ORDER BY mine.{I_INSPECTIONS.INSPECTID}, score.{I_SCORES.SCOREID}
