"""The critic: how good is a picture, from 0 to 1, judged by knowing real art and its faults."""
