"""Images of other systems for the embedded XtalTrak: each becomes a CrystalTrak-named link below the image root.

So whatever reads images knows one kind of place and one kind of name, and the images stay where they are
(docs/decisions/0026-links-with-crystaltrak-names.md).
"""
