"""Real-ESRGAN: four times larger, the last step before an avatar is delivered."""
