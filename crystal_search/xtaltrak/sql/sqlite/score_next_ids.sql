-- The first of the next numbers of our own, and how many; also beyond any that SQLite gave to a row that came without one.
UPDATE {ARTSCORE_SEQ}
SET {ARTSCORE_SEQ.LAST_ID} = MAX({ARTSCORE_SEQ.LAST_ID}, (SELECT COALESCE(MAX({I_SCORES.SCOREID}), 0) FROM {I_SCORES})) + :how_many
RETURNING {ARTSCORE_SEQ.LAST_ID} - :how_many + 1, :how_many
