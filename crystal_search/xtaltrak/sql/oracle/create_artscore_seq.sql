-- Numbers for SCOREID far above the vendor's own: see that the largest there is well below the start.
CREATE SEQUENCE {ARTSCORE_SEQ} START WITH 1000000001 INCREMENT BY 1 CACHE 1000
