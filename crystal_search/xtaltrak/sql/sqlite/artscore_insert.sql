-- One of our ARTscores; the table is our own alone, its primary key keeps it from being there twice.
INSERT INTO {ARTSCORES} (
    {ARTSCORES.BATCH}, {ARTSCORES.INSPECTID}, {ARTSCORES.IMAGENAME}, {ARTSCORES.INSPECTDATE}, {ARTSCORES.OUTCOME}, {ARTSCORES.SCORE},
    {ARTSCORES.CLASSNAME}, {ARTSCORES.PROBABILITY}, {ARTSCORES.CRYSTALPROBABILITY}, {ARTSCORES.MODEL}, {ARTSCORES.MODELHASH},
    {ARTSCORES.DROPX0}, {ARTSCORES.DROPY0}, {ARTSCORES.DROPX1}, {ARTSCORES.DROPY1}, {ARTSCORES.BESTX0}, {ARTSCORES.BESTY0},
    {ARTSCORES.BESTX1}, {ARTSCORES.BESTY1}
)
VALUES (
    :batch, :inspection_id, :image_name, :taken_at, :status, :score, :class_name, :probability, :crystal_probability, :model, :model_sha256,
    :drop_x0, :drop_y0, :drop_x1, :drop_y1, :best_x0, :best_y0, :best_x1, :best_y1
)
