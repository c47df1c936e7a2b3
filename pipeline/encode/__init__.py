"""One DICOM result object a file; UIDs and times are given, never made up."""
