-- The drops of every inspection of a plate but one: where something was seen before, or later.
SELECT
    i.{I_INSPECTIONS.INSPECTID},
    i.{I_INSPECTIONS.COL},
    i.{I_INSPECTIONS.I_ROW},
    i.{I_INSPECTIONS.SUBWELL},
    i.{I_INSPECTIONS.INSPECTNUMBER}
FROM {I_INSPECTIONS} i
WHERE i.{I_INSPECTIONS.BARCODEID} = :barcode AND i.{I_INSPECTIONS.INSPECTNUMBER} <> :inspection_number
