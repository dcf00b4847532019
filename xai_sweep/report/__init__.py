"""What a reader gets: tables and pictures."""
