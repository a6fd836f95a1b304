-- One row of the score table, whoever's it is.
SELECT
    score.{I_SCORES.SCOREID},
    score.{I_SCORES.INSPECTID},
    score.{I_SCORES.IMAGENAME},
    score.{I_SCORES.SCORE},
    TO_CHAR(score.{I_SCORES.SCOREDATE}, 'YYYY-MM-DD HH24:MI:SS'),
    score.{I_SCORES.SCOREDBY}
FROM {I_SCORES} score
WHERE score.{I_SCORES.SCOREID} = :score_id
