-- The rows of the score table whose numbers lie in a range, whoever's they are.
SELECT
    score.{I_SCORES.SCOREID},
    score.{I_SCORES.INSPECTID},
    score.{I_SCORES.IMAGENAME},
    score.{I_SCORES.SCORE},
    score.{I_SCORES.SCOREDATE},
    score.{I_SCORES.SCOREDBY}
FROM {I_SCORES} score
WHERE score.{I_SCORES.SCOREID} >= :first AND score.{I_SCORES.SCOREID} <= :last
ORDER BY score.{I_SCORES.SCOREID}
