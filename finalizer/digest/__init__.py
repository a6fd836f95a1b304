"""The daily digest: crystals that came back since the last one, as a mail or as files."""
