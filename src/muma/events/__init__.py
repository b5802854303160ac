"""What happened: from raw files to a validated, cleaned, time-ordered `EventLog` (paper 3.2.1)."""
