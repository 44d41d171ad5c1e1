"""MQTT: the backend's one door to the broker, and what it does with what comes up."""
