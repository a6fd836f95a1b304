-- The key of the last image.
SELECT MAX(m.{I_IMAGES.INSPECTID}) FROM {I_IMAGES} m
