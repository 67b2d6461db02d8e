"""The system calls that Python lacks, typed. The only importer of the compiled module."""
