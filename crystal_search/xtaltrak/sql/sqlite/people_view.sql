-- The view and its triggers as they were made.
SELECT SQL FROM SQLITE_MASTER WHERE TBL_NAME = '{PEOPLE_SCORES}' AND TYPE IN ('view', 'trigger')
