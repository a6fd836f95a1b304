-- The next of our own numbers, from a private sequence that the vendor's numbers never reach.
SELECT NEXTVAL('{ARTSCORE_SEQ}')
