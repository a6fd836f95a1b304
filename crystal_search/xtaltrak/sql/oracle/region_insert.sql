-- One of our regions; the table is our own alone, its primary key keeps it from being there twice.
INSERT INTO {ARTSCORE_REGIONS} (
    {ARTSCORE_REGIONS.BATCH}, {ARTSCORE_REGIONS.INSPECTID}, {ARTSCORE_REGIONS.IMAGENAME}, {ARTSCORE_REGIONS.PLACE},
    {ARTSCORE_REGIONS.CLASSNAME}, {ARTSCORE_REGIONS.PROBABILITY}, {ARTSCORE_REGIONS.X0}, {ARTSCORE_REGIONS.Y0}, {ARTSCORE_REGIONS.X1},
    {ARTSCORE_REGIONS.Y1}
)
VALUES (
    :batch, :inspection_id, :image_name, :place, :class_name, :probability, :x0, :y0, :x1, :y1
)
