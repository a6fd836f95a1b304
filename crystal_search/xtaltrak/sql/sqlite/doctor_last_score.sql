-- The largest number of a score.
SELECT MAX(s.{I_SCORES.SCOREID}) FROM {I_SCORES} s
