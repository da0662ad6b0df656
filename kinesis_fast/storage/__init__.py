"""What outputs keep on disk: spooled chunks and dead letters."""
