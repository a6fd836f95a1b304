"""The outputs: one list of sections with tables and plots, shown on a page, in a workbook and on the terminal."""
