"""What the server's and the worker's Celery applications share; it knows nothing of either."""
