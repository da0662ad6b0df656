"""What outputs store on disk: spooled chunks and dead letters."""
