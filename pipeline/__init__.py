"""Osteon, the pipeline: pixels and geometry. Radiographs in, DICOM result objects out."""
