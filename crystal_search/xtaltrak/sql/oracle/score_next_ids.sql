-- Numbers of our own, from a private sequence that the vendor's numbers never reach, each with how many follow from it on: one.
-- I_IMAGES lends its rows, at most :how_many of them.
SELECT {ARTSCORE_SEQ}.NEXTVAL, 1 FROM {I_IMAGES} WHERE ROWNUM <= :how_many
