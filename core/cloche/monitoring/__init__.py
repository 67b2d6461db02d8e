"""What users see of events: the hub of a sandbox, its streams, and the sources that the host itself makes."""
