"""Pictures and pages; they read results and logs, never models."""
