"""Is a picture safe to show at work? Asked of every image before it is delivered."""
