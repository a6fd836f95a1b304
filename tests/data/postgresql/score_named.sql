-- The next rows under our own scorer's name, ours or not: number and inspection.
SELECT score.{I_SCORES.SCOREID}, score.{I_SCORES.INSPECTID}
FROM {I_SCORES} score
WHERE score.{I_SCORES.SCOREDBY} = :scorer AND score.{I_SCORES.SCOREID} > :after
ORDER BY score.{I_SCORES.SCOREID}
LIMIT :max_rows
