"""The command line: ``nnexp train``, ``list``, ``compare``, ``report``, ``verify``, ..."""
