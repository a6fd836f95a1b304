-- The largest number from :first to :last, whoever's row it is.
SELECT MAX(score.{I_SCORES.SCOREID}) FROM {I_SCORES} score WHERE score.{I_SCORES.SCOREID} BETWEEN :first AND :last
