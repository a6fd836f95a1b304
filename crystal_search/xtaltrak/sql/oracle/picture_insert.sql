-- One of our pictures; the table is our own alone, its primary key keeps it from being there twice.
INSERT INTO {ARTSCORE_PICTURES} (
    {ARTSCORE_PICTURES.BATCH}, {ARTSCORE_PICTURES.INSPECTID}, {ARTSCORE_PICTURES.IMAGENAME}, {ARTSCORE_PICTURES.PICTURE}
)
VALUES (
    :batch, :inspection_id, :image_name, :picture
)
