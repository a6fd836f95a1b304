-- The rows under our own scorer's name; all that our statements write goes through this view and its triggers.
CREATE VIEW {ARTSCORES_OWN} AS
SELECT {I_SCORES.SCOREID}, {I_SCORES.INSPECTID}, {I_SCORES.IMAGENAME}, {I_SCORES.SCORE}, {I_SCORES.SCOREDATE}, {I_SCORES.SCOREDBY}
FROM {I_SCORES}
WHERE {I_SCORES.SCOREDBY} = {SCORER}
