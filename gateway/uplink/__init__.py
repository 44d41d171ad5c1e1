"""The way to the backend: the one door to paho, the journal, what comes in and what goes out."""
