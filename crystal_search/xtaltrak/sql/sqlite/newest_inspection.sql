-- The newest inspection that has an image: what a search has read up to, whether it matched or not.
SELECT MAX({I_IMAGES.INSPECTID}) FROM {I_IMAGES}
