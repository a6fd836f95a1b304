-- What the lab's DBA sets up for Crystal Search in XtalTrak's Oracle database, once.
-- NOT YET RUN AGAINST A LIVE ORACLE: read it before running it, and try it in a copy of the database.
--
-- The account may read the tables that it needs and write nothing but ARTSCORES_OWN, a view of the score table that shows and
-- takes rows of our own scorer only. So the database itself refuses a change of a person's score.
--
-- Replace: XTALTRAK by the schema that owns XtalTrak's tables, the names of tables and columns by your own where they differ
-- (settings: xtaltrak.names), ARTscore by xtaltrak.scorer, and the password. Run it as a DBA. No person may be called as the scorer.
-- The settings then say where view and sequence are: [xtaltrak.names] ARTSCORES_OWN = "XTALTRAK.ARTSCORES_OWN" and so on.

CREATE USER CRYSTAL_SEARCH IDENTIFIED BY "change-this";
GRANT CREATE SESSION TO CRYSTAL_SEARCH;

-- Our own rows. An INSERT or UPDATE through it that gives another scorer fails with ORA-01402.
CREATE VIEW XTALTRAK.ARTSCORES_OWN AS
SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY
FROM XTALTRAK.I_SCORES
WHERE SCOREDBY = 'ARTscore'
WITH CHECK OPTION CONSTRAINT ARTSCORES_OWN_CHECK;

-- Numbers for SCOREID far above XtalTrak's own: see that SELECT MAX(SCOREID) FROM XTALTRAK.I_SCORES is well below the start.
CREATE SEQUENCE XTALTRAK.ARTSCORE_SEQ START WITH 1000000001 INCREMENT BY 1 CACHE 1000;

GRANT SELECT ON XTALTRAK.I_INSPECTIONS TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.I_IMAGES TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.I_PLATE_INSPECTIONS TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.PLATES TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.PROJECTS TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.PLATE_DROPS TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.SAMPLES TO CRYSTAL_SEARCH;

-- SELECT, not READ: it includes LOCK TABLE, which keeps people's scores and ours apart for the moment of a write.
GRANT SELECT ON XTALTRAK.I_SCORES TO CRYSTAL_SEARCH;
GRANT SELECT, INSERT, UPDATE, DELETE ON XTALTRAK.ARTSCORES_OWN TO CRYSTAL_SEARCH;
GRANT SELECT ON XTALTRAK.ARTSCORE_SEQ TO CRYSTAL_SEARCH;

-- What the account may now do: the view alone may show INSERT, UPDATE or DELETE.
SELECT TABLE_NAME, PRIVILEGE FROM DBA_TAB_PRIVS WHERE GRANTEE = 'CRYSTAL_SEARCH' ORDER BY TABLE_NAME, PRIVILEGE;

-- People's scores from the viewer (viewer.scoring = true): an account of its own, which adds and takes back people's rows through a view
-- that has none of our own scorer's and none without a scorer. Leave this out where nobody scores in the viewer.
CREATE USER CRYSTAL_SEARCH_PEOPLE IDENTIFIED BY "change-this-too";
GRANT CREATE SESSION TO CRYSTAL_SEARCH_PEOPLE;

CREATE VIEW XTALTRAK.PEOPLE_SCORES AS
SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY
FROM XTALTRAK.I_SCORES
WHERE SCOREDBY <> 'ARTscore'
WITH CHECK OPTION CONSTRAINT PEOPLE_SCORES_CHECK;

GRANT SELECT, INSERT, DELETE ON XTALTRAK.PEOPLE_SCORES TO CRYSTAL_SEARCH_PEOPLE;
GRANT SELECT ON XTALTRAK.I_SCORES TO CRYSTAL_SEARCH_PEOPLE;
GRANT SELECT ON XTALTRAK.I_IMAGES TO CRYSTAL_SEARCH_PEOPLE;
GRANT SELECT ON XTALTRAK.ARTSCORE_SEQ TO CRYSTAL_SEARCH_PEOPLE;
