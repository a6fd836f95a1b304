-- The inspections from :first to :last with the drop and the images that they have now; one row without an image's name where there is none.
SELECT
    i.{I_INSPECTIONS.INSPECTID},
    i.{I_INSPECTIONS.BARCODEID},
    i.{I_INSPECTIONS.COL},
    i.{I_INSPECTIONS.I_ROW},
    i.{I_INSPECTIONS.SUBWELL},
    m.{I_IMAGES.IMAGENAME}
FROM {I_INSPECTIONS} i
LEFT JOIN {I_IMAGES} m ON m.{I_IMAGES.INSPECTID} = i.{I_INSPECTIONS.INSPECTID}
WHERE i.{I_INSPECTIONS.INSPECTID} BETWEEN :first AND :last
