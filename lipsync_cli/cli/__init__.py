"""The command line: the only part of the package that knows about options, terminals and exit codes."""
