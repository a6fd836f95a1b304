-- For the view of both evaluations, which asks by image.
CREATE INDEX IX_ARTSCORES_IMAGE ON {ARTSCORES} ({ARTSCORES.INSPECTID}, {ARTSCORES.IMAGENAME})
