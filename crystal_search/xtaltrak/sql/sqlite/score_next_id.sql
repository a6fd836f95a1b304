-- The next of our own numbers; also beyond any that SQLite gave to a row that came without one.
UPDATE {ARTSCORE_SEQ}
SET {ARTSCORE_SEQ.LAST_ID} = MAX({ARTSCORE_SEQ.LAST_ID}, (SELECT COALESCE(MAX({I_SCORES.SCOREID}), 0) FROM {I_SCORES})) + 1
RETURNING {ARTSCORE_SEQ.LAST_ID}
