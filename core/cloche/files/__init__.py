"""Files as cloche handles them: the contract of a file system (``vfs``), and everything that works on top of one."""
