-- One page of images by key. CROSS JOIN keeps the order of the tables, whatever ANALYZE once saw: images by their key lead.
-- :chromophores has the names of plates, projects and samples with chromophores (P29), each between two line ends; NULL where there are none.
SELECT
    m.{I_IMAGES.INSPECTID},
    m.{I_IMAGES.IMAGENAME},
    i.{I_INSPECTIONS.BARCODEID},
    i.{I_INSPECTIONS.INSPECTNUMBER},
    i.{I_INSPECTIONS.INSPECTDATE},
    i.{I_INSPECTIONS.COL},
    i.{I_INSPECTIONS.I_ROW},
    i.{I_INSPECTIONS.SUBWELL},
    CASE WHEN :chromophores IS NOT NULL AND EXISTS (
        SELECT 1
        FROM {PLATES} p
        LEFT JOIN {PROJECTS} j ON j.{PROJECTS.PROJECT_ID} = p.{PLATES.PROJECT_ID}
        LEFT JOIN {PLATE_DROPS} d ON d.{PLATE_DROPS.FK_PLATE_ID} = p.{PLATES.PLATE_ID}
        LEFT JOIN {SAMPLES} n ON n.{SAMPLES.SAMPLE_ID} = d.{PLATE_DROPS.FK_SAMPLE_ID}
        WHERE p.{PLATES.BARCODE} = i.{I_INSPECTIONS.BARCODEID}
            AND (
                INSTR(:chromophores, CHAR(10) || p.{PLATES.BARCODE} || CHAR(10)) > 0
                OR INSTR(:chromophores, CHAR(10) || LOWER(p.{PLATES.BARCODE}) || CHAR(10)) > 0
                OR INSTR(:chromophores, CHAR(10) || j.{PROJECTS.NAME} || CHAR(10)) > 0
                OR INSTR(:chromophores, CHAR(10) || LOWER(j.{PROJECTS.NAME}) || CHAR(10)) > 0
                OR INSTR(:chromophores, CHAR(10) || n.{SAMPLES.SAMPLE_NAME} || CHAR(10)) > 0
                OR INSTR(:chromophores, CHAR(10) || LOWER(n.{SAMPLES.SAMPLE_NAME}) || CHAR(10)) > 0
            )
    ) THEN 1 ELSE 0 END
FROM {I_IMAGES} m
CROSS JOIN {I_INSPECTIONS} i ON i.{I_INSPECTIONS.INSPECTID} = m.{I_IMAGES.INSPECTID}
WHERE (m.{I_IMAGES.INSPECTID}, m.{I_IMAGES.IMAGENAME}) > (:after_inspection, :after_image)
    AND (:barcode IS NULL OR i.{I_INSPECTIONS.BARCODEID} LIKE :barcode ESCAPE '\')
    AND (:taken_from IS NULL OR i.{I_INSPECTIONS.INSPECTDATE} >= :taken_from)
    AND (:taken_before IS NULL OR i.{I_INSPECTIONS.INSPECTDATE} < :taken_before)
    AND (:unscored <> 'drop' OR NOT EXISTS (
        SELECT 1
        FROM {I_INSPECTIONS} o
        CROSS JOIN {I_SCORES} s ON s.{I_SCORES.INSPECTID} = o.{I_INSPECTIONS.INSPECTID}
        WHERE o.{I_INSPECTIONS.BARCODEID} = i.{I_INSPECTIONS.BARCODEID}
            AND o.{I_INSPECTIONS.COL} = i.{I_INSPECTIONS.COL}
            AND o.{I_INSPECTIONS.I_ROW} = i.{I_INSPECTIONS.I_ROW}
            AND o.{I_INSPECTIONS.SUBWELL} = i.{I_INSPECTIONS.SUBWELL}
            AND (s.{I_SCORES.SCOREDBY} IS NULL OR s.{I_SCORES.SCOREDBY} <> :scorer)
    ))
    AND (:unscored <> 'image' OR NOT EXISTS (
        SELECT 1
        FROM {I_SCORES} s
        WHERE s.{I_SCORES.INSPECTID} = m.{I_IMAGES.INSPECTID}
            AND (s.{I_SCORES.IMAGENAME} IS NULL OR s.{I_SCORES.IMAGENAME} = m.{I_IMAGES.IMAGENAME})
            AND (s.{I_SCORES.SCOREDBY} IS NULL OR s.{I_SCORES.SCOREDBY} <> :scorer)
    ))
ORDER BY m.{I_IMAGES.INSPECTID}, m.{I_IMAGES.IMAGENAME}
LIMIT :page_rows
