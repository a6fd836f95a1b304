-- People's rows, for the viewer to write under a person's name: none of our own scorer's, none without a scorer.
CREATE VIEW {PEOPLE_SCORES} AS
SELECT {I_SCORES.SCOREID}, {I_SCORES.INSPECTID}, {I_SCORES.IMAGENAME}, {I_SCORES.SCORE}, {I_SCORES.SCOREDATE}, {I_SCORES.SCOREDBY}
FROM {I_SCORES}
WHERE {I_SCORES.SCOREDBY} <> {SCORER}
