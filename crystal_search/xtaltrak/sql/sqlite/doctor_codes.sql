-- Which codes people use, and how often, in their newest scores.
SELECT newest.{I_SCORES.SCORE}, COUNT(*)
FROM (
    SELECT s.{I_SCORES.SCORE}
    FROM {I_SCORES} s
    WHERE s.{I_SCORES.SCOREDBY} IS NULL OR s.{I_SCORES.SCOREDBY} <> :scorer
    ORDER BY s.{I_SCORES.SCOREID} DESC
    LIMIT :max_rows
) newest
GROUP BY newest.{I_SCORES.SCORE}
ORDER BY newest.{I_SCORES.SCORE}
