-- The inspections from :first to :last that are there.
SELECT {I_INSPECTIONS.INSPECTID} FROM {I_INSPECTIONS} WHERE {I_INSPECTIONS.INSPECTID} BETWEEN :first AND :last
