-- Numbers of our own, from a private sequence that the vendor's numbers never reach, each with how many follow from it on: one.
SELECT NEXTVAL('{ARTSCORE_SEQ}'), 1 FROM GENERATE_SERIES(1, :how_many)
