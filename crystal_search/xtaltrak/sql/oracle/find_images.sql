-- One page of images by key; the ROWNUM subquery also works on 11.2. CASTs give a bind that may be NULL its type.
-- :chromophores has the names of plates, projects and samples with chromophores (P29), each between two line ends; NULL where there are none.
SELECT *
FROM (
    SELECT
        m.{I_IMAGES.INSPECTID} INSPECTION_ID,
        m.{I_IMAGES.IMAGENAME} IMAGE_NAME,
        i.{I_INSPECTIONS.BARCODEID} PLATE_BARCODE,
        i.{I_INSPECTIONS.INSPECTNUMBER} INSPECTION_NUMBER,
        i.{I_INSPECTIONS.INSPECTDATE} TAKEN_AT,
        i.{I_INSPECTIONS.COL} PLATE_COLUMN,
        i.{I_INSPECTIONS.I_ROW} PLATE_ROW,
        i.{I_INSPECTIONS.SUBWELL} SUBWELL_NUMBER,
        CASE WHEN CAST(:chromophores AS VARCHAR2(4000)) IS NOT NULL AND EXISTS (
            SELECT 1
            FROM {PLATES} p
            LEFT JOIN {PROJECTS} j ON j.{PROJECTS.PROJECT_ID} = p.{PLATES.PROJECT_ID}
            LEFT JOIN {PLATE_DROPS} d ON d.{PLATE_DROPS.FK_PLATE_ID} = p.{PLATES.PLATE_ID}
            LEFT JOIN {SAMPLES} n ON n.{SAMPLES.SAMPLE_ID} = d.{PLATE_DROPS.FK_SAMPLE_ID}
            WHERE p.{PLATES.BARCODE} = i.{I_INSPECTIONS.BARCODEID}
                AND (
                    INSTR(:chromophores, CHR(10) || p.{PLATES.BARCODE} || CHR(10)) > 0
                    OR INSTR(:chromophores, CHR(10) || LOWER(p.{PLATES.BARCODE}) || CHR(10)) > 0
                    OR INSTR(:chromophores, CHR(10) || j.{PROJECTS.NAME} || CHR(10)) > 0
                    OR INSTR(:chromophores, CHR(10) || LOWER(j.{PROJECTS.NAME}) || CHR(10)) > 0
                    OR INSTR(:chromophores, CHR(10) || n.{SAMPLES.SAMPLE_NAME} || CHR(10)) > 0
                    OR INSTR(:chromophores, CHR(10) || LOWER(n.{SAMPLES.SAMPLE_NAME}) || CHR(10)) > 0
                )
        ) THEN 1 ELSE 0 END HAS_CHROMOPHORE
    FROM {I_IMAGES} m
    JOIN {I_INSPECTIONS} i ON i.{I_INSPECTIONS.INSPECTID} = m.{I_IMAGES.INSPECTID}
    WHERE m.{I_IMAGES.INSPECTID} >= :after_inspection
        AND (m.{I_IMAGES.INSPECTID} > :after_inspection OR m.{I_IMAGES.IMAGENAME} > :after_image)
        AND m.{I_IMAGES.IMAGENAME} IS NOT NULL
        AND (CAST(:barcode AS VARCHAR2(200)) IS NULL OR i.{I_INSPECTIONS.BARCODEID} LIKE :barcode ESCAPE '\')
        AND (CAST(:taken_from AS VARCHAR2(19)) IS NULL OR i.{I_INSPECTIONS.INSPECTDATE} >= TO_DATE(:taken_from, 'YYYY-MM-DD HH24:MI:SS'))
        AND (CAST(:taken_before AS VARCHAR2(19)) IS NULL OR i.{I_INSPECTIONS.INSPECTDATE} < TO_DATE(:taken_before, 'YYYY-MM-DD HH24:MI:SS'))
        AND (:unscored <> 'drop' OR NOT EXISTS (
            SELECT 1
            FROM {I_INSPECTIONS} o
            JOIN {I_SCORES} s ON s.{I_SCORES.INSPECTID} = o.{I_INSPECTIONS.INSPECTID}
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
)
WHERE ROWNUM <= :page_rows
