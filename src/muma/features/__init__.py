"""What is known of users and items at a moment: one definition, read offline and online alike."""
