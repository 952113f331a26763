"""Training profiles: recording, readers, rules, reports, and measuring whether advice makes runs faster."""
