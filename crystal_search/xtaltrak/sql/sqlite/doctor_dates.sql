-- Of people's newest scores: how many there are, how many have no date, and how many are not dated after their inspection.
SELECT
    COUNT(*),
    COUNT(CASE WHEN newest.{I_SCORES.SCOREDATE} IS NULL THEN 1 END),
    COUNT(CASE WHEN newest.{I_SCORES.SCOREDATE} <= i.{I_INSPECTIONS.INSPECTDATE} THEN 1 END)
FROM (
    SELECT s.{I_SCORES.INSPECTID}, s.{I_SCORES.SCOREDATE}
    FROM {I_SCORES} s
    WHERE s.{I_SCORES.SCOREDBY} IS NULL OR s.{I_SCORES.SCOREDBY} <> :scorer
    ORDER BY s.{I_SCORES.SCOREID} DESC
    LIMIT :max_rows
) newest
CROSS JOIN {I_INSPECTIONS} i ON i.{I_INSPECTIONS.INSPECTID} = newest.{I_SCORES.INSPECTID}
